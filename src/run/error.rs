//! Why a job could not end in a verdict, in a person's words, with what to do about it.

use crate::serve::error::ServeError;

/// What stopped a job; its kind decides the exit code.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RunError {
    /// Flags, files or configuration are wrong: nothing was changed.
    #[error("{cause}")]
    Misuse { cause: String, hint: Option<String> },
    /// The world did not let us tell: unreachable, no data, disk full.
    #[error("{cause}")]
    CannotTell { cause: String, hint: Option<String> },
    /// Somebody asked to stop before there was anything to say.
    #[error("stopped")]
    Stopped,
}

impl RunError {
    pub fn misuse(cause: impl std::fmt::Display) -> Self {
        Self::Misuse { cause: cause.to_string(), hint: None }
    }

    pub fn cannot_tell(cause: impl std::fmt::Display) -> Self {
        Self::CannotTell { cause: cause.to_string(), hint: None }
    }

    #[must_use]
    pub fn hint(self, text: impl Into<String>) -> Self {
        let hint = Some(text.into());
        match self {
            Self::Misuse { cause, .. } => Self::Misuse { cause, hint },
            Self::CannotTell { cause, .. } => Self::CannotTell { cause, hint },
            Self::Stopped => Self::Stopped,
        }
    }
}

impl From<ServeError> for RunError {
    fn from(error: ServeError) -> Self {
        match error {
            ServeError::Stopped => Self::Stopped,
            ServeError::Io { .. }
            | ServeError::Publish { .. }
            | ServeError::TableFailed { .. }
            | ServeError::Objects { .. }
            | ServeError::Stack(_) => Self::cannot_tell(error),
            _ => Self::misuse(error),
        }
    }
}
