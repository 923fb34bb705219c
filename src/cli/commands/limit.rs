//! `serin limit`: its flags, as a job.

use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::run::error::RunError;

/// Find the highest rate that still meets the objectives
#[derive(clap::Args)]
pub struct Limit {}

impl Limit {
    pub fn run(self, _session: &Session) -> Result<Exit, RunError> {
        Err(RunError::misuse("`serin limit` is not built in"))
    }
}
