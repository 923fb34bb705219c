//! One second of load, as data: what the screen, the journal and the report all read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::stats::histogram::Histogram;

/// What a load is going to do, said once before its first tick.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LoadPlan {
    /// The part of the schedule that this run sent, `2/8`; empty when it sent the whole.
    #[serde(default)]
    pub shard: String,
    pub scenario: String,
    pub target: String,
    pub seed: u64,
    pub duration_s: f64,
    /// Names of the endpoints; ticks refer to them by index.
    pub endpoints: Vec<String>,
    pub stages: Vec<StagePlan>,
    /// Objective expressions, as written.
    pub objectives: Vec<String>,
    /// Whether `objectives` are the implied ones, because none was given.
    pub implied: bool,
    /// "open", "closed" (`--rate max`) or "users".
    pub model: String,
    pub connections: u32,
    /// Threads that send.
    #[serde(default)]
    pub workers: u32,
    /// When it began, in Unix milliseconds of this machine's clock; 0 where nobody noted it.
    #[serde(default)]
    pub began_ms: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StagePlan {
    pub name: String,
    pub begins_s: f64,
    pub ends_s: f64,
    /// Highest rate asked in the stage, requests a second.
    pub peak_rate: f64,
}

/// What became known during one second. Latency counts from due, service from sent; both in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tick {
    /// Whole seconds since the load began: this tick covers `second..ends_s`.
    pub second: u32,
    /// `second + 1`, less in the last tick of a run.
    pub ends_s: f64,
    /// Index into `LoadPlan::stages`.
    pub stage: usize,
    /// Requests that fell due in this second.
    pub due: u64,
    /// Requests handed to a connection in this second.
    pub sent: u64,
    /// Whole answers in this second, good and bad.
    pub answered: u64,
    /// Sent and not answered at its end.
    pub in_flight: u64,
    /// Due and not sent at its end (waiting for a connection).
    pub waiting: u64,
    /// One entry an endpoint, in `LoadPlan::endpoints` order.
    pub endpoints: Vec<EndpointTick>,
    /// Errors by kind: `timeout`, `status`, `throttled`, `connect`, `reset`, `check`, ...
    pub errors: BTreeMap<String, u64>,
    /// Answers by status code.
    #[serde(deserialize_with = "by_status")]
    pub statuses: BTreeMap<u16, u64>,
    /// The first error of a kind in the run, word for word (secrets removed).
    pub examples: BTreeMap<String, String>,
    /// What ended in this second, by the stage in which it was due; empty where the run has one stage.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<StageTick>,
    /// Answers that said they were degraded.
    pub degraded: u64,
    pub parts: Parts,
    pub generator: GeneratorTick,
}

/// Reads keys that JSON writes as text: inside a tagged event, serde no longer turns them back into numbers.
fn by_status<'de, D: serde::Deserializer<'de>>(from: D) -> Result<BTreeMap<u16, u64>, D::Error> {
    let read = BTreeMap::<String, u64>::deserialize(from)?;
    read.into_iter().map(|(k, n)| Ok((k.parse().map_err(serde::de::Error::custom)?, n))).collect()
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EndpointTick {
    /// Requests that ended, well or badly.
    pub ended: u64,
    /// Whole answers, good and bad.
    pub answered: u64,
    pub errors: u64,
    pub throttled: u64,
    pub latency: Histogram,
    pub service: Histogram,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StageTick {
    /// Index into `LoadPlan::stages`.
    pub stage: usize,
    pub due: u64,
    pub sent: u64,
    #[serde(flatten)]
    pub ended: EndpointTick,
}

impl EndpointTick {
    pub fn merge(&mut self, other: &Self) {
        self.ended += other.ended;
        self.answered += other.answered;
        self.errors += other.errors;
        self.throttled += other.throttled;
        self.latency.merge(&other.latency);
        self.service.merge(&other.service);
    }
}

impl Tick {
    /// How long it was: one second, less in the last tick of a run.
    pub fn seconds(&self) -> f64 {
        self.ends_s - f64::from(self.second)
    }

    /// Adds what another part of the same load saw in the same second.
    pub fn merge(&mut self, other: &Self) {
        self.stage = self.stage.max(other.stage);
        self.ends_s = self.ends_s.max(other.ends_s);
        self.due += other.due;
        self.sent += other.sent;
        self.answered += other.answered;
        self.in_flight += other.in_flight;
        self.waiting += other.waiting;
        self.degraded += other.degraded;
        self.endpoints.resize_with(self.endpoints.len().max(other.endpoints.len()), EndpointTick::default);
        self.endpoints.iter_mut().zip(&other.endpoints).for_each(|(a, b)| a.merge(b));
        for theirs in &other.stages {
            match self.stages.iter_mut().find(|s| s.stage == theirs.stage) {
                Some(own) => {
                    own.due += theirs.due;
                    own.sent += theirs.sent;
                    own.ended.merge(&theirs.ended);
                }
                None => self.stages.push(theirs.clone()),
            }
        }
        add(&mut self.errors, &other.errors);
        add(&mut self.statuses, &other.statuses);
        for (kind, example) in &other.examples {
            self.examples.entry(kind.clone()).or_insert_with(|| example.clone());
        }
        self.parts.merge(&other.parts);
        let (own, theirs) = (&mut self.generator, &other.generator);
        own.late.merge(&theirs.late);
        own.cpu_share += theirs.cpu_share;
        own.steal_share = own.steal_share.max(theirs.steal_share);
        own.run_queue_ms += theirs.run_queue_ms;
        own.slept_s = own.slept_s.max(theirs.slept_s);
        own.clock_grain_ms = own.clock_grain_ms.max(theirs.clock_grain_ms);
        if theirs.clock_step_s.abs() > own.clock_step_s.abs() {
            own.clock_step_s = theirs.clock_step_s;
        }
        own.dropped += theirs.dropped;
    }
}

fn add<K: Ord + Clone>(into: &mut BTreeMap<K, u64>, from: &BTreeMap<K, u64>) {
    for (key, n) in from {
        *into.entry(key.clone()).or_default() += n;
    }
}

/// Where the time went, so that the network and the service can be told apart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Parts {
    pub connection_wait: Histogram,
    pub connect: Histogram,
    pub tls: Histogram,
    pub first_byte: Histogram,
    pub body: Histogram,
}

impl Parts {
    pub fn merge(&mut self, other: &Self) {
        self.connection_wait.merge(&other.connection_wait);
        self.connect.merge(&other.connect);
        self.tls.merge(&other.tls);
        self.first_byte.merge(&other.first_byte);
        self.body.merge(&other.body);
    }

    /// Returns each part by the name that objectives call it.
    pub fn named(&self) -> [(&'static str, &Histogram); 5] {
        [
            ("connection wait", &self.connection_wait),
            ("connect", &self.connect),
            ("tls", &self.tls),
            ("first byte", &self.first_byte),
            ("body", &self.body),
        ]
    }
}

/// How the load generator itself did: its own lateness and CPU, never the target's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GeneratorTick {
    /// Due to ready-to-send.
    pub late: Histogram,
    /// CPU used by this process, in shares of one core.
    pub cpu_share: f64,
    /// CPU taken by others on this machine's host, in shares of one core.
    pub steal_share: f64,
    /// Milliseconds its threads were ready and not run.
    pub run_queue_ms: f64,
    /// Seconds that the machine itself slept.
    #[serde(default)]
    pub slept_s: f64,
    /// In which steps its clock goes, where these are coarse.
    #[serde(default)]
    pub clock_grain_ms: f64,
    /// By how many seconds its wall clock was set.
    #[serde(default)]
    pub clock_step_s: f64,
    pub dropped: u64,
}
