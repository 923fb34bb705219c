//! `serin experiment`: its flags, as a job.

use std::path::PathBuf;

use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::experiment::analysis::Asked;
use crate::experiment::exposures::{Wanted, is_time};
use crate::run::error::RunError;
use crate::run::jobs::experiment;
use crate::stats::units::parse_share;

/// Analyse an A/B test: viewing time, time to play
///
/// The CSV has one row a viewer, or a viewer and day, with a header; columns in any order: `viewer`, `group` (two of them),
/// optionally `day`, the metrics (`viewing_minutes`, `time_to_play_s`, ..), `pre_viewing_minutes` (the same metric before the
/// experiment: narrows the interval), and columns to cut by (`country`, `device`). A metric is summed for each viewer; one
/// whose name ends in `_s` is a time and averaged over its rows; `a/b` is a ratio of sums.
///
/// With more than one day the verdict is by a p-value that stays valid however often one looks.
#[derive(clap::Args)]
#[command(after_help = "Example: serin experiment exposures.csv --metric viewing_minutes --alpha 0.05 --json")]
pub struct Experiment {
    #[arg(value_name = "EXPOSURES.csv")]
    exposures: PathBuf,
    /// The column that is compared, or a ratio of two: viewing_minutes/sessions
    #[arg(long, default_value = "viewing_minutes")]
    metric: String,
    /// How often a difference may be claimed where there is none
    #[arg(long, default_value_t = 0.05)]
    alpha: f64,
    /// The group without the change (else guessed: control, without, off, a, ..)
    #[arg(long, value_name = "GROUP")]
    control: Option<String>,
    /// The share of viewers that was meant to see the change
    #[arg(long, default_value = "50%")]
    split: String,
    /// Less is better; so assumed of a metric that ends in _s or _ms
    #[arg(long)]
    lower_is_better: bool,
    /// This is the end that was planned beforehand, nobody looked before
    #[arg(long)]
    planned_end: bool,
}

impl Experiment {
    pub fn run(self, session: &Session) -> Result<Exit, RunError> {
        if !(self.alpha > 0.0 && self.alpha < 0.5) {
            return Err(RunError::misuse(format!("--alpha {} is outside 0 to 0.5", self.alpha)));
        }
        let split = parse_share(&self.split).map_err(RunError::misuse)?.0;
        if !(split > 0.0 && split < 1.0) {
            return Err(RunError::misuse(format!("--split {} leaves one group without viewers", self.split)));
        }
        let time = is_time(&self.metric);
        let asked = Asked {
            alpha: self.alpha,
            split,
            lower_is_better: self.lower_is_better || time,
            planned_end: self.planned_end,
        };
        let wanted = Wanted { metric: self.metric, control: self.control };
        session.headless(Box::new(experiment::Experiment { file: self.exposures, wanted, asked }), None)
    }
}
