//! The twelve causes, each told by what only it does; none knows which fault anybody set.

use super::scene::{Scene, age};
use crate::stats::units::{Millis, Share};
use crate::watch::probe::{Probed, Reply};
use crate::watch::sample::{Sample, Signal, Timing};
use crate::watch::series::{Growth, Series, Spell};

/// What the numbers make likely.
#[derive(Clone, Debug, PartialEq)]
pub struct Suspect {
    pub cause: &'static str,
    /// How surely this sign belongs to this cause; the surest comes first.
    pub weight: u32,
    pub spell: Spell,
    pub because: String,
}

/// The causes by the names under which `serin stack break` makes them, and how each is told.
pub const CAUSES: [(&str, fn(&Scene) -> Option<Suspect>); 12] = [
    ("clock-skew", clock_skew),
    ("key-rotated", key_rotated),
    ("capacity-cut", capacity_cut),
    ("canary-bad", canary_bad),
    ("replica-dead", replica_dead),
    ("quota-reached", quota_reached),
    ("store-throttled", store_throttled),
    ("retry-storm", retry_storm),
    ("store-slow", store_slow),
    ("bad-model", bad_model),
    ("catalogue-stale", catalogue_stale),
    ("metrics-dead", metrics_dead),
];

/// Below this many events nothing is said: two errors are no storm.
const FEW: f64 = 3.0;

fn suspect(cause: &'static str, weight: u32, spell: Spell, because: impl Into<String>) -> Suspect {
    Suspect { cause, weight, spell, because: because.into() }
}

/// A share that is over a limit and counts at least a few; `None` without anything to be a share of.
fn over(series: &Series, part: Signal, whole: Signal, limit: f64) -> impl Fn(f64, f64) -> Option<bool> {
    move |from, to| {
        let share = series.share(part, whole, from, to)?;
        let amount = series.growth(part, from, to).map_or(0.0, |g| g.amount);
        // One or two of a few prove neither.
        if share > limit && amount < FEW && amount > 0.0 { None } else { Some(share > limit) }
    }
}

/// The share and the amount within a spell, for a sentence.
fn within(series: &Series, part: Signal, whole: Signal, spell: Spell, now: f64) -> (Share, f64) {
    let to = spell.ended.unwrap_or(now);
    let share = series.share(part, whole, spell.began, to).unwrap_or(0.0);
    (Share(share), series.growth(part, spell.began, to).map_or(0.0, |g| g.amount))
}

fn replies<'a>(scene: &'a Scene, which: impl Fn(&Reply) -> bool + 'a) -> impl Iterator<Item = &'a Reply> {
    scene.probed.iter().flat_map(|p: &Probed| &p.replies).filter(move |r| which(r))
}

/// A spell that the probe alone saw: it lasts, and began when nobody knows.
fn just_now(scene: &Scene) -> Spell {
    Spell { began: scene.began, ended: None }
}

pub fn clock_skew(scene: &Scene) -> Option<Suspect> {
    let off = |s: &Sample| s.get(Signal::Clock).map(|c| c - s.at);
    let limit = scene.limits.skew_s;
    let worst = scene.series.last_each().filter(|s| s.at >= scene.began - 1.0);
    let worst =
        worst.filter_map(|s| Some((off(s)?, s.instance.clone()))).max_by(|a, b| a.0.abs().total_cmp(&b.0.abs()))?;
    let far = |from: f64, to: f64| {
        let clocks = scene.series.within(from, to).flatten().filter(|s| s.at > from).filter_map(off);
        clocks.map(|o| o.abs() > limit).reduce(|a, b| a || b)
    };
    let spell = scene.spell(&scene.series, far).filter(|s| s.ended.is_some() || worst.0.abs() > limit);
    let spell = spell.or_else(|| (worst.0.abs() > limit).then(|| just_now(scene)))?;
    let (way, refused) = (if worst.0 > 0.0 { "ahead" } else { "behind" }, Signal::RefusedTime);
    let because = match spell.ended {
        Some(_) => "the target's clock was off, and is right again".to_owned(),
        None => {
            let tokens = scene.series.growth(refused, spell.began, scene.now).map_or(0.0, |g| g.amount);
            let tokens =
                if tokens > 0.0 { format!("; {tokens:.0} tokens refused for their time") } else { String::new() };
            format!("the clock of {} is {} {way} of ours{tokens}", worst.1, age(worst.0.abs()))
        }
    };
    Some(suspect("clock-skew", 95, spell, because))
}

pub fn key_rotated(scene: &Scene) -> Option<Suspect> {
    let series = scene.stable();
    // A probe without a token is refused too, and must not take itself for a rotation.
    let least = if scene.probed.as_ref().is_some_and(|p| !p.token) { 40.0 } else { FEW };
    // Tokens refused for their time are the clock's doing, or their maker's.
    let signed_wrong = |from: f64, to: f64| {
        let requests = series.growth(Signal::Requests, from, to).filter(|r| r.amount > 0.0)?.amount;
        let grown = |s| series.growth(s, from, to).map_or(0.0, |g| g.amount);
        let refused = grown(Signal::Refused) - grown(Signal::RefusedTime);
        Some(refused >= least && refused / requests > 0.05)
    };
    let ours = replies(scene, |r| matches!(r.status, Some(401 | 403))).count();
    let asked = scene.probed.as_ref().filter(|p| p.token).map_or(0, |p| p.replies.len());
    let spell = scene.spell(&series, signed_wrong);
    let refused_us = asked > 0 && ours * 2 > asked;
    let skewed = clock_skew(scene).is_some_and(|s| s.spell.ended.is_none());
    let spell = match spell {
        // Strangers with bad tokens are no rotation, as long as ours is taken.
        Some(s) if s.ended.is_none() && asked > 0 && ours == 0 => Spell { ended: Some(scene.began), ..s },
        // One that is over says nothing of the tokens that are refused now.
        Some(s) if s.ended.is_some() && refused_us && !skewed => just_now(scene),
        Some(s) => s,
        None if refused_us && !skewed => just_now(scene),
        None => return None,
    };
    let (share, count) = within(&series, Signal::Refused, Signal::Requests, spell, scene.now);
    let because = match (asked, ours) {
        (0, _) => format!("{count:.0} tokens refused ({share} of requests), and not for their time"),
        _ => format!("our own fresh token was refused {ours} of {asked} times; {count:.0} refusals in all ({share})"),
    };
    Some(suspect("key-rotated", 92, spell, because))
}

/// A capacity that fell and has not come back.
struct Fall {
    before: f64,
    now: f64,
    at: f64,
    /// Whether more than half of it went in one step.
    sudden: bool,
}

/// The provisioned capacity that was, and is: the newest fall within the span and the day before.
fn fallen(scene: &Scene) -> Option<Fall> {
    let values = scene.series.values(Signal::StoreCapacity, scene.from - 86_400.0, scene.now);
    let now = values.last()?.1;
    let best = values.iter().map(|v| v.1).fold(0.0, f64::max);
    let fell_at = values.windows(2).rev().find(|w| w[1].1 < w[0].1 && w[1].1 <= now)?[1].0;
    let sudden = values.windows(2).any(|w| w[1].1 < w[0].1 * 0.5 && w[1].1 >= now);
    (now < best * 0.9).then_some(Fall { before: best, now, at: fell_at, sudden })
}

pub fn capacity_cut(scene: &Scene) -> Option<Suspect> {
    let series = scene.stable();
    let Some(Fall { before, now, at, sudden }) = fallen(scene) else { return capacity_restored(scene, &series) };
    let (from, to) = scene.recent();
    let used = scene.rate(Signal::TableUnits);
    let used = used.or_else(|| series.growth(Signal::StoreUnits, from, to).map(Growth::per_second));
    let used = used.map(|u| u / now.max(1e-9));
    let hurts = throttled(scene, &series).is_some_and(|(s, ..)| s.ended.is_none_or(|e| e > at));
    // Steps of a way down that hurt nobody are no incident; half of it gone at once is, before it hurts.
    if !hurts && used.is_none_or(|u| u < 0.8) && !sudden {
        return None;
    }
    let (part, whole) = throttled(scene, &series).map_or(THROTTLES[0], |(_, kind)| kind);
    let series = if part == Signal::TableThrottled { &scene.series } else { &series };
    let (share, count) = within(series, part, whole, Spell { began: at, ended: None }, scene.now);
    let why = if count > 0.0 {
        format!("{count:.0} reads throttled since ({share})")
    } else {
        "nothing throttled yet".to_owned()
    };
    let because = format!("provisioned read units fell from {before:.0} to {now:.0}; {why}");
    Some(suspect("capacity-cut", 90, Spell { began: at, ended: None }, because))
}

/// How soon throttles cease after the capacity came back: who tells both at once tells it at once, minutes tell it late.
fn settled_s(part: Signal) -> f64 {
    if part == Signal::TableThrottled { 60.0 } else { 6.0 }
}

/// Who tells of throttled reads: the API of its own, the table of everybody's.
const THROTTLES: [(Signal, Signal); 2] =
    [(Signal::StoreThrottled, Signal::StoreReads), (Signal::TableThrottled, Signal::TableReads)];

/// The spell of throttled reads, and who told it; one that lasts comes first.
fn throttled(scene: &Scene, stable: &Series) -> Option<(Spell, (Signal, Signal))> {
    let spells = THROTTLES.iter().filter_map(|&(part, whole)| {
        let series = if part == Signal::TableThrottled { &scene.series } else { stable };
        Some((scene.spell(series, over(series, part, whole, 0.002))?, (part, whole)))
    });
    spells.min_by_key(|(s, _)| s.ended.is_some())
}

/// A cut that was taken back: told when it throttled while it lasted.
fn capacity_restored(scene: &Scene, series: &Series) -> Option<Suspect> {
    let values = scene.series.values(Signal::StoreCapacity, scene.from, scene.now);
    let fall = values.windows(2).rev().find(|w| w[1].1 < w[0].1 * 0.9)?;
    let (before, low, began) = (fall[0].1, fall[1].1, fall[1].0);
    let ended = values.iter().find(|v| v.0 > began && v.1 >= before * 0.9)?.0;
    let (share, count) =
        within(series, Signal::StoreThrottled, Signal::StoreReads, Spell { began, ended: Some(ended) }, ended);
    let because =
        format!("read units fell from {before:.0} to {low:.0} and came back; {count:.0} reads throttled ({share})");
    (count >= FEW || low < before * 0.5)
        .then(|| suspect("capacity-cut", 90, Spell { began, ended: Some(ended) }, because))
}

pub fn store_throttled(scene: &Scene) -> Option<Suspect> {
    let series = scene.stable();
    let (spell, (part, whole)) = throttled(scene, &series)?;
    let series = if part == Signal::TableThrottled { &scene.series } else { &series };
    // Throttles under a capacity that was cut are the cut's: not those that began after it came back, or outlast it.
    let heard = spell.ended.or(series.newest_of(part)).unwrap_or(scene.now);
    let its = |cut: Spell| {
        cut.began <= heard && cut.ended.is_none_or(|back| spell.began <= back && heard <= back + settled_s(part))
    };
    if capacity_cut(scene).is_some_and(|c| its(c.spell)) {
        return None;
    }
    let (share, count) = within(series, part, whole, spell, scene.now);
    let capacity = scene.series.gauges(Signal::StoreCapacity, scene.from).into_iter().reduce(f64::max);
    let capacity = capacity.map_or(String::new(), |c| format!(", with the capacity unchanged at {c:.0} read units"));
    Some(suspect("store-throttled", 84, spell, format!("{count:.0} reads throttled ({share}){capacity}")))
}

pub fn store_slow(scene: &Scene) -> Option<Suspect> {
    let series = scene.stable();
    if series.newest_of(Signal::StoreReads).is_none() {
        return table_slow(scene);
    }
    let p90 = |from, to| series.quantile(Timing::Store, 0.9, from, to);
    let usual = scene.usual(p90);
    let limit = scene.limits.store_ms.max(usual.map_or(0.0, |u| u * 4.0));
    let spell = scene.spell(&series, |from, to| p90(from, to).map(|v| v > limit))?;
    let seen = Millis(p90(spell.began, spell.ended.unwrap_or(scene.now))?);
    let usual = usual.map_or(format!("the limit is {}", Millis(limit)), |u| format!("usually {}", Millis(u)));
    Some(suspect("store-slow", 76, spell, format!("one read in ten takes over {seen} ({usual})")))
}

/// The same by the table's own average, where no API tells of its reads.
fn table_slow(scene: &Scene) -> Option<Suspect> {
    let slow = |from: f64, to: f64| {
        let values = scene.series.values(Signal::TableLatencyMs, from, to);
        values.iter().filter(|v| v.0 > from).map(|v| v.1 > scene.limits.store_ms).reduce(|a, b| a || b)
    };
    let spell = scene.spell(&scene.series, slow)?;
    let seen = scene.series.values(Signal::TableLatencyMs, spell.began, spell.ended.unwrap_or(scene.now));
    let worst = Millis(seen.iter().map(|v| v.1).fold(0.0, f64::max));
    let limit = Millis(scene.limits.store_ms);
    Some(suspect(
        "store-slow",
        76,
        spell,
        format!("a read of the table takes up to {worst} on average (limit {limit})"),
    ))
}

pub fn retry_storm(scene: &Scene) -> Option<Suspect> {
    let series = scene.stable();
    // Callers who say that they repeat themselves, and the target's own reads of its store.
    let kinds = [
        (Signal::Repeats, Signal::Requests, "requests"),
        (Signal::StoreRetries, Signal::StoreReads, "the store's reads"),
    ];
    kinds.into_iter().find_map(|(part, whole, what)| {
        let usual = scene.usual(|f, t| series.share(part, whole, f, t)).unwrap_or(0.0);
        let limit = (usual * 4.0).max(0.25);
        let spell = scene.spell(&series, over(&series, part, whole, limit))?;
        let (share, count) = within(&series, part, whole, spell, scene.now);
        let because = format!("{count:.0} of {what} repeat earlier ones ({share}, usually {})", Share(usual));
        Some(suspect("retry-storm", 82, spell, because))
    })
}

pub fn quota_reached(scene: &Scene) -> Option<Suspect> {
    let series = scene.stable();
    if let Some(full) = campaign_full(scene) {
        return Some(full);
    }
    let refused_us = replies(scene, |r| r.status == Some(429)).count();
    let spell = scene.spell(&series, over(&series, Signal::Throttled, Signal::Requests, 0.002));
    let spell = spell.filter(|s| s.ended.is_none() || refused_us == 0);
    let spell = spell.or_else(|| (refused_us > 0).then(|| just_now(scene)))?;
    let (share, count) = within(&series, Signal::Throttled, Signal::Requests, spell, scene.now);
    let quota = scene.series.gauges(Signal::Quota, scene.from).into_iter().reduce(f64::max).or(scene.limits.rate);
    let rate = series.growth(Signal::Requests, spell.began, spell.ended.unwrap_or(scene.now)).map(Growth::per_second);
    let against = match (rate, quota) {
        (Some(r), Some(q)) => format!("; {r:.0}/s asked, the quota is {q:.0}/s"),
        _ => String::new(),
    };
    Some(suspect("quota-reached", 86, spell, format!("{count:.0} answers were 429 ({share}){against}")))
}

/// A campaign that refuses while it is asked as much as its quota holds.
fn campaign_full(scene: &Scene) -> Option<Suspect> {
    let (part, whole) = (Signal::CampaignRefused, Signal::CampaignRequests);
    let quota = scene.limits.campaign_rate;
    let refused = over(&scene.series, part, whole, 0.002);
    let full = |from: f64, to: f64| {
        let rate = scene.series.growth(whole, from, to).filter(|g| g.seconds > 0.0)?.per_second();
        Some(refused(from, to)? && rate > quota * 0.8)
    };
    let spell = scene.spell(&scene.series, full)?;
    let to = spell.ended.unwrap_or(scene.now);
    let (share, count) = within(&scene.series, part, whole, spell, scene.now);
    let rate = scene.series.growth(whole, spell.began, to).map_or(0.0, Growth::per_second);
    let because =
        format!("the campaign refused {count:.0} requests ({share}); {rate:.0}/s asked, its quota is {quota:.0}/s");
    Some(suspect("quota-reached", 86, spell, because))
}

pub fn replica_dead(scene: &Scene) -> Option<Suspect> {
    let fresh: Vec<_> = scene.series.last_each().filter(|s| s.at >= scene.began - 1.0 && s.arm != "canary").collect();
    let up = |s: &Sample| s.get(Signal::Up).map(|u| u > 0.0);
    let dead: Vec<_> = fresh.iter().filter(|s| up(s) == Some(false)).map(|s| s.instance.as_str()).collect();
    let down = |from: f64, to: f64| {
        let within = scene.series.within(from, to).flatten().filter(|s| s.at > from && s.arm != "canary");
        within.filter_map(up).map(|u| !u).reduce(|a, b| a || b)
    };
    let spell = scene.spell(&scene.series, down);
    let (alive, all) = (fresh.len() - dead.len(), fresh.len());
    // Where nobody answers at all it may as well be our own way there.
    if !scene.answers() {
        return None;
    }
    match spell {
        Some(s) if !dead.is_empty() => {
            let because = format!("{} does not answer; {alive} of {all} replicas do", dead.join(", "));
            Some(suspect("replica-dead", 88, Spell { ended: None, ..s }, because))
        }
        None if !dead.is_empty() => {
            let because = format!("{} does not answer; {alive} of {all} replicas do", dead.join(", "));
            Some(suspect("replica-dead", 88, just_now(scene), because))
        }
        Some(s) => Some(suspect(
            "replica-dead",
            88,
            Spell { ended: s.ended.or(Some(scene.began)), ..s },
            "a replica did not answer, and answers again",
        )),
        None => None,
    }
}

pub fn catalogue_stale(scene: &Scene) -> Option<Suspect> {
    let old = |at: f64, built: f64| at - built > scene.limits.catalogue_age_s;
    let built = scene.series.gauges(Signal::CatalogueBuilt, scene.began - 1.0).into_iter().reduce(f64::min)?;
    let stale = |from: f64, to: f64| {
        let values = scene.series.values(Signal::CatalogueBuilt, from, to);
        values.iter().filter(|v| v.0 > from).map(|v| old(v.0, v.1)).reduce(|a, b| a || b)
    };
    let spell = scene.spell(&scene.series, stale);
    let limit = age(scene.limits.catalogue_age_s);
    if old(scene.now, built) {
        let because =
            format!("the catalogue that is held was built {} ago, and may be {limit} old", age(scene.now - built));
        return Some(suspect(
            "catalogue-stale",
            70,
            spell.map_or(just_now(scene), |s| Spell { ended: None, ..s }),
            because,
        ));
    }
    let spell = spell.map(|s| Spell { ended: s.ended.or(Some(scene.began)), ..s })?;
    Some(suspect("catalogue-stale", 70, spell, format!("the catalogue was older than {limit}, and is fresh again")))
}

pub fn bad_model(scene: &Scene) -> Option<Suspect> {
    let series = scene.stable();
    let usual = |s| scene.usual(|f, t| series.share(s, Signal::Requests, f, t));
    let limit = |s, least: f64| (usual(s).unwrap_or(0.0) * 4.0).max(least);
    let (empty, popular) = (limit(Signal::Empty, 0.2), limit(Signal::Popular, 0.5));
    let had_lists = usual(Signal::Popular).is_some();
    let poor = |from: f64, to: f64| {
        let empty = over(&series, Signal::Empty, Signal::Requests, empty)(from, to)?;
        // A store that fails makes popular lists too, but marks them degraded.
        let degraded = series.share(Signal::Degraded, Signal::Requests, from, to)? > 0.02;
        let fallen_back = had_lists && over(&series, Signal::Popular, Signal::Requests, popular)(from, to)?;
        Some(empty || fallen_back && !degraded)
    };
    let spell = scene.spell(&series, poor);
    let said = lists_of_the_known(scene);
    let spell = match (spell, &said) {
        (Some(s), None) => s,
        (Some(s), Some(_)) if s.ended.is_none() => s,
        (_, Some(_)) => {
            let since = scene.series.gauges(Signal::ModelPublished, scene.from).into_iter().reduce(f64::max);
            Spell { began: since.filter(|s| *s >= scene.from && *s <= scene.now).unwrap_or(scene.began), ended: None }
        }
        (None, None) => return None,
    };
    let (share, count) = within(&series, Signal::Empty, Signal::Requests, spell, scene.now);
    let because = said
        .unwrap_or_else(|| format!("{count:.0} answers are empty ({share}), the rest fall back to the popular list"));
    Some(suspect("bad-model", 74, spell, because))
}

/// What is wrong with the lists of viewers who should have good ones; `None` where nothing is, or nobody is known.
fn lists_of_the_known(scene: &Scene) -> Option<String> {
    scene.probed.as_ref().filter(|p| p.known)?;
    let front = scene.probed.as_ref()?.replies.first()?.door.clone();
    let asked: Vec<_> = replies(scene, |r| r.good() && r.filter.is_none() && !r.degraded && r.door == front).collect();
    if asked.len() < 2 {
        return None;
    }
    let empty = asked.iter().filter(|r| r.items.is_empty()).count();
    let popular = asked.iter().filter(|r| r.popular).count();
    let alike = asked.len() >= 3 && asked.iter().all(|r| r.items.len() > 1 && r.items == asked[0].items);
    match () {
        () if empty == asked.len() => Some(format!("{empty} of {} known viewers get an empty list", asked.len())),
        () if popular == asked.len() => Some(format!("{popular} known viewers have no list of their own")),
        () if alike => Some(format!("{} known viewers all get the very same list", asked.len())),
        () => None,
    }
}

pub fn canary_bad(scene: &Scene) -> Option<Suspect> {
    let (canary, stable) = (scene.series.arm("canary"), scene.stable());
    if canary.is_empty() {
        return None;
    }
    let worse = |from: f64, to: f64| {
        let asked = canary.growth(Signal::Requests, from, to).filter(|g| g.amount >= FEW)?.amount;
        let bad =
            |s: &Series| Some((scene.error_share(s, from, to)?, s.share(Signal::Empty, Signal::Requests, from, to)?));
        let (errors, empty) = bad(&canary)?;
        let (rest_errors, rest_empty) = bad(&stable).unwrap_or((0.0, 0.0));
        let fails = |own: f64, rest: f64| own * asked >= FEW && own > (rest * 3.0).max(0.02);
        let p = |s: &Series| s.quantile(Timing::Request, 0.9, from, to);
        let slow = matches!((p(&canary), p(&stable)), (Some(c), Some(s)) if c > s * 3.0 + 20.0);
        Some(fails(errors, rest_errors) || fails(empty, rest_empty) || slow)
    };
    let fresh = canary.last_each().filter(|s| s.at >= scene.began - 1.0);
    let dead = fresh.filter_map(|s| s.get(Signal::Up)).any(|u| u == 0.0);
    let spell = scene.spell(&canary, worse).filter(|s| s.ended.is_none() || !dead);
    let spell = spell.or_else(|| dead.then(|| just_now(scene)))?;
    // A canary that is gone hurts nobody any more.
    let gone = canary.newest().filter(|_| !scene.has_canary());
    let spell = Spell { ended: spell.ended.or(gone), ..spell };
    let to = spell.ended.unwrap_or(scene.now);
    let told = |s: &Series| {
        let errors = scene.error_share(s, spell.began, to).map_or("?".to_owned(), |e| Share(e).to_string());
        let p90 = s.quantile(Timing::Request, 0.9, spell.began, to).map_or("?".to_owned(), |p| Millis(p).to_string());
        format!("errors {errors}, p90 {p90}")
    };
    let because = if dead {
        "the canary does not answer".to_owned()
    } else {
        format!("canary: {}; the rest: {}", told(&canary), told(&stable))
    };
    Some(suspect("canary-bad", 89, spell, because))
}

pub fn metrics_dead(scene: &Scene) -> Option<Suspect> {
    use super::scene::Kind::{Metrics, Prometheus};
    let dumb = scene.heard.iter().filter(|h| matches!(h.kind, Metrics | Prometheus));
    let dumb: Vec<_> = dumb.filter_map(|h| Some((h.name.clone(), h.said.as_ref().err()?.clone()))).collect();
    let (_, why) = dumb.first()?;
    // Where nobody answers at all, the metrics are not what is wrong.
    if !scene.answers() {
        return None;
    }
    let began = scene.series.newest().unwrap_or(scene.began);
    let because = format!(
        "the API answers, but {why}{}",
        if dumb.len() > 1 { format!(" (and {} more)", dumb.len() - 1) } else { String::new() }
    );
    Some(suspect("metrics-dead", 60, Spell { began: began.max(scene.from), ended: None }, because))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use super::super::scene::{Heard, Kind, Limits, UnitPrices};
    use super::super::triage::triage;
    use super::*;
    use crate::judge::verdict::Verdict;

    const NOW: f64 = 1_800_000_000.0;
    const STEP: f64 = 5.0;

    /// What one instance does in one step; a fault changes it.
    #[derive(Clone, Copy)]
    struct Life {
        requests: f64,
        errors: f64,
        throttled: f64,
        refused: f64,
        refused_time: f64,
        empty: f64,
        store_throttled: f64,
        retries: f64,
        units: f64,
        capacity: f64,
        store_ms: f64,
        ms: f64,
        clock: f64,
        catalogue_age: f64,
        up: f64,
    }

    const WELL: Life = Life {
        requests: 250.0,
        errors: 0.0,
        throttled: 0.0,
        refused: 0.0,
        refused_time: 0.0,
        empty: 0.0,
        store_throttled: 0.0,
        retries: 0.0,
        units: 60.0,
        capacity: 100.0,
        store_ms: 0.4,
        ms: 3.0,
        clock: 0.1,
        catalogue_age: 3600.0,
        up: 1.0,
    };

    type Fault = fn(&mut Life, &str);

    /// An hour of a stack of three, with faults between two moments before now.
    fn scene(faults: &[Fault], began: f64, ended: f64) -> Scene {
        let mut samples = Vec::new();
        for (instance, arm) in [("api-1", "stable"), ("api-2", "stable"), ("canary", "canary")] {
            samples.extend(life(faults, (began, ended), (instance, arm), NOW - 3600.0));
        }
        let said = Heard { name: "metrics".to_owned(), kind: Kind::Metrics, took_s: 0.0, said: Ok(()) };
        let health = Heard { kind: Kind::Health, ..said.clone() };
        Scene {
            target: "local".to_owned(),
            now: NOW,
            from: NOW - 1800.0,
            began: NOW - STEP,
            limits: Limits::default(),
            series: Series::new(samples),
            heard: vec![said, health],
            probed: None,
            changes: Vec::new(),
            spent: None,
            prices: UnitPrices::default(),
            help: Vec::new(),
        }
    }

    /// What one instance says from a moment on, with faults between two moments before now.
    fn life(faults: &[Fault], (began, ended): (f64, f64), (instance, arm): (&str, &str), from: f64) -> Vec<Sample> {
        let mut samples = Vec::new();
        let mut sample = Sample { arm: arm.to_owned(), ..Sample::new(0.0, instance) };
        for signal in [Signal::Requests, Signal::StoreReads] {
            sample.set(signal, 1e6);
        }
        let mut at = from;
        while at <= NOW {
            let mut life = WELL;
            if at > NOW - began && at <= NOW - ended {
                faults.iter().for_each(|fault| fault(&mut life, instance));
            }
            at += STEP;
            sample.at = at - STEP;
            sample.set(Signal::Up, life.up);
            if life.up == 0.0 {
                samples.push(Sample { numbers: [(Signal::Up, 0.0)].into(), timings: [].into(), ..sample.clone() });
                continue;
            }
            for (signal, grown) in [
                (Signal::Requests, life.requests),
                (Signal::StoreReads, life.requests + life.retries + life.store_throttled),
                (Signal::Errors, life.errors),
                (Signal::Throttled, life.throttled),
                (Signal::Refused, life.refused),
                (Signal::RefusedTime, life.refused_time),
                (Signal::Empty, life.empty),
                (Signal::StoreThrottled, life.store_throttled),
                (Signal::StoreRetries, life.retries),
                (Signal::StoreUnits, life.units),
            ] {
                sample.add(signal, grown);
            }
            for (signal, value) in [
                (Signal::StoreCapacity, life.capacity),
                (Signal::Clock, sample.at + life.clock),
                (Signal::CatalogueBuilt, sample.at - life.catalogue_age),
            ] {
                sample.set(signal, value);
            }
            for (timing, ms) in [(Timing::Request, life.ms), (Timing::Store, life.store_ms)] {
                let buckets = sample
                    .timings
                    .entry(timing)
                    .or_insert_with(|| [0.001, 0.01, 0.1, 1.0, 3600.0].iter().map(|b| (*b, 0.0)).collect());
                buckets.iter_mut().filter(|b| ms / 1000.0 <= b.0).for_each(|b| b.1 += life.requests);
            }
            samples.push(sample.clone());
        }
        samples
    }

    const FAULTS: [(&str, Fault); 10] = [
        ("store-throttled", |l, _| l.store_throttled = 80.0),
        ("store-slow", |l, _| (l.store_ms, l.ms) = (150.0, 160.0)),
        ("replica-dead", |l, i| l.up = if i == "api-2" { 0.0 } else { 1.0 }),
        ("catalogue-stale", |l, _| l.catalogue_age = 72.0 * 3600.0),
        ("key-rotated", |l, _| l.refused = 200.0),
        ("bad-model", |l, _| l.empty = 120.0),
        ("quota-reached", |l, _| l.throttled = 90.0),
        ("clock-skew", |l, _| (l.clock, l.refused, l.refused_time) = (400.0, 200.0, 200.0)),
        ("retry-storm", |l, _| l.retries = 900.0),
        ("canary-bad", |l, i| l.errors = if i == "canary" { 40.0 } else { 0.0 }),
    ];

    fn causes(scene: &Scene) -> Vec<(String, bool)> {
        triage(scene).findings.iter().map(|f| (f.cause.clone(), f.lasts())).collect()
    }

    #[test]
    fn a_well_stack_has_no_finding() {
        let triage = triage(&scene(&[], 0.0, 0.0));
        assert_eq!((triage.verdict, triage.findings), (Verdict::Go, vec![]));
    }

    #[test]
    fn each_fault_alone_is_named_first_with_its_time() {
        for (name, fault) in FAULTS {
            let scene = scene(&[fault], 300.0, 0.0);
            let triage = triage(&scene);
            let first = triage.findings.first().unwrap_or_else(|| panic!("{name}: nothing found"));
            assert_eq!((first.cause.as_str(), triage.verdict), (name, Verdict::No), "{:?}", causes(&scene));
            let since: jiff::Timestamp = first.since.parse().expect("a time");
            assert!((since.as_second() as f64 - (NOW - 300.0)).abs() <= 10.0, "{name} since {since}");
        }
    }

    #[test]
    fn a_fault_that_ended_is_told_as_ended() {
        for (name, fault) in FAULTS {
            let scene = scene(&[fault], 600.0, 300.0);
            assert_eq!(causes(&scene), [(name.to_owned(), false)], "{name}");
            assert_eq!(triage(&scene).verdict, Verdict::Go, "{name}");
        }
    }

    #[test]
    fn any_two_faults_at_once_are_both_named() {
        for (i, (one, first)) in FAULTS.iter().enumerate() {
            for (other, second) in &FAULTS[i + 1..] {
                // Refusals cannot be told by two reasons in this small world: the second overwrites the first.
                if [*one, *other] == ["key-rotated", "clock-skew"] {
                    continue;
                }
                let named: Vec<_> =
                    causes(&scene(&[*first, *second], 300.0, 0.0)).into_iter().map(|(c, _)| c).collect();
                assert!(
                    named.iter().any(|n| n == one) && named.iter().any(|n| n == other),
                    "{one} + {other}: {named:?}"
                );
            }
        }
    }

    #[test]
    fn a_canary_that_is_gone_neither_lasts_nor_hides_what_is_wrong_now() {
        let bad: Fault = |l, i| l.errors = if i == "canary" { 40.0 } else { 0.0 };
        let mut scene = scene(&[bad], 900.0, 0.0);
        let before: Vec<_> = scene.series.until(NOW - 300.0).within(0.0, NOW).flatten().cloned().collect();
        // The stack was started anew five minutes ago, without a canary and with another trouble.
        let anew = life(&[|l, _| l.throttled = 90.0], (200.0, 0.0), ("api", ""), NOW - 290.0);
        scene.series = Series::new(before.into_iter().chain(anew));
        assert_eq!(causes(&scene), [("quota-reached".to_owned(), true), ("canary-bad".to_owned(), false)]);
    }

    #[test]
    fn a_replica_that_is_gone_tells_no_numbers_and_that_is_no_trouble_of_theirs() {
        let dead: Fault = |l, i| l.up = if i == "api-2" { 0.0 } else { 1.0 };
        let mut scene = scene(&[dead], 300.0, 0.0);
        let gone = Heard { kind: Kind::Gone, said: Err("refused".to_owned()), ..scene.heard[0].clone() };
        scene.heard.push(gone);
        assert_eq!(causes(&scene), [("replica-dead".to_owned(), true)]);
    }

    #[test]
    fn a_cut_explains_the_throttles_that_follow_it() {
        static STEPS: AtomicU32 = AtomicU32::new(0);
        let cut: Fault = |l, _| (l.capacity, l.store_throttled) = (20.0, 60.0);
        assert_eq!(causes(&scene(&[cut], 300.0, 0.0)), [("capacity-cut".to_owned(), true)]);
        assert_eq!(causes(&scene(&[cut], 600.0, 300.0)), [("capacity-cut".to_owned(), false)]);
        // A step of the way down that holds is no incident.
        let step: Fault = |l, _| l.capacity = 88.0;
        assert_eq!(causes(&scene(&[step], 300.0, 0.0)), []);
        // Nor are many steps to well under half, each of which held; the same fall at once is.
        let way_down: Fault = |l, _| {
            l.units = 10.0;
            let step = STEPS.fetch_add(1, Relaxed) % 240; // each of the three instances in its turn
            l.capacity = (100.0 - 0.5 * f64::from(step)).max(40.0);
        };
        assert_eq!(causes(&scene(&[way_down], 1200.0, 0.0)), []);
        let fall: Fault = |l, _| (l.units, l.capacity) = (10.0, 40.0);
        assert_eq!(causes(&scene(&[fall], 1200.0, 0.0)), [("capacity-cut".to_owned(), true)]);
    }

    #[test]
    fn a_trouble_that_is_over_explains_none_of_what_is_wrong_now() {
        let cut: Fault = |l, _| (l.capacity, l.store_throttled) = (20.0, 60.0);
        let throttled: Fault = |l, _| l.store_throttled = 60.0;
        let after = |began: f64| {
            let mut scene = scene(&[cut], 900.0, 600.0);
            let before: Vec<_> = scene.series.until(NOW - 400.0).within(0.0, NOW).flatten().cloned().collect();
            let now = life(&[throttled], (began, 0.0), ("api-1", "stable"), NOW - 390.0);
            scene.series = Series::new(before.into_iter().chain(now));
            causes(&scene)
        };
        // Minutes after the capacity came back, and long after.
        for began in [60.0, 300.0] {
            let expected = [("store-throttled".to_owned(), true), ("capacity-cut".to_owned(), false)];
            assert_eq!(after(began), expected, "{began}");
        }
        // Keys that were rotated, set right, and are rotated again under metrics that say nothing now.
        let rotated: Fault = |l, _| l.refused = 95.0;
        let mut scene = scene(&[rotated], 600.0, 400.0);
        scene.series = scene.series.until(NOW - 60.0);
        scene.heard[0].said = Err("metrics of x answer 500".to_owned());
        let over = ("key-rotated".to_owned(), false);
        assert_eq!(causes(&scene), [("metrics-dead".to_owned(), true), over]);
        let reply = Reply { status: Some(401), ..Reply::default() };
        scene.probed = Some(Probed { replies: vec![reply; 9], known: true, token: true });
        let both = ["key-rotated", "metrics-dead"].map(|cause| (cause.to_owned(), true));
        assert_eq!(causes(&scene), both);
    }

    #[test]
    fn silent_metrics_beside_a_living_api_are_named() {
        let mut scene = scene(&[], 0.0, 0.0);
        scene.series = scene.series.until(NOW - 60.0);
        scene.heard[0].said = Err("metrics of x answer 500".to_owned());
        assert_eq!(causes(&scene), [("metrics-dead".to_owned(), true)]);
        scene.heard[1].said = Err("refused".to_owned());
        scene.series = Series::default();
        assert_eq!(triage(&scene).verdict, Verdict::CannotTell);
    }
}
