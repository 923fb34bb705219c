//! The named numbers a judgement reads: of a whole run, a stage, an endpoint or a window.

use std::collections::BTreeMap;

use crate::stats::histogram::Histogram;

/// What was seen; a number that was not measured is absent, never zero.
#[derive(Clone, Debug, Default)]
pub struct Measure {
    /// From due to the last byte.
    pub latency: Histogram,
    /// From sent to the last byte.
    pub service: Histogram,
    pub parts: BTreeMap<&'static str, Histogram>,
    /// Requests that ended, well or badly.
    pub ended: u64,
    pub errors: u64,
    pub throttled: u64,
    pub by_kind: BTreeMap<String, u64>,
    /// Requests that fell due, and those of them that were sent; `None` where that is not known of this scope.
    pub in_time: Option<(u64, u64)>,
    /// Whole answers a second.
    pub rate: Option<f64>,
}

/// The parts of a request's time that an objective can name, as they are written.
pub const PARTS: [&str; 5] = ["connection wait", "connect", "tls", "first byte", "body"];
