//! What a number means: objectives, comparisons, verdicts. Pure: numbers in, verdict and reason out.

pub mod burn;
pub mod compare;
pub mod evidence;
pub mod guard;
pub mod interval;
pub mod measure;
pub mod objective;
pub mod panel;
pub mod second;
pub mod sequential;
pub mod storm;
pub mod usual;
pub mod verdict;
