//! What long work tells as it goes: done of total, and how long the rest may take.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// What is being done, in a person's words: "training".
    pub task: String,
    pub done: f64,
    /// `None` where the end is not known.
    pub total: Option<f64>,
    /// What is counted: "iterations", "lists", "rows".
    pub unit: String,
    pub left_s: Option<f64>,
    /// One figure worth seeing now: "loss 1.284e6".
    pub note: String,
}

/// Takes progress as it comes.
pub type Tell<'a> = &'a mut dyn FnMut(Progress);
