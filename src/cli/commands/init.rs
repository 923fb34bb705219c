//! `serin init`: its flags, as a job.

use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::run::error::RunError;

/// Write a commented serin.toml
#[derive(clap::Args)]
pub struct Init {}

impl Init {
    pub fn run(self, _session: &Session) -> Result<Exit, RunError> {
        Err(RunError::misuse("`serin init` is not built in"))
    }
}
