//! How far the answers can be trusted, against servers whose truth is set here: a generator that is stopped or starved must
//! say so, a healthy one must not; a limit is found where it is; recorded gaps are kept.
//!
//! `cargo bench --bench trust`, or with one of `generator`, `limit`, `replay` behind `--`. `SERIN_BENCH_ROUNDS` (10).

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use std::{fs, io};

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde_json::Value;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|w| w != "--bench").collect();
    let wanted = |name: &str| words.is_empty() || words.iter().any(|w| w == name);
    let rounds = std::env::var("SERIN_BENCH_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(10);
    let folder = std::env::temp_dir().join(format!("serin-trust-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    if wanted("generator") {
        generator(&folder, rounds);
    }
    if wanted("limit") {
        limit(&folder);
    }
    if wanted("replay") {
        replay(&folder);
    }
    let _ = fs::remove_dir_all(&folder);
}

/// What a server does with a request: the time from which its answer is due, or `None` for "too many".
type Truth = Arc<Mutex<dyn FnMut() -> Option<Instant> + Send>>;

/// Starts a server on a port of its own, a thread a connection.
fn serve(truth: Truth) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let truth = Arc::clone(&truth);
            thread::spawn(move || answer(stream, &truth));
        }
    });
    url
}

fn answer(mut stream: TcpStream, truth: &Truth) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut buffer, mut asked) = ([0; 4096], Vec::new());
    loop {
        let came = stream.read(&mut buffer)?;
        if came == 0 {
            return Ok(());
        }
        asked.extend_from_slice(&buffer[..came]);
        if !asked.ends_with(b"\r\n\r\n") {
            continue;
        }
        asked.clear();
        let due = truth.lock().map_err(|_| io::Error::other("broken"))?();
        if let Some(due) = due {
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        let line = if due.is_some() { "200 OK" } else { "429 Too Many Requests" };
        stream.write_all(format!("HTTP/1.1 {line}\r\ncontent-length: 2\r\n\r\nok").as_bytes())?;
    }
}

/// Answers at once.
fn prompt() -> Truth {
    Arc::new(Mutex::new(|| Some(Instant::now())))
}

/// Lets `rate` through each second, a twentieth of that at once.
fn quota(rate: f64) -> Truth {
    let most = rate / 20.0;
    let (mut tokens, mut at) = (most, Instant::now());
    Arc::new(Mutex::new(move || {
        tokens = (tokens + at.elapsed().as_secs_f64() * rate).min(most);
        at = Instant::now();
        (tokens >= 1.0).then(|| {
            tokens -= 1.0;
            at
        })
    }))
}

/// One after the other, each taking its part of a second: beyond `rate` the queue only grows.
fn knee(rate: f64) -> Truth {
    let mut free = Instant::now();
    Arc::new(Mutex::new(move || {
        free = free.max(Instant::now()) + Duration::from_secs_f64(1.0 / rate);
        Some(free)
    }))
}

fn serin(folder: &Path, words: &[&str], pin: bool) -> Command {
    let own = env!("CARGO_BIN_EXE_serin");
    let mut command = if pin { Command::new("taskset") } else { Command::new(own) };
    if pin {
        command.args(["-c", "0", own]);
    }
    command.args(words).env("SERIN_HOME", folder.join("home")).current_dir(folder);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

fn told(child: Child) -> (Option<i32>, Value) {
    let output = child.wait_with_output().expect("ended");
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or_default())
}

/// What is done to a generator while it sends.
#[derive(Clone, Copy)]
enum Fate {
    Left,
    /// Stopped for 30 ms of every 40 ms.
    Stopped,
    /// Held to half of the CPU that it needs.
    Halved,
    /// A busy program shares its core, and leaves it enough.
    Beside,
}

fn generator(folder: &Path, rounds: usize) {
    let url = serve(prompt());
    let mut seen: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let open = |rate| ["load", "--url", url.as_str(), "--rate", rate, "--duration", "3s", "--json"];
    let (_, whole) = told(serin(folder, &open("8000"), true).spawn().expect("started"));
    let needed = whole["generator"]["cpu_share"].as_f64().unwrap_or(1.0);
    for _ in 0..rounds {
        for (name, rate, fate) in [
            ("healthy, 500/s", "500", Fate::Left),
            ("healthy, 8,000/s", "8000", Fate::Left),
            ("a busy program on its core, 500/s", "500", Fate::Beside),
            ("stopped 30 of every 40 ms, 500/s", "500", Fate::Stopped),
            ("half of the CPU that 8,000/s need", "8000", Fate::Halved),
        ] {
            let mut command = serin(folder, &open(rate), true);
            let (code, document) = match fate {
                Fate::Left => told(command.spawn().expect("started")),
                Fate::Beside => {
                    let mut busy = Command::new("taskset");
                    let mut busy = busy.args(["-c", "0", "sh", "-c", "while :; do :; done"]).spawn().expect("started");
                    let seen = told(command.spawn().expect("started"));
                    let _ = busy.kill().and_then(|()| busy.wait());
                    seen
                }
                Fate::Stopped => told(stopped_again_and_again(command.spawn().expect("started"))),
                Fate::Halved => match Quota::new(needed / 2.0) {
                    Ok(quota) => {
                        let child = command.spawn().expect("started");
                        quota.hold(&child).expect("held");
                        told(child)
                    }
                    Err(e) => {
                        seen.entry(name).or_default().push(format!("not measured: no cgroup may be made here: {e}"));
                        continue;
                    }
                },
            };
            let state = document["generator"]["state"].as_str().unwrap_or("no summary");
            seen.entry(name).or_default().push(format!("{state}, exit {}", code.unwrap_or(-1)));
        }
    }
    for (name, states) in seen {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        states.iter().for_each(|s| *counts.entry(s).or_default() += 1);
        println!("generator: {name}: {counts:?}");
    }
}

fn stopped_again_and_again(mut child: Child) -> Child {
    let pid = child.id() as libc::pid_t;
    // SAFETY: a signal to a child of this process that is not yet waited for.
    let send = |signal| unsafe { libc::kill(pid, signal) };
    while child.try_wait().is_ok_and(|ended| ended.is_none()) {
        send(libc::SIGSTOP);
        thread::sleep(Duration::from_millis(30));
        send(libc::SIGCONT);
        thread::sleep(Duration::from_millis(10));
    }
    child
}

/// A cgroup that gives its members so much of one core; of either version.
struct Quota(std::path::PathBuf);

impl Quota {
    fn new(share: f64) -> io::Result<Self> {
        let name = format!("serin-trust-{}", std::process::id());
        let (old, new) = (Path::new("/sys/fs/cgroup/cpu").join(&name), Path::new("/sys/fs/cgroup").join(&name));
        // The usual period: what a container is held to.
        let period_us = 100_000.0;
        let quota_us = (period_us * share) as u64;
        if old.parent().is_some_and(Path::is_dir) {
            fs::create_dir_all(&old)?;
            fs::write(old.join("cpu.cfs_period_us"), format!("{period_us}"))?;
            fs::write(old.join("cpu.cfs_quota_us"), format!("{quota_us}"))?;
            return Ok(Self(old));
        }
        fs::create_dir_all(&new)?;
        fs::write(new.join("cpu.max"), format!("{quota_us} {period_us}"))?;
        Ok(Self(new))
    }

    fn hold(&self, child: &Child) -> io::Result<()> {
        fs::write(self.0.join("cgroup.procs"), child.id().to_string())
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// The limit found beside the truth, and the requests that it took beside a sweep that steps by the same 3 %.
fn limit(folder: &Path) {
    for (name, truth, rate) in [
        ("quota 300/s", quota(300.0), 300.0),
        ("quota 1,000/s", quota(1000.0), 1000.0),
        ("quota 2,500/s", quota(2500.0), 2500.0),
        ("knee at 400/s", knee(400.0), 400.0),
        ("knee at 1,000/s", knee(1000.0), 1000.0),
        ("knee at 2,500/s", knee(2500.0), 2500.0),
    ] {
        let url = serve(truth);
        let words = [
            "limit",
            "--url",
            &url,
            "--objective",
            "errors < 1%",
            "--objective",
            "p99 < 50ms",
            "--to",
            "10000",
            "--json",
        ];
        let began = Instant::now();
        let (_, d) = told(serin(folder, &words, false).spawn().expect("started"));
        let found = d["limit_rate"].as_f64().unwrap_or(f64::NAN);
        let sent = d["requests"].as_f64().unwrap_or(f64::NAN);
        // From the lowest rate up by 3 % a step, each as long as a careful step here, until one breaks.
        let mut sweep = 0.0;
        let mut at = 50.0;
        while at < rate * 1.03 {
            sweep += at * 6.0;
            at *= 1.03;
        }
        println!(
            "limit: {name}: found {found:.0}/s by {}, {:+.1} %; {sent:.0} requests, {:.0} % of a sweep's {sweep:.0}; {:.0} s",
            d["broke_by"].as_str().unwrap_or("nothing"),
            (found / rate - 1.0) * 100.0,
            sent / sweep * 100.0,
            began.elapsed().as_secs_f64()
        );
    }
}

/// Irregular gaps of a log, played again at its own speed.
fn replay(folder: &Path) {
    let url = serve(prompt());
    let mut rng = Pcg64Mcg::seed_from_u64(1);
    let mut at = 1.75e9_f64;
    let mut line = || {
        at += -0.002 * (1.0 - rng.random::<f64>()).ln();
        format!("{{\"time\": {at:.6}, \"path\": \"/\"}}\n")
    };
    let log: String = std::iter::repeat_with(&mut line).take(5000).collect();
    fs::write(folder.join("log.jsonl"), log).expect("written");
    for _ in 0..3 {
        let words = ["replay", "log.jsonl", "--url", &url, "--json"];
        let (_, d) = told(serin(folder, &words, true).spawn().expect("started"));
        let gap = d["replay"]["gap_error_p99_ms"].as_f64().unwrap_or(f64::NAN);
        println!("replay: 5,000 irregular gaps at 500/s: 99 % within {gap:.3} ms");
    }
}
