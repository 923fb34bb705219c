//! Made-up evenings: groups of viewers whose requests, errors and slow answers are drawn from a known truth.

use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Normal, Poisson};
use rand_pcg::Pcg64Mcg;

/// Viewers are cut into this many groups; the canary takes some, the baseline's slices are the rest.
pub const GROUPS: usize = 10;
/// Seconds between two looks.
pub const LOOK_S: f64 = 10.0;
/// The spread of a lognormal latency: p99 is about 4 x the median.
const LATENCY_SIGMA: f64 = 0.6;
/// How far p95 and p99 of such a latency lie from its median, in sigmas.
const P95: f64 = 1.644_853_6;
const P99: f64 = 2.326_347_9;

/// What is true of an evening.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Truth {
    /// Requests a second of each group, and the share of them that fail.
    pub rate: f64,
    pub errors: f64,
    pub noise: Noise,
    pub harm: Harm,
}

/// What healthy evenings have of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Noise {
    /// Bursts of errors that all groups share, drawn anew each minute: sigma of a lognormal with mean one.
    pub common_errors: f64,
    /// Bursts of each group's own: sigma for errors and for latency, drawn anew each `every_s`.
    pub own_errors: f64,
    pub own_latency: f64,
    pub every_s: f64,
    /// Differences between groups that last the whole walk.
    pub lasting_errors: f64,
    pub lasting_latency: f64,
    /// Traffic swings by half, errors and latency wander.
    pub drift: bool,
    /// In this share of walks one group has a minute of twentyfold errors.
    pub storms: f64,
    /// While the first stage's time ends, nobody's numbers are told for ten minutes.
    pub outage: bool,
}

/// What is wrong with the canary.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Harm {
    pub errors: f64,
    pub latency: f64,
    /// This share of requests takes 300 ms more.
    pub tail: f64,
    pub begins_s: f64,
}

impl Default for Harm {
    fn default() -> Self {
        Self { errors: 1.0, latency: 1.0, tail: 0.0, begins_s: 0.0 }
    }
}

impl Harm {
    pub fn is_none(&self) -> bool {
        Self { begins_s: 0.0, ..*self } == Self::default()
    }
}

/// One group in one interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Group {
    pub requests: f64,
    pub errors: f64,
    /// Slower than the baseline's p95, and than its p99.
    pub slow95: f64,
    pub slow99: f64,
}

/// An evening under way.
pub struct Evening {
    truth: Truth,
    dice: Pcg64Mcg,
    lasting: [(f64, f64); GROUPS],
    own: [(f64, f64); GROUPS],
    common: f64,
    walked: (f64, f64),
    storm: Option<(usize, f64)>,
    phase: f64,
}

impl Evening {
    pub fn new(truth: Truth, walk_s: f64, seed: u64) -> Self {
        let mut dice = Pcg64Mcg::seed_from_u64(seed);
        let noise = truth.noise;
        let lasting = std::array::from_fn(|_| {
            (burst(&mut dice, noise.lasting_errors), normal(&mut dice) * noise.lasting_latency)
        });
        let struck = dice.random_bool(noise.storms);
        let storm =
            struck.then(|| (dice.random_range(0..GROUPS), (dice.random_range(0.0..walk_s) / 60.0).floor() * 60.0));
        let phase = dice.random_range(0.0..std::f64::consts::TAU);
        let own = [(1.0, 0.0); GROUPS];
        Self { truth, dice, lasting, own, common: 1.0, walked: (0.0, 0.0), storm, phase }
    }

    /// Draws the interval that begins at `t`, the first `canary` groups being the canary.
    pub fn next(&mut self, t: f64, canary: usize) -> [Group; GROUPS] {
        let Truth { rate, errors, noise, harm } = self.truth;
        if t.rem_euclid(60.0) < LOOK_S {
            self.common = burst(&mut self.dice, noise.common_errors);
            if noise.drift {
                self.walked.0 = (self.walked.0 + 0.05 * normal(&mut self.dice)).clamp(-1.0, 1.0);
                self.walked.1 = (self.walked.1 + 0.01 * normal(&mut self.dice)).clamp(-0.3, 0.3);
            }
        }
        if noise.every_s > 0.0 && t.rem_euclid(noise.every_s) < LOOK_S {
            for own in &mut self.own {
                *own = (burst(&mut self.dice, noise.own_errors), normal(&mut self.dice) * noise.own_latency);
            }
        }
        let swing = if noise.drift { 1.0 + 0.5 * (self.phase + t / 1400.0).sin() } else { 1.0 };
        std::array::from_fn(|g| {
            let hurt = g < canary && t >= harm.begins_s;
            let storm = self.storm.is_some_and(|(group, at)| group == g && (at..at + 60.0).contains(&t));
            let mut share = errors * self.common * self.own[g].0 * self.lasting[g].0 * self.walked.0.exp();
            let mut slower = self.own[g].1 + self.lasting[g].1;
            if storm {
                share *= 20.0;
            }
            if hurt {
                share *= harm.errors;
                slower += harm.latency.ln();
            }
            let tail = if hurt { harm.tail } else { 0.0 };
            // The threshold follows the drift that both sides share, so only what is a group's own moves it.
            let above = |z: f64| {
                let plain = normal_above(z - slower / LATENCY_SIGMA);
                plain + tail * (1.0 - plain)
            };
            let (p95, p99) = (above(P95), above(P99));
            let requests = poisson(&mut self.dice, rate * swing * LOOK_S);
            let slow99 = poisson(&mut self.dice, requests * p99);
            Group {
                requests,
                errors: poisson(&mut self.dice, requests * share.min(1.0)).min(requests),
                slow99: slow99.min(requests),
                slow95: (slow99 + poisson(&mut self.dice, requests * (p95 - p99))).min(requests),
            }
        })
    }
}

/// Returns a lognormal factor with mean one.
fn burst(dice: &mut Pcg64Mcg, sigma: f64) -> f64 {
    if sigma == 0.0 { 1.0 } else { (sigma * normal(dice) - sigma * sigma / 2.0).exp() }
}

fn normal(dice: &mut Pcg64Mcg) -> f64 {
    Normal::new(0.0, 1.0).map_or(0.0, |n| n.sample(dice))
}

fn poisson(dice: &mut Pcg64Mcg, mean: f64) -> f64 {
    Poisson::new(mean).map_or(0.0, |p| p.sample(dice))
}

/// Returns the chance that a standard normal lies above `z`.
fn normal_above(z: f64) -> f64 {
    0.5 * libm::erfc(z / std::f64::consts::SQRT_2)
}
