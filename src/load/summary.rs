//! A load in one page of data: the `serin.load/1` document.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::judge::compare::Comparison;
use crate::judge::verdict::Verdict;

pub const SCHEMA: &str = "serin.load/1";

/// Times are milliseconds, rates per second; `None` is "no data" and never zero.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadSummary {
    pub schema: String,
    pub verdict: Verdict,
    pub reason: String,
    pub scenario: String,
    pub target: String,
    pub seed: u64,
    pub rate: Rates,
    pub duration_s: f64,
    pub requests: u64,
    pub errors: Errors,
    pub latency_ms: Quantiles,
    pub service_ms: Quantiles,
    pub connection_wait_ms: Quantiles,
    pub endpoints: Vec<EndpointSummary>,
    pub generator: Generator,
    pub objectives: Vec<Judged>,
    /// Whether the objectives are the implied ones.
    pub implied: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    /// `serin gate`: this run against its baseline.
    pub comparison: Option<Comparison>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    pub asked: f64,
    pub sent: f64,
    pub answered: f64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Errors {
    pub total: u64,
    pub share: f64,
    pub by_kind: BTreeMap<String, u64>,
    pub by_status: BTreeMap<u16, u64>,
    /// One example a kind, word for word.
    pub examples: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    pub min: Option<f64>,
    pub mean: Option<f64>,
    pub p50: Option<f64>,
    pub p90: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
    pub p999: Option<f64>,
    pub max: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndpointSummary {
    pub name: String,
    pub requests: u64,
    pub errors: u64,
    pub latency_ms: Quantiles,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Generator {
    pub saturated: bool,
    pub late_p50_ms: Option<f64>,
    pub late_p99_ms: Option<f64>,
    /// Shares of one core.
    pub cpu_share: f64,
    pub dropped: u64,
    /// "valid", "suspect" or "invalid", with the reason.
    pub state: String,
    pub reason: String,
}

/// One objective, judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    pub expression: String,
    pub limit: f64,
    pub observed: Option<f64>,
    /// `None` where there was no data to judge by.
    pub met: Option<bool>,
    pub reason: String,
}
