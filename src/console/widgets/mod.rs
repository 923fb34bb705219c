//! Pieces of pictures that more than one screen draws.

pub mod bars;
pub mod curve;
pub mod frame;
pub mod heat;
pub mod spark;
pub mod verdict;
