//! Does a `serin data import`: a user's own export into serin's CSV files, and says what it dropped.

use std::path::PathBuf;

use serde_json::json;

use super::model_work::model_work;
use crate::model::dataset::{Dataset, Source};
use crate::model::event_value::EventValue;
use crate::model::import;
use crate::run::error::RunError;
use crate::run::job::{Desk, Job};
use crate::run::summary::Summary;

#[derive(Debug)]
pub struct Import {
    pub source: Source,
    pub out: PathBuf,
    /// 0 is one a core.
    pub threads: usize,
}

impl Job for Import {
    fn kind(&self) -> &'static str {
        "import"
    }

    fn title(&self) -> String {
        let names: Vec<String> = self.source.interactions.iter().map(|p| p.display().to_string()).collect();
        format!("{} → {}", names.join(", "), self.out.display())
    }

    fn run(self: Box<Self>, desk: &Desk) -> Result<Summary, RunError> {
        let data = model_work(desk, self.threads, |tell| {
            let data = Dataset::read(&self.source, &desk.stop, tell)?;
            import::write(&self.out, &data, &self.source)?;
            Ok(data)
        })?;
        let mut lines = data.told.lines();
        let (out, event) = (self.out.display(), self.source.event);
        lines.push(format!("{} viewers, {} programmes in {out}", data.viewers.len(), data.programmes.len()));
        // Counts stay counts; all else is a share of one by now.
        let written = if event == EventValue::Count { EventValue::Count } else { EventValue::Completion };
        let say = if written == EventValue::Count { " --event-value count" } else { "" };
        lines.push(format!(
            "next: serin train --interactions {}{say} --out model",
            self.out.join("interactions.csv").display()
        ));
        Ok(Summary {
            title: self.title(),
            verdict: None,
            reason: String::new(),
            document: json!({
                "schema": "serin.import/1",
                "out": out.to_string(),
                "rows": data.told.rows,
                "kept": data.told.kept,
                "users": data.viewers.len(),
                "items": data.programmes.len(),
                "dropped": data.told.dropped,
                "without_value": data.told.without_value,
                "rule": data.told.rule,
                "largest": data.told.largest,
                "consent_known": data.told.consent_known,
                "event_value": written.word(),
            }),
            lines,
            stopped: false,
        })
    }
}
