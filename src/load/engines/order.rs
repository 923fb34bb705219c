//! What the engine hands to its workers, and what they hand back.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crate::load::answer::Limits;
use crate::load::question::{Asker, Check};
use crate::load::resolver::Addresses;
use crate::load::schedule::Schedule;
use crate::load::tick::Tick;
use crate::load::tls::Secure;
use crate::stop::Stop;

/// How long a stopped run waits for what is under way.
pub const STOPPED_WAIT: Duration = Duration::from_millis(500);

/// What all workers of a run share.
pub struct Order {
    pub asker: Arc<dyn Asker>,
    pub schedule: Schedule,
    pub seed: u64,
    pub addresses: Arc<Addresses>,
    pub stages: usize,
    /// Where the target speaks TLS.
    pub secure: Option<Secure>,
    pub timeout: Duration,
    pub body_limit: u64,
    /// Answers after which a connection is closed, where churn was asked for.
    pub per_connection: Option<u32>,
    /// How many requests share an HTTP/2 connection; `None` speaks HTTP/1.1.
    pub streams: Option<u32>,
    pub begin: Instant,
    pub stop: Stop,
    /// Set when the run is lost or broken: the engine's own stop.
    pub halt: Arc<AtomicBool>,
}

/// How much of a body a check may look at.
const CHECKED: usize = 1 << 20;

impl Order {
    /// Returns how much of an answer is read and kept.
    pub fn limits(&self, endpoint: u16, method: &str) -> Limits {
        let reads = self.asker.check(endpoint).is_some_and(Check::reads_body);
        Limits { body: self.body_limit, keep: if reads { CHECKED } else { 0 }, head_only: method == "HEAD" }
    }

    /// Nanoseconds since the run began.
    pub fn now(&self) -> u64 {
        self.begin.elapsed().as_nanos() as u64
    }
}

/// What a worker hands over: a second, or its last one and what ended it.
pub enum Report {
    Second(Box<Tick>),
    Last(Box<Tick>, Option<io::Error>),
}
