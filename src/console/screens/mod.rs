//! The kinds of screens, one a file.

pub mod cost;
pub mod help;
pub mod load;
pub mod overview;
pub mod runs;
