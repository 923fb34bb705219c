//! `serin publish`: its flags, as a job; and the way back.

use std::path::PathBuf;

use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::run::error::RunError;
use crate::run::jobs::publish::PublishJob;
use crate::serve::store::StoreAt;
use crate::serve::stores::embedded;

/// Publish a model's lists to the store that serves
///
/// The lists before serve on until the new ones are written, checked and read back; then one pointer moves.
#[derive(clap::Args)]
#[command(after_help = "Example: serin publish --model model --items data/items.csv --store embedded:lists")]
pub struct Publish {
    /// The model folder
    #[arg(long, value_name = "DIR", required_unless_present = "rollback")]
    model: Option<PathBuf>,
    /// The catalogue: programmes it does not hold are left out of the lists
    #[arg(long, value_name = "FILE", required_unless_present = "rollback")]
    items: Option<PathBuf>,
    /// CSV with USER_ID and CONSENT: whoever did not agree has no list
    #[arg(long, value_name = "FILE")]
    users: Option<PathBuf>,
    /// Viewers who took their consent back: the file that `serin serve` keeps [default: SERIN_HOME/live/forgotten.csv]
    #[arg(long, value_name = "FILE")]
    withdrawn: Option<PathBuf>,
    /// Where the lists go: embedded:PATH
    #[arg(long, value_name = "STORE")]
    store: StoreAt,
    /// Places of a list
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=500))]
    top: u16,
    /// Threads that score; 0 is one a core
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Point back to the lists before, at once
    #[arg(long, conflicts_with_all = ["model", "items"])]
    rollback: bool,
}

impl Publish {
    pub fn run(self, session: &Session) -> Result<Exit, RunError> {
        let StoreAt::Embedded(store) = self.store;
        let (Some(model), Some(items)) = (self.model, self.items) else {
            let (from, to) = embedded::roll_back(&store)?;
            let document = serde_json::json!({"schema": "serin.rollback/1", "from": from, "to": to});
            session.print(&document, || vec![format!("{to} serves again, in the place of {from}")]);
            return Ok(Exit::Go);
        };
        let withdrawn = session.withdrawn(self.withdrawn);
        let users = self.users;
        let job =
            PublishJob { model, items, users, withdrawn, store, top: usize::from(self.top), threads: self.threads };
        session.headless(Box::new(job), None)
    }
}
