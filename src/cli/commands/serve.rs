//! `serin serve`: its flags, and one API process until it is told to stop.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};

use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::run::error::RunError;
use crate::serve::api::Api;
use crate::serve::auth::Gate;
use crate::serve::jwks::{self, KeysAt};
use crate::serve::limiter::Limiter;
use crate::serve::meter::Meter;
use crate::serve::personalize::Keys;
use crate::serve::practice::Practice;
use crate::serve::recent::Recent;
use crate::serve::refresh::{Sources, keep_fresh};
use crate::serve::server::Server;
use crate::serve::store::StoreAt;
use crate::serve::trouble;
use crate::stats::units::parse_duration;

/// Run one API process: published lists, filtered by the catalogue, behind a checked token
///
/// The HS256 secret is read from SERIN_JWT_SECRET; `--jwks` takes public keys instead. Answers say where they come from: `"source": "list"` is the viewer's
/// own list, `"live"` their own scores of now, `"popular"` what everybody gets who has neither. New lists and a new
/// catalogue are taken up while serving.
#[derive(clap::Args)]
#[command(after_help = "Example: SERIN_JWT_SECRET=.. serin serve --store embedded:lists --items items.csv")]
pub struct Serve {
    /// Where to listen; port 0 takes a free one and says which
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7070")]
    listen: String,
    /// Published lists: embedded:PATH
    #[arg(long, value_name = "STORE")]
    store: Option<StoreAt>,
    /// A model folder, scored live
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// The catalogue: an items CSV or a file of `serin catalogue build`
    #[arg(long, value_name = "FILE")]
    items: PathBuf,
    /// CSV with USER_ID and CONSENT: whoever did not agree gets what everybody gets
    #[arg(long, value_name = "FILE")]
    users: Option<PathBuf>,
    /// Filters of the Personalize wire, a TOML file: `kids = 'INCLUDE ItemID WHERE Items.GENRE IN ("Kids")'`; a filterArn
    /// ending in `filter/kids` names it
    #[arg(long, value_name = "FILE")]
    filters: Option<PathBuf>,
    /// Where viewings and withdrawals that come in are kept, shared by all replicas [default: SERIN_HOME/live]
    #[arg(long, value_name = "DIR")]
    live: Option<PathBuf>,
    /// Threads that answer
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Public keys that check tokens (RS256, ES256, EdDSA), in the place of SERIN_JWT_SECRET: a JWKS file or URL, taken up
    /// again when it changes
    #[arg(long, value_name = "FILE|URL")]
    jwks: Option<String>,
    /// How far the clocks of who signs and who checks may differ
    #[arg(long, default_value = "5s", value_parser = parse_duration)]
    leeway: Duration,
    /// The audience that every token must name; without it a token may name `serin` or nobody
    #[arg(long)]
    audience: Option<String>,
    /// The issuer that every token must name
    #[arg(long)]
    issuer: Option<String>,
    /// The platform that every token must be for
    #[arg(long, value_name = "P")]
    platform: Option<String>,
    /// Throttle the Personalize wire beyond so many requests a second, as a campaign does
    #[arg(long, value_name = "TPS")]
    campaign_tps: Option<f64>,
    /// Let the reads of the store be limited as a table's are, by POST /practice/table?capacity=UNITS
    #[arg(long)]
    practice: bool,
    /// A file that says what to suffer, for practice (`serin stack break`)
    #[arg(long, value_name = "FILE", hide = true)]
    trouble: Option<PathBuf>,
}

impl Serve {
    pub fn run(self, session: &Session) -> Result<Exit, RunError> {
        if self.store.is_none() && self.model.is_none() {
            return Err(RunError::misuse("there is nothing to serve").hint("give --store embedded:PATH or --model DIR"));
        }
        if self.campaign_tps.is_some_and(|t| !t.is_finite() || t <= 0.0) {
            return Err(RunError::misuse("--campaign-tps must be above zero"));
        }
        let keys_at = self.jwks.as_deref().map(KeysAt::parse);
        let gate = gate(keys_at.as_ref())?.with_audience(self.audience).with_issuer(self.issuer);
        let gate = gate.with_platform(self.platform).with_leeway(self.leeway.as_secs() as i64);
        let keys = Keys::parse(&std::env::var("SERIN_ACCESS_KEYS").unwrap_or_default());
        let keys = keys.map_err(|e| RunError::misuse(format!("SERIN_ACCESS_KEYS: {e}")))?;
        let store = self.store.map(|StoreAt::Embedded(path)| path);
        let sources = Sources { items: self.items, store, model: self.model, users: self.users, filters: self.filters };
        let world = sources.open()?;
        let live = self.live.unwrap_or_else(|| session.live_folder());
        let recent = Recent::open(live.clone(), world.knows_until(), jiff::Timestamp::now().as_second());
        let recent = recent.map_err(|e| {
            RunError::misuse(format!("{}: {e}", live.display())).hint("choose a folder with --live DIR")
        })?;
        let server = Server::bind(&self.listen)?;
        let url = format!("http://{}", server.address);
        let api = Arc::new(Api {
            gate: ArcSwap::from_pointee(gate),
            world: ArcSwap::from_pointee(world),
            meter: Meter::default(),
            recent,
            // A tenth of a second of quota at once: what comes evenly passes, what comes in a heap does not.
            quota: self.campaign_tps.map(|tps| Mutex::new(Limiter::with_burst(tps, 0.1, 0.0))),
            practice: self.practice.then(Practice::default),
            keys,
            trouble: ArcSwapOption::empty(),
            clock_s: AtomicI64::new(0),
            draining: AtomicBool::new(false),
            began: Instant::now(),
        });
        if let Some(path) = self.trouble {
            trouble::suffer(path, sources.clone(), Arc::clone(&api), session.stop.clone())
                .map_err(RunError::cannot_tell)?;
        }
        keep_fresh(sources, Arc::clone(&api), session.stop.clone()).map_err(RunError::cannot_tell)?;
        if let Some(at) = keys_at {
            jwks::keep_fresh(at, Arc::clone(&api), session.stop.clone()).map_err(RunError::cannot_tell)?;
        }
        if !session.global.quiet {
            let held = api.world.load();
            let lists = held.lists_held().map_or(String::new(), |n| format!(", {n} lists"));
            eprintln!("ready: {url} ({} programmes{lists})", held.catalogue.len());
        }
        server.run(&api, self.threads, &session.stop)?;
        Ok(Exit::Go)
    }
}

/// Returns what checks tokens: public keys where they are named, else the shared secret.
fn gate(keys: Option<&KeysAt>) -> Result<Gate, RunError> {
    if let Some(keys) = keys {
        if keys.is_in_the_open() {
            eprintln!("warning: keys that come over plain http can be changed on their way; use https");
        }
        return Ok(Gate::keys(keys.read()?));
    }
    let secret = std::env::var("SERIN_JWT_SECRET").ok().filter(|s| !s.is_empty()).ok_or_else(|| {
        RunError::misuse("SERIN_JWT_SECRET is not set, so no token could be checked")
            .hint("set it to the HS256 secret, at least 32 bytes, or name public keys with --jwks")
    })?;
    if secret.len() < 32 {
        eprintln!("warning: SERIN_JWT_SECRET has {} bytes; under 32 it can be guessed", secret.len());
    }
    Ok(Gate::secret(secret.as_bytes()))
}
