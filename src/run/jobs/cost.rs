//! The way down as a job: a plan and recorded demand in, steps told as they come, the descent as its summary.

use std::time::Duration;

use crate::cost::demand::Demand;
use crate::cost::descent::{Descent, PriceUsed};
use crate::cost::drive::{Drive, Place};
use crate::cost::error::CostError;
use crate::cost::knob::KnobError;
use crate::cost::plan::Plan;
use crate::cost::step::{Step, StepVerdict};
use crate::cost::{knobs, rule, simulate};
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
        format!("{}: the way down, simulated", stem(&self.plan))
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
        let descent = Descent::of(&self.plan, &self.demand.name, walk, self.price, Some(by_rule), self.demand.notes);
        summary(&descent, stopped)
    }
}

/// Steps down for real.
pub struct Descend {
    pub plan: Plan,
    /// Recorded demand up to now, for the planner to begin with.
    pub history: Option<Demand>,
    pub price: PriceUsed,
}

impl Job for Descend {
    fn kind(&self) -> &'static str {
        "cost"
    }

    fn title(&self) -> String {
        format!("{}: the way down", stem(&self.plan))
    }

    fn keeps_folder(&self) -> bool {
        true
    }

    fn run(self: Box<Self>, desk: &Desk) -> Result<Summary, RunError> {
        let knob = knobs::open(&self.plan).map_err(RunError::misuse)?;
        let unit = self.plan.unit.name.clone();
        let mut name = knob.name();
        if let Some(history) = &self.history {
            name = format!("{name}, after {}", history.name);
        }
        let mut notes = self.history.as_ref().map_or_else(Vec::new, |h| h.notes.clone());
        notes.push(format!("journal: {}", Place::of(&desk.home, &self.plan).journal.display()));
        let drive = Drive {
            knob,
            place: Place::of(&desk.home, &self.plan),
            history: self.history,
            price: self.price.usd_per_unit_hour,
            stop: desk.stop.clone(),
            tell: &mut |step| step_told(desk, step, &unit),
            say: &mut |text| desk.say(text),
            plan: self.plan.clone(),
        };
        let walk = drive.run().map_err(error)?;
        let descent = Descent::of(&self.plan, &name, walk, self.price, None, notes);
        summary(&descent, desk.stop.requested())
    }
}

fn error(e: CostError) -> RunError {
    match e {
        CostError::Knob(KnobError::Failed { .. }) | CostError::Journal { .. } => RunError::cannot_tell(e),
        CostError::Held(_) => RunError::cannot_tell(e).hint("one way down a knob; the other one goes on"),
        _ => RunError::misuse(e),
    }
}

fn stem(plan: &Plan) -> String {
    std::path::Path::new(&plan.name).file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned())
}

fn summary(descent: &Descent, stopped: bool) -> Result<Summary, RunError> {
    Ok(Summary {
        title: format!("{} → {} {}", descent.start_capacity, descent.final_capacity, descent.unit),
        verdict: Some(descent.verdict),
        reason: descent.reason.clone(),
        lines: descent.lines(),
        document: serde_json::to_value(descent).map_err(RunError::cannot_tell)?,
        stopped,
    })
}

/// Tells a step as data, and its beginning as something that happened.
fn step_told(desk: &Desk, step: &Step, unit: &str) {
    desk.tell(Event::CostStep(Box::new(step.clone())));
    if step.share_of_limit.is_none() {
        let text = format!("{} {unit}: {}", step.capacity, step.reason);
        let good = match step.verdict {
            StepVerdict::Go => Some(true),
            StepVerdict::Hold => None,
            StepVerdict::Up => Some(false),
        };
        desk.tell(Event::Happened(Happened { at: step.at.clone(), source: "cost".to_owned(), text, good }));
    }
}

/// Tells each step, spread over `play`; returns whether somebody stopped it.
fn tell(desk: &Desk, steps: &[Step], unit: &str, play: Option<Duration>) -> bool {
    let pause = play.map_or(Duration::ZERO, |all| all / (steps.len().max(1) as u32));
    for step in steps {
        step_told(desk, step, unit);
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
