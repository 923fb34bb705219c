//! Faults that a running stack really suffers, and what `serin check` makes of them: the right cause first, alone and in pairs.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

fn serin(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_serin"));
    command.current_dir(dir).env("SERIN_HOME", dir.join("home")).env_remove("SERIN_JWT_SECRET");
    command.args(arguments).output().expect("runs")
}

fn done(dir: &Path, arguments: &[&str]) -> String {
    let output = serin(dir, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

/// A stack of two replicas and a canary that viewers ask all the time.
struct Stack {
    dir: tempfile::TempDir,
    over: Arc<AtomicBool>,
    viewers: Vec<JoinHandle<()>>,
}

/// A small platform: 200 viewers with lists, published below `at`.
fn platform(at: &Path) {
    let synth = "data synth --out data --viewers 200 --programmes 60 --viewings 4000 --seed 7";
    done(at, &synth.split(' ').collect::<Vec<_>>());
    let train = "train --interactions data/interactions.csv --out model --rank 4 --iterations 3 --seed 7";
    done(at, &train.split(' ').collect::<Vec<_>>());
    done(at, &["publish", "--model", "model", "--items", "data/items.csv", "--store", "embedded:store"]);
}

fn free() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").to_string()
}

/// The words that start a stack of the platform below `at`.
fn up(at: &Path, listen: &str) -> Vec<String> {
    let store = format!("embedded:{}", at.join("store").display());
    let items = at.join("data/items.csv").display().to_string();
    ["stack", "up", "--listen", listen, "--items", &items, "--store", &store].map(str::to_owned).into()
}

impl Stack {
    fn up(more: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let at = dir.path();
        platform(at);
        let listen = free();
        let words = up(at, &listen);
        done(at, &[&words.iter().map(String::as_str).collect::<Vec<_>>(), more].concat());
        let token = done(at, &["token"]);
        let over = Arc::new(AtomicBool::new(false));
        let viewers = (0..4).map(|n| {
            let (address, token, over) = (listen.clone(), token.clone(), Arc::clone(&over));
            std::thread::spawn(move || ask_all_the_time(&address, &token, n, &over))
        });
        let viewers = viewers.collect();
        let stack = Self { dir, over, viewers };
        std::thread::sleep(Duration::from_millis(500));
        stack
    }

    fn act(&self, word: &str, fault: &str) {
        done(self.dir.path(), &["stack", word, fault]);
    }

    /// The causes of a check, likeliest first, and whether each lasts; with the exit code.
    fn check(&self) -> (Vec<(String, bool)>, i32, Value) {
        let ran = serin(self.dir.path(), &["check", "--target", "local", "--json"]);
        let text = String::from_utf8_lossy(&ran.stdout).into_owned();
        let document: Value = serde_json::from_str(&text)
            .unwrap_or_else(|e| panic!("{e}: {text} {}", String::from_utf8_lossy(&ran.stderr)));
        let findings = document["findings"].as_array().expect("findings").iter();
        let causes =
            findings.map(|f| (f["cause"].as_str().expect("a name").to_owned(), f["ended"].is_null())).collect();
        (causes, ran.status.code().expect("ended"), document)
    }

    /// Nothing wrong, or what is wrong has ended.
    fn assert_well(&self, when: &str) {
        let (causes, code, document) = self.check();
        assert!(code == 0 && !causes.iter().any(|(_, lasts)| *lasts), "{when}: {document:#}");
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
        for viewer in self.viewers.drain(..) {
            let _ = viewer.join();
        }
        serin(self.dir.path(), &["stack", "down"]);
    }
}

/// One viewer's home page again and again; whoever closes the connection is asked over a new one.
fn ask_all_the_time(address: &str, token: &str, first: usize, over: &AtomicBool) {
    let mut connection: Option<BufReader<TcpStream>> = None;
    let mut number = first;
    while !over.load(Relaxed) {
        std::thread::sleep(Duration::from_millis(25));
        number += 4;
        // A new connection now and then, so that every replica gets its part.
        if number % 40 < 4 {
            connection = None;
        }
        let asked = ask(&mut connection, address, token, number % 200);
        if asked.is_none() {
            connection = None;
        }
    }
}

fn ask(held: &mut Option<BufReader<TcpStream>>, address: &str, token: &str, viewer: usize) -> Option<()> {
    if held.is_none() {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        *held = Some(BufReader::new(stream));
    }
    let connection = held.as_mut()?;
    let head = format!(
        "GET /v1/recommendations/u{viewer}?limit=10 HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\r\n"
    );
    connection.get_mut().write_all(head.as_bytes()).ok()?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        if connection.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(text) = line.to_lowercase().strip_prefix("content-length:") {
            length = text.trim().parse().ok()?;
        }
        if line == "\r\n" {
            break;
        }
    }
    std::io::copy(&mut connection.take(length), &mut std::io::sink()).ok().map(|_| ())
}

const REPLICAS: &[&str] = &["--replicas", "2"];

fn a_pair(one: &str, other: &str) {
    pair(&Stack::up(REPLICAS), one, other, Duration::from_millis(1500));
}

/// One fault alone, both at once, the other alone: each time the right names. A fault is given so long to be felt.
fn pair(stack: &Stack, one: &str, other: &str, felt: Duration) {
    stack.assert_well("before");
    stack.act("break", one);
    // What the fault is called has no say in it.
    let broken = stack.dir.path().join("home/stack/broken.json");
    let known = std::fs::read_to_string(&broken).expect("what is set");
    std::fs::write(&broken, known.replace(one, "a-riddle")).expect("renamed");
    std::thread::sleep(felt);
    let (causes, code, document) = stack.check();
    std::fs::write(&broken, known).expect("named again");
    assert!(code == 1 && causes.first() == Some(&(one.to_owned(), true)), "{one} alone: {document:#}");
    stack.act("break", other);
    std::thread::sleep(felt);
    let (causes, code, document) = stack.check();
    let both = [one, other].iter().all(|f| causes.contains(&((*f).to_owned(), true)));
    assert!(code == 1 && both, "{one} and {other}: {document:#}");
    stack.act("mend", one);
    std::thread::sleep(felt);
    let (causes, code, document) = stack.check();
    assert!(code == 1 && causes.first() == Some(&(other.to_owned(), true)), "{other} alone: {document:#}");
    stack.act("mend", other);
    std::thread::sleep(felt);
    stack.assert_well("after");
}

#[test]
fn a_store_that_throttles_and_a_stale_catalogue() {
    a_pair("store-throttled", "catalogue-stale");
}

#[test]
fn a_slow_store_and_a_dead_replica() {
    a_pair("store-slow", "replica-dead");
}

#[test]
fn a_rotated_key_and_mute_metrics() {
    a_pair("key-rotated", "metrics-dead");
}

#[test]
fn a_bad_model_and_a_quota_that_is_reached() {
    a_pair("bad-model", "quota-reached");
}

#[test]
fn a_clock_that_is_off_and_a_storm_of_retries() {
    a_pair("clock-skew", "retry-storm");
}

#[test]
fn a_bad_canary_and_a_capacity_that_was_cut() {
    let stack = Stack::up(&["--canary"]);
    let at = stack.dir.path();
    // Nobody is in the canary of a new stack: that nobody will feel it is said at once.
    let said = done(at, &["stack", "break", "canary-bad"]);
    assert!(said.contains("nobody is in the canary now") && said.contains("serin stack share"), "{said}");
    stack.act("mend", "canary-bad");
    assert_eq!(done(at, &["stack", "share", "30%"]), "30.0 % of the viewers get the canary");
    assert!(!done(at, &["stack", "break", "canary-bad"]).contains("nobody is in"));
    stack.act("mend", "canary-bad");
    let wrong = serin(at, &["stack", "share", "130%"]);
    assert_eq!(wrong.status.code(), Some(2));
    std::thread::sleep(Duration::from_secs(4));
    pair(&stack, "canary-bad", "capacity-cut", Duration::from_secs(5));
}

#[test]
fn two_stacks_that_are_started_at_once_are_never_taken_for_each_other() {
    let dir = tempfile::tempdir().expect("a folder");
    let at = dir.path();
    platform(at);
    let home = |n: usize| at.join(format!("home-{n}"));
    let at_home = |n: usize, words: &[String]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_serin"));
        command.current_dir(at).env("SERIN_HOME", home(n)).env_remove("SERIN_JWT_SECRET").args(words);
        command
    };
    for replicas in ["1", "2"] {
        let listen = free();
        let words = [up(at, &listen), vec!["--replicas".to_owned(), replicas.to_owned()]].concat();
        let ran: Vec<Output> = std::thread::scope(|scope| {
            let both = [0, 1].map(|n| {
                let mut command = at_home(n, &words);
                scope.spawn(move || command.output().expect("runs"))
            });
            both.map(|one| one.join().expect("ended")).into()
        });
        let up: Vec<usize> = (0..2).filter(|n| ran[*n].status.success()).collect();
        let said = |n: usize| String::from_utf8_lossy(&ran[n].stderr).into_owned();
        assert_eq!(up.len(), 1, "one has the port {listen}: {} / {}", said(0), said(1));
        let (first, second) = (up[0], 1 - up[0]);
        let port = listen.rsplit(':').next().expect("a port");
        assert!(said(second).contains(&format!("port {port} on 127.0.0.1 is in use")), "{}", said(second));
        let status = |n| at_home(n, &["stack".to_owned(), "status".to_owned()]).output().expect("runs").status.code();
        assert_eq!((status(first), status(second)), (Some(0), Some(1)));
        at_home(first, &["stack".to_owned(), "down".to_owned()]).output().expect("runs");
    }
}

#[test]
fn a_capacity_that_was_cut() {
    let stack = Stack::up(REPLICAS);
    stack.assert_well("before");
    stack.act("break", "capacity-cut");
    std::thread::sleep(Duration::from_secs(6));
    let (causes, code, document) = stack.check();
    assert!(code == 1 && causes.first() == Some(&("capacity-cut".to_owned(), true)), "{document:#}");
    let list = done(stack.dir.path(), &["stack", "break", "--list"]);
    assert!(list.lines().count() == 12 && list.contains("✗ capacity-cut"), "{list}");
    let wrong = serin(stack.dir.path(), &["stack", "break", "capacity-cot"]);
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(wrong.status.code() == Some(2) && said.contains("did you mean `capacity-cut`?"), "{said}");
    done(stack.dir.path(), &["stack", "mend"]);
    assert!(!done(stack.dir.path(), &["stack", "break", "--list"]).contains('✗'));
}
