//! `serin stack`: its flags, as a job.

use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::run::error::RunError;

/// The whole local stack: up, down, status
#[derive(clap::Args)]
pub struct Stack {}

impl Stack {
    pub fn run(self, _session: &Session) -> Result<Exit, RunError> {
        Err(RunError::misuse("`serin stack` is not built in"))
    }
}
