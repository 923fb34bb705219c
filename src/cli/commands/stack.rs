//! `serin stack`: the whole local stack up, down, and how it is.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::run::error::RunError;
use crate::serve::stack::{self, StackSpec};
use crate::serve::supervisor;

/// The whole local stack: up, down, status
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
            attached: false,
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

fn absolute(path: PathBuf) -> Result<PathBuf, RunError> {
    std::path::absolute(&path).map_err(|e| RunError::misuse(format!("{}: {e}", path.display())))
}

fn status(session: &Session) -> Result<Exit, RunError> {
    let state = stack::running(&session.home)?;
    let ready = |url: &str| url.trim_start_matches("http://").parse().is_ok_and(stack::is_ready);
    let parts: Vec<_> = state.iter().flat_map(|s| &s.parts).map(|p| (p, p.pid.is_some() && ready(&p.url))).collect();
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
