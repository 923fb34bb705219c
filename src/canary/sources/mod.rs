//! The kinds of sources, one a file; `open` finds the one that a plan names.

pub mod command;

use super::error::CanaryError;
use super::plan::Plan;
use super::source::Source;

pub fn open(plan: &Plan) -> Result<Box<dyn Source>, CanaryError> {
    let Some(numbers) = &plan.wiring.numbers else {
        return Err(CanaryError::Unfit("a [numbers] table has to say where the numbers come from".to_owned()));
    };
    match numbers.from.as_str() {
        "command" => Ok(Box::new(command::Printed::new(numbers.print.clone()))),
        other => Err(CanaryError::Unfit(format!("numbers: `{other}` cannot be opened"))),
    }
}
