//! What can go wrong in model, in a person's words.

use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A line of a file that people made; nothing was written.
    #[error("{}:{line}: {what}", path.display())]
    Line { path: PathBuf, line: u64, what: String, hint: String },
    /// A whole file or folder that cannot be meant.
    #[error("{}: {what}", path.display())]
    File { path: PathBuf, what: String, hint: String },
    /// Something asked for that cannot be.
    #[error("{what}")]
    Asked { what: String, hint: String },
    #[error("{}: cannot be {doing}: {source}", path.display())]
    Io { path: PathBuf, doing: &'static str, source: io::Error },
    #[error("stopped")]
    Stopped,
}

impl ModelError {
    pub fn file(path: &Path, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::File { path: path.to_owned(), what: what.into(), hint: hint.into() }
    }

    pub fn asked(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Asked { what: what.into(), hint: hint.into() }
    }

    pub fn reading(path: &Path) -> impl FnOnce(io::Error) -> Self {
        Self::io(path, "read")
    }

    pub fn writing(path: &Path) -> impl FnOnce(io::Error) -> Self {
        Self::io(path, "written")
    }

    fn io(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, doing, source }
    }

    /// Returns what to do about it, where that is known.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Line { hint, .. } | Self::File { hint, .. } | Self::Asked { hint, .. } => {
                (!hint.is_empty()).then_some(hint.as_str())
            }
            Self::Io { .. } | Self::Stopped => None,
        }
    }
}

/// Returns a value as an error may show it: short, and without control characters.
pub fn shown(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(&value[..value.len().min(120)]);
    let mut out: String = text.chars().take(40).flat_map(char::escape_debug).collect();
    if text.chars().count() > 40 || value.len() > 120 {
        out.push('…');
    }
    out
}
