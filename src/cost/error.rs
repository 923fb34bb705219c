//! What can go wrong in cost, in a person's words.

use std::path::PathBuf;

use super::knob::KnobError;
use crate::toml_file::TomlError;

#[derive(Debug, thiserror::Error)]
pub enum CostError {
    #[error(transparent)]
    File(#[from] TomlError),
    #[error("{name}{place}: {what}")]
    Trace { name: String, place: String, what: String },
    #[error(transparent)]
    Knob(#[from] KnobError),
    /// Another way down has the same knob.
    #[error("{0}")]
    Held(String),
    #[error("the journal {} cannot be used: {why}", path.display())]
    Journal { path: PathBuf, why: String },
}

impl CostError {
    /// An error in a trace; line 0 is the whole file.
    pub fn trace(name: &str, line: u64, what: String) -> Self {
        let place = if line == 0 { String::new() } else { format!(": line {line}") };
        Self::Trace { name: name.to_owned(), place, what }
    }
}
