//! The search for the highest rate that holds: a step's numbers in, the next rate out.
//!
//! Rates double until one breaks. Where the broken step tells what the target still answered well, the next two rates
//! stand right and left of that; else the gap is halved. Both sides of the last gap are then sent again. A step that
//! contradicts another does not win by being later: the split of all rates with the fewest contradictions does.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What stopped the target, or us, from going further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signal {
    Latency,
    Errors,
    /// The target refused by its own rule: 429, ThrottlingException.
    Quota,
    /// The load generator, never the target.
    Generator,
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Latency => "latency",
            Self::Errors => "errors",
            Self::Quota => "quota",
            Self::Generator => "generator",
        })
    }
}

/// What to search, and how closely.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    pub from: f64,
    pub to: f64,
    /// The search ends when the rate that broke is at most this share above the one that held.
    pub precision: f64,
    /// How long a step takes on the way up, and near the boundary.
    pub probe: Duration,
    pub careful: Duration,
    /// A step sends at least so many requests, however long that takes.
    pub fewest: u64,
}

/// One step, as it went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub rate: f64,
    pub requests: u64,
    pub met: bool,
    pub broke_by: Option<Signal>,
    /// The figure of the objective that was missed, or that came nearest to it.
    pub observed: Option<f64>,
    /// Good answers a second, once settled.
    pub good_rate: f64,
    pub duration_s: f64,
    /// Where an overloaded target shows what it can do: the highest rate that should hold.
    pub hint: Option<f64>,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Order {
    Send { rate: f64, lasts: Duration },
    Done(Outcome),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    /// `low` held and held again; `high` broke, and broke again or at least as often as it held.
    Found { low: f64, high: f64, by: Signal },
    /// The highest rate that was asked for holds.
    AtLeast { rate: f64 },
    /// Already the lowest rate breaks.
    NotEven { rate: f64, by: Signal },
    /// The generator cannot send more than `low`; `None` when it cannot even send the lowest rate.
    Generator { low: Option<f64>, high: f64 },
    /// The same rates hold and break by turns: there is a limit, and it moves.
    Unsteady { low: f64, high: f64, by: Signal },
}

#[derive(Clone, Debug)]
pub struct Search {
    terms: Terms,
    steps: Vec<Step>,
    tallies: Vec<Tally>,
}

/// What is known of one rate.
#[derive(Clone, Copy, Debug)]
struct Tally {
    rate: f64,
    held: u32,
    /// Of those, how many were long ones.
    held_long: u32,
    broke: u32,
    /// Steps that the generator could not send on time: they say nothing of the target.
    spoiled: u32,
    by: Signal,
}

/// The same rate is sent at most this often.
const MOST_REPEATS: u32 = 5;
/// So many spoiled steps at one rate are no hiccup: the generator cannot send it.
const MOST_SPOILED: u32 = 3;
const MOST_STEPS: usize = 60;

impl Step {
    fn is_spoiled(&self) -> bool {
        self.broke_by == Some(Signal::Generator)
    }
}

impl Search {
    pub fn new(terms: Terms) -> Self {
        Self { terms, steps: Vec::new(), tallies: Vec::new() }
    }

    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Takes in what the last order came to.
    pub fn learn(&mut self, step: Step) {
        let long = step.duration_s >= self.terms.careful.as_secs_f64() * 0.9;
        let same = self.tallies.iter().position(|t| (t.rate / step.rate - 1.0).abs() < 1e-6);
        let at = same.unwrap_or_else(|| {
            let at = self.tallies.partition_point(|t| t.rate < step.rate);
            let fresh = Tally { rate: step.rate, held: 0, held_long: 0, broke: 0, spoiled: 0, by: Signal::Generator };
            self.tallies.insert(at, fresh);
            at
        });
        let tally = &mut self.tallies[at];
        if step.met {
            tally.held += 1;
            tally.held_long += u32::from(long);
        } else if step.is_spoiled() {
            tally.spoiled += 1;
            tally.broke += u32::from(tally.spoiled >= MOST_SPOILED);
        } else {
            tally.broke += 1;
            tally.by = step.broke_by.unwrap_or(Signal::Latency);
        }
        self.steps.push(step);
    }

    /// Returns how many of the lowest rates hold: the split that contradicts the fewest steps, the lower of equals.
    fn split(&self) -> usize {
        let cost = |k: usize| -> u32 {
            self.tallies[..k].iter().map(|t| t.broke).sum::<u32>()
                + self.tallies[k..].iter().map(|t| t.held).sum::<u32>()
        };
        (0..=self.tallies.len()).min_by_key(|k| (cost(*k), *k)).unwrap_or(0)
    }

    /// Returns the next rate to send, or what the search has come to.
    pub fn next(&self) -> Order {
        if let Some(again) = self.spoiled() {
            return self.send(again.rate, again.held + again.broke > 0);
        }
        let k = self.split();
        let low = k.checked_sub(1).map(|i| self.tallies[i]);
        let high = self.tallies.get(k).copied();
        let spent = self.steps.len() >= MOST_STEPS;
        match (low, high) {
            (None, None) => self.send(self.terms.from, false),
            (Some(low), None) if low.rate >= self.terms.to => {
                if low.held_long < 2 && !spent && low.held < MOST_REPEATS {
                    self.send(low.rate, true)
                } else {
                    Order::Done(Outcome::AtLeast { rate: low.rate })
                }
            }
            (Some(low), None) => self.send((low.rate * 2.0).min(self.terms.to), false),
            (None, Some(high)) if high.rate > self.terms.from * (1.0 + 1e-6) => self.send(self.terms.from, true),
            (None, Some(high)) if high.broke < 2 + high.held && !spent => self.send(high.rate, true),
            (None, Some(high)) => Order::Done(match high.by {
                Signal::Generator => Outcome::Generator { low: None, high: high.rate },
                by => Outcome::NotEven { rate: high.rate, by },
            }),
            (Some(low), Some(high)) => self.between(low, high, spent),
        }
    }

    /// Returns the rate whose last step said nothing, as long as it is worth another try.
    fn spoiled(&self) -> Option<Tally> {
        let last = self.steps.last().filter(|s| s.is_spoiled() && self.steps.len() < MOST_STEPS)?;
        let of_it = |t: &&Tally| (t.rate / last.rate - 1.0).abs() < 1e-6 && t.spoiled < MOST_SPOILED;
        self.tallies.iter().find(of_it).copied()
    }

    fn between(&self, low: Tally, high: Tally, spent: bool) -> Order {
        if high.rate / low.rate > 1.0 + self.terms.precision && !spent {
            return self.send(self.inside(low.rate, high.rate), self.is_near(low.rate, high.rate));
        }
        let tired = |t: Tally, most: u32| t.held + t.broke >= most;
        let sure_low = low.held_long >= 2 + low.broke;
        let sure_high = high.broke >= 2 + high.held;
        if !sure_low && !tired(low, MOST_REPEATS) && !spent {
            return self.send(low.rate, true);
        }
        if !sure_high && !tired(high, 3) && !spent {
            return self.send(high.rate, true);
        }
        let (low, high, by) = (low.rate, high.rate, high.by);
        Order::Done(match by {
            Signal::Generator => Outcome::Generator { low: Some(low), high },
            // A rate just above the limit may hold now and then; one that is below it may not break.
            by if sure_low => Outcome::Found { low, high, by },
            by => Outcome::Unsteady { low, high, by },
        })
    }

    /// Whether a rate between these two is worth a long step.
    fn is_near(&self, low: f64, high: f64) -> bool {
        high / low < 1.5 || self.aim(low, high).is_some()
    }

    /// Returns a rate between one that held and one that broke.
    fn inside(&self, low: f64, high: f64) -> f64 {
        self.aim(low, high).unwrap_or_else(|| (low * high).sqrt())
    }

    /// Returns a rate close to what the lowest broken step says the target can do: just below it, then just above, then
    /// a little further each time; `None` where that is no help.
    fn aim(&self, low: f64, high: f64) -> Option<f64> {
        let broken = self.steps.iter().filter(|s| !s.met && s.hint.is_some());
        let hint = broken.min_by(|a, b| a.rate.total_cmp(&b.rate))?.hint?;
        let half = (1.0 + self.terms.precision).sqrt() - 1e-6;
        let near = [-1, 1, 3, 5].map(|n| hint * half.powi(n));
        near.into_iter().find(|rate| *rate > low * 1.001).filter(|rate| *rate < high / 1.001)
    }

    fn send(&self, rate: f64, careful: bool) -> Order {
        let least = Duration::from_secs_f64(self.terms.fewest as f64 / rate);
        let lasts = if careful { self.terms.careful } else { self.terms.probe };
        // Steps of whole seconds: a tick is one, and a step is judged by its settled half.
        let seconds = lasts.max(least).as_secs_f64().ceil();
        Order::Send { rate, lasts: Duration::from_secs_f64(seconds) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_distr::{Distribution, LogNormal};
    use rand_pcg::Pcg64Mcg;

    use super::*;

    const TERMS: Terms = Terms {
        from: 50.0,
        to: 4000.0,
        precision: 0.03,
        probe: Duration::from_secs(2),
        careful: Duration::from_secs(6),
        fewest: 200,
    };

    /// A service as `serin limit` meets it: time goes on from step to step.
    trait Service {
        /// Returns when the answer came (seconds after it was due), or `None` when it was refused.
        fn ask(&mut self, at: f64, rng: &mut Pcg64Mcg) -> Option<f64>;
    }

    /// Answers in about a millisecond up to its quota, then refuses; a bucket of tokens.
    struct Quota {
        quota: f64,
        burst: f64,
        tokens: f64,
        at: f64,
    }

    impl Service for Quota {
        fn ask(&mut self, at: f64, rng: &mut Pcg64Mcg) -> Option<f64> {
            self.tokens = (self.tokens + (at - self.at) * self.quota).min(self.burst * self.quota);
            self.at = at;
            if self.tokens < 1.0 {
                return None;
            }
            self.tokens -= 1.0;
            Some(LogNormal::new(-6.9, 0.3).expect("a distribution").sample(rng))
        }
    }

    /// One worker with a queue: latency is flat up to its capacity and grows without end above it.
    struct Knee {
        capacity: f64,
        free_at: f64,
        /// One answer in a thousand takes this much longer, for no reason of the rate.
        hiccup: f64,
    }

    impl Service for Knee {
        fn ask(&mut self, at: f64, rng: &mut Pcg64Mcg) -> Option<f64> {
            let work = LogNormal::new(-0.02, 0.2).expect("a distribution").sample(rng) / self.capacity;
            self.free_at = self.free_at.max(at) + work;
            let extra = if rng.random::<f64>() < 0.001 { self.hiccup } else { 0.0 };
            Some(self.free_at - at + 0.005 + extra)
        }
    }

    /// Sends one step and reads it as the job does: by its second half.
    fn step(service: &mut dyn Service, rate: f64, lasts: f64, clock: &mut f64, rng: &mut Pcg64Mcg) -> Step {
        let n = (rate * lasts) as u64;
        let (mut slow, mut refused, mut good, mut late) = (0_u64, 0_u64, 0_u64, 0_u64);
        let half = n / 2;
        let mut last = lasts;
        for i in 0..n {
            let due = i as f64 / rate;
            match service.ask(*clock + due, rng) {
                None => refused += u64::from(i >= half),
                Some(latency) => {
                    let ended = due + latency;
                    last = last.max(ended);
                    good += u64::from(ended >= lasts / 2.0 && ended < lasts);
                    if i >= half {
                        late += u64::from(ended >= lasts);
                        slow += u64::from(latency > 0.1);
                    }
                }
            }
        }
        // The next step waits until this one is answered, and one second more.
        *clock += last + 1.0;
        let seen = n - half;
        let quota = refused as f64 > seen as f64 * 0.01;
        let latency = slow as f64 > seen as f64 * 0.01;
        let good_rate = good as f64 / (lasts / 2.0);
        let hint = (quota || late as f64 > seen as f64 * 0.05).then_some(good_rate);
        let broke_by = if quota { Some(Signal::Quota) } else { latency.then_some(Signal::Latency) };
        let met = broke_by.is_none();
        Step {
            rate,
            requests: n,
            met,
            broke_by,
            observed: None,
            good_rate,
            duration_s: lasts,
            hint: hint.filter(|_| !met),
        }
    }

    fn search(service: &mut dyn Service, terms: Terms, seed: u64) -> (Outcome, u64, usize) {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let (mut search, mut clock) = (Search::new(terms), 0.0);
        loop {
            match search.next() {
                Order::Send { rate, lasts } => {
                    let seen = step(service, rate, lasts.as_secs_f64(), &mut clock, &mut rng);
                    search.learn(seen);
                }
                Order::Done(outcome) => {
                    let requests = search.steps().iter().map(|s| s.requests).sum();
                    return (outcome, requests, search.steps().len());
                }
            }
        }
    }

    /// What a sweep of the same precision sends: careful steps each 3 % apart, up to the first that breaks.
    fn sweep(truth: f64, terms: &Terms) -> u64 {
        let mut rate = terms.from;
        let mut sum = 0;
        loop {
            let lasts = terms.careful.as_secs_f64().max(terms.fewest as f64 / rate).ceil();
            sum += (rate * lasts) as u64;
            if rate > truth {
                return sum;
            }
            rate *= 1.0 + terms.precision;
        }
    }

    fn assert_found(name: &str, truth: f64, service: &mut dyn Service, seed: u64) {
        let (outcome, requests, steps) = search(service, TERMS, seed);
        let Outcome::Found { low, high, .. } = outcome else { panic!("{name}, seed {seed}: {outcome:?}") };
        let share = requests as f64 / sweep(truth, &TERMS) as f64;
        println!("{name} {truth}: {low:.1} to {high:.1}, {steps} steps, {:.0} % of a sweep", share * 100.0);
        assert!((low / truth - 1.0).abs() <= 0.03, "{name}, seed {seed}: {low} to {high}, truth {truth}");
        assert!(share <= 0.4, "{name}, seed {seed}: {share}");
    }

    #[test]
    fn a_quota_is_found_within_3_percent_with_few_requests() {
        for (seed, quota) in [137.0, 500.0, 777.0, 1900.0].into_iter().enumerate() {
            let mut service = Quota { quota, burst: 0.1, tokens: quota * 0.1, at: 0.0 };
            assert_found("quota", quota, &mut service, seed as u64);
        }
    }

    #[test]
    fn a_knee_is_found_within_3_percent_also_among_hiccups() {
        for (seed, capacity) in [180.0, 611.0, 1000.0, 2500.0].into_iter().enumerate() {
            for hiccup in [0.0, 0.3] {
                let mut service = Knee { capacity, free_at: 0.0, hiccup };
                assert_found("knee", capacity, &mut service, seed as u64);
            }
        }
    }

    #[test]
    fn what_holds_to_the_end_is_at_least_that_and_what_never_holds_is_said() {
        let mut wide = Quota { quota: 1e9, burst: 1.0, tokens: 1e9, at: 0.0 };
        assert_eq!(search(&mut wide, TERMS, 1).0, Outcome::AtLeast { rate: 4000.0 });
        let mut shut = Quota { quota: 1.0, burst: 1.0, tokens: 0.0, at: 0.0 };
        assert_eq!(search(&mut shut, TERMS, 1).0, Outcome::NotEven { rate: 50.0, by: Signal::Quota });
    }

    /// Plays a search in which every rate from `limit` on breaks by `by`.
    fn play(terms: Terms, limit: f64, by: Signal) -> (Outcome, usize) {
        let mut search = Search::new(terms);
        for steps in 0..MOST_STEPS * 3 {
            match search.next() {
                Order::Done(outcome) => return (outcome, steps),
                Order::Send { rate, lasts } => {
                    let met = rate < limit;
                    let duration_s = lasts.as_secs_f64();
                    let requests = (rate * duration_s) as u64;
                    let broke_by = (!met).then_some(by);
                    let step =
                        Step { rate, requests, met, broke_by, observed: None, good_rate: rate, duration_s, hint: None };
                    search.learn(step);
                }
            }
        }
        panic!("the search does not end");
    }

    #[test]
    fn a_generator_at_its_end_is_never_a_limit_of_the_target() {
        let (outcome, _) = play(TERMS, 700.0, Signal::Generator);
        let Outcome::Generator { low: Some(low), high } = outcome else { panic!("{outcome:?}") };
        assert!(low < 700.0 && high >= 700.0);
        assert_eq!(play(TERMS, 1.0, Signal::Generator).0, Outcome::Generator { low: None, high: 50.0 });
    }

    #[test]
    fn a_step_that_the_generator_spoiled_says_nothing_of_the_target() {
        for limit in [40.0, 900.0] {
            let mut search = Search::new(TERMS);
            let outcome = loop {
                match search.next() {
                    Order::Done(outcome) => break outcome,
                    Order::Send { rate, lasts } => {
                        let broke_by = match search.steps().len() % 3 {
                            1 => Some(Signal::Generator),
                            _ => (rate >= limit).then_some(Signal::Quota),
                        };
                        let (met, duration_s) = (broke_by.is_none(), lasts.as_secs_f64());
                        let step = Step {
                            rate,
                            requests: 1,
                            met,
                            broke_by,
                            observed: None,
                            good_rate: rate,
                            duration_s,
                            hint: None,
                        };
                        search.learn(step);
                    }
                }
            };
            match outcome {
                Outcome::NotEven { rate, by: Signal::Quota } if limit < TERMS.from => assert_eq!(rate, TERMS.from),
                Outcome::Found { low, high, by: Signal::Quota } => {
                    assert!(low < limit && high >= limit, "{low} {high}");
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn one_bad_step_on_the_way_up_does_not_decide() {
        let mut search = Search::new(TERMS);
        let mut spoiled = false;
        let outcome = loop {
            match search.next() {
                Order::Done(outcome) => break outcome,
                Order::Send { rate, lasts } => {
                    let spoil = rate >= 100.0 && !spoiled;
                    spoiled |= spoil;
                    let met = rate < 900.0 && !spoil;
                    search.learn(Step {
                        rate,
                        requests: 1,
                        met,
                        broke_by: (!met).then_some(Signal::Latency),
                        observed: None,
                        good_rate: rate,
                        duration_s: lasts.as_secs_f64(),
                        hint: None,
                    });
                }
            }
        };
        let Outcome::Found { low, high, .. } = outcome else { panic!("{outcome:?}") };
        assert!(low < 900.0 && high >= 900.0 && high / low <= 1.03, "{low} {high}");
    }

    proptest! {
        #[test]
        fn every_search_ends_within_its_precision(
            from in 1.0..500.0_f64, wide in 1.0..1000.0_f64, place in 0.0..1.2_f64,
        ) {
            let terms = Terms { from, to: from * wide, ..TERMS };
            let limit = from * wide.powf(place) * 1.000_1;
            let (outcome, steps) = play(terms, limit, Signal::Errors);
            prop_assert!(steps < MOST_STEPS);
            match outcome {
                Outcome::Found { low, high, .. } => prop_assert!(low < limit && high >= limit && high / low <= 1.0301),
                Outcome::AtLeast { rate } => prop_assert!(rate == terms.to && limit > rate),
                Outcome::NotEven { rate, .. } => prop_assert!(rate == from && limit <= rate),
                other => prop_assert!(false, "{:?}", other),
            }
        }

        #[test]
        fn no_run_of_luck_makes_it_go_on_for_ever(seed in 0_u64..5000, chance in 0.0..1.0_f64) {
            let mut rng = Pcg64Mcg::seed_from_u64(seed);
            let mut search = Search::new(TERMS);
            let mut steps = 0;
            while let Order::Send { rate, lasts } = search.next() {
                steps += 1;
                prop_assert!(steps <= MOST_STEPS + 20);
                prop_assert!((TERMS.from..=TERMS.to).contains(&rate));
                let met = rng.random::<f64>() < chance;
                search.learn(Step {
                    rate, requests: 1, met, broke_by: (!met).then_some(Signal::Errors), observed: None,
                    good_rate: rate, duration_s: lasts.as_secs_f64(), hint: Some(rate * rng.random::<f64>()).filter(|_| !met),
                });
            }
        }
    }
}
