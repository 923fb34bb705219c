//! `serin canary simulate`: its flags, as a job.

use std::time::Duration;

use crate::canary::night::Way;
use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::run::error::RunError;
use crate::run::jobs::canary_simulate;
use crate::stats::units::{parse_duration, parse_share};

/// Walk made-up evenings: false roll backs, harm found, time to roll back, requests harmed
#[derive(clap::Args)]
#[command(after_help = "Example: serin canary simulate --walks 1000 --rate 50 --errors 0.1%")]
pub struct Simulate {
    /// Walks of each kind of evening
    #[arg(long, default_value = "1000", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    walks: u32,
    /// The same seed draws the same evenings
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Requests a second of a tenth of the viewers
    #[arg(long, default_value_t = 50.0)]
    rate: f64,
    /// Share of requests that fail on a healthy evening
    #[arg(long, default_value = "0.1%")]
    errors: String,
    /// Keep the canary at 10 % in all stages, instead of 10, 20, .. 50 %
    #[arg(long)]
    flat: bool,
    /// Listen to the baseline alone for so long before each walk
    #[arg(long, default_value = "0s", value_parser = parse_duration)]
    warm_up: Duration,
    /// Walk also the evenings on which the judge is known to be weak
    #[arg(long)]
    weak: bool,
    /// Only kinds whose name contains this
    #[arg(long, value_name = "TEXT")]
    kind: Option<String>,
}

impl Simulate {
    pub fn run(self, session: &Session) -> Result<Exit, RunError> {
        let errors = parse_share(&self.errors).map_err(RunError::misuse)?.0;
        if !(errors > 0.0 && errors < 0.5) {
            return Err(RunError::misuse(format!("--errors {} is outside 0 % to 50 %", self.errors)));
        }
        if !(self.rate > 0.0 && self.rate <= 1e6) {
            return Err(RunError::misuse(format!("--rate {} is outside 0 to 1 000 000", self.rate)));
        }
        let job = canary_simulate::Simulate {
            walks: self.walks as usize,
            seed: self.seed,
            rate: self.rate,
            errors,
            way: Way {
                groups: if self.flat { [1; 5] } else { [1, 2, 3, 4, 5] },
                warm_up_s: self.warm_up.as_secs_f64(),
            },
            weak: self.weak,
            kind: self.kind,
        };
        session.headless(Box::new(job), None)
    }
}
