//! What one instance said of itself at one moment, under the names that every source is translated to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A number that serin knows the meaning of, wherever it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signal {
    // Counters: they only grow, until their process starts anew.
    Requests,
    /// Answers of 500 and above.
    Errors,
    /// Answers of 429.
    Throttled,
    /// Answers of 401 and 403.
    Refused,
    /// Refused because of the time written in the token.
    RefusedTime,
    /// Requests that repeat an earlier one.
    Repeats,
    Degraded,
    Empty,
    /// Answers that fell back to the popular list.
    Popular,
    StoreReads,
    StoreThrottled,
    StoreErrors,
    StoreRetries,
    StoreUnits,
    /// What the load balancer in front counts: its requests, and all answers of 500 and above.
    FrontRequests,
    FrontErrors,
    /// What the table counts of everybody who reads it; a throttled read is a read.
    TableReads,
    TableThrottled,
    TableErrors,
    TableUnits,
    /// What a Personalize campaign counts: requests, answers of 4xx (throttled ones among them), of 5xx.
    CampaignRequests,
    CampaignRefused,
    CampaignErrors,
    // Gauges: what holds now.
    /// Milliseconds, the quantile that the objective limits, by the load balancer.
    FrontLatencyMs,
    /// Milliseconds of a read on average, by the table itself.
    TableLatencyMs,
    CampaignLatencyMs,
    /// Lists that the table says it holds; counted by DynamoDB every few hours.
    TableItems,
    /// Read units a second that are provisioned.
    StoreCapacity,
    /// Requests a second that are let in.
    Quota,
    /// When the catalogue that is held was built, Unix seconds.
    CatalogueBuilt,
    CatalogueItems,
    /// When the generation that is served was published, Unix seconds.
    ModelPublished,
    /// When the model was trained that is served.
    ModelTrained,
    /// 1 where lists are read from a store, 0 where there is none.
    StoreUsed,
    /// Since when the keys are in force that tokens are checked with.
    KeysSince,
    Generation,
    Lists,
    /// Different programmes among the last answers.
    Programmes,
    /// The instance's own clock, Unix seconds.
    Clock,
    /// 1 when the instance says it is ready, 0 when not.
    Up,
}

/// Durations that are counted in buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Timing {
    Request,
    Store,
}

/// Cumulative counts: `(upper bound in seconds, answers at or below it)`, ascending; infinity is left to the total.
pub type Buckets = Vec<(f64, f64)>;

/// One instance at one moment; a signal that is not in it was not said, and is never zero.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Unix seconds, by our clock.
    pub at: f64,
    pub instance: String,
    /// "stable" or "canary"; empty where there is only one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub arm: String,
    /// Whether more may still come to what it counts: no rate is read from it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    pub numbers: BTreeMap<Signal, f64>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub timings: BTreeMap<Timing, Buckets>,
}

impl Sample {
    pub fn new(at: f64, instance: impl Into<String>) -> Self {
        Self { at, instance: instance.into(), ..Self::default() }
    }

    pub fn get(&self, signal: Signal) -> Option<f64> {
        self.numbers.get(&signal).copied()
    }

    pub fn set(&mut self, signal: Signal, value: f64) {
        if value.is_finite() {
            self.numbers.insert(signal, value);
        }
    }

    pub fn add(&mut self, signal: Signal, value: f64) {
        if value.is_finite() {
            *self.numbers.entry(signal).or_insert(0.0) += value;
        }
    }
}
