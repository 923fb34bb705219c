//! `serin limit`: its flags, as a job.

use std::path::PathBuf;
use std::time::Duration;

use super::load::{How, Rate, parse_rate, spec};
use crate::cli::aim::Aim;
use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::load::limit::Terms;
use crate::run::error::RunError;
use crate::run::jobs::limit::{Limit as Job, implied};
use crate::stats::units::{Share, parse_duration, parse_share};

const TO: f64 = 50_000.0;
/// A step on the way up, and the fewest requests that a step is judged by.
const PROBE: Duration = Duration::from_secs(2);
const FEWEST: u64 = 200;

/// Find the highest rate that still meets the objectives
///
/// The rate doubles until it breaks; then the gap is narrowed, and both sides of the last gap are sent again. Each step is
/// judged by its second half. Exit code 0: found (or the highest rate asked for holds); 1: already the lowest rate breaks;
/// 3: the generator is the bottleneck, or nobody answers.
#[derive(clap::Args)]
#[command(after_help = "Example:
  serin limit --url http://127.0.0.1:7070/v1/popular --objective 'p99 < 50ms' --objective 'errors < 1%' --to 5000")]
pub struct Limit {
    /// A scenario whose requests are sent; its stages are not used
    #[arg(value_name = "SCENARIO.toml")]
    pub scenario: Option<PathBuf>,
    #[command(flatten)]
    pub aim: Aim,
    #[command(flatten)]
    pub how: How,
    /// The lowest rate
    #[arg(long, value_name = "R", value_parser = parse_rate, default_value = "50")]
    pub from: Rate,
    /// The highest rate
    #[arg(long, value_name = "R", value_parser = parse_rate)]
    pub to: Option<Rate>,
    /// How close the rate that holds and the one that breaks must come
    #[arg(long, value_name = "SHARE", value_parser = parse_share, default_value = "3%")]
    pub precision: Share,
    /// How long a step near the limit takes
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "6s")]
    pub step: Duration,
    /// Where the folder of the run is made
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

impl Limit {
    pub fn run(self, session: &Session) -> Result<Exit, RunError> {
        let mut spec = spec(self.scenario.as_deref(), &self.aim, &self.how, session)?;
        if spec.objectives.is_empty() {
            spec.objectives = implied().map_err(RunError::misuse)?;
        }
        if let Some(o) = spec.objectives.iter().find(|o| o.stage.is_some() || o.windows.is_some()) {
            let cause = format!("`{o}`: a search has steps of its own, neither stages nor windows");
            return Err(RunError::misuse(cause).hint("give the objectives of the search with --objective"));
        }
        let number = |flag: &str, rate: Rate| match rate {
            Rate::Fixed(rate) => Ok(rate),
            Rate::Max => Err(RunError::misuse(format!("--{flag} is a number of requests a second"))),
        };
        let from = number("from", self.from)?;
        let to = self.to.map_or(Ok(TO.max(from)), |to| number("to", to))?;
        if from > to {
            return Err(RunError::misuse(format!("--from {from} is above --to {to}")));
        }
        self.aim.find(session)?.check_rate(to)?;
        if !(0.002..=0.5).contains(&self.precision.0) {
            return Err(RunError::misuse("--precision is between 0.2% and 50%"));
        }
        if self.step < PROBE || self.step > Duration::from_secs(600) {
            return Err(RunError::misuse("--step is between 2s and 10m"));
        }
        let terms = Terms { from, to, precision: self.precision.0, probe: PROBE, careful: self.step, fewest: FEWEST };
        session.headless(Box::new(Job { spec, terms }), self.out.as_deref())
    }
}
