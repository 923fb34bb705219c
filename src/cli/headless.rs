//! A job to its end, without a screen: plain lines on stderr, the document or the summary on stdout.

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
    if let Some(folder) = &folder {
        crate::report::write_all(folder);
    }
    let summary = ended?;
    if global.json {
        println!("{}", summary.document);
    } else {
        for line in summary.lines.iter().filter(|_| !global.quiet) {
            println!("{line}");
        }
        if let Some(verdict) = summary.verdict {
            println!("{}: {}", verdict.sign(), summary.reason);
        }
        if let Some(folder) = folder.filter(|_| !global.quiet) {
            println!("report: {}", folder.join("report.html").display());
        }
    }
    Ok(Exit::from(&summary))
}
