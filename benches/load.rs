//! The engine against nginx, beside wrk, hey and oha where they are installed, and goose as it comes: requests a second of
//! the closed loop; how exactly a schedule is kept; CPU and memory.
//!
//! `cargo bench --bench load`; every generator is pinned to core 0 and nginx to core 1, three rounds in turns, medians.
//! `cargo bench --bench load -- memory` alone measures memory over millions of requests. `SERIN_BENCH_SECONDS` (5) sets
//! the length of one measurement, `SERIN_OHA` names oha where it is not in the PATH.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{fs, thread};

use goose::config::GooseConfiguration;
use goose::prelude::*;
use serde_json::Value;

const ROUNDS: usize = 3;
const CONNECTIONS: &str = "64";
const PORT: u16 = 18_781;

/// Reads a generator's requests a second from what it printed.
type Read = fn(&str) -> Option<f64>;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|w| w != "--bench").collect();
    if let [word, url, users, think_ms, lasts] = words.as_slice()
        && word == GOOSE
    {
        return geese(url, users, think_ms, lasts);
    }
    let seconds = std::env::var("SERIN_BENCH_SECONDS").unwrap_or_else(|_| "5".to_owned());
    let oha = std::env::var("SERIN_OHA").unwrap_or_else(|_| "oha".to_owned());
    let folder = std::env::temp_dir().join(format!("serin-load-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder for nginx");
    let Some(target) = nginx(&folder) else {
        println!("not measured: nginx does not start here");
        return;
    };
    let url = format!("http://127.0.0.1:{PORT}/");
    let lasts = format!("{seconds}s");
    let own = env!("CARGO_BIN_EXE_serin");
    let runs = folder.display().to_string();
    if words.iter().any(|w| w == "memory") {
        memory(own, &oha, &url, &runs);
        drop(target);
        let _ = fs::remove_dir_all(&folder);
        return;
    }
    let generators: [(&str, &str, Vec<&str>, Read); 4] = [
        ("serin", own, closed(&url, &lasts, &runs).to_vec(), json),
        ("wrk", "wrk", vec!["-t1", "-c", CONNECTIONS, "-d", &lasts, &url], |text| after(text, "Requests/sec:")),
        ("oha", &oha, vec!["-c", CONNECTIONS, "-z", &lasts, "--no-tui", &url], |text| after(text, "Requests/sec:")),
        ("hey", "hey", vec!["-c", CONNECTIONS, "-z", &lasts, &url], |text| after(text, "Requests/sec:")),
    ];
    let mut seen = vec![Vec::new(); generators.len()];
    for _ in 0..ROUNDS {
        for ((_, program, arguments, read), rates) in generators.iter().zip(&mut seen) {
            rates.extend(measure(program, arguments).and_then(|text| read(&text)));
        }
    }
    let own = median(&mut seen[0]).unwrap_or(f64::NAN);
    for ((name, ..), rates) in generators.iter().zip(&mut seen) {
        match median(rates) {
            Some(rate) => println!("{name:6} {rate:>9.0}/s   serin answers {:.2} x as many", own / rate),
            None => println!("{name:6} not measured: it is not installed"),
        }
    }
    schedules(own_program(), &url, &lasts, &runs);
    beside_oha(own_program(), &oha, &url, &lasts, &runs);
    beside_goose(own_program(), &url, &lasts, &runs);
    drop(target);
    let _ = fs::remove_dir_all(&folder);
}

fn own_program() -> &'static str {
    env!("CARGO_BIN_EXE_serin")
}

/// As fast as the target answers.
fn closed<'a>(url: &'a str, lasts: &'a str, runs: &'a str) -> [&'a str; 12] {
    ["load", "--url", url, "--rate", "max", "--connections", CONNECTIONS, "--duration", lasts, "--json", "--out", runs]
}

fn open<'a>(url: &'a str, rate: &'a str, lasts: &'a str, runs: &'a str) -> [&'a str; 10] {
    ["load", "--url", url, "--rate", rate, "--duration", lasts, "--json", "--out", runs]
}

/// Asked against sent, and how late the generator was.
fn schedules(program: &str, url: &str, lasts: &str, runs: &str) {
    for rate in ["500", "2000", "10000", "30000"] {
        let mut late = Vec::new();
        let mut off = Vec::new();
        for _ in 0..ROUNDS {
            let text = measure(program, &open(url, rate, lasts, runs)).unwrap_or_default();
            let Ok(d) = serde_json::from_str::<Value>(&text) else { continue };
            late.extend(d["generator"]["late_p99_ms"].as_f64());
            let (asked, sent) = (d["rate"]["asked"].as_f64(), d["rate"]["sent"].as_f64());
            off.extend(asked.zip(sent).map(|(asked, sent)| (sent / asked - 1.0).abs() * 100.0));
        }
        let told = median(&mut late).zip(median(&mut off));
        match told {
            Some((late, off)) => println!("asked {rate:>6}/s: sent within {off:.3} %, late {late:.3} ms at p99"),
            None => println!("asked {rate:>6}/s: not measured"),
        }
    }
}

/// CPU and memory of both at 10,000/s.
fn beside_oha(program: &str, oha: &str, url: &str, lasts: &str, runs: &str) {
    let theirs = ["-c", CONNECTIONS, "-q", "10000", "-z", lasts, "--no-tui", url];
    let mut seen = [Vec::new(), Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        let pairs = [(program, &open(url, "10000", lasts, runs)[..]), (oha, &theirs[..])];
        for (at, (program, arguments)) in pairs.into_iter().enumerate() {
            if let Some(spent) = spent(program, arguments) {
                seen[at].push(spent.cpu);
                seen[at + 2].push(spent.memory);
            }
        }
    }
    let [a, b, c, d] = seen.each_mut().map(|values| median(values));
    match (a.zip(b), c.zip(d)) {
        (Some((cpu, their_cpu)), Some((memory, their_memory))) => println!(
            "10,000/s: serin {cpu:.2} s of CPU and {memory:.0} MB, oha {their_cpu:.2} s and {their_memory:.0} MB: {:.2} x its CPU, {:.2} x its memory",
            cpu / their_cpu,
            memory / their_memory
        ),
        _ => println!("10,000/s beside oha: not measured: it is not installed"),
    }
}

/// The word by which this program becomes goose itself, with nothing of serin in it.
const GOOSE: &str = "goose";

/// Goose as its own users write it: so many users, each asking, reading the body, thinking.
fn geese(url: &str, users: &str, think_ms: &str, lasts: &str) {
    let ask: TransactionFunction = std::sync::Arc::new(|user| {
        Box::pin(async move {
            let asked = user.get("").await?;
            if let Ok(response) = asked.response {
                let _ = response.bytes().await;
            }
            Ok(())
        })
    });
    let think: u64 = think_ms.parse().expect("milliseconds");
    let mut scenario = Scenario::new("ask").register_transaction(Transaction::new(ask));
    if think > 0 {
        let between = (Duration::from_millis(think / 2), Duration::from_millis(think * 3 / 2));
        scenario = scenario.set_wait_time(between.0, between.1).expect("a wait");
    }
    let rate = (users.parse::<f64>().expect("users") / ARRIVE_S).to_string();
    let words =
        ["--host", url, "--users", users, "--run-time", lasts, "--increase-rate", &rate, "--quiet", "--no-telnet"];
    let more = ["--no-print-metrics", "--no-error-summary"];
    let configuration = GooseConfiguration::parse_args_default(&[&words[..], &more[..]].concat()).expect("a load");
    let attack = GooseAttack::initialize_with_config(configuration).expect("goose").register_scenario(scenario);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let seen = runtime.block_on(attack.execute()).expect("played");
    let asked: usize = seen.requests.values().map(|r| r.success_count + r.fail_count).sum();
    println!("{asked}");
}

/// Within how many seconds all users are there, on both sides.
const ARRIVE_S: f64 = 0.5;

/// CPU a request: the closed loop beside goose's, and viewers with thoughts beside goose's users with the same.
fn beside_goose(own: &str, url: &str, lasts: &str, runs: &str) {
    let this = std::env::current_exe().expect("this program").display().to_string();
    let max = closed(url, lasts, runs);
    let users =
        ["load", "--url", url, "--users", "1000", "--think", "500ms", "--duration", lasts, "--json", "--out", runs];
    let told = |text: &str| text.lines().last()?.trim().parse::<f64>().ok();
    let asked = |text: &str| serde_json::from_str::<Value>(text).ok()?["requests"].as_f64();
    for (name, ours, theirs) in [
        ("--rate max", &max[..], [GOOSE, url, CONNECTIONS, "0", lasts]),
        ("--users 1000", &users[..], [GOOSE, url, "1000", "500", lasts]),
    ] {
        let mut each = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            let own = spent(own, ours).and_then(|s| Some(s.cpu * 1e6 / asked(&s.said)?));
            let goose = spent(&this, &theirs).and_then(|s| Some(s.cpu * 1e6 / told(&s.said)?));
            each[0].extend(own);
            each[1].extend(goose);
        }
        let [own, goose] = each.each_mut().map(|values| median(values));
        match own.zip(goose) {
            Some((own, goose)) => {
                println!("{name}: serin {own:.1} us of CPU a request, goose {goose:.1}: {:.2} x", own / goose);
            }
            None => println!("{name} beside goose: not measured"),
        }
    }
}

/// The most memory of 1.2 million requests beside oha, and what ten million more add.
fn memory(own: &str, oha: &str, url: &str, runs: &str) {
    let few = spent(own, &closed(url, "8s", runs));
    let theirs = spent(oha, &["-c", CONNECTIONS, "-n", "1200000", "--no-tui", url]);
    let many = spent(own, &closed(url, "75s", runs));
    let asked =
        |text: &str| serde_json::from_str::<Value>(text).ok().and_then(|d| d["requests"].as_f64()).unwrap_or(f64::NAN);
    for (name, seen) in [("serin", few), ("serin", many)] {
        if let Some(seen) = seen {
            println!("{name}: {:.1} MB after {:.2} million requests", seen.memory, asked(&seen.said) / 1e6);
        }
    }
    match theirs {
        Some(seen) => println!("oha: {:.1} MB after 1.20 million requests", seen.memory),
        None => println!("oha: not measured: it is not installed"),
    }
}

/// What a generator used: seconds of CPU, the most megabytes that it held, and what it printed.
struct Spent {
    cpu: f64,
    memory: f64,
    said: String,
}

/// Runs a generator on its core.
fn spent(program: &str, arguments: &[&str]) -> Option<Spent> {
    let mut command = Command::new("taskset");
    command.args(["-c", "0", program]).args(arguments).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    let mut said = String::new();
    std::io::Read::read_to_string(child.stdout.as_mut()?, &mut said).ok()?;
    let mut status = 0;
    // SAFETY: waits for a child of this process that nobody else waits for; both out-values live through the call.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        (libc::wait4(child.id() as libc::pid_t, &raw mut status, 0, &raw mut usage) > 0).then_some(usage)?
    };
    let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
    let cpu = seconds(usage.ru_utime) + seconds(usage.ru_stime);
    // 127: taskset found no such program.
    (libc::WEXITSTATUS(status) != 127).then_some(Spent { cpu, memory: usage.ru_maxrss as f64 / 1024.0, said })
}

/// An nginx of one worker in the foreground; ended with its worker when dropped.
struct Nginx(std::process::Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

fn nginx(folder: &Path) -> Option<Nginx> {
    let body = "x".repeat(2048);
    let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|p| format!("{p}_temp_path {p};")).concat();
    let text = format!(
        "worker_processes 1; daemon off; pid nginx.pid; error_log nginx.err; events {{ worker_connections 4096; }}\n\
         http {{ access_log off; {paths} keepalive_timeout 300s; keepalive_requests 100000000;\n\
         server {{ listen 127.0.0.1:{PORT} backlog=4096; location / {{ return 200 '{body}'; }} }} }}\n"
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, text).expect("written");
    let mut command = Command::new("taskset");
    command.args(["-c", "1", "nginx", "-p"]).arg(folder).arg("-c").arg(&file);
    let mut target = Nginx(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?);
    for _ in 0..50 {
        thread::sleep(std::time::Duration::from_millis(50));
        if target.0.try_wait().ok()?.is_some() {
            return None;
        }
        if std::net::TcpStream::connect(("127.0.0.1", PORT)).is_ok() {
            return Some(target);
        }
    }
    None
}

fn measure(program: &str, arguments: &[&str]) -> Option<String> {
    let out = Command::new("taskset").args(["-c", "0", program]).args(arguments).stderr(Stdio::null()).output().ok()?;
    Some(String::from_utf8_lossy(&out.stdout).into_owned())
}

fn json(text: &str) -> Option<f64> {
    serde_json::from_str::<Value>(text).ok()?["rate"]["answered"].as_f64()
}

/// Returns the number that follows a word.
fn after(text: &str, word: &str) -> Option<f64> {
    text.split_once(word)?.1.split_whitespace().next()?.parse().ok()
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
