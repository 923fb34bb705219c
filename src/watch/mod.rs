//! Numbers from wherever they live: sources, what they said over time, and what was kept of it.

pub mod cloud;
pub mod error;
pub mod exposition;
pub mod history;
pub mod http;
pub mod names;
pub mod probe;
pub mod promql;
pub mod purse;
pub mod sample;
pub mod series;
pub mod source;
pub mod sources;
