//! `serin` alone: the console in a terminal, the same evening headless without one.

use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::run::error::RunError;

pub fn run(_session: &Session) -> Result<Exit, RunError> {
    Err(RunError::misuse("the console is not built in"))
}
