//! `serin serve`: its flags, and one API process until it is told to stop.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::cli::exit::Exit;
use crate::cli::platform::{self, Setting};
use crate::cli::session::Session;
use crate::run::error::RunError;
use crate::serve::api::Api;
use crate::serve::refresh::Sources;
use crate::serve::server::Server;
use crate::serve::store::StoreAt;
use crate::serve::trail::{self, Trail};
use crate::stats::units::{Share, parse_duration, parse_share};
use crate::toml_file::nearest;

/// Run one API process: published lists, filtered by the catalogue, behind a checked token
///
/// The HS256 secret is read from SERIN_JWT_SECRET; `--jwks` takes public keys instead. Answers say where they come from: `"source": "list"` is the viewer's
/// own list, `"live"` their own scores of now, `"popular"` what everybody gets who has neither. New lists and a new
/// catalogue are taken up while serving.
///
/// With a model, `explain=true` in a query adds to each programme which one of those that its viewer watched is most like
/// it. A store that is empty or damaged is no reason not to start: what is left of it or what everybody gets is answered,
/// and /health/ready says which.
///
/// Without --items the platforms of serin.toml are served, `[platforms.sixplay]` below /sixplay, each with its own items,
/// store, model, rules, keys and limits; a token must be for the platform that its path names.
#[derive(clap::Args)]
#[command(after_help = "Example: SERIN_JWT_SECRET=.. serin serve --store embedded:lists --items items.csv")]
pub struct Serve {
    /// Where to listen; port 0 takes a free one and says which
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7070")]
    listen: String,
    /// Published lists: embedded:PATH or dynamodb:TABLE
    #[arg(long, value_name = "STORE")]
    store: Option<StoreAt>,
    /// Where DynamoDB answers, when that is not AWS: a local server, or a limiter before it
    #[arg(long, value_name = "URL", requires = "store")]
    endpoint_url: Option<String>,
    /// The longest that a request waits for a table; then it is answered with what everybody gets, marked
    #[arg(long, value_name = "DURATION", default_value = "150ms", value_parser = parse_duration)]
    store_deadline: Duration,
    /// Lists read from a table that each thread remembers while they serve
    #[arg(long, value_name = "LISTS", default_value_t = 10_000)]
    remember: usize,
    /// A model folder, scored live
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// The catalogue: an items CSV or a file of `serin catalogue build`
    #[arg(long, value_name = "FILE")]
    items: Option<PathBuf>,
    /// CSV with USER_ID and CONSENT: whoever did not agree gets what everybody gets
    #[arg(long, value_name = "FILE")]
    users: Option<PathBuf>,
    /// Filters of the Personalize wire, a TOML file: `kids = 'INCLUDE ItemID WHERE Items.GENRE IN ("Kids")'`; a filterArn
    /// ending in `filter/kids` names it
    #[arg(long, value_name = "FILE")]
    filters: Option<PathBuf>,
    /// Boosts, promotions, caps, freshness and exploration, a TOML file (`serin help rules`); taken up while serving
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
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
    /// The platform that every token must be for; without --items the one of serin.toml that is served
    #[arg(long, value_name = "P")]
    platform: Option<String>,
    /// Throttle the Personalize wire beyond so many requests a second, as a campaign does
    #[arg(long, value_name = "TPS")]
    campaign_tps: Option<f64>,
    /// Let the reads of the store be limited as a table's are, by POST /practice/table?capacity=UNITS
    #[arg(long)]
    practice: bool,
    /// One JSON line a request: id, route, status, time; no viewer, no query, no token. `-` is standard output
    #[arg(long, value_name = "FILE")]
    access_log: Option<PathBuf>,
    /// An OpenTelemetry collector (OTLP over HTTP) that takes a span of each traced request: http://127.0.0.1:4318
    #[arg(long, value_name = "URL")]
    otlp: Option<String>,
    /// The share of requests that are traced where their caller does not say (`traceparent`)
    #[arg(long, value_name = "SHARE", default_value = "1%", value_parser = parse_share)]
    trace_share: Share,
    /// A second address, which other replicas of this machine share
    #[arg(long, value_name = "ADDRESS", hide = true)]
    shared: Option<std::net::SocketAddr>,
    /// A file that says what to suffer, for practice (`serin stack break`)
    #[arg(long, value_name = "FILE", hide = true)]
    trouble: Option<PathBuf>,
}

impl Serve {
    pub fn run(self, session: &Session) -> Result<Exit, RunError> {
        let wish =
            trail::Wish { log: self.access_log.clone(), collector: self.otlp.clone(), share: self.trace_share.0 };
        let trail = Trail::open(&wish).map_err(RunError::misuse)?;
        let named = &session.config.platforms;
        if self.items.is_none() && !named.is_empty() {
            return self.platforms(session, &trail);
        }
        let Some(items) = self.items else {
            return Err(RunError::misuse("there is no catalogue")
                .hint("give --items FILE and --store or --model, or describe platforms in serin.toml"));
        };
        if self.store.is_none() && self.model.is_none() {
            return Err(RunError::misuse("there is nothing to serve").hint("give --store embedded:PATH or --model DIR"));
        }
        if self.campaign_tps.is_some_and(|t| !t.is_finite() || t <= 0.0) {
            return Err(RunError::misuse("--campaign-tps must be above zero"));
        }
        let store = self.store.map(|store| platform::lists(store, self.endpoint_url.as_deref(), self.store_deadline));
        let setting = Setting {
            sources: Sources {
                items,
                store,
                model: self.model,
                users: self.users,
                filters: self.filters,
                rules: self.rules,
            },
            live: self.live.unwrap_or_else(|| session.live_folder()),
            secret: std::env::var("SERIN_JWT_SECRET").ok(),
            jwks: self.jwks,
            audience: self.audience,
            issuer: self.issuer,
            platform: self.platform,
            leeway: self.leeway,
            access_keys: std::env::var("SERIN_ACCESS_KEYS").unwrap_or_default(),
            campaign_tps: self.campaign_tps,
            remember: self.remember,
            practice: self.practice,
            trouble: self.trouble,
        };
        let server = Server::bind(&self.listen)?;
        let server = match self.shared {
            Some(at) => server.share(at)?,
            None => server,
        };
        let api = setting.open(session)?;
        let apis = [(String::new(), api)];
        say_ready(session, &server, &apis);
        server.run_all(&apis, &trail, self.threads, &session.stop)?;
        Ok(Exit::Go)
    }

    /// Serves the platforms of the configuration: each below its name, or the one that is asked for at the root.
    fn platforms(self, session: &Session, trail: &Trail) -> Result<Exit, RunError> {
        let all = &session.config.platforms;
        let mut apis = Vec::new();
        let server = Server::bind(&self.listen)?;
        match &self.platform {
            Some(one) => {
                let known = || {
                    let near = nearest(one, all.keys().map(String::as_str));
                    near.map_or(String::new(), |n| format!("; did you mean {n}?"))
                };
                let platform = all
                    .get(one)
                    .ok_or_else(|| RunError::misuse(format!("the configuration has no platform {one}{}", known())))?;
                apis.push((String::new(), platform.setting(session, one)?.open(session)?));
            }
            None => {
                for (name, platform) in all {
                    let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
                    if !plain || ["health", "metrics", "v1"].contains(&name.as_str()) {
                        return Err(RunError::misuse(format!(
                            "platforms.{name}: a platform's name is part of its paths: letters, digits, - and _"
                        )));
                    }
                    apis.push((name.clone(), platform.setting(session, name)?.open(session)?));
                }
            }
        }
        say_ready(session, &server, &apis);
        server.run_all(&apis, trail, self.threads, &session.stop)?;
        Ok(Exit::Go)
    }
}

fn say_ready(session: &Session, server: &Server, apis: &[(String, Arc<Api>)]) {
    if session.global.quiet {
        return;
    }
    for (name, api) in apis {
        let held = api.world.load();
        let lists = held.lists_held().map_or(String::new(), |n| format!(", {n} lists"));
        let path = if name.is_empty() { String::new() } else { format!("/{name}") };
        let state = if api.ready() { "ready" } else { "not ready" };
        eprintln!("{state}: http://{}{path} ({} programmes{lists})", server.address, held.catalogue.len());
    }
}
