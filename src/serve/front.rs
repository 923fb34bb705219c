//! Which platform a request is for: the only one, or the one that its path begins with.
//!
//! Each platform has its own keys, lists, catalogue, limits and counters; nothing of one is looked at for another. A token
//! must be for the platform that its path names.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use hyper::body::{Body as _, Incoming};
use hyper::header::{HeaderName, HeaderValue};
use hyper::http::uri::PathAndQuery;
use hyper::{Request, StatusCode, Uri};

use super::api::{Api, Pending, Worker, by_us, json};
use super::meter::word;
use super::problem::{Problem, Reply};
use super::routes::route;
use super::trail::{Ids, Told, Trace, Trail};

/// The path as it was sent, where the platform's name was taken off it: signatures cover it.
#[derive(Clone, Debug)]
pub struct Sent(pub String);

/// One thread's workers, by platform.
pub struct Front {
    platforms: Vec<(Arc<str>, Rc<Worker>)>,
    ids: Ids,
    trail: Trail,
}

/// An answer on its way, and what will be left of it.
pub struct Trailed {
    pending: Pending,
    id: HeaderValue,
    kept: Option<(Trail, Told)>,
}

impl Future for Trailed {
    type Output = Result<Reply, std::convert::Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Poll::Ready(Ok(mut reply)) = Pin::new(&mut self.pending).poll(context) else { return Poll::Pending };
        if let Some((trail, mut told)) = self.kept.take() {
            told.took = told.began.elapsed().unwrap_or_default();
            told.status = reply.status().as_u16();
            told.bytes = reply.body().size_hint().exact().unwrap_or(0);
            trail.keep(told);
        }
        let id = std::mem::replace(&mut self.id, HeaderValue::from_static(""));
        reply.headers_mut().insert(HeaderName::from_static("x-request-id"), id);
        Poll::Ready(Ok(reply))
    }
}

impl Front {
    /// A platform without a name takes every path.
    pub fn new(all: Vec<(String, Arc<Api>)>, trail: Trail) -> Self {
        let platforms = all.into_iter().map(|(name, api)| (name.into(), Rc::new(Worker::new(api))));
        Self { platforms: platforms.collect(), ids: Ids::default(), trail }
    }

    /// Who counts the connections.
    pub fn counts(&self) -> Arc<Api> {
        Arc::clone(&self.platforms[0].1.api)
    }

    pub fn is_behind(&self, ms: u64) {
        self.platforms.iter().for_each(|(_, worker)| worker.behind_ms.store(ms, Relaxed));
    }

    /// Answers, with an id that log and traces know too.
    pub fn handle(&self, request: Request<Incoming>) -> Trailed {
        let id = self.ids.of(request.headers());
        let kept = self.trail.is_wanted().then(|| (self.trail.clone(), self.begun(&request, &id)));
        Trailed { pending: self.pending(request), id, kept }
    }

    fn begun(&self, request: &Request<Incoming>, id: &HeaderValue) -> Told {
        let (first, rest) = part(request.uri());
        let named = self.platforms.iter().find(|(name, _)| **name == *first);
        let path = named.map_or(request.uri().path(), |_| rest.split('?').next().unwrap_or(rest));
        let trace = request.headers().get("traceparent").and_then(|t| Trace::read(t.to_str().ok()?));
        Told {
            began: SystemTime::now(),
            took: Duration::ZERO,
            method: request.method().clone(),
            route: word(route(path).0),
            platform: named.map_or_else(|| Arc::from(""), |(name, _)| Arc::clone(name)),
            status: 0,
            bytes: 0,
            id: id.clone(),
            trace,
        }
    }

    fn pending(&self, mut request: Request<Incoming>) -> Pending {
        if let [(name, worker)] = &self.platforms[..]
            && name.is_empty()
        {
            return worker.handle(request);
        }
        let (first, rest) = part(request.uri());
        if let Some((_, worker)) = self.platforms.iter().find(|(name, _)| **name == *first) {
            let sent = Sent(request.uri().path().to_owned());
            let Ok(below) = PathAndQuery::try_from(rest) else {
                return Pending::Now(Some(Problem::no_route(&sent.0).reply()));
            };
            *request.uri_mut() = Uri::from(below);
            request.extensions_mut().insert(sent);
            return worker.handle(request);
        }
        let reply = match request.uri().path() {
            "/health/live" => by_us(json(&br#"{"status":"live"}"#[..])),
            // One platform without lists is no reason to take the others out; each tells its own state below its name.
            "/health/ready" if self.platforms.iter().any(|(_, w)| w.api.ready()) => {
                let state = |w: &Worker| if w.api.ready() { "ready" } else { "not ready" };
                let each: serde_json::Map<_, _> =
                    self.platforms.iter().map(|(name, w)| (name.to_string(), state(w).into())).collect();
                let told = serde_json::json!({"status": "ready", "platforms": each});
                by_us(json(told.to_string().into_bytes()))
            }
            "/health/ready" => {
                let detail = "no platform is ready: the process is draining, or has nothing to serve";
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "draining", detail).reply()
            }
            path => {
                let names: Vec<&str> = self.platforms.iter().map(|(name, _)| &**name).collect();
                let detail = format!(
                    "there is no {}; paths begin with /{}",
                    path.chars().take(128).collect::<String>(),
                    names.join(", /")
                );
                Problem::new(StatusCode::NOT_FOUND, "no-such-platform", detail).reply()
            }
        };
        Pending::Now(Some(reply))
    }
}

/// Parts `/sixplay/v1/popular?limit=3` into `sixplay` and `/v1/popular?limit=3`.
fn part(uri: &Uri) -> (&str, &str) {
    let whole = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let Some(named) = whole.strip_prefix('/') else { return ("", "/") };
    let (name, rest) = named.split_at(named.find(['/', '?']).unwrap_or(named.len()));
    (name, if rest.starts_with('/') { rest } else { "/" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_parted_once() {
        for (path, name, rest) in [
            ("/sixplay/v1/popular?limit=3", "sixplay", "/v1/popular?limit=3"),
            ("/sixplay/health/ready", "sixplay", "/health/ready"),
            ("/sixplay", "sixplay", "/"),
            ("/sixplay?x=/y", "sixplay", "/"),
            ("/", "", "/"),
            ("//sixplay/v1/popular", "", "/sixplay/v1/popular"),
            ("/sixplay/../videoland/v1/popular", "sixplay", "/../videoland/v1/popular"),
        ] {
            let uri: Uri = path.parse().expect("a path");
            assert_eq!(part(&uri), (name, rest), "{path}");
        }
    }
}
