//! How a plan reaches the world: who sets the share, and where the numbers of each side come from; as written in TOML.

use std::path::PathBuf;

use serde::Deserialize;

use super::plan::DRIVERS;
use crate::serve::trouble::Trouble;
use crate::stats::units::parse_duration;

/// The tables of a plan that say how; only the one that the driver needs has to be there.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wiring {
    pub local: Option<Local>,
    pub command: Option<Command>,
    pub haproxy: Option<Haproxy>,
    pub envoy: Option<Envoy>,
    pub alb: Option<Alb>,
    pub httproute: Option<HttpRoute>,
    pub numbers: Option<Numbers>,
}

/// Two versions of the local stack behind a router, and the evening that is played on them.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Local {
    /// Whose requests and viewers are sent: a scenario file, or one that is built in.
    pub scenario: String,
    /// Requests a second.
    pub rate: f64,
    /// The canary's lists, where they are not the demo platform's: embedded:PATH.
    pub store: Option<String>,
    /// A model that scores live in the canary.
    pub model: Option<PathBuf>,
    /// Troubles that the canary's server is started with.
    pub trouble: Option<toml::Table>,
    /// After so long the router's numbers cannot be read any more.
    pub blind_after: Option<String>,
}

impl Local {
    /// Returns what the canary's server suffers from its start.
    pub fn trouble(&self) -> Result<Trouble, String> {
        let Some(table) = &self.trouble else { return Ok(Trouble::default()) };
        table.clone().try_into().map_err(|e: toml::de::Error| format!("local.trouble: {}", e.message()))
    }
}

impl Default for Local {
    fn default() -> Self {
        Self {
            scenario: "evening-short".to_owned(),
            rate: 500.0,
            store: None,
            model: None,
            trouble: None,
            blind_after: None,
        }
    }
}

/// Programs of the user's: the share stands in `SERIN_SHARE` (0 to 1) and `SERIN_PERCENT`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// Sets the share.
    pub set: Vec<String>,
    /// Prints the share that is in force, 0 to 1 or as a percentage.
    pub read: Vec<String>,
    /// Prints `{"canary": .., "all": ..}`, requests so far on the canary and on both sides.
    pub requests: Option<Vec<String>>,
}

/// The runtime socket: the weights of two servers, or one entry of a map that the configuration cuts viewers by.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Haproxy {
    /// `/run/haproxy.sock` or `127.0.0.1:9999`.
    pub socket: String,
    pub backend: String,
    /// The servers of that backend; with `map` the canary's may stand in a backend of its own, `backend/server`.
    pub baseline: String,
    pub canary: String,
    /// The map's file as HAProxy knows it, and the key that holds the percentage.
    pub map: Option<String>,
    #[serde(default = "percent_key")]
    pub key: String,
}

fn percent_key() -> String {
    "percent".to_owned()
}

/// The admin port: two runtime keys, and the clusters whose requests are counted.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envoy {
    pub admin: String,
    /// `<prefix>.<cluster>` are the keys, as `runtime_key_prefix` of weighted clusters has it.
    pub prefix: String,
    pub baseline: String,
    pub canary: String,
    /// The configuration's `total_weight`.
    #[serde(default = "hundred")]
    pub total: u32,
}

fn hundred() -> u32 {
    100
}

/// A listener rule of an AWS load balancer that forwards to two target groups; keys come from the environment as AWS has it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alb {
    pub rule: String,
    pub baseline: String,
    pub canary: String,
    pub region: String,
    pub endpoint: Option<String>,
}

/// A route of the Kubernetes Gateway API with two backends.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpRoute {
    /// The API server: `https://10.0.0.1:6443`, or a `kubectl proxy`.
    pub api: String,
    pub namespace: String,
    pub name: String,
    pub baseline: String,
    pub canary: String,
    /// The rule that has both, counted from 0.
    #[serde(default)]
    pub rule: usize,
    /// The file that holds a bearer token.
    pub token_file: Option<PathBuf>,
    /// Authorities to trust, PEM.
    pub authority: Option<PathBuf>,
}

/// Where each side's numbers come from.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Numbers {
    /// `router` (the local one), `load` (what serin itself sends), `metrics`, `prometheus`, `cloudwatch` or `command`.
    pub from: String,
    /// `metrics`: the pages of each side's instances. `prometheus`: selectors, `job="recs",version="v2"`. `cloudwatch`: target
    /// groups, `targetgroup/recs/0123`. Every instance or group of the baseline is a slice of it.
    pub baseline: Vec<String>,
    pub canary: Vec<String>,
    /// The root of the Prometheus.
    pub url: Option<String>,
    /// `cloudwatch`: the load balancer, `app/recs/0123`, its region, and another endpoint than AWS' own.
    pub balancer: Option<String>,
    pub region: Option<String>,
    pub endpoint: Option<String>,
    /// `command`: prints one interval, the numbers since it was asked last, as a line of `serin canary judge`.
    pub print: Vec<String>,
}

const SOURCES: [&str; 6] = ["router", "load", "metrics", "prometheus", "cloudwatch", "command"];

impl Wiring {
    /// Says what a driver lacks; a plan alone is readable without its table, a walk is not.
    pub fn lacks(&self, driver: &str) -> Option<String> {
        let there = [
            true,
            self.haproxy.is_some(),
            self.envoy.is_some(),
            self.alb.is_some(),
            self.httproute.is_some(),
            self.command.is_some(),
        ];
        let missing = DRIVERS.iter().zip(there).any(|(name, there)| *name == driver && !there);
        if missing {
            return Some(format!("driver = \"{driver}\" needs a [{driver}] table that says what to set"));
        }
        let none = self.numbers.is_none() && driver != "local";
        none.then(|| "a [numbers] table has to say where the numbers of each side come from".to_owned())
    }

    /// Refuses what cannot be meant, whatever the driver is.
    pub fn check(&self, driver: &str) -> Result<(), String> {
        if let Some(local) = &self.local
            && !(local.rate > 0.0 && local.rate <= 100_000.0)
        {
            return Err(format!("local: {} requests a second cannot be played", local.rate));
        }
        if let Some(local) = &self.local {
            local.trouble()?;
            let after = local.blind_after.as_deref().map(parse_duration).transpose();
            after.map_err(|e| format!("local.blind_after: {e}"))?;
        }
        let Some(numbers) = &self.numbers else { return Ok(()) };
        let from = numbers.from.as_str();
        if !SOURCES.contains(&from) {
            let near = crate::toml_file::nearest(from, SOURCES);
            let near = near.map_or(String::new(), |n| format!("; did you mean `{n}`?"));
            return Err(format!("numbers: `{from}` is no source ({}){near}", SOURCES.join(", ")));
        }
        if matches!(from, "router" | "load") && driver != "local" {
            return Err(format!("numbers: from = \"{from}\" is for driver = \"local\""));
        }
        let sides = matches!(from, "metrics" | "prometheus" | "cloudwatch");
        if sides && (numbers.baseline.is_empty() || numbers.canary.is_empty()) {
            return Err("numbers: both baseline and canary have to be named".to_owned());
        }
        if from == "prometheus" && numbers.url.is_none() {
            return Err("numbers: url has to say where Prometheus is".to_owned());
        }
        if from == "cloudwatch" && numbers.balancer.is_none() {
            return Err("numbers: balancer has to name the load balancer, as app/NAME/ID".to_owned());
        }
        if from == "command" && numbers.print.is_empty() {
            return Err("numbers: print has to name the program".to_owned());
        }
        Ok(())
    }
}
