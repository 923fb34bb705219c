//! `serin replay`: its flags, as a job.

use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::run::error::RunError;

/// Replay recorded traffic with its own timing
#[derive(clap::Args)]
pub struct Replay {}

impl Replay {
    pub fn run(self, _session: &Session) -> Result<Exit, RunError> {
        Err(RunError::misuse("`serin replay` is not built in"))
    }
}
