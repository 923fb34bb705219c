//! Viewings in, a model out, lists from it: data sets, implicit ALS with an exact solve, offline metrics, model files.
//!
//! **Exact solve, both orientations.** Each row's least-squares system is built and solved whole (no conjugate gradient),
//! sixteen systems at a time across the SIMD lanes, so that the factorisation costs less than building the matrices.
//! Viewings are kept by viewer and by programme (8 bytes each way) together with both factor matrices. We left out the
//! block scheme that never stores viewer factors: it wins when they no longer fit in memory (tens of millions of viewers),
//! and that would make us change our mind.
//!
//! **One reader of our own** for interactions, because millions of rows are cut in pieces and read on all threads; a quoted
//! field may therefore not run over the end of a line there. Items and users are small and go through the `csv` crate.

pub mod als;
pub mod consent;
pub mod convention;
pub mod csv_file;
pub mod dataset;
pub mod describe;
pub mod error;
pub mod evaluate;
pub mod event_value;
pub mod files;
pub mod import;
pub mod items;
pub mod kernel;
pub mod kernels;
pub mod lines;
pub mod matrix;
pub mod names;
pub mod recommend;
pub mod rows;
pub mod score;
pub mod shortlist;
pub mod synth;
pub mod tiles;
pub mod training;
