//! `serin help`: its flags, as a job.

use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::run::error::RunError;

/// Help on a topic: keys, schemas, man, completions
#[derive(clap::Args)]
pub struct Help {}

impl Help {
    pub fn run(self, _session: &Session) -> Result<Exit, RunError> {
        Err(RunError::misuse("`serin help` is not built in"))
    }
}
