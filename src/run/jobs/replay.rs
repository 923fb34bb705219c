//! A replay as a job: recorded requests, due when they once came, and how exactly that was kept.

use std::path::PathBuf;

use serde_json::json;

use super::load::{play_and, summarise};
use crate::load::engine::{Spec, Told};
use crate::load::replay::tape::Reading;
use crate::run::error::RunError;
use crate::run::job::{Desk, Job};
use crate::run::summary::Summary;
use crate::stats::histogram::Histogram;
use crate::stats::units::grouped;

pub struct Replay {
    pub spec: Spec,
    pub log: PathBuf,
    pub speed: f64,
    pub reading: Reading,
}

impl Job for Replay {
    fn kind(&self) -> &'static str {
        "replay"
    }

    fn title(&self) -> String {
        format!("{} → {}", self.spec.name, self.spec.target)
    }

    fn keeps_folder(&self) -> bool {
        true
    }

    fn run(self: Box<Self>, desk: &Desk) -> Result<Summary, RunError> {
        for line in self.lines() {
            desk.say(line);
        }
        let mut late = Histogram::default();
        let load = play_and(&self.spec, desk, &mut |told| {
            if let Told::Tick(tick) = told {
                late.merge(&tick.generator.late);
            }
        })?;
        let mut summary = summarise(self.title(), &load)?;
        // A gap is wrong by at most the lateness of its worse end, and each request ends two gaps: so 99 % of the gaps
        // are as exact as 99.5 % of the requests are punctual.
        let gap = late.quantile(0.995).map(|m| m.0);
        let r = &self.reading;
        summary.document["replay"] = json!({
            "log": self.log.display().to_string(),
            "format": r.format.word(),
            "speed": self.speed,
            "lines": r.counts.lines,
            "requests": r.counts.requests,
            "left_out": r.left_out().collect::<std::collections::BTreeMap<_, _>>(),
            "out_of_order": r.out_of_order,
            "secrets_removed": r.cleaned,
            "viewers": r.viewers,
            "spread_within_seconds": r.spread,
            "gap_error_p99_ms": gap,
        });
        let kept = gap.map_or("nothing was sent".to_owned(), |ms| {
            format!("gaps kept: 99 % within {ms:.2} ms of the log's, at speed {}", self.speed)
        });
        summary.lines = self.lines().into_iter().chain(summary.lines).chain([kept]).collect();
        Ok(summary)
    }
}

impl Replay {
    /// Says what became of the log.
    fn lines(&self) -> Vec<String> {
        let r = &self.reading;
        let mut lines = vec![format!(
            "{}: {} requests of {} viewers from {} lines ({})",
            self.log.display(),
            grouped(r.counts.requests),
            grouped(r.viewers as u64),
            grouped(r.counts.lines),
            r.format.word()
        )];
        if !r.counts.spoiled.is_empty() {
            lines.push(format!("left out: {}", crate::load::replay::tape::left_out(&r.counts)));
        }
        if r.out_of_order > 0 {
            lines.push(format!("{} lines stood out of order and were sorted in", grouped(r.out_of_order)));
        }
        if r.cleaned > 0 {
            lines.push(format!("a secret was taken out of {} paths", grouped(r.cleaned)));
        }
        if r.spread {
            lines.push(
                "the log's times are whole seconds: the requests inside each were spread evenly, in the log's order"
                    .to_owned(),
            );
        }
        lines
    }
}
