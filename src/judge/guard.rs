//! What a canary is watched for: a count among its requests, what is tolerated, and what would be harm.

/// One metric of the judge, as a plan states it or by default.
#[derive(Clone, Debug, PartialEq)]
pub struct Guard {
    pub name: String,
    pub counts: Counted,
    /// Ratio below which nothing is rolled back: of shares for counts, of time for latency.
    pub tolerated: f64,
    /// Milliseconds that the canary may be slower, whatever the ratio; latency only.
    pub tolerated_ms: f64,
    /// Ratio that has to be excluded before go, of the same kind.
    pub harm: f64,
    /// Or this much more of all requests, whichever allows more; counts only.
    pub harm_points: f64,
    /// Its part in the shared evidence; all weights sum to one.
    pub weight: f64,
}

/// What is counted.
#[derive(Clone, Debug, PartialEq)]
pub enum Counted {
    Errors,
    /// Requests slower than the baseline's own quantile of the last minutes.
    Slower {
        quantile: f64,
    },
    /// A further count of each side, by its name in the line: `empty`, `degraded`, `timeout`.
    Named(String),
}

impl Counted {
    pub fn is_latency(&self) -> bool {
        matches!(self, Self::Slower { .. })
    }

    /// Returns by how much harm may raise the count, with weights that sum to one.
    ///
    /// A tail moves less than an error share does: beyond p95 there is at most twenty times as much.
    pub fn alternatives(&self) -> &'static [(f64, f64)] {
        const THIRD: f64 = 1.0 / 3.0;
        match self {
            Self::Errors | Self::Named(_) => &[(1.5, 0.2), (3.0, 0.6), (8.0, 0.15), (25.0, 0.05)],
            // The last one is all answers slow: without it a wild machine's noise explains even that.
            Self::Slower { quantile } if *quantile >= 0.98 => &[(1.25, 0.3), (1.6, 0.3), (3.0, 0.35), (20.0, 0.05)],
            Self::Slower { quantile } if *quantile >= 0.9 => &[(1.2, 0.3), (1.5, 0.3), (2.5, 0.3), (10.0, 0.1)],
            Self::Slower { .. } => &[(1.1, THIRD), (1.25, THIRD), (1.6, THIRD)],
        }
    }

    /// Returns the share of the canary's requests from which on it is not waited whether a storm of a minute passes.
    pub fn most_in_a_storm(&self) -> f64 {
        if self.is_latency() { 0.5 } else { 0.05 }
    }

    /// Returns the noise to assume for a group as large as the canary in a block of a minute, where nothing can be learned.
    pub fn assumed_shape(&self) -> f64 {
        if self.is_latency() { 24.0 } else { 4.0 }
    }
}

impl Guard {
    /// Returns the share of all requests that, on top of the baseline's, would be harm.
    pub const ERROR_POINTS: f64 = 0.001;

    pub fn errors() -> Self {
        Self {
            name: "errors".to_owned(),
            counts: Counted::Errors,
            tolerated: 1.0,
            tolerated_ms: 0.0,
            harm: 1.5,
            harm_points: Self::ERROR_POINTS,
            weight: 0.6,
        }
    }

    pub fn slower(quantile: f64) -> Self {
        Self {
            name: format!("p{}", (quantile * 1000.0).round() / 10.0),
            counts: Counted::Slower { quantile },
            tolerated: 1.0,
            tolerated_ms: 0.0,
            harm: 1.1,
            harm_points: 0.0,
            weight: 0.2,
        }
    }

    /// What is watched when a plan says nothing: errors, p95 and p99.
    pub fn usual() -> Vec<Self> {
        vec![Self::errors(), Self::slower(0.95), Self::slower(0.99)]
    }
}
