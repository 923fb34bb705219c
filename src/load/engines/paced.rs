//! Sends on time, whatever comes back: one worker's loop, which paces, sends, reads and records.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use super::connection::{Connection, Phase};
use super::poll::{Poll, Ready, sharpen_timers};
use crate::load::answer::{Answer, Broken, Limits, Reader, says_throttled};
use crate::load::dress::Dress;
use crate::load::question::{Asker, Question};
use crate::load::recorder::{Fault, Recorder, Times};
use crate::load::redact::redact;
use crate::load::schedule::{Arrivals, Due, Schedule, Shard};
use crate::load::tick::Tick;
use crate::load::tls::Secure;
use crate::stop::Stop;

/// How long the loop sleeps at most: a stop is noticed within it.
const NAP: u64 = 20_000_000;
/// How often deadlines are looked at.
const SCAN: u64 = 10_000_000;
/// Requests due within this time share one wake-up.
const BATCH: u64 = 70_000;
/// The loop is awake this long before a request is due, where requests are rare enough to afford it.
const EARLY: u64 = 60_000;
const RARE: u64 = 500_000;
/// After a refused connection, `--rate max` waits this long before the next.
const CALM: u64 = 50_000_000;
/// How long a stopped run waits for what is under way.
const STOPPED_WAIT: u64 = 500_000_000;

/// What all workers of a run share.
pub struct Order {
    pub asker: Arc<dyn Asker>,
    pub schedule: Schedule,
    pub seed: u64,
    pub addresses: Vec<SocketAddr>,
    pub stages: usize,
    /// Where the target speaks TLS.
    pub secure: Option<Secure>,
    pub timeout: Duration,
    pub body_limit: u64,
    pub begin: Instant,
    pub stop: Stop,
    /// Set when the run is lost or broken: the engine's own stop.
    pub halt: Arc<AtomicBool>,
}

/// What a worker hands over: a second, or its last one and what ended it.
pub enum Report {
    Second(Box<Tick>),
    Last(Box<Tick>, Option<io::Error>),
}

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
    turn: usize,
    question: Question,
    buffer: Vec<u8>,
    meter: Meter,
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
        let slot = |_| Slot { connection: None, flight: None, generation: 0 };
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
            turn: shard.part as usize,
            question: Question::default(),
            buffer: vec![0; 64 * 1024],
            meter: Meter::default(),
            order,
        })
    }

    /// Runs to the end of the schedule and of what it started.
    pub fn run(mut self) {
        sharpen_timers();
        self.meter = Meter::open();
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
            self.turn_seconds(now);
            if now >= self.next_scan {
                self.next_scan = now + SCAN;
                self.expire(now);
            }
            if self.is_done(now) {
                return Ok(());
            }
            let patience = self.patience(now);
            let happened = self.poll.wait(patience)?;
            for at in 0..happened {
                let ready = self.poll.ready(at);
                let now = self.now();
                // A burst of answers must not make the next request late.
                if self.upcoming.peek().is_some_and(|d| d.at_ns <= now) {
                    self.look(now);
                }
                self.hear(ready, now);
            }
        }
    }

    /// Returns how long nothing needs to be done unless a socket says so.
    fn patience(&mut self, now: u64) -> Duration {
        let second_ends = (u64::from(self.recorder.second()) + 1) * 1_000_000_000;
        let mut until = second_ends.min(now + NAP);
        if self.in_flight > 0 || self.waiting > 0 || self.closed {
            until = until.min(self.next_scan);
        }
        if let Some(due) = self.upcoming.peek() {
            let gap = due.at_ns.saturating_sub(now);
            // Rare requests are met awake; dense ones share a wake-up, each still within its promise.
            let wake = if gap > RARE {
                due.at_ns - EARLY
            } else if gap < BATCH {
                now + if self.meter.dense { BATCH } else { 0 }
            } else {
                due.at_ns
            };
            until = until.min(wake);
        }
        Duration::from_nanos(until.saturating_sub(now))
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
        self.cut_ns = now + STOPPED_WAIT.min(self.timeout_ns);
    }

    fn turn_seconds(&mut self, now: u64) {
        while now >= (u64::from(self.recorder.second()) + 1) * 1_000_000_000 {
            self.meter.read(&mut self.recorder);
            let tick = self.recorder.turn(self.in_flight as u64, self.waiting);
            self.meter.dense = tick.due > 2_000;
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
                    self.slots.len() as u64
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
            if s.generation == generation && s.connection.as_ref().is_some_and(|c| c.phase == Phase::Idle) {
                self.ask(slot, now);
            }
        }
        while (self.connecting as u64) < self.wants(now) && now >= self.calm_until {
            let Some(slot) = self.free.pop() else { break };
            self.open(slot, now);
        }
    }

    fn open(&mut self, slot: usize, now: u64) {
        let to = self.order.addresses[self.turn % self.order.addresses.len()];
        self.turn += 1;
        let reader = Reader::new(self.limits(0, ""));
        let s = &mut self.slots[slot];
        s.generation = s.generation.wrapping_add(1);
        let token = (u64::from(s.generation) << 32) | slot as u64;
        let tls = self.order.secure.as_ref().map(Secure::open).transpose();
        let opened = tls.and_then(|tls| Connection::open(to, tls, reader, now));
        match opened.and_then(|c| self.poll.watch(&c, token).map(|()| c)) {
            Ok(connection) => {
                self.slots[slot].connection = Some(connection);
                self.connecting += 1;
            }
            Err(e) => {
                self.free.push(slot);
                self.refused(Fault::Connect, &e, now);
            }
        }
    }

    /// A connection could not be made: one request pays for it.
    fn refused(&mut self, fault: Fault, error: &io::Error, now: u64) {
        let to = self.order.addresses[(self.turn + self.order.addresses.len() - 1) % self.order.addresses.len()];
        let text = format!("{to}: {error}");
        if self.closed {
            self.calm_until = now + CALM;
            let due = self.next_due(now);
            self.recorder.due(due.stage, 0);
            self.end_unsent(due, fault, now, &text);
        } else if self.waiting > 0 {
            self.fail_waiting(fault, now, &text);
        }
    }

    fn limits(&self, endpoint: u16, method: &str) -> Limits {
        let check = self.order.asker.check(endpoint);
        let keep = if check.is_some_and(super::super::question::Check::reads_body) { 1 << 20 } else { 0 };
        Limits { body: self.order.body_limit, keep, head_only: method == "HEAD" }
    }

    fn next_due(&mut self, now: u64) -> Due {
        let index = self.next_index;
        self.next_index += self.step;
        Due { index, at_ns: now, stage: 0 }
    }

    fn ask(&mut self, slot: usize, now: u64) {
        let (due, ready_ns) = if self.closed {
            let due = self.next_due(now);
            self.recorder.due(0, 0);
            (due, now)
        } else {
            let Some(due) = self.queue.next() else { return };
            self.waiting -= 1;
            (due, if due.index >= self.fresh.0 { self.fresh.1 } else { due.at_ns })
        };
        let mut question = std::mem::take(&mut self.question);
        self.order.asker.ask(due.index, &mut question);
        let limits = self.limits(question.endpoint, question.method);
        if let Some(connection) = self.slots[slot].connection.as_mut() {
            connection.clear();
            connection.reader.restart(limits);
            connection.phase = Phase::Asking;
            self.dress.write(&question, &mut connection.out);
            let sent_ns = self.order.begin.elapsed().as_nanos() as u64;
            let endpoint = question.endpoint;
            self.slots[slot].flight = Some(Flight { due, ready_ns, sent_ns, first_ns: None, endpoint });
            self.in_flight += 1;
            self.recorder.sent(due.stage);
            self.question = question;
            self.flush(slot, now);
        }
    }

    fn flush(&mut self, slot: usize, now: u64) {
        let Some(connection) = self.slots[slot].connection.as_mut() else { return };
        if let Err(e) = connection.flush() {
            // It may have answered before it closed: a 413 to a large body.
            if e.kind() == io::ErrorKind::BrokenPipe {
                self.read(slot, now, true);
            }
            if self.slots[slot].flight.is_some() {
                self.fail(slot, Fault::Reset, now, &e.to_string());
            }
        }
    }

    fn hear(&mut self, ready: Ready, now: u64) {
        let slot = (ready.token & 0xffff_ffff) as usize;
        let s = &self.slots[slot];
        if u64::from(s.generation) != ready.token >> 32 {
            return;
        }
        let Some(phase) = s.connection.as_ref().map(|c| c.phase) else { return };
        match phase {
            Phase::Connecting if ready.writable || ready.closed => self.connected(slot, now),
            Phase::Securing => self.secured(slot, now),
            Phase::Idle if ready.closed || ready.readable => self.stirred(slot, ready.closed),
            Phase::Asking => {
                if ready.writable {
                    self.flush(slot, now);
                }
                if ready.readable || ready.closed {
                    self.read(slot, now, ready.closed);
                }
            }
            _ => {}
        }
    }

    fn connected(&mut self, slot: usize, now: u64) {
        let Some(connection) = self.slots[slot].connection.as_mut() else { return };
        if let Some(error) = connection.connect_error() {
            self.close(slot);
            self.refused(Fault::Connect, &error, now);
            return;
        }
        self.recorder.connected(now - connection.opened_ns);
        if connection.is_secure() {
            connection.phase = Phase::Securing;
            connection.opened_ns = now;
            self.secured(slot, now);
        } else {
            connection.phase = Phase::Idle;
            self.connecting -= 1;
            self.release(slot, now);
        }
    }

    /// TLS came a step further.
    fn secured(&mut self, slot: usize, now: u64) {
        let Some(connection) = self.slots[slot].connection.as_mut() else { return };
        match connection.secure() {
            Ok(false) => {}
            Ok(true) => {
                connection.phase = Phase::Idle;
                self.connecting -= 1;
                self.recorder.secured(now - connection.opened_ns);
                self.release(slot, now);
            }
            Err(error) => {
                self.close(slot);
                self.refused(Fault::Tls, &error, now);
            }
        }
    }

    /// Something came where nothing was asked: the end of the connection, unless TLS only talks to itself.
    fn stirred(&mut self, slot: usize, closed: bool) {
        let Some(connection) = self.slots[slot].connection.as_mut() else { return };
        let own = !closed && connection.is_secure() && matches!(connection.read(&mut self.buffer), Ok(None));
        if !own {
            self.close(slot);
        }
    }

    /// The connection is free: the next request takes it, or it rests.
    fn release(&mut self, slot: usize, now: u64) {
        if self.wants(now) > 0 {
            self.ask(slot, now);
        } else {
            self.idle.push_back((slot, self.slots[slot].generation));
        }
    }

    /// Reads what came; `last` says that the other side will send no more.
    fn read(&mut self, slot: usize, now: u64, last: bool) {
        loop {
            let s = &mut self.slots[slot];
            let (Some(connection), Some(flight)) = (s.connection.as_mut(), s.flight.as_mut()) else { return };
            let secure = connection.is_secure();
            let came = match connection.read(&mut self.buffer) {
                Ok(None) => return,
                Ok(Some(n)) => n,
                Err(e) => {
                    let fault = if connection.reader.begun() { Fault::Closed } else { Fault::Reset };
                    return self.fail(slot, fault, now, &e.to_string());
                }
            };
            flight.first_ns.get_or_insert(now);
            let taken = if came == 0 {
                connection.reader.closed().map(Some)
            } else {
                connection.reader.take(&self.buffer[..came])
            };
            match taken {
                Ok(None) => {
                    // A short read emptied the socket; the next bytes bring their own event.
                    if came < self.buffer.len() && !last && !secure {
                        return;
                    }
                }
                Ok(Some(answer)) => {
                    let keep = answer.keep && came > 0 && !last;
                    let (fault, status, degraded) =
                        (judge(answer, &*self.order.asker, flight.endpoint), answer.status, answer.degraded);
                    return self.answered(slot, keep, status, degraded, fault);
                }
                Err(broken) => {
                    let fault = match broken {
                        Broken::TooLarge => Fault::TooLarge,
                        Broken::Closed => Fault::Closed,
                        _ => Fault::Protocol,
                    };
                    return self.fail(slot, fault, now, &broken.to_string());
                }
            }
        }
    }

    fn answered(&mut self, slot: usize, keep: bool, status: u16, degraded: bool, fault: Option<(Fault, String)>) {
        let Some(flight) = self.slots[slot].flight.take() else { return };
        let now = self.now();
        self.in_flight -= 1;
        self.recorder.status(status, degraded);
        self.end(flight.due, flight.endpoint, times(&flight, now), fault, true);
        if keep {
            if let Some(connection) = self.slots[slot].connection.as_mut() {
                connection.phase = Phase::Idle;
            }
            self.release(slot, now);
        } else {
            self.close(slot);
            self.send_waiting(now);
        }
    }

    /// The request on this connection failed; the connection is of no more use.
    fn fail(&mut self, slot: usize, fault: Fault, now: u64, why: &str) {
        if let Some(flight) = self.slots[slot].flight.take() {
            self.in_flight -= 1;
            self.end(flight.due, flight.endpoint, times(&flight, now), Some((fault, why.to_owned())), false);
        }
        self.close(slot);
        self.send_waiting(now);
    }

    /// The oldest waiting request ends without ever having been sent.
    fn fail_waiting(&mut self, fault: Fault, now: u64, why: &str) {
        self.waiting -= 1;
        if let Some(due) = self.queue.next() {
            self.end_unsent(due, fault, now, why);
        }
    }

    fn end_unsent(&mut self, due: Due, fault: Fault, now: u64, why: &str) {
        let mut question = std::mem::take(&mut self.question);
        self.order.asker.ask(due.index, &mut question);
        let endpoint = question.endpoint;
        self.question = question;
        let times = Times { due: due.at_ns, ready: due.at_ns, sent: None, first: None, last: now };
        self.end(due, endpoint, times, Some((fault, why.to_owned())), false);
    }

    fn end(&mut self, due: Due, endpoint: u16, times: Times, fault: Option<(Fault, String)>, answered: bool) {
        let kind = fault.as_ref().map(|(kind, _)| *kind);
        if let Some((kind, why)) = fault.filter(|(kind, _)| self.recorder.wants_example(*kind)) {
            let mut question = Question::default();
            self.order.asker.ask(due.index, &mut question);
            self.recorder.example(kind, redact(&format!("{}: {why}", question.line())));
        }
        self.recorder.ended(endpoint, due.stage, times, kind, answered);
    }

    fn close(&mut self, slot: usize) {
        let s = &mut self.slots[slot];
        if let Some(connection) = s.connection.take() {
            self.connecting -= usize::from(connection.is_opening());
            s.generation = s.generation.wrapping_add(1);
            self.free.push(slot);
        }
    }

    /// Gives up what took longer than its time.
    fn expire(&mut self, now: u64) {
        let limit = self.timeout_ns;
        for slot in 0..self.slots.len() {
            let s = &self.slots[slot];
            if s.flight.is_some_and(|f| f.sent_ns + limit <= now) {
                self.fail(slot, Fault::Timeout, now, &format!("no whole answer within {:?}", self.order.timeout));
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

fn times(flight: &Flight, last: u64) -> Times {
    Times { due: flight.due.at_ns, ready: flight.ready_ns, sent: Some(flight.sent_ns), first: flight.first_ns, last }
}

/// Returns what is wrong with a whole answer, if anything is.
fn judge(answer: &Answer, asker: &dyn Asker, endpoint: u16) -> Option<(Fault, String)> {
    let said = || String::from_utf8_lossy(&answer.body[..answer.body.len().min(200)]).into_owned();
    let check = asker.check(endpoint);
    let bad = !(200..300).contains(&answer.status) && answer.status != 304;
    if bad && check.and_then(|c| c.status) != Some(answer.status) {
        let throttled = answer.throttled || answer.status == 429 || says_throttled(&answer.body);
        let fault = match answer.status {
            _ if throttled => Fault::Throttled,
            300..400 => Fault::Redirect,
            _ => Fault::Status,
        };
        return Some((fault, format!("{} {}", answer.status, said())));
    }
    check.and_then(|c| c.fault(answer.status, &answer.body)).map(|why| (Fault::Check, why))
}

/// This thread's CPU and how long it waited for one, from the kernel.
#[derive(Default)]
struct Meter {
    file: Option<std::fs::File>,
    cpu_ns: u64,
    queue_ns: u64,
    at: Option<Instant>,
    /// Whether the last second was so busy that requests share wake-ups.
    dense: bool,
}

impl Meter {
    fn open() -> Self {
        let mut meter = Self { file: std::fs::File::open("/proc/thread-self/schedstat").ok(), ..Self::default() };
        if let Some((cpu, queue)) = meter.stat() {
            (meter.cpu_ns, meter.queue_ns) = (cpu, queue);
        }
        meter.at = Some(Instant::now());
        meter
    }

    fn stat(&self) -> Option<(u64, u64)> {
        use std::os::unix::fs::FileExt;
        let mut text = [0; 96];
        let n = self.file.as_ref()?.read_at(&mut text, 0).ok()?;
        let mut numbers = std::str::from_utf8(&text[..n]).ok()?.split_whitespace().map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    }

    fn read(&mut self, recorder: &mut Recorder) {
        let (Some((cpu, queue)), Some(at)) = (self.stat(), self.at) else { return };
        let passed = at.elapsed().as_nanos().max(1) as f64;
        let used = (cpu - self.cpu_ns) as f64 / passed;
        recorder.generator(used, (queue - self.queue_ns) as f64 / 1e6);
        (self.cpu_ns, self.queue_ns, self.at) = (cpu, queue, Some(Instant::now()));
    }
}
