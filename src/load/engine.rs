//! A load, wholly stated, to ticks and a summary: checks that the target is there, starts the workers, folds what they see.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::dress::{Dress, Tokens};
use super::engines::order::{Order, Report};
use super::engines::paced::Worker;
use super::engines::viewers;
use super::error::LoadError;
use super::evening::Evening;
use super::fold::{Ending, Fold};
use super::machine;
use super::question::Asker;
use super::resolver::{self, Addresses};
use super::scenario::Scenario;
use super::schedule::{Schedule, Shard};
use super::sign::Signing;
use super::summary::LoadSummary;
use super::target::Address;
use super::tick::{LoadPlan, Tick};
use super::tls::{Secure, Trust};
use super::wire::Wire;
use crate::judge::objective::{IMPLIED, Objective};
use crate::stop::Stop;

/// Everything that a run is.
#[derive(Clone)]
pub struct Spec {
    /// The scenario's name, for people.
    pub name: String,
    /// What the target is called, for people.
    pub target: String,
    pub address: Address,
    /// Headers of the user's own, on every request.
    pub headers: Vec<(String, String)>,
    pub tokens: Option<Tokens>,
    /// Instead of tokens, where AWS answers.
    pub signing: Option<Signing>,
    pub asker: Arc<dyn Asker>,
    pub schedule: Schedule,
    /// What `--users` live through.
    pub evening: Evening,
    /// The most connections held at once; an open run opens them as they are needed.
    pub connections: u32,
    pub timeout: Duration,
    /// Empty: the implied ones.
    pub objectives: Vec<Objective>,
    pub seed: u64,
    pub shard: Shard,
    /// Certificates, where the address is https.
    pub trust: Trust,
    pub wire: Wire,
    /// When the first request's time begins, so that shards on many machines begin as one; at once without it.
    pub begins: Option<SystemTime>,
}

/// What decides viewers, mix and chance, unless said otherwise.
pub const SEED: u64 = 7;
/// When an answer is given up, unless said otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// An open run opens them as it needs them.
pub const CONNECTIONS: u32 = 1000;
/// The same where many requests share one.
const CONNECTIONS_SHARED: u32 = 10;

impl Spec {
    /// Returns the load of a scenario as it is written; headers of its own, tokens as given.
    pub fn of(scenario: Scenario, target: &str, address: Address, tokens: Option<Tokens>) -> Self {
        let seed = scenario.seed.unwrap_or(SEED);
        Self {
            name: scenario.name.clone(),
            target: target.to_owned(),
            address,
            headers: scenario.headers.clone(),
            tokens: scenario.tokens.clone().or(tokens),
            signing: None,
            asker: Arc::new(scenario.mix(seed)),
            schedule: scenario.schedule.clone(),
            evening: scenario.evening.clone().unwrap_or_default(),
            connections: scenario.connections.unwrap_or(if scenario.wire.streams.is_some() {
                CONNECTIONS_SHARED
            } else {
                CONNECTIONS
            }),
            timeout: scenario.timeout.unwrap_or(TIMEOUT),
            objectives: scenario.objectives,
            seed,
            shard: Shard::default(),
            trust: Trust::default(),
            wire: scenario.wire,
            begins: None,
        }
    }
}

/// The most of one answer's body that is read.
const BODY_LIMIT: u64 = 64 << 20;
/// What one worker can send without being late.
const RATE_OF_A_WORKER: f64 = 40_000.0;

/// What a run tells as it goes.
pub enum Told {
    Plan(LoadPlan),
    Tick(Box<Tick>),
    /// A sentence for a person.
    Said(String),
}

/// Runs to the end, or until stopped; an unreachable target is a summary that cannot tell, not an error.
pub fn run(spec: &Spec, stop: &Stop, tell: &mut dyn FnMut(Told)) -> Result<LoadSummary, LoadError> {
    let implied = spec.objectives.is_empty();
    let objectives = if implied { implied_objectives()? } else { spec.objectives.clone() };
    let endpoints = spec.asker.endpoints();
    let stages = spec.schedule.stages();
    check_scopes(&objectives, &endpoints, stages.iter().map(|s| s.name.as_str()))?;
    let workers = workers(&spec.schedule, spec.connections);
    let sockets = if let Schedule::Users(crowd) = &spec.schedule { crowd.users } else { spec.connections };
    let Shard { part, of } = spec.shard;
    let plan = LoadPlan {
        shard: if of > 1 { format!("{}/{of}", part + 1) } else { String::new() },
        scenario: spec.name.clone(),
        target: spec.target.clone(),
        seed: spec.seed,
        duration_s: spec.schedule.duration().as_secs_f64(),
        endpoints,
        stages,
        objectives: objectives.iter().map(ToString::to_string).collect(),
        implied,
        model: spec.schedule.model().to_owned(),
        connections: sockets,
        workers,
        began_ms: unix_ms(spec.begins.unwrap_or_else(SystemTime::now)),
    };
    if spec.wire.streams.is_some() && matches!(spec.schedule, Schedule::Users(_)) {
        return Err(LoadError::Asked(
            "viewers with --users speak HTTP/1.1, one connection each: leave HTTP/2 away".to_owned(),
        ));
    }
    if plan.duration_s <= 0.0 {
        return Err(LoadError::Asked("the schedule holds no request".to_owned()));
    }
    let secure = if spec.address.tls {
        Some(Secure::new(&spec.trust, &spec.address.host, spec.wire.streams.map(|_| &b"h2"[..]))?)
    } else {
        None
    };
    let churn = spec.wire.per_connection.map(|answers| spec.schedule.peak() / f64::from(answers));
    for warning in machine::prepare(sockets, churn.filter(|rate| rate.is_finite())) {
        tell(Told::Said(warning));
    }
    tell(Told::Plan(plan.clone()));
    let mut fold = Fold::new(plan.clone(), objectives);
    let addresses = match reach(&spec.address, spec.timeout) {
        Ok(addresses) => addresses,
        Err(why) => {
            tell(Told::Said(why.clone()));
            return Ok(fold.summary(Ending { broken: Some(why), ..Ending::default() }));
        }
    };
    let begin = wait_for(spec.begins, stop, tell);
    if stop.requested() {
        return Ok(fold.summary(Ending { stopped: true, ..Ending::default() }));
    }
    let addresses = Arc::new(Addresses::new(addresses));
    let resolving = resolver::keep_fresh(&addresses, &spec.address, spec.wire.resolve);
    resolving.map_err(|source| LoadError::System { what: "cannot start a thread".to_owned(), source })?;
    let halt = Arc::new(AtomicBool::new(false));
    let order = Arc::new(Order {
        asker: Arc::clone(&spec.asker),
        schedule: spec.schedule.clone(),
        seed: spec.seed,
        addresses: Arc::clone(&addresses),
        stages: plan.stages.len(),
        secure,
        timeout: spec.timeout,
        body_limit: BODY_LIMIT,
        per_connection: spec.wire.per_connection,
        streams: spec.wire.streams,
        begin: begin.max(Instant::now() + READY),
        stop: stop.clone(),
        halt: Arc::clone(&halt),
    });
    let reports = start(spec, &order, workers)?;
    // A shard sends its part of each stage, give or take one.
    let part = |n: u64| if spec.shard.of > 1 { n / spec.shard.of + 1 } else { n };
    let wanted = spec.objectives.iter().any(|o| o.abort);
    let planned: Vec<u64> =
        if wanted { spec.schedule.planned_by_stage().into_iter().map(part).collect() } else { Vec::new() };
    let mut ending = Ending::default();
    let mut steal = machine::Steal::default();
    let mut clock = machine::Clocks::default();
    let grain = machine::clock_grain();
    let threads = if matches!(spec.schedule, Schedule::Users(_)) { 1 } else { workers };
    let broke = gather(&reports, threads, |mut tick| {
        tick.generator.steal_share = steal.share();
        (tick.generator.slept_s, tick.generator.clock_step_s) = clock.look();
        tick.generator.clock_grain_ms = if grain < TOLD_GRAIN { 0.0 } else { grain.as_secs_f64() * 1e3 };
        fold.add(&tick);
        if let (None, Some(lost)) = (&ending.lost, fold.lost(&planned)) {
            ending.lost = Some(lost.to_string());
            halt.store(true, Ordering::Release);
            tell(Told::Said(format!("lost for certain: {lost}; nothing more is sent")));
        }
        tell(Told::Tick(tick));
    });
    ending.stopped = stop.requested() && ending.lost.is_none();
    ending.broken = broke.map(|e| format!("the generator broke down: {e}"));
    Ok(fold.summary(ending))
}

/// A finer clock is no matter.
const TOLD_GRAIN: Duration = Duration::from_micros(10);
/// Far enough ahead that every worker stands ready when the first request is due.
const READY: Duration = Duration::from_millis(20);
/// What is left of the wait when the workers are made.
const SOON: Duration = Duration::from_millis(300);

/// Waits until shortly before the moment that was agreed on, or until stopped; returns that moment.
fn wait_for(begins: Option<SystemTime>, stop: &Stop, tell: &mut dyn FnMut(Told)) -> Instant {
    let left = || begins.and_then(|at| at.duration_since(SystemTime::now()).ok()).unwrap_or_default();
    if left() > Duration::from_secs(2) {
        tell(Told::Said(format!("begins in {} s", left().as_secs())));
    }
    // The wall clock is asked again and again: it may be set meanwhile.
    while left() > SOON && !stop.requested() {
        thread::sleep((left().saturating_sub(SOON)).min(Duration::from_millis(50)));
    }
    Instant::now() + left()
}

fn unix_ms(at: SystemTime) -> i64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}

fn implied_objectives() -> Result<Vec<Objective>, LoadError> {
    IMPLIED.iter().map(|text| Objective::parse(text)).collect::<Result<_, _>>().map_err(LoadError::Asked)
}

fn check_scopes<'a>(
    objectives: &[Objective],
    endpoints: &[String],
    stages: impl Iterator<Item = &'a str> + Clone,
) -> Result<(), LoadError> {
    for objective in objectives {
        let known = |what: &str, name: &Option<String>, all: &[&str]| match name {
            Some(name) if !all.contains(&name.as_str()) => {
                let near = crate::toml_file::nearest(name, all.iter().copied());
                let hint = near.map_or(format!("known: {}", all.join(", ")), |n| format!("did you mean `{n}`?"));
                Err(LoadError::Asked(format!("`{objective}`: there is no {what} `{name}`; {hint}")))
            }
            _ => Ok(()),
        };
        let names: Vec<&str> = endpoints.iter().map(String::as_str).collect();
        known("endpoint", &objective.endpoint, &names)?;
        known("stage", &objective.stage, &stages.clone().collect::<Vec<_>>())?;
    }
    Ok(())
}

fn workers(schedule: &Schedule, connections: u32) -> u32 {
    let cores = thread::available_parallelism().map_or(1, usize::from) as u32;
    if matches!(schedule, Schedule::Users(_)) {
        return cores;
    }
    let needed = (schedule.peak() / RATE_OF_A_WORKER).ceil().clamp(1.0, 256.0) as u32;
    needed.min(cores).min(connections).max(1)
}

/// Looks whether anybody is there, so that a wrong address is one clear sentence and not a run of errors.
fn reach(address: &Address, timeout: Duration) -> Result<Vec<std::net::SocketAddr>, String> {
    let origin = address.origin();
    let found = address.resolve().map_err(|e| format!("cannot reach {origin}: its name is not resolved: {e}"))?;
    let mut last = None;
    let mut good = Vec::new();
    for to in found {
        match TcpStream::connect_timeout(&to, timeout.min(Duration::from_secs(5))) {
            Ok(_) => good.push(to),
            Err(e) => last = Some(format!("cannot reach {origin} ({to}): {e}")),
        }
    }
    match last {
        Some(why) if good.is_empty() => Err(why),
        _ => Ok(good),
    }
}

fn start(spec: &Spec, order: &Arc<Order>, workers: u32) -> Result<Receiver<(usize, Report)>, LoadError> {
    let system = |what: &str| {
        let what = what.to_owned();
        move |source| LoadError::System { what, source }
    };
    let dress =
        Dress::new(&spec.address, &spec.headers, spec.tokens.clone())?.signed(spec.signing.clone(), &spec.address);
    let (to, reports) = mpsc::channel();
    let spawn = |work: Box<dyn FnOnce() + Send>| {
        let thread = thread::Builder::new().name("load".to_owned()).spawn(work);
        thread.map(drop).map_err(system("cannot start a thread"))
    };
    if let Schedule::Users(crowd) = &spec.schedule {
        let (order, crowd, shard) = (Arc::clone(order), crowd.clone(), spec.shard);
        spawn(Box::new(move || viewers::live(order, crowd, &dress, shard, &to)))?;
        return Ok(reports);
    }
    let mut ready = Vec::new();
    for number in 0..workers {
        let shard = spec.shard.split(u64::from(number), u64::from(workers));
        let own = spec.connections / workers + u32::from(number < spec.connections % workers);
        let worker = Worker::new(Arc::clone(order), dress.clone(), shard, own as usize, (number as usize, to.clone()));
        ready.push(worker.map_err(system("the kernel gives no epoll"))?);
    }
    for worker in ready {
        spawn(Box::new(move || worker.run()))?;
    }
    Ok(reports)
}

/// Puts the workers' seconds together, in order; returns what broke, if anything did.
fn gather(
    reports: &Receiver<(usize, Report)>,
    workers: u32,
    mut each: impl FnMut(Box<Tick>),
) -> Option<std::io::Error> {
    let mut open: BTreeMap<u32, Box<Tick>> = BTreeMap::new();
    // How many seconds each worker has told; one that is done holds nobody up.
    let mut told = vec![0; workers as usize];
    let mut broke = None;
    while told.iter().any(|t| *t < u32::MAX) {
        let tick = match reports.recv() {
            Ok((worker, Report::Second(tick))) => {
                told[worker] = tick.second + 1;
                tick
            }
            Ok((worker, Report::Last(tick, error))) => {
                told[worker] = u32::MAX;
                broke = broke.or(error);
                tick
            }
            Err(_) => {
                broke = broke.or_else(|| Some(std::io::Error::other("a worker ended without a word")));
                break;
            }
        };
        match open.get_mut(&tick.second) {
            Some(whole) => whole.merge(&tick),
            None => {
                open.insert(tick.second, tick);
            }
        }
        let whole = told.iter().copied().min().unwrap_or(0);
        while open.first_key_value().is_some_and(|(second, _)| *second < whole) {
            open.pop_first().into_iter().for_each(|(_, tick)| each(tick));
        }
    }
    open.into_values().for_each(each);
    broke
}
