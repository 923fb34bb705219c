//! `serin catalogue`: its flags, as a job.

use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::run::error::RunError;

/// Build the catalogue file
#[derive(clap::Args)]
pub struct Catalogue {}

impl Catalogue {
    pub fn run(self, _session: &Session) -> Result<Exit, RunError> {
        Err(RunError::misuse("`serin catalogue` is not built in"))
    }
}
