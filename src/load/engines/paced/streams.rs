//! A worker under HTTP/2: requests spread over connections that have room, answers taken as they end.

use std::io;

use h2::Reason;
use hyper::{Request, Version};

use super::session::{Ended, Session, fault_of};
use super::{Flight, Worker, exchange};
use crate::load::fault::{self, Fault};
use crate::load::question::Question;

impl Worker {
    /// The connection is open: from here on it is a session.
    pub(super) fn converse(&mut self, slot: usize, most: u32, now: u64) {
        let Some(connection) = self.slots[slot].connection.take() else { return };
        let began = if connection.speaks(b"h2") {
            Session::begin(connection, most as usize).map_err(|e| (Fault::Protocol, io::Error::other(e)))
        } else {
            Err((Fault::Tls, io::Error::other("the target does not agree to speak HTTP/2")))
        };
        match began {
            Ok(session) => {
                self.slots[slot].session = Some(Box::new(session));
                self.dirty.push(slot);
                self.offer(slot);
            }
            Err((fault, error)) => {
                self.slots[slot].generation = self.slots[slot].generation.wrapping_add(1);
                self.free.push(slot);
                self.refused(fault, &error, now);
            }
        }
    }

    /// Lets a session that has room stand in the queue, once.
    fn offer(&mut self, slot: usize) {
        let generation = self.slots[slot].generation;
        if let Some(session) = self.slots[slot].session.as_mut()
            && !session.offered
            && session.room() > 0
        {
            session.offered = true;
            self.idle.push_back((slot, generation));
        }
    }

    /// The session's turn in the queue: it takes one request, and stands at its end again if it has more room.
    pub(super) fn ask_session(&mut self, slot: usize, now: u64) {
        let Some(session) = self.slots[slot].session.as_mut() else { return };
        session.offered = false;
        if session.room() == 0 {
            return;
        }
        let Some((due, ready_ns)) = self.take_due(now) else { return };
        let mut question = std::mem::take(&mut self.question);
        self.order.asker.ask(due.index, &mut question);
        let limits = self.order.limits(question.endpoint, question.method);
        let request = self.request(&question);
        let sent_ns = self.order.begin.elapsed().as_nanos() as u64;
        let flight = Flight { due, ready_ns, sent_ns, first_ns: None, endpoint: question.endpoint };
        self.in_flight += 1;
        self.recorder.sent(due.stage);
        let asked = match (request, self.slots[slot].session.as_mut()) {
            (Ok(request), Some(session)) => session.ask(request, &question.body, flight, limits),
            (Err(why), _) => Err(Box::new(Ended { flight, answer: Err((Fault::Protocol, why)) })),
            (_, None) => Ok(()),
        };
        self.question = question;
        self.dirty.push(slot);
        if let Err(ended) = asked {
            self.ended(*ended, now);
        }
        self.offer(slot);
    }

    fn request(&mut self, question: &Question) -> Result<Request<()>, String> {
        let scheme = if self.order.secure.is_some() { "https" } else { "http" };
        let path = String::from_utf8(self.dress.path(question)).map_err(|e| e.to_string())?;
        let headers = self.dress.headers(question);
        let host = headers.iter().find(|(n, _)| n == "host").map_or("", |(_, v)| v.as_str());
        let mut request = Request::builder().method(question.method).version(Version::HTTP_2);
        request = request.uri(format!("{scheme}://{host}{path}"));
        for (name, value) in headers.iter().filter(|(n, _)| n != "host") {
            request = request.header(name, value);
        }
        request.body(()).map_err(|e| e.to_string())
    }

    /// Gives every session that stirred, or was asked something, its turn; those with more to do keep theirs.
    pub(super) fn settle(&mut self) {
        if self.dirty.is_empty() {
            return;
        }
        let mut turns = std::mem::take(&mut self.dirty);
        turns.sort_unstable();
        turns.dedup();
        for slot in turns.drain(..) {
            self.drive(slot);
        }
        if self.dirty.is_empty() {
            self.dirty = turns;
        }
    }

    fn drive(&mut self, slot: usize) {
        let Some(mut session) = self.slots[slot].session.take() else { return };
        let now = self.now();
        let mut ended = std::mem::take(&mut self.ended);
        let (more, stands) = session.turn(now, &mut ended);
        session.leaving |= session.answered >= self.per_connection;
        self.slots[slot].session = Some(session);
        for one in ended.drain(..) {
            self.ended(one, now);
        }
        self.ended = ended;
        if let Err(error) = stands {
            let (fault, why) = fault_of(&error);
            let why = if error.reason() == Some(Reason::NO_ERROR) {
                "the target closed the connection".to_owned()
            } else {
                why
            };
            self.fail_streams(slot, fault, now, &why, |_| true);
            self.close(slot);
        } else if self.slots[slot].session.as_ref().is_some_and(|s| s.leaving && s.is_empty()) {
            self.close(slot);
        } else {
            if more {
                self.dirty.push(slot);
            }
            self.offer(slot);
        }
        self.send_waiting(now);
    }

    fn ended(&mut self, ended: Ended, now: u64) {
        let flight = ended.flight;
        self.in_flight -= 1;
        let times = exchange::times(&flight, now);
        match ended.answer {
            Ok(answer) => {
                let fault = fault::of_answer(&answer, self.order.asker.check(flight.endpoint));
                self.recorder.status(answer.status, answer.degraded());
                self.end(flight.due, flight.endpoint, times, fault, true);
            }
            Err(fault) => self.end(flight.due, flight.endpoint, times, Some(fault), false),
        }
    }

    /// Ends those requests of a session that `over` names.
    pub(super) fn fail_streams(
        &mut self,
        slot: usize,
        fault: Fault,
        now: u64,
        why: &str,
        over: impl Fn(&Flight) -> bool,
    ) {
        let Some(session) = self.slots[slot].session.as_mut() else { return };
        let mut given = Vec::new();
        session.give_up(over, &mut given);
        if given.is_empty() {
            return;
        }
        self.dirty.push(slot);
        for flight in given {
            self.ended(Ended { flight, answer: Err((fault, why.to_owned())) }, now);
        }
    }
}
