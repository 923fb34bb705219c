//! What sets capacity: set it, read it back, and look at what goes through it. Its kinds live in `knobs/`.

/// What went through since the last look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look {
    /// Requests a second, those that were throttled among them.
    pub rate: f64,
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
}

pub trait Knob {
    /// What it turns, for a person.
    fn name(&self) -> String;

    /// The capacity in force.
    fn read(&mut self) -> Result<u64, KnobError>;

    /// Asks for a capacity; whether it came about, only `read` tells.
    fn set(&mut self, from: u64, to: u64) -> Result<(), KnobError>;

    fn look(&mut self) -> Result<Look, KnobError>;
}
