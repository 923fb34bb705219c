//! The kinds of drivers, one a file; `open` finds the one that a plan names.

pub mod command;

use super::driver::Driver;
use super::error::CanaryError;
use super::plan::Plan;

/// Opens the driver that a plan names, and no other: a table of another driver beside it changes nothing.
pub fn open(plan: &Plan) -> Result<Box<dyn Driver>, CanaryError> {
    if let Some(lack) = plan.wiring.lacks(&plan.driver) {
        return Err(CanaryError::Unfit(lack));
    }
    match (plan.driver.as_str(), &plan.wiring.command) {
        ("command", Some(programs)) => Ok(Box::new(command::Programs::new(programs.clone()))),
        (name, _) => Err(CanaryError::Unfit(format!(
            "the driver `{name}` cannot be opened: this serin walks by `command` only; nothing was changed"
        ))),
    }
}
