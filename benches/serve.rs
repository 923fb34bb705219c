//! One API process on one core beside the usual Python stack on the same lists: answers a second and p99, with a checked
//! token and two filters.
//!
//! `cargo bench --bench serve`; needs `wrk`, which runs on core 0 while the API has core 1. `SERIN_PEERS=~/.peers` names a
//! Python environment that has fastapi, uvicorn, uvloop, httptools, pyjwt and orjson. Three rounds in turns, medians.
//! `SERIN_BENCH_SECONDS` (5) sets the length of one measurement.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

const ROUNDS: usize = 3;
const VIEWERS: u32 = 50_000;
const OWN_PORT: u16 = 18_783;
const PEER_PORT: u16 = 18_784;
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
    let folder = std::env::temp_dir().join(format!("serin-serve-{}", std::process::id()));
    let at = |name: &str| folder.join(name).display().to_string();
    serin(
        &folder,
        &["data", "synth", "--out", &at("data"), "--viewers", &VIEWERS.to_string(), "--viewings", "1500000"],
    );
    let rows = at("data/interactions.csv");
    serin(&folder, &["train", "--interactions", &rows, "--out", &at("model"), "--rank", "16", "--iterations", "3"]);
    serin(&folder, &["recommend", "--model", &at("model"), "--out", &at("lists.csv"), "--top", "100"]);
    let store = format!("embedded:{}", at("store"));
    serin(&folder, &["publish", "--model", &at("model"), "--store", &store, "--items", &at("data/items.csv")]);
    let token = serin(&folder, &["token", "--ttl", "10h"]);
    fs::write(folder.join("peer.py"), PEER).expect("written");
    fs::write(folder.join("ask.lua"), question(token.trim())).expect("written");

    let listen = format!("127.0.0.1:{OWN_PORT}");
    let items = at("data/items.csv");
    let own = ["serve", "--store", &store, "--items", &items, "--listen", &listen, "--threads", "1"];
    let own = start(&folder, env!("CARGO_BIN_EXE_serin"), &own, OWN_PORT);
    let python = std::env::var("SERIN_PEERS").map(|peers| format!("{peers}/bin/uvicorn"));
    let port = PEER_PORT.to_string();
    let one = ["peer:app", "--port", &port, "--loop", "uvloop", "--http", "httptools", "--no-access-log"];
    let peer = python.ok().and_then(|python| start(&folder, &python, &one, PEER_PORT));
    let services = [("serin", OWN_PORT, own), ("FastAPI", PEER_PORT, peer)];

    let mut seen = [(Vec::new(), Vec::new()), (Vec::new(), Vec::new())];
    for _ in 0..ROUNDS {
        for ((_, port, running), (rates, p99s)) in services.iter().zip(&mut seen) {
            if let Some((rate, p99)) = running.as_ref().and_then(|_| measure(&folder, *port)) {
                rates.push(rate);
                p99s.push(p99);
            }
        }
    }
    let own = median(&mut seen[0].0).unwrap_or(f64::NAN);
    for ((name, ..), (rates, p99s)) in services.iter().zip(&mut seen) {
        match (median(rates), median(p99s)) {
            (Some(rate), Some(p99)) => {
                println!("{name:8} {rate:>8.0}/s  p99 {p99:>7.2} ms   serin answers {:.1} x as many", own / rate);
            }
            _ => println!("{name:8} not measured: wrk is not installed, or SERIN_PEERS names no Python environment"),
        }
    }
    drop(services);
    let _ = fs::remove_dir_all(&folder);
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
    for _ in 0..600 {
        thread::sleep(Duration::from_millis(100));
        if running.0.try_wait().ok()?.is_some() {
            return None;
        }
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Some(running);
        }
    }
    None
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
