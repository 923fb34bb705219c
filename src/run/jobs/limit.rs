//! The limit search as a job: each step is a load of its own, the search says which one is next.

use std::time::Duration;

use serde_json::json;

use super::load::run_load;
use crate::judge::objective::{Metric, Objective};
use crate::judge::verdict::Verdict;
use crate::load::engine::{Spec, Told};
use crate::load::limit::{Order, Outcome, Search, Signal, Step, Terms};
use crate::load::schedule::{Schedule, Shape, Stage};
use crate::load::summary::LoadSummary;
use crate::run::error::RunError;
use crate::run::job::{Desk, Job};
use crate::run::summary::Summary;
use crate::stats::progress::Progress;
use crate::stats::units::{Rps, grouped};

pub const SCHEMA: &str = "serin.limit/1";
/// The half of a step that is judged; the half before it lets queues and buckets settle.
const STEADY: &str = "steady";
/// After a step that broke, the target gets this long to recover.
const REST: Duration = Duration::from_millis(500);
/// Answering less than this share of what is asked shows what the target can do.
const OVERLOADED: f64 = 0.97;

pub struct Limit {
    /// Its schedule is replaced, step by step.
    pub spec: Spec,
    pub terms: Terms,
}

impl Job for Limit {
    fn kind(&self) -> &'static str {
        "limit"
    }

    fn title(&self) -> String {
        format!("{} → {}", self.spec.name, self.spec.target)
    }

    fn keeps_folder(&self) -> bool {
        true
    }

    fn run(self: Box<Self>, desk: &Desk) -> Result<Summary, RunError> {
        let mut search = Search::new(self.terms);
        loop {
            match search.next() {
                Order::Done(outcome) => return Ok(self.summary(&search, Some(outcome))),
                Order::Send { rate, lasts } => {
                    let Some(step) = self.step(rate, lasts, desk)? else { return Ok(self.summary(&search, None)) };
                    desk.say(told(&step));
                    let done = search.steps().len() as f64 + 1.0;
                    desk.tell(crate::run::event::Event::Progress(Progress {
                        task: "searching the limit".to_owned(),
                        done,
                        total: None,
                        unit: "steps".to_owned(),
                        left_s: None,
                        note: format!("{} {}", Rps(rate), if step.met { "holds" } else { "breaks" }),
                    }));
                    let rest = !step.met;
                    search.learn(step);
                    if rest {
                        std::thread::sleep(REST);
                    }
                }
            }
        }
    }
}

impl Limit {
    /// Sends one rate and reads its settled half; `None` when somebody stopped it.
    fn step(&self, rate: f64, lasts: Duration, desk: &Desk) -> Result<Option<Step>, RunError> {
        let settle = Duration::from_secs(lasts.as_secs().div_ceil(2));
        let stage =
            |name: &str, begins, lasts| Stage { name: name.to_owned(), shape: Shape::Constant { rate }, begins, lasts };
        let mut spec = self.spec.clone();
        spec.schedule = Schedule::Stages(vec![
            stage("settle", Duration::ZERO, settle),
            stage(STEADY, settle, lasts.saturating_sub(settle)),
        ]);
        for objective in &mut spec.objectives {
            let whole_only = matches!(objective.metric, Metric::Part(..));
            if !whole_only && objective.endpoint.is_none() && objective.windows.is_none() {
                objective.stage = Some(STEADY.to_owned());
            }
        }
        let (first, last) = (settle.as_secs() as u32, lasts.as_secs() as u32);
        let mut good = 0;
        let summary = run_load(&spec, desk, &mut |told| {
            if let Told::Tick(tick) = told
                && (first..last).contains(&tick.second)
            {
                let ended =
                    |of: fn(&crate::load::tick::EndpointTick) -> u64| tick.endpoints.iter().map(of).sum::<u64>();
                good += ended(|e| e.ended) - ended(|e| e.errors);
            }
        })?;
        if summary.stopped {
            return Ok(None);
        }
        if summary.rate.answered == 0.0 && !summary.generator.saturated {
            return Err(RunError::cannot_tell(summary.reason));
        }
        let good_rate = good as f64 / f64::from((last - first).max(1));
        Ok(Some(self.read(&spec, &summary, rate, lasts, good_rate)))
    }

    fn read(&self, spec: &Spec, summary: &LoadSummary, rate: f64, lasts: Duration, good_rate: f64) -> Step {
        let missed = || spec.objectives.iter().zip(&summary.objectives).filter(|(_, j)| j.met == Some(false));
        let throttled = summary.errors.by_kind.get("throttled").copied().unwrap_or(0);
        let broke_by = match summary.verdict {
            Verdict::Go => None,
            Verdict::CannotTell => Some(Signal::Generator),
            Verdict::No => Some(match missed().find(|(o, _)| !o.can_blame_generator()) {
                Some(_) if throttled * 2 >= summary.errors.total => Signal::Quota,
                Some(_) => Signal::Errors,
                None => Signal::Latency,
            }),
        };
        let shown = missed().next().map(|(_, j)| j).or(summary.objectives.first());
        // What is allowed to fail comes on top of what the target answers well.
        let allowed = spec.objectives.iter().filter_map(|o| match o.metric {
            Metric::Errors(None) | Metric::Throttled => Some(o.limit),
            _ => None,
        });
        let allowed = if broke_by == Some(Signal::Latency) { 0.0 } else { allowed.fold(0.0, f64::max) };
        let overloaded = matches!(broke_by, Some(Signal::Latency | Signal::Quota)) && good_rate < OVERLOADED * rate;
        Step {
            rate,
            requests: summary.requests,
            met: broke_by.is_none(),
            broke_by,
            observed: shown.and_then(|j| j.observed),
            good_rate,
            duration_s: lasts.as_secs_f64(),
            hint: (overloaded && good_rate > 0.0).then(|| good_rate / (1.0 - allowed.min(0.5))),
        }
    }

    fn summary(&self, search: &Search, outcome: Option<Outcome>) -> Summary {
        let (limit, low, high, by) = match outcome {
            Some(Outcome::Found { low, high, by } | Outcome::Unsteady { low, high, by }) => {
                (Some(low), Some(low), Some(high), Some(by))
            }
            Some(Outcome::AtLeast { rate }) => (Some(rate), Some(rate), None, None),
            Some(Outcome::NotEven { rate, by }) => (None, None, Some(rate), Some(by)),
            Some(Outcome::Generator { low, .. }) => (None, low, None, Some(Signal::Generator)),
            None => (None, None, None, None),
        };
        let (verdict, reason) = judged(outcome, self.terms.to);
        let requests: u64 = search.steps().iter().map(|s| s.requests).sum();
        let objectives: Vec<_> = self.spec.objectives.iter().map(ToString::to_string).collect();
        let document = json!({
            "schema": SCHEMA,
            "verdict": verdict,
            "reason": reason,
            "scenario": self.spec.name,
            "target": self.spec.target,
            "seed": self.spec.seed,
            "limit_rate": limit,
            "low": low,
            "high": high,
            "broke_by": by,
            "objectives": objectives,
            "requests": requests,
            "steps": search.steps(),
        });
        let mut curve = search.steps().to_vec();
        curve.sort_by(|a, b| a.rate.total_cmp(&b.rate));
        let mut lines: Vec<String> = curve.iter().map(told).collect();
        lines.push(format!("{} steps, {} requests", curve.len(), grouped(requests)));
        Summary { title: self.title(), verdict: Some(verdict), reason, document, lines, stopped: outcome.is_none() }
    }
}

fn told(step: &Step) -> String {
    let end = match step.broke_by {
        None => "holds".to_owned(),
        Some(Signal::Generator) => "cannot be sent: the generator is the bottleneck".to_owned(),
        Some(by) => format!("breaks by {by}"),
    };
    let rate = Rps(step.rate).to_string();
    format!("{rate:>12} for {:>2.0} s: {end}, {} answered well", step.duration_s, Rps(step.good_rate))
}

fn judged(outcome: Option<Outcome>, to: f64) -> (Verdict, String) {
    let rate = |r: f64| Rps((r * 10.0).round() / 10.0);
    match outcome {
        Some(Outcome::Found { low, high, by }) => {
            let reason = format!("holds at {}, breaks at {} by {by}", rate(low), rate(high));
            (Verdict::Go, reason)
        }
        Some(Outcome::Unsteady { low, high, by }) => {
            let reason = format!("the limit moves: {} to {} hold and break by turns, by {by}", rate(low), rate(high));
            (Verdict::CannotTell, reason)
        }
        Some(Outcome::AtLeast { .. }) => {
            (Verdict::Go, format!("{} holds, and no more was asked: the limit is at least that", rate(to)))
        }
        Some(Outcome::NotEven { rate: lowest, by }) => {
            (Verdict::No, format!("already the lowest rate, {}, breaks by {by}; try a lower --from", rate(lowest)))
        }
        Some(Outcome::Generator { low: Some(low), high }) => {
            let reason = format!(
                "the generator is the bottleneck: the target holds {}, and {} could not be sent on time",
                rate(low),
                rate(high)
            );
            (Verdict::CannotTell, reason)
        }
        Some(Outcome::Generator { low: None, high }) => {
            (Verdict::CannotTell, format!("the generator cannot send even {} on time", rate(high)))
        }
        None => (Verdict::CannotTell, "stopped before the limit was found".to_owned()),
    }
}

/// What is searched for where no objective is given.
pub fn implied() -> Result<Vec<Objective>, String> {
    crate::judge::objective::IMPLIED.iter().map(|text| Objective::parse(text)).collect()
}
