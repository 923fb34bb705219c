//! `serin train`: its flags, as a job.

use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::run::error::RunError;

/// Train implicit ALS on viewings
#[derive(clap::Args)]
pub struct Train {}

impl Train {
    pub fn run(self, _session: &Session) -> Result<Exit, RunError> {
        Err(RunError::misuse("`serin train` is not built in"))
    }
}
