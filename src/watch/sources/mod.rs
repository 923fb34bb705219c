//! The kinds of sources.

pub mod metrics;
pub mod prometheus;
