//! What a number means: objectives, comparisons, verdicts. Pure: numbers in, verdict and reason out.

<<<<<<< HEAD
pub mod burn;
pub mod compare;
pub mod evidence;
pub mod guard;
pub mod interval;
pub mod panel;
pub mod sequential;
pub mod usual;
=======
pub mod measure;
pub mod objective;
>>>>>>> 4d8baa6 (Send load on a schedule that never shifts, and say go, no or cannot tell: serin load)
pub mod verdict;
