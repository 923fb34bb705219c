//! How fast an objective's budget burns, over two windows at once: long enough to matter, short enough to be now.

use std::time::Duration;

use serde::{Deserialize, Serialize};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// A pair of windows and the burn rate that both must exceed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Windows {
    pub factor: f64,
    pub long: Duration,
    pub short: Duration,
}

/// The usual three: 2 % of a month's budget in an hour, 5 % in six, 10 % in three days.
pub const WINDOWS: [Windows; 3] = [
    Windows { factor: 14.4, long: Duration::from_secs(HOUR), short: Duration::from_secs(5 * MINUTE) },
    Windows { factor: 6.0, long: Duration::from_secs(6 * HOUR), short: Duration::from_secs(30 * MINUTE) },
    Windows { factor: 1.0, long: Duration::from_secs(72 * HOUR), short: Duration::from_secs(6 * HOUR) },
];

/// The least share of a window that must have been seen before it is judged.
const ENOUGH: f64 = 0.5;

/// What was counted in a window, and how much of the window was seen at all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Counted {
    pub bad: f64,
    pub total: f64,
    pub seen: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Burning {
    Yes,
    No,
    /// Too little of a window was seen, or nothing was asked in it.
    Unknown,
}

/// One pair of windows, judged; rates are multiples of the budget, `None` without data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Burn {
    pub factor: f64,
    pub long_s: u64,
    pub short_s: u64,
    pub long: Option<f64>,
    pub short: Option<f64>,
    pub burning: Burning,
}

/// Judges the three pairs for an objective that allows `budget` (a share) to be bad; `count` looks back from now.
pub fn burns(budget: f64, count: impl Fn(Duration) -> Option<Counted>) -> Vec<Burn> {
    let rate = |window| {
        let c = count(window).filter(|c| c.total > 0.0 && c.seen >= ENOUGH)?;
        (budget > 0.0).then(|| c.bad / c.total / budget)
    };
    let judged = WINDOWS.iter().map(|w| {
        let (long, short) = (rate(w.long), rate(w.short));
        let burning = match (long, short) {
            (Some(l), Some(s)) if l > w.factor && s > w.factor => Burning::Yes,
            // One window below the factor suffices to say that this pair does not burn.
            (Some(r), _) | (_, Some(r)) if r <= w.factor => Burning::No,
            (Some(_), Some(_)) => Burning::No,
            _ => Burning::Unknown,
        };
        Burn { factor: w.factor, long_s: w.long.as_secs(), short_s: w.short.as_secs(), long, short, burning }
    });
    judged.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Errors of `share` since `since_s` ago, 100 requests a second, `known_s` of the past seen.
    fn world(share: f64, since_s: f64, known_s: f64) -> impl Fn(Duration) -> Option<Counted> {
        move |window| {
            let seen = window.as_secs_f64().min(known_s);
            let bad = seen.min(since_s) * 100.0 * share;
            Some(Counted { bad, total: seen * 100.0, seen: seen / window.as_secs_f64() })
        }
    }

    fn states(budget: f64, count: impl Fn(Duration) -> Option<Counted>) -> Vec<Burning> {
        burns(budget, count).into_iter().map(|b| b.burning).collect()
    }

    #[test]
    fn a_fast_burn_needs_both_of_its_windows() {
        use Burning::{No, Unknown, Yes};
        let week = 7.0 * 86_400.0;
        // 2 % of errors against 0.1 %: twenty times the budget, for an hour.
        assert_eq!(states(0.001, world(0.02, 3600.0, week)), [Yes, No, No]);
        // The same for one minute: the hour has hardly noticed.
        assert_eq!(states(0.001, world(0.02, 60.0, week)), [No, No, No]);
        // Twice the budget for a week: only the slow pair.
        assert_eq!(states(0.001, world(0.002, week, week)), [No, No, Yes]);
        // Ten minutes of life say nothing about three days.
        assert_eq!(states(0.001, world(0.02, 600.0, 600.0)), [Unknown, Unknown, Unknown]);
        assert_eq!(states(0.001, world(0.0, 0.0, 600.0))[0], No);
    }

    #[test]
    fn no_data_never_counts_as_not_burning() {
        assert_eq!(states(0.001, |_| None), [Burning::Unknown; 3]);
        let silent = |_| Some(Counted { bad: 0.0, total: 0.0, seen: 1.0 });
        assert_eq!(states(0.001, silent), [Burning::Unknown; 3]);
    }
}
