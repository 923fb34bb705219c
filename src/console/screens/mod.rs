//! The kinds of screens, one a file.

pub mod help;
pub mod load;
pub mod overview;
pub mod runs;
