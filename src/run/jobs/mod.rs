//! The kinds of jobs, one a file.

pub mod cost;
pub mod canary_simulate;
