//! What can go wrong in canary, in a person's words.

use std::path::{Path, PathBuf};

use super::driver::DriverError;
use crate::toml_file::TomlError;

#[derive(Debug, thiserror::Error)]
pub enum CanaryError {
    #[error(transparent)]
    Plan(#[from] TomlError),
    /// The plan does not say what is needed to walk it.
    #[error("{0}")]
    Unfit(String),
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// Another walk has the target, or left it in an open state.
    #[error("{0}")]
    Held(String),
    #[error("the journal {} cannot be used: {why}", path.display())]
    Journal { path: PathBuf, why: String },
    #[error("{0}")]
    World(String),
}

impl CanaryError {
    pub fn journal(path: &Path, why: &std::io::Error) -> Self {
        Self::Journal { path: path.to_owned(), why: why.to_string() }
    }
}
