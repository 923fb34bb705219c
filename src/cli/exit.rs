//! 0 go, 1 no, 2 misuse, 3 cannot tell, 130 stopped; and an error with its hint.

use std::process::ExitCode;

use crate::judge::verdict::Verdict;
use crate::run::error::RunError;
use crate::run::summary::Summary;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Go,
    No,
    Misuse,
    CannotTell,
    Stopped,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Go => 0,
            Exit::No => 1,
            Exit::Misuse => 2,
            Exit::CannotTell => 3,
            Exit::Stopped => 130,
        })
    }
}

impl Exit {
    pub fn from_verdict(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Go => Self::Go,
            Verdict::No => Self::No,
            Verdict::CannotTell => Self::CannotTell,
        }
    }
}

impl From<&Summary> for Exit {
    fn from(summary: &Summary) -> Self {
        match summary.verdict {
            _ if summary.stopped => Self::Stopped,
            None => Self::Go,
            Some(verdict) => Self::from_verdict(verdict),
        }
    }
}

/// Prints the error and its hint on stderr; returns the code it means.
pub fn explain(error: &RunError) -> Exit {
    let (hint, exit) = match error {
        RunError::Misuse { hint, .. } => (hint.as_ref(), Exit::Misuse),
        RunError::CannotTell { hint, .. } => (hint.as_ref(), Exit::CannotTell),
        RunError::Stopped => (None, Exit::Stopped),
    };
    eprintln!("error: {error}");
    if let Some(hint) = hint {
        eprintln!("hint: {hint}");
    }
    exit
}
