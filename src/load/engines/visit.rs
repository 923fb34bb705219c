//! One viewer's own connection under tokio: opened when it is needed, asked one thing, read to the end of the answer.

use std::io;
use std::sync::{Mutex, PoisonError};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::connection::{Connection, Phase};
use super::order::Order;
use crate::load::answer::Reader;
use crate::load::dress::Dress;
use crate::load::fault::{self, Fault};
use crate::load::question::Question;
use crate::load::recorder::{Recorder, Times};
use crate::load::redact::redact;
use crate::load::tls::Secure;

/// A connection that is kept from one question to the next.
pub struct Visit {
    line: Option<AsyncFd<Connection>>,
    dress: Dress,
    turn: usize,
}

/// How far a question came before it ended.
struct Course {
    times: Times,
    endpoint: u16,
    status: Option<(u16, bool)>,
}

type Failed = (Fault, String);

impl Visit {
    pub fn new(dress: Dress, turn: usize) -> Self {
        Self { line: None, dress, turn }
    }

    /// Asks, and records what came of it: an answer, a failure, or that it was given up when `over` came true.
    pub async fn ask(
        &mut self,
        order: &Order,
        question: &Question,
        recorder: &Mutex<Recorder>,
        over: impl Future<Output = Fault>,
    ) {
        let now = order.now();
        let mut course = Course {
            times: Times { due: now, ready: now, sent: None, first: None, last: now },
            endpoint: question.endpoint,
            status: None,
        };
        let ended = {
            let asking = self.exchange(order, question, recorder, &mut course);
            tokio::select! {
                ended = tokio::time::timeout(order.timeout, asking) => ended.unwrap_or_else(|_| {
                    Err((Fault::Timeout, format!("no whole answer within {:?}", order.timeout)))
                }),
                fault = over => Err((fault, "unanswered when the run ended".to_owned())),
            }
        };
        course.times.last = order.now();
        let fault = match ended {
            Ok(fault) => fault,
            Err(failed) => {
                self.line = None;
                Some(failed)
            }
        };
        record(&course, question, fault, recorder);
    }

    /// Returns what is wrong with the answer, if anything is; `Err` where there was none.
    async fn exchange(
        &mut self,
        order: &Order,
        question: &Question,
        recorder: &Mutex<Recorder>,
        course: &mut Course,
    ) -> Result<Option<Failed>, Failed> {
        let mut line = match self.line.take().and_then(still_open) {
            Some(line) => line,
            None => self.open(order, recorder).await?,
        };
        let limits = order.limits(question.endpoint, question.method);
        let connection = line.get_mut();
        connection.clear();
        connection.reader.restart(limits);
        connection.phase = Phase::Asking;
        self.dress.write(question, &mut connection.out);
        course.times.sent = Some(order.now());
        lock(recorder).sent(0);
        let reset = |e: io::Error| (Fault::Reset, e.to_string());
        loop {
            if !line.get_ref().is_flushed() {
                match line.get_mut().flush() {
                    Err(e) if e.kind() != io::ErrorKind::BrokenPipe => return Err(reset(e)),
                    _ => {}
                }
            }
            if let Some((keep, fault)) = take(&mut line, order, course)? {
                let kept = line.get_ref().answered;
                if keep && order.per_connection.is_none_or(|most| kept < u64::from(most)) {
                    line.get_mut().phase = Phase::Idle;
                    self.line = Some(line);
                }
                return Ok(fault);
            }
            let writing =
                if line.get_ref().is_flushed() { Interest::READABLE } else { Interest::READABLE | Interest::WRITABLE };
            line.ready(writing).await.map_err(reset)?.clear_ready();
        }
    }

    async fn open(&mut self, order: &Order, recorder: &Mutex<Recorder>) -> Result<AsyncFd<Connection>, Failed> {
        let to = order.addresses.pick(self.turn);
        self.turn = self.turn.wrapping_add(1);
        let refused = |fault| move |e: io::Error| (fault, format!("{to}: {e}"));
        let connect = refused(Fault::Connect);
        let tls = order.secure.as_ref().map(Secure::open).transpose().map_err(refused(Fault::Tls))?;
        let reader = Reader::new(order.limits(0, ""));
        let connection = Connection::open(to, tls, reader, order.now()).map_err(connect)?;
        // SAFETY: the connection owns its socket and gives out the same descriptor for as long as it lives.
        let line = unsafe { AsyncFd::register(connection) };
        let mut line = line.map_err(|e| connect(e.into()))?;
        line.writable().await.map_err(connect)?.retain_ready();
        if let Some(error) = line.get_ref().connect_error() {
            return Err(connect(error));
        }
        let connected = order.now();
        lock(recorder).connected(connected - line.get_ref().opened_ns);
        if line.get_ref().is_secure() {
            while !line.get_mut().secure().map_err(refused(Fault::Tls))? {
                line.readable().await.map_err(refused(Fault::Tls))?.clear_ready();
            }
            lock(recorder).secured(order.now() - connected);
        }
        Ok(line)
    }
}

/// Returns the connection unless the other side closed it while the viewer thought.
fn still_open(mut line: AsyncFd<Connection>) -> Option<AsyncFd<Connection>> {
    let mut byte = [0; 1];
    matches!(line.get_mut().read(&mut byte), Ok(None)).then_some(line)
}

/// Reads what is there; `Some` when the answer is whole: whether the connection may be kept, and what is wrong.
fn take(
    line: &mut AsyncFd<Connection>,
    order: &Order,
    course: &mut Course,
) -> Result<Option<(bool, Option<Failed>)>, Failed> {
    let mut buffer = [0; 16 * 1024];
    loop {
        let connection = line.get_mut();
        let came = match connection.read(&mut buffer) {
            Ok(None) => return Ok(None),
            Ok(Some(came)) => came,
            Err(e) => {
                let fault = if connection.reader.begun() { Fault::Closed } else { Fault::Reset };
                return Err((fault, e.to_string()));
            }
        };
        course.times.first.get_or_insert_with(|| order.now());
        let taken =
            if came == 0 { connection.reader.closed().map(Some) } else { connection.reader.take(&buffer[..came]) };
        match taken {
            Ok(None) => {}
            Ok(Some(answer)) => {
                course.status = Some((answer.status, answer.degraded()));
                let keep = answer.keep && came > 0;
                let fault = fault::of_answer(answer, order.asker.check(course.endpoint));
                connection.answered += 1;
                return Ok(Some((keep, fault)));
            }
            Err(broken) => return Err((Fault::of_broken(broken), broken.to_string())),
        }
    }
}

fn record(course: &Course, question: &Question, fault: Option<Failed>, recorder: &Mutex<Recorder>) {
    let mut recorder = lock(recorder);
    let kind = fault.as_ref().map(|(kind, _)| *kind);
    if let Some((kind, why)) = fault.filter(|(kind, _)| recorder.wants_example(*kind)) {
        recorder.example(kind, redact(&format!("{}: {why}", question.line())));
    }
    if let Some((status, degraded)) = course.status {
        recorder.status(status, degraded);
    }
    recorder.ended(course.endpoint, 0, course.times, kind, course.status.is_some());
}

/// Counting goes on whatever another viewer broke.
pub fn lock(recorder: &Mutex<Recorder>) -> std::sync::MutexGuard<'_, Recorder> {
    recorder.lock().unwrap_or_else(PoisonError::into_inner)
}
