//! What sets capacity: set it, read it back, and look at what goes through it. Its kinds live in `knobs/`.

use std::time::Duration;

/// What went through since the last look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look {
    /// Units of capacity a second that were asked for, those of throttled requests among them.
    pub units: f64,
    /// Requests that were throttled since the last look.
    pub throttled: f64,
    pub p99_ms: Option<f64>,
}

#[derive(Debug, thiserror::Error)]
pub enum KnobError {
    #[error("{what}: {why}")]
    Failed { what: String, why: String },
    /// It has no capacity that could be set: a table on demand, say.
    #[error("{0}")]
    Unfit(String),
    /// It is well and says no for now: too many decreases today, another change under way.
    #[error("{0}")]
    NotNow(String),
}

/// How long a change may take until it can be read back, unless the knob says otherwise.
const PATIENCE: Duration = Duration::from_secs(5);

pub trait Knob {
    /// What it turns, for a person.
    fn name(&self) -> String;

    /// How long a change may take until `read` tells it.
    fn patience(&self) -> Duration {
        PATIENCE
    }

    /// The capacity in force.
    fn read(&mut self) -> Result<u64, KnobError>;

    /// Asks for a capacity; whether it came about, only `read` tells.
    fn set(&mut self, from: u64, to: u64) -> Result<(), KnobError>;

    fn look(&mut self) -> Result<Look, KnobError>;
}
