//! What the API counts of itself, and tells on `/metrics` under the names that `watch` reads.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::auth::Refusal;
use super::practice::Table;
use super::rules::Rules;
use super::world::World;
use crate::watch::names;

/// Upper bounds of the latency buckets in microseconds.
///
/// Two or three a factor of ten, from what a list takes (some 25 us) to what no caller waits for, with a bound at each limit
/// that people set: 1, 2.5, 5, 10, 50, 100, 250 ms. A quantile read from them is wrong by less than the factor between two
/// bounds, 2.5; a share of answers within a limit that is a bound is exact, which is what an objective asks. Native
/// histograms would be finer, and travel only as protobuf, which few who scrape by hand can read.
const BOUNDS: [u64; 17] = [
    25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000,
];
const STATUSES: [u16; 13] = [200, 202, 400, 401, 403, 404, 405, 408, 413, 414, 429, 500, 503];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    Recommendations,
    Popular,
    Similar,
    Rank,
    Events,
    Forget,
    Campaign,
    Ranking,
    Health,
    Metrics,
    Practice,
    Openapi,
    None,
}

pub(super) const ROUTES: [(Route, &str); 13] = [
    (Route::Recommendations, "/v1/recommendations"),
    (Route::Popular, "/v1/popular"),
    (Route::Similar, "/v1/similar"),
    (Route::Rank, "/v1/rank"),
    (Route::Events, "/v1/events"),
    (Route::Forget, "/v1/forget"),
    (Route::Campaign, "/recommendations"),
    (Route::Ranking, "/personalize-ranking"),
    (Route::Health, "/health"),
    (Route::Metrics, "/metrics"),
    (Route::Practice, "/practice"),
    (Route::Openapi, "/openapi.json"),
    (Route::None, "none"),
];

/// Returns how numbers and logs call a route.
pub fn word(route: Route) -> &'static str {
    ROUTES[route as usize].1
}

/// Which refusals are told under which reason.
const REASONS: [(&str, &[Refusal]); 8] = [
    ("missing", &[Refusal::Missing]),
    ("malformed", &[Refusal::Malformed, Refusal::NoExpiry]),
    ("algorithm", &[Refusal::Algorithm, Refusal::Critical]),
    ("key", &[Refusal::UnknownKey]),
    ("signature", &[Refusal::Signature]),
    ("time", &[Refusal::Expired, Refusal::NotYet]),
    ("audience", &[Refusal::Audience, Refusal::Issuer]),
    ("platform", &[Refusal::Platform]),
];

/// What an answer was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    List,
    Live,
    Popular,
}

impl Source {
    pub fn word(self) -> &'static str {
        ["list", "live", "popular"][self as usize]
    }
}

#[derive(Default)]
struct Timing {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    sum_ns: AtomicU64,
}

/// Counters that only grow; relaxed, as nobody orders anything by them.
#[derive(Default)]
pub struct Meter {
    statuses: [[AtomicU64; STATUSES.len() + 1]; ROUTES.len()],
    requests: [Timing; ROUTES.len()],
    store: Timing,
    answers: [AtomicU64; 3],
    refused: [AtomicU64; 12],
    empty: AtomicU64,
    degraded: AtomicU64,
    store_ok: AtomicU64,
    store_errors: AtomicU64,
    pub store_throttled: AtomicU64,
    /// Reads that were not tried: the store is down, or too many wait for it.
    pub store_left_alone: AtomicU64,
    pub cache_hits: AtomicU64,
    events: AtomicU64,
    events_without_consent: AtomicU64,
    forgotten: AtomicU64,
    /// What a read of the store waited before it began, microseconds.
    pub store_waits_us: AtomicU64,
    pub repeats: AtomicU64,
    pub shed: AtomicU64,
    pub refreshes_failed: AtomicU64,
    pub connections: AtomicU64,
}

/// What the page tells beside what is counted here.
#[derive(Default)]
pub struct Beside {
    /// Requests a second that are let in.
    pub quota: Option<f64>,
    pub exposures_lost: Option<u64>,
    /// Since when the keys are in force, Unix seconds.
    pub keys_since: i64,
}

impl Timing {
    fn record(&self, took: Duration) {
        let us = took.as_micros() as u64;
        let at = BOUNDS.iter().position(|b| us <= *b).unwrap_or(BOUNDS.len());
        self.buckets[at].fetch_add(1, Relaxed);
        self.sum_ns.fetch_add(took.as_nanos() as u64, Relaxed);
    }

    fn tell(&self, page: &mut String, name: &str, labels: &str) {
        let mut total = 0;
        for (at, bucket) in self.buckets.iter().enumerate() {
            total += bucket.load(Relaxed);
            let bound = BOUNDS.get(at).map_or("+Inf".to_owned(), |us| (*us as f64 / 1e6).to_string());
            let _ = writeln!(page, "{name}_bucket{{{labels}le=\"{bound}\"}} {total}");
        }
        let braces = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.trim_end_matches(',')) };
        let _ = writeln!(page, "{name}_sum{braces} {}", self.sum_ns.load(Relaxed) as f64 / 1e9);
        let _ = writeln!(page, "{name}_count{braces} {total}");
    }

    fn is_empty(&self) -> bool {
        self.buckets.iter().all(|b| b.load(Relaxed) == 0)
    }
}

impl Meter {
    pub fn answered(&self, route: Route, status: u16, took: Duration) {
        let at = STATUSES.iter().position(|s| *s == status).unwrap_or(STATUSES.len());
        self.statuses[route as usize][at].fetch_add(1, Relaxed);
        self.requests[route as usize].record(took);
    }

    pub fn recommended(&self, source: Source, items: usize, degraded: bool) {
        let kind = if items == 0 { &self.empty } else { &self.answers[source as usize] };
        kind.fetch_add(1, Relaxed);
        if degraded {
            self.degraded.fetch_add(1, Relaxed);
        }
    }

    pub fn folded_in(&self, taken: usize, without_consent: usize) {
        self.events.fetch_add(taken as u64, Relaxed);
        self.events_without_consent.fetch_add(without_consent as u64, Relaxed);
    }

    pub fn forgot(&self) {
        self.forgotten.fetch_add(1, Relaxed);
    }

    pub fn store_read(&self, took: Duration, good: bool) {
        if good { &self.store_ok } else { &self.store_errors }.fetch_add(1, Relaxed);
        self.store.record(took + Duration::from_micros(self.store_waits_us.load(Relaxed)));
    }

    pub fn refused(&self, why: Refusal) {
        self.refused[why as usize].fetch_add(1, Relaxed);
    }

    /// Returns how many tokens were refused for one reason.
    pub fn refusals(&self, why: Refusal) -> u64 {
        self.refused[why as usize].load(Relaxed)
    }

    /// The page in Prometheus' text form.
    pub fn page(&self, world: &World, ready: bool, table: &Table, beside: &Beside, now: f64) -> String {
        let mut page = String::with_capacity(16 * 1024);
        let head = |page: &mut String, name: &str, kind: &str, help: &str| {
            let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}");
        };
        head(&mut page, names::REQUESTS, "counter", "Answers by route and status.");
        for (route, name) in ROUTES {
            for (at, count) in self.statuses[route as usize].iter().enumerate() {
                let count = count.load(Relaxed);
                if count > 0 {
                    let status = STATUSES.get(at).map_or("other".to_owned(), u16::to_string);
                    let _ = writeln!(page, "{}{{route=\"{name}\",status=\"{status}\"}} {count}", names::REQUESTS);
                }
            }
        }
        head(&mut page, names::REQUEST_SECONDS, "histogram", "Seconds from the whole request to the whole answer.");
        for (route, name) in ROUTES {
            let timing = &self.requests[route as usize];
            if !timing.is_empty() {
                timing.tell(&mut page, names::REQUEST_SECONDS, &format!("route=\"{name}\","));
            }
        }
        head(&mut page, names::STORE_SECONDS, "histogram", "Seconds of a read of the store.");
        self.store.tell(&mut page, names::STORE_SECONDS, "");
        head(&mut page, names::REFUSED, "counter", "Refused tokens by reason.");
        for (reason, whys) in REASONS {
            let count: u64 = whys.iter().map(|w| self.refused[*w as usize].load(Relaxed)).sum();
            let _ = writeln!(page, "{}{{reason=\"{reason}\"}} {count}", names::REFUSED);
        }
        head(&mut page, names::ANSWERS, "counter", "Recommendations by what they were answered with.");
        for source in [Source::List, Source::Live, Source::Popular] {
            let count = self.answers[source as usize].load(Relaxed);
            let _ = writeln!(page, "{}{{kind=\"{}\"}} {count}", names::ANSWERS, source.word());
        }
        let _ = writeln!(page, "{}{{kind=\"empty\"}} {}", names::ANSWERS, self.empty.load(Relaxed));
        head(&mut page, names::STORE_READS, "counter", "Reads of the store by result.");
        for (result, count) in [
            ("ok", &self.store_ok),
            ("throttled", &self.store_throttled),
            ("error", &self.store_errors),
            ("left-alone", &self.store_left_alone),
        ] {
            let _ = writeln!(page, "{}{{result=\"{result}\"}} {}", names::STORE_READS, count.load(Relaxed));
        }
        for (name, help, count) in [
            (names::DEGRADED, "Answers that are less than what was asked for.", &self.degraded),
            ("serin_store_cache_hits_total", "Lists that were remembered from an earlier read.", &self.cache_hits),
            ("serin_events_total", "Viewings that came in and were folded in.", &self.events),
            ("serin_events_without_consent_total", "Viewings that were left out.", &self.events_without_consent),
            ("serin_forgotten_total", "Viewers who took their consent back.", &self.forgotten),
            (names::REPEATS, "Requests that say themselves that they repeat an earlier one.", &self.repeats),
            ("serin_shed_total", "Requests refused at once because the process was behind.", &self.shed),
            ("serin_refresh_failures_total", "New files that were refused while serving.", &self.refreshes_failed),
        ] {
            head(&mut page, name, "counter", help);
            let _ = writeln!(page, "{name} {}", count.load(Relaxed));
        }
        if let Some(lost) = beside.exposures_lost.filter(|_| world.rules.as_ref().is_some_and(Rules::explores)) {
            head(&mut page, "serin_exposures_lost_total", "counter", "Explored answers that could not be noted.");
            let _ = writeln!(page, "serin_exposures_lost_total {lost}");
        }
        if table.capacity.is_some() {
            head(&mut page, names::STORE_UNITS, "counter", "Read units used.");
            let _ = writeln!(page, "{} {}", names::STORE_UNITS, table.units);
        }
        let gauges = [
            (names::READY, Some(f64::from(u8::from(ready)))),
            (names::CLOCK, Some(now)),
            (names::CATALOGUE_ITEMS, Some(world.catalogue.len() as f64)),
            (names::CATALOGUE_BUILT, Some(world.catalogue.built_at as f64)),
            (names::MODEL_PUBLISHED, world.published_at().map(|t| t as f64)),
            (names::MODEL_TRAINED, world.trained_at().map(|t| t as f64)),
            (names::STORE_USED, Some(f64::from(u8::from(world.lists_held().is_some())))),
            (names::KEYS_SINCE, Some(beside.keys_since as f64)),
            (names::GENERATION, world.generation_number().map(|n| n as f64)),
            (names::LISTS, world.lists_held().map(|n| n as f64)),
            (names::QUOTA, beside.quota),
            (names::STORE_CAPACITY, table.capacity),
            ("serin_lists_expire_timestamp_seconds", world.distant().map(|d| d.expires_at as f64)),
            ("serin_connections", Some(self.connections.load(Relaxed) as f64)),
        ];
        for (name, value) in gauges.iter().filter_map(|(n, v)| Some((n, (*v)?))) {
            let _ = writeln!(page, "# TYPE {name} gauge\n{name} {value}");
        }
        page
    }
}
