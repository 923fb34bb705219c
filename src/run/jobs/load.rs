//! A load as a job: the engine's ticks become events, its summary the document.

use crate::load::engine::{self, Spec, Told};
use crate::load::error::LoadError;
use crate::load::summary::LoadSummary;
use crate::run::error::RunError;
use crate::run::event::Event;
use crate::run::job::{Desk, Job};
use crate::run::summary::Summary;

pub struct Load {
    pub spec: Spec,
}

/// What a run of this load is called: scenario and target.
pub fn title(spec: &Spec) -> String {
    format!("{} → {}", spec.name, spec.target)
}

impl Job for Load {
    fn kind(&self) -> &'static str {
        "load"
    }

    fn title(&self) -> String {
        title(&self.spec)
    }

    fn keeps_folder(&self) -> bool {
        true
    }

    fn run(self: Box<Self>, desk: &Desk) -> Result<Summary, RunError> {
        let title = self.title();
        summarise(title, &play(&self.spec, desk)?)
    }
}

/// Plays a load and tells of it; for jobs that have a load as a part.
pub fn play(spec: &Spec, desk: &Desk) -> Result<LoadSummary, RunError> {
    play_and(spec, desk, &mut |_| {})
}

/// Plays a load, tells of it, and shows each word to `watch` first.
pub fn play_and(spec: &Spec, desk: &Desk, watch: &mut dyn FnMut(&Told)) -> Result<LoadSummary, RunError> {
    let mut tell = |told| {
        watch(&told);
        desk.tell(match told {
            Told::Plan(plan) => Event::LoadPlan(plan),
            Told::Tick(tick) => Event::Tick(tick),
            Told::Said(text) => Event::said(text),
        });
    };
    let mut summary = engine::run(spec, &desk.stop, &mut tell)?;
    summary.run = desk.folder.as_ref().map(|f| f.display().to_string());
    Ok(summary)
}

/// Plays a load that is one piece of a run, so that only `watch` hears of it.
pub fn run_load(spec: &Spec, desk: &Desk, watch: &mut dyn FnMut(&Told)) -> Result<LoadSummary, RunError> {
    Ok(engine::run(spec, &desk.stop, &mut |told| watch(&told))?)
}

/// Returns the summary of a run that was one load.
pub fn summarise(title: String, load: &LoadSummary) -> Result<Summary, RunError> {
    let document = serde_json::to_value(load).map_err(RunError::cannot_tell)?;
    Ok(Summary {
        title,
        verdict: Some(load.verdict),
        reason: load.reason.clone(),
        document,
        lines: load.lines(),
        stopped: load.stopped,
    })
}

impl From<LoadError> for RunError {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::System { .. } => Self::cannot_tell(error),
            _ => Self::misuse(error),
        }
    }
}
