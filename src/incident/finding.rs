//! A cause that the numbers name: since when, because of what, and what to do now.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// One of `causes::NAMES`, or `errors`, `latency`, `probe` for what no cause explains.
    pub cause: String,
    /// RFC 3339.
    pub since: String,
    /// RFC 3339; `None` while it lasts.
    pub ended: Option<String>,
    pub because: String,
    /// What changed in the quarter of an hour before.
    pub before: Vec<String>,
    /// Commands to type, in order.
    #[serde(rename = "do")]
    pub acts: Vec<String>,
}

impl Finding {
    pub fn lasts(&self) -> bool {
        self.ended.is_none()
    }
}
