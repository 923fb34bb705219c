//! The kinds of sources, one a file; `open` finds the one that a plan names.

pub mod cloudwatch;
pub mod command;
pub mod counters;
pub mod metrics;
pub mod prometheus;
pub mod router;
pub mod sent;

use std::path::Path;
use std::sync::Arc;

use super::error::CanaryError;
use super::plan::Plan;
use super::source::Source;
use super::wiring::Numbers;

/// `home` is where the local stack lives, `sent` what the walk's own load counts in.
pub fn open(plan: &Plan, home: &Path, sent: Option<Arc<sent::Ledger>>) -> Result<Box<dyn Source>, CanaryError> {
    let router = Numbers { from: "router".to_owned(), ..Numbers::default() };
    let numbers = match &plan.wiring.numbers {
        Some(numbers) => numbers,
        None if plan.driver == "local" => &router,
        None => return Err(CanaryError::Unfit("a [numbers] table has to say where the numbers come from".to_owned())),
    };
    match numbers.from.as_str() {
        "router" => Ok(Box::new(router::Router::new(home).map_err(CanaryError::World)?)),
        "load" => {
            // On the way back nothing is sent and nothing judged.
            let ledger = sent.unwrap_or_else(|| sent::Ledger::new(&plan.salt));
            let sent = sent::Sent::new(ledger, home).map_err(CanaryError::World)?;
            Ok(Box::new(sent))
        }
        "metrics" => {
            let pages = metrics::Pages::new(numbers.baseline.clone(), numbers.canary.clone());
            Ok(Box::new(pages.map_err(CanaryError::World)?))
        }
        "prometheus" => {
            let url = numbers.url.as_deref().unwrap_or_default();
            let (baseline, canary) = (numbers.baseline.clone(), numbers.canary.clone());
            Ok(Box::new(prometheus::Prometheus::new(url, baseline, canary).map_err(CanaryError::World)?))
        }
        "cloudwatch" => {
            let groups = cloudwatch::Groups::new(cloudwatch::Asked {
                region: numbers.region.clone().unwrap_or_else(|| "us-east-1".to_owned()),
                endpoint: numbers.endpoint.clone(),
                balancer: numbers.balancer.clone().unwrap_or_default(),
                baseline: numbers.baseline.clone(),
                canary: numbers.canary.clone(),
                timed: plan.guards.iter().any(|g| g.counts.is_latency()),
            });
            Ok(Box::new(groups.map_err(CanaryError::World)?))
        }
        "command" => Ok(Box::new(command::Printed::new(numbers.print.clone()))),
        other => Err(CanaryError::Unfit(format!("numbers: `{other}` cannot be opened"))),
    }
}
