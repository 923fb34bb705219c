//! `serin canary plan`: a plan as a time line, and what each stage can show at this traffic.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use crate::canary::library;
use crate::canary::plan::{self, Outlook};
use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::run::error::RunError;
use crate::stats::units::{Rps, Share, clock, grouped};
use crate::toml_file;

/// Check a plan and show it as a time line: viewers reached, smallest harm noticed, expected length
#[derive(clap::Args)]
#[command(after_help = "Example: serin canary plan scenarios/canary-good.toml --rate 500")]
pub struct Plan {
    #[arg(value_name = "PLAN.toml")]
    plan: PathBuf,
    /// Requests a second of the whole target (else `rate` of the plan)
    #[arg(long)]
    rate: Option<f64>,
}

/// Reads a plan, or says what is wrong with it and where.
pub fn read(path: &Path) -> Result<plan::Plan, RunError> {
    let (name, text) = text(path)?;
    parse(&name, &text)
}

/// Returns a plan's name and text: a file, or one that is built in, as `canary-good`.
pub fn text(path: &Path) -> Result<(String, String), RunError> {
    let asked = path.display().to_string();
    let stem = asked.trim_start_matches("scenarios/").trim_end_matches(".toml");
    let built_in = library::PLANS.iter().find(|(name, _)| *name == stem).filter(|_| !path.is_file());
    match built_in {
        Some((name, text)) => Ok((format!("scenarios/{name}.toml"), (*text).to_owned())),
        None => Ok((asked, toml_file::text(path).map_err(RunError::misuse)?)),
    }
}

pub fn parse(name: &str, text: &str) -> Result<plan::Plan, RunError> {
    plan::Plan::parse(name, text).map_err(RunError::misuse)
}

impl Plan {
    pub fn run(self, session: &Session) -> Result<Exit, RunError> {
        let mut plan = read(&self.plan)?;
        if let Some(rate) = self.rate {
            if !(rate > 0.0 && rate < 1e9) {
                return Err(RunError::misuse(format!("--rate {rate} is not a rate")));
            }
            plan.rate = Some(Rps(rate));
        }
        let outlook = plan.outlook();
        let mut out = io::stdout();
        if session.global.json {
            let document = json!({
                "schema": "serin.canary-plan/1",
                "target": plan.target,
                "driver": plan.driver,
                "rate": plan.rate,
                "errors": plan.errors,
                "expected_s": length(&outlook),
                "guards": plan.guards.iter().map(|g| &g.name).collect::<Vec<_>>(),
                "stages": outlook,
            });
            let _ = writeln!(out, "{document}");
        } else if !session.global.quiet {
            let _ = writeln!(out, "{} by {}", plan.target, plan.driver);
            for stage in &outlook {
                let _ = writeln!(out, "{}", line(stage));
            }
            let _ = writeln!(
                out,
                "a healthy canary is through after about {}",
                clock(Duration::from_secs_f64(length(&outlook)))
            );
            if plan.errors.is_none() {
                let _ = writeln!(out, "reckoned with 0.1 % usual errors: give `errors` to be nearer");
            }
        }
        Ok(Exit::Go)
    }
}

fn length(outlook: &[Outlook]) -> f64 {
    outlook.last().map_or(0.0, |o| o.begins_s + o.expected_s.unwrap_or(o.hold_s).min(o.longest_s))
}

fn line(o: &Outlook) -> String {
    let time = |s: f64| clock(Duration::from_secs_f64(s));
    let mut text = format!(
        "{:>8}  stage {}  {:>6}  held {} to {}",
        time(o.begins_s),
        o.stage,
        Share(o.share).to_string(),
        time(o.hold_s),
        time(o.longest_s)
    );
    let mut more = |part: String| text.push_str(&part);
    if let Some(viewers) = o.viewers {
        more(format!("  {} viewers", grouped(viewers)));
    }
    if let Some(ratio) = o.notices_errors {
        more(format!("  notices errors x{ratio:.1}"));
    }
    if let Some((ratio, quantile)) = o.notices_slow.zip(o.slow_beyond) {
        more(format!(", answers beyond p{} x{ratio:.1}", quantile * 100.0));
    }
    if let Some(s) = o.expected_s {
        more(format!("  go after about {}", time(s)));
    }
    if o.approval {
        more("  then waits for approval".to_owned());
    }
    if let Some(warning) = &o.warning {
        more(format!("\n          ! {warning}"));
    }
    text
}
