//! The nouns: viewer, programme, viewing, ranked list.

use serde::{Deserialize, Serialize};

/// One viewer watched one programme: how much of it (0..=1) and when (Unix seconds).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Viewing {
    pub viewer: String,
    pub programme: String,
    pub completion: f32,
    pub at: i64,
}

/// One place of a ranked list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ranked {
    pub item: String,
    pub score: f32,
}
