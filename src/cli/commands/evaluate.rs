//! `serin evaluate`: its flags, as a job.

use std::path::PathBuf;

use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::run::error::RunError;
use crate::run::jobs::evaluate;

/// Measure a model on held-out viewings, beside the most popular programmes
///
/// Programmes already seen are left out of the lists. Averages go over all held-out viewers: one whom the model does not
/// know counts as a miss, and how many there are is said.
#[derive(clap::Args)]
#[command(after_help = "Example: serin evaluate --model model --heldout platform/heldout.csv")]
pub struct Evaluate {
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// CSV with USER_ID and ITEM_ID: the programme each viewer watched last
    #[arg(long, value_name = "FILE")]
    heldout: PathBuf,
    /// The length of a list
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    k: u32,
    /// Threads (0: one a core)
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
}

impl Evaluate {
    pub fn run(self, session: &Session) -> Result<Exit, RunError> {
        let Self { model, heldout, threads, .. } = self;
        session.headless(Box::new(evaluate::Evaluate { model, heldout, k: self.k as usize, threads }), None)
    }
}
