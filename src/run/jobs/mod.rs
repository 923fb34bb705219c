//! The kinds of jobs, one a file.

pub mod canary_simulate;
pub mod check;
pub mod cost;
pub mod describe;
pub mod evaluate;
pub mod experiment;
pub mod import;
pub mod load;
pub mod model_work;
pub mod recommend;
pub mod synth;
pub mod train;
pub mod watch;
