//! `serin check`: its flags, as a job.

use std::path::Path;
use std::time::Duration;

use crate::cli::deployment;
use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::incident::forms;
use crate::run::error::RunError;
use crate::run::jobs::check;
use crate::stats::units::parse_duration;

/// Tell what is wrong, in 60 seconds
///
/// Fifteen checks at once, then the likeliest cause first: because of what, since when, what changed just before, and
/// what to type now. Exit 0 when nothing is found, 1 for a lasting finding, 3 when neither probe, errors nor latency
/// could be told.
#[derive(clap::Args)]
#[command(after_help = "Example: serin check --target staging --since 1h")]
pub struct Check {
    /// A target of serin.toml, or `local` for the local stack
    #[arg(long, value_name = "NAME")]
    target: String,
    /// How far to look back
    #[arg(long, value_name = "DURATION", default_value = "30m", value_parser = parse_duration)]
    since: Duration,
    /// One line and the exit codes of the Nagios plugin convention
    #[arg(long, conflicts_with = "markdown")]
    nagios: bool,
    /// Print Markdown for the incident channel
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// Only ask whether each source can be reached
    #[arg(long)]
    config_only: bool,
}

impl Check {
    pub fn run(self, session: &Session) -> Result<Exit, RunError> {
        if self.nagios {
            let (line, code) = self.nagios(session);
            println!("{line}");
            // The convention's four codes have our numbers, and its own meanings.
            return Ok([Exit::Go, Exit::No, Exit::Misuse, Exit::CannotTell][usize::from(code.min(3))]);
        }
        let deployment = deployment::named(session, &self.target)?;
        if self.config_only {
            return Ok(reach(session, &check::reach(&deployment, &session.home, &session.stop)?));
        }
        let job = check::Check { deployment, since: self.since };
        if self.markdown {
            let look = job.look(&session.home, Path::new("reports"), &session.stop)?;
            print!("{}", forms::markdown(&look.scene, &look.triage));
            return Ok(Exit::from_verdict(look.triage.verdict));
        }
        session.headless(Box::new(job), None)
    }

    /// The convention knows no misuse: whatever hinders the check is UNKNOWN.
    fn nagios(&self, session: &Session) -> (String, u8) {
        let look = deployment::named(session, &self.target).and_then(|deployment| {
            let job = check::Check { deployment, since: self.since };
            job.look(&session.home, Path::new("reports"), &session.stop)
        });
        match look {
            Ok(look) => forms::nagios(&look.triage, look.took_s),
            Err(error) => (format!("SERIN UNKNOWN - {}", error.to_string().replace(['|', '\n'], "/")), 3),
        }
    }
}

fn reach(session: &Session, heard: &[crate::incident::scene::Heard]) -> Exit {
    let dumb = heard.iter().filter(|h| h.said.is_err()).count();
    if session.global.json {
        let sources = heard.iter().map(|h| serde_json::json!({"name": h.name, "error": h.said.as_ref().err()}));
        let sources: Vec<_> = sources.collect();
        println!("{}", serde_json::json!({"schema": "serin.reach/1", "sources": sources}));
    } else {
        for h in heard {
            match &h.said {
                Ok(()) => println!("✓ {} answers", h.name),
                Err(why) => println!("✗ {why}"),
            }
        }
    }
    if dumb == 0 { Exit::Go } else { Exit::CannotTell }
}
