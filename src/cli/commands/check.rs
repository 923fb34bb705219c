//! `serin check`: its flags, as a job.

use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::run::error::RunError;

/// Tell what is wrong, in 60 seconds
#[derive(clap::Args)]
pub struct Check {}

impl Check {
    pub fn run(self, _session: &Session) -> Result<Exit, RunError> {
        Err(RunError::misuse("`serin check` is not built in"))
    }
}
