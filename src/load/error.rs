//! Why a load could not be run, in a person's words.

use crate::toml_file::TomlError;

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Scenario(#[from] TomlError),
    #[error("`{url}` is not an address to send load to: {why}")]
    Url { url: String, why: String },
    #[error("{name} cannot be read: {why}")]
    File { name: String, why: String },
    /// The kernel gave no socket, no thread or no descriptor.
    #[error("{what}: {source}")]
    System { what: String, source: std::io::Error },
    /// What was asked cannot be meant.
    #[error("{0}")]
    Asked(String),
}
