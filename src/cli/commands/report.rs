//! `serin report`: its flags, as a job.

use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::run::error::RunError;

/// List, show and compare past runs
#[derive(clap::Args)]
pub struct Report {}

impl Report {
    pub fn run(self, _session: &Session) -> Result<Exit, RunError> {
        Err(RunError::misuse("`serin report` is not built in"))
    }
}
