//! `serin check` against small servers on loopback: what hangs, what lies, what is dead, what is well.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

type Page = Arc<dyn Fn(&str) -> (u16, String) + Send + Sync>;

/// Answers each request with what `page` makes of its path.
fn serve(page: Page) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let page = page.clone();
            std::thread::spawn(move || answer(&stream, &page));
        }
    });
    address
}

fn answer(stream: &TcpStream, page: &Page) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        let mut line = String::new();
        while reader.read_line(&mut line).unwrap_or(0) > 2 {
            line.clear();
        }
        let (status, body) = page(first.split(' ').nth(1).unwrap_or("/"));
        let mut out = stream;
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", body.len());
        if out.write_all((head + &body).as_bytes()).is_err() {
            return;
        }
    }
}

/// Takes connections and never answers.
fn hang() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        let mut held = Vec::new();
        held.extend(listener.incoming());
    });
    address
}

/// An API that is well: it counts what it answers.
fn healthy(more: &'static str) -> Page {
    let asked = AtomicU64::new(1000);
    Arc::new(move |path: &str| {
        if path.starts_with("/v1/") {
            let n = asked.fetch_add(1, Ordering::Relaxed);
            let items: Vec<_> = (0..20)
                .map(|i| serde_json::json!({"item_id": format!("p{}", (n + i) % 50), "channel": "ch-nine"}))
                .collect();
            return (200, serde_json::json!({ "items": items }).to_string());
        }
        if path.starts_with("/health") {
            return (200, "up".to_owned());
        }
        let n = asked.load(Ordering::Relaxed);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs_f64();
        let page = format!(
            "serin_requests_total{{route=\"/v1/recommendations\",status=\"200\"}} {n}\n\
             serin_request_seconds_bucket{{le=\"0.01\"}} {n}\nserin_request_seconds_bucket{{le=\"+Inf\"}} {n}\n\
             serin_store_reads_total{{result=\"ok\"}} {n}\nserin_store_seconds_bucket{{le=\"0.001\"}} {n}\n\
             serin_clock_seconds {now}\nserin_catalogue_built_timestamp_seconds {}\n\
             serin_model_published_timestamp_seconds {}\nserin_ready 1\n{more}",
            now - 600.0,
            now - 600.0,
        );
        (200, page)
    })
}

struct Ran {
    code: i32,
    out: String,
    err: String,
    took: Duration,
}

fn serin(dir: &Path, arguments: &[&str]) -> Ran {
    let began = Instant::now();
    let mut command = Command::new(env!("CARGO_BIN_EXE_serin"));
    let ran = command.current_dir(dir).env("SERIN_HOME", dir.join("home")).args(arguments).output().expect("runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ran { code: ran.status.code().expect("ended"), out: text(ran.stdout), err: text(ran.stderr), took: began.elapsed() }
}

fn target(url: &str, more: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    let text =
        format!("[targets.api]\nurl = \"{url}\"\n[targets.api.watch]\nviewers = [\"v1\", \"v2\", \"v3\"]\n{more}");
    std::fs::write(dir.path().join("serin.toml"), text).expect("written");
    dir
}

fn document(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {} {}", ran.out, ran.err))
}

fn state(document: &Value, name: &str) -> String {
    let checks = document["checks"].as_array().expect("checks");
    let check = checks.iter().find(|c| c["name"] == name).unwrap_or_else(|| panic!("no check {name}"));
    check["state"].as_str().expect("a state").to_owned()
}

#[test]
fn a_healthy_target_is_go_and_its_document_is_whole() {
    let dir = target(&format!("http://{}", serve(healthy(""))), "");
    let ran = serin(dir.path(), &["check", "--target", "api", "--json"]);
    let document = document(&ran);
    assert_eq!(
        (ran.code, &document["schema"], &document["verdict"]),
        (0, &"serin.check/1".into(), &"go".into()),
        "{document:#}"
    );
    assert_eq!(document["checks"].as_array().expect("checks").len(), 15);
    assert_eq!(document["findings"], serde_json::json!([]));
    for name in ["user-errors", "user-latency", "probe", "catalogue", "freshness", "authentication"] {
        assert_eq!(state(&document, name), "ok", "{name}: {document:#}");
    }
    assert_eq!(state(&document, "cost"), "not-configured");
    assert!(ran.took < Duration::from_secs(10), "{:?}", ran.took);
    let folder = document["run"].as_str().expect("a run");
    let page = std::fs::read_to_string(dir.path().join(folder).join("incident.md")).expect("a page");
    assert!(page.starts_with("# serin check · api · ✓ GO"), "{page}");
}

#[test]
fn everything_hanging_is_cannot_tell_within_a_minute() {
    let hanging = hang();
    let dir = target(&format!("http://{hanging}"), &format!("prometheus = \"http://{hanging}\"\n"));
    let ran = serin(dir.path(), &["check", "--target", "api", "--json"]);
    let document = document(&ran);
    assert_eq!((ran.code, &document["verdict"]), (3, &"cannot-tell".into()), "{document:#}");
    assert!(ran.took < Duration::from_secs(60), "{:?}", ran.took);
    let well = document["checks"].as_array().expect("checks").iter().filter(|c| c["state"] == "ok").count();
    assert!(well <= 1, "only what our own journals say may be well: {document:#}");
}

#[test]
fn nobody_listening_is_cannot_tell_and_unknown_for_nagios() {
    let gone = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let dir = target(&format!("http://{gone}"), "");
    let ran = serin(dir.path(), &["check", "--target", "api"]);
    assert_eq!(ran.code, 3, "{}{}", ran.out, ran.err);
    let ran = serin(dir.path(), &["check", "--target", "api", "--nagios"]);
    assert_eq!((ran.code, ran.out.lines().count()), (3, 1), "{}", ran.out);
    assert!(ran.out.starts_with("SERIN UNKNOWN - ") && ran.out.contains(" | "), "{}", ran.out);
    let ran = serin(dir.path(), &["check", "--target", "nobody", "--nagios"]);
    assert_eq!(ran.code, 3, "{}", ran.out);
    let ran = serin(dir.path(), &["check", "--target", "appi"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("did you mean `api`?"), "{}", ran.err);
}

#[test]
fn metrics_that_are_a_web_page_are_a_finding_of_their_own() {
    let well = healthy("");
    let page: Page = Arc::new(move |path| match path {
        "/metrics" => (200, "<html>Sign in</html>".to_owned()),
        path => well(path),
    });
    let dir = target(&format!("http://{}", serve(page)), "");
    let ran = serin(dir.path(), &["check", "--target", "api", "--json"]);
    let document = document(&ran);
    assert_eq!((ran.code, &document["findings"][0]["cause"]), (1, &"metrics-dead".into()), "{document:#}");
    assert!(document["findings"][0]["because"].as_str().expect("text").contains("web page"), "{document:#}");
    assert_eq!(state(&document, "user-errors"), "unknown");
    assert_eq!(state(&document, "probe"), "ok");
    let ran = serin(dir.path(), &["check", "--target", "api", "--config-only"]);
    assert_eq!(ran.code, 3, "{}", ran.out);
    assert!(ran.out.contains("✓ health of api answers") && ran.out.contains("web page"), "{}", ran.out);
}

#[test]
fn a_typing_error_in_the_file_names_line_column_and_the_right_key() {
    let dir = target("http://127.0.0.1:1", "runbok = \"x\"\n");
    let ran = serin(dir.path(), &["check", "--target", "api"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("serin.toml:5:1: unknown key `runbok`; did you mean `runbook`?"), "{}", ran.err);
}

#[test]
fn errors_without_a_known_cause_are_told_by_their_name() {
    let well = healthy("");
    let failed = AtomicU64::new(0);
    let page: Page = Arc::new(move |path| {
        if path.starts_with("/v1/") {
            failed.fetch_add(1, Ordering::Relaxed);
            return (500, "no".to_owned());
        }
        let (status, mut body) = well(path);
        if path == "/metrics" {
            body += &format!("serin_requests_total{{status=\"500\"}} {}\n", failed.load(Ordering::Relaxed));
        }
        (status, body)
    });
    let dir = target(&format!("http://{}", serve(page)), "runbook = \"https://wiki/7\"\nowner = \"recs-platform\"\n");
    let ran = serin(dir.path(), &["check", "--target", "api", "--json"]);
    let document = document(&ran);
    assert_eq!((ran.code, &document["findings"][0]["cause"]), (1, &"errors".into()), "{document:#}");
    let acts = document["findings"][0]["do"].to_string();
    assert!(acts.contains("https://wiki/7") && acts.contains("recs-platform"), "{acts}");
    let ran = serin(dir.path(), &["check", "--target", "api", "--nagios"]);
    assert_eq!(ran.code, 2, "{}", ran.out);
}

#[test]
fn a_watch_tells_a_line_a_moment_and_what_is_usual_is_known_after_it() {
    let dir = target(&format!("http://{}", serve(healthy(""))), "");
    let ran = serin(dir.path(), &["watch", "--target", "api", "--every", "1s", "--duration", "3s", "--json"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let moments: Vec<Value> = ran.out.lines().map(|l| serde_json::from_str(l).expect("a JSON line")).collect();
    assert!(moments.len() >= 2, "{}", ran.out);
    assert_eq!((&moments[0]["schema"], &moments[0]["up"]), (&"serin.watch/1".into(), &1.into()));
    assert_eq!(moments[0]["errors"], Value::Null, "nobody asked for anything: not known, never zero");
    let kept = std::fs::read_to_string(dir.path().join("home/history/api.jsonl")).expect("kept");
    assert_eq!(kept.lines().count(), moments.len());
}

#[test]
fn an_alert_is_told_once_for_each_trouble() {
    let gone = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let dir = target(&format!("http://{gone}"), "");
    let ran = serin(
        dir.path(),
        &["watch", "--target", "api", "--every", "1s", "--duration", "3s", "--alert", "cat >> alerts"],
    );
    assert_eq!(ran.code, 3, "{}{}", ran.out, ran.err);
    assert_eq!(ran.err.matches("1 of 1 instances do not answer").count(), 1, "{}", ran.err);
    assert!(ran.out.lines().count() >= 2 && ran.out.contains("rate ?"), "{}", ran.out);
}

#[test]
fn init_writes_a_file_that_check_understands() {
    let dir = tempfile::tempdir().expect("a folder");
    let url = format!("http://{}", serve(healthy("")));
    let ran = serin(dir.path(), &["init", "--name", "staging", "--url", &url, "--viewer", "v1"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let ran = serin(dir.path(), &["check", "--target", "staging", "--config-only"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let ran = serin(dir.path(), &["init", "--name", "staging", "--url", &url]);
    assert_eq!(ran.code, 2, "a file that is there is not lost");
    let ran = serin(dir.path(), &["init", "--name", "other"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
}

#[test]
fn a_target_that_wants_a_token_nobody_gave_us_is_not_taken_for_a_rotated_key() {
    let well = healthy("");
    let refused = AtomicU64::new(0);
    let page: Page = Arc::new(move |path| {
        if path.starts_with("/v1/") {
            refused.fetch_add(1, Ordering::Relaxed);
            return (401, "no token".to_owned());
        }
        let (status, mut body) = well(path);
        if path == "/metrics" {
            body += &format!("serin_requests_total{{status=\"401\"}} {}\n", refused.load(Ordering::Relaxed));
        }
        (status, body)
    });
    let dir = target(&format!("http://{}", serve(page)), "");
    let ran = serin(dir.path(), &["check", "--target", "api", "--json"]);
    let document = document(&ran);
    assert_eq!((ran.code, &document["findings"]), (0, &serde_json::json!([])), "{document:#}");
    assert_eq!(state(&document, "probe"), "not-configured");
}

#[test]
fn a_prometheus_that_answers_a_web_page_says_so_and_the_others_go_on() {
    let page: Page = Arc::new(|_| (200, "<!DOCTYPE html><title>Sign in</title>".to_owned()));
    let prometheus = serve(page);
    let dir = target(&format!("http://{}", serve(healthy(""))), &format!("prometheus = \"http://{prometheus}\"\n"));
    let ran = serin(dir.path(), &["check", "--target", "api", "--json"]);
    let document = document(&ran);
    let spots = document["checks"].as_array().expect("checks").iter().find(|c| c["name"] == "blind-spots");
    assert!(spots.expect("asked")["seen"].as_str().expect("text").contains("web page"), "{document:#}");
    assert_eq!((state(&document, "probe"), state(&document, "user-errors")), ("ok".to_owned(), "ok".to_owned()));
}

#[test]
fn clocks_that_are_minutes_apart_are_a_finding() {
    let well = healthy("");
    let page: Page = Arc::new(move |path| {
        let (status, body) = well(path);
        let ahead = |line: &str| match line.strip_prefix("serin_clock_seconds ") {
            Some(now) => format!("serin_clock_seconds {}\n", now.parse::<f64>().expect("a number") + 300.0),
            None => format!("{line}\n"),
        };
        (status, if path == "/metrics" { body.lines().map(ahead).collect() } else { body })
    });
    let dir = target(&format!("http://{}", serve(page)), "");
    let ran = serin(dir.path(), &["check", "--target", "api", "--json"]);
    let document = document(&ran);
    assert_eq!((ran.code, &document["findings"][0]["cause"]), (1, &"clock-skew".into()), "{document:#}");
    assert!(document["findings"][0]["because"].as_str().expect("text").contains("5 min ahead"), "{document:#}");
}

#[test]
fn deploys_are_told_as_what_changed_and_who_cannot_tell_is_a_blind_spot() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let more = "deploys = \"deploys.log\"\ndeploys_command = \"exit 3\"\n";
    let dir = target(&format!("http://{}", serve(healthy(""))), more);
    std::fs::write(dir.path().join("deploys.log"), format!("{} api 4.2 went out\n", now - 60)).expect("written");
    let ran = serin(dir.path(), &["check", "--target", "api", "--json"]);
    let document = document(&ran);
    let told = document["changes"].as_array().expect("changes").iter().find(|c| c["source"] == "deploy");
    assert_eq!(told.expect("told")["text"], "api 4.2 went out", "{document:#}");
    assert_eq!((ran.code, state(&document, "blind-spots")), (0, "bad".to_owned()), "{document:#}");
}

#[test]
fn an_alert_is_posted_once_and_once_more_when_it_is_over() {
    let heard = Arc::new(std::sync::Mutex::new(Vec::<Value>::new()));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let hook = format!("http://{}/hook", listener.local_addr().expect("bound"));
    let kept = Arc::clone(&heard);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(&stream);
            let (mut line, mut length) = (String::new(), 0);
            while reader.read_line(&mut line).unwrap_or(0) > 2 {
                if let Some(n) = line.to_lowercase().strip_prefix("content-length:") {
                    length = n.trim().parse().unwrap_or(0);
                }
                line.clear();
            }
            let mut body = vec![0; length];
            if std::io::Read::read_exact(&mut reader, &mut body).is_ok() {
                kept.lock().expect("whole").extend(serde_json::from_slice(&body));
            }
            let _ = (&stream).write_all(b"HTTP/1.1 204 X\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        }
    });
    // Down for its first looks, then up.
    let well = healthy("");
    let looks = AtomicU64::new(0);
    let page: Page = Arc::new(move |path| match path {
        "/health/live" if looks.fetch_add(1, Ordering::Relaxed) < 2 => (503, "no".to_owned()),
        path => well(path),
    });
    let dir = target(&format!("http://{}", serve(page)), "");
    let words = ["watch", "--target", "api", "--every", "1s", "--duration", "6s", "--webhook", &hook];
    let ran = serin(dir.path(), &words);
    let told: Vec<String> =
        heard.lock().expect("whole").iter().map(|v| v["alert"].as_str().expect("text").to_owned()).collect();
    assert_eq!(told, ["1 of 1 instances do not answer", "over: 1 of 1 instances do not answer"], "{}", ran.err);
}

/// Answers each question that a program asks in a terminal of its own; returns everything that was shown, and its code.
fn in_a_terminal(dir: &Path, words: &[&str], answers: &[(&str, &str)]) -> (String, u32) {
    use portable_pty::{CommandBuilder, PtySize, native_pty_system};
    let pair = native_pty_system().openpty(PtySize { rows: 30, cols: 100, pixel_width: 0, pixel_height: 0 });
    let pair = pair.expect("a pseudo-terminal");
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_serin"));
    command.args(words);
    command.cwd(dir);
    command.env("SERIN_HOME", dir.join("home"));
    let mut child = pair.slave.spawn_command(command).expect("started");
    drop(pair.slave);
    let mut from = pair.master.try_clone_reader().expect("a reader");
    let mut keys = pair.master.take_writer().expect("a writer");
    let shown = Arc::new(std::sync::Mutex::new(String::new()));
    let kept = Arc::clone(&shown);
    let reader = std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(n @ 1..) = std::io::Read::read(&mut from, &mut bytes) {
            kept.lock().expect("whole").push_str(&String::from_utf8_lossy(&bytes[..n]));
        }
    });
    for (question, answer) in answers {
        let began = Instant::now();
        while !shown.lock().expect("whole").contains(question) {
            assert!(began.elapsed() < Duration::from_secs(30), "{question}: {}", shown.lock().expect("whole"));
            std::thread::sleep(Duration::from_millis(10));
        }
        keys.write_all(format!("{answer}\n").as_bytes()).expect("typed");
    }
    let code = child.wait().expect("ended").exit_code();
    drop((keys, pair.master));
    reader.join().expect("read");
    let shown = shown.lock().expect("whole").clone();
    (shown, code)
}

#[test]
fn init_asks_at_a_terminal_and_what_it_writes_is_checked() {
    let dir = tempfile::tempdir().expect("a folder");
    let url = format!("http://{}", serve(healthy("")));
    let answers = [
        ("What is the target called? [staging]", ""),
        ("Where does it answer?", url.as_str()),
        ("secret of its tokens?", ""),
        ("Which Prometheus", ""),
        ("In which AWS region", ""),
        ("Which DynamoDB table", ""),
        ("Which load balancer", ""),
        ("Which Personalize campaign", ""),
        ("opened at night?", "https://wiki.example.org/recs"),
        ("Who is to be called?", "recs-platform"),
        ("known to have a list?", "v1, v2,v3"),
    ];
    let (shown, code) = in_a_terminal(dir.path(), &["init"], &answers);
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("next: serin check --target staging --config-only"), "{shown}");
    let text = std::fs::read_to_string(dir.path().join("serin.toml")).expect("written");
    assert!(
        text.contains("viewers = [\"v1\", \"v2\", \"v3\"]") && text.contains("\nowner = \"recs-platform\""),
        "{text}"
    );
    let ran = serin(dir.path(), &["check", "--target", "staging", "--config-only"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let ran = serin(dir.path(), &["check", "--target", "staging", "--json"]);
    assert_eq!((ran.code, state(&document(&ran), "probe")), (0, "ok".to_owned()), "{}", ran.out);
}

#[test]
fn who_scores_live_has_no_store_to_be_asked_of() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let well = healthy("serin_keys_since_timestamp_seconds 1\n");
    let page: Page = Arc::new(move |path| {
        let (status, body) = well(path);
        // Nothing was ever read, nor published: the model itself is what answers.
        let kept = body.lines().filter(|l| !l.starts_with("serin_store_") && !l.contains("published"));
        let kept: String = kept.map(|l| format!("{l}\n")).collect();
        let more = format!(
            "serin_store_used 0\nserin_store_reads_total{{result=\"ok\"}} 0\nserin_model_trained_timestamp_seconds {}\n",
            now - 5400
        );
        (status, if path == "/metrics" { kept + &more } else { body })
    });
    let dir = target(&format!("http://{}", serve(page)), "");
    let ran = serin(dir.path(), &["check", "--target", "api", "--json"]);
    let document = document(&ran);
    let states = ["store-throttling", "store-latency", "freshness"].map(|name| state(&document, name));
    assert_eq!((ran.code, states), (0, ["not-configured", "not-configured", "ok"].map(str::to_owned)), "{document:#}");
    let one = |name: &str| {
        let checks = document["checks"].as_array().expect("checks");
        checks.iter().find(|c| c["name"] == name).and_then(|c| c["seen"].as_str()).expect("told").to_owned()
    };
    assert!(one("freshness").starts_with("model trained 90 min ago"), "{}", one("freshness"));
    assert!(one("authentication").contains("keys in force for"), "{}", one("authentication"));
    assert!(
        one("list-quality").contains("different programmes for 3 viewers")
            || state(&document, "list-quality") == "unknown"
    );
    let unknown = document["checks"].as_array().expect("checks").iter().filter(|c| c["state"] == "unknown").count();
    assert_eq!(unknown, 0, "{document:#}");
}
