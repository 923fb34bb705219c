//! A run read back from its folder: its journal, and its summary where it got that far.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::error::ReportError;
use crate::judge::verdict::Verdict;
use crate::load::summary::LoadSummary;
use crate::run::story::{Story, load_document};
use crate::run::{journal, past};

pub struct Record {
    pub folder: PathBuf,
    pub story: Story,
    /// `summary.json`, or what it would have been when the run was cut off.
    pub document: Value,
    pub load: Option<LoadSummary>,
    /// Whether the journal has no end: the process was killed, or is still at work.
    pub cut_off: bool,
}

impl Record {
    pub fn read(folder: &Path) -> Result<Self, ReportError> {
        let unreadable = |e| ReportError::Unreadable(folder.to_owned(), e);
        let mut story = Story::default();
        for event in journal::events(folder).map_err(unreadable)? {
            story.hear(&event.map_err(unreadable)?);
        }
        // The file is what others edit least and read most; a gate adds its comparison to it.
        let kept = past::summary(folder).ok().or_else(|| story.ended.as_ref().map(|s| s.document.clone()));
        let cut_off = kept.is_none();
        let (document, load) = match kept {
            Some(document) => {
                let load = load_document(&document);
                (document, load)
            }
            None => cut_short(&story),
        };
        Ok(Self { folder: folder.to_owned(), story, document, load, cut_off })
    }

    /// Returns the verdict; a run that was cut off has none but "cannot tell".
    pub fn verdict(&self) -> Option<Verdict> {
        if self.cut_off {
            return Some(Verdict::CannotTell);
        }
        self.document.get("verdict").and_then(|v| serde_json::from_value(v.clone()).ok())
    }

    pub fn reason(&self) -> &str {
        let said = self.document.get("reason").and_then(Value::as_str);
        said.or(self.story.ended.as_ref().map(|s| s.reason.as_str())).unwrap_or_default()
    }
}

/// Returns what is known of a run without an end; its figures stand, its verdict does not.
fn cut_short(story: &Story) -> (Value, Option<LoadSummary>) {
    let reason = match story.load.as_ref().map(|l| l.columns.end()) {
        Some(second) => format!("cut off: the journal ends in second {second} without an end; what came before stands"),
        None => "cut off: the journal has no end".to_owned(),
    };
    let load = story.load_summary().map(|mut load| {
        load.verdict = Verdict::CannotTell;
        load.reason.clone_from(&reason);
        load
    });
    let bare = serde_json::json!({"verdict": Verdict::CannotTell, "reason": reason});
    let document = load.as_ref().and_then(|l| serde_json::to_value(l).ok()).unwrap_or(bare);
    (document, load)
}
