//! Watching through a real Prometheus: its ranges become ours, and when it is gone the rest goes on.
#![cfg(feature = "real-servers")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serin(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_serin"));
    command.current_dir(dir).env("SERIN_HOME", dir.join("home")).env("SERIN_JWT_SECRET", SECRET).args(arguments);
    command
}

fn ran(dir: &Path, arguments: &[&str]) -> Output {
    serin(dir, arguments).output().expect("runs")
}

fn get(address: &str, path: &str, token: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    let head = format!("GET {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn free() -> String {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").to_string()
}

#[test]
fn a_real_prometheus_tells_what_it_scraped_and_its_end_is_told() {
    let program = std::env::var("SERIN_PROMETHEUS").ok().filter(|p| !p.is_empty());
    let program = program.expect("SERIN_PROMETHEUS names the prometheus program; tests/run brings it");
    let dir = tempfile::tempdir().expect("a folder");
    let at = dir.path();
    std::fs::write(
        at.join("interactions.csv"),
        "USER_ID,ITEM_ID,TIMESTAMP,EVENT_VALUE\nu1,p1,1700000000,1.0\nu2,p2,1700000001,1.0\n",
    )
    .expect("written");
    std::fs::write(at.join("items.csv"), "ITEM_ID,CHANNEL\np1,one\np2,two\n").expect("written");
    assert!(
        ran(at, &["train", "--interactions", "interactions.csv", "--out", "model", "--rank", "2"]).status.success()
    );
    let mut api = serin(at, &["serve", "--listen", "127.0.0.1:0", "--model", "model", "--items", "items.csv"]);
    let mut api = Ended(api.stderr(Stdio::piped()).spawn().expect("starts"));
    let mut line = String::new();
    BufReader::new(api.0.stderr.take().expect("piped")).read_line(&mut line).expect("a line");
    let address = line.strip_prefix("ready: http://").and_then(|l| l.split(' ').next()).expect("ready").to_owned();
    let web = free();
    let scrape = format!(
        "global:\n  scrape_interval: 1s\nscrape_configs:\n- job_name: recs\n  static_configs:\n  - targets: ['{address}']\n"
    );
    std::fs::write(at.join("prometheus.yml"), scrape).expect("written");
    let mut prometheus = Command::new(program);
    prometheus.current_dir(at).args(["--config.file=prometheus.yml", "--storage.tsdb.path=tsdb", "--log.level=error"]);
    let prometheus = prometheus.arg(format!("--web.listen-address={web}")).stderr(Stdio::null()).stdout(Stdio::null());
    let prometheus = Ended(prometheus.spawn().expect("prometheus starts"));
    let text = format!(
        "[targets.api]\nurl = \"http://{address}\"\nsecret_env = \"SERIN_JWT_SECRET\"\n[targets.api.watch]\n\
         prometheus = \"http://{web}\"\nselector = 'job=\"recs\"'\nviewers = [\"u1\", \"u2\"]\n"
    );
    std::fs::write(at.join("serin.toml"), text).expect("written");
    let token = String::from_utf8(ran(at, &["token"]).stdout).expect("text").trim().to_owned();
    // Asked for until Prometheus has seen a dozen scrapes of it.
    // Viewers go on asking while it is checked: what a check hears in its own seconds is traffic too.
    let asked = address.clone();
    std::thread::spawn(move || {
        for _ in 0..5_000 {
            get(&asked, "/v1/recommendations/u1?limit=2", &token);
            std::thread::sleep(Duration::from_millis(40));
        }
    });
    let began = Instant::now();
    let mut document = Value::Null;
    while began.elapsed() < Duration::from_secs(90) {
        std::thread::sleep(Duration::from_secs(4));
        document = check(at);
        if state(&document, "user-errors") == "ok" && state(&document, "traffic") == "ok" {
            break;
        }
    }
    assert_eq!(state(&document, "user-errors"), "ok", "{document:#}");
    let source = document["sources"]
        .as_array()
        .expect("sources")
        .iter()
        .find(|s| s["name"] == format!("Prometheus at http://{web}"));
    assert_eq!(source.expect("asked")["error"], Value::Null, "{document:#}");
    let traffic = document["checks"].as_array().expect("checks").iter().find(|c| c["name"] == "traffic").expect("one");
    let rate: f64 = traffic["seen"].as_str().and_then(|s| s.split('/').next()?.parse().ok()).expect("a rate");
    assert!(rate > 3.0 && rate < 60.0, "{traffic:#}");
    let age = document["checks"].as_array().expect("checks").iter().find(|c| c["name"] == "user-errors").expect("one");
    assert!(age["age_s"].as_f64().is_some_and(|a| a < 30.0), "{age:#}");
    drop(prometheus);
    let document = check(at);
    let causes: Vec<_> =
        document["findings"].as_array().expect("findings").iter().map(|f| f["cause"].as_str()).collect();
    assert!(causes.contains(&Some("metrics-dead")), "{document:#}");
    assert_eq!(state(&document, "probe"), "ok", "the others go on: {document:#}");
}

fn check(at: &Path) -> Value {
    let output = ran(at, &["check", "--target", "api", "--json"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

fn state(document: &Value, name: &str) -> String {
    let checks = document["checks"].as_array().expect("checks");
    checks.iter().find(|c| c["name"] == name).and_then(|c| c["state"].as_str()).expect("a state").to_owned()
}
