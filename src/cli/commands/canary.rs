//! `serin canary`: its flags, as a job.

use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::run::error::RunError;

/// Walk a canary by stages, or judge recorded numbers
#[derive(clap::Args)]
pub struct Canary {}

impl Canary {
    pub fn run(self, _session: &Session) -> Result<Exit, RunError> {
        Err(RunError::misuse("`serin canary` is not built in"))
    }
}
