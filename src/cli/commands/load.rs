//! `serin load`: its flags, as a job.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::cli::aim::Aim;
use crate::cli::exit::Exit;
use crate::cli::headless;
use crate::cli::session::Session;
use crate::judge::objective::Objective;
use crate::load::engine::Spec;
use crate::load::evening::{Crowd, Evening};
use crate::load::library;
use crate::load::question::Kind;
use crate::load::scenario::Scenario;
use crate::load::schedule::{Schedule, Shard};
use crate::load::template::{Escape, Template};
use crate::load::wire::{MOST_STREAMS, STREAMS, Wire};
use crate::run::depot::Depot;
use crate::run::error::RunError;
use crate::run::jobs;
use crate::stats::units::parse_duration;

const DURATION: Duration = Duration::from_secs(30);
/// How many `--rate max` uses, all at once.
const CONNECTIONS_MAX: u32 = 64;

/// Run a scenario against a target
///
/// The schedule is fixed before the run and never shifts: a request that the target keeps waiting counts from the moment
/// it was due. The exit code is the verdict: 0 go, 1 no, 3 cannot tell.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  serin load evening-peak --target local
  serin load --url http://127.0.0.1:7070/v1/popular --rate 500 --duration 30s --objective 'p99 < 120ms'
  serin load --url http://127.0.0.1:7070/health/live --rate max --connections 64 --duration 10s
  serin load viewing-evening --target local --users 200 --duration 5m")]
pub struct Load {
    /// A scenario file, or the name of a built-in one: evening-short, evening-peak, viewing-evening, ramp, spike, soak, personalize-wall
    #[arg(value_name = "SCENARIO.toml")]
    pub scenario: Option<PathBuf>,
    #[command(flatten)]
    pub aim: Aim,
    #[command(flatten)]
    pub how: How,
    /// Requests a second on a fixed schedule, or `max`: every connection asks again as soon as it is answered
    #[arg(long, value_name = "R|max", value_parser = parse_rate)]
    pub rate: Option<Rate>,
    /// So many viewers at once, each asking, thinking and asking again: the steps of the scenario, or its mix
    #[arg(long, value_name = "N", conflicts_with = "rate", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub users: Option<u32>,
    /// How long they think between requests, on average, instead of what the scenario says
    #[arg(long, value_name = "TIME", value_parser = parse_duration, requires = "users")]
    pub think: Option<Duration>,
    /// How long, with --rate or --users
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub duration: Option<Duration>,
    /// Take one part of the schedule, 2/8: eight such runs together send the whole
    #[arg(long, value_name = "N/OF", value_parser = parse_shard)]
    pub shard: Option<Shard>,
    /// Begin at this moment, such as 2026-11-23T20:25:10Z, so that shards on many machines begin as one
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    pub at: Option<SystemTime>,
    /// Bring the run to an object store when it has ended, s3://bucket/prefix or file:///folder; `serin report merge URL`
    /// makes one run of the shards there
    #[arg(long, value_name = "URL")]
    pub keep: Option<String>,
    /// Where the folder of the run is made
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// What any load takes beside its target and its schedule.
#[derive(clap::Args, Clone, Debug)]
pub struct How {
    /// The most connections held at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub connections: Option<u32>,
    /// What must hold, such as 'p99 < 120ms', 'errors < 1%', 'in time > 99%'; may be given several times
    #[arg(long = "objective", value_name = "'P99 < 120MS'", value_parser = Objective::parse)]
    pub objectives: Vec<Objective>,
    /// Close a connection after so many answers and open another one
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub requests_per_connection: Option<u32>,
    /// Speak HTTP/2: agreed on under https, known beforehand under http
    #[arg(long)]
    pub http2: bool,
    /// How many requests share an HTTP/2 connection at once; 100 on a schedule, 1 with --rate max
    #[arg(long, value_name = "N", requires = "http2", value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_STREAMS)))]
    pub streams: Option<u32>,
    /// When an answer is given up
    #[arg(long, value_name = "TIME", value_parser = parse_timeout)]
    pub timeout: Option<Duration>,
    /// What decides viewers, mix and chance
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    Fixed(f64),
    Max,
}

impl Load {
    pub fn run(self, session: &Session) -> Result<Exit, RunError> {
        let mut spec = self.spec(session)?;
        if let Some(at) = self.at {
            if at <= SystemTime::now() {
                return Err(RunError::misuse("the moment of --at is over: this part of the load would come too late"));
            }
            spec.begins = Some(at);
        }
        // A place that cannot be written to is found before the load, not after it.
        let depot = self.keep.as_deref().map(Depot::open).transpose()?;
        let Shard { part, of } = spec.shard;
        let running = session.start(Box::new(jobs::load::Load { spec }), self.out.as_deref())?;
        let folder = running.folder.clone();
        let exit = headless::run(running, &session.global)?;
        if let Some((depot, folder)) = depot.zip(folder) {
            let name = folder.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            depot.keep(&folder, &format!("{name}-{}-of-{of}", part + 1))?;
        }
        Ok(exit)
    }

    fn spec(&self, session: &Session) -> Result<Spec, RunError> {
        let mut spec = spec(self.scenario.as_deref(), &self.aim, &self.how, session)?;
        if let Some(users) = self.users {
            let own = spec.schedule.duration();
            let lasts = self.duration.unwrap_or(if own.is_zero() { DURATION } else { own });
            let evening = self.think.map_or(spec.evening.clone(), Evening::thinking);
            spec.schedule = Schedule::Users(Crowd { users, lasts, evening });
        }
        match self.rate {
            Some(Rate::Fixed(rate)) => {
                let lasts = self.duration.unwrap_or(DURATION);
                spec.schedule = Schedule::constant(rate, lasts);
            }
            Some(Rate::Max) => {
                spec.schedule = Schedule::Max(self.duration.unwrap_or(DURATION));
                spec.connections = self.how.connections.unwrap_or(CONNECTIONS_MAX);
                if let Some(streams) = &mut spec.wire.streams {
                    *streams = self.how.streams.unwrap_or(1);
                }
            }
            None if self.users.is_some() => {}
            None if self.scenario.is_none() => {
                let hint = "name a scenario (serin load evening-peak), or give a rate: --url URL --rate 500 --duration 30s, or --users 50";
                return Err(RunError::misuse("nothing says how much to send").hint(hint));
            }
            None if self.duration.is_some() => {
                let cause = "--duration goes with --rate or --users; a scenario says itself how long it lasts";
                return Err(RunError::misuse(cause));
            }
            None => {}
        }
        if spec.schedule.duration().is_zero() {
            return Err(RunError::misuse("--duration is zero: nothing would be sent"));
        }
        spec.shard = self.shard.unwrap_or_default();
        self.aim.find(session)?.check_rate(spec.schedule.peak() / spec.shard.of as f64)?;
        Ok(spec)
    }
}

/// Returns a load of a scenario, or of one address alone; its rate is not yet checked against the target's ceiling.
pub fn spec(scenario: Option<&Path>, aim: &Aim, how: &How, session: &Session) -> Result<Spec, RunError> {
    let mut aimed = aim.find(session)?;
    let mut scenario = match scenario {
        Some(asked) => library::open(asked)?,
        None => single(&std::mem::replace(&mut aimed.address.path, "/".to_owned()))?,
    };
    // What was typed wins over what was written.
    let written = std::mem::replace(&mut scenario.headers, aimed.headers);
    let more = written.into_iter().filter(|(n, _)| !aimed_has(&scenario.headers, n)).collect::<Vec<_>>();
    scenario.headers.extend(more);
    scenario.seed = how.seed.or(scenario.seed);
    scenario.connections = how.connections.or(scenario.connections);
    scenario.timeout = how.timeout.or(scenario.timeout);
    scenario.wire.per_connection = how.requests_per_connection.or(scenario.wire.per_connection);
    if how.http2 {
        scenario.wire.streams = Some(how.streams.or(scenario.wire.streams).unwrap_or(STREAMS));
    }
    if !how.objectives.is_empty() {
        scenario.objectives.clone_from(&how.objectives);
    }
    let asks = scenario.kinds.iter_mut().any(Kind::asks_campaign);
    match &aimed.campaign {
        Some(campaign) => scenario.kinds.iter_mut().for_each(|k| k.settle(campaign)),
        None if asks && !aimed.address.is_loopback() => {
            let cause = format!("this scenario asks a campaign, and nothing says which one answers at {}", aimed.name);
            return Err(RunError::misuse(cause).hint("give --campaign ARN, or `campaign` for the target in serin.toml"));
        }
        None => {}
    }
    Ok(Spec {
        trust: aimed.trust,
        signing: aimed.signing,
        ..Spec::of(scenario, &aimed.name, aimed.address, aimed.tokens)
    })
}

fn aimed_has(headers: &[(String, String)], name: &str) -> bool {
    headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name))
}

/// One address, asked again and again.
fn single(path: &str) -> Result<Scenario, RunError> {
    let template = Template::compile(&path.replace('{', "%7B"), Escape::Url, &[]).map_err(RunError::misuse)?;
    let name = format!("GET {}", path.split('?').next().unwrap_or_default());
    let kind = Kind {
        name: name.clone(),
        weight: 1.0,
        method: "GET",
        path: template,
        headers: Vec::new(),
        body: None,
        check: None,
    };
    Ok(Scenario {
        name,
        seed: None,
        timeout: None,
        connections: None,
        schedule: Schedule::Stages(Vec::new()),
        objectives: Vec::new(),
        headers: Vec::new(),
        kinds: vec![kind],
        audience: None,
        rows: Arc::default(),
        evening: None,
        wire: Wire::default(),
        tokens: None,
    })
}

fn parse_moment(text: &str) -> Result<SystemTime, String> {
    let wrong = |e: jiff::Error| format!("`{text}` is no moment; write for example 2026-11-23T20:25:10Z: {e}");
    let at = text.parse::<jiff::Timestamp>().map_err(wrong)?.as_nanosecond();
    Ok(SystemTime::UNIX_EPOCH + Duration::from_nanos(u64::try_from(at).unwrap_or(0)))
}

pub fn parse_rate(text: &str) -> Result<Rate, String> {
    if text == "max" {
        return Ok(Rate::Max);
    }
    let rate: f64 =
        text.trim_end_matches("/s").parse().map_err(|_| format!("`{text}` is neither a number nor `max`"))?;
    match rate {
        r if !r.is_finite() || r < 0.0 => Err(format!("`{text}` is not a rate")),
        0.0 => Err("a rate of zero sends nothing".to_owned()),
        r if r > 10_000_000.0 => Err(format!("`{text}` is over ten million requests a second")),
        r => Ok(Rate::Fixed(r)),
    }
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    let timeout = parse_duration(text)?;
    if timeout < Duration::from_millis(1) || timeout > Duration::from_hours(1) {
        return Err(format!("`{text}` is outside 1 ms to 1 h"));
    }
    Ok(timeout)
}

fn parse_shard(text: &str) -> Result<Shard, String> {
    let wrong = || format!("`{text}` is no shard; write for example 2/8, from 1/8 to 8/8");
    let (part, of) = text.split_once('/').ok_or_else(wrong)?;
    let (part, of): (u64, u64) = (part.parse().map_err(|_| wrong())?, of.parse().map_err(|_| wrong())?);
    if part == 0 || part > of || of > 10_000 {
        return Err(wrong());
    }
    Ok(Shard { part: part - 1, of })
}
