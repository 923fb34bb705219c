//! A load in one page of data: the `serin.load/1` document.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::judge::compare::Comparison;
use crate::judge::verdict::Verdict;
use crate::stats::histogram::Histogram;
use crate::stats::units::{Millis, Rps, Share, grouped};

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
    /// Good answers that said they were less than what was asked for.
    #[serde(default)]
    pub degraded: u64,
    pub latency_ms: Quantiles,
    pub service_ms: Quantiles,
    pub connection_wait_ms: Quantiles,
    /// Where the time went: connect, tls, first byte, body.
    pub parts_ms: BTreeMap<String, Quantiles>,
    pub endpoints: Vec<EndpointSummary>,
    pub stages: Vec<EndpointSummary>,
    pub generator: Generator,
    pub objectives: Vec<Judged>,
    /// Whether the objectives are the implied ones.
    pub implied: bool,
    /// Whether somebody stopped it early.
    pub stopped: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    /// `serin gate`: this run against its baseline.
    pub comparison: Option<Comparison>,
}

impl LoadSummary {
    /// Returns lines for a person, the plain form of the self.
    pub fn lines(&self) -> Vec<String> {
        let ms = |v: Option<f64>| v.map_or("no data".to_owned(), |v| Millis(v).to_string());
        let l = &self.latency_ms;
        let mut lines = vec![
            format!(
                "{} → {}: {} requests, asked {}, sent {}, answered {}",
                self.scenario,
                self.target,
                grouped(self.requests),
                Rps(self.rate.asked),
                Rps(self.rate.sent),
                Rps(self.rate.answered)
            ),
            format!(
                "latency from due: p50 {}  p90 {}  p99 {}  p99.9 {}  max {}",
                ms(l.p50),
                ms(l.p90),
                ms(l.p99),
                ms(l.p999),
                ms(l.max)
            ),
            format!("service from sent: p50 {}  p99 {}", ms(self.service_ms.p50), ms(self.service_ms.p99)),
        ];
        let e = &self.errors;
        lines.push(format!("errors: {} ({})", e.total, Share(e.share)));
        for (kind, n) in &e.by_kind {
            let example = e.examples.get(kind).map_or(String::new(), |x| format!(", for example {x}"));
            lines.push(format!("  {kind}: {n}{example}"));
        }
        if self.degraded > 0 {
            lines.push(format!("degraded: {} answers said they are less than was asked for", self.degraded));
        }
        for j in &self.objectives {
            let sign = match j.met {
                Some(true) => "✓",
                Some(false) => "✗",
                None => "?",
            };
            let implied = if self.implied { " (implied)" } else { "" };
            lines.push(format!("{sign} {}{implied}: {}", j.expression, j.reason));
        }
        lines.push(format!("generator: {}, {}", self.generator.state, self.generator.reason));
        lines
    }
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

impl From<&Histogram> for Quantiles {
    fn from(h: &Histogram) -> Self {
        let at = |q| h.quantile(q).map(|m| m.0);
        Self {
            min: h.min().map(|m| m.0),
            mean: h.mean().map(|m| m.0),
            p50: at(0.5),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
            max: h.max().map(|m| m.0),
        }
    }
}

/// One endpoint, or one stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndpointSummary {
    pub name: String,
    pub requests: u64,
    pub errors: u64,
    pub throttled: u64,
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
    /// Shares of one core that others took from this machine, the most in any second.
    pub steal_share: f64,
    /// Milliseconds that its threads were ready and not run.
    pub run_queue_ms: f64,
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
