//! A table's limit, practised: store reads pass a limiter whose capacity changes while the process serves.
//!
//! Only the local stack has it. A played read says in a header at which moment of its trace it is, and how many units it
//! stands for: weeks pass in minutes through the very same bucket, and a stalled laptop throttles nobody.

use std::sync::{Mutex, MutexGuard, PoisonError};

use hyper::HeaderMap;
use serde::{Deserialize, Serialize};

use super::limiter::{BURST_S, Limiter};

/// `seconds;units` of a played read: so many units at that moment. With `;seconds` more it stands for what flowed evenly
/// in so many seconds up to then.
pub const PLAYED: &str = "x-serin-played";
/// What a table is provisioned with where nobody set another capacity: the most that an account gives one table.
const PROVISIONED: f64 = 40_000.0;
/// A list is at most 4 KB and read eventually consistent.
const UNITS: f64 = 0.5;

/// What went through since it was set up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Units a second; `None` while nothing is limited.
    pub capacity: Option<f64>,
    /// Whether only reads that carry a moment of their own count.
    pub played: bool,
    pub reads: u64,
    pub units: f64,
    pub throttled: u64,
    /// Units of the throttled reads that did not pass; of a played flow, only what was too much.
    #[serde(default)]
    pub refused: f64,
}

#[derive(Debug)]
pub struct Practice {
    set: Mutex<(Table, Option<Limiter>)>,
    /// What holds while nothing is set, and the units that went through.
    provisioned: Mutex<(Limiter, f64)>,
}

impl Default for Practice {
    fn default() -> Self {
        Self { set: Mutex::default(), provisioned: Mutex::new((Limiter::table(PROVISIONED, 0.0), 0.0)) }
    }
}

impl Practice {
    fn held(&self) -> MutexGuard<'_, (Table, Option<Limiter>)> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn table(&self) -> Table {
        self.held().0.clone()
    }

    /// What the table is held to now: what was set, else what is provisioned.
    pub fn held_to(&self) -> Table {
        let table = self.table();
        let provisioned = self.provisioned.lock().unwrap_or_else(PoisonError::into_inner);
        let capacity = table.capacity.unwrap_or(PROVISIONED);
        Table { capacity: Some(capacity), units: table.units + provisioned.1, ..table }
    }

    /// Sets the capacity at `now`: of the table that is there, or of a new one with a full bucket.
    pub fn set(&self, units: f64, burst_s: Option<f64>, played: bool, now: f64) -> Table {
        let mut held = self.held();
        let (table, limiter) = &mut *held;
        match limiter {
            Some(limiter) if table.played == played => limiter.set_capacity(units, now),
            _ => {
                *limiter = Some(Limiter::with_burst(units, burst_s.unwrap_or(BURST_S), now));
                *table = Table { played, ..Table::default() };
            }
        }
        table.capacity = Some(units);
        table.clone()
    }

    /// Lets everything through again.
    pub fn end(&self) {
        *self.held() = (Table::default(), None);
    }

    /// Takes one read at `now`; returns whether it passes.
    pub fn read(&self, headers: &HeaderMap, now: f64) -> bool {
        let mut held = self.held();
        let (table, Some(limiter)) = &mut *held else {
            let mut provisioned = self.provisioned.lock().unwrap_or_else(PoisonError::into_inner);
            provisioned.1 += UNITS;
            return provisioned.0.take(UNITS, now);
        };
        let (at, units, seconds) = match (table.played, headers.get(PLAYED).and_then(|v| moment(v.to_str().ok()?))) {
            (true, Some(played)) => played,
            (true, None) => return true,
            (false, _) => (now, UNITS, None),
        };
        let refused = match seconds {
            Some(seconds) => limiter.flow(units / seconds, at),
            None if limiter.take(units, at) => 0.0,
            None => units,
        };
        let passes = refused <= 0.0;
        table.reads += 1;
        table.units += units;
        table.refused += refused;
        table.throttled += u64::from(!passes);
        passes
    }
}

fn moment(text: &str) -> Option<(f64, f64, Option<f64>)> {
    let (at, rest) = text.split_once(';')?;
    let number = |t: &str| t.parse::<f64>().ok().filter(|v| v.is_finite() && *v >= 0.0);
    match rest.split_once(';') {
        Some((units, seconds)) => Some((number(at)?, number(units)?, Some(number(seconds).filter(|s| *s > 0.0)?))),
        None => Some((number(at)?, number(rest)?, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str) -> HeaderMap {
        HeaderMap::from_iter([(hyper::header::HeaderName::from_static(PLAYED), text.parse().expect("a value"))])
    }

    #[test]
    fn nothing_is_limited_until_it_is_set_and_after_its_end() {
        let practice = Practice::default();
        assert!(practice.read(&HeaderMap::new(), 0.0));
        practice.set(1.0, Some(1.0), false, 0.0);
        let passed = (0..4).filter(|_| practice.read(&HeaderMap::new(), 0.0)).count();
        assert_eq!((passed, practice.table().throttled), (2, 2));
        practice.end();
        assert_eq!((practice.read(&HeaderMap::new(), 0.0), practice.table()), (true, Table::default()));
    }

    #[test]
    fn what_flowed_is_taken_as_it_flowed_whatever_it_is_cut_into() {
        let practice = Practice::default();
        practice.set(100.0, None, true, 1_000.0);
        // Below capacity a full bucket stays full, however late it is charged.
        assert!(practice.read(&header("1060;5400;60"), 0.0));
        // 130 a second drains 30 a second of the 30,000 that are kept: a thousand seconds, and what comes in ten more is
        // too much by 300.
        assert!(practice.read(&header("2060;130000;1000"), 0.0));
        assert!(!practice.read(&header("2070;1300;10"), 0.0));
        assert!((practice.table().refused - 300.0).abs() < 1e-6, "{:?}", practice.table());
    }

    #[test]
    fn a_played_table_knows_only_played_time() {
        let practice = Practice::default();
        practice.set(100.0, None, true, 1_000.0);
        assert!(practice.read(&HeaderMap::new(), 9e9), "a stranger's read is not in the trace");
        assert!(practice.read(&header("1000;30000"), 5.0));
        assert!(!practice.read(&header("1000;1"), 6.0));
        assert!(practice.read(&header("1060;6000"), 7.0));
        practice.set(50.0, None, true, 1_060.0);
        assert!(practice.read(&header("1160;5000"), 8.0));
        let table = practice.table();
        assert_eq!((table.capacity, table.reads, table.throttled, table.units), (Some(50.0), 4, 1, 41_001.0));
        for bad in ["", "1", "x;1", "1;-1", "nan;1", "1;1;0", "1;1;x", "1;1;1;1"] {
            assert!(moment(bad).is_none(), "{bad}");
        }
    }
}
