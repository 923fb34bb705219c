//! The fifteen checks, each a question with its answer; a number that nobody told is `?`, never OK.

use super::causes;
use super::check::{Check, State};
use super::scene::{Kind, Scene, age, clock};
use crate::stats::units::{Millis, Rps, Share};
use crate::watch::probe::Probed;
use crate::watch::sample::{Signal, Timing};
use crate::watch::series::Growth;

const METRICS: &str = "metrics";
const CLOUDWATCH: &str = "CloudWatch";

/// Asks everything, worst first.
pub fn all(scene: &Scene) -> Vec<Check> {
    let list: [fn(&Scene) -> Check; 15] = [
        user_errors,
        user_latency,
        traffic,
        changes,
        store_throttling,
        store_latency,
        probe,
        saturation,
        authentication,
        freshness,
        list_quality,
        catalogue,
        quota,
        cost,
        blind_spots,
    ];
    let mut checks: Vec<_> = list.iter().map(|ask| ask(scene)).collect();
    checks.sort_by_key(|c| c.state);
    checks
}

/// Whether errors, latency or the probe could be told at all.
pub fn anything_told(checks: &[Check]) -> bool {
    let told = |c: &Check| matches!(c.name.as_str(), "user-errors" | "user-latency" | "probe") && known(c.state);
    checks.iter().any(told)
}

fn known(state: State) -> bool {
    !matches!(state, State::Unknown | State::NotConfigured)
}

/// `?` where a source should have told, "not configured" where nobody named one.
fn untold(scene: &Scene, name: &str, what: &str) -> Check {
    if scene.heard.iter().any(|h| h.kind != Kind::Health) {
        Check::unknown(name, what)
    } else {
        Check::new(name, State::NotConfigured, "no source of numbers is configured")
    }
}

/// Where the target says itself that it reads no store, there is nothing to be told of one.
fn untold_store(scene: &Scene, name: &str, what: &str) -> Check {
    if scene.storeless() {
        return Check::new(name, State::NotConfigured, "the target reads no store: it scores every answer live");
    }
    untold(scene, name, what)
}

fn judged(over: bool, near: bool) -> State {
    match (over, near) {
        (true, _) => State::Bad,
        (false, true) => State::Warn,
        (false, false) => State::Ok,
    }
}

fn user_errors(scene: &Scene) -> Check {
    let limit = scene.limits.errors;
    let kinds = [
        (Signal::Errors, Signal::Requests, METRICS),
        (Signal::FrontErrors, Signal::FrontRequests, CLOUDWATCH),
        (Signal::CampaignErrors, Signal::CampaignRequests, CLOUDWATCH),
    ];
    match scene.worst(&kinds) {
        None => untold(scene, "user-errors", "no requests were seen in the last minute"),
        Some(told) => Check::new(
            "user-errors",
            judged(told.value > limit, told.value > limit * 0.5),
            format!("{} (limit {})", Share(told.value), Share(limit)),
        )
        .usual(scene.usual(|f, t| scene.series.share(told.part, told.whole, f, t)).map(|u| Share(u).to_string()))
        .from(told.source, Some(told.age_s)),
    }
}

fn user_latency(scene: &Scene) -> Check {
    let (from, to) = scene.recent();
    let limit = scene.limits.latency_ms;
    let read = |f, t| scene.latency(&scene.series, f, t);
    match read(from, to) {
        None => match scene.gauge(Signal::FrontLatencyMs) {
            Some((ms, old)) => {
                let seen = format!("{} (limit {})", Millis(ms), Millis(limit));
                Check::new("user-latency", judged(ms > limit, ms > limit * 0.8), seen).from(CLOUDWATCH, Some(old))
            }
            None => untold(scene, "user-latency", "no answers were timed in the last minute"),
        },
        Some(ms) => {
            let usual = scene.usual(read);
            // Twice the usual is worth a word only where a viewer could feel it.
            let near = ms > limit * 0.8 || usual.is_some_and(|u| ms > u * 2.0 && ms > limit * 0.4);
            let p = format!("p{}", (scene.limits.quantile * 1000.0).round() / 10.0);
            Check::new(
                "user-latency",
                judged(ms > limit, near),
                format!("{p} {} (limit {})", Millis(ms), Millis(limit)),
            )
            .usual(usual.map(|u| Millis(u).to_string()))
            .from(METRICS, scene.age())
        }
    }
}

fn traffic(scene: &Scene) -> Check {
    let (from, to) = scene.recent();
    let read = |f, t| scene.series.growth(Signal::Requests, f, t).filter(|g| g.seconds > 0.0).map(Growth::per_second);
    let (signal, source) = match read(from, to) {
        Some(_) => (Signal::Requests, METRICS),
        None => (Signal::FrontRequests, CLOUDWATCH),
    };
    let read = |f, t| scene.series.growth(signal, f, t).filter(|g| g.seconds > 0.0).map(Growth::per_second);
    match scene.rate(signal) {
        None => untold(scene, "traffic", "the number of requests is not known"),
        Some(rate) => {
            let usual = scene.usual(read).filter(|u| *u > 1.0);
            let odd = usual.is_some_and(|u| rate > u * 3.0 || rate < u / 3.0);
            let state = if odd { State::Warn } else { State::Ok };
            Check::new("traffic", state, Rps(rate).to_string())
                .usual(usual.map(|u| Rps(u).to_string()))
                .from(source, scene.series.newest_of(signal).map(|at| scene.now - at))
        }
    }
}

fn changes(scene: &Scene) -> Check {
    let recent: Vec<_> = scene.changes.iter().filter(|c| c.at >= scene.from).collect();
    let seen = match recent.first() {
        None => "nothing that our journals know of".to_owned(),
        Some(c) => {
            let more = if recent.len() > 1 { format!(", and {} more", recent.len() - 1) } else { String::new() };
            format!("{} {}: {}{more}", clock(c.at), c.source, c.text)
        }
    };
    Check::new("changes", State::Ok, seen).from("our journals and the numbers", None)
}

fn store_throttling(scene: &Scene) -> Check {
    let kinds = [
        (Signal::StoreThrottled, Signal::StoreReads, METRICS),
        (Signal::TableThrottled, Signal::TableReads, CLOUDWATCH),
    ];
    match scene.worst(&kinds) {
        None => untold_store(scene, "store-throttling", "no reads of the store were seen in the last minute"),
        Some(told) => {
            let state = judged(told.value > 0.002, told.value > 0.0);
            let usual = scene.usual(|f, t| scene.series.share(told.part, told.whole, f, t));
            Check::new("store-throttling", state, format!("{} of reads", Share(told.value)))
                .usual(usual.map(|u| Share(u).to_string()))
                .from(told.source, Some(told.age_s))
        }
    }
}

fn store_latency(scene: &Scene) -> Check {
    let (from, to) = scene.recent();
    let read = |f, t| scene.series.quantile(Timing::Store, 0.9, f, t);
    let failed = scene.series.share(Signal::StoreErrors, Signal::StoreReads, from, to).unwrap_or(0.0);
    match read(from, to) {
        None => match scene.gauge(Signal::TableLatencyMs) {
            Some((ms, old)) => {
                let limit = scene.limits.store_ms;
                let seen = format!("{} on average (limit {})", Millis(ms), Millis(limit));
                Check::new("store-latency", judged(ms > limit, ms > limit * 0.8), seen).from(CLOUDWATCH, Some(old))
            }
            None => untold_store(scene, "store-latency", "no reads of the store were timed in the last minute"),
        },
        Some(ms) => {
            let limit = scene.limits.store_ms;
            let state = judged(ms > limit || failed > 0.01, ms > limit * 0.8 || failed > 0.0);
            Check::new(
                "store-latency",
                state,
                format!("p90 {} (limit {}), errors {}", Millis(ms), Millis(limit), Share(failed)),
            )
            .usual(scene.usual(read).map(|u| Millis(u).to_string()))
            .from(METRICS, scene.age())
        }
    }
}

fn probe(scene: &Scene) -> Check {
    let Some(probed) = &scene.probed else {
        return Check::new("probe", State::NotConfigured, "no address to probe is known");
    };
    let replies = &probed.replies;
    if replies.iter().all(|r| r.status.is_none()) {
        let why = replies.iter().find_map(|r| r.error.clone()).unwrap_or_else(|| "nothing was asked".to_owned());
        return Check::unknown("probe", why);
    }
    if !probed.token && replies.iter().any(|r| r.status == Some(401)) {
        let seen = "the API wants a token, and none is configured (secret_env of the target)";
        return Check::new("probe", State::NotConfigured, seen);
    }
    let bad: Vec<_> = replies.iter().filter(|r| !r.good() || r.error.is_some()).collect();
    let dishonoured = replies.iter().filter(|r| r.honoured == Some(false)).count();
    let empty = replies.iter().filter(|r| r.good() && r.filter.is_none() && r.items.is_empty()).count();
    let degraded = replies.iter().filter(|r| r.degraded).count();
    let slowest = replies.iter().map(|r| Millis::from(r.took)).fold(Millis(0.0), |a, b| if b > a { b } else { a });
    let mut seen = format!("{} of {} answered well, slowest {slowest}", replies.len() - bad.len(), replies.len());
    if let Some(r) = bad.first() {
        let what = r.error.clone().or_else(|| r.status.map(|s| format!("status {s}"))).unwrap_or_default();
        seen += &format!("; {}: {what}", r.door);
    }
    for (count, what) in [(dishonoured, "filter not honoured"), (empty, "empty"), (degraded, "degraded")] {
        if count > 0 {
            seen += &format!("; {count} {what}");
        }
    }
    if !probed.known {
        seen += "; no known viewers are configured";
    }
    let slow = slowest.0 > scene.limits.latency_ms;
    Check::new("probe", judged(!bad.is_empty() || dishonoured > 0 || empty > 0, slow || degraded > 0), seen)
        .from("probe", Some(0.0))
}

fn saturation(scene: &Scene) -> Check {
    let (from, to) = scene.recent();
    let rate = |signal| scene.series.growth(signal, from, to).filter(|g| g.seconds > 0.0).map(Growth::per_second);
    let gauge = |signal| scene.series.gauges(signal, scene.from).into_iter().reduce(f64::max);
    let of = |used: Option<f64>, limit: Option<f64>| Some(used? / limit.filter(|l| *l > 0.0)?);
    let parts = [
        (
            "read units",
            of(scene.rate(Signal::TableUnits).or_else(|| rate(Signal::StoreUnits)), gauge(Signal::StoreCapacity)),
        ),
        ("campaign's quota", of(scene.rate(Signal::CampaignRequests), Some(scene.limits.campaign_rate))),
        ("quota", of(rate(Signal::Requests), gauge(Signal::Quota))),
        ("known rate", of(rate(Signal::Requests).or_else(|| scene.rate(Signal::FrontRequests)), scene.limits.rate)),
    ];
    let known: Vec<_> = parts.into_iter().filter_map(|(name, share)| Some((name, share?))).collect();
    let Some((name, worst)) = known.into_iter().max_by(|a, b| a.1.total_cmp(&b.1)) else {
        return Check::new(
            "saturation",
            State::NotConfigured,
            "no limit is known: write `rate` under limits, or let `serin limit` find it",
        );
    };
    Check::new("saturation", judged(worst >= 0.98, worst > 0.8), format!("{} of the {name}", Share(worst.min(9.99))))
        .from(METRICS, scene.age())
}

fn authentication(scene: &Scene) -> Check {
    let (from, to) = scene.recent();
    let read = |f, t| scene.series.share(Signal::Refused, Signal::Requests, f, t);
    let skew = scene.series.last_each().filter_map(|s| Some(s.get(Signal::Clock)? - s.at));
    let skew = skew.max_by(|a, b| a.abs().total_cmp(&b.abs()));
    let refused_us =
        scene.probed.as_ref().is_some_and(|p| p.token && p.replies.iter().any(|r| matches!(r.status, Some(401 | 403))));
    let Some(share) = read(from, to) else {
        return if refused_us {
            Check::new("authentication", State::Bad, "our own token is refused").from("probe", Some(0.0))
        } else {
            untold(scene, "authentication", "no requests were seen in the last minute")
        };
    };
    let off = skew.is_some_and(|s| s.abs() > scene.limits.skew_s);
    let clocks = skew.map_or(String::new(), |s| format!(", clocks apart by {:.1} s", s.abs()));
    let keys = scene.series.gauges(Signal::KeysSince, scene.from).into_iter().reduce(f64::max);
    let keys = keys.map_or(String::new(), |at| format!(", keys in force for {}", age(scene.now - at)));
    Check::new(
        "authentication",
        judged(off || refused_us, share > 0.05),
        format!("{} of requests refused{clocks}{keys}", Share(share)),
    )
    .usual(scene.usual(read).map(|u| Share(u).to_string()))
    .from(METRICS, scene.age())
}

/// How old the oldest of a time stamp is among the instances.
fn aged(scene: &Scene, signal: Signal) -> Option<f64> {
    scene.series.gauges(signal, scene.from).into_iter().reduce(f64::min).map(|at| scene.now - at)
}

fn freshness(scene: &Scene) -> Check {
    let published = aged(scene, Signal::ModelPublished).map(|old| ("lists published", old));
    // Who scores live has no lists: the model itself is what grows old.
    let told = published.or_else(|| aged(scene, Signal::ModelTrained).map(|old| ("model trained", old)));
    match told {
        None => untold(scene, "freshness", "when lists were published is not known"),
        Some((what, old)) => {
            let limit = scene.limits.model_age_s;
            let seen = format!("{what} {} ago (limit {})", age(old), age(limit));
            Check::new("freshness", judged(old > limit, old > limit * 0.8), seen).from(METRICS, scene.age())
        }
    }
}

fn list_quality(scene: &Scene) -> Check {
    let (from, to) = scene.recent();
    let share = |s| scene.series.share(s, Signal::Requests, from, to);
    let (Some(empty), Some(popular)) = (share(Signal::Empty), share(Signal::Popular)) else {
        return untold(scene, "list-quality", "no answers were seen in the last minute");
    };
    let degraded = share(Signal::Degraded).unwrap_or(0.0);
    let poor = causes::bad_model(scene).is_some_and(|s| s.spell.ended.is_none());
    let mut seen = format!("empty {}, popular {}, degraded {}", Share(empty), Share(popular), Share(degraded));
    if let Some((programmes, viewers)) = scene.probed.as_ref().and_then(Probed::programmes) {
        seen += &format!(", {programmes} different programmes for {viewers} viewers");
    }
    let usual = scene.usual(|f, t| scene.series.share(Signal::Popular, Signal::Requests, f, t));
    Check::new("list-quality", judged(poor, empty > 0.05 || degraded > 0.01), seen)
        .usual(usual.map(|u| format!("popular {}", Share(u))))
        .from(METRICS, scene.age())
}

fn catalogue(scene: &Scene) -> Check {
    match aged(scene, Signal::CatalogueBuilt) {
        None => untold(scene, "catalogue", "when the catalogue was built is not known"),
        Some(old) => {
            let limit = scene.limits.catalogue_age_s;
            let items = scene.series.gauges(Signal::CatalogueItems, scene.from).into_iter().reduce(f64::min);
            let items = items.map_or(String::new(), |i| format!("{i:.0} programmes, "));
            let seen = format!("{items}built {} ago (limit {})", age(old), age(limit));
            Check::new("catalogue", judged(old > limit, old > limit * 0.8), seen).from(METRICS, scene.age())
        }
    }
}

fn quota(scene: &Scene) -> Check {
    if let Some(rate) = scene.rate(Signal::CampaignRequests) {
        let limit = scene.limits.campaign_rate;
        let refused = scene.worst(&[(Signal::CampaignRefused, Signal::CampaignRequests, CLOUDWATCH)]);
        let share = refused.map_or(0.0, |t| t.value);
        let took = scene.gauge(Signal::CampaignLatencyMs);
        let took = took.map_or(String::new(), |(ms, _)| format!(", {} on average", Millis(ms)));
        let seen = format!("campaign {} of {}, refused {}{took}", Rps(rate), Rps(limit), Share(share));
        let state = judged(share > 0.002, share > 0.0 || rate > limit * 0.8);
        return Check::new("quota", state, seen).from(CLOUDWATCH, refused.map(|t| t.age_s));
    }
    let (from, to) = scene.recent();
    let limit = scene.series.gauges(Signal::Quota, scene.from).into_iter().reduce(f64::max);
    let share = scene.series.share(Signal::Throttled, Signal::Requests, from, to);
    match (limit, share) {
        (None, Some(0.0)) => {
            Check::new("quota", State::NotConfigured, "the target tells of no quota; nothing was answered 429")
        }
        (_, None) => untold(scene, "quota", "no requests were seen in the last minute"),
        (limit, Some(share)) => {
            let of = limit.map_or(String::new(), |l| format!(" of {}", Rps(l)));
            let rate = scene.series.growth(Signal::Requests, from, to).map_or(0.0, Growth::per_second);
            let seen = format!("{}{of}, 429 {}", Rps(rate), Share(share));
            let near = limit.is_some_and(|l| rate > l * 0.8);
            Check::new("quota", judged(share > 0.002, near || share > 0.0), seen).from(METRICS, scene.age())
        }
    }
}

/// What a campaign that is asked so much costs an hour, at the pace of a month; the least that is provisioned is not known.
fn campaign_hour(scene: &Scene, rate: f64) -> Option<f64> {
    const MONTH_H: f64 = 730.0;
    let tiers = &scene.prices.campaign;
    let ends = tiers.iter().skip(1).map(|t| t.0).chain([f64::INFINITY]);
    let month = tiers.iter().zip(ends).map(|((above, usd), end)| ((rate * MONTH_H).min(end) - above).max(0.0) * usd);
    (!tiers.is_empty()).then(|| month.sum::<f64>() / MONTH_H)
}

fn cost(scene: &Scene) -> Check {
    let asking = scene.spent.filter(|s| s.usd > 0.0);
    let asking = asking.map_or(String::new(), |s| format!("; asking cost ${:.4} today", s.usd));
    let (day, hours) = (86_400.0, 3.0 * 3600.0);
    let yesterday = (scene.now - day - hours, scene.now - day + hours);
    let units = scene.series.gauges(Signal::StoreCapacity, scene.from).into_iter().reduce(f64::max);
    let hour = |units: f64| scene.prices.unit.map(|usd| units * usd);
    let table = units.and_then(|units| {
        let then = scene.series.values(Signal::StoreCapacity, yesterday.0, yesterday.1).last().and_then(|v| hour(v.1));
        Some((format!("{units:.0} read units"), hour(units)?, then))
    });
    let campaign = scene.rate(Signal::CampaignRequests).and_then(|rate| {
        // The same hour: what a campaign costs follows the evening.
        let then = scene.series.growth(Signal::CampaignRequests, scene.from - day, scene.now - day);
        let then = then.filter(|g| g.seconds > 0.0).and_then(|g| campaign_hour(scene, g.per_second()));
        Some((format!("a campaign at {}", Rps(rate)), campaign_hour(scene, rate)?, then))
    });
    let known: Vec<_> = table.into_iter().chain(campaign).collect();
    if known.is_empty() {
        let seen = format!("no table or campaign is configured whose capacity has a price{asking}");
        return Check::new("cost", State::NotConfigured, seen);
    }
    let what: Vec<_> = known.iter().map(|k| k.0.as_str()).collect();
    let usd: f64 = known.iter().map(|k| k.1).sum();
    let then: Option<f64> = known.iter().map(|k| k.2).sum();
    let state = if then.is_some_and(|t| usd > t * 1.5) { State::Warn } else { State::Ok };
    Check::new("cost", state, format!("${usd:.2} an hour for {}{asking}", what.join(" and ")))
        .usual(then.map(|t| format!("${t:.2} yesterday")))
        .from("capacity and the price list", scene.age())
}

fn blind_spots(scene: &Scene) -> Check {
    let dumb: Vec<_> = scene.heard.iter().filter_map(|h| h.said.as_ref().err()).collect();
    let asked = scene.heard.len();
    let stale = scene.age().filter(|a| *a > 90.0);
    match (dumb.first(), asked) {
        (Some(why), _) => {
            let seen = format!("{} of {asked} sources say nothing: {why}", dumb.len());
            Check::new("blind-spots", if scene.answers() { State::Bad } else { State::Unknown }, seen)
        }
        (None, 0) => Check::new("blind-spots", State::NotConfigured, "no source of numbers is configured"),
        (None, _) => match stale {
            Some(old) => Check::new("blind-spots", State::Warn, format!("the newest number is {} old", age(old))),
            None => Check::new("blind-spots", State::Ok, format!("all {asked} sources answer")),
        },
    }
    .from("the sources", None)
}
