//! `serin canary judge`: a verdict a line, for every line of recorded numbers.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;

use serde_json::json;

use crate::canary::series;
use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::judge::second::{self, Answer, Opinion, Second};
use crate::judge::sequential::{Call, Look, Terms};
use crate::judge::verdict::Verdict;
use crate::run::error::RunError;

/// Judge recorded numbers, without traffic: one verdict a line
///
/// Each line is one interval: {"t": 10, "baseline": {"requests": 4500, "errors": 5, "latency_ms": [[5, 4000], [10, 500]]},
/// "canary": {..}, "slices": [{..}, ..]}. `latency_ms` lists [upper bound, count in the bucket]; a side that could not be
/// measured is null; `slices` is the baseline again, cut by viewers into groups about as large as the canary: at least 4
/// are needed to roll back on latency, 8 or more are better. The exit code is that of the last line: 0 go, 1 rolled back,
/// else 3.
#[derive(clap::Args)]
#[command(after_help = "Example: serin canary judge series.jsonl --json")]
pub struct Judge {
    /// The recorded numbers, `-` for standard input
    #[arg(value_name = "SERIES.jsonl")]
    series: PathBuf,
    /// Judge by the guards of this plan, instead of errors, p95 and p99
    #[arg(long, value_name = "PLAN.toml")]
    plan: Option<PathBuf>,
    /// Tell also what a Mann-Whitney judge, as Kayenta has it, would say of each guard; it never decides
    #[arg(long)]
    second_opinion: bool,
}

impl Judge {
    pub fn run(self, session: &Session) -> Result<Exit, RunError> {
        let name = self.series.display().to_string();
        let from: Box<dyn BufRead> = if name == "-" {
            Box::new(io::stdin().lock())
        } else {
            let file = File::open(&self.series).map_err(|e| {
                RunError::misuse(format!("{name} cannot be read: {e}"))
                    .hint("give a file of JSON lines, or - for standard input")
            })?;
            Box::new(BufReader::new(file))
        };
        let terms = match &self.plan {
            Some(plan) => super::plan::read(plan)?.terms(),
            None => Terms::default(),
        };
        let mut second = self.second_opinion.then(|| Second::new(&terms.guards));
        let mut looks = Vec::new();
        let each_line = !session.global.json && !session.global.quiet;
        let last = series::judge(&name, from, terms, |look, interval| {
            if let Some((second, interval)) = second.as_mut().zip(interval) {
                second.hear(interval);
            }
            if session.global.json {
                looks.push(look.clone());
            } else if each_line {
                // Nobody reading any more is no reason to stop judging.
                let _ = writeln!(io::stdout(), "{}", line(look));
            }
        });
        let last = last.map_err(RunError::misuse)?;
        let (verdict, reason) = conclusion(last.as_ref());
        let opinions = second.map(|s| s.opinions());
        if session.global.json {
            let document = json!({
                "schema": "serin.canary-judge/1",
                "verdict": verdict,
                "reason": reason,
                "intervals": looks.len(),
                "lines": looks,
                "second_opinion": opinions.as_ref().map(|o| json!({"score": second::score(o), "guards": o})),
            });
            let _ = writeln!(io::stdout(), "{document}");
        } else if session.global.quiet {
            let _ = writeln!(io::stdout(), "{}: {reason}", verdict.sign());
        }
        if let Some(opinions) = opinions.filter(|_| each_line) {
            // Beside the lines that are the document, never among them.
            opinions.iter().for_each(|o| eprintln!("second opinion: {}", worded(o)));
        }
        Ok(match verdict {
            Verdict::Go => Exit::Go,
            Verdict::No => Exit::No,
            Verdict::CannotTell => Exit::CannotTell,
        })
    }
}

fn line(look: &Look) -> String {
    #[derive(serde::Serialize)]
    struct Line<'a> {
        t: f64,
        verdict: Call,
        reason: &'a str,
    }
    let line = Line { t: look.t, verdict: look.verdict, reason: &look.reason };
    serde_json::to_string(&line).unwrap_or_default()
}

fn worded(o: &Opinion) -> String {
    let few = if o.intervals < second::WANTED {
        format!(", fewer than the {} it wants", second::WANTED)
    } else {
        String::new()
    };
    let answer = match o.answer {
        Answer::Pass => "passes",
        Answer::High => "is high",
        Answer::Low => "is low",
        Answer::NoData => "has no data",
    };
    let shift = match (o.shift, o.low, o.high) {
        (Some(shift), Some(low), Some(high)) => format!(", shifted by {shift:.4} ({low:.4} to {high:.4})"),
        _ => String::new(),
    };
    format!("{} {answer}{shift}, {} intervals{few}", o.guard, o.intervals)
}

fn conclusion(last: Option<&Look>) -> (Verdict, String) {
    let Some(look) = last else { return (Verdict::CannotTell, "there is no interval to judge".to_owned()) };
    let verdict = match look.verdict {
        Call::Go => Verdict::Go,
        Call::Rollback => Verdict::No,
        Call::Wait | Call::CannotTell => Verdict::CannotTell,
    };
    (verdict, look.reason.clone())
}
