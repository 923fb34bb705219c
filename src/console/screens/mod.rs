//! The kinds of screens, one a file.

pub mod canary;
pub mod cost;
mod cost_asked;
pub mod help;
pub mod incident;
pub mod load;
pub mod model;
pub mod overview;
pub mod runs;
pub mod stack;
