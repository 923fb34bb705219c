//! The kinds of jobs, one a file.

pub mod cost;
