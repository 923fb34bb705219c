//! Does a `serin data synth`: a platform that never was, as CSV files.

use std::path::PathBuf;

use serde_json::json;

use super::model_work::model_work;
use crate::model::synth::{self, Size};
use crate::run::error::RunError;
use crate::run::job::{Desk, Job};
use crate::run::summary::Summary;
use crate::stats::units::grouped;

#[derive(Debug)]
pub struct Synth {
    pub out: PathBuf,
    pub size: Size,
    /// 0 is one a core.
    pub threads: usize,
}

impl Job for Synth {
    fn kind(&self) -> &'static str {
        "synth"
    }

    fn title(&self) -> String {
        format!("{} viewers, {} programmes", grouped(self.size.viewers as u64), grouped(self.size.programmes as u64))
    }

    fn run(self: Box<Self>, desk: &Desk) -> Result<Summary, RunError> {
        let made = model_work(desk, self.threads, |tell| synth::write(&self.out, &self.size, &desk.stop, tell))?;
        let out = self.out.display();
        Ok(Summary {
            title: self.title(),
            verdict: None,
            reason: String::new(),
            document: json!({
                "schema": "serin.synth/1",
                "out": out.to_string(),
                "viewers": self.size.viewers,
                "programmes": self.size.programmes,
                "viewings": self.size.viewings,
                "interactions": made.interactions,
                "heldout": made.heldout,
                "with_consent": made.with_consent,
                "seed": self.size.seed,
            }),
            lines: vec![
                format!(
                    "{} viewings of {} viewers, the last programme of {} held out, in {out}",
                    grouped(made.interactions as u64),
                    grouped(self.size.viewers as u64),
                    grouped(made.heldout as u64)
                ),
                format!("{} viewers gave their consent", grouped(made.with_consent as u64)),
            ],
            stopped: false,
        })
    }
}
