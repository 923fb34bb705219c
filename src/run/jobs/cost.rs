//! The way down as a job: a plan and recorded demand in, steps told as they come, the descent as its summary.

use std::time::Duration;

use crate::cost::demand::Demand;
use crate::cost::descent::{Descent, PriceUsed};
use crate::cost::plan::Plan;
use crate::cost::step::Step;
use crate::cost::{rule, simulate};
use crate::run::error::RunError;
use crate::run::event::{Event, Happened};
use crate::run::job::{Desk, Job};
use crate::run::summary::Summary;

/// Walks recorded demand behind the limiter's model.
#[derive(Debug)]
pub struct Simulate {
    pub plan: Plan,
    pub demand: Demand,
    pub price: PriceUsed,
    /// Spreads the walk over this much time, for somebody who watches.
    pub play: Option<Duration>,
}

impl Job for Simulate {
    fn kind(&self) -> &'static str {
        "cost"
    }

    fn title(&self) -> String {
        let name = std::path::Path::new(&self.plan.name)
            .file_stem()
            .map_or_else(String::new, |s| s.to_string_lossy().into_owned());
        format!("{name}: the way down, simulated")
    }

    fn keeps_folder(&self) -> bool {
        true
    }

    fn run(self: Box<Self>, desk: &Desk) -> Result<Summary, RunError> {
        let mut steps: Vec<Step> = Vec::new();
        let walk =
            simulate::walk(&self.plan, self.price.usd_per_unit_hour, &self.demand, &mut |s| steps.push(s.clone()));
        let walk = walk.map_err(RunError::misuse)?;
        let by_rule = rule::walk(&self.plan, &self.demand).map_err(RunError::misuse)?;
        let stopped = tell(desk, &steps, &self.plan.unit.name, self.play);
        let descent = Descent::of(&self.plan, &self.demand.name, walk, self.price, by_rule, self.demand.notes);
        let document = serde_json::to_value(&descent).map_err(RunError::cannot_tell)?;
        Ok(Summary {
            title: format!("{} → {} {}", descent.start_capacity, descent.final_capacity, descent.unit),
            verdict: Some(descent.verdict),
            reason: descent.reason.clone(),
            lines: descent.lines(),
            document,
            stopped,
        })
    }
}

/// Tells each step, spread over `play`; returns whether somebody stopped it.
fn tell(desk: &Desk, steps: &[Step], unit: &str, play: Option<Duration>) -> bool {
    let pause = play.map_or(Duration::ZERO, |all| all / (steps.len().max(1) as u32));
    for step in steps {
        desk.tell(Event::CostStep(Box::new(step.clone())));
        if step.share_of_limit.is_none() {
            let text = format!("{} {unit}: {}", step.capacity, step.reason);
            let good = match step.verdict {
                crate::cost::step::StepVerdict::Go => Some(true),
                crate::cost::step::StepVerdict::Hold => None,
                crate::cost::step::StepVerdict::Up => Some(false),
            };
            desk.tell(Event::Happened(Happened { at: step.at.clone(), source: "cost".to_owned(), text, good }));
        }
        let end = std::time::Instant::now() + pause;
        while std::time::Instant::now() < end {
            if desk.stop.requested() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20).min(pause));
        }
    }
    false
}
