//! How requests travel: how long a connection lives, and how often a name is asked again.

use std::time::Duration;

use super::resolver::EVERY;

/// How many requests share an HTTP/2 connection, unless said otherwise.
pub const STREAMS: u32 = 100;
pub const MOST_STREAMS: u32 = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wire {
    /// Answers after which a connection is closed and another one opened; `None` keeps it as long as the target does.
    pub per_connection: Option<u32>,
    /// How often the target's name is resolved again, for new connections.
    pub resolve: Duration,
    /// How many requests share an HTTP/2 connection at once; `None` speaks HTTP/1.1.
    pub streams: Option<u32>,
}

impl Default for Wire {
    fn default() -> Self {
        Self { per_connection: None, resolve: EVERY, streams: None }
    }
}
