//! What EVENT_VALUE is, how it becomes a weight, and which rule makes one row of several.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventValue {
    /// The share of the programme that was watched, 0..1.
    #[default]
    Completion,
    /// Seconds watched; divided by the programme's DURATION_S.
    Seconds,
    /// How often.
    Count,
    /// A rating; divided by the largest one.
    Stars,
    /// Nothing: each row counts 1.
    None,
}

impl EventValue {
    /// Joins two values of one viewer and programme; `later` says that the second is the newer one.
    pub fn join(self, first: f32, second: f32, later: bool) -> f32 {
        match self {
            Self::Completion => first.max(second),
            Self::Seconds | Self::Count => first + second,
            Self::Stars => {
                if later {
                    second
                } else {
                    first
                }
            }
            Self::None => 1.0,
        }
    }

    /// States the rule of `join` for a person.
    pub fn rule(self) -> &'static str {
        match self {
            Self::Completion => "of several rows the highest completion is kept, at the latest time",
            Self::Seconds => {
                "the seconds of several rows are added, then divided by DURATION_S (at most 1), at the latest time"
            }
            Self::Count => "the counts of several rows are added, at the latest time",
            Self::Stars => "of several rows the latest stars are kept",
            Self::None => "several rows count as one, at the latest time",
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Completion => "completion",
            Self::Seconds => "seconds",
            Self::Count => "count",
            Self::Stars => "stars",
            Self::None => "none",
        }
    }
}
