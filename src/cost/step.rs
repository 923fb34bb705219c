//! One step of the way down, as data: what screen, plain lines, report and JSON all read.

use serde::{Deserialize, Serialize};

/// What was decided when the step began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepVerdict {
    /// Proved by what was seen: one step down.
    Go,
    /// Stays where it is.
    Hold,
    /// Back up, at once or in time.
    Up,
}

impl StepVerdict {
    pub fn sign(self) -> &'static str {
        match self {
            Self::Go => "✓ down",
            Self::Hold => "‖ hold",
            Self::Up => "✗ up",
        }
    }
}

/// Money and shares are `None` where unknown, never zero.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// RFC 3339.
    pub at: String,
    pub capacity: u64,
    /// Requests that were throttled while it lasted.
    pub throttled: u64,
    pub p99_ms: Option<f64>,
    pub verdict: StepVerdict,
    pub reason: String,
    pub usd_per_hour: Option<f64>,
    /// What a million of the requests cost that came while it lasted.
    #[serde(default)]
    pub usd_per_million: Option<f64>,
    /// The highest demand seen while it lasted, in shares of the capacity.
    pub share_of_limit: Option<f64>,
}
