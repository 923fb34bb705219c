//! One API process: takes connections, spreads them over single-threaded workers, drains when told to stop.
//!
//! One thread accepts and hands connections out in turn. Sharing the port between workers (`SO_REUSEPORT`) would save a
//! hand-over a connection, but it spreads a few connections unevenly, and a second process on the same port would not
//! be told that it is in use.

use std::cell::Cell;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs as _};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{mpsc, watch};

use super::api::Api;
use super::error::ServeError;
use super::front::Front;
use super::problem::Problem;
use super::trail::Trail;
use crate::stop::Stop;

/// A request's head must have come by then; slow callers hold a connection, never a worker.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// How long requests that are under way may take after the wish to stop.
const DRAIN: Duration = Duration::from_secs(3);
/// How often a worker looks at its own clock.
const PULSE: Duration = Duration::from_millis(10);
/// The most that is held of one request's head.
const LONGEST_HEAD: usize = 64 * 1024;
const MOST_HEADERS: usize = 100;
/// Connections beyond this are told to come back.
const MOST_CONNECTIONS: u64 = 20_000;

/// A bound socket, not serving yet.
pub struct Server {
    listener: TcpListener,
    /// An address that replicas of one machine share; the kernel spreads connections among them.
    shared: Option<TcpListener>,
    pub address: SocketAddr,
}

impl Server {
    pub fn bind(listen: &str) -> Result<Self, ServeError> {
        let failed = |source: io::Error| match (source.kind(), listen.rsplit_once(':')) {
            (io::ErrorKind::AddrInUse, Some((host, port))) => {
                ServeError::PortInUse { host: host.to_owned(), port: port.parse().unwrap_or(0) }
            }
            _ => ServeError::Listen { address: listen.to_owned(), source },
        };
        let addresses: Vec<_> = listen.to_socket_addrs().map_err(failed)?.collect();
        let listener = TcpListener::bind(&addresses[..]).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        allow_many_files();
        Ok(Self { listener, shared: None, address })
    }

    /// Listens on a second address as well, which other replicas may listen on too.
    pub fn share(mut self, at: SocketAddr) -> Result<Self, ServeError> {
        let shared = || -> io::Result<TcpListener> {
            let socket = socket2::Socket::new(socket2::Domain::for_address(at), socket2::Type::STREAM, None)?;
            socket.set_reuse_address(true)?;
            socket.set_reuse_port(true)?;
            socket.bind(&at.into())?;
            socket.listen(1024)?;
            socket.set_nonblocking(true)?;
            Ok(socket.into())
        };
        let failed = |source| ServeError::Listen { address: at.to_string(), source };
        self.shared = Some(shared().map_err(failed)?);
        Ok(self)
    }

    /// Serves until `stop`, then lets what is under way end, within a bound.
    pub fn run(self, api: &Arc<Api>, threads: usize, stop: &Stop) -> Result<(), ServeError> {
        self.run_all(&[(String::new(), Arc::clone(api))], &Trail::default(), threads, stop)
    }

    /// Serves several platforms, each below its name; the first one counts the connections.
    pub fn run_all(
        self,
        all: &[(String, Arc<Api>)],
        trail: &Trail,
        threads: usize,
        stop: &Stop,
    ) -> Result<(), ServeError> {
        let Some((_, api)) = all.first() else { return Ok(()) };
        let failed = |source| ServeError::Listen { address: self.address.to_string(), source };
        let (end, ended) = watch::channel(false);
        let mut hands = Vec::new();
        let mut workers = Vec::new();
        for number in 0..threads.max(1) {
            let (hand, mut connections) = mpsc::unbounded_channel::<TcpStream>();
            let (all, trail, mut ended) = (all.to_vec(), trail.clone(), ended.clone());
            let work = move || -> io::Result<()> {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                let local = tokio::task::LocalSet::new();
                local.block_on(&runtime, async move {
                    let front = Rc::new(Front::new(all, trail));
                    tokio::task::spawn_local(pulse(Rc::clone(&front)));
                    let open = Rc::new(Cell::new(0_u64));
                    while let Some(stream) = connections.recv().await {
                        tokio::task::spawn_local(serve(Rc::clone(&front), stream, ended.clone(), Open::new(&open)));
                    }
                    // The channel closes when the process drains.
                    let _ = ended.wait_for(|e| *e).await;
                    let began = Instant::now();
                    while open.get() > 0 && began.elapsed() < DRAIN {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                });
                Ok(())
            };
            workers.push(thread::Builder::new().name(format!("api-{number}")).spawn(work).map_err(failed)?);
            hands.push(hand);
        }
        thread::scope(|scope| {
            if let Some(shared) = &self.shared {
                scope.spawn(|| accept(shared, api, &hands, stop));
            }
            accept(&self.listener, api, &hands, stop);
        });
        all.iter().for_each(|(_, api)| api.draining.store(true, Relaxed));
        drop((self.listener, self.shared));
        drop(hands);
        let _ = end.send(true);
        for worker in workers {
            let _ = worker.join();
        }
        Ok(())
    }
}

/// Hands new connections out in turn until the wish to stop.
fn accept(listener: &TcpListener, api: &Api, hands: &[mpsc::UnboundedSender<TcpStream>], stop: &Stop) {
    let mut turn = 0;
    while !stop.requested() {
        match listener.accept() {
            Ok((stream, _)) if api.meter.connections.load(Relaxed) >= MOST_CONNECTIONS => turn_away(&stream),
            Ok((stream, _)) => {
                let ready = stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true));
                if ready.is_ok() {
                    api.meter.connections.fetch_add(1, Relaxed);
                    let _ = hands[turn % hands.len()].send(stream);
                    turn += 1;
                }
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => wait_for(listener),
            // Out of file handles: those that are open go on.
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Sleeps until a connection comes, or for long enough to see a wish to stop.
fn wait_for(listener: &TcpListener) {
    use std::os::fd::AsRawFd as _;
    let mut poll = libc::pollfd { fd: listener.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one valid entry, which outlives the call.
    unsafe { libc::poll(&raw mut poll, 1, 50) };
}

fn turn_away(mut stream: &TcpStream) {
    use std::io::Write as _;
    let detail = Problem::overloaded().detail;
    let _ = stream.set_nonblocking(true);
    let _ = write!(
        stream,
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{detail}",
        detail.len()
    );
}

/// Counts one connection for as long as it lives.
struct Open(Rc<Cell<u64>>);

impl Open {
    fn new(count: &Rc<Cell<u64>>) -> Self {
        count.set(count.get() + 1);
        Self(Rc::clone(count))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

async fn serve(front: Rc<Front>, stream: TcpStream, mut ended: watch::Receiver<bool>, _open: Open) {
    let api = front.counts();
    if let Ok(stream) = tokio::net::TcpStream::from_std(stream) {
        let service = service_fn(move |request| front.handle(request));
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME);
        http.max_buf_size(LONGEST_HEAD).max_headers(MOST_HEADERS).pipeline_flush(true);
        let connection = http.serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            biased;
            _ = connection.as_mut() => {}
            _ = ended.wait_for(|e| *e) => {
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            }
        }
    }
    api.meter.connections.fetch_sub(1, Relaxed);
}

/// Measures how far the worker is behind: what should take ten milliseconds takes longer when it is.
async fn pulse(front: Rc<Front>) {
    loop {
        let began = Instant::now();
        tokio::time::sleep(PULSE).await;
        let late = began.elapsed().saturating_sub(PULSE);
        front.is_behind(late.as_millis() as u64);
    }
}

/// Lifts the soft limit of open files to the hard one: each connection is a file.
fn allow_many_files() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls take a valid struct of ours.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}
