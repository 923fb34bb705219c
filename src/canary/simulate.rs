//! Thousands of walks over made-up evenings: false roll backs, harm found, time to roll back, requests harmed.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Serialize;

use super::evening::{GROUPS, Group, Harm, LOOK_S, Noise, Truth};
use super::night::{Blind, Kind, Night, STAGE_S, STAGES, WALK_S, Walked, Way};
use super::outage;
use crate::judge::panel::SOAK_S;
use crate::stop::Stop;

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
        if outcome.blind.is_some_and(|b| b.rolled_back > 0.0 || b.went_on > 0.0) {
            return false;
        }
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
    /// What it did while nobody told it any numbers, where that happened.
    pub blind: Option<Blind>,
    pub recipe: &'static str,
    /// What was asked of it, and whether that is met; only for the traffic that targets were set for.
    pub target: Option<Target>,
    pub met: Option<bool>,
}

/// Returns the kinds of evening that are walked, for a group's rate and the share of errors that is usual.
pub fn kinds(rate: f64, errors: f64) -> Vec<Kind> {
    let low = rate / 10.0;
    let truth = |noise| Truth { rate, errors, noise, harm: Harm::default() };
    let minute = Noise { every_s: 60.0, ..Noise::default() };
    let own = Noise { own_errors: 0.5, ..minute };
    let both = Noise { own_latency: 0.05, ..own };
    let healthy = |name, truth, recipe| Kind { name, truth, horizon_s: WALK_S, slices: GROUPS, recipe };
    let harmed = |name, truth: Truth, harm: Harm, minutes: f64, recipe| Kind {
        name,
        truth: Truth { harm, ..truth },
        horizon_s: harm.begins_s + 60.0 * minutes,
        slices: GROUPS,
        recipe,
    };
    let harm = Harm::default();
    let tripled = Harm { errors: 3.0, ..harm };
    let tenfold = Harm { errors: 10.0, ..harm };
    let slower = Harm { latency: 1.1, ..harm };
    let tail = Harm { tail: 0.01, ..harm };
    let late = |harm: Harm| Harm { begins_s: 900.0, ..harm };
    let plain = truth(Noise::default());
    let low = Truth { rate: low, ..plain };
    let lasting = |errors, latency| truth(Noise { lasting_errors: errors, lasting_latency: latency, ..minute });
    let cut = |slices, kind: Kind| Kind { slices, ..kind };
    vec![
        healthy("plain", plain, "0.4 %"),
        healthy("bursts that all share", truth(Noise { common_errors: 0.8, ..minute }), "0.5 % w"),
        healthy("error bursts of each group", truth(own), "1.2 %"),
        healthy("latency of each group", truth(Noise { own_latency: 0.05, ..minute }), "0.8 %"),
        healthy("error and latency bursts of each group", truth(both), "1.8 %"),
        healthy("drift of traffic, errors, latency", truth(Noise { drift: true, ..minute }), "0.0 % w"),
        healthy("errors ten times rarer", Truth { errors: errors / 10.0, ..plain }, "0.6 %"),
        healthy("a tenth of the traffic", low, "0.6 %"),
        healthy("a tenth of the traffic, error bursts", Truth { noise: own, ..low }, "0.6 %"),
        healthy("a one-minute storm in a tenth of walks", truth(Noise { storms: 0.1, ..minute }), "1.4 %"),
        healthy("numbers missing for ten minutes", truth(Noise { outage: true, ..minute }), ""),
        healthy("weak spot: wild error bursts", truth(Noise { own_errors: 1.0, ..minute }), "3.6 %"),
        healthy("weak spot: bursts of five minutes", truth(Noise { every_s: 300.0, ..own }), "6.4 %"),
        healthy("weak spot: lasting differences, errors 10 %, latency 1 %", lasting(0.1, 0.01), "3.2 %"),
        healthy("weak spot: lasting differences, errors 30 %, latency 3 %", lasting(0.3, 0.03), "10.8 %"),
        cut(4, healthy("weak spot: 4 slices, error and latency bursts", truth(both), "0 % w")),
        cut(2, healthy("weak spot: 2 slices, error and latency bursts", truth(both), "0 % w")),
        cut(0, healthy("weak spot: no slices, error and latency bursts", truth(both), "0 % w")),
        harmed("errors x2", plain, Harm { errors: 2.0, ..harm }, 30.0, ""),
        harmed("errors x3", plain, tripled, 5.0, "93 %"),
        harmed("errors x10", plain, tenfold, 5.0, "half in 40 s"),
        harmed("p99 +10 %", plain, slower, 5.0, "97 %"),
        harmed("1 % of requests +300 ms", plain, tail, 5.0, "99 %"),
        harmed("a tenth of the traffic, errors x3", low, tripled, 30.0, "82 %"),
        harmed("a tenth of the traffic, p99 +10 %", low, slower, 30.0, "91 %"),
        harmed("weak spot: errors x3 from minute 15", plain, late(tripled), 30.0, "half in 7.7 min w"),
        harmed("weak spot: errors x10 from minute 15", plain, late(tenfold), 30.0, "half in 1.5 min w"),
        harmed("weak spot: p99 +10 % from minute 15", plain, late(slower), 30.0, "half in 7.2 min w"),
        harmed("weak spot: errors x3 inside bursts", truth(both), tripled, 5.0, "60 % w"),
        harmed("weak spot: p99 +10 % inside bursts", truth(both), slower, 5.0, "42 % w"),
        harmed("weak spot: 1 % +300 ms inside bursts", truth(both), tail, 5.0, "93 % w"),
        cut(4, harmed("weak spot: 4 slices, errors x3", plain, tripled, 5.0, "91 % w")),
        cut(4, harmed("weak spot: 4 slices, p99 +10 %", plain, slower, 5.0, "95 % w")),
        cut(4, harmed("weak spot: 4 slices, 1 % +300 ms", plain, tail, 5.0, "99 % w")),
        cut(2, harmed("weak spot: 2 slices, errors x3", plain, tripled, 5.0, "67 % w")),
        cut(0, harmed("weak spot: no slices, errors x3", plain, tripled, 5.0, "68 % w")),
        cut(0, harmed("weak spot: no slices, errors x10", plain, tenfold, 5.0, "half in 30 s w")),
    ]
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
    let blind: Vec<Blind> = walked.iter().filter_map(|w| w.blind).collect();
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
        blind: outage::mean(&blind),
        recipe: kind.recipe,
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
    if kind.truth.noise.outage {
        return outage::walk(kind, way, seed);
    }
    let groups = way.groups;
    let mut night = Night::begin(kind, way, seed);
    let mut walked = Walked::default();
    let (mut stage, mut seen_s) = (usize::MAX, 0.0);
    for look in 0..(kind.horizon_s / LOOK_S) as usize {
        let t = look as f64 * LOOK_S;
        let now = ((t / STAGE_S) as usize).min(STAGES - 1);
        let drawn = night.evening.next(t, groups[now]);
        let begins = now != stage;
        (stage, seen_s) = (now, if begins { 0.0 } else { seen_s } + LOOK_S);
        night.feed(t, &drawn, groups[now], (true, begins));
        if !kind.truth.harm.is_none() && t >= kind.truth.harm.begins_s {
            walked.harmed += harm_done(&drawn[..groups[now]], kind.truth);
        }
        let soaked = walked.go_s.is_none() && now == 0 && seen_s >= SOAK_S;
        let weights = night.weigh(soaked);
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

fn harm_done(canary: &[Group], truth: Truth) -> f64 {
    canary.iter().map(|g| (g.errors - g.requests * truth.errors).max(0.0).max(g.slow99 - g.requests * 0.01)).sum()
}
