//! Steps down for real: looks, asks the planner, writes the journal, turns the knob, reads it back. No opinions of its own.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::demand::Demand;
use super::descend::{Floor, Order, Planner};
use super::error::CostError;
use super::knob::{Knob, KnobError};
use super::ledger::Ledger;
use super::plan::Plan;
use super::simulate::{Walk, units_of};
use super::step::{Step, StepVerdict};
use crate::journal::{self, Journal};
use crate::judge::verdict::Verdict;
use crate::lock::Lock;
use crate::stop::Stop;

/// Between two looks at the meter.
const LOOK: Duration = Duration::from_secs(1);
/// Between two readings of the knob, besides those after an act.
const READ_S: f64 = 10.0;
/// Demand is kept in the journal in pieces of this length.
const PIECE_S: f64 = 60.0;
/// Shorter outages than this (a restart) do not hold the way down for a day.
const OUTAGE_S: f64 = 900.0;
/// A meter that was silent for less has hidden nothing that matters.
const HICCUP_S: f64 = 60.0;
/// A p99 over its objective for this long is broken.
const BROKEN_S: f64 = 30.0;
/// How often a step up is asked for when the knob does not move.
const ASK_AGAIN: u32 = 3;

/// What must survive a kill; `Intent` is on the disk before the knob is turned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case")]
pub enum Record {
    Began { at: f64, capacity: u64 },
    Saw { from: f64, until: f64, units: f64 },
    Intent { at: f64, from: u64, to: u64, verdict: StepVerdict, reason: String },
    Set { at: f64, capacity: u64 },
    Incident { at: f64, floor: Option<Floor> },
    Ended { at: f64, reason: String },
}

/// Where a way down keeps its journal and its lock.
#[derive(Clone, Debug)]
pub struct Place {
    pub journal: PathBuf,
    pub lock: PathBuf,
}

impl Place {
    /// One place a plan file: the same line goes on where it stopped.
    pub fn of(home: &Path, plan: &Plan) -> Self {
        let path = Path::new(&plan.name);
        let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let stem = path.file_stem().map_or_else(|| "plan".to_owned(), |s| s.to_string_lossy().into_owned());
        let name = format!("{stem}-{:08x}", crc32fast::hash(whole.to_string_lossy().as_bytes()));
        let folder = home.join("cost");
        Self { journal: folder.join(format!("{name}.journal")), lock: folder.join(format!("{name}.lock")) }
    }
}

/// Everything a real way down needs besides its plan.
pub struct Drive<'a> {
    pub plan: Plan,
    pub knob: Box<dyn Knob>,
    pub place: Place,
    /// Recorded demand up to now, for the planner to begin with.
    pub history: Option<Demand>,
    pub price: Option<f64>,
    pub stop: Stop,
    pub tell: &'a mut dyn FnMut(&Step),
    pub say: &'a mut dyn FnMut(String),
}

impl Drive<'_> {
    /// Walks until the cheapest that holds has been held, something is wrong, or somebody stops it.
    pub fn run(self) -> Result<Walk, CostError> {
        let Self { plan, mut knob, place, history, price, stop, tell, say } = self;
        let _lock = Lock::take(&place.lock, &format!("a way down (process {})", std::process::id()))
            .map_err(|e| CostError::Held(e.to_string()))?;
        let kept = if place.journal.exists() {
            journal::read(&place.journal).map_err(|e| unreadable(&place, &e))?
        } else {
            Vec::new()
        };
        let journal = Journal::open(&place.journal).map_err(|e| unreadable(&place, &e))?;
        let now = clock();
        let reading = knob.read().map_err(CostError::Knob)?;
        let mut way = Way {
            planner: Planner::new(plan.clone(), begins(history.as_ref(), &kept, now)),
            per_request: plan.unit.units_a_request(),
            ledger: Ledger::new(price, tell),
            plan,
            knob,
            place,
            journal,
            seen: Piece::default(),
            read_at: now,
            over_since: None,
            blind_since: None,
            learnt: 0.0,
            walk: Walk { from: now, ..Walk::default() },
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

fn unreadable(place: &Place, e: &std::io::Error) -> CostError {
    CostError::Journal { path: place.journal.clone(), why: e.to_string() }
}

fn clock() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

fn begins(history: Option<&Demand>, kept: &[Record], now: f64) -> f64 {
    let first = kept.iter().find_map(|r| match r {
        Record::Began { at, .. } => Some(*at),
        _ => None,
    });
    let recorded = history.and_then(|d| d.samples.first()).map(|s| s.from);
    first.into_iter().chain(recorded).fold(now, f64::min)
}

/// Demand since it was last written down.
#[derive(Default)]
struct Piece {
    from: f64,
    until: f64,
    units: f64,
}

struct Way<'a> {
    plan: Plan,
    planner: Planner,
    per_request: f64,
    knob: Box<dyn Knob>,
    place: Place,
    journal: Journal,
    ledger: Ledger<'a>,
    seen: Piece,
    read_at: f64,
    over_since: Option<f64>,
    blind_since: Option<f64>,
    /// The end of the recorded demand that the planner began with.
    learnt: f64,
    walk: Walk,
    stop: Stop,
    say: &'a mut dyn FnMut(String),
}

type Ended = (Verdict, String);

impl Way<'_> {
    fn write(&mut self, record: &Record) -> Result<(), CostError> {
        self.journal.append(record).map_err(|e| unreadable(&self.place, &e))
    }

    /// Lets the planner see recorded demand, up to now.
    fn learn(&mut self, demand: &Demand, now: f64) -> Result<(), CostError> {
        let mut until = f64::NAN;
        for sample in demand.samples.iter().filter(|s| s.until <= now + 60.0) {
            let rate = units_of(sample, &self.plan.unit, &demand.name)?;
            if sample.from > until + 1e-6 {
                self.planner.blind(sample.from);
            }
            self.planner.saw(rate, sample.from, sample.until);
            until = sample.until;
        }
        self.learnt = until.max(0.0);
        if now - until > OUTAGE_S {
            self.planner.blind(now);
        }
        Ok(())
    }

    /// Takes up an earlier life from its journal: what was seen, what was set, and what was only meant.
    fn resume(&mut self, kept: &[Record], reading: u64, now: f64) -> Result<Option<Ended>, CostError> {
        let mut expected = None;
        let mut meant: Option<(u64, u64, StepVerdict)> = None;
        let mut until = f64::NAN;
        for record in kept {
            match record {
                Record::Began { capacity, at } => {
                    expected = Some(*capacity);
                    self.planner.took(*at, *capacity, StepVerdict::Hold);
                }
                Record::Saw { from, until: end, units } => {
                    if *from > until.max(self.learnt) + OUTAGE_S {
                        self.planner.blind(*from);
                    }
                    until = *end;
                    if *end <= self.learnt {
                        continue; // the recorded demand tells the same time
                    }
                    self.planner.saw(units / (end - from).max(1e-3), *from, *end);
                }
                Record::Intent { from, to, verdict, .. } => meant = Some((*from, *to, *verdict)),
                Record::Set { at, capacity } => {
                    let verdict = meant.take().map_or(StepVerdict::Hold, |m| m.2);
                    self.planner.took(*at, *capacity, verdict);
                    expected = Some(*capacity);
                }
                Record::Incident { at, floor } => self.planner.recall(*at, floor.clone()),
                Record::Ended { .. } => {}
            }
        }
        if now > until.max(self.learnt) + OUTAGE_S {
            self.planner.blind(now);
        }
        let Some(expected) = expected else { return self.start(reading, now).map(|()| None) };
        match meant {
            // Killed between the act and its record: what the knob says is what happened.
            Some((_, to, verdict)) if reading == to => {
                self.planner.took(now, to, verdict);
                self.write(&Record::Set { at: now, capacity: to })?;
            }
            _ if reading == expected => self.planner.took(now, reading, StepVerdict::Hold),
            _ => return Ok(Some(self.foreign(now, expected, reading))),
        }
        (self.say)(format!("goes on from the journal at {reading} {}", self.plan.unit.name));
        let reason = format!("goes on at {reading}, {} records kept", kept.len());
        self.ledger.begin(now, &Order { to: reading, verdict: StepVerdict::Hold, reason });
        Ok(None)
    }

    /// The first life: from what is set, up to the plan's start where less is set, never down to it unproved.
    fn start(&mut self, reading: u64, now: f64) -> Result<(), CostError> {
        self.write(&Record::Began { at: now, capacity: reading })?;
        self.planner.took(now, reading, StepVerdict::Hold);
        let reason = format!("starts with {reading} {}, as it is set", self.plan.unit.name);
        self.ledger.begin(now, &Order { to: reading, verdict: StepVerdict::Hold, reason });
        if reading < self.plan.start {
            let reason = format!("the plan starts with {}", self.plan.start);
            self.planner.took(now, self.plan.start, StepVerdict::Up);
            self.act(now, reading, Order { to: self.plan.start, verdict: StepVerdict::Up, reason })?;
        }
        Ok(())
    }

    fn foreign(&mut self, now: f64, expected: u64, reading: u64) -> Ended {
        let reason = format!(
            "another program set {reading} where {expected} {} was set by this way down: held, not fought over",
            self.plan.unit.name
        );
        self.planner.stayed(now, reading);
        self.ledger.begin(now, &Order { to: reading, verdict: StepVerdict::Hold, reason: reason.clone() });
        let journal = self.place.journal.display();
        (Verdict::No, format!("{reason}; set {expected} again, or remove {journal} to start anew from what is set"))
    }

    fn go_on(&mut self) -> Result<Option<Ended>, CostError> {
        let mut last = clock();
        while !self.stop.requested() {
            nap(LOOK, &self.stop);
            let now = clock();
            if let Some(ended) = self.look(last, now)? {
                return Ok(Some(ended));
            }
            last = now;
        }
        Ok(None)
    }

    /// One look: what went through, whether the knob still stands where it was put, and what to do about it.
    fn look(&mut self, last: f64, now: f64) -> Result<Option<Ended>, CostError> {
        if now - self.read_at >= READ_S {
            self.read_at = now;
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
            Err(e) => return Ok(self.blind(last, now, &e)),
        };
        if self.blind_since.take().is_some_and(|since| last - since > HICCUP_S) {
            self.planner.blind(last);
        }
        let rate = look.units;
        self.saw(rate, last, now)?;
        self.ledger.saw(rate, look.throttled, look.p99_ms);
        let before = (self.planner.capacity(), self.planner.incidents());
        let order = self.planner.guard(now, rate, look.throttled);
        let order = order.or_else(|| self.over(now, look.p99_ms)).or_else(|| self.planner.decide(now));
        if self.planner.incidents() > before.1 {
            let floor = self.planner.floor().cloned();
            self.write(&Record::Incident { at: now, floor })?;
        }
        if let Some(order) = order {
            return self.act(now, before.0, order);
        }
        if self.planner.exhausted(now) {
            let (n, at) = (self.planner.incidents(), self.planner.capacity());
            return Ok(Some((
                Verdict::No,
                format!("{n} incidents used up the budget of {}; stays at {at}", self.plan.incidents),
            )));
        }
        if now - self.walk.from >= self.plan.hold_s && self.planner.arrived(now) {
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
        self.planner.saw(rate, from, until);
        self.walk.unit_hours += self.planner.capacity() as f64 * (until - from) / 3_600.0;
        self.walk.requests += rate * (until - from) / self.per_request;
        if self.seen.until == 0.0 {
            self.seen.from = from;
        }
        self.seen.until = until;
        self.seen.units += rate * (until - from);
        if until - self.seen.from >= PIECE_S { self.keep() } else { Ok(()) }
    }

    fn keep(&mut self) -> Result<(), CostError> {
        let piece = std::mem::take(&mut self.seen);
        if piece.until > piece.from {
            self.write(&Record::Saw { from: piece.from, until: piece.until, units: piece.units })?;
        }
        Ok(())
    }

    fn over(&mut self, now: f64, p99_ms: Option<f64>) -> Option<Order> {
        let limit = self.plan.p99_ms?;
        let Some(p99) = p99_ms.filter(|p| *p > limit) else {
            self.over_since = None;
            return None;
        };
        if now - *self.over_since.get_or_insert(now) < BROKEN_S {
            return None;
        }
        self.over_since = None;
        self.planner.objective_broke(now, &format!("p99 of {p99:.0} ms was over {limit:.0} ms for {BROKEN_S:.0} s"))
    }

    /// Turns the knob from `from`: the intent is on the disk first, and what is read back afterwards counts.
    fn act(&mut self, now: f64, from: u64, order: Order) -> Result<Option<Ended>, CostError> {
        if order.to == from {
            self.ledger.begin(now, &order);
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
                    self.read_at = clock();
                    self.ledger.begin(now, &order);
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
            nap(LOOK, &self.stop);
        }
        self.planner.stayed(now, from);
        self.write(&Record::Set { at: now, capacity: from })?;
        let reason = format!("stays at {from}: {to} was asked of `{}` and not set: {why}", self.knob.name());
        self.ledger.begin(now, &Order { to: from, verdict: StepVerdict::Hold, reason: reason.clone() });
        Ok(Some((Verdict::No, reason)))
    }

    /// A step down that is refused for now: said, held, tried again later.
    fn put_off(&mut self, now: f64, from: u64, why: &str) -> Result<Option<Ended>, CostError> {
        self.planner.put_off(now, from);
        self.write(&Record::Set { at: now, capacity: from })?;
        let reason = format!("stays at {from} for now: {why}");
        self.ledger.begin(now, &Order { to: from, verdict: StepVerdict::Hold, reason });
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

    fn end(mut self, ended: Option<Ended>) -> Result<Walk, CostError> {
        let now = clock();
        self.keep()?;
        let capacity = self.planner.capacity();
        let ended = ended.unwrap_or_else(|| {
            let reason = format!("stopped at {capacity} {}; the same line goes on from there", self.plan.unit.name);
            (Verdict::CannotTell, reason)
        });
        self.write(&Record::Ended { at: now, reason: ended.1.clone() })?;
        let (steps, throttled) = self.ledger.end();
        let ended = match ended {
            (Verdict::Go, reason) if throttled > 0 => {
                (Verdict::No, format!("{throttled} requests were throttled; {reason}"))
            }
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
            ended: Some(ended),
            ..self.walk
        })
    }
}

fn nap(time: Duration, stop: &Stop) {
    let end = Instant::now() + time;
    while !stop.requested() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
    }
}
