//! What serin itself sends, as its own side sees it: every request counts where its viewer is dealt, also one that nobody
//! answered.
//!
//! The viewer stands in a header, so that the router deals by the very same name. What is under way while the share
//! changes is counted where it was due; the walk throws that moment away.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::canary::driver::Driver as _;
use crate::canary::drivers::local::Local;
use crate::canary::source::{Source, Taken};
use crate::judge::interval::{Bucket, Interval, Side};
use crate::load::question::{Asker, Check, Question};
use crate::load::tick::{EndpointTick, Tick};
use crate::serve::router::VIEWER;
use crate::serve::tally::bound_ms_of;
use crate::stats::lot::{Place, SLICES, place};

/// The canary, then the slices.
const GROUPS: usize = SLICES + 1;

/// Where a load's requests are counted; shared by the load and the walk.
#[derive(Debug)]
pub struct Ledger {
    salt: String,
    share: AtomicU64,
    sums: Mutex<Vec<Sum>>,
}

#[derive(Clone, Debug, Default)]
struct Sum {
    requests: u64,
    errors: u64,
    throttled: u64,
    latency: BTreeMap<u64, u64>,
}

impl Ledger {
    pub fn new(salt: &str) -> Arc<Self> {
        let sums = Mutex::new(vec![Sum::default(); GROUPS]);
        Arc::new(Self { salt: salt.to_owned(), share: AtomicU64::new(0.0_f64.to_bits()), sums })
    }

    fn share(&self) -> f64 {
        f64::from_bits(self.share.load(Ordering::Relaxed))
    }

    fn group(&self, viewer: &str) -> usize {
        match place(viewer, &self.salt, self.share()) {
            Place::Canary => 0,
            Place::Baseline(slice) => slice + 1,
        }
    }

    /// Adds a second of a load whose questions `Sided` asked.
    pub fn hear(&self, tick: &Tick) {
        let kinds = tick.endpoints.len() / GROUPS;
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        for (i, ended) in tick.endpoints.iter().enumerate().filter(|_| kinds > 0) {
            if let Some(sum) = sums.get_mut(i / kinds) {
                sum.add(ended);
            }
        }
    }
}

impl Sum {
    fn add(&mut self, ended: &EndpointTick) {
        self.requests += ended.ended;
        self.errors += ended.errors;
        self.throttled += ended.throttled;
        for (value, count) in ended.latency.buckets() {
            *self.latency.entry(bound_ms_of(value.0).to_bits()).or_default() += count;
        }
    }

    fn side(self) -> Side {
        let latency = self.latency.into_iter().map(|(bits, n)| Bucket(f64::from_bits(bits), n as f64));
        Side {
            requests: self.requests as f64,
            errors: self.errors as f64,
            latency_ms: latency.collect(),
            others: [("throttled".to_owned(), self.throttled.into())].into(),
        }
    }
}

/// The questions of a load, each under an endpoint of its viewer's group.
pub struct Sided {
    pub inner: Arc<dyn Asker>,
    pub ledger: Arc<Ledger>,
}

impl Sided {
    fn deal(&self, question: &mut Question) {
        if question.viewer.is_empty() {
            question.viewer.push_str("nobody");
        }
        let kinds = self.inner.endpoints().len();
        question.endpoint += (self.ledger.group(&question.viewer) * kinds) as u16;
        question.headers.extend_from_slice(format!("{VIEWER}: {}\r\n", question.viewer).as_bytes());
    }
}

impl Asker for Sided {
    fn endpoints(&self) -> Vec<String> {
        let inner = self.inner.endpoints();
        let group = |g: usize| if g == 0 { "canary".to_owned() } else { format!("slice {g}") };
        (0..GROUPS).flat_map(|g| inner.iter().map(move |name| format!("{name}, {}", group(g)))).collect()
    }

    fn ask(&self, index: u64, question: &mut Question) {
        self.inner.ask(index, question);
        self.deal(question);
    }

    fn ask_as(&self, index: u64, viewer: u64, kind: Option<u16>, question: &mut Question) {
        self.inner.ask_as(index, viewer, kind, question);
        self.deal(question);
    }

    fn check(&self, endpoint: u16) -> Option<&Check> {
        let kinds = self.inner.endpoints().len().max(1);
        self.inner.check((usize::from(endpoint) % kinds) as u16)
    }
}

pub struct Sent {
    ledger: Arc<Ledger>,
    driver: Local,
}

impl Sent {
    pub fn new(ledger: Arc<Ledger>, home: &Path) -> Result<Self, String> {
        Ok(Self { ledger, driver: Local::new(home)? })
    }
}

impl Source for Sent {
    fn name(&self) -> String {
        "what serin itself sends".to_owned()
    }

    fn take(&mut self) -> Result<Taken, String> {
        let fresh = vec![Sum::default(); GROUPS];
        let taken = std::mem::replace(&mut *self.ledger.sums.lock().unwrap_or_else(PoisonError::into_inner), fresh);
        if taken.iter().all(|s| s.requests == 0) {
            return Err("the load has told nothing since".to_owned());
        }
        let mut sides = taken.into_iter().map(Sum::side);
        let canary = sides.next();
        let slices: Vec<Side> = sides.collect();
        let baseline = slices.iter().fold(Side::default(), |sum, one| sum.and(one));
        let slices = slices.into_iter().map(Some).collect();
        Ok(Taken {
            interval: Interval { baseline: Some(baseline), canary, slices, ..Interval::default() },
            viewers: None,
        })
    }

    fn new_stage(&mut self) {
        // The walk has just read it back: an error here is one that the next look tells.
        if let Ok(share) = self.driver.read() {
            self.ledger.share.store(share.to_bits(), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct One;

    impl Asker for One {
        fn endpoints(&self) -> Vec<String> {
            vec!["strip".to_owned(), "popular".to_owned()]
        }

        fn ask(&self, index: u64, question: &mut Question) {
            question.clear();
            question.endpoint = (index % 2) as u16;
            question.viewer = format!("u{index}");
        }
    }

    #[test]
    fn every_request_counts_where_its_viewer_is_dealt() {
        let ledger = Ledger::new("salt");
        ledger.share.store(0.2_f64.to_bits(), Ordering::Relaxed);
        let sided = Sided { inner: Arc::new(One), ledger: Arc::clone(&ledger) };
        assert_eq!(sided.endpoints().len(), 20);
        let mut tick = Tick { endpoints: vec![EndpointTick::default(); 20], ..Tick::default() };
        let mut question = Question::default();
        let mut dealt = 0;
        for index in 0..2_000 {
            sided.ask(index, &mut question);
            dealt += u64::from(place(&format!("u{index}"), "salt", 0.2) == Place::Canary);
            assert!(question.headers.starts_with(format!("{VIEWER}: u{index}\r\n").as_bytes()));
            let ended = &mut tick.endpoints[usize::from(question.endpoint)];
            (ended.ended, ended.errors) = (ended.ended + 1, ended.errors + u64::from(index % 100 == 0));
            ended.latency.record_us(3_000);
        }
        ledger.hear(&tick);
        let sums = ledger.sums.lock().expect("kept").clone();
        assert_eq!((sums[0].requests, sums.iter().map(|s| s.requests).sum::<u64>()), (dealt, 2_000));
        assert_eq!(sums.iter().map(|s| s.errors).sum::<u64>(), 20);
        let side = sums[0].clone().side();
        assert!(side.timed() == dealt as f64 && side.latency_ms.iter().all(|b| (2.9..3.4).contains(&b.0)), "{side:?}");
    }
}
