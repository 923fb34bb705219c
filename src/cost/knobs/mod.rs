//! The kinds of knobs, one a file; `open` finds the one that a plan names.

mod cloudwatch;
pub mod command;
pub mod dynamodb;
pub mod local;
pub mod metered;
pub mod personalize;
pub mod replicas;

use super::knob::{Knob, KnobError};
use super::plan::{KnobKind, Plan};
use crate::serve::aws::Aws;

pub fn open(plan: &Plan) -> Result<Box<dyn Knob>, KnobError> {
    let per_request = plan.unit.units_a_request();
    if let Some(command) = &plan.command {
        return Ok(Box::new(command::Programs::new(command.clone(), plan.unit.is_writes(), per_request)));
    }
    let aws = || {
        let opened = Aws::open(plan.region.as_deref(), plan.endpoint_url.as_deref());
        opened.map_err(|e| KnobError::Unfit(e.to_string()))
    };
    let unnamed = |key: &str, example: &str| {
        let what = format!("knob = \"{}\" turns nothing yet: the plan needs {key} = \"{example}\"", plan.knob.name());
        let practice = "; knob = \"local\", or replicas with a [local] table, practise on the local stack";
        KnobError::Unfit(format!("{what}, or a [command] table with programs that set, read and meter it{practice}"))
    };
    let knob: Box<dyn Knob> = match plan.knob {
        KnobKind::Dynamodb => {
            let table = plan.table.clone().ok_or_else(|| unnamed("table", "NAME"))?;
            Box::new(dynamodb::Table::new(aws()?, table, plan.unit.is_writes(), per_request))
        }
        KnobKind::Personalize => {
            let arn = plan.campaign.clone().ok_or_else(|| unnamed("campaign", "arn:aws:personalize:.."))?;
            Box::new(personalize::Campaign::new(aws()?, arn))
        }
        KnobKind::Replicas => {
            let example = "http://127.0.0.1:8001/apis/apps/v1/namespaces/N/deployments/D";
            let cluster = plan.cluster.as_ref().ok_or_else(|| unnamed("deployment", example))?;
            if plan.meter.is_empty() {
                let what =
                    "a deployment counts no requests: [meter] pages = [\"http://HOST:7070/metrics\"] says who does";
                return Err(KnobError::Unfit(what.to_owned()));
            }
            Box::new(replicas::Deployment::open(cluster)?)
        }
        KnobKind::Command => return Err(unnamed("[command]", "..")),
        KnobKind::Local => return Err(KnobError::Unfit("the local stack is turned by `local::Local`".to_owned())),
    };
    if plan.meter.is_empty() {
        return Ok(knob);
    }
    Ok(Box::new(metered::Metered::new(knob, &plan.meter, per_request)?))
}
