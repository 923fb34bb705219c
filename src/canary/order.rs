//! What a walk is told and what it orders: words only, the rules are the walk's.

use serde::{Deserialize, Serialize};

use crate::judge::sequential::Look;
use crate::judge::verdict::Verdict;

/// What somebody asked for from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wish {
    Approve,
    /// Leave the stage now, whatever the evidence.
    Go,
    /// No share rises until somebody says go on.
    Freeze,
    Thaw,
    RollBack,
}

impl Wish {
    pub fn word(self) -> &'static str {
        match self {
            Self::Approve => "the stage is approved",
            Self::Go => "go on now",
            Self::Freeze => "hold: no share rises",
            Self::Thaw => "go on by the evidence",
            Self::RollBack => "roll back",
        }
    }
}

/// What the driver of the walk saw since the last step.
#[derive(Clone, Debug, Default)]
pub struct Seen<'a> {
    /// The share that reads back; an error says why it cannot be read; `None`: not read this time.
    pub share: Option<Result<f64, String>>,
    /// A judgement made just now.
    pub look: Option<&'a Look>,
    pub wishes: &'a [Wish],
    /// The name of the calendar's quiet time that it is now.
    pub quiet: Option<&'a str>,
    /// Requests that reached the canary since zero was set, where they can be counted.
    pub after_zero: Option<u64>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// Nothing changes.
    Wait,
    /// Set this share: the beginning of a stage, or a share that somebody else changed.
    Set {
        stage: usize,
        share: f64,
        why: String,
    },
    /// The stage's share has been read back: its time begins.
    Begun {
        stage: usize,
    },
    /// Set the share back; `share` is zero, or the stage below on a graceful way down.
    Back {
        share: f64,
        reason: String,
    },
    End(Ending),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ending {
    pub verdict: Verdict,
    pub reason: String,
    /// Whether the canary was taken back.
    pub rolled_back: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Phase {
    /// Nothing is set yet.
    Waiting,
    Setting {
        stage: usize,
        since: f64,
    },
    Soaking {
        stage: usize,
        since: f64,
    },
    /// The way back: `share` was set at `since`.
    Back {
        from: usize,
        share: f64,
        since: f64,
        began: f64,
        ending: Ending,
    },
    Ended(Ending),
}
