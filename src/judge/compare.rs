//! A candidate against its baseline: slower, same, faster, or cannot tell, with the interval that says why.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::stats::histogram::Histogram;
use crate::stats::interval::{FEWEST_BLOCKS, block_bootstrap};
use crate::stats::units::Share;

const DRAWS: u32 = 400;
/// A quantile with fewer values above it is a matter of luck.
const FEWEST_ABOVE: f64 = 10.0;
/// What a machine's own noise moves a quantile from one time to another, in microseconds: it comes from schedulers and
/// hosts, so it is a time and no share. Moments of one run cannot show it, however many there are.
const DRIFT_US: f64 = 1000.0;
/// Errors may differ by this much before anybody is called worse.
const ERRORS_EXTRA: f64 = 0.001;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pace {
    Slower,
    Same,
    Faster,
    CannotTell,
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Slower => "slower",
            Self::Same => "same",
            Self::Faster => "faster",
            Self::CannotTell => "cannot tell",
        })
    }
}

/// What was compared, and what came of it; a ratio above one is a slower candidate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    pub verdict: Pace,
    pub reason: String,
    pub metric: String,
    pub ratio: Option<f64>,
    /// The 99 % interval of the ratio.
    pub low: Option<f64>,
    pub high: Option<f64>,
    /// Moments that were compared side by side.
    pub pairs: u64,
    /// Differences up to this share are called the same.
    pub margin: f64,
    /// What it was compared with: a run, or an address.
    pub against: String,
    pub baseline_ms: Option<f64>,
    pub candidate_ms: Option<f64>,
    pub baseline_errors: f64,
    pub candidate_errors: f64,
    /// Whether the candidate fails more often, beyond chance.
    pub more_errors: bool,
}

/// One moment (a second, a slice) of one side.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moment {
    /// Bucket value in microseconds, and how many.
    latency: Vec<(u32, u32)>,
    pub requests: u64,
    pub errors: u64,
}

impl Moment {
    pub fn new<'a>(histograms: impl IntoIterator<Item = &'a Histogram>, requests: u64, errors: u64) -> Self {
        let mut counts: BTreeMap<u32, u32> = BTreeMap::new();
        for (upper, count) in histograms.into_iter().flat_map(Histogram::buckets) {
            *counts.entry((upper.0 * 1000.0).round() as u32).or_default() += count as u32;
        }
        Self { latency: counts.into_iter().collect(), requests, errors }
    }

    /// Adds another moment to this one.
    pub fn merge(&mut self, other: &Self) {
        let mut counts: BTreeMap<u32, u32> = self.latency.iter().copied().collect();
        for &(value, count) in &other.latency {
            *counts.entry(value).or_default() += count;
        }
        self.latency = counts.into_iter().collect();
        self.requests += other.requests;
        self.errors += other.errors;
    }
}

/// How a comparison is to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Terms {
    /// The quantile that decides, 0..1.
    pub quantile: f64,
    pub margin: Share,
    pub against: String,
    pub seed: u64,
    /// Whether the sides were asked at different times, so that what the machine did meanwhile lies between them.
    pub apart: bool,
}

/// Compares moment by moment: `baseline[i]` and `candidate[i]` stood at the same place of the same schedule.
pub fn compare(baseline: &[Moment], candidate: &[Moment], terms: &Terms) -> Comparison {
    let pairs = baseline.len().min(candidate.len());
    let (baseline, candidate) = coarser(&baseline[..pairs], &candidate[..pairs]);
    let (old, new) = (Side::new(&baseline), Side::new(&candidate));
    let all = vec![1; baseline.len()];
    let q = terms.quantile;
    let (before, after) = (old.quantile(q, &all), new.quantile(q, &all));
    let width = block_bootstrap(baseline.len(), DRAWS, terms.seed, |weights| {
        Some((new.quantile(q, weights)? / old.quantile(q, weights)?).ln())
    });
    let (old_errors, new_errors) = (old.errors(&all), new.errors(&all));
    let errors_width =
        block_bootstrap(baseline.len(), DRAWS, terms.seed, |weights| Some(new.errors(weights) - old.errors(weights)));
    let extra = new_errors - old_errors;
    let more_errors = extra > ERRORS_EXTRA.max(old_errors / 2.0) && errors_width.is_some_and(|w| extra > w);
    let ratio = before.zip(after).map(|(b, a)| a / b);
    let drift = before.filter(|_| terms.apart).map_or(0.0, |b| (DRIFT_US / b).ln_1p());
    let seen = Seen { ratio, width, drift, pairs, requests: old.requests().min(new.requests()) };
    let (verdict, reason) = judge(&seen, terms);
    let bound = |sign: f64| ratio.zip(width).map(|(r, w)| r * (sign * w).exp());
    Comparison {
        verdict,
        reason,
        metric: metric(q),
        ratio,
        low: bound(-1.0),
        high: bound(1.0),
        pairs: pairs as u64,
        margin: terms.margin.0,
        against: terms.against.clone(),
        baseline_ms: before.map(|us| us / 1000.0),
        candidate_ms: after.map(|us| us / 1000.0),
        baseline_errors: old_errors,
        candidate_errors: new_errors,
        more_errors,
    }
}

/// Returns `p99` for 0.99, `p99.9` for 0.999.
pub fn metric(quantile: f64) -> String {
    format!("p{}", (quantile * 1e6).round() / 1e4)
}

struct Seen {
    ratio: Option<f64>,
    /// Of the logarithm of the ratio.
    width: Option<f64>,
    /// How much of that logarithm may be the machine's.
    drift: f64,
    pairs: usize,
    requests: u64,
}

fn judge(seen: &Seen, terms: &Terms) -> (Pace, String) {
    let name = metric(terms.quantile);
    let needed = (FEWEST_ABOVE / (1.0 - terms.quantile)).ceil() as u64;
    let Some(ratio) = seen.ratio else {
        return (Pace::CannotTell, "one of the two sides has no answers".to_owned());
    };
    if seen.requests < needed {
        let why = format!("{name} needs at least {needed} answers a side; there are {}", seen.requests);
        return (Pace::CannotTell, why);
    }
    let Some(width) = seen.width else {
        let why = format!("{} moments side by side are too few; {FEWEST_BLOCKS} are needed", seen.pairs);
        return (Pace::CannotTell, why);
    };
    let (log, margin) = (ratio.ln(), (1.0 + terms.margin.0).ln());
    let (low, high) = (log - width, log + width);
    // Two doubts that know nothing of each other.
    let sure = width.hypot(seen.drift);
    let shown = format!("{name} is {:.3} x (99 %: {:.3} to {:.3})", ratio, low.exp(), high.exp());
    let within = format!("{} either way", terms.margin);
    if log - sure > 0.0 && log > margin {
        (Pace::Slower, format!("{shown}: slower by more than the margin of {}", terms.margin))
    } else if log + sure < 0.0 && log < -margin {
        (Pace::Faster, format!("{shown}: faster by more than the margin of {}", terms.margin))
    } else if low >= -margin && high <= margin {
        (Pace::Same, format!("{shown}: within {within}"))
    } else if log.abs() > margin && (low > 0.0 || high < 0.0) {
        let why = "the two were asked at different times, and a machine alone moves it by a millisecond; --against URL asks both by turns";
        (Pace::CannotTell, format!("{shown}: {why}"))
    } else {
        // The width shrinks with the root of the number of requests; half the margin decides most cases.
        let more = (width / (margin / 2.0)).powi(2).max(2.0);
        let why =
            format!("{shown}: too wide for a margin of {}; about {more:.0} x the requests would tell", terms.margin);
        (Pace::CannotTell, why)
    }
}

/// The most moments that are drawn from; a longer run has its neighbours joined.
const MOST_MOMENTS: usize = 300;

/// Joins neighbours until a long run is as quick to judge as a short one.
fn coarser(baseline: &[Moment], candidate: &[Moment]) -> (Vec<Moment>, Vec<Moment>) {
    let each = baseline.len().div_ceil(MOST_MOMENTS).max(1);
    let join = |moments: &[Moment]| {
        let joined = moments.chunks(each).map(|run| {
            let mut sum = run[0].clone();
            run[1..].iter().for_each(|m| sum.merge(m));
            sum
        });
        joined.collect()
    };
    (join(baseline), join(candidate))
}

/// One side, laid out for drawing: every value it ever took, and each moment's counts by place in that list.
struct Side {
    values: Vec<u32>,
    moments: Vec<Vec<(u32, u32)>>,
    totals: Vec<(u64, u64)>,
}

impl Side {
    fn new(moments: &[Moment]) -> Self {
        let mut values: Vec<u32> = moments.iter().flat_map(|m| m.latency.iter().map(|(v, _)| *v)).collect();
        values.sort_unstable();
        values.dedup();
        let place = |value: u32| values.partition_point(|v| *v < value) as u32;
        let placed = moments.iter().map(|m| m.latency.iter().map(|&(v, n)| (place(v), n)).collect());
        let placed: Vec<_> = placed.collect();
        Self { moments: placed, totals: moments.iter().map(|m| (m.requests, m.errors)).collect(), values }
    }

    fn requests(&self) -> u64 {
        self.totals.iter().map(|t| t.0).sum()
    }

    fn errors(&self, weights: &[u32]) -> f64 {
        let sum = |of: fn(&(u64, u64)) -> u64| -> u64 {
            self.totals.iter().zip(weights).map(|(t, w)| of(t) * u64::from(*w)).sum()
        };
        sum(|t| t.1) as f64 / (sum(|t| t.0) as f64).max(1.0)
    }

    /// Returns the quantile of the moments drawn, in microseconds.
    fn quantile(&self, q: f64, weights: &[u32]) -> Option<f64> {
        let mut counts = vec![0_u64; self.values.len()];
        for (moment, &weight) in self.moments.iter().zip(weights).filter(|(_, w)| **w > 0) {
            for &(place, count) in moment {
                counts[place as usize] += u64::from(count) * u64::from(weight);
            }
        }
        let total: u64 = counts.iter().sum();
        let rank = ((total as f64 * q).ceil() as u64).max(1);
        let mut below = 0;
        let place = counts.iter().position(|count| {
            below += count;
            below >= rank
        });
        place.filter(|_| total > 0).map(|p| f64::from(self.values[p]))
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_distr::{Distribution, LogNormal, Normal};
    use rand_pcg::Pcg64Mcg;

    use super::*;

    /// The whole figure needs a release build to be quick: `cargo test --release --lib judge::compare`.
    const PAIRS: u64 = if cfg!(debug_assertions) { 40 } else { 200 };

    /// A server as it might be: log-normal answers around a level that wanders from second to second.
    struct Server {
        rate: u64,
        seconds: usize,
        /// Factor on every latency.
        scale: f64,
        /// How far the level wanders (deviation of its logarithm), and how much of it stays for the next second.
        wander: f64,
        memory: f64,
        errors: f64,
    }

    const PLAIN: Server = Server { rate: 600, seconds: 30, scale: 1.0, wander: 0.0, memory: 0.0, errors: 0.0 };

    fn run(server: &Server, rng: &mut Pcg64Mcg) -> Vec<Moment> {
        let answer = LogNormal::new((10_000.0 * server.scale).ln(), 0.6).expect("a distribution");
        let fresh = server.wander * (1.0 - server.memory.powi(2)).sqrt();
        let mut level = Normal::new(0.0, server.wander).expect("a distribution").sample(rng);
        let step = Normal::new(0.0, fresh).expect("a distribution");
        (0..server.seconds)
            .map(|_| {
                level = server.memory * level + step.sample(rng);
                let mut h = Histogram::default();
                (0..server.rate).for_each(|_| h.record_us((answer.sample(rng) * level.exp()) as u64));
                let errors = (0..server.rate).filter(|_| rng.random::<f64>() < server.errors).count() as u64;
                Moment::new([&h], server.rate, errors)
            })
            .collect()
    }

    fn terms(seed: u64) -> Terms {
        Terms { quantile: 0.99, margin: Share(0.05), against: "before".to_owned(), seed, apart: true }
    }

    /// How many of `pairs` comparisons ended in each verdict.
    fn tally(old: &Server, new: &Server, pairs: u64, seed: u64) -> BTreeMap<String, u64> {
        let mut tally = BTreeMap::new();
        for pair in 0..pairs {
            let mut rng = Pcg64Mcg::seed_from_u64(seed + pair);
            let (a, b) = (run(old, &mut rng), run(new, &mut rng));
            let seen = compare(&a, &b, &terms(pair));
            *tally.entry(seen.verdict.to_string()).or_default() += 1;
        }
        tally
    }

    fn share(tally: &BTreeMap<String, u64>, verdict: &str) -> f64 {
        tally.get(verdict).copied().unwrap_or(0) as f64 / tally.values().sum::<u64>() as f64
    }

    #[test]
    fn the_same_server_is_hardly_ever_called_slower_and_one_slower_by_a_tenth_is_found() {
        let same = tally(&PLAIN, &PLAIN, PAIRS, 1);
        assert!(share(&same, "slower") <= 0.01 && share(&same, "faster") <= 0.01, "{same:?}");
        let long = Server { seconds: 60, ..PLAIN };
        let slow = tally(&long, &Server { scale: 1.1, ..long }, PAIRS, 9000);
        assert!(share(&slow, "slower") >= 0.9, "{slow:?}");
    }

    #[test]
    fn seconds_that_resemble_their_neighbours_do_not_fool_it() {
        let world = Server { wander: 0.05, memory: 0.7, seconds: 60, ..PLAIN };
        let same = tally(&world, &world, 40, 1);
        assert!(share(&same, "slower") <= 0.025, "{same:?}");
    }

    #[test]
    fn too_little_is_cannot_tell_with_what_is_missing() {
        let mut rng = Pcg64Mcg::seed_from_u64(1);
        let few = run(&Server { rate: 20, ..PLAIN }, &mut rng);
        let seen = compare(&few, &few, &terms(1));
        assert_eq!(
            (seen.verdict, seen.reason.as_str()),
            (Pace::CannotTell, "p99 needs at least 1000 answers a side; there are 600")
        );
        let short = run(&Server { seconds: 5, ..PLAIN }, &mut rng);
        assert_eq!(compare(&short, &short, &terms(1)).verdict, Pace::CannotTell);
        let none = compare(&[], &[], &terms(1));
        assert_eq!((none.verdict, none.ratio), (Pace::CannotTell, None));
    }

    #[test]
    fn a_faster_candidate_that_fails_more_often_is_said_to_fail() {
        let mut rng = Pcg64Mcg::seed_from_u64(1);
        let old = run(&PLAIN, &mut rng);
        let new = run(&Server { scale: 0.7, errors: 0.02, ..PLAIN }, &mut rng);
        let seen = compare(&old, &new, &terms(1));
        assert_eq!((seen.verdict, seen.more_errors), (Pace::Faster, true));
        assert!(!compare(&old, &old, &terms(1)).more_errors);
    }

    #[test]
    fn what_a_machine_moves_meanwhile_is_no_slower_server() {
        // A quick server, p99 about 0.5 ms, and the same on an hour when the host was busier.
        let quick = Server { scale: 0.0125, ..PLAIN };
        let busier = Server { scale: 0.0125 * 1.4, ..PLAIN };
        let apart = tally(&quick, &busier, 5, 1);
        assert_eq!(share(&apart, "cannot tell"), 1.0, "{apart:?}");
        // By turns both meet the same hour, so the difference is the server's.
        let mut rng = Pcg64Mcg::seed_from_u64(1);
        let (a, b) = (run(&quick, &mut rng), run(&busier, &mut rng));
        assert_eq!(compare(&a, &b, &Terms { apart: false, ..terms(1) }).verdict, Pace::Slower);
        // And one that became far slower is found at any time.
        let worse = tally(&quick, &Server { scale: 0.0125 * 5.0, ..PLAIN }, 5, 1);
        assert_eq!(share(&worse, "slower"), 1.0, "{worse:?}");
    }

    #[test]
    fn a_ramp_is_compared_second_by_second() {
        let mut rng = Pcg64Mcg::seed_from_u64(1);
        let ramp = |rng: &mut Pcg64Mcg| -> Vec<Moment> {
            let second = |s: u64| Server { rate: 200 + 20 * s, seconds: 1, scale: 1.0 + s as f64 / 20.0, ..PLAIN };
            (0..60).flat_map(|s| run(&second(s), rng)).collect()
        };
        let (a, b) = (ramp(&mut rng), ramp(&mut rng));
        let seen = compare(&a, &b, &terms(1));
        assert_ne!(seen.verdict, Pace::Slower);
        assert!(seen.high.expect("an interval") / seen.low.expect("an interval") < 1.2, "{}", seen.reason);
    }

    #[test]
    fn quantiles_are_named_as_people_write_them() {
        assert_eq!([0.5, 0.99, 0.999].map(metric), ["p50", "p99", "p99.9"]);
    }
}
