//! The parts of a target at one moment, a row each: its state, how much is asked of it, and how near it is to its limit.

use serde::Serialize;

use super::scene::{Limits, OLD_S, age};
use crate::stats::units::Share;
use crate::watch::sample::{Sample, Signal, Timing};
use crate::watch::series::{Growth, Series};

/// How a part stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stand {
    Up,
    /// Well, and near its limit.
    Warm,
    /// At its limit: some of what is asked is refused.
    Full,
    Down,
    /// Some of what is asked fails, and not for want of capacity.
    Fails,
    /// It answers, and is not what it should be: too old, too slow.
    Poor,
    /// Nobody told.
    Unknown,
}

impl Stand {
    pub fn sign(self) -> &'static str {
        match self {
            Self::Up => "✓",
            Self::Warm => "!",
            Self::Full | Self::Fails | Self::Down | Self::Poor => "✗",
            Self::Unknown => "?",
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Warm => "warm",
            Self::Full => "full",
            Self::Down => "down",
            Self::Fails => "fails",
            Self::Poor => "poor",
            Self::Unknown => "?",
        }
    }
}

impl Part {
    /// What is wrong with it, for one line; `None` where nothing is.
    pub fn trouble(&self) -> Option<String> {
        let errors = self.errors.filter(|e| *e > 0.0);
        Some(match self.stand {
            Stand::Down => format!("{} does not answer", self.name),
            Stand::Full => format!("{} is at its limit and refuses some of what it is asked", self.name),
            Stand::Fails => match errors {
                Some(e) => format!("{}: {} of what it is asked fails", self.name, Share(e)),
                None => format!("{}: some of what it is asked fails", self.name),
            },
            Stand::Poor => match &self.told {
                Some(told) => format!("{} is too old: {told}", self.name),
                None => format!("{} is too slow", self.name),
            },
            Stand::Up | Stand::Warm | Stand::Unknown => return None,
        })
    }
}

/// `None` is "not told", never zero.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Part {
    pub name: String,
    pub stand: Stand,
    pub rate: Option<f64>,
    pub p99_ms: Option<f64>,
    /// Share of what was asked that failed, or was throttled.
    pub errors: Option<f64>,
    /// Share of its limit that is in use.
    pub used: Option<f64>,
    /// In the place of figures, for what is not asked but held.
    pub told: Option<String>,
}

/// Reads every part from the last `seconds` of a target's numbers.
pub fn parts(series: &Series, limits: &Limits, now: f64, seconds: f64) -> Vec<Part> {
    let from = now - seconds;
    let mut rows: Vec<Part> = Vec::new();
    let last: Vec<Sample> = series.last_each().filter(|s| s.get(Signal::Up).is_some()).cloned().collect();
    for sample in &last {
        rows.push(instance(&series.instance(&sample.instance), sample, limits, from, now));
    }
    rows.extend(store(series, limits, from, now));
    rows.extend(campaign(series, limits, now));
    rows.extend(held(series, limits, from, now));
    rows
}

fn rate(series: &Series, signal: Signal, from: f64, now: f64) -> Option<f64> {
    series.growth(signal, from, now).filter(|g| g.seconds > 0.0).map(Growth::per_second)
}

/// `failing` is the share that failed, and whether being refused is what failed; with room left, a refusal is no limit's.
fn stand((failing, refused): (Option<f64>, bool), limit: f64, used: Option<f64>, slow: bool) -> Stand {
    match (failing, used) {
        (Some(f), u) if f > limit && refused && u.is_none_or(|u| u > 0.5) => Stand::Full,
        (Some(f), _) if f > limit => Stand::Fails,
        (None, _) => Stand::Unknown,
        (Some(_), _) if slow => Stand::Poor,
        (Some(_), Some(u)) if u > 0.8 => Stand::Warm,
        _ => Stand::Up,
    }
}

fn instance(series: &Series, last: &Sample, limits: &Limits, from: f64, now: f64) -> Part {
    let rate_of = rate(series, Signal::Requests, from, now);
    let share = |part| series.share(part, Signal::Requests, from, now);
    let p99_ms = series.quantile(Timing::Request, 0.99, from, now);
    let quota = series.gauges(Signal::Quota, from).into_iter().reduce(f64::min).or(limits.rate);
    let used = rate_of.zip(quota.filter(|q| *q > 0.0)).map(|(r, q)| r / q);
    // Who was asked nothing has failed at nothing.
    let quiet = rate_of == Some(0.0);
    let failing = share(Signal::Errors).zip(share(Signal::Throttled)).map(|(e, t)| e + t).or(quiet.then_some(0.0));
    let slow = p99_ms.is_some_and(|p| p > limits.latency_ms);
    let state = match last.get(Signal::Up) {
        Some(0.0) => Stand::Down,
        _ if now - last.at > 30.0 => Stand::Unknown,
        _ => stand((failing, share(Signal::Throttled) > share(Signal::Errors)), limits.errors, used, slow),
    };
    let name = last.instance.clone();
    Part { name, stand: state, rate: rate_of, p99_ms, errors: share(Signal::Errors), used, told: None }
}

fn store(series: &Series, limits: &Limits, from: f64, now: f64) -> Option<Part> {
    let used = series.gauges(Signal::StoreUsed, from);
    // Who scores every answer live reads no store.
    let reads = rate(series, Signal::StoreReads, from, now).filter(|_| !used.contains(&0.0) || used.contains(&1.0));
    let table = series.newest_of(Signal::TableReads).filter(|at| now - at < OLD_S);
    if reads.is_none() && table.is_none() {
        return None;
    }
    let (whole, throttled, units) = match (reads, table) {
        (None, Some(_)) => (Signal::TableReads, Signal::TableThrottled, Signal::TableUnits),
        _ => (Signal::StoreReads, Signal::StoreThrottled, Signal::StoreUnits),
    };
    let (from, now) = table.filter(|_| reads.is_none()).map_or((from, now), |at| (at - 61.0, at));
    let rate_of = rate(series, whole, from, now);
    let errors = series.share(throttled, whole, from, now).or(rate_of.filter(|r| *r == 0.0));
    let capacity = series.gauges(Signal::StoreCapacity, from - 120.0).into_iter().reduce(f64::max);
    let used = rate(series, units, from, now).zip(capacity.filter(|c| *c > 0.0)).map(|(u, c)| u / c);
    let late = series.values(Signal::TableLatencyMs, from, now).last().map(|v| v.1);
    let p99_ms = series.quantile(Timing::Store, 0.99, from, now).or(late);
    let p90 = series.quantile(Timing::Store, 0.9, from, now).or(late);
    let slow = p90.is_some_and(|p| p > limits.store_ms);
    let state = stand((errors, true), 0.002, used, slow);
    Some(Part { name: "key-value".to_owned(), stand: state, rate: rate_of, p99_ms, errors, used, told: None })
}

fn campaign(series: &Series, limits: &Limits, now: f64) -> Option<Part> {
    let newest = series.newest_of(Signal::CampaignRequests).filter(|at| now - at < OLD_S)?;
    let from = newest - 61.0;
    let rate_of = rate(series, Signal::CampaignRequests, from, newest);
    let errors = series.share(Signal::CampaignRefused, Signal::CampaignRequests, from, newest);
    let used = rate_of.map(|r| r / limits.campaign_rate.max(1.0));
    let p99_ms = series.values(Signal::CampaignLatencyMs, from, newest).last().map(|v| v.1);
    let state = stand((errors.or(rate_of.filter(|r| *r == 0.0)), true), 0.002, used, false);
    Some(Part { name: "campaign".to_owned(), stand: state, rate: rate_of, p99_ms, errors, used, told: None })
}

/// What is held rather than asked: the catalogue, and the lists of a model.
fn held(series: &Series, limits: &Limits, from: f64, now: f64) -> Vec<Part> {
    let oldest = |s| series.gauges(s, from).into_iter().reduce(f64::min);
    let row = |name: &str, at: Option<f64>, limit: f64, what: String| {
        let old = now - at?;
        let state = if old > limit { Stand::Poor } else { Stand::Up };
        let told = Some(format!("{what}{} ago", age(old)));
        Some(Part { name: name.to_owned(), stand: state, rate: None, p99_ms: None, errors: None, used: None, told })
    };
    let counted = |s: Signal, what: &str| oldest(s).map_or(String::new(), |n| format!("{n:.0} {what}, "));
    let catalogue = counted(Signal::CatalogueItems, "programmes") + "built ";
    let lists = counted(Signal::Lists, "lists") + "published ";
    let live = oldest(Signal::ModelPublished).is_none();
    let trained = oldest(Signal::ModelTrained).filter(|_| live);
    let rows = [
        row("catalogue", oldest(Signal::CatalogueBuilt), limits.catalogue_age_s, catalogue),
        row("model", trained, limits.model_age_s, "trained ".to_owned()),
        row("lists", oldest(Signal::ModelPublished), limits.model_age_s, lists),
    ];
    rows.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(errors: f64, throttled: f64, up: f64, capacity: f64) -> Series {
        let at = |i: u32| {
            let mut sample = Sample::new(1000.0 + f64::from(i) * 2.0, "api");
            for (signal, each) in [
                (Signal::Requests, 200.0),
                (Signal::Errors, errors),
                (Signal::Throttled, 0.0),
                (Signal::StoreReads, 200.0),
                (Signal::StoreThrottled, throttled),
                (Signal::StoreUnits, 100.0),
            ] {
                sample.set(signal, f64::from(i) * each);
            }
            for (signal, value) in [
                (Signal::Up, up),
                (Signal::StoreCapacity, capacity),
                (Signal::CatalogueBuilt, 400.0),
                (Signal::CatalogueItems, 60.0),
            ] {
                sample.set(signal, value);
            }
            sample
        };
        Series::new((0..=10).map(at))
    }

    fn told(series: &Series) -> Vec<(String, &'static str, Option<f64>)> {
        let parts = parts(series, &Limits::default(), 1020.0, 10.0);
        parts.into_iter().map(|p| (p.name, p.stand.word(), p.used)).collect()
    }

    #[test]
    fn each_part_says_how_it_stands() {
        let row = |name: &str, word, used| (name.to_owned(), word, used);
        let well = told(&series(0.0, 0.0, 1.0, 1000.0));
        assert_eq!(well, [row("api", "up", None), row("key-value", "up", Some(0.05)), row("catalogue", "up", None)]);
        assert_eq!(told(&series(0.0, 0.0, 1.0, 60.0))[1].1, "warm");
        assert_eq!(told(&series(0.0, 20.0, 1.0, 60.0))[1].1, "full");
        assert_eq!(told(&series(0.0, 20.0, 1.0, 1000.0))[1].1, "fails", "with room left it is not full");
        assert_eq!(told(&series(20.0, 0.0, 1.0, 60.0))[0].1, "fails");
        assert_eq!(told(&series(0.0, 0.0, 0.0, 60.0))[0].1, "down");
        assert_eq!(told(&Series::default()), []);
    }

    #[test]
    fn what_nobody_told_lately_is_a_question_mark() {
        let parts = parts(&series(0.0, 0.0, 1.0, 60.0), &Limits::default(), 2000.0, 10.0);
        assert_eq!((parts[0].stand, parts[0].rate), (Stand::Unknown, None));
    }
}
