//! Asks every source and the API itself at once, twice with the probe in between, and keeps what was heard.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::change::{self, Change};
use super::scene::{Heard, Kind, Limits, Scene};
use crate::load::dress::Tokens;
use crate::watch::error::WatchError;
use crate::watch::history::History;
use crate::watch::http::Asker;
use crate::watch::probe::{MakeToken, Probe};
use crate::watch::sample::{Sample, Signal};
use crate::watch::series::Series;
use crate::watch::source::{self, PATIENCE, Source, Span};
use crate::watch::sources::metrics::{Metrics, now};
use crate::watch::sources::prometheus::Prometheus;

/// Two looks at a counter less than this apart say little.
const BETWEEN: Duration = Duration::from_millis(3200);
const FIVE_WEEKS_S: f64 = 35.0 * 86_400.0;

/// A target, and where its numbers are.
#[derive(Clone, Debug)]
pub struct Deployment {
    pub name: String,
    /// The front door.
    pub url: String,
    pub instances: Vec<Instance>,
    /// How tokens are made; `None` where the target wants none.
    pub tokens: Option<Tokens>,
    pub viewers: Vec<String>,
    /// Root and selector.
    pub prometheus: Option<(String, String)>,
    pub limits: Limits,
    /// Whom to call, the runbook, the dashboards: each as a person would say it.
    pub help: Vec<String>,
}

/// One process that answers, by its own address.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    pub name: String,
    pub url: String,
    /// "stable", "canary", or empty.
    pub arm: String,
}

/// One look at all sources.
struct Round {
    heard: Vec<Heard>,
    samples: Vec<Sample>,
}

/// Looks at a target for a few seconds; `changes` are what the journals know.
pub async fn gather(d: &Deployment, home: &Path, since: Duration, changes: Vec<Change>) -> Result<Scene, WatchError> {
    let asker = Asker::new(PATIENCE)?;
    let began = now();
    let from = began - since.as_secs_f64();
    let history = History::of(home, &d.name);
    let past = history.read(began - FIVE_WEEKS_S)?;
    let started = Instant::now();
    let first = look(d, &asker, Span { from, to: began }).await;
    let mut doors = vec![("front door".to_owned(), d.url.clone())];
    doors.extend(d.instances.iter().filter(|i| i.url != d.url).map(|i| (i.name.clone(), i.url.clone())));
    let token = d.tokens.clone().map(|tokens| -> MakeToken {
        Arc::new(move |viewer| tokens.mint(viewer, jiff::Timestamp::now().as_second().unsigned_abs()).ok())
    });
    let probe = Probe { asker: asker.clone(), doors, token, viewers: d.viewers.clone() };
    let probed = probe.ask().await;
    tokio::time::sleep(BETWEEN.saturating_sub(started.elapsed())).await;
    let second = look(d, &asker, Span { from, to: now() }).await;
    let now = now();
    let fresh = [first.samples, second.samples].concat();
    // Prometheus keeps its own past.
    if d.prometheus.is_none() {
        history.keep(&fresh, now)?;
    }
    let series = Series::new(past.into_iter().chain(fresh));
    let mut changes: Vec<_> = change::seen(&series, from, now).into_iter().chain(changes).collect();
    changes.sort_by(|a, b| b.at.total_cmp(&a.at));
    Ok(Scene {
        target: d.name.clone(),
        now,
        from,
        began,
        limits: d.limits,
        series,
        heard: second.heard,
        probed: Some(probed),
        changes,
        help: d.help.clone(),
    })
}

/// Asks each source once, all at once, and returns how each did.
pub async fn reach(d: &Deployment) -> Result<Vec<Heard>, WatchError> {
    let to = now();
    Ok(look(d, &Asker::new(PATIENCE)?, Span { from: to - 300.0, to }).await.heard)
}

/// Returns one sample an instance, as a watch keeps them.
pub async fn sample(d: &Deployment, asker: &Asker) -> (Vec<Sample>, Vec<Heard>) {
    let to = now();
    let round = look(d, asker, Span { from: to - 300.0, to }).await;
    (round.samples, round.heard)
}

async fn look(d: &Deployment, asker: &Asker, span: Span) -> Round {
    let at = now();
    let mut asked = tokio::task::JoinSet::new();
    for (place, instance) in d.instances.iter().cloned().enumerate() {
        let asker = asker.clone();
        asked.spawn(async move { (place, ask_instance(&instance, &asker, at, span).await) });
    }
    let prometheus = async {
        let (url, selector) = d.prometheus.clone()?;
        Some(source::ask(&Prometheus { asker: asker.clone(), url, selector }, span).await)
    };
    let (mut rounds, prometheus) = tokio::join!(asked.join_all(), prometheus);
    rounds.sort_by_key(|(place, _)| *place);
    let mut round = Round { heard: Vec::new(), samples: Vec::new() };
    for (_, one) in rounds {
        round.heard.extend(one.heard);
        round.samples.extend(one.samples);
    }
    if let Some(told) = prometheus {
        let said = told.answer.as_ref().map(|_| ()).map_err(ToString::to_string);
        round.heard.push(Heard { name: told.source, kind: Kind::Prometheus, took_s: told.took.as_secs_f64(), said });
        if let Ok(samples) = told.answer {
            // The same counters must not count twice, and a scraped clock is as old as its scrape.
            for own in &mut round.samples {
                own.numbers.retain(|s, _| matches!(s, Signal::Up | Signal::Clock));
                own.timings.clear();
            }
            round.samples.extend(samples.into_iter().map(|mut s| {
                s.numbers.remove(&Signal::Clock);
                s
            }));
        }
    }
    round
}

/// Asks one instance whether it lives, and for its numbers.
async fn ask_instance(instance: &Instance, asker: &Asker, at: f64, span: Span) -> Round {
    let root = instance.url.trim_end_matches('/');
    let metrics = Metrics {
        asker: asker.clone(),
        url: format!("{root}/metrics"),
        instance: instance.name.clone(),
        arm: instance.arm.clone(),
    };
    let (began, health) = (Instant::now(), format!("{root}/health/live"));
    let alive = async { (asker.get(&health, None).await, began.elapsed()) };
    let ((alive, took), told) = tokio::join!(alive, source::ask(&metrics, span));
    let up = alive.as_ref().is_ok_and(|h| h.status < 500);
    let health = Heard {
        name: format!("health of {}", instance.name),
        kind: Kind::Health,
        took_s: took.as_secs_f64(),
        said: alive.map(|_| ()).map_err(|e| e.to_string()),
    };
    let said = told.answer.as_ref().map(|_| ()).map_err(ToString::to_string);
    let numbers = Heard { name: metrics.name(), kind: Kind::Metrics, took_s: told.took.as_secs_f64(), said };
    let mut sample = told.answer.ok().and_then(|mut s| s.pop()).unwrap_or_default();
    // The clock is judged by the moment of its own answer, the counters by the round's.
    if let Some(clock) = sample.get(Signal::Clock) {
        sample.set(Signal::Clock, clock - sample.at + at);
    }
    (sample.at, sample.instance, sample.arm) = (at, instance.name.clone(), instance.arm.clone());
    sample.set(Signal::Up, f64::from(u8::from(up)));
    Round { heard: vec![numbers, health], samples: vec![sample] }
}
