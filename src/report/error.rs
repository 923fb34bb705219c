//! What can go wrong with a report, in a person's words.

use std::io;
use std::path::PathBuf;

use crate::run::error::RunError;

#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error("{0} holds no run that can be read: {1}")]
    Unreadable(PathBuf, io::Error),
    #[error("{0} could not be written: {1}")]
    Unwritable(PathBuf, io::Error),
    #[error("the report could not be put into form: {0}")]
    Form(String),
}

impl From<ReportError> for RunError {
    fn from(error: ReportError) -> Self {
        match &error {
            ReportError::Unreadable(..) => Self::misuse(&error).hint("`serin report list` shows the runs there are"),
            ReportError::Unwritable(..) | ReportError::Form(_) => Self::cannot_tell(&error),
        }
    }
}
