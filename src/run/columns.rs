//! A load's seconds as columns of a picture: a bounded number of them, however long the run.

use crate::load::tick::Tick;
use crate::stats::histogram::Histogram;
use crate::stats::units::Millis;

/// When a run has more seconds than this, neighbours are merged, exactly.
const MOST: usize = 480;

/// Some neighbouring seconds of load.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Column {
    /// First second it covers.
    pub second: u32,
    /// How long what it covers lasted; a gap is no part of it, and a run's last second may be short.
    pub seconds: f64,
    pub due: u64,
    pub sent: u64,
    pub answered: u64,
    pub errors: u64,
    /// At the end of its last second.
    pub in_flight: u64,
    pub waiting: u64,
    /// The worst second's p99 of the generator's own lateness.
    pub late_p99: Option<Millis>,
    /// `(upper bound, answers)` of each histogram bucket that holds something, ascending.
    latency: Vec<(Millis, u64)>,
}

impl Column {
    fn of(tick: &Tick) -> Self {
        let mut latency = Histogram::default();
        tick.endpoints.iter().for_each(|e| latency.merge(&e.latency));
        Self {
            second: tick.second,
            seconds: tick.seconds().clamp(0.001, 1.0),
            due: tick.due,
            sent: tick.sent,
            answered: tick.answered,
            errors: tick.errors.values().sum(),
            in_flight: tick.in_flight,
            waiting: tick.waiting,
            late_p99: tick.generator.late.quantile(0.99),
            latency: latency.buckets().collect(),
        }
    }

    fn add(&mut self, later: &Self) {
        self.second = self.second.min(later.second);
        self.seconds += later.seconds;
        self.due += later.due;
        self.sent += later.sent;
        self.answered += later.answered;
        self.errors += later.errors;
        self.in_flight = later.in_flight;
        self.waiting = later.waiting;
        self.late_p99 = self.late_p99.into_iter().chain(later.late_p99).max_by(|a, b| a.0.total_cmp(&b.0));
        for &(bound, count) in &later.latency {
            match self.latency.binary_search_by(|(b, _)| b.0.total_cmp(&bound.0)) {
                Ok(at) => self.latency[at].1 += count,
                Err(at) => self.latency.insert(at, (bound, count)),
            }
        }
    }

    /// Returns the latency at a quantile in 0..=1, or `None` without answers.
    pub fn quantile(&self, q: f64) -> Option<Millis> {
        let rank = ((q * self.answers() as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let at = self.latency.iter().find(|(_, n)| {
            seen += n;
            seen >= rank
        });
        at.map(|(bound, _)| *bound)
    }

    /// Returns how many answers have a latency.
    pub fn answers(&self) -> u64 {
        self.latency.iter().map(|(_, n)| n).sum()
    }

    pub fn max(&self) -> Option<Millis> {
        self.latency.last().map(|(bound, _)| *bound)
    }

    pub fn min(&self) -> Option<Millis> {
        self.latency.first().map(|(bound, _)| *bound)
    }

    /// Returns how many answers each band took; bands are upper bounds, ascending, and one more band lies above.
    pub fn bands(&self, bounds: &[Millis]) -> Vec<u64> {
        let mut counts = vec![0; bounds.len() + 1];
        for (bound, n) in &self.latency {
            counts[bounds.partition_point(|b| b.0 < bound.0)] += n;
        }
        counts
    }

    /// Returns a count as a rate per second over what it covers.
    pub fn rate(&self, count: u64) -> f64 {
        count as f64 / self.seconds.max(0.001)
    }
}

/// The columns of a load, in order of time.
#[derive(Clone, Debug, Default)]
pub struct Columns {
    /// Seconds a column covers, less one; so that the default is one second.
    coarser: u32,
    columns: Vec<Column>,
}

impl Columns {
    pub fn push(&mut self, tick: &Tick) {
        let column = Column::of(tick);
        let step = self.step();
        match self.columns.last_mut() {
            Some(last) if column.second / step <= last.second / step => last.add(&column),
            _ => self.columns.push(column),
        }
        if self.columns.len() > MOST {
            self.coarser = step * 2 - 1;
            self.columns = merged(&self.columns, step * 2, 0).into_iter().flatten().collect();
        }
    }

    /// Returns how many seconds one column covers.
    pub fn step(&self) -> u32 {
        self.coarser + 1
    }

    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Column> {
        self.columns.iter()
    }

    /// Returns the second after the last one told.
    pub fn end(&self) -> u32 {
        self.columns.last().map_or(0, |c| c.second + self.step())
    }

    /// Returns `from..until` in at most `most` slices of equal length, and that length; `None` where nothing was told.
    pub fn slices(&self, until: u32, most: usize) -> (Vec<Option<Column>>, u32) {
        let until = until.max(self.end()).max(1);
        let step = self.step();
        let each = until.div_ceil(u32::try_from(most.max(1)).unwrap_or(u32::MAX)).div_ceil(step) * step;
        (merged(&self.columns, each, until.div_ceil(each)), each)
    }
}

fn merged(columns: &[Column], step: u32, at_least: u32) -> Vec<Option<Column>> {
    let mut out: Vec<Option<Column>> = vec![None; at_least as usize];
    for column in columns {
        let at = (column.second / step) as usize;
        if at >= out.len() {
            out.resize(at + 1, None);
        }
        match &mut out[at] {
            Some(there) => there.add(column),
            empty => *empty = Some(column.clone()),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::tick::EndpointTick;
    use proptest::prelude::*;

    fn tick(second: u32, us: &[u64]) -> Tick {
        let mut endpoint = EndpointTick::default();
        us.iter().for_each(|v| endpoint.latency.record_us(*v));
        let answered = us.len() as u64;
        Tick {
            second,
            ends_s: f64::from(second + 1),
            due: answered,
            sent: answered,
            answered,
            endpoints: vec![endpoint],
            ..Tick::default()
        }
    }

    #[test]
    fn a_gap_stays_a_gap() {
        let mut columns = Columns::default();
        [0, 1, 4].into_iter().for_each(|s| columns.push(&tick(s, &[1_000])));
        let (slices, each) = columns.slices(6, 10);
        assert_eq!(each, 1);
        assert_eq!(
            slices.iter().map(|s| s.as_ref().map(|c| c.answered)).collect::<Vec<_>>(),
            [Some(1), Some(1), None, None, Some(1), None]
        );
    }

    proptest! {
        // Each case pushes more seconds than there are columns: a few dozen say it all, and quickly.
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn merging_loses_no_answer_and_no_quantile(us in prop::collection::vec(1_u64..5_000_000, 1..1_200), most in 1_usize..200) {
            let mut columns = Columns::default();
            let mut whole = Histogram::default();
            for (second, v) in us.iter().enumerate() {
                columns.push(&tick(second as u32, &[*v]));
                whole.record_us(*v);
            }
            prop_assert!(columns.iter().count() <= MOST);
            let (slices, _) = columns.slices(0, most);
            prop_assert!(slices.len() <= most);
            prop_assert_eq!(slices.iter().flatten().map(|c| c.answered).sum::<u64>(), us.len() as u64);
            let (one, _) = columns.slices(0, 1);
            let all = one[0].as_ref().expect("something was told");
            // At zero HDR gives the lower edge of the lowest bucket, a column its upper: above it they agree.
            for q in [0.01, 0.5, 0.9, 0.99, 1.0] {
                prop_assert_eq!(all.quantile(q), whole.quantile(q));
            }
        }
    }

    #[test]
    fn bands_hold_every_answer_once() {
        let column = Column::of(&tick(0, &[500, 1_000, 1_500, 9_000, 200_000]));
        assert_eq!(column.bands(&[Millis(1.0), Millis(10.0), Millis(120.0)]), [2, 2, 0, 1]);
    }
}
