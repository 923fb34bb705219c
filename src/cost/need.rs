//! The least constant capacity that would have held all demand so far without a throttle: exact, and cheap to keep up.
//!
//! A full bucket of 300 s runs dry exactly when some stretch of time `i..j` asks for more than
//! `capacity x (its seconds + 300)`. So the need is the largest `units / (seconds + 300)` over all stretches: for each
//! end, the steepest line to a point of the lower hull of (time, units so far), found by bisection. No search over
//! capacities, no second pass: a year of hours takes milliseconds, and it only ever looks back.

use std::collections::BTreeMap;

const DAY_S: f64 = 86_400.0;
/// A day of which this share was seen is a whole one.
const NEARLY_WHOLE: f64 = 0.95;

#[derive(Clone, Debug)]
pub struct Need {
    burst_s: f64,
    /// Seconds of demand seen; missing time does not count, so that a gap never fills the bucket.
    seconds: f64,
    units: f64,
    hull: Vec<(f64, f64)>,
    days: BTreeMap<i64, f64>,
    /// Seconds of each day that were seen.
    seen: BTreeMap<i64, f64>,
    /// The highest demand of each day.
    highest: BTreeMap<i64, f64>,
}

impl Need {
    /// Starts with nothing seen, for a bucket that keeps `burst_s` seconds of capacity.
    pub fn new(burst_s: f64) -> Self {
        Self {
            burst_s,
            seconds: 0.0,
            units: 0.0,
            hull: vec![(0.0, 0.0)],
            days: BTreeMap::new(),
            seen: BTreeMap::new(),
            highest: BTreeMap::new(),
        }
    }

    /// Takes demand of `rate` units a second from `from` until `until`.
    pub fn saw(&mut self, rate: f64, from: f64, until: f64) {
        let seconds = until - from;
        if seconds <= 0.0 {
            return;
        }
        self.seconds += seconds;
        self.units += rate * seconds;
        let end = (self.seconds, self.units);
        let need = self.steepest_to(end);
        let highest = self.highest.entry(day_of(from)).or_default();
        *highest = highest.max(rate);
        let day = self.days.entry(day_of(from)).or_default();
        *day = day.max(need);
        *self.seen.entry(day_of(from)).or_default() += seconds;
        while self.hull.len() >= 2 {
            let [a, b] = [self.hull[self.hull.len() - 2], self.hull[self.hull.len() - 1]];
            // `b` above the line a..end can never be a best beginning again.
            if (b.1 - a.1) * (end.0 - a.0) < (end.1 - a.1) * (b.0 - a.0) {
                break;
            }
            self.hull.pop();
        }
        self.hull.push(end);
    }

    fn steepest_to(&self, end: (f64, f64)) -> f64 {
        let slope = |p: &(f64, f64)| (end.1 - p.1) / (end.0 + self.burst_s - p.0);
        let last = self.hull.len() - 1;
        let (mut low, mut high) = (0, last);
        while low < high {
            let middle = usize::midpoint(low, high);
            if slope(&self.hull[middle + 1]) > slope(&self.hull[middle]) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        slope(&self.hull[low])
    }

    /// Days' worth of demand seen.
    pub fn days_seen(&self) -> f64 {
        self.seconds / DAY_S
    }

    /// The need of the stretches that ended on UTC day `day`.
    pub fn on(&self, day: i64) -> Option<f64> {
        self.days.get(&day).copied()
    }

    /// The same of a day that was seen nearly whole: a part of one is compared with nothing.
    pub fn on_whole(&self, day: i64) -> Option<f64> {
        self.on(day).filter(|_| self.seen.get(&day).is_some_and(|s| *s >= NEARLY_WHOLE * DAY_S))
    }

    /// The need of the days from `first` on: zero where nothing was seen.
    pub fn since(&self, first: i64) -> f64 {
        self.days.range(first..).map(|(_, n)| *n).fold(0.0, f64::max)
    }

    /// The highest demand of the days from `first` on.
    pub fn highest_since(&self, first: i64) -> f64 {
        self.highest.range(first..).map(|(_, n)| *n).fold(0.0, f64::max)
    }

    pub fn days(&self) -> impl DoubleEndedIterator<Item = (i64, f64)> + '_ {
        self.days.iter().map(|(d, n)| (*d, *n))
    }
}

/// The UTC day that holds this moment.
pub fn day_of(at: f64) -> i64 {
    (at / DAY_S).floor() as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::limiter::{BURST_S, Limiter};
    use proptest::prelude::*;

    fn holds(capacity: f64, demand: &[f64]) -> bool {
        let mut table = Limiter::table(capacity, 0.0);
        demand.iter().enumerate().all(|(i, rate)| table.flow(*rate, (i as f64 + 1.0) * 60.0) == 0.0)
    }

    #[test]
    fn a_day_that_was_seen_in_part_is_no_whole_day() {
        let mut need = Need::new(BURST_S);
        need.saw(10.0, 0.7 * DAY_S, DAY_S);
        need.saw(10.0, DAY_S, 2.0 * DAY_S);
        assert!(need.on(0).is_some() && need.on_whole(0).is_none());
        assert_eq!(need.on_whole(1), need.on(1));
    }

    #[test]
    fn an_hour_of_100_needs_what_the_bucket_does_not_give() {
        let mut need = Need::new(BURST_S);
        need.saw(0.0, 0.0, 3_600.0);
        need.saw(100.0, 3_600.0, 7_200.0);
        assert!((need.since(0) - 100.0 * 3_600.0 / 3_900.0).abs() < 1e-9);
    }

    proptest! {
        /// Against the limiter itself: just above the need nothing is throttled, just below it something is.
        #[test]
        fn is_what_brute_force_finds(demand in prop::collection::vec(0.0..500.0f64, 1..400)) {
            let mut need = Need::new(BURST_S);
            for (i, rate) in demand.iter().enumerate() {
                need.saw(*rate, i as f64 * 60.0, (i as f64 + 1.0) * 60.0);
            }
            let need = need.since(0);
            prop_assert!(holds(need * 1.000_001 + 1e-6, &demand));
            prop_assert!(need < 1.0 || !holds(need * 0.999, &demand));
        }
    }
}
