//! One second of load, as data: what the screen, the journal and the report all read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::stats::histogram::Histogram;

/// What a load is going to do, said once before its first tick.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LoadPlan {
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
    /// Whole seconds since the load began: this tick covers `second..second + 1`.
    pub second: u32,
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
    pub statuses: BTreeMap<u16, u64>,
    /// The first error of a kind in the run, word for word (secrets removed).
    pub examples: BTreeMap<String, String>,
    /// Answers that said they were degraded.
    pub degraded: u64,
    pub parts: Parts,
    pub generator: GeneratorTick,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EndpointTick {
    pub answered: u64,
    pub errors: u64,
    pub latency: Histogram,
    pub service: Histogram,
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
    pub dropped: u64,
}
