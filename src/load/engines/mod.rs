//! The kinds of engines, and what they stand on.
//!
//! The open and the `--rate max` engine are one: an event loop of our own over non-blocking sockets, a thread a worker,
//! with the pacing inside the loop. A loop that both paces and sends needs no wake-up from thread to thread for each
//! request, keeps its promise within some 50 microseconds, and knows by itself how late it was. hyper was left for this
//! path: its futures need a runtime whose timers are a millisecond coarse. Where requests are dense the loop sleeps through
//! the answers: the kernel notes when they came, and being woken costs more than all the rest of a request. Another platform than Linux, or a wire that
//! does not fit one request a connection, would make us change our mind.

pub mod connection;
pub mod haste;
pub mod meter;
pub mod order;
pub mod paced;
pub mod poll;
mod stamp;
pub mod viewers;
pub mod visit;
