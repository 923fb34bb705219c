//! Numbers over time, instance by instance; a gap stays a gap, and a counter that starts anew is no fall.

use std::collections::BTreeMap;
use std::time::Duration;

use super::sample::{Sample, Signal, Timing};

/// Two samples further apart than this say nothing of what lay between, however old they are.
const GAP_S: f64 = 90.0;

/// Samples of one target, in order of time.
#[derive(Clone, Debug, Default)]
pub struct Series {
    instances: BTreeMap<String, Vec<Sample>>,
}

/// How much a counter grew, and over how many seconds that was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Growth {
    pub amount: f64,
    pub seconds: f64,
}

impl Growth {
    pub fn per_second(self) -> f64 {
        self.amount / self.seconds.max(f64::MIN_POSITIVE)
    }
}

/// When something held: `ended` is `None` while it lasts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spell {
    pub began: f64,
    pub ended: Option<f64>,
}

impl Series {
    pub fn new(samples: impl IntoIterator<Item = Sample>) -> Self {
        let mut series = Self::default();
        samples.into_iter().for_each(|s| series.instances.entry(s.instance.clone()).or_default().push(s));
        for samples in series.instances.values_mut() {
            samples.sort_by(|a, b| a.at.total_cmp(&b.at));
            samples.dedup_by(|later, earlier| later.at == earlier.at);
        }
        series
    }

    pub fn is_empty(&self) -> bool {
        self.instances.is_empty()
    }

    /// Returns the part that one arm served.
    #[must_use]
    pub fn arm(&self, arm: &str) -> Self {
        self.only(|s| s.arm == arm)
    }

    /// Returns all but the part that one arm served.
    #[must_use]
    pub fn without(&self, arm: &str) -> Self {
        self.only(|s| s.arm != arm)
    }

    /// Returns the part of one instance.
    #[must_use]
    pub fn instance(&self, name: &str) -> Self {
        self.only(|s| s.instance == name)
    }

    /// Returns what was known at `now`: a look at the past sees no future.
    #[must_use]
    pub fn until(&self, now: f64) -> Self {
        self.only(|s| s.at <= now)
    }

    fn only(&self, keep: impl Fn(&Sample) -> bool) -> Self {
        Self::new(self.instances.values().flatten().filter(|s| keep(s)).cloned())
    }

    /// Returns when anything was last heard.
    pub fn newest(&self) -> Option<f64> {
        self.instances.values().filter_map(|s| s.last()).map(|s| s.at).max_by(f64::total_cmp)
    }

    /// Returns when a number was last told, of a time that is whole.
    pub fn newest_of(&self, signal: Signal) -> Option<f64> {
        let newest =
            |samples: &Vec<Sample>| samples.iter().rev().find(|s| !s.partial && s.get(signal).is_some()).map(|s| s.at);
        self.instances.values().filter_map(newest).max_by(f64::total_cmp)
    }

    /// Returns the samples of each instance, oldest first.
    pub fn each(&self) -> impl Iterator<Item = &[Sample]> {
        self.instances.values().map(Vec::as_slice)
    }

    /// Returns the newest sample of each instance.
    pub fn last_each(&self) -> impl Iterator<Item = &Sample> {
        self.instances.values().filter_map(|s| s.last())
    }

    /// Returns the newest value of a gauge in each instance that said it at or after `from`.
    pub fn gauges(&self, signal: Signal, from: f64) -> Vec<f64> {
        let newest =
            |samples: &Vec<Sample>| samples.iter().rev().take_while(|s| s.at >= from).find_map(|s| s.get(signal));
        self.instances.values().filter_map(newest).collect()
    }

    /// Returns every value of a gauge between two moments, with its time, oldest first.
    pub fn values(&self, signal: Signal, from: f64, to: f64) -> Vec<(f64, f64)> {
        let mut out: Vec<_> = self.within(from, to).flatten().filter_map(|s| Some((s.at, s.get(signal)?))).collect();
        out.sort_by(|a, b| a.0.total_cmp(&b.0));
        out
    }

    /// Returns how much a counter grew, summed over the instances, or `None` where nobody said it twice.
    pub fn growth(&self, signal: Signal, from: f64, to: f64) -> Option<Growth> {
        let mut all: Option<Growth> = None;
        let mut spans = Vec::new();
        for (before, after) in self.pairs(from, to) {
            // A counter that is not told yet has not counted yet, where its neighbours are told.
            let a = before.get(signal).or_else(|| before.get(Signal::Requests).map(|_| 0.0));
            if let (Some(a), Some(b)) = (a, after.get(signal)) {
                all.get_or_insert_default().amount += if b >= a { b - a } else { b };
                spans.push((before.at, after.at));
            }
        }
        all.map(|g| Growth { seconds: covered(spans), ..g })
    }

    /// Returns one counter's growth as a share of another's; without requests there is no share.
    pub fn share(&self, part: Signal, whole: Signal, from: f64, to: f64) -> Option<f64> {
        let whole = self.growth(whole, from, to).filter(|w| w.amount > 0.0)?;
        // A counter that nobody has said yet is one that has never counted, but only beside one that has.
        Some(self.growth(part, from, to).map_or(0.0, |p| p.amount) / whole.amount)
    }

    /// Returns a quantile in milliseconds from the buckets' growth, or `None` without answers.
    pub fn quantile(&self, timing: Timing, q: f64, from: f64, to: f64) -> Option<f64> {
        let grown = self.grown(timing, from, to);
        let rank = q * grown.values().last()?;
        let (mut low, mut below) = (0.0, 0.0);
        for (bound, count) in grown {
            let high = bound as f64 / 1e6;
            if count > 0.0 && count >= rank {
                let inside = ((rank - below) / (count - below).max(f64::MIN_POSITIVE)).clamp(0.0, 1.0);
                return Some(low + (high - low) * inside);
            }
            (low, below) = (high, count);
        }
        None
    }

    /// Returns how many answers took longer than a limit, and how many there were.
    pub fn slower(&self, timing: Timing, limit_ms: f64, from: f64, to: f64) -> Option<(f64, f64)> {
        let grown = self.grown(timing, from, to);
        let total = *grown.values().last()?;
        let (mut low, mut below) = (0.0, 0.0);
        for (bound, count) in grown {
            let high = bound as f64 / 1e6;
            if high >= limit_ms {
                let within = below + (count - below) * ((limit_ms - low) / (high - low).max(f64::MIN_POSITIVE));
                return Some(((total - within).max(0.0), total));
            }
            (low, below) = (high, count);
        }
        Some((0.0, total))
    }

    /// Cumulative growth by upper bound; bounds as whole nanoseconds, so that equal ones meet.
    fn grown(&self, timing: Timing, from: f64, to: f64) -> BTreeMap<u64, f64> {
        let mut grown: BTreeMap<u64, f64> = BTreeMap::new();
        for (before, after) in self.pairs(from, to) {
            let Some(b) = after.timings.get(&timing) else { continue };
            // No timing yet, beside counters that are told, is nothing timed yet.
            let none = Vec::new();
            let told = before.timings.get(&timing).or_else(|| before.get(Signal::Requests).map(|_| &none));
            let Some(a) = told else { continue };
            let anew = a.last().map_or(0.0, |l| l.1) > b.last().map_or(0.0, |l| l.1);
            for (bound, count) in b {
                let old = if anew { 0.0 } else { a.iter().find(|x| x.0 == *bound).map_or(0.0, |x| x.1) };
                *grown.entry((bound * 1e9) as u64).or_insert(0.0) += (count - old).max(0.0);
            }
        }
        grown
    }

    /// Returns how many of the seconds between two moments were seen, by any instance.
    pub fn seen(&self, from: f64, to: f64) -> f64 {
        covered(self.pairs(from, to).map(|(a, b)| (a.at, b.at)).collect())
    }

    /// Returns the latest spell for which `test` held, looking at pieces of at least `step`; unknown pieces prove nothing.
    pub fn spell(&self, from: f64, to: f64, step: Duration, test: impl Fn(f64, f64) -> Option<bool>) -> Option<Spell> {
        let cuts = self.cuts(from, to, step.as_secs_f64());
        let mut spell: Option<Spell> = None;
        let (mut newer, mut quiet) = (None, 0);
        for piece in cuts.windows(2).rev() {
            match (test(piece[0], piece[1]), &mut spell) {
                (Some(true), Some(spell)) => (spell.began, quiet) = (piece[0], 0),
                (Some(true), None) => spell = Some(Spell { began: piece[0], ended: newer.map(|_| piece[1]) }),
                // One calm piece within a storm does not end it.
                (Some(false), Some(_)) if quiet == 0 => quiet = 1,
                (Some(false), Some(_)) => break,
                (Some(false), None) => newer = Some(piece[0]),
                (None, _) => {}
            }
        }
        spell
    }

    /// Moments at which something was heard, newest kept, at least `step` apart.
    fn cuts(&self, from: f64, to: f64, step: f64) -> Vec<f64> {
        let mut times: Vec<_> = self.within(from, to).flatten().map(|s| s.at).collect();
        times.sort_by(f64::total_cmp);
        let mut cuts: Vec<f64> = Vec::new();
        for at in times.into_iter().rev() {
            if cuts.last().is_none_or(|last| last - at >= step) {
                cuts.push(at);
            }
        }
        cuts.reverse();
        cuts
    }

    /// Neighbouring samples of one instance that are near enough to say what lay between.
    fn pairs(&self, from: f64, to: f64) -> impl Iterator<Item = (&Sample, &Sample)> {
        let newest = self.newest().unwrap_or(to);
        let neighbours = self.within(from, to).flat_map(|s| s.windows(2)).map(|w| (&w[0], &w[1]));
        neighbours.filter(move |(a, b)| !b.partial && b.at - a.at <= gap(newest - b.at))
    }

    /// Returns what each instance said between two moments, both included.
    pub fn within(&self, from: f64, to: f64) -> impl Iterator<Item = &[Sample]> {
        self.instances.values().map(move |samples| {
            let (start, end) = (samples.partition_point(|s| s.at < from), samples.partition_point(|s| s.at <= to));
            &samples[start..end.max(start)]
        })
    }
}

/// How many seconds spans cover, those that overlap counted once.
fn covered(mut spans: Vec<(f64, f64)>) -> f64 {
    spans.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut total, mut until) = (0.0, f64::NEG_INFINITY);
    for (a, b) in spans {
        total += (b - a.max(until)).max(0.0);
        until = until.max(b);
    }
    total
}

/// The longest step that is no gap: history is kept coarser the older it is.
fn gap(age: f64) -> f64 {
    let kept = super::history::TIERS.iter().find(|t| age < t.until_s).map_or(3600.0, |t| t.step_s);
    (kept * 2.5).max(GAP_S)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(instance: &str, points: &[(f64, f64)]) -> Vec<Sample> {
        let sample = |&(at, value): &(f64, f64)| {
            let mut sample = Sample::new(at, instance);
            sample.set(Signal::Requests, value);
            sample
        };
        points.iter().map(sample).collect()
    }

    #[test]
    fn a_restart_is_no_fall_and_a_gap_no_growth() {
        let series =
            Series::new(counted("a", &[(0.0, 10.0), (10.0, 30.0), (20.0, 5.0), (400.0, 1000.0), (410.0, 1010.0)]));
        let growth = series.growth(Signal::Requests, 0.0, 500.0).expect("known");
        assert_eq!((growth.amount, growth.seconds), (20.0 + 5.0 + 10.0, 30.0));
        assert_eq!(series.growth(Signal::Errors, 0.0, 500.0), None);
        assert_eq!(series.growth(Signal::Requests, 401.0, 405.0), None);
    }

    #[test]
    fn instances_add_up_over_the_same_seconds() {
        let series = Series::new(
            [counted("a", &[(0.0, 0.0), (10.0, 50.0)]), counted("b", &[(0.0, 7.0), (10.0, 57.0)])].concat(),
        );
        let growth = series.growth(Signal::Requests, 0.0, 10.0).expect("known");
        assert!((growth.per_second() - 10.0).abs() < 1e-9, "{growth:?}");
    }

    #[test]
    fn quantiles_come_from_what_the_buckets_grew() {
        let at = |at: f64, counts: [f64; 3]| {
            let mut sample = Sample::new(at, "a");
            sample.timings.insert(Timing::Request, [0.01, 0.1, 1.0].into_iter().zip(counts).collect());
            sample
        };
        let series = Series::new([at(0.0, [100.0, 100.0, 100.0]), at(10.0, [100.0, 190.0, 200.0])]);
        let p = |q| series.quantile(Timing::Request, q, 0.0, 10.0).expect("known");
        assert!(
            (p(0.45) - 55.0).abs() < 0.1 && (p(0.9) - 100.0).abs() < 0.1 && p(0.99) > 500.0,
            "{} {}",
            p(0.45),
            p(0.99)
        );
        assert_eq!(series.quantile(Timing::Store, 0.5, 0.0, 10.0), None);
        assert_eq!(series.slower(Timing::Request, 100.0, 0.0, 10.0), Some((10.0, 100.0)));
        let silent = Series::new([at(0.0, [5.0; 3]), at(10.0, [5.0; 3])]);
        assert_eq!(silent.quantile(Timing::Request, 0.5, 0.0, 10.0), None);
    }

    #[test]
    fn a_spell_says_since_when_and_whether_it_lasts() {
        let points: Vec<_> = (0..=60).map(|i| (f64::from(i) * 10.0, 0.0)).collect();
        let series = Series::new(counted("a", &points));
        let spell = |from: f64, to: f64| {
            series.spell(0.0, 600.0, Duration::from_secs(10), move |a, b| Some(a >= from && b <= to))
        };
        assert_eq!(spell(400.0, 600.0), Some(Spell { began: 400.0, ended: None }));
        assert_eq!(spell(100.0, 300.0), Some(Spell { began: 100.0, ended: Some(300.0) }));
        assert_eq!(spell(700.0, 800.0), None);
    }
}
