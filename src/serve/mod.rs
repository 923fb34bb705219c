//! serve

pub mod limiter;
