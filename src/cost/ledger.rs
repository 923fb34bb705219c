//! Keeps the steps as they come: what each one saw while it lasted, told when it begins and when it has ended.

use super::demand::shown;
use super::descend::Order;
use super::step::Step;

pub struct Ledger<'a> {
    price: Option<f64>,
    steps: Vec<Step>,
    tell: &'a mut dyn FnMut(&Step),
    throttled: f64,
    highest: Option<f64>,
    p99_ms: Option<f64>,
    all_throttled: u64,
    /// The last look: units asked for and its p99.
    latest: (f64, Option<f64>),
    /// The highest demand of all steps.
    peak: Option<f64>,
}

impl<'a> Ledger<'a> {
    pub fn new(price: Option<f64>, tell: &'a mut dyn FnMut(&Step)) -> Self {
        Self {
            price,
            steps: Vec::new(),
            tell,
            throttled: 0.0,
            highest: None,
            p99_ms: None,
            all_throttled: 0,
            latest: (0.0, None),
            peak: None,
        }
    }

    /// Ends the present step and begins the next.
    pub fn begin(&mut self, now: f64, order: &Order) {
        self.close();
        let step = Step {
            at: shown(now),
            capacity: order.to,
            throttled: 0,
            p99_ms: None,
            verdict: order.verdict,
            reason: order.reason.clone(),
            usd_per_hour: self.price.map(|p| p * order.to as f64),
            share_of_limit: None,
        };
        (self.tell)(&step);
        self.steps.push(step);
    }

    /// Takes what was seen for a while: demand in units, requests throttled, and the p99 where it is known.
    pub fn saw(&mut self, rate: f64, throttled: f64, p99_ms: Option<f64>) {
        self.throttled += throttled;
        self.latest = (rate, p99_ms);
        self.peak = Some(self.peak.unwrap_or(0.0).max(rate));
        self.highest = Some(self.highest.unwrap_or(0.0).max(rate));
        if let Some(p99) = p99_ms {
            self.p99_ms = Some(self.p99_ms.unwrap_or(0.0).max(p99));
        }
    }

    pub fn latest(&self) -> (f64, Option<f64>) {
        self.latest
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
        let p99_ms = self.p99_ms.take();
        let Some(step) = self.steps.last_mut() else { return };
        // A part of a request that was refused is a request refused.
        step.throttled = throttled.ceil() as u64;
        step.share_of_limit = highest.map(|h| h / step.capacity as f64);
        step.p99_ms = p99_ms;
        self.all_throttled += step.throttled;
        (self.tell)(step);
    }

    /// Returns the steps and how many requests were throttled in all.
    pub fn end(mut self) -> (Vec<Step>, u64) {
        self.close();
        (self.steps, self.all_throttled)
    }
}
