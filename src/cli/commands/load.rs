//! `serin load`: its flags, as a job.

use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::run::error::RunError;

/// Run a scenario against a target
#[derive(clap::Args)]
pub struct Load {}

impl Load {
    pub fn run(self, _session: &Session) -> Result<Exit, RunError> {
        Err(RunError::misuse("`serin load` is not built in"))
    }
}
