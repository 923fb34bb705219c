//! How requests travel: how long a connection lives, and how often a name is asked again.

use std::time::Duration;

use super::resolver::EVERY;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wire {
    /// Answers after which a connection is closed and another one opened; `None` keeps it as long as the target does.
    pub per_connection: Option<u32>,
    /// How often the target's name is resolved again, for new connections.
    pub resolve: Duration,
}

impl Default for Wire {
    fn default() -> Self {
        Self { per_connection: None, resolve: EVERY }
    }
}
