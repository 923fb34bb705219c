//! Recorded traffic: logs of several kinds to requests that are due when they once came.
//!
//! A log is read whole before the first request goes out, as 32 bytes a request and each distinct path once: only so
//! are lines out of order put right, and the schedule is fixed before the run begins. Logs larger than memory would
//! make us change our mind.

pub mod alb;
pub mod clean;
pub mod combined;
pub mod jsonl;
pub mod line;
pub mod read;
pub mod tape;
