//! Ticks to a verdict: everything a summary says is folded from the plan and the ticks, live or read back from a journal.

use std::collections::BTreeMap;

use super::health::{self, Health, State};
use super::summary::{EndpointSummary, Errors, Generator, Judged, LoadSummary, Quantiles, Rates, SCHEMA};
use super::tick::{EndpointTick, LoadPlan, Parts, Tick};
use super::window::{Window, holds_but_for_late, of_ended, of_tick};
use crate::judge::measure::Measure;
use crate::judge::objective::{Metric, Objective};
use crate::judge::verdict::Verdict;
use crate::stats::units::{Rps, Share};

/// A load so far. Its size depends on endpoints and stages, never on how long it ran.
#[derive(Clone, Debug)]
pub struct Fold {
    plan: LoadPlan,
    objectives: Vec<Objective>,
    windows: Vec<Option<Window>>,
    whole: EndpointTick,
    endpoints: Vec<EndpointTick>,
    stages: BTreeMap<usize, (u64, u64, EndpointTick)>,
    due: u64,
    sent: u64,
    /// When the last request was sent and the last answer came, to the tick.
    sent_until: f64,
    answered_until: f64,
    ended_at: f64,
    kinds: BTreeMap<String, u64>,
    statuses: BTreeMap<u16, u64>,
    examples: BTreeMap<String, String>,
    degraded: u64,
    parts: Parts,
    health: Health,
}

/// How a run ended, beyond what its ticks say.
#[derive(Clone, Debug, Default)]
pub struct Ending {
    pub stopped: bool,
    /// What kept the run from being a run: unreachable, no socket.
    pub broken: Option<String>,
    /// The objective whose loss ended it.
    pub lost: Option<String>,
    pub run: Option<String>,
}

impl Fold {
    pub fn new(plan: LoadPlan, objectives: Vec<Objective>) -> Self {
        let health = Health { closed: plan.model == "closed", workers: plan.workers.max(1), ..Health::default() };
        Self {
            windows: objectives.iter().map(Window::of).collect(),
            endpoints: vec![EndpointTick::default(); plan.endpoints.len()],
            plan,
            objectives,
            whole: EndpointTick::default(),
            stages: BTreeMap::new(),
            due: 0,
            sent: 0,
            sent_until: 0.0,
            answered_until: 0.0,
            ended_at: 0.0,
            kinds: BTreeMap::new(),
            statuses: BTreeMap::new(),
            examples: BTreeMap::new(),
            degraded: 0,
            parts: Parts::default(),
            health,
        }
    }

    pub fn add(&mut self, tick: &Tick) {
        self.due += tick.due;
        self.sent += tick.sent;
        let lasted = (tick.ends_s - self.ended_at).max(0.0);
        self.ended_at = self.ended_at.max(tick.ends_s);
        if tick.sent > 0 {
            self.sent_until = tick.ends_s;
        }
        if tick.answered > 0 {
            self.answered_until = tick.ends_s;
        }
        for (own, seen) in self.endpoints.iter_mut().zip(&tick.endpoints) {
            own.merge(seen);
            self.whole.merge(seen);
        }
        for stage in &tick.stages {
            let (due, sent, ended) = self.stages.entry(stage.stage).or_default();
            *due += stage.due;
            *sent += stage.sent;
            ended.merge(&stage.ended);
        }
        for (kind, n) in &tick.errors {
            *self.kinds.entry(kind.clone()).or_default() += n;
        }
        for (status, n) in &tick.statuses {
            *self.statuses.entry(*status).or_default() += n;
        }
        for (kind, example) in &tick.examples {
            self.examples.entry(kind.clone()).or_insert_with(|| example.clone());
        }
        self.degraded += tick.degraded;
        self.parts.merge(&tick.parts);
        let g = &tick.generator;
        self.health.late.merge(&g.late);
        // The last tick is as short as may be: it must not weigh as a second does.
        self.health.cpu_share += (g.cpu_share - self.health.cpu_share) * lasted / self.ended_at.max(1e-9);
        self.health.steal_share = self.health.steal_share.max(g.steal_share);
        self.health.run_queue_ms += g.run_queue_ms;
        self.health.slept_s += g.slept_s;
        self.health.clock_grain_ms = self.health.clock_grain_ms.max(g.clock_grain_ms);
        self.health.clock_step_s += g.clock_step_s;
        self.health.seconds = self.ended_at;
        self.turn_windows(tick);
    }

    /// Every whole second a window ends; the drain after the schedule's end is no part of any.
    fn turn_windows(&mut self, tick: &Tick) {
        if tick.ends_s > self.plan.duration_s.ceil() + 1e-9 {
            return;
        }
        for (objective, window) in self.objectives.iter().zip(&mut self.windows) {
            let Some(window) = window else { continue };
            let endpoint = objective.endpoint.as_ref().and_then(|e| self.plan.endpoints.iter().position(|n| n == e));
            window.turn(objective, of_tick(tick, endpoint), tick.generator.late.clone());
        }
    }

    /// Returns the first objective that asks for an end and is lost for certain; `planned` are the requests of each
    /// stage, none where only the target decides how many there will be.
    pub fn lost(&self, planned: &[u64]) -> Option<&Objective> {
        let pairs = self.objectives.iter().zip(&self.windows);
        let lost = |(o, window): &(&Objective, &Option<Window>)| match (o.windows, window) {
            (Some(asked), Some(window)) => window.is_lost(self.plan.duration_s, asked.share),
            _ => {
                let whole = (!planned.is_empty()).then(|| planned.iter().sum());
                let stage = o.stage.as_ref().and_then(|name| self.plan.stages.iter().position(|s| s.name == *name));
                let of = if o.stage.is_some() { stage.and_then(|s| planned.get(s).copied()) } else { whole };
                o.is_lost(&self.measure(o), of.unwrap_or(u64::MAX))
            }
        };
        pairs.filter(|(o, _)| o.abort).find(lost).map(|(o, _)| o)
    }

    fn elapsed(&self) -> f64 {
        // A run that was cut short asked only for as long as it ran.
        if self.ended_at > 0.0 { self.plan.duration_s.min(self.ended_at) } else { 0.0 }
    }

    fn rate(&self, count: u64, until: f64) -> f64 {
        let seconds = self.elapsed().max(if count > 0 { until } else { 0.0 });
        if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
    }

    /// Returns the numbers of the scope that an objective names.
    fn measure(&self, objective: &Objective) -> Measure {
        if let Some(name) = &objective.stage {
            let at = self.plan.stages.iter().position(|s| s.name == *name);
            let of_one = || {
                // A run with one stage keeps no second copy of its numbers.
                (at == Some(0) && self.plan.stages.len() == 1).then(|| (self.due, self.sent, self.whole.clone()))
            };
            let Some((due, sent, ended)) = at.and_then(|n| self.stages.get(&n).cloned()).or_else(of_one) else {
                return Measure::default();
            };
            let stage = at.map(|n| &self.plan.stages[n]);
            let seconds = stage.map_or(0.0, |s| s.ends_s - s.begins_s);
            let rate = (seconds > 0.0).then(|| ended.answered as f64 / seconds);
            return Measure { in_time: Some((due, sent)), rate, ..of_ended(&ended) };
        }
        if let Some(name) = &objective.endpoint {
            let found = self.plan.endpoints.iter().position(|e| e == name).and_then(|n| self.endpoints.get(n));
            return found.map_or_else(Measure::default, of_ended);
        }
        let rate = (self.whole.answered > 0).then(|| self.rate(self.whole.answered, self.answered_until));
        Measure {
            in_time: Some((self.due, self.sent)),
            rate,
            parts: self.parts.named().into_iter().map(|(n, h)| (n, h.clone())).collect(),
            by_kind: self.kinds.clone(),
            ..of_ended(&self.whole)
        }
    }

    fn judged(&self, objective: &Objective, window: Option<&Window>) -> Judged {
        let expression = objective.to_string();
        if let (Some(window), Some(asked)) = (window, objective.windows) {
            return window.judged(expression, asked);
        }
        let observed = objective.observe(&self.measure(objective));
        let met = observed.map(|seen| objective.holds(seen));
        let reason = match (observed, met) {
            (Some(seen), Some(true)) => {
                format!("{} within {}", objective.shown(seen), objective.shown(objective.limit))
            }
            (Some(seen), _) => format!("{} misses {}", objective.shown(seen), objective.shown(objective.limit)),
            _ => "no data".to_owned(),
        };
        Judged { expression, limit: objective.limit, observed, met, reason }
    }

    /// Whether an objective that is missed would have held without the generator's own lateness.
    fn late_decides(&self, at: usize, state: State) -> bool {
        let objective = &self.objectives[at];
        match self.plan.model.as_str() {
            "open" => {}
            // A generator at the end of its CPU measures its own queue, and its own ceiling.
            "closed" => return state == State::Suspect && objective.can_blame_generator(),
            _ => return false,
        }
        if let (Some(window), Some(asked)) = (&self.windows[at], objective.windows) {
            return window.late_decides(asked.share);
        }
        objective
            .observe(&self.measure(objective))
            .is_some_and(|seen| holds_but_for_late(objective, seen, &self.health.late))
    }

    pub fn summary(&self, ending: Ending) -> LoadSummary {
        let judged: Vec<Judged> =
            self.objectives.iter().zip(&self.windows).map(|(o, w)| self.judged(o, w.as_ref())).collect();
        let seen = |q| self.whole.latency.quantile(q).map(|seen| seen.0);
        let seen = Health { latency_p90_ms: seen(0.9), latency_p99_ms: seen(0.99), ..self.health.clone() };
        let (state, state_reason) = health::judge(&seen);
        let (verdict, reason) = self.verdict(&judged, state, &state_reason, &ending);
        let total = self.whole.errors;
        let asked = if self.elapsed() > 0.0 { self.due as f64 / self.elapsed() } else { 0.0 };
        let one = |name: &str, e: &EndpointTick| EndpointSummary {
            name: name.to_owned(),
            requests: e.ended,
            errors: e.errors,
            throttled: e.throttled,
            latency_ms: Quantiles::from(&e.latency),
        };
        let late = |q| self.health.late.quantile(q).map(|m| m.0).filter(|_| !self.health.closed);
        let named = self.parts.named().into_iter().filter(|(_, h)| !h.is_empty());
        let named = named.map(|(n, h)| (n.replace(' ', "_"), Quantiles::from(h)));
        LoadSummary {
            schema: SCHEMA.to_owned(),
            verdict,
            reason,
            scenario: self.plan.scenario.clone(),
            target: self.plan.target.clone(),
            seed: self.plan.seed,
            rate: Rates {
                asked,
                sent: self.rate(self.sent, self.sent_until),
                answered: self.rate(self.whole.answered, self.answered_until),
            },
            duration_s: self.elapsed(),
            requests: self.whole.ended,
            errors: Errors {
                total,
                share: if self.whole.ended > 0 { total as f64 / self.whole.ended as f64 } else { 0.0 },
                by_kind: self.kinds.clone(),
                by_status: self.statuses.iter().filter(|(s, _)| **s >= 300).map(|(s, n)| (*s, *n)).collect(),
                examples: self.examples.clone(),
            },
            degraded: self.degraded,
            latency_ms: Quantiles::from(&self.whole.latency),
            service_ms: Quantiles::from(&self.whole.service),
            connection_wait_ms: Quantiles::from(&self.parts.connection_wait),
            parts_ms: named.collect(),
            endpoints: self.plan.endpoints.iter().zip(&self.endpoints).map(|(n, e)| one(n, e)).collect(),
            stages: self
                .stages
                .iter()
                .map(|(n, (_, _, e))| one(self.plan.stages.get(*n).map_or("", |s| &s.name), e))
                .collect(),
            generator: Generator {
                saturated: state == State::Invalid,
                late_p50_ms: late(0.5),
                late_p99_ms: late(0.99),
                cpu_share: self.health.cpu_share,
                dropped: self.due.saturating_sub(self.whole.ended),
                state: state.word().to_owned(),
                steal_share: self.health.steal_share,
                run_queue_ms: self.health.run_queue_ms,
                reason: state_reason,
            },
            objectives: judged,
            implied: self.plan.implied,
            stopped: ending.stopped,
            run: ending.run,
            comparison: None,
        }
    }

    fn verdict(&self, judged: &[Judged], state: State, why: &str, ending: &Ending) -> (Verdict, String) {
        if let Some(broken) = &ending.broken {
            return (Verdict::CannotTell, broken.clone());
        }
        if self.whole.answered == 0 {
            let example = self.examples.values().next().map_or(String::new(), |e| format!(" ({e})"));
            return (Verdict::CannotTell, format!("{} did not answer once{example}", self.plan.target));
        }
        let missed = || judged.iter().enumerate().filter(|(_, j)| j.met == Some(false));
        let said = |j: &Judged| format!("{}: {}", j.expression, j.reason);
        if state == State::Invalid {
            // Its own bursts after each stop may have brought even the errors that the target returned.
            let beside = missed().map(|(_, j)| said(j)).collect::<Vec<_>>();
            let beside = if beside.is_empty() { String::new() } else { format!("; beside it, {}", beside.join("; ")) };
            return (Verdict::CannotTell, format!("{why}{beside}"));
        }
        let (blamed, doubtful): (Vec<_>, Vec<_>) = missed().partition(|(at, _)| !self.late_decides(*at, state));
        if !blamed.is_empty() {
            let mut reason = blamed.iter().map(|(_, j)| said(j)).collect::<Vec<_>>().join("; ");
            if let Some(lost) = &ending.lost {
                reason = format!("{reason}; ended early, as {lost} was lost");
            }
            return (Verdict::No, reason);
        }
        if let Some((_, j)) = doubtful.first() {
            return (Verdict::CannotTell, format!("{}, but not without the generator's own lateness: {why}", said(j)));
        }
        if let Some(open) = judged.iter().find(|j| j.met.is_none()) {
            return (Verdict::CannotTell, said(open));
        }
        if let Some(failed) = self.failed_unasked() {
            return (Verdict::CannotTell, failed);
        }
        let met = judged.iter().map(|j| format!("{} ({})", j.expression, j.reason)).collect::<Vec<_>>().join(", ");
        let rate = Rps(self.rate(self.sent, self.sent_until));
        let suspect = if state == State::Suspect { format!("; {why}") } else { String::new() };
        (Verdict::Go, format!("met at {rate}: {met}{suspect}"))
    }

    /// Whether half of the requests failed and no objective speaks of it: what was met then was met by failures.
    fn failed_unasked(&self) -> Option<String> {
        let asks = |what: fn(&Metric) -> bool| self.objectives.iter().any(|o| what(&o.metric));
        if asks(|m| matches!(m, Metric::Errors(_))) {
            return None;
        }
        let throttled = if asks(|m| *m == Metric::Throttled) { self.whole.throttled } else { 0 };
        let failed = self.whole.errors - throttled;
        let share = Share(failed as f64 / self.whole.ended.max(1) as f64);
        let example = || self.examples.iter().find(|(kind, _)| *kind != "throttled" || throttled == 0);
        (failed > 0 && failed * 2 >= self.whole.ended).then(|| {
            let example = example().map_or(String::new(), |(_, e)| format!(" (for example {e})"));
            format!("{share} of the requests failed{example}, and no objective speaks of errors")
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tick::{StagePlan, StageTick};
    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Seen {
        Met,
        /// Missed by errors that the target itself returned.
        Errors,
        /// Missed by far more than the generator can have added.
        Slow,
        /// Missed by less than the generator was late.
        Near,
    }

    fn judged(model: &str, state: State, seen: Seen, objectives: &[&str]) -> LoadSummary {
        let objectives: Vec<Objective> = objectives.iter().map(|o| Objective::parse(o).expect("reads")).collect();
        let plan = LoadPlan {
            duration_s: 10.0,
            endpoints: vec!["GET /".to_owned()],
            model: model.to_owned(),
            workers: 1,
            ..LoadPlan::default()
        };
        let mut fold = Fold::new(plan, objectives);
        let late = match state {
            State::Valid => 0.05,
            State::Suspect => 8.0,
            State::Invalid => 30.0,
        };
        let latency = match seen {
            Seen::Met | Seen::Errors => 5.0 + late,
            Seen::Slow => 500.0,
            Seen::Near => 50.0 + late / 2.0,
        };
        let ms = |v: f64| Duration::from_secs_f64(v / 1000.0);
        for second in 0..10 {
            let mut tick = Tick { second, ends_s: f64::from(second) + 1.0, due: 100, sent: 100, ..Tick::default() };
            let mut e = EndpointTick { ended: 100, answered: 100, ..EndpointTick::default() };
            for i in 0..100 {
                // Suspect is late in the tail only.
                let own = if matches!(state, State::Suspect) && i < 95 { 0.05 } else { late };
                tick.generator.late.record(ms(own));
                e.latency.record(ms(latency));
                e.service.record(ms(latency));
            }
            if matches!(seen, Seen::Errors) {
                e.errors = 50;
                tick.errors.insert("status".to_owned(), 50);
            }
            tick.generator.cpu_share = if matches!(state, State::Valid) { 0.2 } else { 0.99 };
            tick.answered = 100;
            tick.endpoints = vec![e];
            fold.add(&tick);
        }
        fold.summary(Ending::default())
    }

    #[test]
    fn every_pair_of_a_generators_state_and_an_objective_has_its_verdict() {
        use State::{Invalid, Suspect, Valid};
        use Verdict::{CannotTell, Go, No};
        let table = [
            (Valid, Seen::Met, Go),
            (Valid, Seen::Errors, No),
            (Valid, Seen::Slow, No),
            (Valid, Seen::Near, No),
            (Suspect, Seen::Met, Go),
            (Suspect, Seen::Errors, No),
            (Suspect, Seen::Slow, No),
            (Suspect, Seen::Near, CannotTell),
            (Invalid, Seen::Met, CannotTell),
            (Invalid, Seen::Errors, CannotTell),
            (Invalid, Seen::Slow, CannotTell),
            (Invalid, Seen::Near, CannotTell),
        ];
        for latency in ["p99 < 50ms", "service p99 < 50ms", "p99 < 50ms for 95% of 2s windows"] {
            for (state, seen, verdict) in table {
                let summary = judged("open", state, seen, &["errors < 1%", latency]);
                let case = format!("{latency}, {state:?}, {seen:?}: {}", summary.reason);
                assert_eq!(summary.generator.state, state.word(), "{case}");
                assert_eq!(summary.verdict, verdict, "{case}");
                assert_eq!(summary.generator.saturated, state == Invalid, "{case}");
            }
        }
    }

    #[test]
    fn what_was_missed_stands_beside_a_generator_that_failed() {
        let summary = judged("open", State::Invalid, Seen::Errors, &["errors < 1%"]);
        assert!(summary.reason.starts_with("the generator was late"), "{}", summary.reason);
        assert!(summary.reason.contains("errors < 1%: 50.0 % misses 1.00 %"), "{}", summary.reason);
        assert_eq!(summary.objectives[0].met, Some(false));
    }

    #[test]
    fn a_closed_loop_at_the_end_of_its_cpu_blames_nobody_for_its_times() {
        for (state, seen, verdict) in [
            (State::Valid, Seen::Slow, Verdict::No),
            (State::Suspect, Seen::Met, Verdict::Go),
            (State::Suspect, Seen::Slow, Verdict::CannotTell),
            (State::Suspect, Seen::Errors, Verdict::No),
        ] {
            let summary = judged("closed", state, seen, &["errors < 1%", "p99 < 50ms"]);
            assert_eq!(summary.verdict, verdict, "{state:?} {seen:?}: {}", summary.reason);
        }
        let rate = judged("closed", State::Suspect, Seen::Met, &["rate > 1000"]);
        assert_eq!(rate.verdict, Verdict::CannotTell, "{}", rate.reason);
    }

    #[test]
    fn objectives_that_are_met_by_failures_alone_are_not_met() {
        let errors = judged("open", State::Valid, Seen::Errors, &["p99 < 100ms"]);
        assert_eq!(errors.verdict, Verdict::CannotTell, "{}", errors.reason);
        assert!(errors.reason.contains("no objective speaks of errors"), "{}", errors.reason);
        assert_eq!(judged("open", State::Valid, Seen::Met, &["p99 < 100ms"]).verdict, Verdict::Go);
    }

    /// Two stages of five seconds, ten requests a second; `slow` says which seconds are.
    fn lost_after(objective: &str, planned: &[u64], slow: &[u32]) -> Option<u32> {
        let stage = |name: &str, from: f64| StagePlan {
            name: name.to_owned(),
            begins_s: from,
            ends_s: from + 5.0,
            peak_rate: 10.0,
        };
        let plan = LoadPlan {
            duration_s: 10.0,
            endpoints: vec!["GET /".to_owned()],
            stages: vec![stage("first", 0.0), stage("second", 5.0)],
            model: "open".to_owned(),
            ..LoadPlan::default()
        };
        let objective = Objective { abort: true, ..Objective::parse(objective).expect("reads") };
        let mut fold = Fold::new(plan, vec![objective]);
        (0..10).find(|second| {
            let mut e = EndpointTick { ended: 10, answered: 10, ..EndpointTick::default() };
            let took = Duration::from_millis(if slow.contains(second) { 200 } else { 5 });
            (0..10).for_each(|_| e.latency.record(took));
            let stage = usize::from(*second >= 5);
            let stages = vec![StageTick { stage, due: 10, sent: 10, ended: e.clone() }];
            fold.add(&Tick {
                second: *second,
                ends_s: f64::from(*second) + 1.0,
                endpoints: vec![e],
                stages,
                ..Tick::default()
            });
            fold.lost(planned).is_some()
        })
    }

    #[test]
    fn an_objective_ends_the_run_in_the_second_in_which_it_is_lost() {
        let both = [50, 50];
        // Of a stage: ten of its fifty are over, one in ten was allowed.
        assert_eq!(lost_after("p90 < 100ms in second", &both, &[6]), Some(6));
        assert_eq!(lost_after("p90 < 100ms in second", &both, &[1, 2, 3]), None, "another stage's slowness");
        assert_eq!(lost_after("p90 < 100ms", &both, &[1]), None, "ten of a hundred are just allowed");
        assert_eq!(lost_after("p90 < 100ms", &both, &[1, 3]), Some(3));
        // Of windows: ten of a second each, two of them lost are too many.
        assert_eq!(lost_after("p90 < 100ms for 90% of 1s windows", &both, &[2, 7]), Some(7));
        assert_eq!(lost_after("p90 < 100ms for 80% of 1s windows", &both, &[2, 7]), None);
        // Where only the target decides how many there will be, windows still end in time.
        assert_eq!(lost_after("p90 < 100ms for 90% of 1s windows", &[], &[2, 7]), Some(7));
        assert_eq!(lost_after("p90 < 100ms", &[], &[1, 2, 3, 4, 5]), None, "a million more may come");
        assert_eq!(lost_after("max < 100ms", &[], &[4]), Some(4));
    }
}
