//! What can go wrong in serve, in a person's words.

use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// A file that people or pipelines write is not what it should be.
    #[error("{}{place}: {what}", path.display())]
    Input { path: PathBuf, place: String, what: String },
    #[error("{} is damaged: {what}; publish again, or roll back with `serin publish --rollback`", path.display())]
    DamagedStore { path: PathBuf, what: String },
    #[error("{} is damaged: {what}; build it again with `serin catalogue build`", path.display())]
    DamagedCatalogue { path: PathBuf, what: String },
    #[error("nothing is published in {}; run `serin publish --store embedded:{}`", path.display(), path.display())]
    NothingPublished { path: PathBuf },
    #[error("publishing to {} failed: {source}; {kept}", path.display())]
    Publish { path: PathBuf, source: io::Error, kept: String },
    /// A table that is not what lists need.
    #[error("{at}: {what}")]
    Table { at: String, what: String },
    /// A table that does not do what it is asked.
    #[error("{at}: {what}")]
    TableFailed { at: String, what: String },
    #[error("{at}: {what}")]
    Objects { at: String, what: String },
    #[error("port {port} on {host} is in use; stop who listens there, or choose another with --listen {host}:PORT")]
    PortInUse { host: String, port: u16 },
    #[error("cannot listen on {address}: {source}; choose another address with --listen")]
    Listen { address: String, source: io::Error },
    #[error("the keys at {at} cannot be used: {what}")]
    Keys { at: String, what: String },
    #[error("{0}")]
    Setting(String),
    #[error("{0}")]
    Stack(String),
    #[error("stopped")]
    Stopped,
}

impl ServeError {
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    pub fn input(path: impl Into<PathBuf>, what: impl Into<String>) -> Self {
        Self::Input { path: path.into(), place: String::new(), what: what.into() }
    }

    pub fn line(path: impl Into<PathBuf>, line: u64, what: impl Into<String>) -> Self {
        Self::Input { path: path.into(), place: format!(":{line}"), what: what.into() }
    }
}
