//! Does a `serin experiment`: reads the exposures, analyses them, words the findings.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use serde_json::json;

use crate::experiment::analysis::{self, Asked, Estimate, Findings};
use crate::experiment::exposures::{ExposureError, Exposures, Wanted};
use crate::run::error::RunError;
use crate::run::job::{Desk, Job};
use crate::run::summary::Summary;
use crate::stats::units::grouped;

#[derive(Debug)]
pub struct Experiment {
    pub file: PathBuf,
    pub wanted: Wanted,
    pub asked: Asked,
}

impl Job for Experiment {
    fn kind(&self) -> &'static str {
        "experiment"
    }

    fn title(&self) -> String {
        format!("{} of {}", self.wanted.metric, self.file.display())
    }

    fn run(self: Box<Self>, _desk: &Desk) -> Result<Summary, RunError> {
        let name = self.file.display().to_string();
        let file = File::open(&self.file).map_err(|e| RunError::misuse(format!("{name} cannot be read: {e}")))?;
        let read = Exposures::read(&name, BufReader::with_capacity(1 << 20, file), &self.wanted).map_err(refused)?;
        let findings =
            analysis::analyse(&read, self.asked).map_err(|e| RunError::cannot_tell(format!("{name}: {e}")))?;
        let mut document = serde_json::to_value(&findings).map_err(RunError::cannot_tell)?;
        let about = json!({
            "schema": "serin.experiment/1",
            "metric": self.wanted.metric,
            "alpha": self.asked.alpha,
            "lower_is_better": self.asked.lower_is_better,
            "sample_ratio_ok": findings.sample_ratio_p >= 0.001,
        });
        if let (Some(document), Some(about)) = (document.as_object_mut(), about.as_object()) {
            document.extend(about.clone());
        }
        Ok(Summary {
            title: self.title(),
            verdict: Some(findings.verdict),
            reason: findings.reason.clone(),
            document,
            lines: lines(&findings, &self.wanted.metric),
            stopped: false,
        })
    }
}

fn refused(error: ExposureError) -> RunError {
    RunError::misuse(error).hint(
        "one row a viewer, or a viewer and day: viewer,group,day,viewing_minutes,time_to_play_s,pre_viewing_minutes and any \
         columns to cut by; see serin experiment --help",
    )
}

fn lines(findings: &Findings, metric: &str) -> Vec<String> {
    let [control, treatment] = &findings.groups;
    let mut lines = vec![
        format!(
            "{metric}: {} viewers of {} against {} of {}",
            grouped(treatment.viewers),
            treatment.name,
            grouped(control.viewers),
            control.name
        ),
        format!(
            "sizes of the groups: p = {:.3} ({})",
            findings.sample_ratio_p,
            if findings.sample_ratio_p < 0.001 { "not as planned" } else { "as planned" }
        ),
        format!("{:14} {:>12} {:>12} {:>10} {:>26} {:>9}", "method", "control", "treatment", "change", "interval", "p"),
    ];
    lines.extend(findings.estimates.iter().map(row));
    if let Some(r) = findings.correlation {
        lines.push(format!(
            "before and during correlate by {r:.2}: CUPED's interval is {:.0} % of the plain one",
            (1.0 - r * r).sqrt() * 100.0
        ));
    }
    if let Some(day) = findings.days.last().filter(|_| findings.days.len() > 1) {
        lines.push(format!("looked at on {} days: p = {:.4}, valid at any of them", findings.days.len(), day.p));
    }
    for s in findings.segments.iter().take(10) {
        let change = s.relative.map_or(format!("{:+.4}", s.difference), |r| format!("{:+.2} %", r * 100.0));
        lines.push(format!(
            "{} = {}: {change} in {} viewers, p = {:.2e} corrected",
            s.segment,
            s.value,
            grouped(s.viewers),
            s.p_corrected
        ));
    }
    lines
}

fn row(e: &Estimate) -> String {
    let change = e.relative.map_or("-".to_owned(), |r| format!("{:+.2} %", r * 100.0));
    let interval = format!("{:+.4} to {:+.4}", e.low, e.high);
    format!("{:14} {:>12.4} {:>12.4} {change:>10} {interval:>26} {:>9.4}", e.method, e.control, e.treatment, e.p)
}
