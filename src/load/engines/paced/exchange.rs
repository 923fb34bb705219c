//! The other half of a worker: connections opened, requests written, answers read, each end recorded.

use std::io;

use super::{Flight, Worker};
use crate::load::answer::{Limits, Reader};
use crate::load::engines::connection::{Connection, Phase};
use crate::load::engines::poll::Ready;
use crate::load::fault::{self, Fault};
use crate::load::question::Question;
use crate::load::recorder::Times;
use crate::load::redact::redact;
use crate::load::schedule::Due;
use crate::load::tls::Secure;

/// After a refused connection, `--rate max` waits this long before the next.
const CALM: u64 = 50_000_000;

impl Worker {
    pub(super) fn open(&mut self, slot: usize, now: u64) {
        let to = self.order.addresses.pick(self.turn);
        self.turn += 1;
        let reader = Reader::new(self.limits(0, ""));
        let s = &mut self.slots[slot];
        s.generation = s.generation.wrapping_add(1);
        let token = (u64::from(s.generation) << 32) | slot as u64;
        let tls = self.order.secure.as_ref().map(Secure::open).transpose();
        let opened = tls.and_then(|tls| Connection::open(to, tls, reader, now)).map(|mut connection| {
            // Where nothing is due everything is asked at once, and nothing ever waits to be read.
            if !self.closed {
                connection.stamp();
            }
            connection
        });
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
    pub(super) fn refused(&mut self, fault: Fault, error: &io::Error, now: u64) {
        let to = self.order.addresses.pick(self.turn.wrapping_sub(1));
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
        self.order.limits(endpoint, method)
    }

    fn next_due(&mut self, now: u64) -> Due {
        let index = self.next_index;
        self.next_index += self.step;
        Due { index, at_ns: now, stage: 0 }
    }

    /// Takes the next request, and when the generator was ready for it.
    pub(super) fn take_due(&mut self, now: u64) -> Option<(Due, u64)> {
        if self.closed {
            let due = self.next_due(now);
            self.recorder.due(0, 0);
            return Some((due, now));
        }
        let due = self.queue.next()?;
        self.waiting -= 1;
        Some((due, if due.index >= self.fresh.0 { self.fresh.1 } else { due.at_ns }))
    }

    pub(super) fn ask(&mut self, slot: usize, now: u64) {
        let Some((due, ready_ns)) = self.take_due(now) else { return };
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

    pub(super) fn hear(&mut self, ready: Ready, now: u64) {
        let slot = (ready.token & 0xffff_ffff) as usize;
        let s = &self.slots[slot];
        if u64::from(s.generation) != ready.token >> 32 {
            return;
        }
        if s.session.is_some() {
            self.dirty.push(slot);
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
        if let Some(most) = self.order.streams {
            self.converse(slot, most, now);
            return self.send_waiting(now);
        }
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
            self.stamped = connection.came.is_some();
            let at = connection.came.map_or(now, |came| self.since.own(came, now)).max(flight.sent_ns);
            flight.first_ns.get_or_insert(at);
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
                    connection.answered += 1;
                    let keep = answer.keep && came > 0 && !last && connection.answered < self.per_connection;
                    let (fault, status, degraded) = (
                        fault::of_answer(answer, self.order.asker.check(flight.endpoint)),
                        answer.status,
                        answer.degraded(),
                    );
                    return self.answered(slot, self.stamped.then_some(at), keep, (status, degraded), fault);
                }
                Err(broken) => return self.fail(slot, Fault::of_broken(broken), now, &broken.to_string()),
            }
        }
    }

    /// A whole answer came, at a time that the kernel noted or just now.
    fn answered(
        &mut self,
        slot: usize,
        at: Option<u64>,
        keep: bool,
        (status, degraded): (u16, bool),
        fault: Option<(Fault, String)>,
    ) {
        let Some(flight) = self.slots[slot].flight.take() else { return };
        let now = self.now();
        self.in_flight -= 1;
        self.recorder.status(status, degraded);
        self.end(flight.due, flight.endpoint, times(&flight, at.unwrap_or(now)), fault, true);
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
    pub(super) fn fail(&mut self, slot: usize, fault: Fault, now: u64, why: &str) {
        if let Some(flight) = self.slots[slot].flight.take() {
            self.in_flight -= 1;
            self.end(flight.due, flight.endpoint, times(&flight, now), Some((fault, why.to_owned())), false);
        }
        self.close(slot);
        self.send_waiting(now);
    }

    /// The oldest waiting request ends without ever having been sent.
    pub(super) fn fail_waiting(&mut self, fault: Fault, now: u64, why: &str) {
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

    pub(super) fn end(
        &mut self,
        due: Due,
        endpoint: u16,
        times: Times,
        fault: Option<(Fault, String)>,
        answered: bool,
    ) {
        let kind = fault.as_ref().map(|(kind, _)| *kind);
        if let Some((kind, why)) = fault.filter(|(kind, _)| self.recorder.wants_example(*kind)) {
            let mut question = Question::default();
            self.order.asker.ask(due.index, &mut question);
            self.recorder.example(kind, redact(&format!("{}: {why}", question.line())));
        }
        self.recorder.ended(endpoint, due.stage, times, kind, answered);
    }

    pub(super) fn close(&mut self, slot: usize) {
        let s = &mut self.slots[slot];
        if let Some(connection) = s.connection.take() {
            self.connecting -= usize::from(connection.is_opening());
            s.generation = s.generation.wrapping_add(1);
            self.free.push(slot);
        } else if s.session.take().is_some() {
            s.generation = s.generation.wrapping_add(1);
            self.free.push(slot);
        }
    }
}

pub(super) fn times(flight: &Flight, last: u64) -> Times {
    Times { due: flight.due.at_ns, ready: flight.ready_ns, sent: Some(flight.sent_ns), first: flight.first_ns, last }
}
