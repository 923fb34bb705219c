//! `serin publish`: its flags, as a job.

use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::run::error::RunError;

/// Publish lists: object store, then key-value store
#[derive(clap::Args)]
pub struct Publish {}

impl Publish {
    pub fn run(self, _session: &Session) -> Result<Exit, RunError> {
        Err(RunError::misuse("`serin publish` is not built in"))
    }
}
