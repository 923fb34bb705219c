//! A job to its end, without a screen: plain lines on stderr, the document or the summary on stdout.

use std::io::{self, Write};

use super::Global;
use super::exit::Exit;
use super::plain::Plain;
use crate::run::director::Running;
use crate::run::error::RunError;

pub fn run(running: Running, global: &Global) -> Result<Exit, RunError> {
    let mut plain = Plain::new(global);
    while let Ok(event) = running.events.recv() {
        plain.hear(&event);
    }
    plain.done();
    let folder = running.folder.clone();
    let ended = running.finish();
    if let Some(Err(error)) = folder.as_deref().map(crate::report::write_all) {
        plain.line(&error.to_string());
    }
    let summary = ended?;
    let mut out = io::stdout().lock();
    let mut say = |text: &str| {
        // Whoever closed the pipe has read enough; the exit code still says the verdict.
        let _ = writeln!(out, "{text}");
    };
    if global.json {
        say(&summary.document.to_string());
    } else {
        summary.lines.iter().filter(|_| !global.quiet).for_each(|line| say(line));
        if let Some(verdict) = summary.verdict {
            say(&format!("{}: {}", verdict.sign(), summary.reason));
        }
        if let Some(folder) = folder.filter(|_| !global.quiet) {
            say(&format!("report: {}", folder.join("report.html").display()));
        }
    }
    Ok(Exit::from(&summary))
}
