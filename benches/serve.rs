//! One API process on one core beside the usual Python stack and a bare hyper server: answers a second and p99, with a
//! checked token and two filters; then live scoring, a model switch under load, prepared lists to the embedded store beside
//! a plain copy of the same bytes, a table's write budget, and the way to a million viewers.
//!
//! `cargo bench --bench serve` measures all; `-- lists`, `live`, `switch`, `store`, `table` or `million` one of them. Needs `wrk`, which
//! runs on core 0 while the API has core 1. `SERIN_PEERS=~/.peers` names a Python environment that has fastapi, uvicorn,
//! uvloop, httptools, pyjwt and orjson. Three rounds in turns, medians. `SERIN_BENCH_SECONDS` (5) sets the length of one
//! measurement.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

const ROUNDS: usize = 3;
const VIEWERS: u32 = 50_000;
const OWN_PORT: u16 = 18_783;
const PEER_PORT: u16 = 18_784;
const BARE_PORT: u16 = 18_785;
const SECRET: &str = "a secret of a benchmark, 32 bytes and more";

/// The same service as a Python team writes it: lists and catalogue in memory, a checked token, filters on the fly.
const PEER: &str = r#"
import csv, os, jwt, orjson
from fastapi import FastAPI, Header, HTTPException, Response

folder, secret = os.environ["LISTS"], os.environ["SERIN_JWT_SECRET"]
with open(f"{folder}/data/items.csv") as f:
    programmes = {r["ITEM_ID"]: (r["CHANNEL"], frozenset(r["DEVICES"].split("|"))) for r in csv.DictReader(f)}
lists = {}
with open(f"{folder}/lists.csv") as f:
    for r in csv.DictReader(f):
        lists.setdefault(r["user"], []).append((r["item"], float(r["score"])))
app = FastAPI()

@app.get("/v1/recommendations/{user}")
async def recommendations(user: str, limit: int = 20, devices: str = "", channel: str = "", authorization: str = Header("")):
    if not authorization.startswith("Bearer "):
        raise HTTPException(401)
    try:
        jwt.decode(authorization[7:], secret, algorithms=["HS256"], audience="serin", options={"require": ["exp"]})
    except jwt.PyJWTError:
        raise HTTPException(401)
    if user not in lists:
        raise HTTPException(404)
    unwanted = {name[1:] for name in channel.split(",") if name}
    items = []
    for item, score in lists[user]:
        its_channel, its_devices = programmes[item]
        if its_channel in unwanted or (devices and devices not in its_devices):
            continue
        items.append({"itemId": item, "score": score})
        if len(items) == limit:
            break
    return Response(orjson.dumps({"user": user, "items": items}), media_type="application/json")
"#;

/// A process that ends with the benchmark.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if let [word, port, file] = &arguments[..]
        && word == "bare"
    {
        return bare(port.parse().expect("a port"), &fs::read(file).expect("an answer"));
    }
    let wanted = |name: &str| arguments.is_empty() || arguments.iter().any(|a| a == name);
    let folder = std::env::temp_dir().join(format!("serin-serve-{}", std::process::id()));
    let all = [
        ("lists", lists as fn(&Path)),
        ("live", live),
        ("switch", switch),
        ("store", store),
        ("table", table),
        ("million", million),
    ];
    for (name, measure) in all {
        if wanted(name) {
            measure(&folder);
        }
        let _ = fs::remove_dir_all(&folder);
    }
}

/// Published lists with a checked token and two filters, beside FastAPI and a server that only sends the same bytes.
fn lists(folder: &Path) {
    let at = |name: &str| folder.join(name).display().to_string();
    let store = platform(folder, VIEWERS, 1_500_000, &["--rank", "16", "--iterations", "3"]);
    serin(folder, &["recommend", "--model", &at("model"), "--out", &at("lists.csv"), "--top", "100"]);
    let token = serin(folder, &["token", "--ttl", "10h"]);
    fs::write(folder.join("peer.py"), PEER).expect("written");
    fs::write(folder.join("ask.lua"), question(token.trim())).expect("written");

    let listen = format!("127.0.0.1:{OWN_PORT}");
    let items = at("data/items.csv");
    let own = ["serve", "--store", &store, "--items", &items, "--listen", &listen, "--threads", "1"];
    let own = start(folder, env!("CARGO_BIN_EXE_serin"), &own, OWN_PORT);
    let python = std::env::var("SERIN_PEERS").map(|peers| format!("{peers}/bin/uvicorn"));
    let port = PEER_PORT.to_string();
    let one = ["peer:app", "--port", &port, "--loop", "uvloop", "--http", "httptools", "--no-access-log"];
    let peer = python.ok().and_then(|python| start(folder, &python, &one, PEER_PORT));
    let path = "/v1/recommendations/u7?limit=20&channel=-ch-one,-ch-two&devices=tv";
    fs::write(folder.join("answer.json"), answer(OWN_PORT, path, token.trim())).expect("written");
    let this = std::env::current_exe().expect("this benchmark").display().to_string();
    let bare = start(folder, &this, &["bare", &BARE_PORT.to_string(), &at("answer.json")], BARE_PORT);
    let services = [("serin", OWN_PORT, own), ("FastAPI", PEER_PORT, peer), ("hyper", BARE_PORT, bare)];

    let mut seen = [(Vec::new(), Vec::new()), (Vec::new(), Vec::new()), (Vec::new(), Vec::new())];
    for _ in 0..ROUNDS {
        for ((_, port, running), (rates, p99s)) in services.iter().zip(&mut seen) {
            if let Some((rate, p99)) = running.as_ref().and_then(|_| measure(folder, *port)) {
                rates.push(rate);
                p99s.push(p99);
            }
        }
    }
    let own = median(&mut seen[0].0).unwrap_or(f64::NAN);
    for ((name, ..), (rates, p99s)) in services.iter().zip(&mut seen) {
        match (median(rates), median(p99s)) {
            (Some(rate), Some(p99)) => {
                println!(
                    "lists  {name:8} {rate:>8.0}/s  p99 {p99:>7.2} ms   serin answers {:.2} x as many",
                    own / rate
                );
            }
            _ => println!(
                "lists  {name:8} not measured: wrk is not installed, or SERIN_PEERS names no Python environment"
            ),
        }
    }
}

/// Live scoring of 10,000 programmes at rank 64: as fast as it goes, and at an even 5,000 a second.
fn live(folder: &Path) {
    let at = |name: &str| folder.join(name).display().to_string();
    let more = ["--programmes", "10000"];
    synth(folder, VIEWERS, 1_500_000, &more);
    let rows = at("data/interactions.csv");
    serin(folder, &["train", "--interactions", &rows, "--out", &at("model"), "--rank", "64", "--iterations", "3"]);
    let token = serin(folder, &["token", "--ttl", "10h"]);
    fs::write(folder.join("ask.lua"), question(token.trim())).expect("written");
    let listen = format!("127.0.0.1:{OWN_PORT}");
    let (items, model) = (at("data/items.csv"), at("model"));
    let own = ["serve", "--model", &model, "--items", &items, "--listen", &listen, "--threads", "1"];
    let own = start(folder, env!("CARGO_BIN_EXE_serin"), &own, OWN_PORT);
    let mut rates = Vec::new();
    for _ in 0..ROUNDS {
        rates.extend(own.as_ref().and_then(|_| measure(folder, OWN_PORT)).map(|(rate, _)| rate));
    }
    println!("live   serin    {:>8.0}/s, 10,000 programmes, rank 64", median(&mut rates).unwrap_or(f64::NAN));
    let told = load(folder, token.trim(), "5000", "10s");
    println!(
        "live   at 5,000/s: p99 {} ms, p50 {} ms, answered {}/s",
        told["latency_ms"]["p99"], told["latency_ms"]["p50"], told["rate"]["answered"]
    );
}

/// A new generation of lists while 1,000 a second are answered: errors, mixed answers, and how long it took.
fn switch(folder: &Path) {
    let at = |name: &str| folder.join(name).display().to_string();
    let store = platform(folder, 20_000, 400_000, &["--rank", "16", "--iterations", "2"]);
    let token = serin(folder, &["token", "--ttl", "10h"]);
    let listen = format!("127.0.0.1:{OWN_PORT}");
    let items = at("data/items.csv");
    let own = ["serve", "--store", &store, "--items", &items, "--listen", &listen, "--threads", "1"];
    let own = start(folder, env!("CARGO_BIN_EXE_serin"), &own, OWN_PORT);
    // The second model is trained and its lists lie there; a roll back and a publish move the pointer only.
    let rows = at("data/interactions.csv");
    serin(folder, &["train", "--interactions", &rows, "--out", &at("second"), "--rank", "8", "--iterations", "2"]);
    serin(folder, &["publish", "--model", &at("second"), "--store", &store, "--items", &items]);
    let model = |of: &str| fs::read_to_string(folder.join(of)).expect("a pointer");
    let second = model("store/current");
    let generation = || {
        let text =
            String::from_utf8(answer(OWN_PORT, "/v1/recommendations/u7?limit=1", token.trim())).unwrap_or_default();
        text.split("\"model\":").nth(1).map(str::to_owned).unwrap_or_default()
    };
    let taken = thread::scope(|scope| {
        let loaded = scope.spawn(|| load(folder, token.trim(), "1000", "6s"));
        thread::sleep(Duration::from_secs(2));
        let (before, mut took) = (generation(), Vec::new());
        for _ in 0..3 {
            for pointer in ["gen-00000001.lists", second.trim()] {
                let (was, began) = (generation(), Instant::now());
                fs::write(folder.join("store/next"), pointer).expect("written");
                fs::rename(folder.join("store/next"), folder.join("store/current")).expect("moved");
                while generation() == was && began.elapsed() < Duration::from_secs(5) {
                    thread::sleep(Duration::from_millis(1));
                }
                took.push(began.elapsed().as_secs_f64() * 1000.0);
                thread::sleep(Duration::from_millis(300));
            }
        }
        drop(before);
        (took, loaded.join().expect("loaded"))
    });
    let (took, told) = taken;
    let longest = took.iter().copied().fold(0.0, f64::max);
    println!(
        "switch six under {}/s: {longest:.0} ms the longest, {} errors of {}, p99 {} ms",
        told["rate"]["answered"], told["errors"]["total"], told["requests"], told["latency_ms"]["p99"]
    );
    drop(own);
}

/// Prepared lists of a hundred to the embedded store: written, synced, checked, read back in part, pointed to. Beside it
/// the same bytes written at once and synced, which is what this disk can do.
fn store(folder: &Path) {
    use serin::serve::store::Meta;
    use serin::serve::stores::embedded::Writer;
    const LISTS: u32 = 1_000_000;
    fs::create_dir_all(folder).expect("a folder");
    // A few hundred different lists, in turns: making them is not what is measured.
    let score = |i: u32, n: u32| 3.0 / (1.0 + n as f32) + (i * 31 % 97) as f32 / 1e4;
    let list = |i: u32| (0..100).map(|n| ((i * 7919 + n * 53) % 5000, score(i, n))).collect::<Vec<_>>();
    let lists: Vec<_> = (0..512).map(list).collect();
    let keys: Vec<String> = (0..LISTS).map(|i| format!("u{i}")).collect();
    let table: Vec<String> = (0..5000).map(|p| format!("p{p}")).collect();
    let (mut rates, mut floors, mut bytes) = (Vec::new(), Vec::new(), 0);
    for round in 0..ROUNDS {
        let place = folder.join("store");
        let began = Instant::now();
        let mut writer = Writer::begin(&place).expect("begins");
        table.iter().for_each(|id| _ = writer.numbers.number(id));
        for (i, key) in keys.iter().enumerate() {
            writer.list(key, &lists[i % lists.len()]).expect("written");
        }
        let published = writer.finish(Meta { model: format!("{round}"), ..Meta::default() }).expect("published");
        rates.push(f64::from(LISTS) / began.elapsed().as_secs_f64());
        assert_eq!(published.lists, u64::from(LISTS));
        bytes = published.bytes;
        let whole = fs::read(place.join(&published.generation)).expect("reads");
        let began = Instant::now();
        let copy = fs::File::create(folder.join("copy")).expect("made");
        std::io::Write::write_all(&mut &copy, &whole).expect("written");
        copy.sync_all().expect("synced");
        floors.push(whole.len() as f64 / 1e6 / began.elapsed().as_secs_f64());
        let _ = fs::remove_dir_all(&place);
    }
    let (rate, floor) = (median(&mut rates).unwrap_or(f64::NAN), median(&mut floors).unwrap_or(f64::NAN));
    let per_list = bytes as f64 / f64::from(LISTS);
    println!(
        "store  {LISTS} prepared lists: {rate:.0} a second, {bytes} bytes at {:.0} MB/s; this disk takes a plain copy at \
         {floor:.0} MB/s, {:.0} lists a second",
        rate * per_list / 1e6,
        floor * 1e6 / per_list
    );
}

/// Lists to a DynamoDB-compatible server behind the limiter: how much of the write budget is used, what was throttled,
/// and whether all of them are there.
fn table(folder: &Path) {
    use serin::serve::table_limit::{Front, Limits, serve};
    let at = |name: &str| folder.join(name).display().to_string();
    synth(folder, 20_000, 300_000, &[]);
    let (rows, items) = (at("data/interactions.csv"), at("data/items.csv"));
    serin(folder, &["train", "--interactions", &rows, "--out", &at("model"), "--rank", "16", "--iterations", "2"]);
    for (capacity, greed) in [(1000.0, 1.0), (2000.0, 1.0), (2000.0, 1.5)] {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("starts");
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("bound");
        let upstream = format!("http://{}", listener.local_addr().expect("an address"));
        runtime.spawn(dynoxide::server::serve_on(listener, dynoxide::Database::memory().expect("a database")));
        // No unused capacity is kept: whatever comes above it is throttled at once.
        let front = Arc::new(Front::new(&upstream, Limits::new(10_000.0, capacity, 0.1)).expect("made"));
        let (told, address) = std::sync::mpsc::channel::<std::net::SocketAddr>();
        runtime.spawn(serve(([127, 0, 0, 1], 0).into(), Arc::clone(&front), move |at| _ = told.send(at)));
        let url = format!("http://{}", address.recv().expect("an address"));
        let budget = (capacity * greed).to_string();
        let publish = ["publish", "--json", "--model", &at("model"), "--items", &items, "--store", "dynamodb:lists"];
        let more = ["--endpoint-url", &url, "--create-table", "--wcu", &budget, "--count"];
        let told = serin(folder, &[&publish[..], &more].concat());
        let told: serde_json::Value = serde_json::from_str(&told).expect("JSON");
        let (limits, table) = (front.limits(), &told["table"]);
        println!(
            "table  {capacity:.0} units, asked at {budget}: {} lists, {} counted, {:.2} % of the budget, {} units/s, the \
             fullest second {:.0}; {} writes throttled, {} items came again",
            told["lists"],
            table["counted"],
            table["share_of_budget"].as_f64().unwrap_or(f64::NAN) * 100.0,
            table["units_per_second"],
            limits.peak_write,
            limits.total.write_throttles,
            table["came_again"],
        );
    }
}

/// Publishing a million lists, starting with them, and what that takes of memory.
fn million(folder: &Path) {
    let at = |name: &str| folder.join(name).display().to_string();
    synth(folder, 1_000_000, 12_000_000, &["--programmes", "5000"]);
    let rows = at("data/interactions.csv");
    serin(folder, &["train", "--interactions", &rows, "--out", &at("model"), "--rank", "32", "--iterations", "2"]);
    let _ = fs::remove_file(&rows);
    let store = format!("embedded:{}", at("store"));
    let items = at("data/items.csv");
    let publish = ["publish", "--json", "--model", &at("model"), "--store", &store, "--items", &items];
    let told: serde_json::Value = serde_json::from_str(&serin(folder, &publish)).expect("JSON");
    println!(
        "million published: {} lists at {} a second, {} bytes",
        told["lists"], told["lists_per_second"], told["bytes"]
    );
    for what in ["--store", "--model"] {
        let model = at("model");
        let listen = format!("127.0.0.1:{OWN_PORT}");
        let from = if what == "--store" { &store } else { &model };
        let began = Instant::now();
        let own = ["serve", what, from, "--items", &items, "--listen", &listen, "--threads", "1"];
        let own = start(folder, env!("CARGO_BIN_EXE_serin"), &own, OWN_PORT);
        let took = began.elapsed();
        let Some(Running(child)) = &own else { continue };
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let memory = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap_or(" unknown").trim().to_owned();
        println!("million {what}: ready after {:.2} s, {memory} of memory", took.as_secs_f64());
    }
}

/// Makes viewings, a model of them, and its lists; returns the store.
fn platform(folder: &Path, viewers: u32, viewings: u32, training: &[&str]) -> String {
    let at = |name: &str| folder.join(name).display().to_string();
    synth(folder, viewers, viewings, &[]);
    let rows = at("data/interactions.csv");
    serin(folder, &[&["train", "--interactions", &rows, "--out", &at("model")], training].concat());
    let store = format!("embedded:{}", at("store"));
    serin(folder, &["publish", "--model", &at("model"), "--store", &store, "--items", &at("data/items.csv")]);
    store
}

fn synth(folder: &Path, viewers: u32, viewings: u32, more: &[&str]) {
    fs::create_dir_all(folder).expect("a folder");
    let (out, viewers, viewings) =
        (folder.join("data").display().to_string(), viewers.to_string(), viewings.to_string());
    let all = ["data", "synth", "--out", &out, "--viewers", &viewers, "--viewings", &viewings];
    serin(folder, &[&all[..], more].concat());
}

/// Asks by our own engine, evenly, from core 0.
fn load(folder: &Path, token: &str, rate: &str, duration: &str) -> serde_json::Value {
    let url = format!("http://127.0.0.1:{OWN_PORT}/v1/recommendations/u7?limit=20&channel=-ch-one");
    let header = format!("Authorization: Bearer {token}");
    let mut command = Command::new("taskset");
    command.args(["-c", "0", env!("CARGO_BIN_EXE_serin"), "load", "--json", "--url", &url, "--rate", rate]);
    command.args(["--duration", duration, "--header", &header]).current_dir(folder);
    let out = command.env("SERIN_HOME", folder.join("home")).output().expect("serin runs");
    serde_json::from_slice(&out.stdout).unwrap_or_default()
}

/// Returns the body of one answer.
fn answer(port: u16, path: &str, token: &str) -> Vec<u8> {
    use std::io::{Read as _, Write as _};
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connects");
    let text = format!("GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).expect("sent");
    let mut whole = Vec::new();
    let _ = stream.read_to_end(&mut whole);
    let body = whole.windows(4).position(|w| w == b"\r\n\r\n").map_or(whole.len(), |at| at + 4);
    whole.split_off(body)
}

/// A server that does nothing but send the same bytes: the most that can be had of hyper on one core.
fn bare(port: u16, body: &[u8]) {
    use hyper::service::service_fn;
    let body = bytes::Bytes::copy_from_slice(body);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("starts");
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async move {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.expect("bound");
        loop {
            let (stream, _) = listener.accept().await.expect("accepts");
            let _ = stream.set_nodelay(true);
            let body = body.clone();
            tokio::task::spawn_local(async move {
                let service = service_fn(move |_| {
                    let mut reply = hyper::Response::new(http_body_util::Full::new(body.clone()));
                    let json = hyper::header::HeaderValue::from_static("application/json");
                    reply.headers_mut().insert(hyper::header::CONTENT_TYPE, json);
                    std::future::ready(Ok::<_, std::convert::Infallible>(reply))
                });
                let mut http = hyper::server::conn::http1::Builder::new();
                let io = hyper_util::rt::TokioIo::new(stream);
                let _ = http.pipeline_flush(true).serve_connection(io, service).await;
            });
        }
    });
}

/// What wrk asks: any viewer, one device, two channels shut out.
fn question(token: &str) -> String {
    format!(
        "wrk.headers['Authorization'] = 'Bearer {token}'\nmath.randomseed(11)\n\
         local devices = {{'tv', 'web', 'ios', 'android', 'tablet'}}\n\
         request = function()\n  return wrk.format('GET', '/v1/recommendations/u' .. math.random(0, {}) .. \
         '?limit=20&channel=-ch-one,-ch-two&devices=' .. devices[math.random(5)])\nend\n",
        VIEWERS - 1
    )
}

fn serin(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_serin"));
    command.env("SERIN_HOME", folder.join("home")).env("SERIN_JWT_SECRET", SECRET);
    // For the local table; nothing here asks AWS.
    command.env("AWS_ACCESS_KEY_ID", "local").env("AWS_SECRET_ACCESS_KEY", "local").env("AWS_REGION", "eu-west-1");
    let out = command.args(arguments).output().expect("serin runs");
    assert!(out.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// Starts a service on core 1 and waits until it listens.
fn start(folder: &Path, program: &str, arguments: &[&str], port: u16) -> Option<Running> {
    let mut command = Command::new("taskset");
    command.args(["-c", "1", program]).args(arguments).current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null());
    command.env("SERIN_HOME", folder.join("home")).env("SERIN_JWT_SECRET", SECRET).env("LISTS", folder);
    let mut running = Running(command.spawn().ok()?);
    for _ in 0..6_000 {
        thread::sleep(Duration::from_millis(10));
        if running.0.try_wait().ok()?.is_some() {
            return None;
        }
        if is_ready(port) {
            return Some(running);
        }
    }
    None
}

/// Whether it answers; a port is open long before that, and one without this path says so and is ready too.
fn is_ready(port: u16) -> bool {
    use std::io::{Read as _, Write as _};
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let mut head = [0; 12];
    let asked = stream.write_all(b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
    asked.and_then(|()| stream.read_exact(&mut head)).is_ok() && !head.ends_with(b"503")
}

/// Returns answers a second and p99 in ms; nothing if wrk is missing or an answer was an error.
fn measure(folder: &Path, port: u16) -> Option<(f64, f64)> {
    let seconds = std::env::var("SERIN_BENCH_SECONDS").unwrap_or_else(|_| "5".to_owned());
    let mut command = Command::new("taskset");
    command.args(["-c", "0", "wrk", "-t1", "-c64", "--latency", "-d", &format!("{seconds}s"), "-s"]);
    let out = command.arg(folder.join("ask.lua")).arg(format!("http://127.0.0.1:{port}")).output().ok()?;
    let text = String::from_utf8_lossy(&out.stdout);
    if text.contains("Non-2xx") {
        println!("on port {port} not every answer was a list; not counted:\n{text}");
        return None;
    }
    let after = |word: &str| text.split_once(word)?.1.split_whitespace().next().map(str::to_owned);
    Some((after("Requests/sec:")?.parse().ok()?, millis(&after("99%")?)?))
}

/// Reads wrk's `655.87us`, `1.40ms` or `1.02s`.
fn millis(text: &str) -> Option<f64> {
    let at = text.find(|c: char| c.is_alphabetic())?;
    let (number, unit) = text.split_at(at);
    let factor = match unit {
        "us" => 0.001,
        "ms" => 1.0,
        "s" => 1000.0,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
