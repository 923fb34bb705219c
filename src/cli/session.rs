//! What every command has at hand: the global flags, the configuration, where state lives, the wish to stop.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use super::Global;
use super::config::Config;
use super::exit::Exit;
use super::headless;
use crate::run::director::{self, Running, Setting};
use crate::run::error::RunError;
use crate::run::job::Job;
use crate::serve::recent;
use crate::stop::Stop;

pub struct Session {
    pub global: Global,
    pub config: Config,
    /// State of this user (`SERIN_HOME`).
    pub home: PathBuf,
    pub stop: Stop,
}

impl Session {
    pub fn open(global: Global) -> Result<Self, RunError> {
        let config = Config::open(global.config.as_deref())?;
        Ok(Self { global, config, home: home()?, stop: Stop::default() })
    }

    /// Whether a person sits at a terminal that can show the console.
    pub fn has_terminal(&self) -> bool {
        let dumb = std::env::var_os("TERM").is_none_or(|t| t == "dumb" || t.is_empty());
        let quiet = self.global.json || self.global.quiet || self.global.plain;
        std::io::stdout().is_terminal() && std::io::stdin().is_terminal() && !dumb && !quiet
    }

    /// Starts a job; `out` is where the folders of runs are made (default `reports/` here).
    pub fn start(&self, job: Box<dyn Job>, out: Option<&Path>) -> Result<Running, RunError> {
        let reports = out.unwrap_or(Path::new("reports")).to_owned();
        let setting = Setting { home: self.home.clone(), reports, command: command_line() };
        director::start(job, &setting, self.stop.clone())
    }

    /// Returns the file of viewers who took their consent back: the one asked for, else what `serin serve` keeps here.
    pub fn withdrawn(&self, asked: Option<PathBuf>) -> Option<PathBuf> {
        asked.or_else(|| Some(recent::withdrawals(&self.live_folder())).filter(|path| path.is_file()))
    }

    /// Returns where viewings and withdrawals that came in while serving are kept, where nobody says otherwise.
    pub fn live_folder(&self) -> PathBuf {
        self.home.join("live")
    }

    /// Prints what an instant command found: the document with `--json`, else its lines.
    pub fn print(&self, document: &serde_json::Value, lines: impl FnOnce() -> Vec<String>) {
        let lines = match () {
            () if self.global.json => vec![document.to_string()],
            () if self.global.quiet => Vec::new(),
            () => lines(),
        };
        let mut out = std::io::stdout().lock();
        for line in lines {
            // A reader that went away has read enough.
            let _ = writeln!(out, "{line}");
        }
    }

    /// Runs a job to its end without a screen: plain lines, the document with `--json`, the exit code.
    pub fn headless(&self, job: Box<dyn Job>, out: Option<&Path>) -> Result<Exit, RunError> {
        headless::run(self.start(job, out)?, &self.global)
    }
}

fn home() -> Result<PathBuf, RunError> {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let found = set("SERIN_HOME")
        .or_else(|| set("XDG_DATA_HOME").map(|d| d.join("serin")))
        .or_else(|| set("HOME").map(|h| h.join(".local/share/serin")));
    found.ok_or_else(|| RunError::misuse("neither SERIN_HOME nor HOME is set").hint("set SERIN_HOME to a folder"))
}

/// The line that repeats this run; what follows a flag that may carry a secret is left out.
fn command_line() -> String {
    let mut words = vec!["serin".to_owned()];
    let mut hide = false;
    for word in std::env::args().skip(1) {
        let secret = hide;
        hide = matches!(word.as_str(), "--header" | "-H" | "--token");
        words.push(match () {
            () if secret => "'…'".to_owned(),
            () if word.starts_with("--header=") || word.starts_with("--token=") => {
                format!("{}=…", word.split('=').next().unwrap_or_default())
            }
            () => quoted(&word),
        });
    }
    words.join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=%,+@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
