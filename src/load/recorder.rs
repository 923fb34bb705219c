//! Answers to ticks: each worker folds what it sees into one tick a second and keeps nothing else.

use std::time::Duration;

use super::fault::Fault;
use super::tick::{EndpointTick, StageTick, Tick};

/// The times of one request, in nanoseconds from the beginning of the run.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    pub due: u64,
    /// When the generator had noticed it and was ready to send.
    pub ready: u64,
    pub sent: Option<u64>,
    pub first: Option<u64>,
    pub last: u64,
}

/// The second under way, in one worker.
#[derive(Debug)]
pub struct Recorder {
    tick: Tick,
    endpoints: usize,
    by_stage: bool,
    /// Kinds of which an example was given already.
    told: u32,
}

impl Recorder {
    pub fn new(endpoints: usize, stages: usize) -> Self {
        let mut recorder = Self { tick: Tick::default(), endpoints, by_stage: stages > 1, told: 0 };
        recorder.tick = recorder.fresh(0);
        recorder
    }

    fn fresh(&self, second: u32) -> Tick {
        let endpoints = std::iter::repeat_with(EndpointTick::default).take(self.endpoints).collect();
        Tick { second, ends_s: f64::from(second) + 1.0, endpoints, ..Tick::default() }
    }

    /// Returns the second that ended and begins the next one.
    pub fn turn(&mut self, in_flight: u64, waiting: u64) -> Box<Tick> {
        let next = self.fresh(self.tick.second + 1);
        let mut ended = std::mem::replace(&mut self.tick, next);
        self.tick.stage = ended.stage;
        ended.in_flight = in_flight;
        ended.waiting = waiting;
        Box::new(ended)
    }

    /// Returns the last second, cut where the run ended.
    pub fn finish(mut self, now_ns: u64) -> Box<Tick> {
        self.tick.ends_s = now_ns as f64 / 1e9;
        Box::new(self.tick)
    }

    pub fn second(&self) -> u32 {
        self.tick.second
    }

    fn stage(&mut self, stage: u16) -> Option<&mut StageTick> {
        if !self.by_stage {
            return None;
        }
        let stage = usize::from(stage);
        let stages = &mut self.tick.stages;
        let at = stages.iter().position(|s| s.stage == stage).unwrap_or_else(|| {
            stages.push(StageTick { stage, ..StageTick::default() });
            stages.len() - 1
        });
        stages.get_mut(at)
    }

    /// A request fell due and was noticed `late_ns` afterwards.
    pub fn due(&mut self, stage: u16, late_ns: u64) {
        self.tick.due += 1;
        self.tick.stage = usize::from(stage);
        self.tick.generator.late.record(Duration::from_nanos(late_ns));
        if let Some(s) = self.stage(stage) {
            s.due += 1;
        }
    }

    pub fn sent(&mut self, stage: u16) {
        self.tick.sent += 1;
        if let Some(s) = self.stage(stage) {
            s.sent += 1;
        }
    }

    /// What this worker's thread used and waited for in this second.
    pub fn generator(&mut self, cpu_share: f64, run_queue_ms: f64) {
        self.tick.generator.cpu_share = cpu_share;
        self.tick.generator.run_queue_ms += run_queue_ms;
    }

    pub fn connected(&mut self, took_ns: u64) {
        self.tick.parts.connect.record(Duration::from_nanos(took_ns));
    }

    pub fn secured(&mut self, took_ns: u64) {
        self.tick.parts.tls.record(Duration::from_nanos(took_ns));
    }

    pub fn status(&mut self, status: u16, degraded: bool) {
        *self.tick.statuses.entry(status).or_default() += 1;
        self.tick.degraded += u64::from(degraded);
    }

    /// Whether the first of its kind is still to be told.
    pub fn wants_example(&self, fault: Fault) -> bool {
        self.told & (1 << fault as u32) == 0
    }

    pub fn example(&mut self, fault: Fault, text: String) {
        self.told |= 1 << fault as u32;
        self.tick.examples.insert(fault.word().to_owned(), text);
    }

    /// A request ended, well or with a fault; `answered` says whether a whole answer came.
    pub fn ended(&mut self, endpoint: u16, stage: u16, times: Times, fault: Option<Fault>, answered: bool) {
        self.tick.answered += u64::from(answered);
        if let Some(fault) = fault {
            *self.tick.errors.entry(fault.word().to_owned()).or_default() += 1;
        }
        let span = |from: u64, to: u64| Duration::from_nanos(to.saturating_sub(from));
        let latency = fault.is_none_or(Fault::has_latency).then(|| span(times.due, times.last));
        let service = latency.and(times.sent).map(|sent| span(sent, times.last));
        let add = |t: &mut EndpointTick| {
            t.ended += 1;
            t.answered += u64::from(answered);
            t.errors += u64::from(fault.is_some());
            t.throttled += u64::from(fault == Some(Fault::Throttled));
            if let Some(latency) = latency {
                t.latency.record(latency);
            }
            if let Some(service) = service {
                t.service.record(service);
            }
        };
        if let Some(t) = self.tick.endpoints.get_mut(usize::from(endpoint)) {
            add(t);
        }
        if let Some(s) = self.stage(stage) {
            add(&mut s.ended);
        }
        let parts = &mut self.tick.parts;
        if let Some(sent) = times.sent {
            parts.connection_wait.record(span(times.ready, sent));
            if let Some(first) = times.first {
                parts.first_byte.record(span(sent, first));
                if answered {
                    parts.body.record(span(first, times.last));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_counted_once_in_every_place_it_belongs_to() {
        let mut recorder = Recorder::new(2, 2);
        recorder.due(1, 5_000);
        recorder.sent(1);
        let times = Times { due: 0, ready: 5_000, sent: Some(1_000_000), first: Some(3_000_000), last: 4_000_000 };
        recorder.ended(1, 1, times, None, true);
        let gone = Times { due: 0, ready: 0, sent: None, first: None, last: 9_000_000 };
        recorder.ended(0, 0, gone, Some(Fault::Connect), false);
        let tick = recorder.turn(3, 4);
        assert_eq!((tick.due, tick.sent, tick.answered, tick.in_flight, tick.waiting), (1, 1, 1, 3, 4));
        assert_eq!(tick.endpoints[1].latency.max().map(|m| m.0.round()), Some(4.0));
        assert_eq!(tick.endpoints[1].service.max().map(|m| m.0.round()), Some(3.0));
        assert!(tick.endpoints[0].latency.is_empty(), "what was never sent has no latency");
        assert_eq!(tick.errors.get("connect"), Some(&1));
        assert_eq!(tick.stages.len(), 2);
        assert_eq!(recorder.turn(0, 0).due, 0);
    }
}
