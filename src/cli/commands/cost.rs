//! `serin cost`: money now and on paper, the price list, and the way down.

mod descend;
mod estimate;
mod prices;
mod show;
mod tell;

use std::path::Path;

use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::cost::error::CostError;
use crate::cost::prices::Prices;
use crate::run::error::RunError;

/// Money: what it costs, what it would cost, and the way down to the cheapest capacity that holds
#[derive(clap::Args)]
#[command(after_help = "Example: serin cost descend     (14 days in two minutes, on the local stack)")]
pub struct Cost {
    #[command(subcommand)]
    word: Word,
}

#[derive(clap::Subcommand)]
enum Word {
    Show(Box<show::Show>),
    Estimate(Box<estimate::OnPaper>),
    Descend(Box<descend::Descend>),
    Tell(tell::Tell),
    Prices(prices::List),
}

impl Cost {
    pub fn run(self, session: &Session) -> Result<Exit, RunError> {
        match self.word {
            Word::Show(command) => command.run(session),
            Word::Estimate(command) => command.run(session),
            Word::Descend(command) => command.run(session),
            Word::Tell(command) => command.run(session),
            Word::Prices(command) => command.run(session),
        }
    }
}

fn misuse(error: CostError) -> RunError {
    RunError::misuse(error)
}

/// The shipped prices, those that were fetched here, and the user's own file.
fn open(own: Option<&Path>, session: &Session) -> Result<Prices, RunError> {
    Prices::open(own, &Prices::updated(&session.home)).map_err(misuse)
}
