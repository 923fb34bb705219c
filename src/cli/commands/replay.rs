//! `serin replay`: its flags, as a job.

use std::path::PathBuf;
use std::sync::Arc;

use super::load::{How, spec};
use crate::cli::aim::Aim;
use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::load::replay::line::Format;
use crate::load::replay::tape::Tape;
use crate::load::schedule::Schedule;
use crate::run::error::RunError;
use crate::run::jobs::replay::Replay as Job;

/// Send recorded traffic again, with its own timing
///
/// Reads combined access logs (Apache, nginx), AWS load balancer logs and JSONL, gzipped or not. Only method, path, time and
/// viewer are read; hosts are replaced by the target, and tokens in a path are taken out. Requests that write are left out,
/// as an access log does not hold their bodies.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  serin replay access.log --target local --speed 2
  serin replay alb.log.gz --format alb --url http://127.0.0.1:7070
A line of JSONL: {\"time\": \"2026-11-23T20:25:10.250Z\", \"method\": \"GET\", \"path\": \"/v1/popular\", \"viewer\": \"ann\"}")]
pub struct Replay {
    /// The log
    #[arg(value_name = "LOG")]
    pub log: PathBuf,
    /// Its layout: combined, alb or jsonl; without it, told by the first lines
    #[arg(long, value_name = "LAYOUT", value_parser = parse_format)]
    pub format: Option<Format>,
    /// 2 plays it in half the time
    #[arg(long, value_name = "TIMES", value_parser = parse_speed, default_value = "1")]
    pub speed: f64,
    #[command(flatten)]
    pub aim: Aim,
    #[command(flatten)]
    pub how: How,
    /// Where the folder of the run is made
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

impl Replay {
    pub fn run(self, session: &Session) -> Result<Exit, RunError> {
        let mut spec = spec(None, &self.aim, &self.how, session)?;
        let (tape, dues, reading) = Tape::read(&self.log, self.format, self.speed)?;
        spec.name = self.log.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        spec.asker = Arc::new(tape);
        spec.schedule = Schedule::Recorded(dues);
        self.aim.find(session)?.check_rate(spec.schedule.peak())?;
        let job = Job { spec, log: self.log, speed: self.speed, reading };
        session.headless(Box::new(job), self.out.as_deref())
    }
}

fn parse_format(text: &str) -> Result<Format, String> {
    let found = Format::ALL.into_iter().find(|(word, _)| *word == text);
    found.map(|(_, f)| f).ok_or_else(|| format!("`{text}` is no layout; use combined, alb or jsonl"))
}

fn parse_speed(text: &str) -> Result<f64, String> {
    let speed: f64 = text.trim_end_matches('x').parse().map_err(|_| format!("`{text}` is no number of times"))?;
    if (0.01..=10_000.0).contains(&speed) { Ok(speed) } else { Err(format!("`{text}` is outside 0.01 to 10000")) }
}
