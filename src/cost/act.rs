//! From an order to what is set: forbidden, proved, written down, turned, read back; or put off, with the reason.

use std::time::{Duration, Instant};

use super::descend::Order;
use super::error::CostError;
use super::knob::{KnobError, nap};
use super::proof::Proving;
use super::record::Record;
use super::step::StepVerdict;
use super::way::{Ended, OwnLoad, Way};
use crate::judge::verdict::Verdict;

/// Between two tries of a step up.
const PAUSE: Duration = Duration::from_secs(1);
/// How often it is asked what else goes on: a canary, an incident.
const BUSY: Duration = Duration::from_secs(2);
/// How often a step up is asked for when the knob does not move.
const ASK_AGAIN: u32 = 3;

impl Way<'_> {
    /// An order: a step down is first checked against what else goes on, and proved where the plan says how.
    pub fn obey(&mut self, now: f64, from: u64, order: Order) -> Result<Option<Ended>, CostError> {
        if order.verdict != StepVerdict::Go {
            return self.act(now, from, order);
        }
        if let Some(why) = self.otherwise_busy() {
            return self.put_off(now, from, &why);
        }
        let Some(proof) = self.plan.proof.clone() else {
            return self.act(now, from, order);
        };
        // Until it is proved, nothing has changed.
        self.planner.withdraw(now, from);
        let (coming, asked) = (self.planner.coming(now) / self.per_request, self.planner.rate() / self.per_request);
        let to = order.to;
        match Proving::start(&proof, order, from, coming, asked) {
            Ok(proving) => {
                (self.say)(format!("{}; first it is {}", proving.order.reason, proving.how()));
                self.own_load = Some(OwnLoad {
                    units: proving.rate * self.per_request,
                    beside: self.planner.rate(),
                    until: f64::INFINITY,
                });
                self.proving = Some(proving);
                Ok(None)
            }
            Err(why) => self.put_off(now, from, &format!("{to} was not proved: {why}")),
        }
    }

    /// Takes the step that was proved, or puts it off.
    pub fn proved(&mut self, now: f64) -> Result<Option<Ended>, CostError> {
        let Some(told) = self.proving.as_ref().and_then(Proving::ended) else { return Ok(None) };
        let Some(proving) = self.give_up_proof(now) else { return Ok(None) };
        let (from, order) = (self.planner.capacity(), proving.order.clone());
        let how = match told {
            Ok(how) => how,
            Err(why) => return self.put_off(now, from, &format!("{} was not proved: {why}", order.to)),
        };
        if let Some(why) = self.otherwise_busy() {
            return self.put_off(now, from, &why);
        }
        self.planner.took(now, order.to, StepVerdict::Go);
        let reason = format!("{}; {how}", order.reason);
        self.act(now, from, Order { reason, ..order })
    }

    /// Ends a proof, whatever came of it; what the meter still tells of its load is no demand.
    pub fn give_up_proof(&mut self, now: f64) -> Option<Proving> {
        if let Some(own) = &mut self.own_load {
            own.until = now + self.rhythm.late_s;
        }
        self.proving.take()
    }

    /// What else goes on that forbids a step down, asked now and then.
    fn otherwise_busy(&mut self) -> Option<String> {
        if let Some((_, why)) = self.busy_at.as_ref().filter(|(at, _)| at.elapsed() < BUSY) {
            return why.clone();
        }
        let why = (self.busy)();
        self.busy_at = Some((Instant::now(), why.clone()));
        why
    }

    /// Turns the knob from `from`: the intent is on the disk first, and what is read back afterwards counts.
    pub fn act(&mut self, now: f64, from: u64, order: Order) -> Result<Option<Ended>, CostError> {
        if order.to == from {
            self.begin(now, &order);
            return Ok(None);
        }
        self.keep()?;
        let (to, verdict) = (order.to, order.verdict);
        self.write(&Record::Intent { at: now, from, to, verdict, reason: order.reason.clone() })?;
        let mut why = String::new();
        let patience = Instant::now() + self.knob.patience();
        for asked in 1.. {
            let (answered, busy) = match self.knob.set(from, to) {
                Ok(()) => (true, false),
                Err(KnobError::NotNow(reason)) if verdict == StepVerdict::Go => {
                    return self.put_off(now, from, &reason);
                }
                Err(e) => {
                    why = e.to_string();
                    (false, matches!(e, KnobError::NotNow(_)))
                }
            };
            match if answered { self.settled(from) } else { self.knob.read() } {
                Ok(reading) if reading == to => {
                    self.write(&Record::Set { at: now, capacity: to })?;
                    self.read_at = Instant::now();
                    if verdict == StepVerdict::Go {
                        self.climbed.push(from);
                    }
                    self.begin(now, &order);
                    return Ok(None);
                }
                Ok(reading) if reading != from => return Ok(Some(self.foreign(now, to, reading))),
                Ok(_) if why.is_empty() => "it answers, but does not move".clone_into(&mut why),
                Ok(_) => {}
                Err(e) => why = e.to_string(),
            }
            if self.stop.requested() {
                // The journal keeps what was meant; the next life reads what came of it.
                let reason = format!("stopped while {to} was being set in the place of {from}; the same line goes on");
                return Ok(Some((Verdict::CannotTell, reason)));
            }
            // Up is asked for again; where the knob is only busy, for as long as its patience lasts.
            let more = asked < ASK_AGAIN || busy && Instant::now() < patience;
            if verdict != StepVerdict::Up || !more {
                break;
            }
            nap(PAUSE, &self.stop);
        }
        self.planner.stayed(now, from);
        self.write(&Record::Set { at: now, capacity: from })?;
        let reason = format!("stays at {from}: {to} was asked of `{}` and not set: {why}", self.knob.name());
        self.begin(now, &Order { to: from, verdict: StepVerdict::Hold, reason: reason.clone() });
        Ok(Some((Verdict::No, reason)))
    }

    /// A step down that is refused for now: said, held, tried again later.
    fn put_off(&mut self, now: f64, from: u64, why: &str) -> Result<Option<Ended>, CostError> {
        self.planner.put_off(now, from);
        self.write(&Record::Set { at: now, capacity: from })?;
        let reason = format!("stays at {from} for now: {why}");
        if self.ledger.standing().1 != reason {
            self.begin(now, &Order { to: from, verdict: StepVerdict::Hold, reason });
        }
        Ok(None)
    }

    /// Reads until the knob has left `from`, its patience is over, or somebody stops it.
    fn settled(&mut self, from: u64) -> Result<u64, KnobError> {
        let patience = self.knob.patience();
        let (began, pause) = (Instant::now(), (patience / 50).min(Duration::from_secs(5)));
        loop {
            let reading = self.knob.read()?;
            if reading != from || began.elapsed() > patience || self.stop.requested() {
                return Ok(reading);
            }
            nap(pause, &self.stop);
        }
    }
}
