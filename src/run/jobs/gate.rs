//! A gate as a job: a load with its objectives, and a comparison with an earlier run or another deployment.

use std::sync::Arc;
use std::time::Duration;

use super::load::{play_and, run_load, summarise, title};
use crate::judge::compare::{Comparison, Moment, Pace, Terms, compare};
use crate::judge::verdict::Verdict;
use crate::load::engine::{Spec, Told};
use crate::load::fold::{Ending, Fold};
use crate::load::question::{Asker, Check, Question};
use crate::load::schedule::{Schedule, Shard};
use crate::load::summary::LoadSummary;
use crate::load::target::Address;
use crate::load::tick::{EndpointTick, LoadPlan, StageTick, Tick};
use crate::run::error::RunError;
use crate::run::event::Event;
use crate::run::job::{Desk, Job};
use crate::run::past::PastLoad;
use crate::run::summary::Summary;
use crate::stats::units::Share;

/// How long one side is asked before the other has its turn.
const SLICE: Duration = Duration::from_secs(5);

pub struct Gate {
    pub spec: Spec,
    pub against: Option<Against>,
    pub quantile: f64,
    pub margin: Share,
}

pub enum Against {
    /// An earlier run of the same scenario.
    Run(Box<PastLoad>),
    /// Another deployment, asked by turns in the same run.
    Address(Address),
}

impl Job for Gate {
    fn kind(&self) -> &'static str {
        "gate"
    }

    fn title(&self) -> String {
        title(&self.spec)
    }

    fn keeps_folder(&self) -> bool {
        true
    }

    fn run(self: Box<Self>, desk: &Desk) -> Result<Summary, RunError> {
        let (mut load, comparison) = match &self.against {
            None => (super::load::play(&self.spec, desk)?, None),
            Some(Against::Run(past)) => {
                let baseline = moments(past)?;
                let mut own = Moments::new(self.spec.schedule.duration());
                let load = play_and(&self.spec, desk, &mut |told| {
                    if let Told::Tick(tick) = told {
                        own.add(tick);
                    }
                })?;
                let name = past.folder.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
                let seen = compare(&baseline.all, &own.all, &self.terms(name));
                (load, Some(seen))
            }
            Some(Against::Address(address)) => {
                let (load, old, new) = self.by_turns(address, desk)?;
                let seen = compare(&old.all, &new.all, &self.terms(address.origin()));
                (load, Some(seen))
            }
        };
        if let Some(comparison) = comparison {
            judge(&mut load, comparison);
        }
        let mut summary = summarise(self.title(), &load)?;
        if let Some(c) = &load.comparison {
            summary.lines.push(format!("against {}: {}, {}", c.against, c.verdict, c.reason));
        }
        Ok(summary)
    }
}

impl Gate {
    fn terms(&self, against: String) -> Terms {
        let apart = matches!(self.against, Some(Against::Run(_)));
        Terms { quantile: self.quantile, margin: self.margin, against, seed: self.spec.seed, apart }
    }

    /// Sends every slice of the scenario to both sides, in turns A B, B A, A B, so that a drift falls on both alike.
    fn by_turns(&self, other: &Address, desk: &Desk) -> Result<(LoadSummary, Moments, Moments), RunError> {
        let plan = self.plan();
        desk.tell(Event::LoadPlan(plan.clone()));
        let objectives = if self.spec.objectives.is_empty() { implied()? } else { self.spec.objectives.clone() };
        let mut fold = Fold::new(plan.clone(), objectives);
        let (mut old, mut new) = (Moments::default(), Moments::default());
        let mut ending = Ending::default();
        for (turn, slice) in slices(&self.spec).into_iter().enumerate() {
            for side in [turn % 2, 1 - turn % 2] {
                let candidate = side == 1;
                let mut spec = self.spec.clone();
                if !candidate {
                    spec.address = other.clone();
                    spec.target = other.origin();
                }
                spec.schedule = Schedule::Recorded(Arc::clone(&slice.dues));
                spec.asker = Arc::new(Part { inner: Arc::clone(&self.spec.asker), first: slice.first });
                spec.objectives.clear();
                let mut seen = Moments::new(spec.schedule.duration());
                let mut ticks = Vec::new();
                let summary = run_load(&spec, desk, &mut |told| {
                    if let Told::Tick(tick) = told {
                        seen.add(tick);
                        if candidate {
                            ticks.push(shifted(tick, &slice, plan.stages.len()));
                        }
                    }
                })?;
                if summary.requests == 0 && !summary.stopped {
                    return Err(RunError::cannot_tell(summary.reason));
                }
                for tick in ticks {
                    fold.add(&tick);
                    desk.tell(Event::Tick(Box::new(tick)));
                }
                if summary.generator.saturated && !candidate {
                    ending.broken = Some(format!("while {} was asked: {}", spec.target, summary.reason));
                }
                let all = if candidate { &mut new } else { &mut old };
                all.all.append(&mut seen.all);
                if desk.stop.requested() {
                    ending.stopped = true;
                    return Ok((fold.summary(ending), old, new));
                }
            }
        }
        ending.run = desk.folder.as_ref().map(|f| f.display().to_string());
        Ok((fold.summary(ending), old, new))
    }

    fn plan(&self) -> LoadPlan {
        let spec = &self.spec;
        let implied = spec.objectives.is_empty();
        let written = spec.objectives.iter().map(ToString::to_string).collect();
        let implied_text = || crate::judge::objective::IMPLIED.iter().map(|t| (*t).to_owned()).collect();
        LoadPlan {
            shard: String::new(),
            scenario: spec.name.clone(),
            target: spec.target.clone(),
            seed: spec.seed,
            duration_s: spec.schedule.duration().as_secs_f64(),
            endpoints: spec.asker.endpoints(),
            stages: spec.schedule.stages(),
            objectives: if implied { implied_text() } else { written },
            implied,
            model: "open".to_owned(),
            connections: spec.connections,
            workers: 1,
            began_ms: 0,
        }
    }
}

fn implied() -> Result<Vec<crate::judge::objective::Objective>, RunError> {
    super::limit::implied().map_err(RunError::cannot_tell)
}

/// Puts the comparison into the verdict: slower is no, and what cannot be told does not pass.
fn judge(load: &mut LoadSummary, comparison: Comparison) {
    let said = format!("against {}: {}", comparison.against, comparison.reason);
    let errors = format!(
        "{} of the answers failed, {} did against {}",
        Share(comparison.candidate_errors),
        Share(comparison.baseline_errors),
        comparison.against
    );
    match (load.verdict, comparison.verdict) {
        (Verdict::CannotTell, _) => {}
        (Verdict::No, Pace::Slower) => load.reason = format!("{}; {said}", load.reason),
        (Verdict::No, _) => {}
        (Verdict::Go, _) if comparison.more_errors => (load.verdict, load.reason) = (Verdict::No, errors),
        (Verdict::Go, Pace::Slower) => (load.verdict, load.reason) = (Verdict::No, said),
        (Verdict::Go, Pace::CannotTell) => (load.verdict, load.reason) = (Verdict::CannotTell, said),
        (Verdict::Go, _) => load.reason = format!("{}; {said}", load.reason),
    }
    load.comparison = Some(comparison);
}

/// A run's seconds, as the comparison reads them; what came in after the schedule belongs to its last second.
#[derive(Default)]
pub struct Moments {
    all: Vec<Moment>,
    last: usize,
}

impl Moments {
    pub fn new(schedule: Duration) -> Self {
        let seconds = schedule.as_secs_f64().ceil().max(1.0) as usize;
        Self { all: vec![Moment::default(); seconds], last: seconds - 1 }
    }

    pub fn add(&mut self, tick: &Tick) {
        let sum = |of: fn(&EndpointTick) -> u64| tick.endpoints.iter().map(of).sum();
        let moment = Moment::new(tick.endpoints.iter().map(|e| &e.latency), sum(|e| e.ended), sum(|e| e.errors));
        self.all[(tick.second as usize).min(self.last)].merge(&moment);
    }

    pub fn all(&self) -> &[Moment] {
        &self.all
    }
}

/// Reads the moments of a past run.
pub fn moments(past: &PastLoad) -> Result<Moments, RunError> {
    let mut moments = Moments::new(Duration::from_secs_f64(past.plan.duration_s.clamp(0.0, 1e8)));
    past.each_tick(|tick| moments.add(&tick))?;
    Ok(moments)
}

/// Refuses a baseline that measured something else; returns what is worth a warning.
pub fn check_baseline(past: &PastLoad, spec: &Spec) -> Result<Vec<String>, RunError> {
    let name = past.folder.display();
    let refuse = |why: String| Err(RunError::misuse(format!("{name} cannot be the baseline: {why}")));
    let Some(summary) = &past.summary else {
        return refuse("the run never ended".to_owned());
    };
    if past.plan.scenario != spec.name {
        return refuse(format!("it ran `{}`, this is `{}`", past.plan.scenario, spec.name));
    }
    if past.plan.stages != spec.schedule.stages() || past.plan.endpoints != spec.asker.endpoints() {
        return refuse(
            "the scenario has changed since: its stages or requests are others; make a new baseline".to_owned(),
        );
    }
    if past.plan.seed != spec.seed {
        return refuse(format!("it drew from seed {}, this run from {}: other requests", past.plan.seed, spec.seed));
    }
    if summary.stopped {
        return refuse("it was stopped early".to_owned());
    }
    if summary.generator.saturated || summary.verdict == Verdict::CannotTell {
        return refuse(format!("it could not tell itself: {}", summary.reason));
    }
    let mut warnings = Vec::new();
    if past.plan.target != spec.target {
        let text = format!(
            "the baseline asked {}, this run asks {}: a difference may be the place's",
            past.plan.target, spec.target
        );
        warnings.push(text);
    }
    if summary.verdict == Verdict::No {
        warnings.push(format!("the baseline itself was a no: {}", summary.reason));
    }
    if past.plan.connections != spec.connections {
        let text = format!("the baseline held {} connections, this run {}", past.plan.connections, spec.connections);
        warnings.push(text);
    }
    Ok(warnings)
}

/// A piece of the schedule, sent by itself.
struct Slice {
    dues: Arc<[Duration]>,
    /// Place of its first request in the whole schedule.
    first: u64,
    begins_s: f64,
    stage: usize,
}

/// Cuts the schedule into slices that lie within one stage each.
fn slices(spec: &Spec) -> Vec<Slice> {
    let total = spec.schedule.duration();
    // At least sixteen turns, where the run is long enough for slices of a second.
    let each = (total / 16).clamp(Duration::from_secs(1), SLICE).as_secs();
    let mut slices: Vec<(Slice, Vec<Duration>)> = Vec::new();
    for due in spec.schedule.arrivals(spec.seed, Shard::default()) {
        let at = Duration::from_nanos(due.at_ns);
        let begins_s = (at.as_secs() / each * each) as f64;
        let stage = usize::from(due.stage);
        let same = slices.last().is_some_and(|(s, _)| s.begins_s == begins_s && s.stage == stage);
        if !same {
            slices.push((Slice { dues: Arc::new([]), first: due.index, begins_s, stage }, Vec::new()));
        }
        if let Some((slice, dues)) = slices.last_mut() {
            dues.push(at.saturating_sub(Duration::from_secs_f64(slice.begins_s)));
        }
    }
    slices.into_iter().map(|(slice, dues)| Slice { dues: dues.into(), ..slice }).collect()
}

/// The questions of a slice.
struct Part {
    inner: Arc<dyn Asker>,
    first: u64,
}

impl Asker for Part {
    fn endpoints(&self) -> Vec<String> {
        self.inner.endpoints()
    }

    fn ask(&self, index: u64, question: &mut Question) {
        self.inner.ask(self.first + index, question);
    }

    fn check(&self, endpoint: u16) -> Option<&Check> {
        self.inner.check(endpoint)
    }
}

/// A slice's second, as a second of the whole scenario.
fn shifted(tick: &Tick, slice: &Slice, stages: usize) -> Tick {
    let mut tick = tick.clone();
    tick.second += slice.begins_s as u32;
    tick.ends_s += slice.begins_s;
    tick.stage = slice.stage;
    tick.stages.clear();
    if stages > 1 {
        let mut ended = EndpointTick::default();
        tick.endpoints.iter().for_each(|e| ended.merge(e));
        tick.stages.push(StageTick { stage: slice.stage, due: tick.due, sent: tick.sent, ended });
    }
    tick
}
