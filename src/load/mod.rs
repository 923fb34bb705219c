//! Load: scenarios, engines, the recorder, and what a second of load looks like.

pub mod summary;
pub mod tick;
