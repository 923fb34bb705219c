//! The walk, as data: its road once, and one view a look; what the screen, the journal and the report all read.

use serde::{Deserialize, Serialize};

use crate::judge::sequential::{Call, Exhibit};

/// What is going to be walked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Road {
    pub target: String,
    pub driver: String,
    pub numbers: String,
    pub stages: Vec<RoadStage>,
    pub guards: Vec<String>,
    pub look_s: f64,
    /// The name that `approve`, `rollback` and `resume` know it by.
    pub name: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RoadStage {
    pub share: f64,
    pub hold_s: f64,
    pub longest_s: f64,
    pub approval: bool,
}

/// Where the walk stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// Seconds since the walk began.
    pub t: f64,
    /// Counted from 1.
    pub stage: usize,
    /// `waiting`, `setting`, `soaking`, `back` or `ended`.
    pub phase: String,
    /// The share that was asked for, the one that reads back, and the share of requests that was seen since.
    pub share: f64,
    pub read: Option<f64>,
    pub seen: Option<f64>,
    /// The share of viewers that was seen, where the numbers know viewers.
    #[serde(default)]
    pub viewers: Option<f64>,
    pub held_s: f64,
    pub verdict: Option<Call>,
    /// What it waits for, or what the judge says.
    pub reason: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Exhibit>,
    /// Requests of the canary and of the baseline in this look, and the p99 of each in milliseconds.
    pub requests: (f64, f64),
    pub p99_ms: (Option<f64>, Option<f64>),
    pub frozen: bool,
}

/// One stage, when it is left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageDone {
    pub stage: usize,
    pub share: f64,
    /// The share that was seen: of viewers where the numbers know them, else of requests.
    pub measured_share: Option<f64>,
    /// The share of requests: viewers ask unevenly often.
    #[serde(default)]
    pub requests_share: Option<f64>,
    pub began: String,
    pub held_s: f64,
    /// `go`, `rollback`, `hold`.
    pub verdict: String,
    pub reason: String,
    pub canary_requests: f64,
    pub baseline_requests: f64,
}

/// The way back, measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct WayBack {
    /// From the decision to zero being verified.
    pub took_s: f64,
    /// Whether zero read back.
    pub verified: bool,
    /// Requests that still reached the canary in the last look at zero, where they can be counted.
    pub requests_at_zero: Option<u64>,
}

/// What came of a walk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    pub ending: super::order::Ending,
    pub share: Option<f64>,
    pub stages: Vec<StageDone>,
    pub way_back: Option<WayBack>,
    pub findings: Vec<String>,
    pub took_s: f64,
    pub stopped: bool,
}
