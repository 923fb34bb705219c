//! Steps down for real: looks, asks the planner, writes the journal, turns the knob, reads it back. No opinions of its own.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::demand::Demand;
use super::descend::{Floor, Order, Planner};
use super::error::CostError;
use super::knob::{Knob, KnobError, Look, Rhythm, nap};
use super::ledger::Ledger;
use super::plan::Plan;
use super::simulate::{Walk, units_of};
use super::step::{Step, StepVerdict};
use super::told::{self, View, Wish};
use crate::journal::{self, Journal};
use crate::judge::verdict::Verdict;
use crate::lock::Lock;
use crate::stats::units::Share;
use crate::stop::Stop;

/// Between two tries of a step up.
const PAUSE: Duration = Duration::from_secs(1);
/// Between two views, unless something happened.
const VIEW: Duration = Duration::from_millis(200);
/// How often it is asked what else goes on: a canary, an incident.
const BUSY: Duration = Duration::from_secs(2);
/// The longest that a proof may take.
const PROOF: Duration = Duration::from_secs(2 * 3_600);
/// Shorter outages than this (a restart) do not hold the way down for a day.
const OUTAGE_S: f64 = 900.0;
/// A meter that was silent for less has hidden nothing that matters.
const HICCUP_S: f64 = 60.0;
/// How often a step up is asked for when the knob does not move.
const ASK_AGAIN: u32 = 3;

/// What must survive a kill; `Intent` is on the disk before the knob is turned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case")]
pub enum Record {
    Began {
        at: f64,
        capacity: u64,
    },
    Saw {
        from: f64,
        until: f64,
        units: f64,
    },
    Intent {
        at: f64,
        from: u64,
        to: u64,
        verdict: StepVerdict,
        reason: String,
    },
    Set {
        at: f64,
        capacity: u64,
    },
    Incident {
        at: f64,
        floor: Option<Floor>,
    },
    /// Somebody asked it to stay, or to go on.
    Held {
        at: f64,
        on: bool,
    },
    Ended {
        at: f64,
        reason: String,
    },
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
    pub show: &'a mut dyn FnMut(View),
    /// What else goes on that forbids a step down.
    pub busy: &'a mut dyn FnMut() -> Option<String>,
    /// The file of a person's wishes.
    pub wishes: Option<PathBuf>,
}

impl Drive<'_> {
    /// Walks until the cheapest that holds has been held, something is wrong, or somebody stops it.
    pub fn run(self) -> Result<Walk, CostError> {
        let Self { plan, mut knob, place, history, price, stop, tell, say, show, busy, wishes } = self;
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
            ledger: Ledger::new(price, tell),
            plan,
            knob,
            place,
            journal,
            seen: Piece::default(),
            read_at: Instant::now(),
            over_since: None,
            broke_at: None,
            price,
            show,
            shown: None,
            busy,
            busy_at: None,
            wishes,
            heard,
            proving: None,
            standing: (StepVerdict::Hold, String::new()),
            since: now,
            climbed: Vec::new(),
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
    rhythm: Rhythm,
    seen: Piece,
    read_at: Instant,
    over_since: Option<f64>,
    /// Since when each look has seen a throttle.
    broke_at: Option<f64>,
    price: Option<f64>,
    show: &'a mut dyn FnMut(View),
    shown: Option<Instant>,
    busy: &'a mut dyn FnMut() -> Option<String>,
    busy_at: Option<(Instant, Option<String>)>,
    wishes: Option<PathBuf>,
    /// So many wishes were heard already.
    heard: usize,
    /// A step that is being proved, and what will come of it.
    proving: Option<(Order, Receiver<Result<String, String>>)>,
    /// The last word on the present step, and since when it stands.
    standing: (StepVerdict, String),
    since: f64,
    /// Where each step down came from, so that it can be undone.
    climbed: Vec<u64>,
    blind_since: Option<f64>,
    /// The end of the recorded demand that the planner began with.
    learnt: f64,
    walk: Walk,
    stop: Stop,
    say: &'a mut dyn FnMut(String),
}

type Ended = (Verdict, String);

impl Way<'_> {
    fn begin(&mut self, now: f64, order: &Order) {
        self.standing = (order.verdict, order.reason.clone());
        self.since = now;
        self.shown = None;
        self.ledger.begin(now, order);
    }

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
                Record::Held { on, .. } => self.planner.stay(*on),
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
        self.begin(now, &Order { to: reading, verdict: StepVerdict::Hold, reason });
        Ok(None)
    }

    /// The first life: from what is set, up to the plan's start where less is set, never down to it unproved.
    fn start(&mut self, reading: u64, now: f64) -> Result<(), CostError> {
        self.write(&Record::Began { at: now, capacity: reading })?;
        self.planner.took(now, reading, StepVerdict::Hold);
        let reason = format!("starts with {reading} {}, as it is set", self.plan.unit.name);
        self.begin(now, &Order { to: reading, verdict: StepVerdict::Hold, reason });
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
        self.begin(now, &Order { to: reading, verdict: StepVerdict::Hold, reason: reason.clone() });
        let journal = self.place.journal.display();
        (Verdict::No, format!("{reason}; set {expected} again, or remove {journal} to start anew from what is set"))
    }

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

    /// Tells where it stands, not more often than anybody can see.
    fn view(&mut self, now: f64) {
        if self.shown.is_some_and(|at| at.elapsed() < VIEW) {
            return;
        }
        self.shown = Some(Instant::now());
        let capacity = self.planner.capacity();
        let hours = (now - self.walk.from - self.walk.missing_s) / 3_600.0;
        let (units, p99_ms) = self.ledger.latest();
        let view = View {
            at: super::demand::shown(now),
            t: now,
            capacity,
            units,
            kept: self.planner.kept(),
            throttled: self.ledger.throttled(),
            p99_ms,
            held_s: now - self.since,
            incidents: self.planner.incidents(),
            needed: self.planner.needed(now),
            ahead: self.planner.ahead(now, self.ledger.peak()),
            verdict: self.standing.0,
            reason: self.standing.1.clone(),
            saved_usd: self.price.map(|p| p * (self.plan.start as f64 * hours - self.walk.unit_hours)),
            requests: self.walk.requests,
            held_by_hand: self.planner.stays(),
        };
        (self.show)(view);
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
        self.ledger.saw(rate, look.throttled, look.p99_ms);
        self.breach(look.throttled, last, now);
        let before = (self.planner.capacity(), self.planner.incidents());
        let order = self.planner.guard(now, rate, look.throttled).or_else(|| self.over(now, &look));
        let mut order = order.or_else(|| self.wished(now));
        if order.as_ref().is_some_and(|o| o.verdict == StepVerdict::Up) {
            self.proving = None;
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

    /// What a person asked for since the last look; the newest wish counts.
    fn wished(&mut self, now: f64) -> Option<Order> {
        let asked = told::asked(self.wishes.as_deref().filter(|path| path.is_file())?);
        let wish = *asked.get(self.heard..)?.last()?;
        self.heard = asked.len();
        let capacity = self.planner.capacity();
        let stay = |reason: String| Some(Order { to: capacity, verdict: StepVerdict::Hold, reason });
        match wish {
            Wish::Step if self.proving.is_some() => stay(format!("stays at {capacity}: the next step is being proved")),
            Wish::Step => {
                self.planner.stay(false);
                Some(self.planner.step_now(now))
            }
            Wish::Hold | Wish::GoOn => {
                self.stay(now, wish == Wish::Hold);
                let on = wish == Wish::Hold;
                stay(if on { format!("stays at {capacity}: somebody asked") } else { "goes on, as asked".to_owned() })
            }
            Wish::Undo => match self.climbed.pop() {
                Some(to) => {
                    self.stay(now, true);
                    self.planner.took(now, to, StepVerdict::Up);
                    let reason = format!(
                        "{capacity} → {to}: somebody asked for the step back; stays there until told otherwise"
                    );
                    Some(Order { to, verdict: StepVerdict::Up, reason })
                }
                None => stay(format!("stays at {capacity}: there is no step to undo")),
            },
        }
    }

    fn stay(&mut self, now: f64, on: bool) {
        self.proving = None;
        self.planner.stay(on);
        if let Err(e) = self.write(&Record::Held { at: now, on }) {
            (self.say)(e.to_string());
        }
    }

    /// An order: a step down is first checked against what else goes on, and proved where the plan says how.
    fn obey(&mut self, now: f64, from: u64, order: Order) -> Result<Option<Ended>, CostError> {
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
        let (done, result) = mpsc::channel();
        let environment = [("SERIN_CAPACITY", order.to.to_string()), ("SERIN_CAPACITY_BEFORE", from.to_string())];
        (self.say)(format!("{}; proved first by {}", order.reason, proof.join(" ")));
        std::thread::spawn(move || done.send(crate::program::run(&proof, &environment, PROOF)));
        self.proving = Some((order, result));
        Ok(None)
    }

    /// Takes the step that was proved, or puts it off.
    fn proved(&mut self, now: f64) -> Result<Option<Ended>, CostError> {
        let Some((_, result)) = &self.proving else { return Ok(None) };
        let Ok(result) = result.try_recv() else { return Ok(None) };
        let Some((order, _)) = self.proving.take() else { return Ok(None) };
        let from = self.planner.capacity();
        if let Err(why) = result {
            return self.put_off(now, from, &format!("{} was not proved: {why}", order.to));
        }
        if let Some(why) = self.otherwise_busy() {
            return self.put_off(now, from, &why);
        }
        self.planner.took(now, order.to, StepVerdict::Go);
        let reason = format!("{}; proved by a load", order.reason);
        self.act(now, from, Order { reason, ..order })
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
        if until - self.seen.from >= self.rhythm.piece_s { self.keep() } else { Ok(()) }
    }

    fn keep(&mut self) -> Result<(), CostError> {
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

    /// Turns the knob from `from`: the intent is on the disk first, and what is read back afterwards counts.
    fn act(&mut self, now: f64, from: u64, order: Order) -> Result<Option<Ended>, CostError> {
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
        if self.standing.1 != reason {
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
