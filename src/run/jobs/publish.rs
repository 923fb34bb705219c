//! Does a publish: a model's lists to the store that serves.

use std::path::PathBuf;
use std::time::Instant;

use crate::model::consent::Consent;
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
    /// Who agreed, and who took it back.
    pub users: Option<PathBuf>,
    pub withdrawn: Option<PathBuf>,
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
        let mut consent =
            self.users.as_deref().map(Consent::read).transpose().map_err(RunError::misuse)?.unwrap_or_default();
        self.withdrawn.as_deref().map(|path| consent.withdraw(path)).transpose().map_err(RunError::misuse)?;
        let order = Order {
            model: &model,
            catalogue: &catalogue,
            consent: &consent,
            store: &self.store,
            top: self.top,
            threads: self.threads,
        };
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
        if outcome.without_consent > 0 {
            lines
                .push(format!("{} viewers did not agree, or took it back: they have no list", outcome.without_consent));
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
                "without_consent": outcome.without_consent,
            }),
            lines,
            stopped: false,
        })
    }
}
