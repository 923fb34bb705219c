//! What the router counts of each side: requests, errors by kind, latency in fine buckets, empty and degraded answers.

use std::time::Duration;

use crate::judge::interval::{Bucket, Side};

/// The upper bounds of the latency buckets rise by a twentieth each, from here to nearly two minutes.
const LOWEST_MS: f64 = 0.05;
const GROWTH: f64 = 1.05;
const BUCKETS: usize = 300;

/// How one request ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// `None` where no answer came.
    pub status: Option<u16>,
    pub timeout: bool,
    /// An answer that holds no programme, and one that says itself that it is less than was asked for.
    pub empty: bool,
    pub degraded: bool,
}

impl Ended {
    /// Reads what an answer says of itself; the API writes its lists compactly, first the items, last whether they are degraded.
    pub fn of(status: u16, body: &[u8]) -> Self {
        let head = &body[..body.len().min(1024)];
        let tail = &body[body.len().saturating_sub(32)..];
        let holds = |text: &[u8], what: &[u8]| text.windows(what.len()).any(|w| w == what);
        let well = status < 300;
        Self {
            status: Some(status),
            timeout: false,
            empty: well && holds(head, b"\"items\":[]"),
            degraded: well && holds(tail, b"\"degraded\":true"),
        }
    }
}

/// Counts that only grow.
#[derive(Clone, Debug)]
pub struct Tally {
    requests: u64,
    errors: u64,
    throttled: u64,
    timeout: u64,
    empty: u64,
    degraded: u64,
    latency: Box<[u64; BUCKETS + 1]>,
}

impl Default for Tally {
    fn default() -> Self {
        let latency = Box::new([0; BUCKETS + 1]);
        Self { requests: 0, errors: 0, throttled: 0, timeout: 0, empty: 0, degraded: 0, latency }
    }
}

impl Tally {
    pub fn count(&mut self, took: Duration, ended: Ended) {
        self.requests += 1;
        // A caller's mistake counts too: both sides have the same callers, and a version that refuses everybody is bad.
        self.errors += u64::from(ended.status.is_none_or(|s| s >= 400));
        self.throttled += u64::from(ended.status == Some(429));
        self.timeout += u64::from(ended.timeout);
        self.empty += u64::from(ended.empty);
        self.degraded += u64::from(ended.degraded);
        self.latency[bucket(took)] += 1;
    }

    /// Returns the counts as the judge reads them.
    pub fn side(&self) -> Side {
        let used = self.latency.iter().enumerate().filter(|(_, n)| **n > 0);
        let others = [
            ("throttled", self.throttled),
            ("timeout", self.timeout),
            ("empty", self.empty),
            ("degraded", self.degraded),
        ];
        Side {
            requests: self.requests as f64,
            errors: self.errors as f64,
            latency_ms: used.map(|(i, n)| Bucket(bound_ms(i), *n as f64)).collect(),
            others: others.into_iter().map(|(name, n)| (name.to_owned(), n.into())).collect(),
        }
    }
}

/// Returns the bound of the bucket that so many milliseconds lie in.
pub fn bound_ms_of(ms: f64) -> f64 {
    bound_ms(bucket(Duration::try_from_secs_f64(ms.max(0.0) / 1000.0).unwrap_or(Duration::MAX)))
}

fn bucket(took: Duration) -> usize {
    let ms = took.as_secs_f64() * 1000.0;
    let above = (ms / LOWEST_MS).ln() / GROWTH.ln();
    // Bounds are rounded: the neighbours decide.
    let near = (above.max(0.0) as usize).min(BUCKETS);
    (near.saturating_sub(1)..BUCKETS).find(|i| ms <= bound_ms(*i)).unwrap_or(BUCKETS)
}

fn bound_ms(bucket: usize) -> f64 {
    if bucket >= BUCKETS {
        return f64::INFINITY;
    }
    let bound = LOWEST_MS * GROWTH.powi(bucket as i32);
    (bound * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_lies_in_the_bucket_that_it_fits() {
        for us in (1..4_000_000_u64).step_by(977) {
            let at = bucket(Duration::from_micros(us));
            let ms = us as f64 / 1000.0;
            assert!(ms <= bound_ms(at) && (at == 0 || ms > bound_ms(at - 1)), "{ms} in {at}");
        }
        assert_eq!(bound_ms(bucket(Duration::from_secs(600))), f64::INFINITY);
        assert!((1..BUCKETS).all(|i| bound_ms(i) > bound_ms(i - 1)));
    }

    #[test]
    fn an_answer_says_what_it_is() {
        let mut tally = Tally::default();
        let full = br#"{"user":"u1","items":[{"id":"p1"}],"source":"list","model":"m","degraded":false}"#;
        let empty = br#"{"user":"u1","items":[],"source":"popular","model":"m","degraded":true}"#;
        for (status, body) in [(200, &full[..]), (200, &empty[..]), (500, b"{}"), (429, b""), (401, b"")] {
            tally.count(Duration::from_millis(3), Ended::of(status, body));
        }
        tally.count(Duration::from_secs(10), Ended { timeout: true, ..Ended::default() });
        let side = tally.side();
        assert_eq!((side.requests, side.errors, side.timed()), (6.0, 4.0, 6.0));
        let named: Vec<_> = ["throttled", "timeout", "empty", "degraded"].iter().map(|n| side.named(n)).collect();
        assert_eq!(named, [Some(1.0), Some(1.0), Some(1.0), Some(1.0)]);
    }
}
