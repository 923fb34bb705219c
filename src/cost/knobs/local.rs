//! The table of the local stack, or its replicas, turned while demand is played: days in seconds, each read a real request.
//!
//! A request says at which moment of the played demand it is and how many units it stands for; the stack's own limiter
//! takes them. Played time waits for the answers, so that a laptop that stalls throttles nobody. A replica is a process
//! of its own whose limiter keeps one second of what one carries: each gets its share of every second that is played.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use reqwest::Client;
use serde::Deserialize;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::cost::aws::cause;
use crate::cost::demand::{Demand, shown};
use crate::cost::knob::{Knob, KnobError, Look, Rhythm, nap};
use crate::load::dress::Tokens;
use crate::serve::practice::PLAYED;
use crate::serve::replicas::Replica;
use crate::serve::stack::StackSpec;
use crate::stop::Stop;

const ANSWER: Duration = Duration::from_secs(10);
/// A piece of demand above the capacity is no longer than this: the guard looks after each.
const SHORT_S: f64 = 10.0;
const LONG_S: f64 = 300.0;
/// Requests of a long piece at no demand and, besides, at the highest; a short one has one.
const REQUESTS: (f64, f64) = (1.0, 3.0);
/// A token lives for a quarter of an hour.
const TOKEN: Duration = Duration::from_secs(600);
/// The p99 is that of so many last answers, and unknown below the second number of them.
const RECENT: (usize, usize) = (1_000, 200);
/// Viewers of the demo platform.
const VIEWERS: u64 = 20_000;

/// The most replicas that one machine is asked for.
const MOST_REPLICAS: u64 = 24;

/// Where the stack is, and how its tokens are made.
pub struct Place {
    pub url: String,
    pub tokens: Tokens,
    /// What replicas serve, where they are turned; else the table is.
    pub replicas: Option<StackSpec>,
}

pub struct Local {
    place: Place,
    running: Vec<Replica>,
    token: Option<(String, Instant)>,
    client: Client,
    runtime: Runtime,
    demand: Demand,
    per_request: f64,
    highest: f64,
    /// How much faster than life it goes.
    speed: f64,
    began: Instant,
    from: f64,
    /// The moment that is played, and the sample it lies in.
    at: f64,
    next: usize,
    capacity: f64,
    gap: Option<f64>,
    seen: Seen,
    recent: VecDeque<f64>,
    asked: u64,
    /// What the table had refused when it was asked last.
    refused: f64,
}

#[derive(Debug, Default)]
struct Seen {
    seconds: f64,
    units: f64,
    throttled: f64,
    answers: u64,
    errors: u64,
    failed: Option<String>,
    /// Whether the stack has to be asked how much of what was throttled did not pass.
    some: bool,
}

/// What the stack says of its table.
#[derive(Debug, Deserialize)]
struct Table {
    capacity: Option<f64>,
    played: bool,
    /// Units that did not pass since the table was set up.
    #[serde(default)]
    refused: f64,
}

/// One answer: how long it took, and whether its read was throttled.
type Answer = Result<(f64, bool), String>;

impl Local {
    /// Sets the table to `start` and stands at the beginning of the demand.
    pub fn open(place: Place, demand: Demand, per_request: f64, start: u64, play: Duration) -> Result<Self, KnobError> {
        let unfit = |e: String| KnobError::Unfit(e);
        let (Some(first), Some(last)) = (demand.samples.first(), demand.samples.last()) else {
            return Err(unfit(format!("{}: holds no demand to play", demand.name)));
        };
        let (from, until) = (first.from, last.until);
        let speed = (until - from) / play.as_secs_f64().max(1e-3);
        let highest = demand.samples.iter().map(|s| s.reads).fold(1e-9, f64::max);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let mut new = Self {
            place,
            running: Vec::new(),
            token: None,
            client: Client::builder().timeout(ANSWER).build().map_err(|e| unfit(e.to_string()))?,
            runtime: runtime.map_err(|e| unfit(e.to_string()))?,
            demand,
            per_request,
            highest,
            speed,
            began: Instant::now(),
            from,
            at: from,
            next: 0,
            capacity: start as f64,
            gap: None,
            seen: Seen::default(),
            recent: VecDeque::new(),
            asked: 0,
            refused: 0.0,
        };
        if new.place.replicas.is_none() {
            // What another play left behind is no capacity of this one.
            new.table(&new.place.url.clone(), reqwest::Method::DELETE, "")?;
        }
        new.turn(start)?;
        Ok(new)
    }

    pub fn from(&self) -> f64 {
        self.from
    }

    fn failed(&self, why: impl Into<String>) -> KnobError {
        KnobError::Failed { what: self.name(), why: why.into() }
    }

    fn token(&mut self) -> Result<String, KnobError> {
        if let Some((token, _)) = self.token.as_ref().filter(|(_, at)| at.elapsed() < TOKEN) {
            return Ok(token.clone());
        }
        let now = jiff::Timestamp::now().as_second().unsigned_abs();
        let token = self.place.tokens.mint("serin", now).map_err(|e| self.failed(e.to_string()))?;
        self.token = Some((token.clone(), Instant::now()));
        Ok(token)
    }

    fn table(&mut self, at: &str, method: reqwest::Method, query: &str) -> Result<Table, KnobError> {
        let url = format!("{at}/practice/table{query}");
        let request = self.client.request(method, url).bearer_auth(self.token()?);
        let answer = self.runtime.block_on(async { request.send().await?.error_for_status()?.text().await });
        let text = answer.map_err(|e| self.failed(cause(&e)))?;
        serde_json::from_str(&text).map_err(|_| self.failed(format!("tells no table: {text}")))
    }

    fn turn(&mut self, to: u64) -> Result<(), KnobError> {
        let at = self.at;
        match self.place.replicas.clone() {
            Some(spec) => self.replicas(&spec, to)?,
            None => {
                let query = format!("?capacity={to}&played_at={at}");
                self.table(&self.place.url.clone(), reqwest::Method::POST, &query)?;
            }
        }
        self.capacity = to as f64;
        Ok(())
    }

    /// Starts or ends processes until there are as many as asked; a new one carries one unit a second.
    fn replicas(&mut self, spec: &StackSpec, to: u64) -> Result<(), KnobError> {
        if to > MOST_REPLICAS {
            let what = format!("{to} replicas are more than one machine is asked for: at most {MOST_REPLICAS}");
            return Err(KnobError::Unfit(what));
        }
        self.running.truncate(to as usize);
        while (self.running.len() as u64) < to {
            let one = Replica::start(spec).map_err(|e| self.failed(e.to_string()))?;
            let query = format!("?capacity=1&burst_s=1&played_at={}", self.at);
            self.table(&one.url, reqwest::Method::POST, &query)?;
            self.running.push(one);
        }
        Ok(())
    }

    /// Where the requests of a piece go, and how many units each stands for.
    fn shares(&self, reads: f64, seconds: f64) -> (Vec<String>, f64) {
        if self.place.replicas.is_some() {
            let to: Vec<String> = self.running.iter().map(|r| r.url.clone()).collect();
            let each = reads * self.per_request / (to.len() as f64).max(1.0);
            return (to, each);
        }
        let many = if seconds > SHORT_S { REQUESTS.0 + REQUESTS.1 * reads / self.highest } else { 1.0 };
        let many = many.round();
        (vec![self.place.url.clone(); many as usize], reads * self.per_request * seconds / many)
    }

    /// Plays a piece of constant demand as a few requests, each for its part of it.
    fn piece(&mut self, reads: f64, until: f64) -> Result<(), KnobError> {
        let seconds = until - self.at;
        let (to, units) = self.shares(reads, seconds);
        let many = to.len() as u64;
        let each = reads * seconds / many.max(1) as f64;
        let (from, token) = (self.at, self.token()?);
        let (client, asked) = (&self.client, self.asked);
        // A table takes what flowed in this piece; a replica one second of it.
        let flow =
            if self.place.replicas.is_some() { String::new() } else { format!(";{:.3}", seconds / many.max(1) as f64) };
        let answers: Vec<Answer> = self.runtime.block_on(async {
            let mut all = JoinSet::new();
            for (i, url) in to.iter().enumerate() {
                let moment = from + (i as f64 + 1.0) / many as f64 * seconds;
                // Every viewer comes, in no order that a cache could like.
                let viewer = (asked + i as u64).wrapping_mul(7_919) % VIEWERS;
                let request = client.get(format!("{url}/v1/recommendations/u{viewer}?limit=20")).bearer_auth(&token);
                all.spawn(answer(request.header(PLAYED, format!("{moment:.3};{units:.3}{flow}"))));
            }
            all.join_all().await
        });
        self.asked += many;
        self.at = until;
        self.seen.seconds += seconds;
        self.seen.units += reads * seconds * self.per_request;
        for answer in answers {
            match answer {
                Ok((ms, throttled)) => {
                    self.seen.throttled += if throttled { each } else { 0.0 };
                    self.seen.some |= throttled;
                    self.recent.push_back(ms);
                }
                Err(why) => {
                    self.seen.errors += 1;
                    self.seen.failed = Some(why);
                }
            }
            self.seen.answers += 1;
        }
        while self.recent.len() > RECENT.0 {
            self.recent.pop_front();
        }
        Ok(())
    }

    fn p99_ms(&self) -> Option<f64> {
        if self.recent.len() < RECENT.1 {
            return None;
        }
        let mut sorted: Vec<f64> = self.recent.iter().copied().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        sorted.get(sorted.len() * 99 / 100).copied()
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let began = Instant::now();
    let told = async {
        let answer = request.send().await?.error_for_status()?;
        answer.bytes().await
    };
    let body = told.await.map_err(|e| cause(&e))?;
    // A throttled read is answered with what everybody gets, and says so at its end.
    let throttled = body.ends_with(b"\"degraded\":true}");
    Ok((began.elapsed().as_secs_f64() * 1_000.0, throttled))
}

impl Knob for Local {
    fn name(&self) -> String {
        match self.place.replicas {
            Some(_) => "the replicas of the local stack".to_owned(),
            None => format!("the table of the local stack at {}", self.place.url),
        }
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(30)
    }

    fn rhythm(&self) -> Rhythm {
        // An hour of the journal is a fraction of a second of the clock.
        let until = self.demand.samples.last().map(|s| s.until);
        Rhythm {
            read: Duration::from_secs(1),
            piece_s: 6.0 * 3_600.0,
            broken_s: Some(6.0 * 3_600.0),
            late_s: 0.0,
            until,
        }
    }

    fn now(&self) -> f64 {
        self.at
    }

    fn pass(&mut self, stop: &Stop) -> Result<bool, KnobError> {
        let Some(sample) = self.demand.samples.get(self.next).copied() else { return Ok(false) };
        if sample.from > self.at + 1e-6 {
            self.gap = Some(self.at);
            self.at = sample.from;
            return Ok(true);
        }
        let longest = if sample.reads * self.per_request > self.capacity { SHORT_S } else { LONG_S };
        let until = sample.until.min(self.at + longest);
        self.piece(sample.reads, until)?;
        if until >= sample.until - 1e-6 {
            self.at = sample.until;
            self.next += 1;
        }
        let due = Duration::from_secs_f64((self.at - self.from) / self.speed);
        nap(due.saturating_sub(self.began.elapsed()), stop);
        Ok(self.next < self.demand.samples.len())
    }

    fn read(&mut self) -> Result<u64, KnobError> {
        if self.place.replicas.is_some() {
            return Ok(self.running.iter_mut().map(|r| u64::from(r.is_alive())).sum());
        }
        let table = self.table(&self.place.url.clone(), reqwest::Method::GET, "")?;
        let units = table.capacity.filter(|_| table.played);
        let units = units.ok_or_else(|| self.failed("its limit was taken away"))?;
        Ok(units.round() as u64)
    }

    fn set(&mut self, _from: u64, to: u64) -> Result<(), KnobError> {
        self.turn(to)
    }

    fn look(&mut self) -> Result<Look, KnobError> {
        if let Some(from) = self.gap.take() {
            return Err(KnobError::Gap(format!("nothing is known from {} to {}", shown(from), shown(self.at))));
        }
        let mut seen = std::mem::take(&mut self.seen);
        if seen.some && self.place.replicas.is_none() {
            let table = self.table(&self.place.url.clone(), reqwest::Method::GET, "")?;
            seen.throttled = (table.refused - self.refused).max(0.0) / self.per_request;
            self.refused = table.refused;
        }
        if let Some(why) = seen.failed.filter(|_| seen.errors == seen.answers) {
            return Err(self.failed(why));
        }
        let errors = (seen.answers > 0).then(|| seen.errors as f64 / seen.answers as f64);
        let units = seen.units / seen.seconds.max(1e-9);
        Ok(Look { units, throttled: seen.throttled, p99_ms: self.p99_ms(), errors })
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        // Everything passes again, as before; replicas end with this.
        if self.place.replicas.is_none() {
            let _ = self.table(&self.place.url.clone(), reqwest::Method::DELETE, "");
        }
    }
}
