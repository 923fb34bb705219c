//! `serin experiment`: its flags, as a job.

use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::run::error::RunError;

/// Analyse an A/B test
#[derive(clap::Args)]
pub struct Experiment {}

impl Experiment {
    pub fn run(self, _session: &Session) -> Result<Exit, RunError> {
        Err(RunError::misuse("`serin experiment` is not built in"))
    }
}
