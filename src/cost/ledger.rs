//! Keeps the steps as they come: what each one saw while it lasted, told when it begins and when it has ended.

use super::demand::shown;
use super::descend::Order;
use super::step::{Step, StepVerdict};
use super::tariff::PriceUsed;

/// What was seen for a while.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    pub seconds: f64,
    /// Demand, units a second.
    pub units: f64,
    pub requests: f64,
    pub throttled: f64,
    pub p99_ms: Option<f64>,
}

pub struct Ledger<'a> {
    price: PriceUsed,
    steps: Vec<Step>,
    tell: &'a mut dyn FnMut(&Step),
    throttled: f64,
    highest: Option<f64>,
    p99_ms: Option<f64>,
    /// Time and requests of the present step.
    seconds: f64,
    requests: f64,
    all_throttled: u64,
    /// The last look: units asked for and its p99.
    latest: (f64, Option<f64>),
    /// The highest demand of all steps.
    peak: Option<f64>,
    /// When the present step began.
    since: f64,
}

impl<'a> Ledger<'a> {
    pub fn new(price: PriceUsed, tell: &'a mut dyn FnMut(&Step)) -> Self {
        Self {
            price,
            steps: Vec::new(),
            tell,
            throttled: 0.0,
            highest: None,
            p99_ms: None,
            seconds: 0.0,
            requests: 0.0,
            all_throttled: 0,
            latest: (0.0, None),
            peak: None,
            since: 0.0,
        }
    }

    /// Ends the present step and begins the next.
    pub fn begin(&mut self, now: f64, order: &Order) {
        self.close();
        self.since = now;
        let step = Step {
            at: shown(now),
            capacity: order.to,
            throttled: 0,
            p99_ms: None,
            verdict: order.verdict,
            reason: order.reason.clone(),
            usd_per_hour: self.price.per_hour(order.to as f64),
            usd_per_million: None,
            share_of_limit: None,
        };
        (self.tell)(&step);
        self.steps.push(step);
    }

    pub fn saw(&mut self, seen: Seen) {
        self.throttled += seen.throttled;
        self.seconds += seen.seconds;
        self.requests += seen.requests;
        self.latest = (seen.units, seen.p99_ms);
        self.peak = Some(self.peak.unwrap_or(0.0).max(seen.units));
        self.highest = Some(self.highest.unwrap_or(0.0).max(seen.units));
        if let Some(p99) = seen.p99_ms {
            self.p99_ms = Some(self.p99_ms.unwrap_or(0.0).max(p99));
        }
    }

    pub fn latest(&self) -> (f64, Option<f64>) {
        self.latest
    }

    /// The verdict on the present step, its reason, and since when it stands.
    pub fn standing(&self) -> (StepVerdict, &str, f64) {
        self.steps.last().map_or((StepVerdict::Hold, "", self.since), |s| (s.verdict, &s.reason, self.since))
    }

    /// The highest demand so far.
    pub fn peak(&self) -> Option<f64> {
        self.peak
    }

    /// Requests throttled so far.
    pub fn throttled(&self) -> f64 {
        self.all_throttled as f64 + self.throttled
    }

    fn close(&mut self) {
        let (throttled, highest) = (std::mem::take(&mut self.throttled), self.highest.take());
        let (seconds, requests) = (std::mem::take(&mut self.seconds), std::mem::take(&mut self.requests));
        let p99_ms = self.p99_ms.take();
        let Some(step) = self.steps.last_mut() else { return };
        // A part of a request that was refused is a request refused.
        step.throttled = throttled.ceil() as u64;
        step.share_of_limit = highest.map(|h| h / step.capacity as f64);
        step.p99_ms = p99_ms;
        let millions = Some(requests / 1e6).filter(|m| *m > 0.0);
        step.usd_per_million = step.usd_per_hour.zip(millions).map(|(usd, m)| usd * seconds / 3_600.0 / m);
        self.all_throttled += step.throttled;
        (self.tell)(step);
    }

    /// Returns the steps and how many requests were throttled in all.
    pub fn end(mut self) -> (Vec<Step>, u64) {
        self.close();
        (self.steps, self.all_throttled)
    }
}
