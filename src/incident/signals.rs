//! A target at one moment for those who watch: golden signals, saturation, ages, and how fast the budgets burn.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::scene::{Limits, OLD_S, age, clock};
use crate::judge::burn::{Burn, Burning, Counted, burns};
use crate::stats::units::{Millis, Rps, Share};
use crate::watch::sample::{Signal, Timing};
use crate::watch::series::{Growth, Series};

/// `None` is "not told", never zero.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Signals {
    pub schema: String,
    pub target: String,
    /// Unix seconds.
    pub at: f64,
    pub rate: Option<f64>,
    pub errors: Option<f64>,
    pub throttled: Option<f64>,
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    pub store_throttled: Option<f64>,
    /// Share of the provisioned read units in use, and of the rate that is known to hold.
    pub units_used: Option<f64>,
    pub rate_used: Option<f64>,
    /// Share of a campaign's quota in use.
    #[serde(default)]
    pub campaign_used: Option<f64>,
    /// Dollars that asking cost today, where it costs anything.
    #[serde(default)]
    pub spent_usd: Option<f64>,
    pub catalogue_age_s: Option<f64>,
    pub model_age_s: Option<f64>,
    pub up: usize,
    pub instances: usize,
    pub errors_burn: Vec<Burn>,
    pub latency_burn: Vec<Burn>,
    /// What is worth waking somebody for, in whole sentences.
    pub alerts: Vec<String>,
    /// Sources that said nothing.
    pub silent: Vec<String>,
}

/// Reads the signals of the last minute; `silent` are the sources that said nothing now.
pub fn signals(target: &str, series: &Series, limits: &Limits, now: f64, silent: Vec<String>) -> Signals {
    let from = now - 60.0;
    let per_second = |s| series.growth(s, from, now).filter(|g| g.seconds > 0.0).map(Growth::per_second);
    // CloudWatch tells its minutes late.
    let late = |s: Signal| series.newest_of(s).filter(|at| now - at < OLD_S).map(|at| (at - 61.0, at));
    let late_rate = |s: Signal| {
        let (from, to) = late(s)?;
        series.growth(s, from, to).filter(|g| g.seconds > 0.0).map(Growth::per_second)
    };
    let late_share = |part, whole| late(whole).and_then(|(from, to)| series.share(part, whole, from, to));
    let share = |part, whole| series.share(part, whole, from, now);
    let own = series.growth(Signal::Requests, from, now).is_some();
    let (requests, errors) =
        if own { (Signal::Requests, Signal::Errors) } else { (Signal::FrontRequests, Signal::FrontErrors) };
    let gauge = |s, pick: fn(f64, f64) -> f64| series.gauges(s, from).into_iter().reduce(pick);
    let of = |used: Option<f64>, limit: Option<f64>| Some(used? / limit.filter(|l| *l > 0.0)?);
    let old = |s| gauge(s, f64::min).map(|at| now - at);
    let errors_burn = burns(limits.errors, |window| {
        let whole = span(series, now, window);
        let total = series.growth(requests, whole.0, now)?;
        let bad = series.growth(errors, whole.0, now).map_or(0.0, |g| g.amount);
        Some(Counted { bad, total: total.amount, seen: total.seconds / window.as_secs_f64() })
    });
    let latency_burn = burns(1.0 - limits.quantile, |window| {
        let whole = span(series, now, window);
        let (bad, total) = series.slower(Timing::Request, limits.latency_ms, whole.0, now)?;
        Some(Counted { bad, total, seen: series.seen(whole.0, now) / window.as_secs_f64() })
    });
    let last: Vec<_> = series.last_each().filter(|s| s.at >= from && s.get(Signal::Up).is_some()).collect();
    let mut signals = Signals {
        schema: "serin.watch/1".to_owned(),
        target: target.to_owned(),
        at: now,
        rate: per_second(Signal::Requests).or_else(|| late_rate(Signal::FrontRequests)),
        errors: share(Signal::Errors, Signal::Requests)
            .or_else(|| late_share(Signal::FrontErrors, Signal::FrontRequests)),
        throttled: share(Signal::Throttled, Signal::Requests),
        p50_ms: series.quantile(Timing::Request, 0.5, from, now),
        p99_ms: series.quantile(Timing::Request, 0.99, from, now).or_else(|| {
            let (from, to) = late(Signal::FrontLatencyMs)?;
            series.values(Signal::FrontLatencyMs, from, to).last().map(|v| v.1)
        }),
        store_throttled: share(Signal::StoreThrottled, Signal::StoreReads)
            .or_else(|| late_share(Signal::TableThrottled, Signal::TableReads)),
        units_used: of(
            late_rate(Signal::TableUnits).or_else(|| per_second(Signal::StoreUnits)),
            gauge(Signal::StoreCapacity, f64::max),
        ),
        campaign_used: of(late_rate(Signal::CampaignRequests), Some(limits.campaign_rate)),
        spent_usd: None,
        rate_used: of(per_second(Signal::Requests), gauge(Signal::Quota, f64::max).or(limits.rate)),
        catalogue_age_s: old(Signal::CatalogueBuilt),
        model_age_s: old(Signal::ModelPublished),
        up: last.iter().filter(|s| s.get(Signal::Up) == Some(1.0)).count(),
        instances: last.len(),
        errors_burn,
        latency_burn,
        alerts: Vec::new(),
        silent,
    };
    signals.alerts = alerts(&signals, limits);
    signals
}

fn span(series: &Series, now: f64, window: Duration) -> (f64, f64) {
    // The sample just before the window belongs to it: its pair lies mostly inside.
    let from = now - window.as_secs_f64();
    let before = series.within(from - 10.0, from).flatten().map(|s| s.at).max_by(f64::total_cmp);
    (before.unwrap_or(from), now)
}

fn alerts(s: &Signals, limits: &Limits) -> Vec<String> {
    let mut out = Vec::new();
    for (what, burns) in [("errors", &s.errors_burn), ("latency", &s.latency_burn)] {
        if let Some(b) = burns.iter().find(|b| b.burning == Burning::Yes) {
            let times = b.long.unwrap_or_default();
            out.push(format!(
                "the budget of {what} burns {times:.1} times too fast, over {} and {}",
                age(b.long_s as f64),
                age(b.short_s as f64)
            ));
        }
    }
    if s.up < s.instances {
        out.push(format!("{} of {} instances do not answer", s.instances - s.up, s.instances));
    }
    for (what, used) in
        [("read units", s.units_used), ("campaign's quota", s.campaign_used), ("known rate", s.rate_used)]
    {
        if let Some(used) = used.filter(|u| *u > 0.9) {
            out.push(format!("{} of the {what} is used", Share(used.min(9.99))));
        }
    }
    for (what, old, limit) in
        [("catalogue", s.catalogue_age_s, limits.catalogue_age_s), ("model", s.model_age_s, limits.model_age_s)]
    {
        if let Some(old) = old.filter(|o| *o > limit) {
            out.push(format!("the {what} is {} old", age(old)));
        }
    }
    out.extend(s.silent.iter().map(|why| format!("no numbers: {why}")));
    out
}

/// One line for a person.
pub fn line(s: &Signals) -> String {
    fn shown<T>(value: Option<T>, show: impl Fn(T) -> String) -> String {
        value.map_or_else(|| "?".to_owned(), show)
    }
    let share = |v| Share(v).to_string();
    let ms = |v| Millis(v).to_string();
    let mut line = format!(
        "{}  rate {}  errors {}  429 {}  p50 {}  p99 {}  up {}/{}",
        clock(s.at),
        shown(s.rate, |r| Rps(r).to_string()),
        shown(s.errors, share),
        shown(s.throttled, share),
        shown(s.p50_ms, ms),
        shown(s.p99_ms, ms),
        s.up,
        s.instances,
    );
    for (name, value) in [
        ("units", s.units_used.map(share)),
        ("campaign", s.campaign_used.map(share)),
        ("catalogue", s.catalogue_age_s.map(age)),
        ("model", s.model_age_s.map(age)),
        ("asking", s.spent_usd.map(|usd| format!("${usd:.4} today"))),
    ] {
        if let Some(value) = value {
            line += &format!("  {name} {value}");
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::sample::Sample;

    fn series(seconds: u32, errors: f64) -> Series {
        let sample = |i: u32| {
            let mut sample = Sample::new(f64::from(i) * 10.0, "a");
            sample.set(Signal::Requests, f64::from(i) * 1000.0);
            sample.set(Signal::Errors, f64::from(i) * 1000.0 * errors);
            sample.set(Signal::Up, 1.0);
            sample
        };
        Series::new((0..=seconds / 10).map(sample))
    }

    #[test]
    fn an_hour_of_errors_far_over_the_budget_wakes_somebody() {
        let limits = Limits { errors: 0.001, ..Limits::default() };
        let s = signals("local", &series(3600, 0.02), &limits, 3600.0, vec![]);
        assert_eq!((s.rate, s.errors), (Some(100.0), Some(0.02)));
        assert_eq!(s.errors_burn[0].burning, Burning::Yes);
        assert_eq!(s.alerts, ["the budget of errors burns 20.0 times too fast, over 60 min and 5 min"]);
        let calm = signals("local", &series(3600, 0.0), &limits, 3600.0, vec![]);
        assert_eq!((calm.errors_burn[0].burning, calm.alerts), (Burning::No, vec![]));
    }

    #[test]
    fn what_nobody_told_is_a_question_mark() {
        let s = signals("local", &Series::default(), &Limits::default(), 100.0, vec!["it hangs".to_owned()]);
        assert_eq!(line(&s), "00:01:40  rate ?  errors ?  429 ?  p50 ?  p99 ?  up 0/0");
        assert_eq!(s.alerts, ["no numbers: it hangs"]);
        assert!(s.errors_burn.iter().all(|b| b.burning == Burning::Unknown));
    }
}
