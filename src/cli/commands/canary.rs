//! `serin canary`: its words, each as a job.

mod judge;
mod plan;
mod resume;
mod simulate;
mod walk;

use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::run::error::RunError;

/// Walk a canary by stages, or judge recorded numbers
#[derive(clap::Args)]
pub struct Canary {
    #[command(subcommand)]
    word: Word,
}

#[derive(clap::Subcommand)]
enum Word {
    Plan(plan::Plan),
    Walk(walk::Walk),
    Resume(resume::Resume),
    Approve(resume::Approve),
    Rollback(resume::Rollback),
    Judge(judge::Judge),
    Simulate(simulate::Simulate),
}

impl Canary {
    pub fn run(self, session: &Session) -> Result<Exit, RunError> {
        match self.word {
            Word::Plan(word) => word.run(session),
            Word::Walk(word) => word.run(session),
            Word::Resume(word) => word.run(session),
            Word::Approve(word) => word.run(session),
            Word::Rollback(word) => word.run(session),
            Word::Judge(word) => word.run(session),
            Word::Simulate(word) => word.run(session),
        }
    }
}
