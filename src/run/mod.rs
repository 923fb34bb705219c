//! The waist: a job in, events out; the journal on disk, one folder a run, the summary.

pub mod bands;
pub mod baseline;
pub mod columns;
pub mod depot;
pub mod director;
pub mod error;
pub mod event;
pub mod folder;
pub mod job;
pub mod jobs;
pub mod journal;
pub mod objectives;
pub mod past;
pub mod story;
pub mod summary;
pub mod walked;
