//! The kinds of drivers, one a file; `open` finds the one that a plan names.

pub mod command;

use super::driver::Driver;
use super::error::CanaryError;
use super::plan::Plan;

/// Opens the driver of a plan; the local one needs the world that it routes, so it is opened with that.
pub fn open(plan: &Plan) -> Result<Box<dyn Driver>, CanaryError> {
    if let Some(lack) = plan.wiring.lacks(&plan.driver) {
        return Err(CanaryError::Unfit(lack));
    }
    let wiring = &plan.wiring;
    if let Some(programs) = &wiring.command {
        return Ok(Box::new(command::Programs::new(programs.clone())));
    }
    Err(CanaryError::Unfit(format!("the driver `{}` cannot be opened", plan.driver)))
}
