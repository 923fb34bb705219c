//! `serin token`: its flags, as a job.

use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::run::error::RunError;

/// Make a JWT for trying the API
#[derive(clap::Args)]
pub struct Token {}

impl Token {
    pub fn run(self, _session: &Session) -> Result<Exit, RunError> {
        Err(RunError::misuse("`serin token` is not built in"))
    }
}
