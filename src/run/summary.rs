//! A run in one page of data: a verdict, its reason, and the command's own document.

use serde::{Deserialize, Serialize};

use crate::judge::verdict::Verdict;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    pub title: String,
    /// `None` for work that ends without a judgement (a training, a publish).
    pub verdict: Option<Verdict>,
    pub reason: String,
    /// What `--json` prints and `summary.json` holds; `schema` names it.
    pub document: serde_json::Value,
    /// Lines for a person, already worded; the plain form of the document.
    pub lines: Vec<String>,
    /// Whether somebody stopped it early (exit 130).
    pub stopped: bool,
}
