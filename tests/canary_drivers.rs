//! Drivers and sources against small servers of ours: the three calls of an HTTPRoute, a Prometheus, pages of metrics.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};
use serin::canary::driver::Driver;
use serin::canary::plan::Plan;
use serin::canary::source::Source;
use serin::canary::{drivers, sources};

struct Asked {
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    body: String,
}

type Answer = Box<dyn Fn(&Asked) -> (u16, String) + Send + Sync>;

/// Serves until the process ends; returns its address.
fn server(answer: Answer) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("bound").to_string();
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            thread::spawn(move || serve(stream, &answer));
        }
    });
    at
}

fn serve(mut stream: TcpStream, answer: &Answer) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
        let mut words = line.split_whitespace().map(str::to_owned);
        let (method, path) = (words.next()?, words.next()?);
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim().split_once(": ") else { break };
            headers.insert(name.to_lowercase(), value.to_owned());
        }
        let length = headers.get("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let asked = Asked { method, path, headers, body: String::from_utf8(body).ok()? };
        let (status, text) = answer(&asked);
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", text.len());
        stream.write_all((head + &text).as_bytes()).ok()?;
    }
}

const STAGES: &str = "[[stage]]\nshare='10%'\nhold='10s'\n";

fn driver(text: &str) -> Box<dyn Driver> {
    let plan = Plan::parse("p", text).expect("reads");
    drivers::open(&plan, Path::new(".")).expect("opens")
}

fn source(numbers: &str) -> Box<dyn Source> {
    let text = format!(
        "[canary]\ntarget='t'\ndriver='command'\n{STAGES}[command]\nset=['true']\nread=['true']\n[numbers]\n{numbers}\n"
    );
    let plan = Plan::parse("p", &text).expect("reads");
    sources::open(&plan, Path::new("."), None).expect("opens")
}

/// A Gateway API that keeps one route and refuses to write over a version that it does not have.
fn route(others: usize) -> (String, Arc<Mutex<Value>>) {
    let backends = json!([{"name": "old", "port": 80, "weight": 1}, {"name": "new", "port": 80, "weight": 0}]);
    let route = json!({"metadata": {"name": "recs", "resourceVersion": "7"}, "spec": {"hostnames": ["x"],
        "rules": [{"matches": [{"path": {"value": "/v1"}}], "backendRefs": backends}, {"backendRefs": [{"name": "web"}]}]}});
    let kept = Arc::new(Mutex::new(route));
    let (world, left) = (Arc::clone(&kept), Mutex::new(others));
    let answer = move |asked: &Asked| {
        let mut route = world.lock().expect("kept");
        assert_eq!(asked.path, "/apis/gateway.networking.k8s.io/v1/namespaces/tv/httproutes/recs");
        if asked.headers.get("authorization").map(String::as_str) != Some("Bearer sesame") {
            return (401, "{\"message\": \"Unauthorized\"}".to_owned());
        }
        if asked.method == "GET" {
            return (200, route.to_string());
        }
        assert_eq!(asked.headers["content-type"], "application/merge-patch+json");
        let patch: Value = serde_json::from_str(&asked.body).expect("JSON");
        let mut left = left.lock().expect("kept");
        if *left > 0 {
            // Somebody else writes between the reading and the writing.
            *left -= 1;
            route["metadata"]["resourceVersion"] = format!("9{left}").into();
        }
        if patch["metadata"]["resourceVersion"] != route["metadata"]["resourceVersion"] {
            return (409, "{\"reason\": \"Conflict\"}".to_owned());
        }
        route["spec"]["rules"] = patch["spec"]["rules"].clone();
        route["metadata"]["resourceVersion"] = "8".into();
        (200, route.to_string())
    };
    (server(Box::new(answer)), kept)
}

fn route_plan(at: &str, token: &Path) -> String {
    format!(
        "[canary]\ntarget='t'\ndriver='httproute'\n{STAGES}[httproute]\napi='http://{at}'\nnamespace='tv'\nname='recs'\n\
         baseline='old'\ncanary='new'\ntoken_file='{}'\n[numbers]\nfrom='command'\nprint=['true']\n",
        token.display()
    )
}

#[test]
fn an_httproute_is_weighed_by_a_patch_of_the_version_that_was_read() {
    let dir = tempfile::tempdir().expect("a folder");
    let token = dir.path().join("token");
    std::fs::write(&token, "sesame\n").expect("written");
    let (at, kept) = route(2);
    let mut driver = driver(&route_plan(&at, &token));
    assert_eq!(driver.read(), Ok(0.0));
    for share in [0.1, 0.3, 1.0, 0.0] {
        driver.set(share).expect("set, though somebody else wrote twice meanwhile");
        assert!((driver.read().expect("read") - share).abs() < 1e-9, "{share}");
    }
    let route = kept.lock().expect("kept");
    assert_eq!(route["spec"]["rules"][1]["backendRefs"][0]["name"], "web", "other rules stay");
    assert_eq!(route["spec"]["rules"][0]["matches"][0]["path"]["value"], "/v1");
}

#[test]
fn a_route_that_is_fought_over_or_forbidden_says_so() {
    let dir = tempfile::tempdir().expect("a folder");
    let token = dir.path().join("token");
    std::fs::write(&token, "sesame").expect("written");
    let (at, _) = route(99);
    let mut fought = driver(&route_plan(&at, &token));
    let error = fought.set(0.1).expect_err("never its turn").to_string();
    assert!(error.contains("somebody else changed the route"), "{error}");
    std::fs::write(&token, "guess").expect("written");
    let error = fought.read().expect_err("forbidden").to_string();
    assert!(error.contains("HTTPRoute tv/recs: status 401"), "{error}");
}

/// A page as the API's own, after so many requests of which so many failed.
fn page(requests: u64, failed: u64) -> String {
    let (well, half) = (requests - failed, requests / 2);
    let mut page = format!("serin_requests_total{{route=\"/v1/popular\",status=\"200\"}} {well}\n");
    if failed > 0 {
        page.push_str(&format!("serin_requests_total{{route=\"/v1/popular\",status=\"500\"}} {failed}\n"));
    }
    for (le, n) in [("0.001", half), ("+Inf", requests)] {
        page.push_str(&format!("serin_request_seconds_bucket{{route=\"/v1/popular\",le=\"{le}\"}} {n}\n"));
    }
    page
}

#[test]
fn pages_of_instances_become_sides_and_a_restart_is_a_gap() {
    let now = Arc::new(Mutex::new((1000_u64, 0_u64)));
    let told = Arc::clone(&now);
    let at = server(Box::new(move |asked| {
        let (requests, failed) = *told.lock().expect("kept");
        match asked.path.as_str() {
            "/new" => (200, page(requests / 10, failed)),
            "/page" => (200, "<html>log in</html>".to_owned()),
            _ => (200, page(requests, 0)),
        }
    }));
    let numbers = |canary: &str| {
        format!("from='metrics'\nbaseline=['http://{at}/a','http://{at}/b']\ncanary=['http://{at}/{canary}']")
    };
    let mut pages = source(&numbers("new"));
    assert!(pages.take().is_err_and(|e| e.contains("first time")));
    *now.lock().expect("kept") = (3000, 7);
    let interval = pages.take().expect("numbers").interval;
    let (baseline, canary) = (interval.baseline.expect("told"), interval.canary.expect("told"));
    assert_eq!((baseline.requests, interval.slices.len()), (4000.0, 2));
    assert_eq!((canary.requests, canary.errors, canary.timed()), (200.0, 7.0, 200.0));
    *now.lock().expect("kept") = (100, 0);
    assert!(pages.take().is_err_and(|e| e.contains("started again")));
    let mut foreign = source(&numbers("page"));
    let _ = foreign.take();
    assert!(foreign.take().is_err_and(|e| e.contains("web page")));
}

#[test]
fn prometheus_is_asked_for_ranges_and_its_gaps_stay_gaps() {
    let now = Arc::new(Mutex::new((1000_u64, "up")));
    let told = Arc::clone(&now);
    let at = server(Box::new(move |asked| {
        let (requests, state) = *told.lock().expect("kept");
        if state == "down" {
            return (503, "no".to_owned());
        }
        let query = asked.path.strip_prefix("/api/v1/query_range?").filter(|_| asked.method == "GET").expect("a range");
        let field = |name: &str| query.split('&').find_map(|p| p.strip_prefix(name)).expect("a field").to_owned();
        let end: f64 = field("end=").parse().expect("a time");
        let canary = query.contains("v2");
        let instances: &[&str] = if canary { &["c:1"] } else { &["a:1", "b:1"] };
        let row = |instance: &&str| {
            let value = (requests / if canary { 10 } else { 1 }).to_string();
            // A hole in the middle of the range, and nothing new while the scrape is down.
            let at = if state == "stale" { end - 15.0 } else { end };
            json!({"metric": {"__name__": "serin_requests_total", "instance": instance, "status": "200"},
                   "values": [[at, value]]})
        };
        let rows: Vec<Value> = instances.iter().map(row).collect();
        (200, json!({"status": "success", "data": {"resultType": "matrix", "result": rows}}).to_string())
    }));
    let numbers =
        format!("from='prometheus'\nurl='http://{at}'\nbaseline=['version=\"v1\"']\ncanary=['version=\"v2\"']");
    let mut prometheus = source(&numbers);
    assert_eq!(prometheus.every().as_secs(), 15);
    let mut ask = |requests: u64, state: &'static str| {
        *now.lock().expect("kept") = (requests, state);
        // Each moment is counted once: the next one has to come.
        thread::sleep(std::time::Duration::from_millis(1100));
        prometheus.take()
    };
    assert!(ask(1000, "up").is_err_and(|e| e.contains("first time")));
    let interval = ask(3000, "up").expect("numbers").interval;
    assert_eq!(interval.baseline.map(|b| b.requests), Some(4000.0));
    assert_eq!((interval.canary.map(|c| c.requests), interval.slices.len()), (Some(200.0), 2));
    assert!(ask(3000, "up").is_err_and(|e| e.contains("no counter moved")), "never zeros");
    assert!(ask(4000, "stale").is_err_and(|e| e.contains("no such series")));
    assert!(ask(4000, "down").is_err_and(|e| e.contains("503")));
    assert!(ask(4000, "up").is_err_and(|e| e.contains("first time")), "what was missed stays missed");
    assert!(ask(500, "up").is_err_and(|e| e.contains("started again")));
    assert_eq!(ask(1500, "up").expect("numbers again").interval.baseline.map(|b| b.requests), Some(2000.0));
}
