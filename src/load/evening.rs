//! A viewing evening: what one viewer asks, in which order, and how long they think in between.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// How long a viewer thinks where nothing is written.
pub const THINK: Duration = Duration::from_secs(1);

/// One thing that a viewer does.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Which kind of request; `None` draws one by its weight.
    pub kind: Option<u16>,
    /// Afterwards, on average.
    pub think: Duration,
    /// How many of the viewers do it at all.
    pub share: f64,
    /// How often in a row.
    pub times: u32,
}

/// What a whole evening is made of; viewers live one after the other until the run ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Evening {
    pub steps: Vec<Step>,
}

/// So many viewers at once, each in an evening of their own.
#[derive(Clone, Debug)]
pub struct Crowd {
    pub users: u32,
    pub lasts: Duration,
    pub evening: Evening,
}

impl Default for Evening {
    /// One request drawn from the mix, and a thought.
    fn default() -> Self {
        Self::thinking(THINK)
    }
}

impl Evening {
    pub fn thinking(think: Duration) -> Self {
        Self { steps: vec![Step { kind: None, think, share: 1.0, times: 1 }] }
    }

    /// Returns what one viewer asks this evening and how long they think after each: another seed, another evening.
    pub fn live(&self, seed: u64) -> Vec<(Option<u16>, Duration)> {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let mut lived = Vec::new();
        for step in &self.steps {
            if rng.random::<f64>() < step.share {
                for _ in 0..step.times {
                    // Between half and one and a half of what is written, so that nobody moves in step.
                    lived.push((step.kind, step.think.mul_f64(rng.random_range(0.5..1.5))));
                }
            }
        }
        if lived.is_empty() {
            // Somebody who does nothing this evening still takes their time over it.
            lived.extend(self.steps.first().map(|s| (s.kind, s.think.max(Duration::from_millis(10)))));
        }
        lived
    }

    /// Returns how long a viewer thinks between two requests, on average.
    pub fn mean_think(&self) -> Duration {
        let weight = |s: &Step| s.share * f64::from(s.times);
        let asked: f64 = self.steps.iter().map(weight).sum();
        let thought: f64 = self.steps.iter().map(|s| weight(s) * s.think.as_secs_f64()).sum();
        Duration::from_secs_f64(if asked > 0.0 { thought / asked } else { 0.0 })
    }
}

impl Crowd {
    /// Returns the highest rate that so many viewers can ask at, if every answer came at once.
    pub fn peak(&self) -> f64 {
        f64::from(self.users) / self.evening.mean_think().as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evening() -> Evening {
        let step =
            |kind, think, share, times| Step { kind: Some(kind), think: Duration::from_secs(think), share, times };
        Evening { steps: vec![step(0, 4, 1.0, 1), step(1, 2, 0.5, 3), step(2, 8, 1.0, 1)] }
    }

    #[test]
    fn every_evening_is_another_one_and_the_same_seed_the_same() {
        let (a, b) = (evening().live(1), evening().live(2));
        assert_ne!(a, b);
        assert_eq!(a, evening().live(1));
        let filtered = (0..1000).filter(|seed| evening().live(*seed).len() == 5).count();
        assert!((430..570).contains(&filtered), "half of the viewers filter: {filtered}");
        for (kind, think) in a {
            let written = [4.0, 2.0, 8.0][usize::from(kind.expect("named"))];
            assert!((0.5 * written..1.5 * written).contains(&think.as_secs_f64()));
        }
    }

    #[test]
    fn the_peak_is_what_thinking_allows() {
        let crowd = Crowd { users: 70, lasts: Duration::from_secs(1), evening: evening() };
        // Three and a half requests and fifteen seconds of thought an evening.
        assert!((crowd.peak() - 70.0 * 3.5 / 15.0).abs() < 1e-6);
        let hasty = Crowd { evening: Evening::thinking(Duration::ZERO), ..crowd };
        assert!(hasty.peak().is_infinite());
    }

    #[test]
    fn nobody_asks_without_pause_because_chance_left_every_step_out() {
        let never = Evening { steps: vec![Step { kind: None, think: Duration::ZERO, share: 0.0, times: 1 }] };
        assert_eq!(never.live(3), vec![(None, Duration::from_millis(10))]);
    }
}
