//! Steps down for real: looks, asks the planner, writes the journal, turns the knob, reads it back. No opinions of its own.

use std::path::PathBuf;
use std::time::Instant;

use super::demand::Demand;
use super::descend::{Order, Planner};
use super::error::CostError;
use super::knob::{Knob, KnobError, Look};
use super::ledger::{Ledger, Seen};
use super::plan::Plan;
use super::record::{Place, Record};
use super::resume::{OUTAGE_S, begins};
use super::simulate::Walk;
use super::step::{Step, StepVerdict};
use super::tariff::PriceUsed;
use super::told::{self, View};
use super::way::{Ended, Piece, Way, unreadable};
use crate::journal::{self, Journal};
use crate::judge::verdict::Verdict;
use crate::lock::Lock;
use crate::stats::units::Share;
use crate::stop::Stop;

/// A meter that was silent for less has hidden nothing that matters.
const HICCUP_S: f64 = 60.0;

/// Everything a real way down needs besides its plan.
pub struct Drive<'a> {
    pub plan: Plan,
    pub knob: Box<dyn Knob>,
    pub place: Place,
    /// Recorded demand up to now, for the planner to begin with.
    pub history: Option<Demand>,
    pub price: PriceUsed,
    pub stop: Stop,
    pub tell: &'a mut dyn FnMut(&Step),
    pub say: &'a mut dyn FnMut(String),
    pub show: &'a mut dyn FnMut(View),
    /// What else goes on that forbids a step down.
    pub busy: &'a mut dyn FnMut() -> Option<String>,
    /// The file of a person's wishes.
    pub wishes: Option<PathBuf>,
    /// Moments of the demand from which on it may mean another time, with the reason.
    pub doubts: Vec<(f64, String)>,
}

impl Drive<'_> {
    /// Walks until the cheapest that holds has been held, something is wrong, or somebody stops it.
    pub fn run(self) -> Result<Walk, CostError> {
        let Self { plan, mut knob, place, history, price, stop, tell, say, show, busy, wishes, doubts } = self;
        let _lock = Lock::take(&place.lock, &format!("a way down (process {})", std::process::id()))
            .map_err(|e| CostError::Held(e.to_string()))?;
        let kept = if place.journal.exists() {
            journal::read(&place.journal).map_err(|e| unreadable(&place, &e))?
        } else {
            Vec::new()
        };
        let journal = Journal::open(&place.journal).map_err(|e| unreadable(&place, &e))?;
        let now = knob.now();
        let reading = knob.read().map_err(CostError::Knob)?;
        let heard = wishes.as_deref().map_or(0, |path| told::asked(path).len());
        let mut way = Way {
            rhythm: knob.rhythm(),
            planner: Planner::new(plan.clone(), begins(history.as_ref(), &kept, now)),
            per_request: plan.unit.units_a_request(),
            ledger: Ledger::new(price.clone(), tell),
            plan,
            knob,
            place,
            journal,
            seen: Piece::default(),
            read_at: Instant::now(),
            over_since: None,
            broke_at: None,
            show,
            shown: None,
            busy,
            busy_at: None,
            wishes,
            heard,
            proving: None,
            own_load: None,
            doubts,
            climbed: Vec::new(),
            blind_since: None,
            learnt: 0.0,
            walk: Walk { from: now, paid_usd: price.per_hour(0.0), ..Walk::default() },
            price,
            stop,
            say,
        };
        if let Some(demand) = &history {
            way.learn(demand, now)?;
        }
        let ended = match way.resume(&kept, reading, now)? {
            Some(ended) => Some(ended),
            None => way.go_on()?,
        };
        way.end(ended)
    }
}

impl Way<'_> {
    fn go_on(&mut self) -> Result<Option<Ended>, CostError> {
        let mut last = self.knob.now();
        while !self.stop.requested() {
            let more = match self.knob.pass(&self.stop) {
                Ok(more) => more,
                Err(e) => return Ok(Some((Verdict::CannotTell, format!("what is played went away: {e}")))),
            };
            let now = self.knob.now();
            if let Some(ended) = self.look(last, now)? {
                return Ok(Some(ended));
            }
            self.view(now);
            last = now;
            if !more {
                return Ok(None);
            }
        }
        Ok(Some(self.stopped()))
    }

    fn stopped(&self) -> Ended {
        let (capacity, unit) = (self.planner.capacity(), &self.plan.unit.name);
        (Verdict::CannotTell, format!("stopped at {capacity} {unit}; the same line goes on from there"))
    }

    /// One look: what went through, whether the knob still stands where it was put, and what to do about it.
    fn look(&mut self, last: f64, now: f64) -> Result<Option<Ended>, CostError> {
        if self.read_at.elapsed() >= self.rhythm.read {
            self.read_at = Instant::now();
            match self.knob.read() {
                Ok(reading) if reading != self.planner.capacity() => {
                    let expected = self.planner.capacity();
                    return Ok(Some(self.foreign(now, expected, reading)));
                }
                Ok(_) => {}
                Err(e) => (self.say)(format!("the capacity cannot be read: {e}")),
            }
        }
        let look = match self.knob.look() {
            Ok(look) => look,
            Err(KnobError::Gap(_)) => {
                self.walk.missing_s += now - last;
                self.planner.blind(now);
                return Ok(None);
            }
            Err(e) => return Ok(self.blind(last, now, &e)),
        };
        if self.blind_since.take().is_some_and(|since| last - since > HICCUP_S) {
            self.planner.blind(last);
        }
        let rate = look.units;
        self.saw(rate, last, now)?;
        let seconds = now - last;
        let requests = rate * seconds / self.per_request;
        let Look { throttled, p99_ms, .. } = look;
        self.ledger.saw(Seen { seconds, units: rate, requests, throttled, p99_ms });
        while let Some((at, why)) = self.doubts.first().filter(|(at, _)| *at <= now).cloned() {
            self.planner.doubts(at, why);
            self.doubts.remove(0);
        }
        self.breach(look.throttled, last, now);
        let before = (self.planner.capacity(), self.planner.incidents());
        let order = self.planner.guard(now, rate, look.throttled).or_else(|| self.over(now, &look));
        let mut order = order.or_else(|| self.wished(now));
        if order.as_ref().is_some_and(|o| o.verdict == StepVerdict::Up) {
            self.give_up_proof(now);
        } else if order.is_none() && self.proving.is_none() {
            order = self.planner.decide(now);
        }
        if self.planner.incidents() > before.1 {
            let floor = self.planner.floor().cloned();
            self.write(&Record::Incident { at: now, floor })?;
        }
        if let Some(order) = order {
            return self.obey(now, before.0, order);
        }
        if let Some(ended) = self.proved(now)? {
            return Ok(Some(ended));
        }
        if self.planner.exhausted(now) {
            let (n, at) = (self.planner.incidents(), self.planner.capacity());
            return Ok(Some((
                Verdict::No,
                format!("{n} incidents used up the budget of {}; stays at {at}", self.plan.incidents),
            )));
        }
        let held = now - self.walk.from >= self.plan.hold_s && self.planner.arrived(now);
        if self.rhythm.until.is_none() && self.proving.is_none() && held {
            let capacity = self.planner.capacity();
            let unit = &self.plan.unit.name;
            let needed = self.planner.needed(now);
            let reason = format!(
                "{capacity} {unit} has been held for its time and nothing smaller is wanted; {needed} was needed"
            );
            return Ok(Some((Verdict::Go, reason)));
        }
        Ok(None)
    }

    fn breach(&mut self, throttled: f64, last: f64, now: f64) {
        if throttled > 0.0 {
            let since = *self.broke_at.get_or_insert(last);
            self.walk.longest_breach_s = self.walk.longest_breach_s.max(now - since);
        } else {
            self.broke_at = None;
        }
    }

    /// No numbers: no step, and after a while no verdict either.
    fn blind(&mut self, last: f64, now: f64, why: &KnobError) -> Option<Ended> {
        let since = *self.blind_since.get_or_insert_with(|| {
            (self.say)(format!("no numbers: {why}; no step is taken without them"));
            last
        });
        self.walk.missing_s += now - last;
        (now - since > OUTAGE_S).then(|| {
            let reason = format!("the meter has been dead for {:.0} min: {why}", (now - since) / 60.0);
            (Verdict::CannotTell, reason)
        })
    }

    fn saw(&mut self, rate: f64, from: f64, until: f64) -> Result<(), CostError> {
        self.own_load.take_if(|own| from > own.until);
        // What a proof asks for itself is no demand to learn from, but it takes from what is kept for surges.
        let learnt = self.own_load.map_or(rate, |own| (rate - own.units).max(own.beside.min(rate)));
        self.planner.saw_of(rate, learnt, from, until);
        self.walk.pay(&self.price, self.planner.capacity(), until - from);
        self.walk.requests += rate * (until - from) / self.per_request;
        if self.seen.until == 0.0 {
            self.seen.from = from;
        }
        self.seen.until = until;
        self.seen.units += learnt * (until - from);
        if until - self.seen.from >= self.rhythm.piece_s { self.keep() } else { Ok(()) }
    }

    pub(super) fn keep(&mut self) -> Result<(), CostError> {
        let piece = std::mem::take(&mut self.seen);
        if piece.until > piece.from {
            self.write(&Record::Saw { from: piece.from, until: piece.until, units: piece.units })?;
        }
        Ok(())
    }

    /// An objective beside throttles that has been missed for long enough; a look that cannot tell changes nothing.
    fn over(&mut self, now: f64, look: &Look) -> Option<Order> {
        let missed = |seen: Option<f64>, limit: Option<f64>| seen.zip(limit).filter(|(seen, limit)| seen > limit);
        let p99 = missed(look.p99_ms, self.plan.p99_ms)
            .map(|(p99, limit)| format!("p99 of {p99:.0} ms was over {limit:.0} ms"));
        let errors = missed(look.errors, self.plan.errors);
        let errors =
            errors.map(|(share, limit)| format!("{} of the requests failed, over {}", Share(share), Share(limit)));
        let Some(what) = p99.or(errors) else {
            self.over_since = None;
            return None;
        };
        let long = self.rhythm.broken_s.unwrap_or(self.plan.broken_s);
        if now - *self.over_since.get_or_insert(now) < long {
            return None;
        }
        self.over_since = None;
        self.planner.objective_broke(now, &format!("{what} for {long:.0} s"))
    }

    fn end(mut self, ended: Option<Ended>) -> Result<Walk, CostError> {
        let now = self.knob.now();
        self.keep()?;
        self.shown = None;
        self.view(now);
        let capacity = self.planner.capacity();
        let reason = ended.as_ref().map_or("the time that was to be walked is over", |e| &e.1).to_owned();
        self.write(&Record::Ended { at: now, reason })?;
        let ahead = self.planner.ahead(now, self.ledger.peak());
        let (steps, throttled) = self.ledger.end();
        let ended = match ended {
            Some((Verdict::Go, reason)) if throttled > 0 => {
                Some((Verdict::No, format!("{throttled} requests were throttled; {reason}")))
            }
            // What is over is judged by its numbers.
            other => other,
        };
        Ok(Walk {
            steps,
            throttled,
            final_capacity: capacity,
            needed: self.planner.needed(now),
            floor: self.planner.floor().cloned(),
            incidents: self.planner.incidents(),
            until: now,
            ahead,
            ended,
            ..self.walk
        })
    }
}
