//! Numbers and their units: what every other room counts with.

pub mod histogram;
pub mod interval;
pub mod lot;
pub mod progress;
pub mod units;
