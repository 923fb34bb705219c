//! `serin serve`: its flags, and one API process until it is told to stop.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use arc_swap::ArcSwap;

use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::run::error::RunError;
use crate::serve::api::Api;
use crate::serve::auth::Gate;
use crate::serve::limiter::Limiter;
use crate::serve::meter::Meter;
use crate::serve::personalize::Keys;
use crate::serve::practice::Practice;
use crate::serve::refresh::{Sources, keep_fresh};
use crate::serve::server::Server;
use crate::serve::store::StoreAt;

/// Run one API process: published lists, filtered by the catalogue, behind a checked token
///
/// The HS256 secret is read from SERIN_JWT_SECRET. Answers say where they come from: `"source": "list"` is the viewer's
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
    /// Threads that answer
    #[arg(long, default_value_t = 1)]
    threads: usize,
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
}

impl Serve {
    pub fn run(self, session: &Session) -> Result<Exit, RunError> {
        let secret = std::env::var("SERIN_JWT_SECRET").ok().filter(|s| !s.is_empty()).ok_or_else(|| {
            RunError::misuse("SERIN_JWT_SECRET is not set, so no token could be checked")
                .hint("set it to the HS256 secret, at least 32 bytes")
        })?;
        if secret.len() < 32 {
            eprintln!("warning: SERIN_JWT_SECRET has {} bytes; under 32 it can be guessed", secret.len());
        }
        if self.store.is_none() && self.model.is_none() {
            return Err(RunError::misuse("there is nothing to serve").hint("give --store embedded:PATH or --model DIR"));
        }
        if self.campaign_tps.is_some_and(|t| !t.is_finite() || t <= 0.0) {
            return Err(RunError::misuse("--campaign-tps must be above zero"));
        }
        let gate = Gate::secret(secret.as_bytes()).with_audience(self.audience).with_issuer(self.issuer);
        let gate = gate.with_platform(self.platform);
        let keys = Keys::parse(&std::env::var("SERIN_ACCESS_KEYS").unwrap_or_default());
        let keys = keys.map_err(|e| RunError::misuse(format!("SERIN_ACCESS_KEYS: {e}")))?;
        let store = self.store.map(|StoreAt::Embedded(path)| path);
        let sources = Sources { items: self.items, store, model: self.model };
        let world = sources.open()?;
        let server = Server::bind(&self.listen)?;
        let url = format!("http://{}", server.address);
        let api = Arc::new(Api {
            gate: ArcSwap::from_pointee(gate),
            world: ArcSwap::from_pointee(world),
            meter: Meter::default(),
            // A tenth of a second of quota at once: what comes evenly passes, what comes in a heap does not.
            quota: self.campaign_tps.map(|tps| Mutex::new(Limiter::with_burst(tps, 0.1, 0.0))),
            practice: self.practice.then(Practice::default),
            keys,
            draining: AtomicBool::new(false),
            began: Instant::now(),
        });
        keep_fresh(sources, Arc::clone(&api), session.stop.clone()).map_err(RunError::cannot_tell)?;
        if !session.global.quiet {
            let held = api.world.load();
            let lists = held.lists_held().map_or(String::new(), |n| format!(", {n} lists"));
            eprintln!("ready: {url} ({} programmes{lists})", held.catalogue.len());
        }
        server.run(&api, self.threads, &session.stop)?;
        Ok(Exit::Go)
    }
}
