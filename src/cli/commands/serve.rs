//! `serin serve`: its flags, as a job.

use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::run::error::RunError;

/// Serve the API
#[derive(clap::Args)]
pub struct Serve {}

impl Serve {
    pub fn run(self, _session: &Session) -> Result<Exit, RunError> {
        Err(RunError::misuse("`serin serve` is not built in"))
    }
}
