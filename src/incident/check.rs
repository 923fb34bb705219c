//! One check: what was asked, what was seen, what is usual, where from and how old.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    Bad,
    Warn,
    /// Asked, and could not be told: never OK.
    Unknown,
    Ok,
    /// Nobody said where to ask.
    NotConfigured,
}

impl State {
    pub fn sign(self) -> &'static str {
        match self {
            Self::Bad => "✗",
            Self::Warn => "!",
            Self::Unknown => "?",
            Self::Ok => "✓",
            Self::NotConfigured => "·",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    pub name: String,
    pub state: State,
    pub seen: String,
    /// `None` where the past is not known.
    pub usual: Option<String>,
    pub source: String,
    /// How old the number is.
    pub age_s: Option<f64>,
}

impl Check {
    pub fn new(name: &str, state: State, seen: impl Into<String>) -> Self {
        Self { name: name.to_owned(), state, seen: seen.into(), usual: None, source: String::new(), age_s: None }
    }

    pub fn unknown(name: &str, why: impl Into<String>) -> Self {
        Self::new(name, State::Unknown, why)
    }

    #[must_use]
    pub fn usual(mut self, usual: Option<String>) -> Self {
        self.usual = usual;
        self
    }

    #[must_use]
    pub fn from(mut self, source: impl Into<String>, age_s: Option<f64>) -> Self {
        self.source = source.into();
        self.age_s = age_s.map(|a| (a.max(0.0) * 10.0).round() / 10.0);
        self
    }
}
