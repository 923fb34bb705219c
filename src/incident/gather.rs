//! Asks every source and the API itself at once, twice with the probe in between, and keeps what was heard.

use std::path::Path;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::change::{self, Change};
use super::scene::{Heard, Kind, Limits, Scene, UnitPrices};
use super::told_by::ToldBy;
use crate::load::dress::Tokens;
use crate::watch::cloud::Resources;
use crate::watch::error::WatchError;
use crate::watch::history::History;
use crate::watch::http::Asker;
use crate::watch::probe::{MakeToken, Probe};
use crate::watch::purse::{Purse, Spent};
use crate::watch::sample::{Sample, Signal};
use crate::watch::series::Series;
use crate::watch::source::{self, PATIENCE, Source, Span, Told};
use crate::watch::sources::metrics::{Metrics, now};
use crate::watch::sources::prometheus::Prometheus;
#[cfg(feature = "aws")]
use crate::watch::sources::{cloudwatch::CloudWatch, dynamodb::Table};

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
    /// Whether each instance tells its own numbers.
    pub metrics: bool,
    /// What AWS is asked; `None` where nobody named a region.
    pub cloud: Option<Cloud>,
    /// Where else changes are told: a file of lines, or a command that prints them.
    pub changes: Vec<ToldBy>,
    pub limits: Limits,
    /// Whom to call, the runbook, the dashboards: each as a person would say it.
    pub help: Vec<String>,
}

/// What is asked of AWS, and at what price.
#[derive(Clone, Debug, PartialEq)]
pub struct Cloud {
    pub region: String,
    /// Another address than AWS' own.
    pub endpoint: Option<String>,
    pub resources: Resources,
    /// Dollars a day that asking may cost.
    pub cap_usd: Option<f64>,
    pub prices: UnitPrices,
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

/// Sources with a past of their own: opened once, so that a watch asks only for what is new.
#[derive(Default)]
pub struct Far {
    sources: Vec<(Kind, Box<dyn Source>)>,
    #[cfg(feature = "aws")]
    cloudwatch: Option<Arc<CloudWatch>>,
    /// What is configured and cannot be asked at all.
    dumb: Vec<Heard>,
    purse: Option<Purse>,
}

impl Far {
    pub fn open(d: &Deployment, home: &Path) -> Self {
        let mut far = Self::default();
        let Some(cloud) = &d.cloud else { return far };
        let purse = Purse::of(home, &d.name, cloud.cap_usd);
        far.purse = Some(purse.clone());
        far.add(cloud, purse, d.limits.quantile);
        far
    }

    #[cfg(feature = "aws")]
    fn add(&mut self, cloud: &Cloud, purse: Purse, quantile: f64) {
        let queries = cloud.resources.queries(quantile);
        if !queries.is_empty() {
            let source = CloudWatch::new(cloud.region.clone(), cloud.endpoint.clone(), queries, purse);
            self.cloudwatch = Some(Arc::new(source));
        }
        if let Some(table) = cloud.resources.table.clone() {
            let (region, endpoint) = (cloud.region.clone(), cloud.endpoint.clone());
            self.sources.push((Kind::DynamoDb, Box::new(Table { region, endpoint, table })));
        }
    }

    #[cfg(not(feature = "aws"))]
    fn add(&mut self, cloud: &Cloud, _purse: Purse, _quantile: f64) {
        let said = Err("this build has no AWS client: build it with the feature `aws`".to_owned());
        let name = format!("CloudWatch in {}", cloud.region);
        self.dumb.push(Heard { name, kind: Kind::CloudWatch, took_s: 0.0, said });
    }

    /// What asking cost today, where it costs anything.
    pub fn spent(&self, now: f64) -> Option<Spent> {
        self.purse.as_ref().map(|p| p.spent(now))
    }

    async fn look(&self, span: Span) -> Round {
        #[cfg_attr(not(feature = "aws"), expect(unused_mut, reason = "only AWS adds to it"))]
        let mut asked: Vec<(Kind, &dyn Source)> = self.sources.iter().map(|(k, s)| (*k, s.as_ref())).collect();
        #[cfg(feature = "aws")]
        if let Some(source) = &self.cloudwatch {
            asked.push((Kind::CloudWatch, source.as_ref()));
        }
        let mut round = Round { heard: self.dumb.clone(), samples: Vec::new() };
        let answers = asked.iter().map(|(_, source)| source::ask(*source, span));
        for ((kind, _), told) in asked.iter().zip(all(answers).await) {
            round.heard.push(heard(*kind, &told));
            round.samples.extend(told.answer.unwrap_or_default());
        }
        #[cfg(feature = "aws")]
        if let Some(source) = &self.cloudwatch {
            let silent = source.silent().into_iter();
            let one = |why: String| Heard { name: source.name(), kind: Kind::CloudWatch, took_s: 0.0, said: Err(why) };
            round.heard.extend(silent.map(one));
        }
        round
    }
}

fn heard(kind: Kind, told: &Told) -> Heard {
    let said = told.answer.as_ref().map(|_| ()).map_err(ToString::to_string);
    Heard { name: told.source.clone(), kind, took_s: told.took.as_secs_f64(), said }
}

/// Waits for all at once; the answers come in the order of the questions.
async fn all<T>(asked: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut waiting: Vec<_> = asked.map(|f| (Box::pin(f), None)).collect();
    std::future::poll_fn(move |context| {
        let mut done = true;
        for (future, answer) in &mut waiting {
            if answer.is_none() {
                match future.as_mut().poll(context) {
                    Poll::Ready(value) => *answer = Some(value),
                    Poll::Pending => done = false,
                }
            }
        }
        if done { Poll::Ready(waiting.iter_mut().filter_map(|(_, a)| a.take()).collect()) } else { Poll::Pending }
    })
    .await
}

/// Looks at a target for a few seconds; `changes` are what the journals know.
pub async fn gather(d: &Deployment, home: &Path, since: Duration, changes: Vec<Change>) -> Result<Scene, WatchError> {
    let asker = Asker::new(PATIENCE)?;
    let far = Far::open(d, home);
    let began = now();
    let from = began - since.as_secs_f64();
    let history = History::of(home, &d.name);
    let past = history.read(began - FIVE_WEEKS_S)?;
    let started = Instant::now();
    let span = Span { from, to: began };
    let told = async { told_by(&d.changes, from).await };
    let (first, distant, (told, deaf)) = tokio::join!(look(d, &asker, span), far.look(span), told);
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
    let series = Series::new(past.into_iter().chain(fresh).chain(distant.samples));
    let mut changes: Vec<_> = change::seen(&series, from, now).into_iter().chain(changes).chain(told).collect();
    changes.sort_by(|a, b| b.at.total_cmp(&a.at));
    Ok(Scene {
        target: d.name.clone(),
        now,
        from,
        began,
        limits: d.limits,
        series,
        heard: [second.heard, distant.heard, deaf].concat(),
        spent: far.spent(now),
        prices: d.cloud.as_ref().map(|c| c.prices.clone()).unwrap_or_default(),
        probed: Some(probed),
        changes,
        help: d.help.clone(),
    })
}

/// Asks each source once, all at once, and returns how each did.
pub async fn reach(d: &Deployment, home: &Path) -> Result<Vec<Heard>, WatchError> {
    let to = now();
    let (asker, far) = (Asker::new(PATIENCE)?, Far::open(d, home));
    let span = Span { from: to - 300.0, to };
    let (near, distant, (_, deaf)) =
        tokio::join!(look(d, &asker, span), far.look(span), told_by(&d.changes, span.from));
    Ok([near.heard, distant.heard, deaf].concat())
}

/// Asks whoever tells of changes; who cannot is a source that says nothing.
async fn told_by(tellers: &[ToldBy], from: f64) -> (Vec<Change>, Vec<Heard>) {
    let (mut changes, mut deaf) = (Vec::new(), Vec::new());
    for told in all(tellers.iter().map(|teller| async move { (teller, teller.ask(from).await) })).await {
        match told {
            (_, Ok(more)) => changes.extend(more),
            (teller, Err(why)) => {
                deaf.push(Heard { name: teller.name(), kind: Kind::Changes, took_s: 0.0, said: Err(why) });
            }
        }
    }
    (changes, deaf)
}

/// What a watch hears in one moment.
pub struct Moment {
    /// One sample an instance, to be kept.
    pub samples: Vec<Sample>,
    /// What a source knows of the past as well, and keeps itself.
    pub distant: Vec<Sample>,
    pub heard: Vec<Heard>,
}

pub async fn sample(d: &Deployment, asker: &Asker, far: &Far) -> Moment {
    let to = now();
    let span = Span { from: to - 300.0, to };
    let (near, distant) = tokio::join!(look(d, asker, span), far.look(span));
    Moment { samples: near.samples, distant: distant.samples, heard: [near.heard, distant.heard].concat() }
}

async fn look(d: &Deployment, asker: &Asker, span: Span) -> Round {
    let at = now();
    let mut asked = tokio::task::JoinSet::new();
    for (place, instance) in d.instances.iter().cloned().enumerate() {
        let (asker, tells) = (asker.clone(), d.metrics);
        asked.spawn(async move { (place, ask_instance(&instance, tells, &asker, at, span).await) });
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
        round.heard.push(heard(Kind::Prometheus, &told));
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
async fn ask_instance(instance: &Instance, tells: bool, asker: &Asker, at: f64, span: Span) -> Round {
    let root = instance.url.trim_end_matches('/');
    let metrics = Metrics {
        asker: asker.clone(),
        url: format!("{root}/metrics"),
        instance: instance.name.clone(),
        arm: instance.arm.clone(),
    };
    let (began, health) = (Instant::now(), format!("{root}/health/live"));
    let alive = async { (asker.get(&health, None).await, began.elapsed()) };
    let numbers = async { if tells { Some(source::ask(&metrics, span).await) } else { None } };
    let ((alive, took), told) = tokio::join!(alive, numbers);
    let up = alive.as_ref().is_ok_and(|h| h.status < 500);
    let health = Heard {
        name: format!("health of {}", instance.name),
        kind: Kind::Health,
        took_s: took.as_secs_f64(),
        said: alive.map(|_| ()).map_err(|e| e.to_string()),
    };
    // A process that is gone cannot tell its numbers: that is no trouble of theirs.
    let kind = if health.said.is_err() { Kind::Gone } else { Kind::Metrics };
    let numbers = told.as_ref().map(|told| heard(kind, told));
    let mut sample = told.and_then(|t| t.answer.ok()?.pop()).unwrap_or_default();
    // The clock is judged by the moment of its own answer, the counters by the round's.
    if let Some(clock) = sample.get(Signal::Clock) {
        sample.set(Signal::Clock, clock - sample.at + at);
    }
    (sample.at, sample.instance, sample.arm) = (at, instance.name.clone(), instance.arm.clone());
    sample.set(Signal::Up, f64::from(u8::from(up)));
    Round { heard: numbers.into_iter().chain([health]).collect(), samples: vec![sample] }
}
