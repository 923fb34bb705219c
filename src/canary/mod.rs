//! Canary walks: stages by shares of viewers, driven by the judge.
//!
//! The walk's journal lies in the folder of its run, so that a run is whole in one place; a pointer below `SERIN_HOME` names
//! the last walk of each target. Whoever wants something of a walk (approve, roll back) writes it into a file beside the
//! journal: it works from any terminal, and also when nobody is alive to hear it. A socket would be quicker by a fifth of
//! a second and would need somebody alive.

pub mod clock;
pub mod drive;
pub mod driver;
pub mod drivers;
pub mod error;
pub mod evening;
pub mod http;
pub mod library;
pub mod night;
pub mod order;
pub mod outage;
pub mod plan;
pub mod record;
pub mod series;
pub mod simulate;
pub mod solo;
pub mod source;
pub mod sources;
pub mod split;
pub mod told;
pub mod walk;
pub mod wiring;
