//! `serin watch`: its flags, as a job.

use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::run::error::RunError;

/// Live signals without a screen
#[derive(clap::Args)]
pub struct Watch {}

impl Watch {
    pub fn run(self, _session: &Session) -> Result<Exit, RunError> {
        Err(RunError::misuse("`serin watch` is not built in"))
    }
}
