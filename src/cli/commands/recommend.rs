//! `serin recommend`: its flags, as a job.

use std::path::PathBuf;

use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::run::error::RunError;
use crate::run::jobs::recommend;

/// Write each viewer's list to a CSV file: user,rank,item,score
#[derive(clap::Args)]
#[command(after_help = "Example: serin recommend --model model --out lists.csv --top 20")]
pub struct Recommend {
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// The file to write, whole or not at all
    #[arg(long, value_name = "FILE.csv")]
    out: PathBuf,
    /// Only these viewers: CSV with USER_ID
    #[arg(long, value_name = "FILE")]
    users: Option<PathBuf>,
    /// The length of a list
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    top: u32,
    /// Threads (0: one a core)
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
}

impl Recommend {
    pub fn run(self, session: &Session) -> Result<Exit, RunError> {
        let Self { model, out, users, threads, .. } = self;
        session.headless(Box::new(recommend::Recommend { model, out, users, top: self.top as usize, threads }), None)
    }
}
