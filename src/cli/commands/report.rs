//! `serin report`: past runs, listed, shown, compared, merged.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::judge::compare::{Comparison, Pace, Terms, compare};
use crate::report::form::Form;
use crate::run::depot::Depot;
use crate::run::error::RunError;
use crate::run::jobs::gate::moments;
use crate::run::jobs::merge::Merge;
use crate::run::past::{self, PastLoad};
use crate::stats::units::{Millis, Share, parse_share};

/// List, show, compare and merge past runs
#[derive(clap::Args)]
#[command(after_help = "Examples:
  serin report list
  serin report show latest --form md
  serin report compare 2026-11-23T2025Z 2026-11-23T2100Z
A run is named by its folder, by any part of its name that no other run has, or as `latest`.")]
pub struct Report {
    #[command(subcommand)]
    pub what: What,
    /// The folder that holds the runs
    #[arg(long, global = true, value_name = "DIR", default_value = "reports")]
    pub out: PathBuf,
}

#[derive(clap::Subcommand)]
pub enum What {
    /// Show the runs, newest first
    List,
    /// Print one run's report
    Show {
        run: String,
        /// html, md, json or junit
        #[arg(long, default_value = "md")]
        form: Form,
    },
    /// Compare two loads of the same scenario, second by second
    Compare {
        /// The run to compare with
        baseline: String,
        run: String,
        /// Differences up to this share are called the same
        #[arg(long, value_name = "SHARE", value_parser = parse_share, default_value = "5%")]
        margin: Share,
    },
    /// Make one run of the shards of a load
    Merge {
        /// Runs, or places of runs: s3://bucket/prefix, file:///folder (see `serin load --keep`)
        #[arg(required = true, num_args = 1..)]
        runs: Vec<String>,
    },
}

impl Report {
    pub fn run(self, session: &Session) -> Result<Exit, RunError> {
        let json = session.global.json;
        match &self.what {
            What::List => list(&self.out, json),
            What::Show { run, form } => {
                let folder = past::find(&self.out, run)?;
                let form = if json { Form::Json } else { *form };
                let text = crate::report::render(&folder, form).map_err(RunError::misuse)?;
                print(text.trim_end());
                Ok(Exit::Go)
            }
            What::Compare { baseline, run, margin } => {
                let open = |name: &str| PastLoad::open(&past::find(&self.out, name)?);
                compare_runs(&open(baseline)?, &open(run)?, *margin, json)
            }
            What::Merge { runs } => {
                let mut folders = Vec::new();
                for run in runs {
                    if Depot::is_named_by(run) {
                        folders.append(&mut Depot::open(run)?.fetch(&self.out)?);
                    } else {
                        folders.push(past::find(&self.out, run)?);
                    }
                }
                let shards = folders.iter().map(|f| PastLoad::open(f)).collect::<Result<Vec<_>, _>>()?;
                session.headless(Box::new(Merge::new(shards)?), Some(&self.out))
            }
        }
    }
}

/// Whoever closed the pipe has read enough.
fn print(text: &str) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

fn list(reports: &Path, json: bool) -> Result<Exit, RunError> {
    let runs = past::list(reports).map_err(|e| RunError::misuse(format!("{}: {e}", reports.display())))?;
    if json {
        print(&json!({"schema": "serin.runs/1", "runs": runs}).to_string());
        return Ok(Exit::Go);
    }
    for run in &runs {
        let sign = match (run.verdict, run.ended) {
            (Some(verdict), _) => verdict.sign(),
            (None, true) => "  done",
            (None, false) => "  cut off",
        };
        print(format!("{sign:<14}{}  {}", run.name, run.reason).trim_end());
    }
    if runs.is_empty() {
        print(&format!("no run in {} yet", reports.display()));
    }
    Ok(Exit::Go)
}

fn compare_runs(old: &PastLoad, new: &PastLoad, margin: Share, json: bool) -> Result<Exit, RunError> {
    if old.plan.scenario != new.plan.scenario || old.plan.stages != new.plan.stages {
        let cause = format!(
            "{} ran `{}`, {} ran `{}` or other stages of it: their seconds cannot be laid side by side",
            old.folder.display(),
            old.plan.scenario,
            new.folder.display(),
            new.plan.scenario
        );
        return Err(RunError::misuse(cause));
    }
    let (before, after) = (moments(old)?, moments(new)?);
    let against = old.folder.display().to_string();
    let seen: Vec<Comparison> = [0.99, 0.5, 0.9, 0.95]
        .map(|quantile| {
            let terms = Terms { quantile, margin, against: against.clone(), seed: new.plan.seed, apart: true };
            compare(before.all(), after.all(), &terms)
        })
        .into();
    let first = &seen[0];
    if json {
        let document = json!({
            "schema": "serin.compare/1", "baseline": against, "run": new.folder.display().to_string(),
            "comparison": first, "all": seen,
        });
        print(&document.to_string());
    } else {
        for c in &seen {
            let ms = |v: Option<f64>| v.map_or("no data".to_owned(), |v| Millis(v).to_string());
            let (was, is) = (ms(c.baseline_ms), ms(c.candidate_ms));
            print(&format!("{:<5} {was} → {is}  {}: {}", c.metric, c.verdict, c.reason));
        }
        print(&format!("errors {} → {}", Share(first.baseline_errors), Share(first.candidate_errors)));
    }
    Ok(match first.verdict {
        _ if first.more_errors => Exit::No,
        Pace::Slower => Exit::No,
        Pace::CannotTell => Exit::CannotTell,
        Pace::Same | Pace::Faster => Exit::Go,
    })
}
