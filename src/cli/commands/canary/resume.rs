//! `serin canary resume`, `approve` and `rollback`: what is said to a walk from another terminal, or after its death.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::canary::order::Wish;
use crate::canary::record::{Past, PastStep, Place};
use crate::cli::commands::console::show;
use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::run::error::RunError;
use crate::run::jobs::canary_walk::{CanaryResume, SCHEMA, ask, find, is_walked};

/// How long a walk that is alive may take to roll back before it is said that it did not.
const PATIENCE: Duration = Duration::from_secs(90);

/// Go on with a walk that was killed, stopped or held
///
/// The share is set and read back again, at the stage where the journal says it was, and the stage's time begins anew.
#[derive(clap::Args)]
#[command(after_help = "Example: serin canary resume reports/2026-11-23T2025Z-canary-als-0931-local")]
pub struct Resume {
    #[command(flatten)]
    which: Which,
    /// Where the folder of this part of the run is made
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Approve the stage that waits for it
#[derive(clap::Args)]
#[command(after_help = "Example: serin canary approve reports/2026-11-23T2025Z-canary-als-0931-local")]
pub struct Approve {
    #[command(flatten)]
    which: Which,
}

/// Take a walk back to zero, from any terminal; returns when zero was read back
///
/// A walk that is under way does it itself and ends with 1; one that is dead is taken back from here. Exit code 0: zero
/// is verified.
#[derive(clap::Args)]
#[command(after_help = "Example: serin canary rollback reports/2026-11-23T2025Z-canary-als-0931-local")]
pub struct Rollback {
    #[command(flatten)]
    which: Which,
    /// Where the folder of this part of the run is made, when the walk is dead
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(clap::Args)]
struct Which {
    /// The walk: its run's folder, a part of that name, or its target
    #[arg(value_name = "RUN")]
    run: String,
}

impl Which {
    fn find(&self, session: &Session, out: Option<&Path>) -> Result<(Place, Past), RunError> {
        find(&session.home, out.unwrap_or(Path::new("reports")), &self.run)
    }
}

fn job(place: Place, past: Past, back: bool) -> Result<Box<CanaryResume>, RunError> {
    let mut plan = super::plan::parse(&past.name, &past.plan)?;
    plan.target.clone_from(&past.target);
    Ok(Box::new(CanaryResume { place, past, plan, back }))
}

impl Resume {
    pub fn run(self, session: &Session) -> Result<Exit, RunError> {
        let (place, past) = self.which.find(session, self.out.as_deref())?;
        if let PastStep::Ended { ending, .. } = &past.step
            && !past.is_open()
        {
            return Err(RunError::misuse(format!("that walk has ended: {}", ending.reason))
                .hint("`serin canary walk PLAN.toml` begins a new one"));
        }
        show(session, job(place, past, false)?, self.out.as_deref())
    }
}

impl Approve {
    pub fn run(self, session: &Session) -> Result<Exit, RunError> {
        let (place, past) = self.which.find(session, None)?;
        ask(&session.home, &place, &past, Wish::Approve)?;
        let stage = past.step.stage() + 1;
        session.print(&json!({"schema": SCHEMA, "approved": stage}), || vec![format!("stage {stage} is approved")]);
        Ok(Exit::Go)
    }
}

impl Rollback {
    pub fn run(self, session: &Session) -> Result<Exit, RunError> {
        let (place, past) = self.which.find(session, self.out.as_deref())?;
        if !is_walked(&session.home, &past.target)? {
            return session.headless(job(place, past, true)?, self.out.as_deref());
        }
        place.ask(Wish::RollBack)?;
        let began = Instant::now();
        while began.elapsed() < PATIENCE && !session.stop.requested() {
            let now = Past::of(&place.read()?);
            if let Some(PastStep::Ended { ending, share, .. }) = now.map(|p| p.step) {
                let took_s = began.elapsed().as_secs_f64();
                let document = json!({"schema": SCHEMA, "rolled_back": ending.rolled_back, "share": share,
                    "reason": ending.reason, "took_s": took_s});
                let done = ending.rolled_back && share == Some(0.0);
                let word = if done { "rolled back: zero is verified" } else { "not rolled back" };
                session
                    .print(&document, || vec![format!("{word}, {took_s:.1} s after it was asked; {}", ending.reason)]);
                return Ok(if done { Exit::Go } else { Exit::CannotTell });
            }
            if !is_walked(&session.home, &past.target)? {
                return session.headless(job(place, past, true)?, self.out.as_deref());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Err(RunError::cannot_tell("the walk heard it, but zero is not verified yet").hint("look at its own terminal"))
    }
}
