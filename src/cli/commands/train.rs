//! `serin train`: its flags, as a job.

use std::path::PathBuf;
use std::time::Duration;

use super::data::EventWord;
use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::model::convention;
use crate::model::dataset::Source;
use crate::model::rows::Format;
use crate::model::training::Ask;
use crate::run::error::RunError;
use crate::run::jobs::train;
use crate::stats::units::parse_duration;

/// Train implicit ALS on viewings
///
/// Of several rows of one viewer and programme one is made, as `serin data import --help` says. With a users file that has
/// CONSENT, only viewers who agreed are trained on. The model folder appears whole, or not at all.
#[derive(clap::Args)]
#[command(
    after_help = "Example: serin train --interactions platform/interactions.csv --users platform/users.csv --out model"
)]
pub struct Train {
    /// CSV with USER_ID, ITEM_ID, TIMESTAMP, EVENT_VALUE, columns in any order
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    interactions: Vec<PathBuf>,
    /// CSV with ITEM_ID and DURATION_S; needed when values are seconds
    #[arg(long, value_name = "FILE")]
    items: Option<PathBuf>,
    /// CSV with USER_ID and CONSENT
    #[arg(long, value_name = "FILE")]
    users: Option<PathBuf>,
    /// Viewers who took their consent back: the file that `serin serve` keeps [default: SERIN_HOME/live/forgotten.csv]
    #[arg(long, value_name = "FILE")]
    withdrawn: Option<PathBuf>,
    /// The model folder; a model that is there is replaced
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Factors a viewer and a programme
    #[arg(long, default_value_t = 64)]
    rank: usize,
    #[arg(long, default_value_t = 15)]
    iterations: usize,
    /// How strongly factors are held small [default: spark 0.1, implicit 5, ials 0.05]
    #[arg(long, value_name = "L")]
    regularization: Option<f32>,
    /// How much more a full viewing weighs than none [default: 10]
    #[arg(long, value_name = "A")]
    alpha: Option<f32>,
    /// Whose least squares
    #[arg(long, value_enum, default_value = "spark")]
    convention: Convention,
    /// Threads (0: one a core); the model does not depend on it
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    #[arg(long, value_name = "S", default_value_t = 7)]
    seed: u64,
    /// Leave out what is older than this, counted back from the newest viewing: 180d
    #[arg(long, value_name = "D", value_parser = parse_duration)]
    since: Option<Duration>,
    /// Halve a viewing's weight each time it has become this much older: 45d
    #[arg(long, value_name = "D", value_parser = parse_duration)]
    half_life: Option<Duration>,
    /// What EVENT_VALUE is
    #[arg(long, value_enum, default_value = "completion")]
    event_value: EventWord,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Convention {
    /// Confidence 1 + alpha r, lambda times the number of viewings
    Spark,
    /// Confidence alpha r, plain lambda
    Implicit,
    /// Confidence r over 1/alpha for all, lambda times (viewings + programmes / alpha)
    Ials,
}

impl Train {
    pub fn run(self, session: &Session) -> Result<Exit, RunError> {
        let convention = match self.convention {
            Convention::Spark => convention::Convention::Spark,
            Convention::Implicit => convention::Convention::Implicit,
            Convention::Ials => convention::Convention::Ials,
        };
        let event = self.event_value.into();
        let (alpha, regularization) = convention.defaults();
        let job = train::Train {
            source: Source {
                interactions: self.interactions,
                items: self.items,
                users: self.users,
                withdrawn: session.withdrawn(self.withdrawn),
                format: Format::Personalize,
                event,
                since: self.since,
            },
            ask: Ask {
                rank: self.rank,
                iterations: self.iterations,
                convention,
                regularization: self.regularization.unwrap_or(regularization),
                alpha: self.alpha.unwrap_or(alpha),
                seed: self.seed,
                event,
                since: self.since,
                half_life: self.half_life,
            },
            out: self.out,
            threads: self.threads,
        };
        session.headless(Box::new(job), None)
    }
}
