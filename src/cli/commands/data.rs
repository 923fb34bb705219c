//! `serin data`: a synthetic platform, somebody's own export, a data set at a glance.

use std::path::PathBuf;

use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::model::dataset::Source;
use crate::model::event_value::EventValue;
use crate::model::rows;
use crate::model::synth::Size;
use crate::run::error::RunError;
use crate::run::jobs::describe;
use crate::run::jobs::import;
use crate::run::jobs::synth;

/// Make, import or describe viewings
#[derive(clap::Args)]
#[command(after_help = "Example: serin data synth --out platform --viewers 20000 --programmes 2000 --viewings 600000")]
pub struct Data {
    #[command(subcommand)]
    word: Word,
}

#[derive(clap::Subcommand)]
enum Word {
    Synth(Synth),
    Import(Import),
    Describe(Describe),
}

impl Data {
    pub fn run(self, session: &Session) -> Result<Exit, RunError> {
        match self.word {
            Word::Synth(command) => command.run(session),
            Word::Import(command) => command.run(session),
            Word::Describe(command) => command.run(session),
        }
    }
}

/// Make a platform that never was: interactions.csv, items.csv, users.csv, heldout.csv
///
/// Popularity is Zipf, viewers mix tastes, evenings are full, one viewer in ten gave no consent. Each viewer's last
/// programme goes to heldout.csv. The same sizes and seed give the same files.
#[derive(clap::Args)]
#[command(
    after_help = "Example: serin data synth --out platform --viewers 100000 --programmes 5000 --viewings 5000000 --seed 7"
)]
struct Synth {
    /// The folder for the four files
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    viewers: usize,
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    programmes: usize,
    /// Rows in all, the held-out ones included
    #[arg(long, value_name = "N", default_value_t = 600_000)]
    viewings: usize,
    #[arg(long, value_name = "S", default_value_t = 7)]
    seed: u64,
    /// Threads (0: one a core); the files do not depend on it
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
}

impl Synth {
    fn run(self, session: &Session) -> Result<Exit, RunError> {
        let Self { viewers, programmes, viewings, seed, .. } = self;
        let size = Size { viewers, programmes, viewings, seed };
        session.headless(Box::new(synth::Synth { out: self.out, size, threads: self.threads }), None)
    }
}

/// What EVENT_VALUE holds.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
pub enum EventWord {
    /// The share that was watched, 0..1
    Completion,
    /// Seconds watched; divided by DURATION_S of the items file, at most 1
    Seconds,
    /// How often
    Count,
    /// A rating; divided by the largest
    Stars,
    /// Nothing: each row counts 1
    None,
}

impl From<EventWord> for EventValue {
    fn from(word: EventWord) -> Self {
        match word {
            EventWord::Completion => Self::Completion,
            EventWord::Seconds => Self::Seconds,
            EventWord::Count => Self::Count,
            EventWord::Stars => Self::Stars,
            EventWord::None => Self::None,
        }
    }
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Format {
    /// CSV with USER_ID, ITEM_ID, TIMESTAMP and EVENT_VALUE, columns in any order
    Personalize,
    /// user::item::rating::timestamp, or the same with commas and a header, or with tabs
    Movielens,
}

/// Turn somebody's own export into serin's files, and say what was dropped and why
///
/// One row is kept for each viewer and programme: of completions the highest, of seconds and counts the sum, of stars the
/// latest. With a users file that has CONSENT, only viewers who agreed are kept. Either all files are written or none.
#[derive(clap::Args)]
#[command(after_help = "Example: serin data import ratings.dat --format movielens --items movies.dat --out platform")]
struct Import {
    /// Files of viewings, read one after the other
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    #[arg(long, value_enum)]
    format: Format,
    /// The folder for the files
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// What EVENT_VALUE (or the rating) is [default: completion; stars for movielens]
    #[arg(long, value_enum)]
    event_value: Option<EventWord>,
    /// ITEM_ID, DURATION_S, ..; for movielens movies.csv or movies.dat
    #[arg(long, value_name = "FILE")]
    items: Option<PathBuf>,
    /// USER_ID, CONSENT, ..
    #[arg(long, value_name = "FILE")]
    users: Option<PathBuf>,
    /// Threads (0: one a core)
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
}

impl Import {
    fn run(self, session: &Session) -> Result<Exit, RunError> {
        let (format, usual) = match self.format {
            Format::Personalize => (rows::Format::Personalize, EventValue::Completion),
            Format::Movielens => (rows::Format::Movielens, EventValue::Stars),
        };
        let event = self.event_value.map_or(usual, EventValue::from);
        let source = Source {
            interactions: self.files,
            items: self.items,
            users: self.users,
            withdrawn: None,
            format,
            event,
            since: None,
        };
        session.headless(Box::new(import::Import { source, out: self.out, threads: self.threads }), None)
    }
}

/// Show a data set at a glance
#[derive(clap::Args)]
#[command(after_help = "Example: serin data describe platform")]
struct Describe {
    /// A folder with interactions.csv, and what else there is
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

impl Describe {
    fn run(self, session: &Session) -> Result<Exit, RunError> {
        session.headless(Box::new(describe::Describe { folder: self.folder }), None)
    }
}
