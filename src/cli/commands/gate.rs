//! `serin gate`: its flags, as a job.

use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::run::error::RunError;

/// A load judged for CI
#[derive(clap::Args)]
pub struct Gate {}

impl Gate {
    pub fn run(self, _session: &Session) -> Result<Exit, RunError> {
        Err(RunError::misuse("`serin gate` is not built in"))
    }
}
