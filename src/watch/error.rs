//! What can go wrong when numbers are asked for, in a person's words.

use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum WatchError {
    #[error("{at} does not answer: {why}")]
    Unreachable { at: String, why: String },
    #[error("{at} gave no whole answer in {} s", after.as_secs())]
    Late { at: String, after: Duration },
    #[error("{at} answers {status}{}", note(said))]
    Refused { at: String, status: u16, said: String },
    #[error("{at} answers a web page, not {wanted}: is a login or another service in front of it?")]
    Page { at: String, wanted: &'static str },
    #[error("{at} answers what is not {wanted}: {why}")]
    Malformed { at: String, wanted: &'static str, why: String },
    #[error("{at} answers more than {most} MiB")]
    TooLong { at: String, most: usize },
    #[error("{at} answers, but has none of the numbers of `serin serve`: renamed, or another program?")]
    Foreign { at: String },
    #[error("{}: {why}", path.display())]
    File { path: PathBuf, why: String },
    #[error("today's cap of ${cap:.4} for asking is reached (${spent:.4} spent): asked again after midnight UTC")]
    Cap { spent: f64, cap: f64 },
    #[error("no AWS credentials: {0}")]
    Keys(String),
    #[error("{0}")]
    Recipe(String),
}

fn note(said: &str) -> String {
    let line: String = said.lines().next().unwrap_or_default().chars().take(120).collect();
    if line.is_empty() { String::new() } else { format!(": {line}") }
}
