//! Who sets the share of the canary: set it, read it back, count what each side gets. Its kinds live in `drivers/`.

use super::split::Counted;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}")]
pub struct DriverError {
    pub what: String,
    pub why: String,
}

impl DriverError {
    pub fn new(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.into() }
    }
}

pub trait Driver {
    /// What it sets, for a person.
    fn name(&self) -> String;

    /// The share in force, 0 to 1.
    fn read(&mut self) -> Result<f64, DriverError>;

    /// Asks for a share; whether it came about, only `read` tells.
    fn set(&mut self, share: f64) -> Result<(), DriverError>;

    /// Requests that began so far; `None` where it cannot count them.
    fn requests(&mut self) -> Result<Option<Counted>, DriverError> {
        Ok(None)
    }
}
