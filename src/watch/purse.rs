//! What watching costs by itself: counted by the day, kept over restarts, and never above its cap.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::WatchError;
use crate::durable;

const DAY_S: f64 = 86_400.0;

/// The spending on one target.
#[derive(Clone, Debug)]
pub struct Purse {
    path: PathBuf,
    /// Dollars a day; `None` without a cap.
    pub cap: Option<f64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spent {
    /// Days since 1970, UTC.
    pub day: i64,
    pub usd: f64,
    /// Metrics that were asked for.
    pub metrics: u64,
}

impl Purse {
    pub fn of(home: &Path, target: &str, cap: Option<f64>) -> Self {
        Self { path: super::history::place(home, target, "spent.json"), cap }
    }

    /// Returns what was spent today.
    pub fn spent(&self, now: f64) -> Spent {
        let day = (now / DAY_S).floor() as i64;
        let kept = std::fs::read(&self.path).ok().and_then(|b| serde_json::from_slice::<Spent>(&b).ok());
        kept.filter(|s| s.day == day).unwrap_or(Spent { day, ..Spent::default() })
    }

    /// Writes the spending down before the money goes; refuses what would go over the cap.
    pub fn pay(&self, metrics: u64, usd_each: f64, now: f64) -> Result<(), WatchError> {
        let failed = |e: std::io::Error| WatchError::File { path: self.path.clone(), why: e.to_string() };
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        // Two who watch the same target share one purse: neither overlooks what the other spends.
        let shut = std::fs::File::create(self.path.with_extension("lock")).map_err(failed)?;
        shut.lock().map_err(failed)?;
        let mut spent = self.spent(now);
        let price = metrics as f64 * usd_each;
        if let Some(cap) = self.cap.filter(|cap| spent.usd + price > *cap) {
            return Err(WatchError::Cap { spent: spent.usd, cap });
        }
        spent.usd += price;
        spent.metrics += metrics;
        durable::write(&self.path, serde_json::json!(spent).to_string().as_bytes()).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_who_pay_at_once_keep_one_cap() {
        let dir = tempfile::tempdir().expect("a folder");
        let now = 20_000.0 * DAY_S + 5.0;
        let pay = || (0..50).filter(|_| Purse::of(dir.path(), "x", Some(0.0105)).pay(20, 1e-5, now).is_ok()).count();
        let paid: usize = std::thread::scope(|scope| {
            let both = [scope.spawn(pay), scope.spawn(pay)];
            both.map(|one| one.join().expect("paid")).iter().sum()
        });
        assert_eq!((paid, Purse::of(dir.path(), "x", None).spent(now).metrics), (52, 1040));
    }

    #[test]
    fn a_cap_is_kept_by_the_day_and_over_restarts() {
        let dir = tempfile::tempdir().expect("a folder");
        let purse = || Purse::of(dir.path(), "staging", Some(0.001));
        let now = 20_000.0 * DAY_S + 5.0;
        for _ in 0..2 {
            purse().pay(40, 1e-5, now).expect("paid");
        }
        let refused = purse().pay(40, 1e-5, now).expect_err("over the cap").to_string();
        assert_eq!(
            refused,
            "today's cap of $0.0010 for asking is reached ($0.0008 spent): asked again after midnight UTC"
        );
        assert_eq!(purse().spent(now), Spent { day: 20_000, usd: 80.0 * 1e-5, metrics: 80 });
        purse().pay(40, 1e-5, now + DAY_S).expect("a new day");
        assert_eq!(purse().spent(now + DAY_S).metrics, 40);
    }
}
