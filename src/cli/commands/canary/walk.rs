//! `serin canary walk`: its flags, as a job.

use std::path::PathBuf;

use crate::cli::commands::console::show;
use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::run::error::RunError;
use crate::run::jobs::canary_walk::CanaryWalk;

/// Walk a new version out by shares of viewers: set, read back, hold, judge; go on, hold, or roll back
///
/// Each act is written to a journal first: a walk that was killed goes on with `serin canary resume`. The exit code is 0
/// when it was walked out, 1 when it was rolled back, 3 when nothing could be told and the share was held.
#[derive(clap::Args)]
#[command(after_help = "Example: serin canary walk canary-good --json")]
pub struct Walk {
    /// A plan: a file, or one that is built in (canary-good, canary-errors, canary-slow, canary-empty, canary-blind)
    #[arg(value_name = "PLAN.toml")]
    plan: PathBuf,
    /// Walk this target instead of the plan's
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// Where the run's folder is made
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Walk {
    pub fn run(self, session: &Session) -> Result<Exit, RunError> {
        let (name, text) = super::plan::text(&self.plan)?;
        let mut plan = super::plan::parse(&name, &text)?;
        if let Some(target) = self.target {
            plan.target = target;
        }
        if let Some(lack) = plan.wiring.lacks(&plan.driver) {
            return Err(RunError::misuse(format!("{name}: {lack}")));
        }
        show(session, Box::new(CanaryWalk { plan, text, name }), self.out.as_deref())
    }
}
