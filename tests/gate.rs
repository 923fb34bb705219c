//! serin limit, replay, gate, report and help, on loopback, against a server whose truth is known.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Answers after `delay`, up to `quota` a second; then 429. Keeps what it was asked, in order.
struct Server {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

fn serve(delay: Duration, quota: f64) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let asked = Arc::new(Mutex::new(Vec::new()));
    let bucket = Arc::new(Mutex::new((quota * 0.1, Instant::now())));
    let kept = Arc::clone(&asked);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (asked, bucket) = (Arc::clone(&kept), Arc::clone(&bucket));
            thread::spawn(move || answer(stream, delay, quota, &asked, &bucket));
        }
    });
    Server { url, asked }
}

fn answer(mut to: TcpStream, delay: Duration, quota: f64, asked: &Mutex<Vec<String>>, bucket: &Mutex<(f64, Instant)>) {
    let Ok(from) = to.try_clone() else { return };
    let _ = to.set_nodelay(true);
    let mut first = None;
    for line in BufReader::new(from).lines() {
        let Ok(line) = line else { return };
        if !line.is_empty() {
            first.get_or_insert(line);
            continue;
        }
        asked.lock().expect("kept").push(first.take().unwrap_or_default());
        let good = {
            let mut bucket = bucket.lock().expect("counted");
            let now = Instant::now();
            bucket.0 = (bucket.0 + (now - bucket.1).as_secs_f64() * quota).min(quota * 0.1);
            bucket.1 = now;
            let good = bucket.0 >= 1.0;
            bucket.0 -= f64::from(u8::from(good));
            good
        };
        thread::sleep(delay);
        let status = if good { "200 OK" } else { "429 Too Many Requests" };
        if write!(to, "HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n{{}}").is_err() {
            return;
        }
    }
}

fn serin(home: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_serin"));
    command.args(words).current_dir(home).env("SERIN_HOME", home.join("home")).env_remove("GITHUB_ACTIONS");
    command.output().expect("serin runs")
}

fn json(output: &Output) -> serde_json::Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}\n{}", String::from_utf8_lossy(&output.stderr)))
}

/// One load at a time: two at once on a small machine are late through each other, and each says so.
static MACHINE: Mutex<()> = Mutex::new(());

/// Tries until `once` is content, for three minutes at most: what a busy machine spoiled "cannot tell", and is asked again.
fn until_told<T>(once: impl Fn() -> Result<T, String>) -> T {
    let _alone = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    let begin = Instant::now();
    let mut pause = Duration::from_secs(1);
    loop {
        match once() {
            Ok(told) => return told,
            Err(why) if begin.elapsed() > Duration::from_secs(180) => panic!("this machine was too busy: {why}"),
            Err(_) => thread::sleep(pause),
        }
        pause = (pause * 2).min(Duration::from_secs(10));
    }
}

/// A document that could tell, with its exit code; what could not tell is worth another try.
fn judged(output: &Output) -> Result<(Option<i32>, serde_json::Value), String> {
    let document = json(output);
    if document["verdict"] == "cannot-tell" {
        assert_eq!(output.status.code(), Some(3), "{document}");
        return Err(document["reason"].to_string());
    }
    Ok((output.status.code(), document))
}

const SCENARIO: &str = r#"
name = "short"
[[stage]]
shape = "constant"
rate = 150
for = "8s"
[[request]]
get = "/v1/popular"
[[objective]]
expression = "errors < 1%"
"#;

#[test]
fn a_log_is_played_again_in_order_without_its_secrets() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = serve(Duration::ZERO, 1e9);
    let log: String = (0..100)
        .map(|n| {
            format!(
                "{{\"time\": {:.3}, \"path\": \"/v1/popular?n={n}&token=S3CRET{n}\"}}\n",
                1.75e9 + f64::from(n) / 100.0
            )
        })
        .collect();
    std::fs::write(dir.path().join("log.jsonl"), format!("{log}{{\"time\": 17500")).expect("written");
    let output =
        serin(dir.path(), &["replay", "log.jsonl", "--url", &server.url, "--json", "--objective", "errors < 1%"]);
    let document = json(&output);
    assert_eq!(document["replay"]["requests"], 100);
    assert_eq!(document["replay"]["left_out"]["cut"], 1);
    assert_eq!(document["replay"]["secrets_removed"], 100);
    assert!(document["replay"]["gap_error_p99_ms"].is_number());
    let asked = server.asked.lock().expect("kept").clone();
    let wanted: Vec<String> = (0..100).map(|n| format!("GET /v1/popular?n={n} HTTP/1.1")).collect();
    let mut sorted = asked.clone();
    sorted.sort();
    let mut all = wanted.clone();
    all.sort();
    assert_eq!(sorted, all);
    let run = dir.path().join(document["run"].as_str().expect("a run"));
    for file in std::fs::read_dir(&run).expect("a folder").flatten() {
        let mut bytes = std::fs::read(file.path()).expect("readable");
        if file.path().extension().is_some_and(|e| e == "gz") {
            let mut text = Vec::new();
            let _ = std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(bytes.as_slice()), &mut text);
            bytes = text;
        }
        assert!(!bytes.windows(6).any(|w| w == b"S3CRET"), "{} holds a secret", file.path().display());
    }
}

#[test]
fn a_gate_refuses_another_baseline_and_finds_a_slower_target() {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("short.toml"), SCENARIO).expect("written");
    std::fs::write(dir.path().join("other.toml"), SCENARIO.replace("rate = 150", "rate = 140")).expect("written");
    let (fast, slow) = (serve(Duration::from_millis(10), 1e9), serve(Duration::from_millis(200), 1e9));
    // Both sides anew at each try: a baseline that a busy machine slowed down is none.
    let (run, code, document) = until_told(|| {
        let (_, first) = judged(&serin(dir.path(), &["gate", "short.toml", "--url", &fast.url, "--json"]))?;
        assert!(first.get("comparison").is_none());
        let run = first["run"].as_str().expect("a run").to_owned();
        let words = ["gate", "short.toml", "--url", &slow.url, "--baseline", &run, "--json"];
        let (code, second) = judged(&serin(dir.path(), &words))?;
        Ok((run, code, second))
    });
    assert_eq!(document["comparison"]["verdict"], "slower", "{document}");
    assert_eq!((code, document["verdict"].as_str()), (Some(1), Some("no")));
    assert!(dir.path().join(&run).join("junit.xml").is_file());
    let refused = serin(dir.path(), &["gate", "other.toml", "--url", &fast.url, "--baseline", &run]);
    assert_eq!(refused.status.code(), Some(2), "{}", String::from_utf8_lossy(&refused.stderr));
}

#[test]
fn runs_that_are_no_shards_of_one_load_do_not_merge() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = serve(Duration::ZERO, 1e9);
    let load = |seed: &str, shard: &str| {
        let words = [
            "load",
            "--url",
            &server.url,
            "--rate",
            "100",
            "--duration",
            "2s",
            "--seed",
            seed,
            "--shard",
            shard,
            "--json",
        ];
        let _alone = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
        json(&serin(dir.path(), &words))["run"].as_str().expect("a run").to_owned()
    };
    let (a, b, other) = (load("7", "1/2"), load("7", "2/2"), load("8", "2/2"));
    assert_eq!(serin(dir.path(), &["report", "merge", &a, &other]).status.code(), Some(2));
    assert_eq!(serin(dir.path(), &["report", "merge", &a, &a]).status.code(), Some(2));
    let merged = json(&serin(dir.path(), &["report", "merge", &a, &b, "--json"]));
    assert_eq!((merged["requests"].as_u64(), merged["schema"].as_str()), (Some(200), Some("serin.load/1")));
    let list = json(&serin(dir.path(), &["report", "list", "--json"]));
    assert_eq!(list["runs"].as_array().map(Vec::len), Some(4));
}

#[test]
fn a_limit_below_the_lowest_rate_is_no_and_nobody_there_is_cannot_tell() {
    let dir = tempfile::tempdir().expect("a folder");
    let shut = serve(Duration::ZERO, 20.0);
    let words = [
        "limit",
        "--url",
        &shut.url,
        "--objective",
        "errors < 1%",
        "--from",
        "200",
        "--to",
        "400",
        "--step",
        "2s",
        "--json",
    ];
    let (code, document) = until_told(|| judged(&serin(dir.path(), &words)));
    assert_eq!((code, document["broke_by"].as_str()), (Some(1), Some("quota")), "{document}");
    assert!(document["limit_rate"].is_null());
    let nobody = serin(dir.path(), &["limit", "--url", "http://127.0.0.1:1", "--objective", "errors < 1%"]);
    assert_eq!(nobody.status.code(), Some(3));
}

#[test]
fn help_has_its_topics_a_manual_and_completions() {
    let dir = tempfile::tempdir().expect("a folder");
    let says = |words: &[&str], part: &str| {
        let output = serin(dir.path(), words);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.contains(part), "{words:?}: {text}");
    };
    says(&["help"], "Topics");
    says(&["help", "keys"], "Everywhere");
    says(&["help", "schemas"], "serin.limit/1");
    says(&["help", "scenarios"], "[[stage]]");
    says(&["help", "objectives"], "in time > 99%");
    says(&["help", "exit", "codes"], "cannot tell");
    says(&["help", "man"], ".TH serin");
    says(&["help", "completions", "bash"], "complete -F _serin");
    says(&["help", "report", "merge"], "shards");
    let wrong = serin(dir.path(), &["help", "scenarois"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("did you mean `scenarios`"));
}
