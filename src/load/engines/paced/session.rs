//! One HTTP/2 connection of many requests: the protocol by `h2`, the socket and the clock by our own loop.
//!
//! Nothing here wakes anybody: the loop polls a session whenever its socket stirred or a request was added, and again as
//! long as the session itself says that there is more.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use h2::client::{Builder, Connection as Wire, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream};
use hyper::Request;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Flight;
use crate::load::answer::{Answer, Limits};
use crate::load::engines::connection::Connection;
use crate::load::fault::Fault;

/// What may be under way before the loop takes it: bodies never wait for us.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
/// How often a session is polled in one turn, so that a busy one cannot hold the schedule up.
const ROUNDS: u32 = 16;

/// Our socket, as h2 wants it.
struct Socket(Connection);

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.0.read(into.initialize_unfilled())? {
            Some(n) => {
                into.advance(n);
                Poll::Ready(Ok(()))
            }
            None => Poll::Pending,
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.write(bytes)?.map_or(Poll::Pending, |n| Poll::Ready(Ok(n)))
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What TLS still holds is pushed again when the socket can be written.
        self.0.push()?;
        if self.0.is_flushed() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Remembers that there is more to do.
#[derive(Default)]
struct More(AtomicBool);

impl Wake for More {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

enum Stream {
    Head(ResponseFuture),
    Body(RecvStream, Answer),
}

struct Place {
    flight: Flight,
    limits: Limits,
    stream: Stream,
}

/// A request that ended.
pub struct Ended {
    pub flight: Flight,
    pub answer: Result<Answer, (Fault, String)>,
}

pub struct Session {
    wire: Wire<Socket, Bytes>,
    sender: SendRequest<Bytes>,
    places: Vec<Place>,
    most: usize,
    more: Arc<More>,
    waker: Waker,
    /// Takes no further request: it ends with those under way.
    pub leaving: bool,
    /// Whether it stands in the queue of those that have room.
    pub offered: bool,
    pub answered: u64,
}

impl Session {
    /// Begins to speak on an open connection, at most `most` requests at once.
    pub fn begin(connection: Connection, most: usize) -> Result<Self, h2::Error> {
        let more = Arc::new(More::default());
        let waker = Waker::from(Arc::clone(&more));
        let mut builder = Builder::new();
        builder.initial_window_size(STREAM_WINDOW).initial_connection_window_size(CONNECTION_WINDOW).enable_push(false);
        // Until the other side says how many it takes, it is asked one thing.
        builder.initial_max_send_streams(1);
        let mut hello = std::pin::pin!(builder.handshake::<_, Bytes>(Socket(connection)));
        let (sender, wire) = match hello.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(done) => done?,
            // A fresh socket takes a few bytes; one that does not is of no use.
            Poll::Pending => return Err(Reason::INTERNAL_ERROR.into()),
        };
        Ok(Self { wire, sender, places: Vec::new(), most, more, waker, leaving: false, offered: false, answered: 0 })
    }

    /// Returns how many more requests it takes now.
    pub fn room(&mut self) -> usize {
        if self.leaving {
            return 0;
        }
        match self.sender.poll_ready(&mut Context::from_waker(&self.waker)) {
            Poll::Ready(Ok(())) => {
                self.most.min(self.sender.current_max_send_streams()).saturating_sub(self.places.len())
            }
            Poll::Ready(Err(_)) => {
                self.leaving = true;
                0
            }
            Poll::Pending => 0,
        }
    }

    /// Puts a request on its way with the next turn.
    pub fn ask(&mut self, request: Request<()>, body: &[u8], flight: Flight, limits: Limits) -> Result<(), Box<Ended>> {
        let failed = |e: &h2::Error| Box::new(Ended { flight, answer: Err(fault_of(e)) });
        let (head, mut stream) = self.sender.send_request(request, body.is_empty()).map_err(|e| failed(&e))?;
        if !body.is_empty() {
            stream.send_data(Bytes::copy_from_slice(body), true).map_err(|e| failed(&e))?;
        }
        self.places.push(Place { flight, limits, stream: Stream::Head(head) });
        Ok(())
    }

    /// Does whatever can be done now; adds what ended, and returns whether there is more and whether it still stands.
    pub fn turn(&mut self, now: u64, ended: &mut Vec<Ended>) -> (bool, Result<(), h2::Error>) {
        let waker = self.waker.clone();
        let context = &mut Context::from_waker(&waker);
        for _ in 0..ROUNDS {
            self.more.0.store(false, Ordering::Relaxed);
            let stands = match Pin::new(&mut self.wire).poll(context) {
                Poll::Pending => Ok(true),
                Poll::Ready(done) => done.map(|()| false),
            };
            let mut at = 0;
            while at < self.places.len() {
                match step(&mut self.places[at], context, now) {
                    None => at += 1,
                    Some(answer) => {
                        self.answered += 1;
                        ended.push(Ended { flight: self.places.swap_remove(at).flight, answer });
                    }
                }
            }
            match stands {
                Ok(true) => {}
                Ok(false) => return (false, Err(Reason::NO_ERROR.into())),
                Err(e) => return (false, Err(e)),
            }
            if !self.more.0.load(Ordering::Relaxed) {
                return (false, Ok(()));
            }
        }
        (true, Ok(()))
    }

    /// Gives up the requests that `over` names; the other side is told.
    pub fn give_up(&mut self, over: impl Fn(&Flight) -> bool, given: &mut Vec<Flight>) {
        let mut at = 0;
        while at < self.places.len() {
            if over(&self.places[at].flight) {
                given.push(self.places.swap_remove(at).flight);
            } else {
                at += 1;
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

/// Takes one request a step further; `Some` when it ended.
fn step(place: &mut Place, context: &mut Context<'_>, now: u64) -> Option<Result<Answer, (Fault, String)>> {
    if let Stream::Head(head) = &mut place.stream {
        let response = match Pin::new(head).poll(context) {
            Poll::Pending => return None,
            Poll::Ready(Err(e)) => return Some(Err(fault_of(&e))),
            Poll::Ready(Ok(response)) => response,
        };
        place.flight.first_ns.get_or_insert(now);
        let refusal = response.headers().get("x-amzn-errortype").map(hyper::header::HeaderValue::as_bytes);
        let answer = Answer::begun(response.status().as_u16(), refusal);
        place.stream = Stream::Body(response.into_body(), answer);
    }
    let Stream::Body(body, answer) = &mut place.stream else { return None };
    loop {
        match body.poll_data(context) {
            Poll::Pending => return None,
            Poll::Ready(Some(Ok(bytes))) => {
                let _ = body.flow_control().release_capacity(bytes.len());
                if let Err(broken) = answer.add(&bytes, place.limits) {
                    return Some(Err((Fault::of_broken(broken), broken.to_string())));
                }
            }
            Poll::Ready(Some(Err(e))) => {
                let (fault, why) = fault_of(&e);
                // Torn in the middle of an answer, whoever tore it.
                return Some(Err((if fault == Fault::Reset { Fault::Closed } else { fault }, why)));
            }
            Poll::Ready(None) => return Some(Ok(std::mem::take(answer))),
        }
    }
}

/// What an error of the protocol is counted as, and what it says.
pub fn fault_of(error: &h2::Error) -> (Fault, String) {
    let fault = match () {
        () if error.is_reset() => Fault::Reset,
        () if error.is_io() && error.get_io().is_some_and(|e| e.kind() == io::ErrorKind::ConnectionReset) => {
            Fault::Reset
        }
        () if error.is_io() || error.is_go_away() || error.reason() == Some(Reason::NO_ERROR) => Fault::Closed,
        () => Fault::Protocol,
    };
    (fault, error.to_string())
}
