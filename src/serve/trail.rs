//! What is left of each request for those who look later: an id in the answer, a line in the access log, a span for OpenTelemetry.
//!
//! A line holds no token, no query, no body and no viewer: the route, not the path. Neither log nor spans ever make a
//! request wait; what cannot be kept up with is dropped and counted. Spans go out as OTLP over HTTP in JSON, in heaps, by
//! the client that is here already: an SDK would be a second one.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hyper::HeaderMap;
use hyper::header::HeaderValue;
use serde_json::{Value, json};

/// Requests on their way to the log or the collector.
const WAITING: usize = 20_000;
/// Spans that are sent at once, and how long the first of them waits.
const HEAP: usize = 512;
const EACH: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(5);
const LONGEST_ID: usize = 128;

/// One request, when it is answered.
#[derive(Clone, Debug)]
pub struct Told {
    pub began: SystemTime,
    pub took: Duration,
    pub method: hyper::Method,
    pub route: &'static str,
    pub platform: Arc<str>,
    pub status: u16,
    pub bytes: u64,
    pub id: HeaderValue,
    pub trace: Option<Trace>,
}

/// The trace that a request belongs to, as W3C's `traceparent` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    pub trace: u128,
    pub parent: u64,
    pub sampled: bool,
}

impl Trace {
    /// Reads `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01`; anything else is no trace.
    pub fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let hex = |text: &str, length: usize| {
            text.len() == length && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        let whole = hex(version, 2) && version != "ff" && hex(trace, 32) && hex(parent, 16) && hex(flags, 2);
        if !whole || (version == "00" && parts.next().is_some()) {
            return None;
        }
        let trace = u128::from_str_radix(trace, 16).ok().filter(|t| *t != 0)?;
        let parent = u64::from_str_radix(parent, 16).ok().filter(|p| *p != 0)?;
        Some(Self { trace, parent, sampled: u8::from_str_radix(flags, 16).ok()? & 1 == 1 })
    }
}

/// Makes ids that no other process makes.
#[derive(Debug)]
pub struct Ids {
    prefix: u32,
    next: AtomicU64,
}

impl Default for Ids {
    fn default() -> Self {
        Self { prefix: rand::random(), next: AtomicU64::new(rand::random::<u32>().into()) }
    }
}

impl Ids {
    /// Returns the id that the caller gave, if it is one, else a new one.
    pub fn of(&self, headers: &HeaderMap) -> HeaderValue {
        let given = headers.get("x-request-id").filter(|v| {
            let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-_.:/+=".contains(b);
            (1..=LONGEST_ID).contains(&v.len()) && v.as_bytes().iter().all(plain)
        });
        given.cloned().unwrap_or_else(|| self.new_id())
    }

    fn new_id(&self) -> HeaderValue {
        let number = u64::from(self.prefix) << 32 | (self.next.fetch_add(1, Relaxed) & 0xffff_ffff);
        let mut text = [0; 16];
        for (at, digit) in text.iter_mut().enumerate() {
            *digit = b"0123456789abcdef"[(number >> (60 - at * 4)) as usize & 15];
        }
        HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("0"))
    }
}

/// Where what is left of requests goes.
#[derive(Clone, Debug, Default)]
pub struct Trail {
    log: Option<SyncSender<Told>>,
    spans: Option<SyncSender<Told>>,
    /// The share of requests that are traced where the caller does not say.
    share: f64,
    pub lost: Arc<AtomicU64>,
}

/// What is wished to be kept.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// A file, or `-` for standard output.
    pub log: Option<PathBuf>,
    /// The root of an OTLP collector: `http://127.0.0.1:4318`.
    pub collector: Option<String>,
    pub share: f64,
}

impl Trail {
    pub fn open(wish: &Wish) -> Result<Self, String> {
        let mut trail = Self { share: wish.share, ..Self::default() };
        if let Some(path) = &wish.log {
            let mut out = open_log(path).map_err(|e| format!("{}: {e}", path.display()))?;
            trail.log = Some(start("access-log", move |lines| write_lines(&lines, &mut out))?);
        }
        if let Some(url) = &wish.collector {
            let url = format!("{}/v1/traces", url.trim_end_matches('/'));
            let parsed = reqwest::Url::parse(&url).map_err(|e| format!("{url}: {e}"))?;
            let lost = Arc::clone(&trail.lost);
            trail.spans = Some(start("spans", move |spans| send_spans(&spans, &parsed, &lost))?);
        }
        Ok(trail)
    }

    pub fn is_wanted(&self) -> bool {
        self.log.is_some() || self.spans.is_some()
    }

    /// Keeps one request; never waits.
    pub fn keep(&self, told: Told) {
        let traced = self.spans.as_ref().filter(|_| match told.trace {
            Some(trace) => trace.sampled,
            None => self.share > 0.0 && rand::random::<f64>() < self.share,
        });
        let sent = [traced, self.log.as_ref()].into_iter().flatten();
        for to in sent {
            if to.try_send(told.clone()).is_err() {
                self.lost.fetch_add(1, Relaxed);
            }
        }
    }
}

fn start(name: &str, work: impl FnOnce(Receiver<Told>) + Send + 'static) -> Result<SyncSender<Told>, String> {
    let (hand, told) = sync_channel(WAITING);
    let thread = thread::Builder::new().name(name.to_owned()).spawn(move || work(told));
    thread.map(|_| hand).map_err(|e| e.to_string())
}

fn open_log(path: &Path) -> io::Result<Box<dyn Write + Send>> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdout()));
    }
    let file: File = OpenOptions::new().create(true).append(true).open(path)?;
    Ok(Box::new(file))
}

fn write_lines(told: &Receiver<Told>, out: &mut dyn Write) {
    let mut heap = Vec::new();
    while let Ok(first) = told.recv() {
        heap.clear();
        for one in std::iter::once(first).chain(told.try_iter().take(HEAP)) {
            heap.extend_from_slice(line(&one).to_string().as_bytes());
            heap.push(b'\n');
        }
        // A log that cannot be written must not end the serving.
        let _ = out.write_all(&heap).and_then(|()| out.flush());
    }
}

/// One line of the access log.
pub fn line(told: &Told) -> Value {
    let at = jiff::Timestamp::try_from(told.began).map_or_else(|_| String::new(), |t| format!("{t:.3}"));
    let mut line = json!({
        "at": at, "id": told.id.to_str().unwrap_or_default(), "method": told.method.as_str(), "route": told.route,
        "status": told.status, "bytes": told.bytes, "ms": told.took.as_micros() as f64 / 1000.0,
    });
    if !told.platform.is_empty() {
        line["platform"] = Value::from(&*told.platform);
    }
    if let Some(trace) = told.trace {
        line["trace"] = format!("{:032x}", trace.trace).into();
    }
    line
}

fn send_spans(told: &Receiver<Told>, url: &reqwest::Url, lost: &AtomicU64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let client = reqwest::Client::builder().timeout(PATIENCE).build();
    let (Ok(runtime), Ok(client)) = (runtime, client) else { return };
    while let Ok(first) = told.recv() {
        let (began, mut heap) = (Instant::now(), vec![first]);
        while heap.len() < HEAP {
            match told.recv_timeout(EACH.saturating_sub(began.elapsed())) {
                Ok(one) => heap.push(one),
                Err(_) => break,
            }
        }
        let export = export(&heap);
        let sent = runtime.block_on(async { client.post(url.clone()).json(&export).send().await });
        if !sent.is_ok_and(|answer| answer.status().is_success()) {
            lost.fetch_add(heap.len() as u64, Relaxed);
        }
    }
}

/// The spans as an OTLP `ExportTraceServiceRequest` in JSON.
pub fn export(told: &[Told]) -> Value {
    let nanos = |t: SystemTime| t.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos()).to_string();
    let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let span = |one: &Told| {
        let trace = one.trace.map_or_else(rand::random, |t| t.trace);
        let mut span = json!({
            "traceId": format!("{trace:032x}"), "spanId": format!("{:016x}", rand::random::<u64>().max(1)),
            "name": format!("{} {}", one.method, one.route), "kind": 2,
            "startTimeUnixNano": nanos(one.began), "endTimeUnixNano": nanos(one.began + one.took),
            "attributes": [
                text("http.request.method", one.method.as_str()), text("http.route", one.route),
                {"key": "http.response.status_code", "value": {"intValue": one.status.to_string()}},
                text("serin.request_id", one.id.to_str().unwrap_or_default()), text("serin.platform", &one.platform),
            ],
            "status": {"code": if one.status >= 500 { 2 } else { 0 }},
        });
        if let Some(trace) = one.trace {
            span["parentSpanId"] = format!("{:016x}", trace.parent).into();
        }
        span
    };
    json!({"resourceSpans": [{
        "resource": {"attributes": [text("service.name", "serin"), text("service.version", env!("CARGO_PKG_VERSION"))]},
        "scopeSpans": [{"scope": {"name": "serin"}, "spans": told.iter().map(span).collect::<Vec<_>>()}],
    }]})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told() -> Told {
        Told {
            began: UNIX_EPOCH + Duration::from_secs(1_800_000_000),
            took: Duration::from_micros(1500),
            method: hyper::Method::GET,
            route: "/v1/recommendations",
            platform: "sixplay".into(),
            status: 503,
            bytes: 12,
            id: HeaderValue::from_static("abc"),
            trace: Trace::read("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        }
    }

    #[test]
    fn traces_as_they_are_sent_and_what_is_none() {
        let good = told().trace.expect("a trace");
        assert_eq!((good.trace >> 96, good.parent, good.sampled), (0x4bf9_2f35, 0x00f0_67aa_0ba9_02b7, true));
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(Trace::read(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_line_and_a_span_say_the_same() {
        assert_eq!(
            line(&told()).to_string(),
            r#"{"at":"2027-01-15T08:00:00.000Z","bytes":12,"id":"abc","method":"GET","ms":1.5,"platform":"sixplay","route":"/v1/recommendations","status":503,"trace":"4bf92f3577b34da6a3ce929d0e0e4736"}"#
        );
        let export = export(&[told()]);
        let span = &export["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
        assert_eq!(
            (&span["name"], &span["parentSpanId"]),
            (&"GET /v1/recommendations".into(), &"00f067aa0ba902b7".into())
        );
        assert_eq!((&span["status"]["code"], &span["startTimeUnixNano"]), (&2.into(), &"1800000000000000000".into()));
        assert_eq!(span["endTimeUnixNano"], "1800000000001500000");
    }

    #[test]
    fn an_id_is_the_callers_where_it_is_one() {
        let ids = Ids::default();
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-request-id", HeaderValue::from_str(text).expect("a value"));
            ids.of(&headers)
        };
        assert_eq!(of("a-b.c:1"), "a-b.c:1");
        for bad in ["", "a b", "<script>", &"x".repeat(129)] {
            assert_eq!(of(bad).len(), 16, "{bad}");
        }
        assert_ne!(ids.of(&HeaderMap::new()), ids.of(&HeaderMap::new()));
    }
}
