//! `serin gate`: its flags, as a job; and what GitHub is told.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::load::{How, spec};
use crate::cli::aim::Aim;
use crate::cli::exit::Exit;
use crate::cli::headless;
use crate::cli::session::Session;
use crate::load::schedule::Schedule;
use crate::report::form::Form;
use crate::run::baseline;
use crate::run::error::RunError;
use crate::run::jobs::gate::{Against, Gate as Job, check_baseline};
use crate::run::jobs::load::title;
use crate::run::past::{self, PastLoad};
use crate::stats::units::{Share, parse_share};

/// A load judged for CI: objectives, and a comparison with a baseline
///
/// Exit code 0: every objective is met and the target is not slower; 1: an objective is missed, or it is slower; 3: cannot
/// tell, as with too few requests. At p99 and 600 requests a second, a minute tells a difference of 10 %.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  serin gate evening-short --target staging --baseline reports/2026-11-23T2025Z-gate-evening-short-staging
  serin gate evening-short --target staging --against https://stable.example.org
In the folder of the run: junit.xml, report.md, report.html, summary.json.")]
pub struct Gate {
    /// A scenario file, or the name of a built-in one
    #[arg(value_name = "SCENARIO.toml")]
    pub scenario: PathBuf,
    #[command(flatten)]
    pub aim: Aim,
    #[command(flatten)]
    pub how: How,
    /// An earlier run of the same scenario: its folder, a part of its name, `latest`, or `kept`: the one that `b` on the
    /// Runs screen made the baseline
    #[arg(long, value_name = "RUN", conflicts_with = "against")]
    pub baseline: Option<String>,
    /// Another deployment, asked by turns with the target in this run
    #[arg(long, value_name = "URL")]
    pub against: Option<String>,
    /// The quantile that is compared: p50 to p999
    #[arg(long, value_name = "QUANTILE", value_parser = parse_quantile, default_value = "p99")]
    pub metric: f64,
    /// Differences up to this share are called the same
    #[arg(long, value_name = "SHARE", value_parser = parse_share, default_value = "5%")]
    pub margin: Share,
    /// Where the folder of the run is made, and where a baseline is looked for
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// What `--baseline` says instead of a run's name.
const KEPT: &str = "kept";

impl Gate {
    pub fn run(self, session: &Session) -> Result<Exit, RunError> {
        let spec = spec(Some(&self.scenario), &self.aim, &self.how, session)?;
        self.aim.find(session)?.check_rate(spec.schedule.peak())?;
        if self.margin.0 <= 0.0 || self.margin.0 > 1.0 {
            return Err(RunError::misuse("--margin is above 0% and at most 100%"));
        }
        let against = match (&self.baseline, &self.against) {
            (Some(run), _) => {
                let folder = if run == KEPT {
                    baseline::find(&session.home, &title(&spec))?
                } else {
                    past::find(self.out.as_deref().unwrap_or(Path::new("reports")), run)?
                };
                let past = PastLoad::open(&folder)?;
                for warning in check_baseline(&past, &spec)? {
                    eprintln!("warning: {warning}");
                }
                Some(Against::Run(Box::new(past)))
            }
            (None, Some(url)) => {
                if !matches!(spec.schedule, Schedule::Stages(_)) {
                    return Err(RunError::misuse("--against needs a scenario with stages"));
                }
                let other = Aim { target: None, url: Some(url.clone()), ..self.aim.clone() }.find(session)?;
                other.check_rate(spec.schedule.peak())?;
                Some(Against::Address(other.address))
            }
            (None, None) => None,
        };
        let job = Job { spec, against, quantile: self.metric, margin: self.margin };
        let running = session.start(Box::new(job), self.out.as_deref())?;
        let folder = running.folder.clone();
        let exit = headless::run(running, &session.global)?;
        if let Some(folder) = folder.filter(|_| std::env::var_os("GITHUB_ACTIONS").is_some_and(|v| v == "true")) {
            tell_github(&folder);
        }
        Ok(exit)
    }
}

/// Annotates the workflow's run, and puts the report on its page.
fn tell_github(folder: &Path) {
    let Ok(document) = past::summary(folder) else { return };
    let text = |key: &str| document[key].as_str().unwrap_or_default();
    let level = match text("verdict") {
        "go" => "notice",
        "no" => "error",
        _ => "warning",
    };
    // On stderr: stdout is the document's. GitHub reads both.
    eprintln!("::{level} title=serin gate {}::{}", property(text("verdict")), data(text("reason")));
    for judged in document["objectives"].as_array().into_iter().flatten().filter(|j| j["met"] != true) {
        let (expression, reason) = (&judged["expression"], &judged["reason"]);
        let title = property(expression.as_str().unwrap_or_default());
        eprintln!("::error title={title}::{}", data(reason.as_str().unwrap_or_default()));
    }
    let page = std::env::var_os("GITHUB_STEP_SUMMARY").map(PathBuf::from);
    if let Some((page, report)) = page.zip(crate::report::render(folder, Form::Markdown).ok()) {
        let written = std::fs::OpenOptions::new().append(true).create(true).open(&page);
        if let Err(e) = written.and_then(|mut f| f.write_all(report.as_bytes())) {
            eprintln!("warning: {}: {e}", page.display());
        }
    }
}

/// Escapes what would end a workflow command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

fn parse_quantile(text: &str) -> Result<f64, String> {
    let wrong = || format!("`{text}` is no quantile; write for example p50, p95, p99 or p999");
    let digits = text.strip_prefix('p').ok_or_else(wrong)?;
    // p999 is p99.9; nothing but a nine begins such a word, so that p100 is not read as p10.
    let whole = digits.len() > 2 && digits.starts_with('9') && digits.bytes().all(|b| b.is_ascii_digit());
    let digits = if whole { format!("{}.{}", &digits[..2], &digits[2..]) } else { digits.to_owned() };
    let percent: f64 = digits.parse().map_err(|_| wrong())?;
    if (1.0..=99.99).contains(&percent) { Ok(percent / 100.0) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workflow_command_cannot_be_forged_by_what_it_says() {
        assert_eq!(data("50 %\n::error::x"), "50 %25%0A::error::x");
        assert_eq!(property("p99 < 1ms: a,b"), "p99 < 1ms%3A a%2Cb");
    }

    #[test]
    fn quantiles_are_read_as_they_are_written() {
        let near = |text, q: f64| assert!((parse_quantile(text).expect(text) - q).abs() < 1e-9, "{text}");
        near("p50", 0.5);
        near("p999", 0.999);
        near("p99.9", 0.999);
        for bad in ["99", "p100", "p", "pp", "p0", "p-5"] {
            assert!(parse_quantile(bad).is_err(), "{bad}");
        }
    }
}
