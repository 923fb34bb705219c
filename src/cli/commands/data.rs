//! `serin data`: its flags, as a job.

use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::run::error::RunError;

/// Make, import or describe viewings
#[derive(clap::Args)]
pub struct Data {}

impl Data {
    pub fn run(self, _session: &Session) -> Result<Exit, RunError> {
        Err(RunError::misuse("`serin data` is not built in"))
    }
}
