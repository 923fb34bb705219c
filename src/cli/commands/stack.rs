//! `serin stack`: the whole stack on this machine, up, down, and how it does.

use std::path::PathBuf;

use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::run::error::RunError;
use crate::serve::error::ServeError;
use crate::serve::stack::{self, StackSpec, StackState};
use crate::serve::store::StoreAt;

/// Run the whole stack on this machine
///
/// Without flags it serves the demo platform that `serin` makes on its first run. Logs, and the secret that the stack
/// makes for itself, lie in the folder `stack` below SERIN_HOME.
#[derive(clap::Args)]
#[command(after_help = "Example: serin stack up && serin load --url http://127.0.0.1:7070/health/live --duration 10s")]
pub struct Stack {
    #[command(subcommand)]
    word: Word,
}

#[derive(clap::Subcommand)]
enum Word {
    /// Start it; returns when it is ready and leaves a supervisor
    #[command(after_help = "Example: serin stack up --items items.csv --store embedded:lists")]
    Up(Up),
    /// End it: nothing of it is left
    #[command(after_help = "Example: serin stack down")]
    Down,
    /// Say whether it is up, and where; exit 1 when it is not
    #[command(after_help = "Example: serin stack status --json")]
    Status,
    /// The supervisor itself, started by `up`
    #[command(hide = true)]
    Supervise {
        plan: PathBuf,
        #[arg(long)]
        tethered: bool,
    },
}

#[derive(clap::Args)]
struct Up {
    /// Where the API listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7070")]
    listen: String,
    /// The catalogue, in the place of the demo platform's
    #[arg(long, value_name = "FILE", requires = "source")]
    items: Option<PathBuf>,
    /// Published lists, in the place of the demo platform's: embedded:PATH
    #[arg(long, value_name = "STORE", requires = "items", group = "source")]
    store: Option<StoreAt>,
    /// A model folder for live scores, in the place of the demo platform's
    #[arg(long, value_name = "DIR", requires = "items", group = "source")]
    model: Option<PathBuf>,
}

impl Stack {
    pub fn run(self, session: &Session) -> Result<Exit, RunError> {
        match self.word {
            Word::Up(up) => up.run(session),
            Word::Down => {
                let was = stack::down(&session.home).map_err(RunError::cannot_tell)?;
                say(session, if was { "the stack is down" } else { "there was no stack" }, None);
                Ok(Exit::Go)
            }
            Word::Status => {
                let state = stack::status(&session.home).map_err(RunError::cannot_tell)?;
                match &state {
                    Some(s) if s.ready => {
                        let text = format!("up on {} (restarts: {})", s.api_url, s.restarts);
                        say(session, &text, state.as_ref());
                    }
                    Some(_) => say(session, "starting, or starting again", state.as_ref()),
                    None => say(session, "down; start it with `serin stack up`", None),
                }
                Ok(if state.is_some_and(|s| s.ready) { Exit::Go } else { Exit::No })
            }
            Word::Supervise { plan, tethered } => {
                stack::supervise(&plan, tethered, &session.stop).map_err(RunError::cannot_tell)?;
                Ok(Exit::Go)
            }
        }
    }
}

impl Up {
    fn run(self, session: &Session) -> Result<Exit, RunError> {
        // The supervisor and its children may have another working directory one day; the paths are made whole here.
        let whole = |path: PathBuf| std::path::absolute(&path).map_err(RunError::misuse);
        let home = whole(session.home.clone())?;
        let mut spec = StackSpec::demo(&home, &self.listen);
        let demo = self.items.is_none();
        if let Some(items) = self.items {
            spec.items = whole(items)?;
            spec.store = self.store.map(|StoreAt::Embedded(path)| whole(path)).transpose()?;
            spec.model = self.model.map(whole).transpose()?;
        }
        let state = stack::up_detached(&spec, &mut |_| {}).map_err(|error| match error {
            ServeError::NothingPublished { .. } | ServeError::Stack(_) if demo && !spec.items.is_file() => {
                RunError::misuse("there is no demo platform yet")
                    .hint("run `serin` once, which makes it; or give --items FILE and --store embedded:PATH")
            }
            error => RunError::misuse(error),
        })?;
        say(session, &format!("up on {}", state.api_url), Some(&state));
        Ok(Exit::Go)
    }
}

fn say(session: &Session, text: &str, state: Option<&StackState>) {
    if session.global.json {
        let up = state.is_some_and(|s| s.ready);
        println!("{}", serde_json::json!({"schema": "serin.stack/1", "up": up, "state": state}));
    } else if !session.global.quiet {
        println!("{text}");
    }
}
