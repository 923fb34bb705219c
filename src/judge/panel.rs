//! The evidence of all metrics at three block lengths, and what it amounts to: roll back, go, or neither yet.
//!
//! Noise that lasts longer than a block looks like harm to that block, so the smallest evidence of the three lengths
//! counts; a burst of minutes cannot fool the longest, and the shortest is there from the first seconds. Measured, not
//! guaranteed: `serin canary simulate` prints what it does on healthy and harmed walks.

use super::evidence::{Counts, LogSum, Margin, Noise, Scale, Weighed};
use super::guard::Guard;
use super::storm::Storms;

/// Block lengths in seconds, and how far the prior leans to little noise: lasting differences between groups are rare
/// where viewers are hashed, differences of a minute are not.
const BLOCKS: [(f64, f64); 3] = [(60.0, 0.0), (300.0, 0.4), (1800.0, 0.6)];
/// Assumed noise shrinks with the length of a block by this much.
const CALMER: [f64; 3] = [1.0, 4.0, 16.0];

/// Evidence at which the canary is rolled back.
pub const ROLL_BACK: f64 = 70.0;
/// Evidence of health that each metric has to reach for go.
pub const GO: f64 = 20.0;
/// Evidence of harm at which go is withheld.
pub const DOUBT: f64 = 10.0;
/// The shortest time of numbers before go, seconds.
pub const SOAK_S: f64 = 120.0;
/// Baseline slices below which latency alone cannot roll back: its noise cannot be learned.
pub const LEAST_SLICES: usize = 4;

/// How the suspicion is spread over the times at which harm may begin; sums to one over a walk of five stages.
const AT_WALK: f64 = 0.4;
const AT_STAGE: f64 = 0.1;
const AT_BLOCKS: f64 = 0.2;
/// The longest blocks are whole stages: harm that begins within one is for the shorter ones, and its share is not held back.
const WHOLE: f64 = 1.0 / (1.0 - AT_BLOCKS);

/// The numbers of one metric in one interval.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    pub counts: Counts<'a>,
    pub margin: Margin,
}

#[derive(Clone, Debug)]
pub struct Panel {
    metrics: Vec<Metric>,
    /// How long the whole walk takes, seconds.
    walk_s: f64,
    /// Where blocks are counted from, and which one of each length is open.
    origin: f64,
    open: [f64; 3],
    /// What is left of the suspicion for harm that begins with a later stage.
    unspent: f64,
    began: bool,
}

#[derive(Clone, Debug)]
struct Metric {
    scales: [Scale; 3],
    weight: f64,
    rolls_back: bool,
}

/// What the panel says at one moment; natural logarithms.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// Shared evidence of harm, over the metrics that may roll back.
    pub bad: f64,
    /// The same of harm that goes on, which a storm of a minute does not: this rolls back.
    pub lasting: f64,
    /// A metric each, in the order of the guards.
    pub metrics: Vec<Weighed>,
}

impl Panel {
    /// `slices` is how many groups the baseline is cut into (0 or 1: not cut, so that the noise is assumed).
    pub fn new(guards: &[Guard], slices: usize, walk_s: f64) -> Self {
        let rolls_back = |g: &Guard| !g.counts.is_latency() || slices >= LEAST_SLICES;
        let shared: f64 = guards.iter().filter(|g| rolls_back(g)).map(|g| g.weight).sum();
        let metric = |g: &Guard| {
            let noise = |i: usize| match slices {
                0 | 1 => Noise::Assumed { shape: g.counts.assumed_shape() * CALMER[i] },
                _ => Noise::Learned { lean: BLOCKS[i].1 },
            };
            Metric {
                scales: [0, 1, 2].map(|i| {
                    let scale = Scale::new(g.counts.alternatives(), noise(i));
                    // Longer blocks dilute a storm, or are told apart from it by the shortest: the least evidence counts.
                    if i == 0 { scale.with_storms(Storms::new(g.counts.most_in_a_storm())) } else { scale }
                }),
                weight: g.weight / shared,
                rolls_back: rolls_back(g),
            }
        };
        let metrics = guards.iter().map(metric).collect();
        Self { metrics, walk_s, origin: 0.0, open: [f64::NAN; 3], unspent: 1.0 - AT_WALK - AT_BLOCKS, began: false }
    }

    /// Takes one interval that begins at `t` seconds; `None` for a metric without numbers in it.
    ///
    /// Before the canary has any (`canary_seen` false) only the noise of the baseline is learned.
    pub fn feed(&mut self, t: f64, readings: &[Option<Reading<'_>>], canary_seen: bool, new_stage: bool) {
        let first = canary_seen && !self.began;
        if first || new_stage || self.open[0].is_nan() {
            self.origin = t;
            self.open = [f64::NAN; 3];
        }
        for (i, (length, _)) in BLOCKS.iter().enumerate() {
            let block = ((t - self.origin) / length).floor();
            if block != self.open[i] {
                self.open[i] = block;
                self.open_block(i, readings);
            }
        }
        if first {
            self.began = true;
            self.may_begin_anywhere(AT_WALK);
        } else if new_stage && self.began {
            let share = AT_STAGE.min(self.unspent);
            self.unspent -= share;
            self.may_begin_anywhere(share);
        }
        if new_stage {
            self.metrics.iter_mut().flat_map(|m| &mut m.scales).for_each(Scale::new_stage);
        }
        for (metric, reading) in self.metrics.iter_mut().zip(readings) {
            if let Some(reading) = reading {
                metric.scales.iter_mut().for_each(|s| s.add(t, &reading.counts, canary_seen));
            }
        }
    }

    fn open_block(&mut self, i: usize, readings: &[Option<Reading<'_>>]) {
        for (metric, reading) in self.metrics.iter_mut().zip(readings) {
            metric.scales[i].next_block(reading.map(|r| r.margin).unwrap_or_default());
        }
        // A whole stage is one block of the longest: harm that begins within it is for the shorter ones to see.
        if self.began && i < 2 {
            self.may_begin(AT_BLOCKS * BLOCKS[i].0 / self.walk_s, i..i + 1);
        }
    }

    fn may_begin_anywhere(&mut self, share: f64) {
        self.may_begin(share, 0..2);
        self.may_begin(share * WHOLE, 2..3);
    }

    fn may_begin(&mut self, share: f64, scales: std::ops::Range<usize>) {
        for metric in &mut self.metrics {
            metric.scales[scales.clone()].iter_mut().for_each(|s| s.may_begin(share));
        }
    }

    /// Returns the evidence over all three block lengths.
    pub fn weigh(&self) -> Weights {
        self.sum_up(self.metrics.iter().map(Metric::weigh).collect())
    }

    /// Returns what bounds it from above, much faster: the shortest blocks alone, and health only on request.
    pub fn glance(&self, health: bool) -> Weights {
        self.sum_up(self.metrics.iter().map(|m| m.scales[0].glance(health)).collect())
    }

    fn sum_up(&self, metrics: Vec<Weighed>) -> Weights {
        let [mut bad, mut lasting] = [LogSum::default(); 2];
        for (metric, weighed) in self.metrics.iter().zip(&metrics).filter(|(m, _)| m.rolls_back) {
            bad.add(metric.weight.ln() + weighed.bad);
            lasting.add(metric.weight.ln() + weighed.lasting);
        }
        Weights { bad: bad.value(), lasting: lasting.value(), metrics }
    }

    /// Returns how much groups differ from minute to minute in each metric, 0.1 being 10 %.
    pub fn spreads(&self) -> impl Iterator<Item = f64> + '_ {
        self.metrics.iter().map(|m| m.scales[0].spread())
    }
}

impl Metric {
    fn weigh(&self) -> Weighed {
        let each = self.scales.iter().map(Scale::weigh);
        let none = f64::INFINITY;
        each.fold(Weighed { bad: none, lasting: none, go: none }, |least, one| Weighed {
            bad: least.bad.min(one.bad),
            lasting: least.lasting.min(one.lasting),
            go: least.go.min(one.go),
        })
    }
}

impl Weights {
    pub fn rolls_back(&self) -> bool {
        self.lasting >= ROLL_BACK.ln()
    }

    /// Whether it would be rolled back, were there no storms.
    pub fn may_be_a_storm(&self) -> bool {
        self.bad >= ROLL_BACK.ln() && !self.rolls_back()
    }

    /// Whether every metric has shown its health; the soak is the caller's.
    pub fn is_healthy(&self) -> bool {
        self.bad < DOUBT.ln() && self.metrics.iter().all(|m| m.go >= GO.ln() && m.bad < DOUBT.ln())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK_S: f64 = 10.0;

    /// A tenth of the viewers at 50 requests/s and 0.1 % errors, from whose fifteenth minute on so many fail for so long.
    ///
    /// Returns how long after that it is rolled back.
    fn rolled_back_after(errors_per_look: f64, for_s: f64) -> Option<f64> {
        let mut panel = Panel::new(&[Guard::errors()], 9, 9000.0);
        let margin = Margin { tolerated: 1.0, harm: 2.0 };
        (0..180).map(|i| f64::from(i) * LOOK_S).find_map(|t| {
            let ill = (900.0..900.0 + for_s).contains(&t);
            // Half an error a look, as whole numbers.
            let usual = |g: f64| f64::from((t / LOOK_S + g).rem_euclid(2.0) < 1.0);
            let own = if ill { errors_per_look } else { usual(0.0) };
            let slices: Vec<_> = (1..10).map(|g| (usual(f64::from(g)), 500.0)).collect();
            let baseline = slices.iter().fold((0.0, 0.0), |(k, n), s| (k + s.0, n + s.1));
            let counts = Counts { canary: (own, 500.0), baseline, slices: &slices };
            panel.feed(t, &[Some(Reading { counts, margin })], true, false);
            panel.weigh().rolls_back().then_some(t + LOOK_S - 900.0)
        })
    }

    #[test]
    fn a_storm_of_a_minute_rolls_nothing_back() {
        assert_eq!(rolled_back_after(10.0, 60.0), None);
        assert_eq!(rolled_back_after(20.0, 60.0), None);
    }

    #[test]
    fn an_outage_that_goes_on_is_rolled_back_a_little_after_a_minute() {
        let after = rolled_back_after(10.0, 900.0).expect("rolled back");
        assert!((70.0..=90.0).contains(&after), "{after}");
    }

    #[test]
    fn a_canary_that_collapses_is_rolled_back_at_once() {
        assert!(rolled_back_after(250.0, 900.0).is_some_and(|after| after <= 20.0));
        assert!(rolled_back_after(75.0, 900.0).is_some_and(|after| after <= 30.0));
    }
}
