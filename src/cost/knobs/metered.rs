//! A knob whose demand is read elsewhere: the `/metrics` pages of `serin serve`, one an instance, summed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::cost::knob::{Knob, KnobError, Look};
use crate::cost::pages::Pages;
use crate::watch::sample::{Sample, Signal, Timing};

pub struct Metered {
    knob: Box<dyn Knob>,
    pages: Pages,
    per_request: f64,
    last: Option<(Instant, Vec<Sample>)>,
}

impl Metered {
    pub fn new(knob: Box<dyn Knob>, urls: &[String], per_request: f64) -> Result<Self, KnobError> {
        Ok(Self { knob, pages: Pages::open(urls)?, per_request, last: None })
    }
}

/// What went through between two looks; `None` when an instance started anew in between.
fn between(before: &[Sample], after: &[Sample], seconds: f64, per_request: f64) -> Option<Look> {
    let (mut requests, mut throttled, mut errors) = (0.0, 0.0, 0.0);
    let mut buckets: BTreeMap<u64, f64> = BTreeMap::new();
    for now in after {
        let was = before.iter().find(|s| s.instance == now.instance)?;
        let grown = |signal| Some(now.get(signal)? - was.get(signal).unwrap_or(0.0)).filter(|d| *d >= 0.0);
        requests += grown(Signal::Requests)?;
        throttled += grown(Signal::Throttled).unwrap_or(0.0) + grown(Signal::StoreThrottled).unwrap_or(0.0);
        errors += grown(Signal::Errors).unwrap_or(0.0);
        let empty = Vec::new();
        let old = was.timings.get(&Timing::Request).unwrap_or(&empty);
        for (bound, count) in now.timings.get(&Timing::Request).into_iter().flatten() {
            let was = old.iter().find(|(b, _)| b == bound).map_or(0.0, |(_, c)| *c);
            *buckets.entry(bound.to_bits()).or_default() += count - was;
        }
    }
    let total = buckets.values().copied().fold(0.0, f64::max);
    let p99 = buckets.iter().find(|(_, count)| total > 0.0 && **count >= 0.99 * total);
    let p99_ms = p99.map(|(bound, _)| f64::from_bits(*bound) * 1_000.0);
    let errors = (requests > 0.0).then(|| errors / requests);
    Some(Look { units: requests / seconds * per_request, throttled, p99_ms, errors })
}

impl Knob for Metered {
    fn name(&self) -> String {
        self.knob.name()
    }

    fn patience(&self) -> Duration {
        self.knob.patience()
    }

    fn read(&mut self) -> Result<u64, KnobError> {
        self.knob.read()
    }

    fn set(&mut self, from: u64, to: u64) -> Result<(), KnobError> {
        self.knob.set(from, to)
    }

    fn look(&mut self) -> Result<Look, KnobError> {
        let (at, samples) = (Instant::now(), self.pages.ask()?);
        let last = self.last.replace((at, samples));
        let (before, after) = (last.as_ref(), self.last.as_ref());
        let seen = before.zip(after).and_then(|((was, before), (at, after))| {
            between(before, after, at.duration_since(*was).as_secs_f64().max(1e-3), self.per_request)
        });
        seen.ok_or_else(|| KnobError::Failed { what: self.pages.name(), why: "counters have just begun".to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(instance: &str, requests: f64, throttled: f64, quick: f64) -> Sample {
        let mut sample = Sample::new(0.0, instance);
        sample.set(Signal::Requests, requests);
        sample.set(Signal::StoreThrottled, throttled);
        sample.timings.insert(Timing::Request, vec![(0.01, quick), (0.1, requests)]);
        sample
    }

    #[test]
    fn instances_are_summed_and_a_restart_is_no_number() {
        let before = [page("a", 100.0, 1.0, 100.0), page("b", 50.0, 0.0, 50.0)];
        let after = [page("a", 200.0, 4.0, 190.0), page("b", 150.0, 0.0, 150.0)];
        let look = between(&before, &after, 10.0, 0.5).expect("seen");
        assert_eq!((look.units, look.throttled, look.p99_ms), (10.0, 3.0, Some(100.0)));
        assert!(between(&after, &before, 10.0, 0.5).is_none());
        assert!(between(&before[..1], &after, 10.0, 0.5).is_none(), "an instance that was not there before");
    }
}
