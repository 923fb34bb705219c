//! Go, no or cannot tell, each with its reason.

use std::fmt;

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Go,
    No,
    CannotTell,
}

impl Verdict {
    /// Sign and word, for people: colour only repeats them.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Go => "✓ GO",
            Self::No => "✗ NO",
            Self::CannotTell => "? CANNOT TELL",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Go => "go",
            Self::No => "no",
            Self::CannotTell => "cannot-tell",
        })
    }
}
