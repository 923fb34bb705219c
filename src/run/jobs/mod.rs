//! The kinds of jobs, one a file.

pub mod canary_simulate;
pub mod cost;
pub mod load;
