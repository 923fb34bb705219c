//! `serin cost`: its flags, as a job.

use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::run::error::RunError;

/// Money, and the way down
#[derive(clap::Args)]
pub struct Cost {}

impl Cost {
    pub fn run(self, _session: &Session) -> Result<Exit, RunError> {
        Err(RunError::misuse("`serin cost` is not built in"))
    }
}
