//! Everything that was gathered for one look at a target, and the windows it is read through.

use std::time::Duration;

use super::change::Change;
use crate::watch::probe::Probed;
use crate::watch::purse::Spent;
use crate::watch::sample::{Signal, Timing};
use crate::watch::series::{Growth, Series, Spell};

/// What is asked of the target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// The share of answers that may be errors.
    pub errors: f64,
    /// The quantile that is limited, and its limit in milliseconds.
    pub quantile: f64,
    pub latency_ms: f64,
    pub store_ms: f64,
    pub catalogue_age_s: f64,
    pub model_age_s: f64,
    pub skew_s: f64,
    /// Requests a second that the target is known to hold (`serin limit`), or its quota.
    pub rate: Option<f64>,
    /// Requests a second that a Personalize campaign lets in.
    pub campaign_rate: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            errors: 0.01,
            quantile: 0.99,
            latency_ms: 250.0,
            store_ms: 25.0,
            catalogue_age_s: 26.0 * 3600.0,
            model_age_s: 50.0 * 3600.0,
            skew_s: 30.0,
            rate: None,
            campaign_rate: 500.0,
        }
    }
}

/// A share, and who told it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Told {
    pub value: f64,
    pub part: Signal,
    pub whole: Signal,
    pub source: &'static str,
    pub age_s: f64,
}

/// How one source did.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    pub name: String,
    pub kind: Kind,
    pub took_s: f64,
    /// `Err` says in a person's words why it said nothing.
    pub said: Result<(), String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Metrics,
    /// The numbers of a process that does not answer at all.
    Gone,
    Prometheus,
    CloudWatch,
    DynamoDb,
    Health,
    /// Who tells of deploys and other changes.
    Changes,
}

/// What capacity costs, as far as the region's prices are known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UnitPrices {
    /// Dollars that a provisioned read unit costs an hour.
    pub unit: Option<f64>,
    /// Of a campaign: from so many TPS-hours of a month on, the dollars that one costs.
    pub campaign: Vec<(f64, f64)>,
}

#[derive(Clone, Debug)]
pub struct Scene {
    pub target: String,
    /// Unix seconds: now, how far back is looked, and when this look began to ask.
    pub now: f64,
    pub from: f64,
    pub began: f64,
    pub limits: Limits,
    pub series: Series,
    pub heard: Vec<Heard>,
    /// `None` where no address is known to probe.
    pub probed: Option<Probed>,
    pub changes: Vec<Change>,
    /// What asking cost today, where it costs anything.
    pub spent: Option<Spent>,
    pub prices: UnitPrices,
    /// Where the runbook and the dashboards are, and whom to call: said under "do".
    pub help: Vec<String>,
}

/// Pieces of the past are looked at this finely.
///
/// A look at counters takes two moments a little further apart than this, so that the newest piece is the look itself.
const STEP: Duration = Duration::from_secs(3);
/// A number older than this is not called now any more.
pub const OLD_S: f64 = 900.0;

impl Scene {
    /// The last minute, or since a little before the look began when that is longer ago.
    pub fn recent(&self) -> (f64, f64) {
        ((self.now - 60.0).min(self.began - 1.0), self.now)
    }

    /// The last minute of a number that may come late; `None` where it is too old to be called now.
    pub fn window(&self, signal: Signal) -> Option<(f64, f64)> {
        let newest = self.series.newest_of(signal).filter(|at| self.now - at < OLD_S)?;
        Some(if self.now - newest < 30.0 { self.recent() } else { (newest - 61.0, newest) })
    }

    /// A share by whoever tells it: the worst, with its source and age.
    pub fn worst(&self, kinds: &[(Signal, Signal, &'static str)]) -> Option<Told> {
        let one = |&(part, whole, source): &(Signal, Signal, &'static str)| {
            let (from, to) = self.window(whole)?;
            let value = self.series.share(part, whole, from, to)?;
            Some(Told { value, part, whole, source, age_s: self.now - self.series.newest_of(whole)? })
        };
        kinds.iter().filter_map(one).max_by(|a, b| a.value.total_cmp(&b.value))
    }

    /// The newest value of a gauge that may come late, with its age.
    pub fn gauge(&self, signal: Signal) -> Option<(f64, f64)> {
        let (from, to) = self.window(signal)?;
        let values = self.series.values(signal, from, to + 1.0);
        let newest = self.series.newest_of(signal)?;
        values.iter().filter(|v| v.0 <= newest).map(|v| v.1).reduce(f64::max).map(|v| (v, self.now - newest))
    }

    /// What grew a second, of a number that may come late.
    pub fn rate(&self, signal: Signal) -> Option<f64> {
        let (from, to) = self.window(signal)?;
        self.series.growth(signal, from, to).filter(|g| g.seconds > 0.0).map(Growth::per_second)
    }

    /// Whether the target says itself that it reads lists from no store, and nobody named a table.
    pub fn storeless(&self) -> bool {
        let used = self.series.gauges(Signal::StoreUsed, self.from);
        !used.is_empty() && used.iter().all(|u| *u == 0.0) && self.series.newest_of(Signal::TableUnits).is_none()
    }

    /// What the target does when nobody broke it: the same time of the day a week ago, else the day before the span.
    pub fn usual<T>(&self, read: impl Fn(f64, f64) -> Option<T>) -> Option<T> {
        const WEEK: f64 = 7.0 * 86_400.0;
        // A week ago is kept by quarters of an hour: one of them on each side belongs to the time of the day.
        const EDGE: f64 = 900.0;
        read(self.from - WEEK - EDGE, self.now - WEEK + EDGE).or_else(|| read(self.from - 86_400.0, self.from))
    }

    /// The part that ordinary viewers get: all but the canary, whether there is one now or only was.
    pub fn stable(&self) -> Series {
        self.series.without("canary")
    }

    /// Whether a canary was heard of in this very look.
    pub fn has_canary(&self) -> bool {
        self.series.last_each().any(|s| s.arm == "canary" && s.at >= self.began - 1.0)
    }

    /// The latest spell within the span for which `test` held.
    pub fn spell(&self, series: &Series, test: impl Fn(f64, f64) -> Option<bool>) -> Option<Spell> {
        series.spell(self.from, self.now, STEP, test)
    }

    pub fn error_share(&self, series: &Series, from: f64, to: f64) -> Option<f64> {
        series.share(Signal::Errors, Signal::Requests, from, to)
    }

    pub fn latency(&self, series: &Series, from: f64, to: f64) -> Option<f64> {
        series.quantile(Timing::Request, self.limits.quantile, from, to)
    }

    /// Seconds since a number was last heard.
    pub fn age(&self) -> Option<f64> {
        self.series.newest().map(|at| self.now - at)
    }

    /// Whether somebody at the target answers at all: the probe, or a health page.
    pub fn answers(&self) -> bool {
        let probed = self.probed.as_ref().is_some_and(|p| p.replies.iter().any(|r| r.status.is_some()));
        probed || self.heard.iter().any(|h| h.kind == Kind::Health && h.said.is_ok())
    }

    pub fn changed_before(&self, at: f64) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(move |c| c.at <= at + 5.0 && c.at >= at - 900.0)
    }
}

/// A moment for machines: RFC 3339, whole seconds.
pub fn stamp(at: f64) -> String {
    jiff::Timestamp::from_second(at as i64)
        .map_or_else(|_| String::new(), |t| t.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// A moment for people: the time of the day, UTC.
pub fn clock(at: f64) -> String {
    jiff::Timestamp::from_second(at as i64).map_or_else(|_| String::new(), |t| t.strftime("%H:%M:%S").to_string())
}

/// An age for people: `12 s`, `4 min`, `3 h`, `2 d`.
pub fn age(seconds: f64) -> String {
    match seconds.max(0.0) {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3600.0),
        s => format!("{:.0} d", s / 86_400.0),
    }
}
