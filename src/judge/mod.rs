//! What a number means: objectives, comparisons, verdicts. Pure: numbers in, verdict and reason out.

pub mod burn;
pub mod compare;
pub mod verdict;
