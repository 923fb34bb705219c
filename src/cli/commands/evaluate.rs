//! `serin evaluate`: its flags, as a job.

use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::run::error::RunError;

/// Offline metrics of a model, beside the most-popular baseline
#[derive(clap::Args)]
pub struct Evaluate {}

impl Evaluate {
    pub fn run(self, _session: &Session) -> Result<Exit, RunError> {
        Err(RunError::misuse("`serin evaluate` is not built in"))
    }
}
