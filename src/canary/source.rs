//! Where each side's numbers come from: what happened since they were asked for last. Its kinds live in `sources/`.

use std::time::Duration;

use super::split::Counted;
use crate::judge::interval::Interval;

/// What a source answers: one interval, and the viewers of each side since the share changed, where it knows viewers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Taken {
    /// Its `t` and `stage` are the walk's to fill in.
    pub interval: Interval,
    pub viewers: Option<Counted>,
}

pub trait Source {
    /// Its name, for a person.
    fn name(&self) -> String;

    /// Returns the numbers since the last call; the error says why there are none, and what was missed stays missed.
    fn take(&mut self) -> Result<Taken, String>;

    /// How often it has anything new to tell; a walk looks no more often than this.
    fn every(&self) -> Duration {
        Duration::ZERO
    }

    /// The share has changed: viewers are counted anew.
    fn new_stage(&mut self) {}
}
