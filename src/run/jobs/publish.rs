//! Does a publish: a model's lists to the store that serves.

use std::path::PathBuf;
use std::time::Instant;

use crate::model::files::Model;
use crate::run::error::RunError;
use crate::run::event::Event;
use crate::run::job::{Desk, Job};
use crate::run::summary::Summary;
use crate::serve::catalogue::Catalogue;
use crate::serve::error::ServeError;
use crate::serve::publish::{Order, publish};

pub struct PublishJob {
    pub model: PathBuf,
    pub items: PathBuf,
    pub store: PathBuf,
    pub top: usize,
    pub threads: usize,
}

impl Job for PublishJob {
    fn kind(&self) -> &'static str {
        "publish"
    }

    fn title(&self) -> String {
        format!("{} → {}", self.model.display(), self.store.display())
    }

    fn run(self: Box<Self>, desk: &Desk) -> Result<Summary, RunError> {
        let model = Model::open(&self.model).map_err(RunError::misuse)?;
        let catalogue = Catalogue::open(&self.items)?;
        let order =
            Order { model: &model, catalogue: &catalogue, store: &self.store, top: self.top, threads: self.threads };
        let began = Instant::now();
        let outcome =
            publish(&order, &desk.stop, &mut |p| desk.tell(Event::Progress(p))).map_err(|error| match error {
                full @ ServeError::Publish { .. } => {
                    RunError::from(full).hint("make room on that disk, then publish again")
                }
                other => other.into(),
            })?;
        let (published, seconds) = (outcome.published, began.elapsed().as_secs_f64());
        let rate = published.lists as f64 / seconds.max(1e-9);
        let mut lines = vec![format!(
            "{} lists in {seconds:.1} s ({rate:.0} a second); {} serves",
            published.lists, published.generation
        )];
        if outcome.unknown > 0 {
            lines.push(format!("{} programmes of the model are not in the catalogue and in no list", outcome.unknown));
        }
        Ok(Summary {
            title: self.title(),
            verdict: None,
            reason: lines[0].clone(),
            document: serde_json::json!({
                "schema": "serin.publish/1",
                "model": model.id(),
                "generation": published.generation,
                "lists": published.lists,
                "entries": published.entries,
                "bytes": published.bytes,
                "seconds": seconds,
                "lists_per_second": rate,
                "unknown_programmes": outcome.unknown,
            }),
            lines,
            stopped: false,
        })
    }
}
