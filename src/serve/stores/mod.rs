//! The kinds of stores.

pub mod embedded;
