//! What is usual for the baseline: its last ten well minutes, its own quantiles, and whether it is ill itself.

use std::collections::{BTreeMap, VecDeque};

use super::evidence::Margin;
use super::guard::{Counted, Guard};
use super::interval::{Bucket, Side};

/// How far back "usual" reaches, and how much of it an illness is told from; seconds.
const WINDOW_S: f64 = 600.0;
const LATELY_S: f64 = 60.0;
/// The baseline is ill when this share of its requests fails, whatever is usual ..
pub const ILL_ERRORS: f64 = 0.03;
/// .. or this share, and so many times what is usual ..
const ILL_RISE: (f64, f64) = (0.01, 8.0);
/// .. or this share is slower than its usual p99.
const ILL_SLOW: f64 = 0.15;
/// Fewer bad requests than this are no illness.
const ILL_LEAST: f64 = 5.0;
/// How close to the wanted share a bucket bound has to cut, to stand for a quantile.
const NEAREST: f64 = 0.05;

/// Sums over a window of the baseline.
#[derive(Clone, Debug, Default)]
struct Sums {
    requests: f64,
    errors: f64,
    /// Counts by upper bound; the bits of a positive number sort as it does.
    latency: BTreeMap<u64, f64>,
}

#[derive(Clone, Debug, Default)]
pub struct Usual {
    well: VecDeque<(f64, Side)>,
    sums: Sums,
    lately: VecDeque<(f64, Side)>,
}

/// Where a latency guard cuts, and what it means there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cut {
    pub limit: f64,
    pub margin: Margin,
    /// Where the baseline has next to nothing above the cut: the share that would be harm there.
    pub points: Option<f64>,
}

impl Sums {
    fn add(&mut self, side: &Side, sign: f64) {
        self.requests += sign * side.requests;
        self.errors += sign * side.errors;
        for Bucket(upper, count) in &side.latency_ms {
            *self.latency.entry(upper.to_bits()).or_default() += sign * count;
        }
    }

    /// Returns each bound with the share of requests above it, ascending.
    fn survival(&self) -> Vec<(f64, f64)> {
        let total: f64 = self.latency.values().sum();
        let mut above = total;
        let each = self.latency.iter().map(|(bits, count)| {
            above = (above - count).max(0.0);
            (f64::from_bits(*bits), if total > 0.0 { above / total } else { 0.0 })
        });
        each.collect()
    }
}

impl Usual {
    /// Keeps an interval of the baseline; an ill one does not change what is usual.
    pub fn keep(&mut self, t: f64, side: &Side, ill: bool) {
        if ill {
            return;
        }
        self.sums.add(side, 1.0);
        self.well.push_back((t, side.clone()));
        while self.well.front().is_some_and(|(then, _)| *then <= t - WINDOW_S) {
            if let Some((_, old)) = self.well.pop_front() {
                self.sums.add(&old, -1.0);
            }
        }
        if self.well.len() == 1 {
            // One interval left: begin anew, so that sums of fractions do not creep.
            self.sums = Sums::default();
            self.sums.add(side, 1.0);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.well.is_empty()
    }

    /// Returns why the baseline itself is not well, as of this interval of it.
    pub fn illness(&mut self, t: f64, side: &Side, limit: f64) -> Option<String> {
        self.lately.push_back((t, side.clone()));
        while self.lately.front().is_some_and(|(then, _)| *then <= t - LATELY_S) {
            self.lately.pop_front();
        }
        let sum = |of: &dyn Fn(&Side) -> f64| self.lately.iter().map(|(_, s)| of(s)).sum::<f64>();
        let minute = (sum(&|s| s.errors), sum(&|s| s.requests));
        let share_of = |(errors, requests): (f64, f64)| errors / requests.max(1.0);
        let at_once = (side.errors, side.requests);
        let (errors, share) = if at_once.0 >= ILL_LEAST && share_of(at_once) > share_of(minute) {
            (at_once.0, share_of(at_once))
        } else {
            (minute.0, share_of(minute))
        };
        let usual = self.error_share();
        let risen = usual.is_some_and(|u| share >= ILL_RISE.0 && share >= ILL_RISE.1 * u);
        if errors >= ILL_LEAST && (share >= limit || risen) {
            let before = usual.filter(|u| *u < limit).map_or(String::new(), |u| format!(", usually {}", percent(u)));
            return Some(format!("{} of the baseline's own requests fail{before}", percent(share)));
        }
        let p99 = self.quantile_bound(0.99)?;
        let (timed, slow) = (sum(&Side::timed), sum(&|s| s.slower_than(p99)));
        (slow >= ILL_LEAST && slow >= ILL_SLOW * timed).then(|| {
            format!("{} of the baseline's own requests are over its usual p99 of {p99} ms", percent(slow / timed))
        })
    }

    /// Returns the usual share of errors, with half an error for "none seen yet".
    pub fn error_share(&self) -> Option<f64> {
        (self.sums.requests > 0.0).then(|| (self.sums.errors + 0.5) / (self.sums.requests + 1.0))
    }

    fn share_of(&self, name: &str) -> Option<f64> {
        let counted: f64 = self.well.iter().filter_map(|(_, s)| s.named(name)).sum();
        (self.sums.requests > 0.0).then(|| (counted + 0.5) / (self.sums.requests + 1.0))
    }

    fn quantile_bound(&self, quantile: f64) -> Option<f64> {
        self.sums.survival().iter().find(|(_, above)| *above <= 1.0 - quantile).map(|(bound, _)| *bound)
    }

    /// Returns what a guard on a count means now; `None` without a usual yet.
    pub fn margin(&self, guard: &Guard) -> Option<(Margin, Option<f64>)> {
        let share = match &guard.counts {
            Counted::Errors => self.error_share(),
            Counted::Named(name) => self.share_of(name),
            Counted::Slower { .. } => None,
        }?;
        let harm = guard.harm.max(1.0 + guard.harm_points / share);
        // So rare that ratios say little: the absolute margin can also be tested for itself.
        let points = (guard.harm_points > 10.0 * share).then_some(guard.harm_points);
        Some((Margin { tolerated: guard.tolerated, harm }, points))
    }

    /// Returns where a latency guard cuts now: at the bucket bound nearest to the quantile, by share above it.
    pub fn cut(&self, quantile: f64, guard: &Guard) -> Option<Cut> {
        let survival = self.sums.survival();
        let wanted = 1.0 - quantile;
        let far = |above: f64| (above / wanted).ln().abs();
        let candidates = survival.iter().filter(|(_, above)| *above >= NEAREST * wanted && *above <= 0.9);
        if let Some(&(limit, above)) = candidates.min_by(|a, b| far(a.1).total_cmp(&far(b.1))) {
            let ratio = |slower: f64| share_above(&survival, limit / slower) / above;
            let tolerated = if guard.tolerated > 1.0 { ratio(guard.tolerated) } else { guard.tolerated };
            // Coarse buckets hide the slope: at least x1.25, at most x3.
            let harm = (ratio(guard.harm) / ratio(1.0)).clamp(1.25, 3.0).max(tolerated * 1.1);
            return Some(Cut { limit, margin: Margin { tolerated, harm }, points: None });
        }
        // All in one bucket: anything beyond the highest one in use is news.
        let top = self.sums.latency.iter().rev().find(|(_, count)| **count > 0.0)?;
        let limit = f64::from_bits(*top.0);
        let harm = 1.0 + wanted * self.sums.requests.max(1.0);
        Some(Cut { limit, margin: Margin { tolerated: 1.0, harm }, points: Some(wanted) })
    }
}

/// Returns the share above `x`, between bounds along a straight line of logarithms.
fn share_above(survival: &[(f64, f64)], x: f64) -> f64 {
    let upper = survival.partition_point(|(bound, _)| *bound < x);
    let Some(&(high, above_high)) = survival.get(upper) else { return 0.0 };
    let (low, above_low) = if upper == 0 { (high / 4.0, 1.0) } else { survival[upper - 1] };
    if low <= 0.0 || !high.is_finite() || above_high <= 0.0 {
        return above_low;
    }
    let way = (x / low).ln() / (high / low).ln();
    (above_low.ln() + way.clamp(0.0, 1.0) * (above_high / above_low).ln()).exp()
}

/// A share for a sentence: two digits that mean something.
pub fn percent(share: f64) -> String {
    match share * 100.0 {
        0.0 => "0 %".to_owned(),
        p if p < 0.095 => format!("{p:.3} %"),
        p if p < 9.95 => format!("{p:.2} %"),
        p => format!("{p:.1} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(requests: f64, errors: f64, buckets: &[(f64, f64)]) -> Side {
        let latency_ms = buckets.iter().map(|(u, n)| Bucket(*u, *n)).collect();
        Side { requests, errors, latency_ms, others: BTreeMap::new() }
    }

    fn usual(buckets: &[(f64, f64)]) -> Usual {
        let mut usual = Usual::default();
        usual.keep(0.0, &side(4500.0, 5.0, buckets), false);
        usual
    }

    #[test]
    fn a_cut_is_the_bound_nearest_to_the_quantile() {
        let usual = usual(&[(5.0, 4000.0), (10.0, 400.0), (100.0, 90.0), (1000.0, 10.0)]);
        let limit = |q| usual.cut(q, &Guard::slower(q)).expect("cuts").limit;
        assert_eq!((limit(0.95), limit(0.99), limit(0.999)), (5.0, 10.0, 100.0));
    }

    #[test]
    fn harm_is_ten_percent_slower_read_from_the_baseline() {
        // Shares above 1 / x: ten percent slower is ten percent more above any limit, so the floor holds.
        let pareto: Vec<_> = (1..400).map(|i| (f64::from(i), 1e6 / f64::from(i) - 1e6 / f64::from(i + 1))).collect();
        let shallow = usual(&pareto).cut(0.99, &Guard::slower(0.99)).expect("cuts");
        assert_eq!(shallow.margin.harm, 1.25);
        // Shares above 1 / x^5: ten percent slower is 1.1^5 = 1.61 times as many.
        let at = |i: i32| 1e9 / (f64::from(i) / 10.0).powi(5);
        let steep: Vec<_> = (10..60).map(|i| (f64::from(i + 1) / 10.0, at(i) - at(i + 1))).collect();
        let cut = usual(&steep).cut(0.99, &Guard::slower(0.99)).expect("cuts");
        assert!((cut.margin.harm - 1.61).abs() < 0.1, "{cut:?}");
    }

    #[test]
    fn one_bucket_cuts_above_itself() {
        let cut = usual(&[(50.0, 4500.0), (100.0, 0.0)]).cut(0.95, &Guard::slower(0.95)).expect("cuts");
        assert_eq!((cut.limit, cut.points.map(|p| (p * 100.0).round())), (50.0, Some(5.0)));
    }

    #[test]
    fn an_ill_baseline_is_told_by_share_by_rise_and_by_latency() {
        let quick = [(10.0, 4480.0), (20.0, 20.0)];
        let ill = |errors, buckets: &[(f64, f64)]| {
            let mut usual = usual(&quick);
            usual.illness(10.0, &side(4500.0, errors, buckets), ILL_ERRORS)
        };
        assert_eq!(ill(9.0, &quick), None);
        assert!(ill(200.0, &quick).is_some_and(|w| w.contains("4.44 %")));
        assert!(ill(60.0, &quick).is_some_and(|w| w.contains("usually 0.12 %")));
        assert!(ill(5.0, &[(10.0, 2000.0), (50.0, 2500.0)]).is_some_and(|w| w.contains("p99 of 10 ms")));
    }

    #[test]
    fn an_illness_never_becomes_usual() {
        let mut usual = usual(&[(10.0, 4500.0)]);
        for i in 1..200 {
            let t = f64::from(i) * 10.0;
            let bad = side(4500.0, 450.0, &[(10.0, 4500.0)]);
            let ill = usual.illness(t, &bad, ILL_ERRORS).is_some();
            usual.keep(t, &bad, ill);
            assert!(ill, "at {t}");
        }
        assert!(usual.error_share().is_some_and(|s| s < 0.002));
    }
}
