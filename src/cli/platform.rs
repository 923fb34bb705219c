//! A platform as it is served: where its lists, catalogue, rules and keys are; made an API that answers.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use serde::Deserialize;

use super::session::Session;
use crate::run::error::RunError;
use crate::serve::api::Api;
use crate::serve::auth::Gate;
use crate::serve::exposures::Exposures;
use crate::serve::jwks::{self, KeysAt};
use crate::serve::limiter::Limiter;
use crate::serve::meter::Meter;
use crate::serve::personalize::Keys;
use crate::serve::practice::Practice;
use crate::serve::recent::Recent;
use crate::serve::refresh::{Lists, Sources, keep_fresh};
use crate::serve::store::StoreAt;
use crate::serve::stores::remote::Afar;
use crate::serve::trouble;
use crate::stats::units::parse_duration;

/// One platform, as serin.toml says it; the same words as the flags of `serin serve`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Platform {
    pub items: PathBuf,
    pub store: Option<String>,
    pub endpoint_url: Option<String>,
    pub store_deadline: Option<String>,
    pub remember: Option<usize>,
    pub model: Option<PathBuf>,
    pub users: Option<PathBuf>,
    pub filters: Option<PathBuf>,
    pub rules: Option<PathBuf>,
    pub live: Option<PathBuf>,
    /// The environment variable, or the file, that holds the HS256 secret.
    pub secret_env: Option<String>,
    pub secret_file: Option<PathBuf>,
    pub jwks: Option<String>,
    pub audience: Option<String>,
    pub issuer: Option<String>,
    pub leeway: Option<String>,
    /// The environment variable that holds `KEY:SECRET` pairs of the Personalize wire.
    pub access_keys_env: Option<String>,
    pub campaign_tps: Option<f64>,
}

/// Everything that one API needs.
pub struct Setting {
    pub sources: Sources,
    pub live: PathBuf,
    pub secret: Option<String>,
    pub jwks: Option<String>,
    pub audience: Option<String>,
    pub issuer: Option<String>,
    pub platform: Option<String>,
    pub leeway: Duration,
    pub access_keys: String,
    pub campaign_tps: Option<f64>,
    pub remember: usize,
    pub practice: bool,
    pub trouble: Option<PathBuf>,
}

pub const DEADLINE: Duration = Duration::from_millis(150);
pub const REMEMBERED: usize = 10_000;

/// Returns where lists lie, as a store's name and flags say it.
pub fn lists(store: StoreAt, endpoint: Option<&str>, deadline: Duration) -> Lists {
    match store.at(endpoint) {
        StoreAt::Embedded(path) => Lists::Here(path),
        StoreAt::DynamoDb { table, endpoint } => Lists::There(Afar { table, endpoint, deadline }),
    }
}

impl Platform {
    /// Returns the HS256 secret of its tokens; `None` where public keys check them.
    pub fn secret(&self, name: &str) -> Result<Option<String>, RunError> {
        let about = |what: String| RunError::misuse(format!("platforms.{name}: {what}"));
        match (&self.secret_env, &self.secret_file, &self.jwks) {
            (Some(variable), None, None) => from_env(name, variable).map(Some),
            (None, Some(file), None) => {
                let text = std::fs::read_to_string(file);
                Ok(Some(text.map_err(|e| about(format!("{}: {e}", file.display())))?.trim_end().to_owned()))
            }
            (None, None, Some(_)) => Ok(None),
            _ => {
                let what = "exactly one of `secret_env`, `secret_file` and `jwks` says which tokens are good";
                Err(about(what.to_owned()))
            }
        }
    }

    /// Reads what the configuration says of the platform `name`.
    pub fn setting(&self, session: &Session, name: &str) -> Result<Setting, RunError> {
        let about = |what: String| RunError::misuse(format!("platforms.{name}: {what}"));
        let duration = |text: Option<&String>, otherwise: Duration| match text {
            Some(text) => parse_duration(text).map_err(about),
            None => Ok(otherwise),
        };
        if self.items.as_os_str().is_empty() {
            return Err(about("`items` is missing: the catalogue".to_owned()));
        }
        if self.store.is_none() && self.model.is_none() {
            return Err(about("there is nothing to serve; give `store` or `model`".to_owned()));
        }
        let deadline = duration(self.store_deadline.as_ref(), DEADLINE)?;
        let store = self.store.as_ref().map(|text| text.parse::<StoreAt>()).transpose().map_err(about)?;
        let secret = self.secret(name)?;
        Ok(Setting {
            sources: Sources {
                items: self.items.clone(),
                store: store.map(|store| lists(store, self.endpoint_url.as_deref(), deadline)),
                model: self.model.clone(),
                users: self.users.clone(),
                filters: self.filters.clone(),
                rules: self.rules.clone(),
            },
            live: self.live.clone().unwrap_or_else(|| session.live_folder().join(name)),
            secret,
            jwks: self.jwks.clone(),
            audience: self.audience.clone(),
            issuer: self.issuer.clone(),
            platform: Some(name.to_owned()),
            leeway: duration(self.leeway.as_ref(), Duration::from_secs(5))?,
            access_keys: match &self.access_keys_env {
                Some(variable) => from_env(name, variable)?,
                None => String::new(),
            },
            campaign_tps: self.campaign_tps,
            remember: self.remember.unwrap_or(REMEMBERED),
            practice: false,
            trouble: None,
        })
    }
}

fn from_env(name: &str, variable: &str) -> Result<String, RunError> {
    let set = std::env::var(variable).ok().filter(|v| !v.is_empty());
    set.ok_or_else(|| RunError::misuse(format!("platforms.{name}: the environment variable {variable} is not set")))
}

impl Setting {
    /// Reads everything, starts what keeps it fresh, and returns an API that is ready to answer.
    pub fn open(self, session: &Session) -> Result<Arc<Api>, RunError> {
        if self.campaign_tps.is_some_and(|t| !t.is_finite() || t <= 0.0) {
            return Err(RunError::misuse("the campaign's requests a second must be above zero"));
        }
        let keys_at = self.jwks.as_deref().map(KeysAt::parse);
        let gate = gate(keys_at.as_ref(), self.secret)?.with_audience(self.audience).with_issuer(self.issuer);
        let gate = gate.with_platform(self.platform).with_leeway(self.leeway.as_secs() as i64);
        let keys = Keys::parse(&self.access_keys).map_err(|e| RunError::misuse(format!("SERIN_ACCESS_KEYS: {e}")))?;
        let sources = self.sources;
        let live = self.live;
        let world = sources.begin(&live)?;
        let recent = Recent::open(live.clone(), world.knows_until(), jiff::Timestamp::now().as_second());
        let recent = recent.map_err(|e| {
            RunError::misuse(format!("{}: {e}", live.display())).hint("choose a folder with --live DIR")
        })?;
        let exposures = Exposures::open(live.clone()).map_err(RunError::cannot_tell)?;
        let api = Arc::new(Api {
            gate: ArcSwap::from_pointee(gate),
            world: ArcSwap::from_pointee(world),
            meter: Meter::default(),
            recent,
            // A tenth of a second of quota at once: what comes evenly passes, what comes in a heap does not.
            quota: self.campaign_tps.map(|tps| Mutex::new(Limiter::with_burst(tps, 0.1, 0.0))),
            practice: self.practice.then(Practice::default),
            remembers: self.remember,
            keys,
            exposures: Some(exposures),
            trouble: ArcSwapOption::empty(),
            clock_s: AtomicI64::new(0),
            draining: AtomicBool::new(false),
            began: Instant::now(),
        });
        if let Some(path) = self.trouble {
            trouble::suffer(path, sources.clone(), Arc::clone(&api), session.stop.clone())
                .map_err(RunError::cannot_tell)?;
        }
        keep_fresh(sources, live, Arc::clone(&api), session.stop.clone()).map_err(RunError::cannot_tell)?;
        if let Some(at) = keys_at {
            jwks::keep_fresh(at, Arc::clone(&api), session.stop.clone()).map_err(RunError::cannot_tell)?;
        }
        Ok(api)
    }
}

/// Returns what checks tokens: public keys where they are named, else the shared secret.
fn gate(keys: Option<&KeysAt>, secret: Option<String>) -> Result<Gate, RunError> {
    if let Some(keys) = keys {
        if keys.is_in_the_open() {
            eprintln!("warning: keys that come over plain http can be changed on their way; use https");
        }
        return Ok(Gate::keys(keys.read()?));
    }
    let secret = secret.filter(|s| !s.is_empty()).ok_or_else(|| {
        RunError::misuse("SERIN_JWT_SECRET is not set, so no token could be checked")
            .hint("set it to the HS256 secret, at least 32 bytes, or name public keys with --jwks")
    })?;
    if secret.len() < 32 {
        eprintln!("warning: the HS256 secret has {} bytes; under 32 it can be guessed", secret.len());
    }
    Ok(Gate::secret(secret.as_bytes()))
}
