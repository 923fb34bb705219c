//! `serin stack`: the whole local stack up, down, and how it is.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::canary::driver::Driver as _;
use crate::canary::drivers::local::Local;
use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::run::error::RunError;
use crate::run::jobs;
use crate::serve::faults;
use crate::serve::router::{self, Setup};
use crate::serve::stack::{self, CanarySpec, StackSpec};
use crate::serve::supervisor;
use crate::stats::units::{Share, parse_duration, parse_share};

/// The whole local stack: up, down, status; break and mend it to practise
///
/// `up` returns when the API is ready and leaves a supervisor that starts crashed parts again; `down`, or the
/// supervisor's death, ends every part. Logs are in SERIN_HOME/stack/.
#[derive(clap::Args)]
#[command(after_help = "Example: serin stack up && serin load evening-short --target local; serin stack down")]
pub struct Stack {
    #[command(subcommand)]
    act: Act,
}

#[derive(clap::Subcommand)]
enum Act {
    /// Start the stack; returns when it is ready
    Up(Up),
    /// End the stack and all its parts
    Down,
    /// What runs: exit 0 when all of it is ready, 1 when not
    Status,
    /// Break something on purpose, to practise on: `serin check --target local` should name it
    Break(Break),
    /// Mend what was broken on purpose: one fault, or all of them
    Mend { fault: Option<String> },
    /// Tell how many of the viewers get the canary, or set it: 30% or 0.3 (the stack is up with --canary)
    Share { share: Option<String> },
    /// Let simulated viewers live on both versions, and write what they did as an experiment reads it
    ///
    /// Each viewer opens the strip on some evenings, asks the API through the router, and plays the first programme that is
    /// to their taste. How long that takes is what the answer took and what they looked at; how much they watch follows
    /// their habit. `serin experiment` reads the file.
    Live(Live),
    /// Split viewers between two versions of the API (started by `up --canary`)
    #[command(hide = true)]
    Route(Route),
    /// Hold the parts (started by `up`)
    #[command(hide = true)]
    Supervise { spec: PathBuf },
}

#[derive(clap::Args)]
struct Up {
    /// Where the API listens
    #[arg(long, default_value_t = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7070))]
    listen: SocketAddr,
    /// The catalogue (default: the demo platform's)
    #[arg(long, value_name = "FILE", requires = "store")]
    items: Option<PathBuf>,
    /// Published lists: embedded:PATH (default: the demo platform's)
    #[arg(long, value_name = "STORE", requires = "items")]
    store: Option<String>,
    /// A model that scores live those who have no list
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// How many API processes share the address
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=16))]
    #[arg(conflicts_with = "canary")]
    replicas: u16,
    /// Run a second version of the API beside the first, and a router that splits viewers between the two
    #[arg(long)]
    canary: bool,
    /// The second version's lists: embedded:PATH
    #[arg(long, value_name = "STORE", requires = "canary")]
    canary_store: Option<String>,
    /// The second version's model
    #[arg(long, value_name = "DIR", requires = "canary")]
    canary_model: Option<PathBuf>,
    /// What viewers are dealt by; another salt deals them anew
    #[arg(long, value_name = "TEXT", default_value = "local", requires = "canary")]
    salt: String,
}

#[derive(clap::Args)]
struct Break {
    /// Which of the faults that --list shows
    #[arg(required_unless_present = "list")]
    fault: Option<String>,
    /// How strong, in the unit that --list shows [default: strong enough for the traffic that there is]
    #[arg(long, value_name = "NUMBER")]
    at: Option<f64>,
    /// Show the faults there are
    #[arg(long, conflicts_with_all = ["fault", "at"])]
    list: bool,
}

#[derive(clap::Args)]
#[command(
    after_help = "Example: serin stack up --canary && serin stack live --out exposures.csv && serin experiment exposures.csv"
)]
struct Live {
    /// The file that is written
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    viewers: u32,
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=365))]
    days: u32,
    /// How many of the viewers get the second version
    #[arg(long, default_value = "50%")]
    share: String,
    /// The same seed gives the same viewers
    #[arg(long, default_value_t = 7)]
    seed: u64,
}

impl Live {
    fn run(self, session: &Session) -> Result<Exit, RunError> {
        let share = parse_share(&self.share).map_err(RunError::misuse)?.0;
        let (viewers, days) = (self.viewers as usize, self.days as usize);
        session.headless(Box::new(jobs::live::Live { out: self.out, viewers, days, share, seed: self.seed }), None)
    }
}

#[derive(clap::Args)]
struct Route {
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long)]
    baseline: SocketAddr,
    #[arg(long)]
    canary: SocketAddr,
    #[arg(long)]
    salt: String,
    #[arg(long)]
    state: Option<PathBuf>,
    #[arg(long, value_parser = parse_duration)]
    mute_after: Option<Duration>,
}

impl Route {
    fn run(self, session: &Session) -> Result<Exit, RunError> {
        let secret = std::env::var("SERIN_JWT_SECRET").ok().filter(|s| !s.is_empty());
        let secret = secret.ok_or_else(|| RunError::misuse("SERIN_JWT_SECRET is not set"))?;
        let setup = Setup {
            listen: self.listen,
            baseline: self.baseline,
            canary: self.canary,
            salt: self.salt,
            state: self.state,
            mute_after: self.mute_after,
        };
        router::run(setup, secret.as_bytes(), &session.stop)?;
        Ok(Exit::Go)
    }
}

impl Stack {
    pub fn run(self, session: &Session) -> Result<Exit, RunError> {
        match self.act {
            Act::Up(up) => up.run(session),
            Act::Down => {
                let was_up = stack::down(&session.home)?;
                session.print(&serde_json::json!({"schema": "serin.stack/1", "was_up": was_up}), || {
                    vec![if was_up { "the stack is down" } else { "no stack was up" }.to_owned()]
                });
                Ok(Exit::Go)
            }
            Act::Status => status(session),
            Act::Break(asked) => asked.run(session),
            Act::Mend { fault } => mend(session, fault.as_deref()),
            Act::Share { share } => share_of(session, share.as_deref()),
            Act::Live(live) => live.run(session),
            Act::Route(route) => route.run(session),
            Act::Supervise { spec } => supervisor::run(&spec).map(|()| Exit::Go).map_err(RunError::from),
        }
    }
}

impl Up {
    fn run(self, session: &Session) -> Result<Exit, RunError> {
        let demo = session.home.join("demo");
        let named = self.items.is_some();
        let spec = StackSpec {
            home: session.home.clone(),
            items: absolute(self.items.unwrap_or_else(|| demo.join("items.catalogue")))?,
            store: match self.store {
                Some(store) => store,
                None => format!("embedded:{}", demo.join("store").display()),
            },
            // The demo platform's own model, where nobody names another platform.
            model: match self.model {
                Some(model) => Some(absolute(model)?),
                None => Some(demo.join("model")).filter(|m| !named && m.is_dir()),
            },
            listen: self.listen,
            replicas: self.replicas,
            attached: false,
            canary: if self.canary {
                Some(CanarySpec {
                    store: self.canary_store,
                    model: self.canary_model.map(absolute).transpose()?,
                    ..CanarySpec::same(&self.salt).map_err(RunError::cannot_tell)?
                })
            } else {
                None
            },
        };
        if !spec.items.is_file() {
            let cause = format!("there is no catalogue at {}", spec.items.display());
            let hint = "run `serin` once: it makes the demo platform; or name yours with --items and --store";
            return Err(RunError::misuse(cause).hint(hint));
        }
        let up = stack::up(&spec)?;
        let document = serde_json::json!({"schema": "serin.stack/1", "state": &up.state});
        session.print(&document, || vec![format!("the stack is up at {}", up.state.api_url)]);
        Ok(Exit::Go)
    }
}

impl Break {
    fn run(self, session: &Session) -> Result<Exit, RunError> {
        let Some(name) = self.fault else { return list(session) };
        let fault = faults::named(&name)?;
        let set = faults::set(&session.home, fault, self.at)?;
        let unfelt = faults::unfelt(&session.home, fault);
        let document = serde_json::json!({"schema": "serin.stack/1", "broken": [&set], "unfelt": &unfelt});
        session.print(&document, || {
            let strongest = set.strength.values().copied().fold(0.0, f64::max);
            let at = if fault.unit.is_empty() { String::new() } else { format!(" ({strongest} {})", fault.unit) };
            let mut lines =
                vec![format!("broken: {}{at}", fault.does), format!("mend it with: serin stack mend {}", fault.name)];
            lines.extend(unfelt.as_ref().map(|why| format!("! {why}")));
            lines
        });
        Ok(Exit::Go)
    }
}

fn list(session: &Session) -> Result<Exit, RunError> {
    let broken = faults::broken(&session.home)?;
    let is_set = |f: &faults::Fault| broken.iter().any(|b| b.fault == f.name);
    let all = faults::FAULTS.iter();
    let all: Vec<_> =
        all.map(|f| serde_json::json!({"fault": f.name, "does": f.does, "unit": f.unit, "set": is_set(f)})).collect();
    session.print(&serde_json::json!({"schema": "serin.stack/1", "faults": all}), || {
        let line = |f: &faults::Fault| {
            let unit = if f.unit.is_empty() { String::new() } else { format!(" (--at: {})", f.unit) };
            format!("{} {:<16} {}{unit}", if is_set(f) { "✗" } else { " " }, f.name, f.does)
        };
        faults::FAULTS.iter().map(line).collect()
    });
    Ok(Exit::Go)
}

fn mend(session: &Session, name: Option<&str>) -> Result<Exit, RunError> {
    let fault = name.map(faults::named).transpose()?;
    let mended = faults::mend(&session.home, fault)?;
    session.print(&serde_json::json!({"schema": "serin.stack/1", "mended": mended}), || {
        vec![match mended {
            0 => "nothing was broken on purpose".to_owned(),
            1 => "mended".to_owned(),
            n => format!("{n} faults mended"),
        }]
    });
    Ok(Exit::Go)
}

fn share_of(session: &Session, asked: Option<&str>) -> Result<Exit, RunError> {
    let asked = asked.map(parse_share).transpose().map_err(RunError::misuse)?;
    if stack::running(&session.home)?.is_none() {
        return Err(RunError::misuse("no stack is up").hint("start it with `serin stack up --canary`"));
    }
    let mut router = Local::new(&session.home).map_err(RunError::cannot_tell)?;
    if let Some(share) = asked {
        router.set(share.0).map_err(|e| RunError::cannot_tell(e.to_string()))?;
    }
    let share = router.read().map_err(|e| RunError::cannot_tell(e.to_string()))?;
    session.print(&serde_json::json!({"schema": "serin.stack/1", "share": share}), || {
        vec![format!("{} of the viewers get the canary", Share(share))]
    });
    Ok(Exit::Go)
}

fn absolute(path: PathBuf) -> Result<PathBuf, RunError> {
    std::path::absolute(&path).map_err(|e| RunError::misuse(format!("{}: {e}", path.display())))
}

fn status(session: &Session) -> Result<Exit, RunError> {
    let state = stack::running(&session.home)?;
    let parts: Vec<_> = state.iter().flat_map(|s| &s.parts).map(|p| (p, p.is_ready())).collect();
    let well = !parts.is_empty() && parts.iter().all(|(_, ready)| *ready);
    let document = serde_json::json!({
        "schema": "serin.stack/1",
        "up": state.is_some(),
        "ready": well,
        "state": &state,
    });
    session.print(&document, || match &state {
        None => vec!["no stack is up; start it with `serin stack up`".to_owned()],
        Some(_) => parts
            .iter()
            .map(|(part, ready)| {
                let word = if *ready { "✓ ready" } else { "✗ not ready" };
                let ended =
                    part.ended.as_ref().map_or(String::new(), |e| format!(", {} restarts, last {e}", part.restarts));
                format!("{word}  {}  {}{ended}", part.name, part.url)
            })
            .collect(),
    });
    Ok(if well { Exit::Go } else { Exit::No })
}
