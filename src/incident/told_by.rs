//! Changes that others know of: deploys in a file of lines, or printed by a command of the user's.
//!
//! A line is a moment and a text: `2026-11-25T20:14:00Z deploy api 4.2`, or JSON with `at` and `text`.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;

use super::change::Change;

const PATIENCE: Duration = Duration::from_secs(5);
/// The most that is read of either.
const MOST: usize = 1 << 20;

#[derive(Clone, Debug, PartialEq)]
pub enum ToldBy {
    File(PathBuf),
    Command(String),
}

#[derive(Deserialize)]
struct Line {
    at: String,
    text: String,
    #[serde(default = "deploy")]
    source: String,
}

fn deploy() -> String {
    "deploy".to_owned()
}

impl ToldBy {
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => format!("changes in {}", path.display()),
            Self::Command(command) => format!("changes by `{command}`"),
        }
    }

    /// Returns the changes since a moment.
    pub async fn ask(&self, from: f64) -> Result<Vec<Change>, String> {
        let text = match self {
            Self::File(path) => tokio::fs::read(path).await.map_err(|e| format!("{}: {e}", path.display()))?,
            Self::Command(command) => {
                let mut child = tokio::process::Command::new("sh");
                child.args(["-c", command]).stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
                let output = tokio::time::timeout(PATIENCE, child.output()).await;
                let output = output.map_err(|_| format!("`{command}` gave no answer in {} s", PATIENCE.as_secs()))?;
                let output = output.map_err(|e| format!("`{command}`: {e}"))?;
                if !output.status.success() {
                    return Err(format!("`{command}` ended with {}", output.status));
                }
                output.stdout
            }
        };
        // The newest lines stand at the end.
        let text = String::from_utf8_lossy(&text[text.len().saturating_sub(MOST)..]).into_owned();
        let changes: Vec<_> = text.lines().filter_map(line).collect();
        if changes.is_empty() && text.lines().any(|l| !l.trim().is_empty()) {
            return Err(format!("{}: no line begins with a moment such as 2026-11-25T20:14:00Z", self.name()));
        }
        Ok(changes.into_iter().filter(|c| c.at >= from).collect())
    }
}

fn line(text: &str) -> Option<Change> {
    let text = text.trim();
    if text.starts_with('{') {
        let line: Line = serde_json::from_str(text).ok()?;
        return Some(Change { at: moment(&line.at)?, source: line.source, text: line.text });
    }
    let (at, rest) = text.split_once(char::is_whitespace)?;
    Some(Change { at: moment(at)?, source: deploy(), text: rest.trim().to_owned() })
}

fn moment(text: &str) -> Option<f64> {
    let stamp = text.parse::<jiff::Timestamp>().ok().map(|t| t.as_millisecond() as f64 / 1000.0);
    stamp.or_else(|| text.parse().ok().filter(|s: &f64| s.is_finite() && *s > 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_moment_and_a_text() {
        let read = line("2026-11-25T20:14:00Z  deploy api 4.2").expect("reads");
        assert_eq!((read.at, read.source.as_str(), read.text.as_str()), (1_795_637_640.0, "deploy", "deploy api 4.2"));
        let read = line(r#"{"at": "1795637640", "text": "flags turned", "source": "flags"}"#).expect("reads");
        assert_eq!((read.at, read.source.as_str()), (1_795_637_640.0, "flags"));
        for bad in ["", "yesterday we deployed", "{\"at\": 1}", "nan x"] {
            assert!(line(bad).is_none(), "{bad}");
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn who_cannot_tell_says_why() {
        let told = |command: &str| ToldBy::Command(command.to_owned());
        let said = told("echo 2026-11-25T20:14:00Z deploy").ask(0.0).await.expect("told");
        assert_eq!(said.len(), 1);
        assert!(told("exit 3").ask(0.0).await.is_err_and(|e| e.contains("exit 3")));
        assert!(told("echo hello").ask(0.0).await.is_err_and(|e| e.contains("moment")));
        assert!(ToldBy::File("/nowhere/x".into()).ask(0.0).await.is_err());
        assert_eq!(told("true").ask(0.0).await, Ok(vec![]));
    }
}
