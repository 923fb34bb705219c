//! The screens of a run under way: they only listen to its events, and give the terminal back whatever happens.
//!
//! What decides (`app`, `screens`, `keys`) knows no terminal: keys and events in, effects and drawings out, so that all of
//! it is tested without one. `session` acts. Everything is drawn with our own glyphs and then, where the terminal cannot
//! show them, translated cell by cell to ASCII (`glyphs`): no screen knows two alphabets. We left a wall of tabs for
//! jobs that do not run: a tab exists when there is something real on it.

pub mod app;
pub mod chrome;
pub mod error;
pub mod glyphs;
pub mod keys;
pub mod look;
pub mod screen;
pub mod screens;
pub mod session;
pub mod terminal;
pub mod theme;
pub mod watcher;
pub mod widgets;

pub use session::{Options, run};
