//! The kinds of jobs, one a file.

pub mod canary_local;
pub mod canary_simulate;
pub mod canary_walk;
pub mod check;
pub mod cost;
pub mod describe;
pub mod evaluate;
pub mod evening;
pub mod experiment;
pub mod eye;
pub mod gate;
pub mod import;
pub mod limit;
pub mod live;
pub mod load;
pub mod merge;
pub mod model_work;
pub mod publish;
pub mod recommend;
pub mod replay;
pub mod synth;
pub mod train;
pub mod watch;
