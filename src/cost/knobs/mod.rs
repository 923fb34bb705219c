//! The kinds of knobs, one a file; `open` finds the one that a plan names.

pub mod command;

use super::knob::{Knob, KnobError};
use super::plan::Plan;

pub fn open(plan: &Plan) -> Result<Box<dyn Knob>, KnobError> {
    if let Some(command) = &plan.command {
        return Ok(Box::new(command::Programs::new(command.clone(), plan.unit.is_writes())));
    }
    let how = "a [command] table in the plan says with which programs it is set, read and metered";
    Err(KnobError::Unfit(format!("knob = \"{}\" cannot be turned from here alone: {how}", plan.knob.name())))
}
