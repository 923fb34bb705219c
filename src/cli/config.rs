//! serin.toml: the working directory's, else the user's; flags win over environment over file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::platform::Platform;
use crate::run::error::RunError;
use crate::toml_file;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Named deployments that load may be sent to.
    pub targets: BTreeMap<String, Target>,
    /// What `serin serve` serves, each below its own path.
    pub platforms: BTreeMap<String, Platform>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Where it answers: `https://api.example.org`.
    pub url: String,
    /// The highest rate that may be sent to it, requests a second.
    pub ceiling: Option<f64>,
    /// The environment variable that holds its HS256 secret or RS256 key, when serin makes the tokens.
    pub secret_env: Option<String>,
    /// The file that holds it.
    pub secret_file: Option<PathBuf>,
    /// The audience of those tokens.
    pub audience: Option<String>,
    pub issuer: Option<String>,
    /// The platform that it serves, said in its tokens, and the environment, said to people.
    pub platform: Option<String>,
    pub environment: Option<String>,
    /// Whether each viewer has an own token, with the viewer as its subject.
    #[serde(default)]
    pub token_per_viewer: bool,
    /// The Personalize campaign that answers there: requests are signed with the AWS keys of this machine.
    pub campaign: Option<String>,
    #[serde(default)]
    pub watch: Watched,
}

/// What `serin check` and `serin watch` need to know of a target; all of it may be left out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Watched {
    /// Viewers who are known to have a list.
    pub viewers: Vec<String>,
    /// Each process by its own address, where the url is only a front door.
    pub instances: Vec<String>,
    /// The root of a Prometheus that scrapes the target, and what narrows it: `job="recs"`.
    pub prometheus: Option<String>,
    pub selector: Option<String>,
    /// Whether each process tells its own numbers on `/metrics`.
    pub metrics: Option<bool>,
    /// The AWS region of what follows.
    pub region: Option<String>,
    /// The DynamoDB table of the lists.
    pub table: Option<String>,
    /// A load balancer as CloudWatch names it: `app/recs/0123456789abcdef`.
    pub load_balancer: Option<String>,
    /// The ARN of a Personalize campaign, and the requests a second that it lets in.
    pub campaign: Option<String>,
    pub campaign_quota: Option<f64>,
    /// Another address than AWS' own.
    pub endpoint_url: Option<String>,
    /// Dollars a day that asking may cost.
    pub spend_cap: Option<f64>,
    /// Where deploys are told: a file of lines, or a command that prints them.
    pub deploys: Option<PathBuf>,
    pub deploys_command: Option<String>,
    /// What is promised: `p99 < 120ms`, `errors < 0.5%`.
    pub objectives: Vec<String>,
    /// Further limits: the store's p90, ages, and the rate that the target is known to hold.
    pub store_latency: Option<String>,
    pub catalogue_age: Option<String>,
    pub model_age: Option<String>,
    pub clock_skew: Option<String>,
    pub rate: Option<f64>,
    pub runbook: Option<String>,
    pub owner: Option<String>,
    pub dashboards: Vec<String>,
}

impl Config {
    pub fn open(asked: Option<&Path>) -> Result<Self, RunError> {
        let Some(path) = asked.map(Path::to_owned).or_else(found) else { return Ok(Self::default()) };
        toml_file::read(&path).map_err(RunError::misuse)
    }
}

fn found() -> Option<PathBuf> {
    let user = std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".config")));
    let places = [Some(PathBuf::from("serin.toml")), user.map(|u| u.join("serin/serin.toml"))];
    places.into_iter().flatten().find(|p| p.is_file())
}
