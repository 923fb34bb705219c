//! `serin recommend`: its flags, as a job.

use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::run::error::RunError;

/// Write batch lists, seen programmes removed
#[derive(clap::Args)]
pub struct Recommend {}

impl Recommend {
    pub fn run(self, _session: &Session) -> Result<Exit, RunError> {
        Err(RunError::misuse("`serin recommend` is not built in"))
    }
}
