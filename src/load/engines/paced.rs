//! Sends on time, whatever comes back: one worker's loop, which paces, sends, reads and records.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use super::connection::{Connection, Phase};
use super::haste;
use super::meter::Meter;
use super::order::{Order, Report, STOPPED_WAIT};
use super::poll::Poll;
use super::stamp::Since;
use crate::load::dress::Dress;
use crate::load::fault::Fault;
use crate::load::question::Question;
use crate::load::recorder::Recorder;
use crate::load::schedule::{Arrivals, Due, Schedule, Shard};

mod exchange;
mod session;
mod streams;

use session::{Ended, Session};

/// How long the loop sleeps at most: a stop is noticed within it.
const NAP: u64 = 20_000_000;
/// How often deadlines are looked at.
const SCAN: u64 = 10_000_000;
/// Where requests are dense, those due within this time of each other share one wake-up: being woken costs more than
/// all the rest of a request.
const WINDOW: u64 = 105_000;
/// A sleep is cut by what it usually takes too long, at most this.
const MOST_OVERSLEPT: u64 = 50_000;
/// Requests a second of one worker from which on they are dense.
const DENSE: u64 = 9_000;
/// The loop is awake this long before a request is due, where requests are rare enough to afford it.
const EARLY: u64 = 60_000;
const RARE: u64 = 500_000;

#[derive(Clone, Copy, Debug)]
struct Flight {
    due: Due,
    ready_ns: u64,
    sent_ns: u64,
    first_ns: Option<u64>,
    endpoint: u16,
}

struct Slot {
    connection: Option<Connection>,
    /// What an open connection is under HTTP/2.
    session: Option<Box<Session>>,
    flight: Option<Flight>,
    /// Tells late events of a closed connection from those of its successor.
    generation: u32,
}

pub struct Worker {
    order: Arc<Order>,
    dress: Dress,
    recorder: Recorder,
    /// Its number, and where its seconds go.
    reports: (usize, Sender<(usize, Report)>),
    poll: Poll,
    slots: Vec<Slot>,
    free: Vec<usize>,
    idle: VecDeque<(usize, u32)>,
    connecting: usize,
    in_flight: usize,
    /// What is not yet due.
    upcoming: std::iter::Peekable<Arrivals>,
    /// The same again, as far behind as requests wait: a queue of any length in no memory.
    queue: std::iter::Peekable<Arrivals>,
    waiting: u64,
    /// The first request that became due in the present look, and when that was.
    fresh: (u64, u64),
    /// `--rate max`: the index of its next request.
    next_index: u64,
    step: u64,
    closed: bool,
    duration_ns: u64,
    timeout_ns: u64,
    stopped: bool,
    /// When everything still open is cut.
    cut_ns: u64,
    calm_until: u64,
    next_scan: u64,
    /// By how much a sleep usually takes too long.
    overslept: u64,
    /// Whether the kernel noted when the last bytes came, and since when the loop has not listened.
    stamped: bool,
    since: Since,
    turn: usize,
    question: Question,
    buffer: Vec<u8>,
    meter: Meter,
    /// After this many answers a connection is closed and another one opened.
    per_connection: u64,
    /// Sessions that are to have a turn, and what ended in the present one.
    dirty: Vec<usize>,
    ended: Vec<Ended>,
}

impl Worker {
    pub fn new(
        order: Arc<Order>,
        dress: Dress,
        shard: Shard,
        connections: usize,
        reports: (usize, Sender<(usize, Report)>),
    ) -> io::Result<Self> {
        let arrivals = order.schedule.arrivals(order.seed, shard);
        let duration_ns = order.schedule.duration().as_nanos() as u64;
        let timeout_ns = order.timeout.as_nanos() as u64;
        let slot = |_| Slot { connection: None, session: None, flight: None, generation: 0 };
        Ok(Self {
            recorder: Recorder::new(order.asker.endpoints().len(), order.stages),
            dress,
            reports,
            poll: Poll::new()?,
            slots: (0..connections).map(slot).collect(),
            free: (0..connections).rev().collect(),
            idle: VecDeque::with_capacity(connections),
            connecting: 0,
            in_flight: 0,
            upcoming: arrivals.clone().peekable(),
            queue: arrivals.peekable(),
            waiting: 0,
            fresh: (0, 0),
            next_index: shard.part,
            step: shard.of,
            closed: order.schedule.is_closed(),
            duration_ns,
            timeout_ns,
            stopped: false,
            cut_ns: duration_ns + timeout_ns,
            calm_until: 0,
            next_scan: 0,
            overslept: 0,
            stamped: false,
            since: Since::default(),
            turn: shard.part as usize,
            question: Question::default(),
            buffer: vec![0; 64 * 1024],
            meter: Meter::default(),
            per_connection: order.per_connection.map_or(u64::MAX, u64::from),
            dirty: Vec::new(),
            ended: Vec::new(),
            order,
        })
    }

    /// Runs to the end of the schedule and of what it started.
    pub fn run(mut self) {
        let rate = self.order.schedule.peak() / self.step as f64;
        haste::make((!self.closed).then_some(rate));
        self.meter = Meter::open();
        let in_a_second = self.upcoming.clone().nth(DENSE as usize);
        self.meter.dense = in_a_second.is_some_and(|due| due.at_ns < 1_000_000_000);
        let broke = self.work().err();
        let now = self.now();
        self.turn_seconds(now);
        self.meter.read(&mut self.recorder);
        // A run lasts as long as its schedule, also when the last answer came a little before its end.
        let end = if self.stopped || self.closed { now } else { now.max(self.duration_ns) };
        let _ = self.reports.1.send((self.reports.0, Report::Last(self.recorder.finish(end), broke)));
    }

    fn now(&self) -> u64 {
        self.order.begin.elapsed().as_nanos() as u64
    }

    fn work(&mut self) -> io::Result<()> {
        if let Some(early) = self.order.begin.checked_duration_since(Instant::now()) {
            std::thread::sleep(early);
        }
        loop {
            let now = self.now();
            if !self.stopped && (self.order.stop.requested() || self.order.halt.load(Ordering::Acquire)) {
                self.stop(now);
            }
            self.look(now);
            self.settle();
            self.turn_seconds(now);
            if now >= self.next_scan {
                self.next_scan = now + SCAN;
                self.expire(now);
            }
            if self.is_done(now) {
                return Ok(());
            }
            let mut patience = self.patience(now);
            if self.may_sleep(now) {
                std::thread::sleep(patience);
                let awake = self.now();
                let over = awake.saturating_sub(now + patience.as_nanos() as u64).min(MOST_OVERSLEPT);
                self.overslept = (self.overslept * 15 + over) / 16;
                self.look(awake);
                patience = Duration::ZERO;
            }
            self.since.listen(self.now());
            let happened = self.poll.wait(patience)?;
            if self.stamped {
                self.since.heard(self.now());
            }
            for at in 0..happened {
                let ready = self.poll.ready(at);
                let now = self.now();
                // A burst of answers must not make the next request late.
                if self.upcoming.peek().is_some_and(|d| d.at_ns <= now) {
                    self.look(now);
                }
                self.hear(ready, now);
            }
            self.settle();
        }
    }

    /// Returns how long nothing needs to be done unless a socket says so.
    fn patience(&mut self, now: u64) -> Duration {
        let second_ends = (u64::from(self.recorder.second()) + 1) * 1_000_000_000;
        if !self.dirty.is_empty() {
            return Duration::ZERO;
        }
        let mut until = second_ends.min(now + NAP);
        if self.in_flight > 0 || self.waiting > 0 || self.closed {
            until = until.min(self.next_scan);
        }
        if let Some(due) = self.upcoming.peek() {
            let gap = due.at_ns.saturating_sub(now);
            // Rare requests are met awake; dense ones share a wake-up, each still within its promise.
            let wake = match () {
                () if gap > RARE => due.at_ns - EARLY,
                () if self.meter.dense => due.at_ns + WINDOW - self.overslept,
                () => due.at_ns,
            };
            until = until.min(wake);
        }
        Duration::from_nanos(until.saturating_sub(now))
    }

    /// Whether answers can wait for the next request to become due: nothing waits for them, and the kernel notes when
    /// they come.
    fn may_sleep(&mut self, now: u64) -> bool {
        self.meter.dense
            && self.stamped
            && self.waiting == 0
            && self.connecting == 0
            && !self.stopped
            && self.upcoming.peek().is_some_and(|due| due.at_ns < now + RARE)
    }

    fn is_done(&mut self, now: u64) -> bool {
        let more = if self.closed { now < self.duration_ns && !self.stopped } else { self.upcoming.peek().is_some() };
        if !more && self.in_flight == 0 && self.waiting == 0 {
            return true;
        }
        if now < self.cut_ns || (more && !self.stopped) {
            return false;
        }
        let fault = if self.stopped { Fault::Stopped } else { Fault::Timeout };
        for slot in 0..self.slots.len() {
            if self.slots[slot].flight.is_some() {
                self.fail(slot, fault, now, "unanswered when the run ended");
            }
            self.fail_streams(slot, fault, now, "unanswered when the run ended", |_| true);
        }
        while self.waiting > 0 {
            self.fail_waiting(fault, now, "no connection became free before the run ended");
        }
        true
    }

    /// Nothing is sent from here on; what is under way gets a moment.
    fn stop(&mut self, now: u64) {
        self.stopped = true;
        self.look(now);
        self.upcoming = Schedule::Max(Duration::ZERO).arrivals(0, Shard::default()).peekable();
        while self.waiting > 0 {
            self.fail_waiting(Fault::Stopped, now, "not sent, as the run was stopped");
        }
        self.cut_ns = now + (STOPPED_WAIT.as_nanos() as u64).min(self.timeout_ns);
    }

    fn turn_seconds(&mut self, now: u64) {
        while now >= (u64::from(self.recorder.second()) + 1) * 1_000_000_000 {
            self.meter.read(&mut self.recorder);
            let tick = self.recorder.turn(self.in_flight as u64, self.waiting);
            self.meter.dense = tick.due > DENSE;
            let _ = self.reports.1.send((self.reports.0, Report::Second(tick)));
        }
    }

    /// Notices what fell due, and sends as much as there are connections for.
    fn look(&mut self, now: u64) {
        let mut first = true;
        while let Some(due) = self.upcoming.next_if(|d| d.at_ns <= now) {
            if std::mem::take(&mut first) {
                self.fresh = (due.index, now);
            }
            self.recorder.due(due.stage, now - due.at_ns);
            self.waiting += 1;
        }
        self.send_waiting(now);
    }

    fn wants(&self, now: u64) -> u64 {
        match self.closed {
            _ if self.stopped => 0,
            true => {
                if now < self.duration_ns {
                    self.slots.len() as u64 * u64::from(self.order.streams.unwrap_or(1))
                } else {
                    0
                }
            }
            false => self.waiting,
        }
    }

    fn send_waiting(&mut self, now: u64) {
        while self.wants(now) > 0 {
            let Some((slot, generation)) = self.idle.pop_front() else { break };
            let s = &self.slots[slot];
            if s.generation != generation {
                continue;
            }
            if s.session.is_some() {
                self.ask_session(slot, now);
            } else if s.connection.as_ref().is_some_and(|c| c.phase == Phase::Idle) {
                self.ask(slot, now);
            }
        }
        let shared = u64::from(self.order.streams.unwrap_or(1));
        while self.connecting as u64 * shared < self.wants(now) && now >= self.calm_until {
            let Some(slot) = self.free.pop() else { break };
            self.open(slot, now);
        }
    }

    /// Gives up what took longer than its time.
    fn expire(&mut self, now: u64) {
        let limit = self.timeout_ns;
        let late = format!("no whole answer within {:?}", self.order.timeout);
        for slot in 0..self.slots.len() {
            self.fail_streams(slot, Fault::Timeout, now, &late, |f| f.sent_ns + limit <= now);
            let s = &self.slots[slot];
            if s.flight.is_some_and(|f| f.sent_ns + limit <= now) {
                self.fail(slot, Fault::Timeout, now, &late);
            } else if s.connection.as_ref().is_some_and(|c| c.is_opening() && c.opened_ns + limit <= now) {
                self.close(slot);
            }
        }
        while self.waiting > 0 && self.queue.peek().is_some_and(|d| d.at_ns + limit <= now) {
            self.fail_waiting(
                Fault::Timeout,
                now,
                &format!("no connection became free within {:?}", self.order.timeout),
            );
        }
        self.send_waiting(now);
    }
}
