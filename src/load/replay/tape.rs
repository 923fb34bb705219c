//! A whole log, ready to be played: what is due when, and what is asked then.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::clean::{endpoint, without_secrets};
use super::line::{Format, Line, Spoiled};
use super::read::{self, Counts};
use crate::load::error::LoadError;
use crate::load::question::{Asker, Question};

/// 32 bytes each: what a machine of today holds.
const MOST_REQUESTS: usize = 50_000_000;
/// The busiest routes get a name of their own.
const MOST_ENDPOINTS: usize = 30;
const OTHER: &str = "other";
/// A wait that long is a broken clock or two logs in one file, not traffic.
const LONGEST_HOLE: Duration = Duration::from_secs(3600);

/// How a log became requests, to be told with the result.
#[derive(Clone, Debug)]
pub struct Reading {
    pub format: Format,
    pub counts: Counts,
    /// Lines whose time lies before that of a line above them; they were sorted in.
    pub out_of_order: u64,
    /// Requests from whose path a secret was taken out.
    pub cleaned: u64,
    /// Whether the stamps were whole seconds, so that the requests inside each were spread evenly.
    pub spread: bool,
    pub viewers: usize,
}

/// Recorded requests in the order they fall due.
#[derive(Debug)]
pub struct Tape {
    requests: Vec<Recorded>,
    texts: Texts,
    endpoints: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
struct Recorded {
    at_ns: i64,
    path: u32,
    viewer: u32,
    /// Zero: none.
    body: u32,
    endpoint: u16,
    method: u8,
}

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

impl Tape {
    /// Reads the log; `speed` 2 plays it in half its time.
    pub fn read(
        path: &Path,
        format: Option<Format>,
        speed: f64,
    ) -> Result<(Self, Arc<[Duration]>, Reading), LoadError> {
        let name = path.display().to_string();
        let failed = |e: std::io::Error| LoadError::File { name: name.clone(), why: e.to_string() };
        let format = match format {
            Some(format) => format,
            None => read::guess(path).map_err(failed)?.ok_or_else(|| LoadError::File {
                name: name.clone(),
                why: "none of its first lines is a combined, ALB or JSONL log line; name the layout with --format"
                    .to_owned(),
            })?,
        };
        let mut take = Take::default();
        let counts =
            read::each(read::open(path).map_err(failed)?, format, |line| take.line(&line)).map_err(|e| match e {
                Stop::Io(e) => failed(e),
                Stop::TooMany => LoadError::File {
                    name: name.clone(),
                    why: format!("it holds more than {MOST_REQUESTS} requests; play it in parts"),
                },
            })?;
        if counts.requests == 0 {
            let why = format!("it holds no request that can be sent: {}", left_out(&counts));
            return Err(LoadError::File { name, why });
        }
        let Take { mut requests, texts, routes, out_of_order, cleaned, whole, .. } = take;
        // Stable: what came in the same moment keeps the order of the log, and so does every viewer.
        requests.sort_by_key(|r| r.at_ns);
        let spread = whole && requests.len() > 1;
        if spread {
            spread_seconds(&mut requests);
        }
        let endpoints = name_routes(&mut requests, routes);
        let dues = dues(&requests, speed).map_err(|why| LoadError::File { name, why })?;
        let viewers = texts.viewers;
        let reading = Reading { format, counts, out_of_order, cleaned, spread, viewers };
        Ok((Self { requests, texts, endpoints }, dues, reading))
    }
}

/// Says what was left out, and why.
pub fn left_out(counts: &Counts) -> String {
    let parts = counts.spoiled.iter().map(|(why, n)| format!("{n} {}", why.words()));
    let text = parts.collect::<Vec<_>>().join(", ");
    if text.is_empty() { "it is empty".to_owned() } else { text }
}

impl Reading {
    /// Returns the count of each kind of line that was left out, by its name.
    pub fn left_out(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let name = |why: Spoiled| match why {
            Spoiled::Cut => "cut",
            Spoiled::TooLong => "too_long",
            Spoiled::NotText => "not_text",
            Spoiled::Time => "no_time",
            Spoiled::Request => "no_request",
            Spoiled::NoBody => "no_body",
        };
        self.counts.spoiled.iter().map(move |(why, n)| (name(*why), *n))
    }
}

impl Asker for Tape {
    fn endpoints(&self) -> Vec<String> {
        self.endpoints.clone()
    }

    fn ask(&self, index: u64, question: &mut Question) {
        question.clear();
        let Some(recorded) = self.requests.get(index as usize) else { return };
        question.endpoint = recorded.endpoint;
        question.method = METHODS[usize::from(recorded.method)];
        question.path.extend_from_slice(self.texts.get(recorded.path).as_bytes());
        question.viewer.push_str(self.texts.get(recorded.viewer));
        if recorded.body > 0 {
            question.headers.extend_from_slice(b"Content-Type: application/json\r\n");
            question.body.extend_from_slice(self.texts.get(recorded.body).as_bytes());
        }
    }
}

/// Every distinct text once; zero is the empty one.
#[derive(Debug)]
struct Texts {
    known: HashMap<Arc<str>, u32>,
    all: Vec<Arc<str>>,
    viewers: usize,
}

impl Default for Texts {
    fn default() -> Self {
        let empty: Arc<str> = Arc::from("");
        Self { known: HashMap::from([(Arc::clone(&empty), 0)]), all: vec![empty], viewers: 0 }
    }
}

impl Texts {
    /// Returns the place of a text, and whether it is new.
    fn put(&mut self, text: &str) -> (u32, bool) {
        if let Some(place) = self.known.get(text) {
            return (*place, false);
        }
        let (text, place): (Arc<str>, u32) = (Arc::from(text), self.all.len() as u32);
        self.all.push(Arc::clone(&text));
        self.known.insert(text, place);
        (place, true)
    }

    fn get(&self, place: u32) -> &str {
        &self.all[place as usize]
    }
}

enum Stop {
    Io(std::io::Error),
    TooMany,
}

impl From<std::io::Error> for Stop {
    fn from(e: std::io::Error) -> Self {
        Self::Io(e)
    }
}

struct Take {
    requests: Vec<Recorded>,
    texts: Texts,
    /// Every route, and how often it was asked for.
    routes: Vec<(String, u64)>,
    by_route: HashMap<String, u16>,
    by_path: HashMap<(u8, u32), u16>,
    latest: i64,
    out_of_order: u64,
    cleaned: u64,
    whole: bool,
}

impl Default for Take {
    fn default() -> Self {
        Self {
            requests: Vec::new(),
            texts: Texts::default(),
            routes: Vec::new(),
            by_route: HashMap::new(),
            by_path: HashMap::new(),
            latest: i64::MIN,
            out_of_order: 0,
            cleaned: 0,
            whole: true,
        }
    }
}

impl Take {
    fn line(&mut self, line: &Line<'_>) -> Result<(), Stop> {
        if self.requests.len() >= MOST_REQUESTS {
            return Err(Stop::TooMany);
        }
        self.out_of_order += u64::from(line.at_ns < self.latest);
        self.latest = self.latest.max(line.at_ns);
        self.whole &= line.whole_second;
        let clean = without_secrets(&line.path);
        self.cleaned += u64::from(clean != line.path);
        let method = METHODS.iter().position(|m| *m == line.method).unwrap_or(0) as u8;
        let (path, _) = self.texts.put(&clean);
        let (viewer, fresh) = self.texts.put(&line.viewer);
        self.texts.viewers += usize::from(fresh);
        let body = line.body.as_ref().map_or(0, |b| self.texts.put(b).0);
        let endpoint = match self.by_path.get(&(method, path)) {
            Some(route) => *route,
            None => self.route(endpoint(line.method, &clean), (method, path)),
        };
        self.routes[usize::from(endpoint)].1 += 1;
        self.requests.push(Recorded { at_ns: line.at_ns, path, viewer, body, endpoint, method });
        Ok(())
    }

    fn route(&mut self, name: String, path: (u8, u32)) -> u16 {
        let route = match self.by_route.get(&name) {
            Some(route) => *route,
            // A log of scanners has no end of routes.
            None if self.routes.len() >= 10_000 => 0,
            None => {
                self.routes.push((name.clone(), 0));
                self.by_route.insert(name, self.routes.len() as u16 - 1);
                self.routes.len() as u16 - 1
            }
        };
        self.by_path.insert(path, route);
        route
    }
}

/// Spreads the requests of each second evenly over it, in the order of the log.
fn spread_seconds(requests: &mut [Recorded]) {
    for second in requests.chunk_by_mut(|a, b| a.at_ns == b.at_ns) {
        let each = 1_000_000_000 / second.len() as i64;
        for (place, request) in second.iter_mut().enumerate() {
            request.at_ns += each * place as i64 + each / 2;
        }
    }
}

/// Keeps the busiest routes as endpoints; the rest become one.
fn name_routes(requests: &mut [Recorded], routes: Vec<(String, u64)>) -> Vec<String> {
    let mut order: Vec<usize> = (0..routes.len()).collect();
    order.sort_by_key(|n| std::cmp::Reverse(routes[*n].1));
    let kept = if order.len() > MOST_ENDPOINTS { MOST_ENDPOINTS - 1 } else { order.len() };
    let mut place = vec![kept as u16; routes.len()];
    order.iter().take(kept).enumerate().for_each(|(to, from)| place[*from] = to as u16);
    requests.iter_mut().for_each(|r| r.endpoint = place[usize::from(r.endpoint)]);
    let mut names: Vec<String> = order.iter().take(kept).map(|n| routes[*n].0.clone()).collect();
    if kept < order.len() {
        names.push(OTHER.to_owned());
    }
    names
}

fn dues(requests: &[Recorded], speed: f64) -> Result<Arc<[Duration]>, String> {
    let first = requests.first().map_or(0, |r| r.at_ns);
    let (mut last, mut before) = (Duration::ZERO, first);
    let dues = requests.iter().map(|r| {
        let due = Duration::from_secs_f64(r.at_ns.abs_diff(first) as f64 / 1e9 / speed);
        if due.saturating_sub(last) > LONGEST_HOLE {
            let at =
                |ns: i64| jiff::Timestamp::from_nanosecond(i128::from(ns)).map_or("?".to_owned(), |t| t.to_string());
            return Err(format!(
                "nothing happens between {} and {}: cut the log there, or play it faster with --speed",
                at(before),
                at(r.at_ns)
            ));
        }
        (last, before) = (due, r.at_ns);
        Ok(due)
    });
    dues.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn play(log: &str, speed: f64) -> Result<(Tape, Arc<[Duration]>, Reading), LoadError> {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("log");
        std::fs::write(&path, log).expect("written");
        Tape::read(&path, None, speed)
    }

    fn asked(tape: &Tape) -> Vec<String> {
        let mut question = Question::default();
        let lines = (0..tape.requests.len()).map(|i| {
            tape.ask(i as u64, &mut question);
            format!("{} {}", question.viewer, question.line())
        });
        lines.collect()
    }

    fn ms(dues: &[Duration]) -> Vec<u128> {
        dues.iter().map(Duration::as_millis).collect()
    }

    #[test]
    fn gaps_are_kept_lines_out_of_order_sorted_in_and_speed_shrinks_time() {
        let log = r#"{"t": 1751494968.0, "path": "/a/1", "viewer": "ann"}
{"t": 1751494970.5, "path": "/b?token=SECRET", "viewer": "bob"}
{"t": 1751494969.25, "path": "/a/2", "viewer": "ann"}
"#;
        let (tape, dues, reading) = play(log, 1.0).expect("read");
        assert_eq!(ms(&dues), [0, 1250, 2500]);
        assert_eq!(asked(&tape), ["ann GET /a/1", "ann GET /a/2", "bob GET /b"]);
        assert_eq!(tape.endpoints(), ["GET /a/{}", "GET /b"]);
        assert_eq!((reading.out_of_order, reading.cleaned, reading.spread, reading.viewers), (1, 1, false, 2));
        assert_eq!(ms(&play(log, 2.5).expect("read").1), [0, 500, 1000]);
    }

    #[test]
    fn whole_seconds_are_spread_evenly_in_the_order_of_the_log() {
        let line = |second: u32, path: &str| {
            format!("1.1.1.1 - - [10/Oct/2025:13:55:{second} +0000] \"GET {path} HTTP/1.1\" 200 5 \"-\" \"-\"\n")
        };
        let log: String = ["/a", "/b", "/c", "/d"].iter().map(|p| line(36, p)).chain([line(38, "/e")]).collect();
        let (tape, dues, reading) = play(&log, 1.0).expect("read");
        assert_eq!(ms(&dues), [0, 250, 500, 750, 2375]);
        assert_eq!(asked(&tape).last().expect("five"), "1.1.1.1 GET /e");
        assert!(reading.spread);
    }

    #[test]
    fn a_hole_and_an_empty_log_are_refused_with_what_to_do() {
        let hole = "{\"t\": 1751494968.0, \"path\": \"/\"}\n{\"t\": 1751594968.0, \"path\": \"/\"}\n";
        let error = play(hole, 1.0).expect_err("refused").to_string();
        assert!(error.contains("2025-07-02T22:22:48Z and 2025-07-04T02:09:28Z"), "{error}");
        assert!(play(hole, 100.0).is_ok());
        let error = play("{\"t\": 1, \"path\": \"/\", \"method\": \"POST\"}\n", 1.0).expect_err("refused").to_string();
        assert!(error.contains("1 writing requests"), "{error}");
        assert!(play("", 1.0).is_err());
    }

    #[test]
    fn a_body_in_the_log_is_sent_again() {
        let (tape, ..) =
            play("{\"t\": 1, \"path\": \"/v1/events\", \"method\": \"POST\", \"body\": {\"a\": 1}}\n", 1.0)
                .expect("read");
        let mut question = Question::default();
        tape.ask(0, &mut question);
        assert_eq!((question.method, question.body.as_slice()), ("POST", &b"{\"a\":1}"[..]));
    }

    #[test]
    fn a_log_of_scanners_has_a_bounded_number_of_endpoints() {
        let log: String =
            (0..100).map(|i| format!("{{\"t\": 1, \"path\": \"/{}\"}}\n", "x".repeat(i % 60 + 1))).collect();
        let (tape, ..) = play(&log, 1.0).expect("read");
        assert!(tape.endpoints().len() <= MOST_ENDPOINTS);
    }
}
