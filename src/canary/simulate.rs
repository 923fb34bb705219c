//! Thousands of walks over made-up evenings: false roll backs, harm found, time to roll back, requests harmed.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Serialize;

use super::evening::{Evening, GROUPS, Group, Harm, LOOK_S, Noise, Truth};
use crate::judge::evidence::{Counts, Margin};
use crate::judge::guard::Guard;
use crate::judge::panel::{Panel, Reading, SOAK_S, Weights};
use crate::stop::Stop;

pub const STAGES: usize = 5;
pub const STAGE_S: f64 = 1800.0;
pub const WALK_S: f64 = STAGE_S * STAGES as f64;

/// A kind of evening, many of which are walked.
#[derive(Clone, Debug)]
pub struct Kind {
    pub name: &'static str,
    pub truth: Truth,
    /// Harm is looked for this long; healthy evenings last the whole walk.
    pub horizon_s: f64,
}

/// What the judge is held to on an evening, as shares of its walks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    RolledBackAtMost(f64),
    FoundAtLeast(f64),
    /// Half of the walks are rolled back within so many seconds.
    MedianWithin(f64),
}

impl Target {
    /// Returns what is asked at 50 requests/s and 0.1 % errors; other evenings have no target, only figures.
    pub fn of(kind: &str) -> Option<Self> {
        Some(match kind {
            "errors x3" | "p99 +10 %" => Self::FoundAtLeast(0.9),
            "1 % of requests +300 ms" => Self::FoundAtLeast(0.95),
            "errors x10" => Self::MedianWithin(60.0),
            "a tenth of the traffic, errors x3" => Self::FoundAtLeast(0.8),
            "a one-minute storm in a tenth of walks" => Self::RolledBackAtMost(0.016),
            "errors x2" | "a tenth of the traffic, p99 +10 %" => return None,
            kind if kind.starts_with("weak spot") => return None,
            _ => Self::RolledBackAtMost(0.012),
        })
    }

    pub fn is_met(self, outcome: &Outcome) -> bool {
        match self {
            Self::RolledBackAtMost(most) => outcome.share <= most,
            Self::FoundAtLeast(least) => outcome.share >= least,
            Self::MedianWithin(s) => outcome.share >= 0.5 && outcome.median_s.is_some_and(|m| m <= s),
        }
    }
}

/// What became of the walks of one kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    pub kind: String,
    pub healthy: bool,
    pub walks: usize,
    pub rolled_back: usize,
    /// In shares of the walks.
    pub share: f64,
    /// From the beginning of the harm.
    pub median_s: Option<f64>,
    pub p90_s: Option<f64>,
    /// Requests that failed or were slow because of the canary, until it was rolled back: the median walk.
    pub harmed: Option<f64>,
    /// Share of walks whose first stage reached go, and how long that took.
    pub go: f64,
    pub go_median_s: Option<f64>,
    pub horizon_s: f64,
    /// What was asked of it, and whether that is met; only for the traffic that targets were set for.
    pub target: Option<Target>,
    pub met: Option<bool>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Walked {
    rolled_back_s: Option<f64>,
    go_s: Option<f64>,
    harmed: f64,
}

/// Returns the kinds of evening that are walked, for a group's rate and the share of errors that is usual.
pub fn kinds(rate: f64, errors: f64) -> Vec<Kind> {
    let low = rate / 10.0;
    let truth = |noise| Truth { rate, errors, noise, harm: Harm::default() };
    let minute = Noise { every_s: 60.0, ..Noise::default() };
    let own = Noise { own_errors: 0.5, ..minute };
    let both = Noise { own_latency: 0.05, ..own };
    let healthy = |name, truth| Kind { name, truth, horizon_s: WALK_S };
    let harmed = |name, truth: Truth, harm, minutes: f64| Kind {
        name,
        truth: Truth { harm, ..truth },
        horizon_s: harm.begins_s + 60.0 * minutes,
    };
    let harm = Harm::default();
    let tripled = Harm { errors: 3.0, ..harm };
    let slower = Harm { latency: 1.1, ..harm };
    let plain = truth(Noise::default());
    vec![
        healthy("plain", plain),
        healthy("bursts that all share", truth(Noise { common_errors: 0.8, ..minute })),
        healthy("error bursts of each group", truth(own)),
        healthy("latency of each group", truth(Noise { own_latency: 0.05, ..minute })),
        healthy("error and latency bursts of each group", truth(both)),
        healthy("drift of traffic, errors, latency", truth(Noise { drift: true, ..minute })),
        healthy("errors ten times rarer", Truth { errors: errors / 10.0, ..plain }),
        healthy("a tenth of the traffic", Truth { rate: low, ..plain }),
        healthy("a tenth of the traffic, error bursts", Truth { rate: low, ..truth(own) }),
        healthy("a one-minute storm in a tenth of walks", truth(Noise { storms: 0.1, ..minute })),
        healthy("numbers missing for ten minutes", truth(Noise { outage: true, ..minute })),
        healthy("weak spot: wild error bursts", truth(Noise { own_errors: 1.0, ..minute })),
        healthy("weak spot: bursts of five minutes", truth(Noise { own_errors: 0.5, every_s: 300.0, ..minute })),
        healthy(
            "weak spot: lasting differences, errors 10 %, latency 1 %",
            truth(Noise { lasting_errors: 0.1, lasting_latency: 0.01, ..minute }),
        ),
        healthy(
            "weak spot: lasting differences, errors 30 %, latency 3 %",
            truth(Noise { lasting_errors: 0.3, lasting_latency: 0.03, ..minute }),
        ),
        harmed("errors x2", plain, Harm { errors: 2.0, ..harm }, 30.0),
        harmed("errors x3", plain, tripled, 5.0),
        harmed("errors x10", plain, Harm { errors: 10.0, ..harm }, 5.0),
        harmed("p99 +10 %", plain, slower, 5.0),
        harmed("1 % of requests +300 ms", plain, Harm { tail: 0.01, ..harm }, 5.0),
        harmed("a tenth of the traffic, errors x3", Truth { rate: low, ..plain }, tripled, 30.0),
        harmed("a tenth of the traffic, p99 +10 %", Truth { rate: low, ..plain }, slower, 30.0),
        harmed("weak spot: errors x3 from minute 15", plain, Harm { begins_s: 900.0, ..tripled }, 30.0),
        harmed("weak spot: errors x10 from minute 15", plain, Harm { begins_s: 900.0, errors: 10.0, ..harm }, 30.0),
        harmed("weak spot: p99 +10 % from minute 15", plain, Harm { begins_s: 900.0, ..slower }, 30.0),
        harmed("weak spot: errors x3 inside bursts", truth(both), tripled, 5.0),
        harmed("weak spot: p99 +10 % inside bursts", truth(both), slower, 5.0),
        harmed("weak spot: 1 % +300 ms inside bursts", truth(both), Harm { tail: 0.01, ..harm }, 5.0),
    ]
}

/// How each walk goes.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// Tenths of the viewers in each stage.
    pub groups: [usize; STAGES],
    /// Seconds in which the baseline alone is listened to before.
    pub warm_up_s: f64,
}

/// Walks one kind `walks` times on every core; `None` when it was stopped.
pub fn walk_many(kind: &Kind, way: Way, walks: usize, seed: u64, stop: &Stop) -> Option<Outcome> {
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let each = || {
        let mut walked = Vec::new();
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= walks || stop.requested() {
                return walked;
            }
            walked.push(walk(kind, way, seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(n as u64)));
        }
    };
    let walked: Vec<Walked> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(each)).collect();
        running.into_iter().flat_map(|t| t.join().unwrap_or_default()).collect()
    });
    (walked.len() == walks).then(|| outcome(kind, &walked))
}

fn outcome(kind: &Kind, walked: &[Walked]) -> Outcome {
    let begins = kind.truth.harm.begins_s;
    let sorted = |of: &dyn Fn(&Walked) -> Option<f64>| {
        let mut all: Vec<f64> = walked.iter().filter_map(of).collect();
        all.sort_by(f64::total_cmp);
        all
    };
    let at = |all: &[f64], q: f64| all.get((all.len() as f64 * q) as usize).copied();
    let found = sorted(&|w| w.rolled_back_s.filter(|s| *s >= begins).map(|s| s - begins));
    let gone = sorted(&|w| w.go_s);
    let harmed = sorted(&|w| w.rolled_back_s.map(|_| w.harmed));
    let healthy = kind.truth.harm.is_none();
    let share = |n: usize| n as f64 / walked.len().max(1) as f64;
    Outcome {
        kind: kind.name.to_owned(),
        healthy,
        walks: walked.len(),
        rolled_back: found.len(),
        share: share(found.len()),
        median_s: at(&found, 0.5),
        p90_s: at(&found, 0.9),
        harmed: if healthy { None } else { at(&harmed, 0.5) },
        go: share(gone.len()),
        go_median_s: at(&gone, 0.5),
        horizon_s: kind.horizon_s,
        target: None,
        met: None,
    }
}

impl Outcome {
    /// Holds it to its target, where it has one.
    #[must_use]
    pub fn held_to(mut self, target: Option<Target>) -> Self {
        self.met = target.map(|t| t.is_met(&self));
        self.target = target;
        self
    }
}

fn walk(kind: &Kind, way: Way, seed: u64) -> Walked {
    let groups = way.groups;
    let mut evening = Evening::new(kind.truth, WALK_S, seed);
    let guards = Guard::usual();
    let mut panel = Panel::new(&guards, GROUPS - groups[0], WALK_S);
    let margins = margins(kind.truth.errors);
    let outage = if kind.truth.noise.outage { 720.0..1320.0 } else { 0.0..0.0 };
    let mut walked = Walked::default();
    let (mut stage, mut seen_s) = (usize::MAX, 0.0);
    for look in 0..(way.warm_up_s / LOOK_S) as usize {
        let t = look as f64 * LOOK_S - (way.warm_up_s / LOOK_S).floor() * LOOK_S;
        let drawn = evening.next(t, groups[0]);
        feed(&mut panel, t, &drawn, groups[0], &margins, (false, false));
    }
    for look in 0..(kind.horizon_s / LOOK_S) as usize {
        let t = look as f64 * LOOK_S;
        let now = ((t / STAGE_S) as usize).min(STAGES - 1);
        let canary = groups[now];
        let drawn = evening.next(t, canary);
        if outage.contains(&t) {
            continue;
        }
        let begins = now != stage;
        (stage, seen_s) = (now, if begins { 0.0 } else { seen_s } + LOOK_S);
        feed(&mut panel, t, &drawn, canary, &margins, (true, begins));
        if !kind.truth.harm.is_none() && t >= kind.truth.harm.begins_s {
            walked.harmed += harm_done(&drawn[..canary], kind.truth);
        }
        let soaked = walked.go_s.is_none() && now == 0 && seen_s >= SOAK_S;
        let weights = decisive(&panel, soaked);
        if weights.rolls_back() {
            walked.rolled_back_s = Some(t + LOOK_S);
            break;
        }
        if soaked && weights.is_healthy() {
            walked.go_s = Some(t + LOOK_S);
        }
    }
    walked
}

/// A glance bounds the evidence from above: all of it is weighed only when that would decide.
fn decisive(panel: &Panel, soaked: bool) -> Weights {
    let bound = panel.glance(soaked);
    if bound.rolls_back() || soaked && bound.is_healthy() { panel.weigh() } else { bound }
}

fn feed(
    panel: &mut Panel,
    t: f64,
    drawn: &[Group; GROUPS],
    canary: usize,
    margins: &[Margin; 3],
    (seen, begins): (bool, bool),
) {
    let counted: [fn(&Group) -> f64; 3] = [|g| g.errors, |g| g.slow95, |g| g.slow99];
    let mut slices = [[(0.0, 0.0); GROUPS]; 3];
    let mut readings = [None; 3];
    for (i, count) in counted.iter().enumerate() {
        let sum = |groups: &[Group]| groups.iter().fold((0.0, 0.0), |(k, n), g| (k + count(g), n + g.requests));
        for (slice, group) in slices[i].iter_mut().zip(&drawn[canary..]) {
            *slice = (count(group), group.requests);
        }
        let (own, rest) = drawn.split_at(canary);
        readings[i] = Some((sum(own), sum(rest)));
    }
    let readings: [Option<Reading<'_>>; 3] = std::array::from_fn(|i| {
        readings[i].map(|(canary_sum, baseline)| Reading {
            counts: Counts { canary: canary_sum, baseline, slices: &slices[i][..GROUPS - canary] },
            margin: margins[i],
        })
    });
    // Whether the canary has numbers, and a stage begins.
    panel.feed(t, &readings, seen, begins);
}

/// What the usual guards mean on this truth: errors x1.5 or +0.1 points; p95 and p99 +10 % of a lognormal.
fn margins(errors: f64) -> [Margin; 3] {
    let harm = (1.0 + Guard::ERROR_POINTS / errors).max(1.5);
    [harm, 1.37, 1.51].map(|harm| Margin { tolerated: 1.0, harm })
}

fn harm_done(canary: &[Group], truth: Truth) -> f64 {
    canary.iter().map(|g| (g.errors - g.requests * truth.errors).max(0.0).max(g.slow99 - g.requests * 0.01)).sum()
}
