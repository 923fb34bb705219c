//! The router of the local stack: two versions of the API behind one address, each viewer always at the same one.
//!
//! A viewer's side is their lot under the salt, as `stats::lot` deals it: as the share rises nobody leaves the canary. Every
//! request that is sent on is counted by side, and the baseline's by slice, which is what the judge of a walk reads. The
//! share is kept in a file before it is in force, so that a router that is started again stands where it stood.
//!
//! One thread: a few thousand requests a second on one machine are all that it is for. A proxy that carries a platform is
//! HAProxy's or Envoy's work, and a walk drives those as well.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self as client, SendRequest};
use hyper::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HeaderValue, TRANSFER_ENCODING};
use hyper::http::response;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};

use super::api::by_us;
use super::auth::{Gate, Remembered};
use super::error::ServeError;
use super::meter::Route;
use super::problem::{Problem, Reply};
use super::routes::route;
use super::tally::{Ended, Tally};
use super::{personalize, wish};
use crate::durable;
use crate::judge::interval::Side;
use crate::stats::lot::{Place, SLICES, place};
use crate::stop::Stop;

/// Where the router tells of itself and is told the share.
pub const PATH: &str = "/router";
/// The header by which a request may say whose it is, where its path does not.
pub const VIEWER: &str = "x-viewer";
/// The header of each answer that says which version gave it.
pub const SIDE: &str = "x-serin-side";
/// A version that has not answered by then has not answered.
const PATIENCE: Duration = Duration::from_secs(10);
const LONGEST_ANSWER: usize = 16 << 20;
const HEAD_TIME: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(50);
/// Connections to one version that are kept for the next request.
const KEPT: usize = 256;
/// Viewers that are remembered since the share changed; beyond them the count of viewers is not told any more.
const MOST_VIEWERS: usize = 5_000_000;

/// What a router is told at its start.
#[derive(Clone, Debug)]
pub struct Setup {
    pub listen: SocketAddr,
    pub baseline: SocketAddr,
    pub canary: SocketAddr,
    pub salt: String,
    /// The share, kept over a restart.
    pub state: Option<PathBuf>,
    /// After so long its numbers cannot be read any more, for practice.
    pub mute_after: Option<Duration>,
}

/// What the router tells: counts since its own start, which `epoch` names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Page {
    pub share: f64,
    pub salt: String,
    pub epoch: u64,
    pub canary: Side,
    pub slices: Vec<Side>,
    /// Requests that began, on the canary and on both.
    pub begun: (u64, u64),
    /// Viewers seen since the share changed, in the canary and in all.
    pub viewers: Option<(u64, u64)>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    share: f64,
}

struct Router {
    baseline: Version,
    canary: Version,
    setup: Setup,
    share: Cell<f64>,
    /// The canary's, then one a slice.
    tallies: RefCell<Vec<Tally>>,
    begun: [Cell<u64>; 2],
    viewers: RefCell<[HashSet<u64>; 2]>,
    /// Requests that name no viewer are dealt by their number.
    nameless: Cell<u64>,
    gate: Gate,
    tokens: RefCell<Remembered>,
    epoch: u64,
    began: Instant,
}

/// One version of the API, and the connections to it that wait for work.
struct Version {
    at: SocketAddr,
    idle: RefCell<Vec<SendRequest<Full<Bytes>>>>,
}

/// Serves until `stop`; the body of the router's process.
pub fn run(setup: Setup, secret: &[u8], stop: &Stop) -> Result<(), ServeError> {
    let (host, port) = (setup.listen.ip().to_string(), setup.listen.port());
    let listener = TcpListener::bind(setup.listen).map_err(|_| ServeError::PortInUse { host, port })?;
    let failed = |source| ServeError::Listen { address: setup.listen.to_string(), source };
    listener.set_nonblocking(true).map_err(failed)?;
    let share = match &setup.state {
        Some(path) if path.is_file() => {
            let bytes = std::fs::read(path).map_err(ServeError::io(path))?;
            let kept: Kept = serde_json::from_slice(&bytes).map_err(|e| ServeError::input(path, e.to_string()))?;
            kept.share
        }
        _ => 0.0,
    };
    let version = |at| Version { at, idle: RefCell::default() };
    let router = Rc::new(Router {
        baseline: version(setup.baseline),
        canary: version(setup.canary),
        share: Cell::new(share),
        tallies: RefCell::new(vec![Tally::default(); SLICES + 1]),
        begun: Default::default(),
        viewers: RefCell::default(),
        nameless: Cell::new(0),
        gate: Gate::secret(secret),
        tokens: RefCell::default(),
        epoch: jiff::Timestamp::now().as_microsecond() as u64,
        began: Instant::now(),
        setup: setup.clone(),
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, accept(listener, router, stop)).map_err(failed)
}

async fn accept(listener: TcpListener, router: Rc<Router>, stop: &Stop) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    while !stop.requested() {
        match tokio::time::timeout(LOOK, listener.accept()).await {
            Err(_) => {}
            Ok(Ok((stream, _))) => {
                let _ = stream.set_nodelay(true);
                tokio::task::spawn_local(serve(Rc::clone(&router), stream));
            }
            // Out of file handles: those that are open go on.
            Ok(Err(_)) => tokio::time::sleep(LOOK).await,
        }
    }
    Ok(())
}

async fn serve(router: Rc<Router>, stream: tokio::net::TcpStream) {
    let service = service_fn(move |request| {
        let router = Rc::clone(&router);
        async move { Ok::<_, Infallible>(router.handle(request).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME);
    let _ = http.serve_connection(TokioIo::new(stream), service).await;
}

impl Router {
    async fn handle(&self, request: Request<Incoming>) -> Reply {
        let path = request.uri().path();
        if path == PATH {
            return self.control(&request).unwrap_or_else(|problem| problem.reply());
        }
        match route(path).0 {
            Route::Health => self.health(request).await,
            Route::Metrics | Route::Practice | Route::Openapi | Route::None => {
                self.send_on(&self.baseline, request).await.map_or_else(|p| p.reply(), |(reply, _)| reply)
            }
            _ => self.split(request).await,
        }
    }

    /// Tells the numbers; POST with `?share=0.2` sets the share.
    fn control(&self, request: &Request<Incoming>) -> Result<Reply, Problem> {
        let header = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let now = jiff::Timestamp::now().as_second();
        self.tokens.borrow_mut().check(&self.gate, header, now)?;
        let failed = |detail: String| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "router-failed", detail);
        match *request.method() {
            Method::POST => {
                let asked = request.uri().query().and_then(|q| q.strip_prefix("share="));
                let share = asked.and_then(|s| s.parse::<f64>().ok()).filter(|s| (0.0..=1.0).contains(s));
                let share = share.ok_or_else(|| Problem::bad_request("no-share", "share has to be from 0 to 1"))?;
                self.set(share).map_err(failed)?;
                Ok(told(&Kept { share }))
            }
            // The share can always be read: only its numbers can be mute.
            Method::GET if request.uri().query() == Some("share") => Ok(told(&Kept { share: self.share.get() })),
            Method::GET if request.uri().query() == Some("begun") => Ok(told(&self.begun())),
            Method::GET if self.setup.mute_after.is_some_and(|after| self.began.elapsed() >= after) => {
                Err(failed("the numbers cannot be told".to_owned()))
            }
            _ => Ok(told(&self.page())),
        }
    }

    fn set(&self, share: f64) -> Result<(), String> {
        if let Some(path) = &self.setup.state {
            let text = serde_json::to_vec(&Kept { share }).map_err(|e| e.to_string())?;
            durable::write(path, &text).map_err(|e| format!("{}: {e}", path.display()))?;
        }
        if share.to_bits() != self.share.replace(share).to_bits() {
            *self.viewers.borrow_mut() = Default::default();
        }
        Ok(())
    }

    fn begun(&self) -> (u64, u64) {
        let [canary, baseline] = [self.begun[0].get(), self.begun[1].get()];
        (canary, canary + baseline)
    }

    fn page(&self) -> Page {
        let tallies = self.tallies.borrow();
        let viewers = self.viewers.borrow();
        let (canary, baseline) = (viewers[0].len(), viewers[1].len());
        Page {
            share: self.share.get(),
            salt: self.setup.salt.clone(),
            epoch: self.epoch,
            canary: tallies[0].side(),
            slices: tallies[1..].iter().map(Tally::side).collect(),
            begun: self.begun(),
            viewers: (canary + baseline < MOST_VIEWERS).then_some((canary as u64, (canary + baseline) as u64)),
        }
    }

    /// Both versions have to be well, so that nobody is sent to one that is not there.
    async fn health(&self, request: Request<Incoming>) -> Reply {
        let (head, _) = request.into_parts();
        let head = &head;
        let ask = |version| async move {
            let copy = Request::from_parts(head.clone(), Full::default());
            self.ask(version, copy).await.map(|(parts, body)| whole(parts, body))
        };
        match ask(&self.baseline).await {
            Ok(reply) if reply.status().is_success() => ask(&self.canary).await.map_or_else(|p| p.reply(), by_us),
            Ok(reply) => reply,
            Err(problem) => problem.reply(),
        }
    }

    async fn split(&self, request: Request<Incoming>) -> Reply {
        let began = Instant::now();
        let (head, body) = request.into_parts();
        let body = match personalize::read_body(body).await {
            Ok(body) => body,
            Err(problem) => return problem.reply(),
        };
        let named = head.headers.get(VIEWER).and_then(|v| v.to_str().ok()).filter(|v| !v.is_empty());
        let viewer = named.map(str::to_owned).or_else(|| viewer(head.uri.path(), &body));
        let at = self.place(viewer.as_deref());
        let (version, tally) = match at {
            Place::Canary => (&self.canary, 0),
            Place::Baseline(slice) => (&self.baseline, slice + 1),
        };
        let side = usize::from(at != Place::Canary);
        self.begun[side].set(self.begun[side].get() + 1);
        if let Some(viewer) = viewer {
            self.meet(&viewer, side);
        }
        let answer = self.ask(version, Request::from_parts(head, Full::new(body))).await;
        let (ended, mut reply) = match answer {
            Ok((parts, body)) => (Ended::of(parts.status.as_u16(), &body), whole(parts, body)),
            Err(problem) => {
                let timeout = problem.status == StatusCode::GATEWAY_TIMEOUT;
                (Ended { timeout, ..Ended::default() }, problem.reply())
            }
        };
        self.tallies.borrow_mut()[tally].count(began.elapsed(), ended);
        reply.headers_mut().insert(SIDE, HeaderValue::from_static(["canary", "baseline"][side]));
        reply
    }

    fn place(&self, viewer: Option<&str>) -> Place {
        let share = self.share.get();
        match viewer {
            Some(viewer) => place(viewer, &self.setup.salt, share),
            None => {
                let number = self.nameless.get();
                self.nameless.set(number + 1);
                place(&number.to_string(), &format!("{}/nameless", self.setup.salt), share)
            }
        }
    }

    /// Remembers that a viewer was here since the share changed.
    fn meet(&self, viewer: &str, side: usize) {
        use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
        let mut viewers = self.viewers.borrow_mut();
        if viewers[0].len() + viewers[1].len() < MOST_VIEWERS {
            viewers[side].insert(BuildHasherDefault::<DefaultHasher>::default().hash_one(viewer));
        }
    }

    /// Sends on what is not split.
    async fn send_on(&self, version: &Version, request: Request<Incoming>) -> Result<(Reply, u16), Problem> {
        let (head, body) = request.into_parts();
        let body = personalize::read_body(body).await?;
        let (parts, body) = self.ask(version, Request::from_parts(head, Full::new(body))).await?;
        let status = parts.status.as_u16();
        Ok((whole(parts, body), status))
    }

    async fn ask(
        &self,
        version: &Version,
        mut request: Request<Full<Bytes>>,
    ) -> Result<(response::Parts, Bytes), Problem> {
        // Only the path is asked of the version, and each hop keeps its own connections.
        if let Some(path) = request.uri().path_and_query().cloned() {
            *request.uri_mut() = path.into();
        }
        request.headers_mut().remove(CONNECTION);
        request.headers_mut().remove(TRANSFER_ENCODING);
        match tokio::time::timeout(PATIENCE, version.ask(request)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(why)) => {
                let detail = format!("{} does not answer: {why}", version.at);
                Err(Problem::new(StatusCode::BAD_GATEWAY, "version-gone", detail))
            }
            Err(_) => {
                let detail = format!("{} did not answer in {} s", version.at, PATIENCE.as_secs());
                Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, "version-late", detail))
            }
        }
    }
}

impl Version {
    async fn ask(&self, request: Request<Full<Bytes>>) -> Result<(response::Parts, Bytes), String> {
        // A kept connection may have been closed meanwhile: what can be asked twice is asked again on a fresh one.
        let again = (request.method() == Method::GET).then(|| request.clone());
        let kept = self.kept();
        let reused = kept.is_some();
        let sender = match kept {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        match (self.exchange(sender, request).await, again) {
            (Err(_), Some(request)) if reused => {
                let sender = self.connect().await?;
                self.exchange(sender, request).await
            }
            (answer, _) => answer,
        }
    }

    fn kept(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.idle.borrow_mut();
        std::iter::from_fn(|| idle.pop()).find(|sender| sender.is_ready() && !sender.is_closed())
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, String> {
        let stream = tokio::net::TcpStream::connect(self.at).await.map_err(|e| e.to_string())?;
        let _ = stream.set_nodelay(true);
        let (sender, connection) = client::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
        tokio::task::spawn_local(async move {
            let _ = connection.await;
        });
        Ok(sender)
    }

    async fn exchange(
        &self,
        mut sender: SendRequest<Full<Bytes>>,
        request: Request<Full<Bytes>>,
    ) -> Result<(response::Parts, Bytes), String> {
        let answer = sender.send_request(request).await.map_err(|e| e.to_string())?;
        let (parts, body) = answer.into_parts();
        let body = Limited::new(body, LONGEST_ANSWER).collect().await.map_err(|e| e.to_string())?.to_bytes();
        // The connection is ready for the next request once its own task has seen the end of this one.
        if self.idle.borrow().len() < KEPT && sender.ready().await.is_ok() {
            self.idle.borrow_mut().push(sender);
        }
        Ok((parts, body))
    }
}

/// Returns whose request it is, where it says so.
fn viewer(path: &str, body: &[u8]) -> Option<String> {
    match route(path) {
        (Route::Recommendations | Route::Rank | Route::Forget, raw) => {
            wish::read_id(raw).ok().map(std::borrow::Cow::into_owned)
        }
        (Route::Campaign | Route::Ranking, _) => {
            let body: serde_json::Value = serde_json::from_slice(body).ok()?;
            body["userId"].as_str().map(str::to_owned)
        }
        _ => None,
    }
}

fn whole(mut parts: response::Parts, body: Bytes) -> Reply {
    parts.headers.remove(CONNECTION);
    parts.headers.remove(TRANSFER_ENCODING);
    Response::from_parts(parts, Full::new(body))
}

fn told(what: &impl Serialize) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from(serde_json::to_vec(what).unwrap_or_default())));
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_says_whose_it_is() {
        assert_eq!(viewer("/v1/recommendations/u%201", b"").as_deref(), Some("u 1"));
        assert_eq!(viewer("/recommendations", br#"{"userId": "u7"}"#).as_deref(), Some("u7"));
        assert_eq!(viewer("/v1/popular", b""), None);
        assert_eq!(viewer("/recommendations", b"<html>"), None);
    }
}
