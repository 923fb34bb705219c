//! Lists in a DynamoDB table, behind a limiter: published within the budget, resumed after a kill, served, rolled back, and a store that is slow or down.
#![cfg(feature = "aws")]

mod served;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde_json::Value;
use serin::serve::table_limit::{Front, Limits, serve};
use served::Api;

/// A DynamoDB-compatible server in this process, and the limiter before it.
struct Server {
    runtime: tokio::runtime::Runtime,
    front: Arc<Front>,
    url: String,
    upstream: String,
}

impl Server {
    fn start(read: f64, write: f64, burst_s: f64) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("starts");
        let database = dynoxide::Database::memory().expect("a database");
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("bound");
        let upstream = format!("http://{}", listener.local_addr().expect("an address"));
        runtime.spawn(dynoxide::server::serve_on(listener, database));
        let front = Arc::new(Front::new(&upstream, Limits::new(read, write, burst_s)).expect("made"));
        let (told, address) = std::sync::mpsc::channel::<SocketAddr>();
        let shared = Arc::clone(&front);
        runtime.spawn(serve(([127, 0, 0, 1], 0).into(), shared, move |at| told.send(at).expect("awaited")));
        let url = format!("http://{}", address.recv().expect("an address"));
        Self { runtime, front, url, upstream }
    }
}

fn command(home: &Path, arguments: &[&str]) -> Command {
    let mut command = served::command(home, arguments);
    command.env_remove("AWS_PROFILE").env("AWS_ACCESS_KEY_ID", "local").env("AWS_SECRET_ACCESS_KEY", "local");
    command.env("AWS_REGION", "eu-west-1");
    command
}

fn serin(home: &Path, arguments: &[&str]) -> Output {
    command(home, arguments).output().expect("runs")
}

fn done(home: &Path, arguments: &[&str]) -> Value {
    let output = serin(home, &[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Viewers of two tastes and a model of them.
fn train(home: &Path, viewers: usize) {
    let mut rows = "USER_ID,ITEM_ID,TIMESTAMP,EVENT_VALUE\n".to_owned();
    for viewer in 0..viewers {
        let taste = if viewer % 2 == 0 { "a" } else { "b" };
        for programme in 0..4 {
            rows += &format!("u{viewer},{taste}{},{},1.0\n", (viewer / 2 + programme) % 8, 1_700_000_000 + programme);
        }
    }
    std::fs::write(home.join("interactions.csv"), rows).expect("written");
    let items: String = ["a", "b"].iter().flat_map(|t| (0..8).map(move |p| format!("{t}{p},{t}\n"))).collect();
    std::fs::write(home.join("items.csv"), format!("ITEM_ID,CHANNEL\n{items}")).expect("written");
    done(home, &["train", "--interactions", "interactions.csv", "--out", "model", "--rank", "4", "--seed", "7"]);
}

fn publish<'a>(server: &'a Server, more: &[&'a str]) -> Vec<&'a str> {
    let mut all = vec!["publish", "--model", "model", "--items", "items.csv", "--store", "dynamodb:lists"];
    all.extend(["--endpoint-url", &server.url, "--create-table", "--lease", "3s"]);
    all.extend(more);
    all
}

/// Forty viewers' lists in a table that has room.
fn published() -> (tempfile::TempDir, Server) {
    let dir = tempfile::tempdir().expect("a folder");
    train(dir.path(), 40);
    let server = Server::start(10_000.0, 10_000.0, 300.0);
    done(dir.path(), &publish(&server, &[]));
    (dir, server)
}

/// An API process that answers from the table.
fn start(home: &Path, url: &str, more: &[&str]) -> Api {
    let store = ["serve", "--listen", "127.0.0.1:0", "--items", "items.csv", "--store", "dynamodb:lists"];
    Api::run(home, command(home, &[&store[..], &["--endpoint-url", url], more].concat()))
}

fn ask(api: &Api, viewer: &str) -> Value {
    api.get(&format!("/v1/recommendations/{viewer}?limit=2"))
}

fn metrics(api: &Api) -> String {
    api.ask("GET", "/metrics", "").1
}

fn becomes(api: &Api, what: &str, wished: impl Fn(&Value) -> bool) {
    let began = Instant::now();
    while !wished(&ask(api, "u0")) {
        assert!(began.elapsed() < Duration::from_secs(20), "{what}: {}", ask(api, "u0"));
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn degraded(answer: &Value) -> bool {
    answer["degraded"] == true
        && answer["source"] == "popular"
        && !answer["items"].as_array().expect("items").is_empty()
}

#[test]
fn lists_go_to_a_table_are_served_from_it_and_a_roll_back_is_one_pointer() {
    let dir = tempfile::tempdir().expect("a folder");
    let home = dir.path();
    train(home, 40);
    let server = Server::start(10_000.0, 10_000.0, 300.0);
    let objects = home.join("objects").display().to_string();
    let first = done(home, &publish(&server, &["--objects", &objects]));
    assert_eq!((&first["lists"], &first["generation"]), (&40.into(), &"generation 1".into()), "{first}");
    let table = &first["table"];
    assert!(
        table["read_back"].as_u64() >= Some(6) && table["over_one_unit"] == 0 && table["expires"] == true,
        "{first}"
    );
    assert!(home.join("objects/gen-00000001/lists.serin").is_file() && home.join("objects/current.json").is_file());

    let api = start(home, &server.url, &[]);
    let before = ask(&api, "u0");
    assert_eq!((&before["source"], &before["degraded"]), (&"list".into(), &false.into()), "{before}");
    assert!(before["items"][0]["itemId"].as_str().is_some_and(|i| i.starts_with('a')), "{before}");
    assert_eq!(ask(&api, "nobody")["source"], "popular");
    let similar = api.get("/v1/similar/a0?limit=2");
    assert_eq!(similar["source"], "list", "{similar}");
    let reads = server.front.limits().total.read_units;
    ask(&api, "u0");
    assert!(server.front.limits().total.read_units - reads < 0.5 + 2.0, "a list that was read is remembered");
    assert!(metrics(&api).contains("serin_store_cache_hits_total 1"), "one hit");

    // Another model: its lists are taken up, then rolled back.
    std::fs::rename(home.join("interactions.csv"), home.join("old.csv")).expect("moved");
    let turned = std::fs::read_to_string(home.join("old.csv")).expect("read").replace("u0,a", "u0,b");
    std::fs::write(home.join("interactions.csv"), turned).expect("written");
    done(home, &["train", "--interactions", "interactions.csv", "--out", "model", "--rank", "4", "--seed", "7"]);
    let second = done(home, &publish(&server, &["--count"]));
    assert_eq!(second["generation"], "generation 2", "{second}");
    // Forty viewers and sixteen programmes, beside those of the generation before.
    assert_eq!(second["table"]["counted"], 56, "{second}");
    assert!(second["table"]["count_read_units"].as_f64() > Some(0.0), "{second}");
    becomes(&api, "the switch", |a| a["model"] != before["model"]);
    let back = ["publish", "--rollback", "--store", "dynamodb:lists", "--endpoint-url", &server.url];
    assert_eq!(done(home, &back)["to"], "generation 1");
    becomes(&api, "the roll back", |a| *a == before);
    let none = serin(home, &back);
    assert!(String::from_utf8_lossy(&none.stderr).contains("no generation before 1"));
    assert_eq!(done(home, &publish(&server, &[]))["generation"], "generation 3", "a number is never used twice");
}

#[test]
fn the_budget_is_filled_and_never_exceeded_and_what_is_not_taken_comes_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let home = dir.path();
    train(home, 1500);
    // A table of 500 units, one second of them kept; a budget just as large meets no throttle.
    let server = Server::start(10_000.0, 500.0, 1.0);
    let told = done(home, &publish(&server, &[]));
    let table = &told["table"];
    assert_eq!(
        (&told["lists"], &table["budget_units"]),
        (&1500.into(), &500.0.into()),
        "the table's own capacity: {told}"
    );
    assert!(table["units_per_second"].as_f64() <= Some(501.0), "{told}");
    println!("{} of the write budget", table["share_of_budget"]);
    {
        let limits = server.front.limits();
        assert!(limits.peak_write <= 1000.0, "{}", limits.peak_write);
    }
    // More than the table has: throttled, and still nothing is lost.
    std::fs::remove_dir_all(home.join("model")).expect("gone");
    train(home, 1500);
    let greedy = done(home, &publish(&server, &["--wcu", "3000"]));
    assert_eq!(greedy["lists"], 1500, "{greedy}");
    assert!(greedy["table"]["came_again"].as_u64() > Some(0), "{greedy}");
    assert!(server.front.limits().total.throttled_requests > 0);
    let api = start(home, &server.url, &[]);
    for viewer in [0, 1, 777, 1499] {
        let answer = ask(&api, &format!("u{viewer}"));
        assert_eq!(answer["source"], "list", "{answer}");
    }
}

#[test]
fn a_publish_that_was_killed_is_gone_on_with_and_serves_nothing_until_it_is_whole() {
    let dir = tempfile::tempdir().expect("a folder");
    let home = dir.path();
    train(home, 1200);
    let server = Server::start(10_000.0, 10_000.0, 300.0);
    let mut child = command(home, &publish(&server, &["--wcu", "200"])).stderr(Stdio::null()).spawn().expect("starts");
    // Killed when some hundred lists are in, and its progress is written down.
    let began = Instant::now();
    while server.front.limits().total.write_units < 500.0 && began.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().expect("killed");
    child.wait().expect("reaped");
    let written = server.front.limits().total.write_units;
    let items = ["serve", "--listen", "127.0.0.1:0", "--items", "items.csv", "--store", "dynamodb:lists"];
    let early = serin(home, &[&items[..], &["--endpoint-url", &server.url]].concat());
    assert!(String::from_utf8_lossy(&early.stderr).contains("nothing is published there"), "{early:?}");
    let told = done(home, &publish(&server, &[]));
    let resumed = told["table"]["resumed"].as_f64().expect("a number");
    assert!(resumed > 0.0 && resumed <= written, "{resumed} of {written}: {told}");
    assert_eq!((&told["lists"], &told["generation"]), (&1200.into(), &"generation 1".into()), "{told}");
    let second = server.front.limits().total.write_units - written;
    assert!(second <= 1216.0 - resumed + 40.0, "what was written is not written again: {second}");
    let api = start(home, &server.url, &[]);
    for viewer in (0..1200).step_by(97) {
        assert_eq!(ask(&api, &format!("u{viewer}"))["source"], "list");
    }
}

#[test]
fn a_store_that_throttles_or_is_down_gives_the_popular_list_marked_and_at_once() {
    let (dir, server) = published();
    let home = dir.path();
    let narrow =
        Server { front: Arc::new(Front::new(&server.upstream, Limits::new(1.0, 1.0, 30.0)).expect("made")), ..server };
    let front = Arc::clone(&narrow.front);
    let (told, address) = std::sync::mpsc::channel::<SocketAddr>();
    let gate =
        narrow.runtime.spawn(serve(([127, 0, 0, 1], 0).into(), front, move |at| told.send(at).expect("awaited")));
    let url = format!("http://{}", address.recv().expect("an address"));
    let api = start(home, &url, &["--store-deadline", "500ms", "--remember", "0"]);
    becomes(&api, "throttled", degraded);
    assert!(!metrics(&api).contains("result=\"throttled\"} 0"), "counted");
    // The store is gone: new connections are refused, and those that are open end.
    gate.abort();
    drop(narrow);
    becomes(&api, "down", degraded);
    for _ in 0..40 {
        assert!(degraded(&ask(&api, "u0")));
    }
    let asked = Instant::now();
    assert!(degraded(&ask(&api, "u1")));
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    assert!(!metrics(&api).contains("result=\"left-alone\"} 0"), "a store that is down is left alone");
    assert_eq!(api.get("/health/ready")["store"], "down", "it can still answer");
}

#[test]
fn the_limiter_stands_before_any_local_server_and_tells_what_it_did() {
    let dir = tempfile::tempdir().expect("a folder");
    let home = dir.path();
    train(home, 40);
    let server = Server::start(10_000.0, 10_000.0, 300.0);
    let flags = ["limiter", "--listen", "127.0.0.1:0", "--upstream", &server.upstream, "--wcu", "50", "--burst", "1s"];
    let mut child = command(home, &flags).stderr(Stdio::piped()).spawn().expect("starts");
    let mut line = String::new();
    BufReader::new(child.stderr.take().expect("piped")).read_line(&mut line).expect("a line");
    let url = line.trim().strip_prefix("ready: ").expect("ready").to_owned();
    let limiter = Api { child, address: url.trim_start_matches("http://").to_owned(), token: String::new() };
    let store = ["publish", "--model", "model", "--items", "items.csv", "--store", "dynamodb:lists", "--create-table"];
    let told = done(home, &[&store[..], &["--endpoint-url", &url]].concat());
    assert_eq!(told["table"]["budget_units"], 50.0, "the table has the limiter's capacity: {told}");
    let page = limiter.get("/limits");
    let written = page["write"]["units"].as_f64().expect("a number");
    assert!(written >= 56.0 && page["billed"]["on_demand"]["write_request_units"].as_f64() >= Some(written), "{page}");
    assert_eq!(page["write"]["throttled"], 0, "who keeps to the capacity meets no throttle: {page}");
    // What CloudWatch would say of it.
    let query = r#"{"MetricDataQueries":[{"Id":"used","MetricStat":{"Metric":{"MetricName":"ConsumedWriteCapacityUnits"},"Period":60,"Stat":"Sum"}}]}"#;
    let mut stream = TcpStream::connect(&limiter.address).expect("connects");
    let head = format!(
        "POST / HTTP/1.1\r\nhost: x\r\nx-amz-target: GraniteServiceVersion20100801.GetMetricData\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{query}",
        query.len()
    );
    stream.write_all(head.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    let told: Value = serde_json::from_str(answer.split_once("\r\n\r\n").expect("a head").1).expect("JSON");
    let sum: f64 =
        told["MetricDataResults"][0]["Values"].as_array().expect("values").iter().filter_map(Value::as_f64).sum();
    assert!((sum - written).abs() < 1e-6, "{told}");
}

/// Trouble between two sides.
#[derive(Default)]
struct Between {
    /// Connections stay open and nothing comes any more.
    stalls: AtomicBool,
    /// New connections end at once.
    refuses: AtomicBool,
}

/// Stands between two sides and passes bytes on, as far as its trouble lets it.
fn between(to: String) -> (String, Arc<Between>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let trouble = Arc::new(Between::default());
    let shared = Arc::clone(&trouble);
    std::thread::spawn(move || {
        for near in listener.incoming().flatten() {
            if shared.refuses.load(Relaxed) {
                continue;
            }
            let Ok(far) = TcpStream::connect(&to) else { continue };
            for (mut from, mut into) in [(near.try_clone(), far.try_clone()), (far.try_clone(), near.try_clone())]
                .into_iter()
                .filter_map(|(from, into)| Some((from.ok()?, into.ok()?)))
            {
                let trouble = Arc::clone(&shared);
                std::thread::spawn(move || {
                    let mut bytes = [0; 16 * 1024];
                    while let Ok(read @ 1..) = from.read(&mut bytes) {
                        while trouble.stalls.load(Relaxed) {
                            std::thread::sleep(Duration::from_millis(5));
                        }
                        if into.write_all(&bytes[..read]).is_err() {
                            break;
                        }
                    }
                    let _ = into.shutdown(std::net::Shutdown::Both);
                });
            }
        }
    });
    (url, trouble)
}

#[test]
fn a_store_that_stalls_holds_no_request_beyond_its_deadline_and_is_used_again_when_it_is_well() {
    let (dir, server) = published();
    let home = dir.path();
    let (url, trouble) = between(server.url.trim_start_matches("http://").to_owned());
    let api = start(home, &url, &["--store-deadline", "1s", "--remember", "0"]);
    becomes(&api, "well", |a| a["source"] == "list" && a["degraded"] == false);
    trouble.stalls.store(true, Relaxed);
    // Thirty at once: each waits for the deadline, not for the ones before it.
    let asked = Instant::now();
    std::thread::scope(|scope| {
        for i in 0..30 {
            let api = &api;
            scope.spawn(move || {
                let answer = ask(api, &format!("u{i}"));
                assert!(answer["degraded"] == true && answer["source"] == "popular", "{answer}");
            });
        }
    });
    assert!(asked.elapsed() < Duration::from_secs(12), "thirty one after another would take thirty seconds");
    // By now the store is left alone: nobody waits for it.
    let asked = Instant::now();
    for _ in 0..20 {
        assert_eq!(ask(&api, "u0")["degraded"], true);
    }
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
    trouble.stalls.store(false, Relaxed);
    becomes(&api, "well again", |a| a["source"] == "list" && a["degraded"] == false);
}

#[test]
fn a_process_starts_while_its_store_is_down_answers_what_everybody_gets_and_recovers() {
    let (dir, server) = published();
    let home = dir.path();
    let (url, trouble) = between(server.url.trim_start_matches("http://").to_owned());
    trouble.refuses.store(true, Relaxed);
    // Nothing was ever read of the store: the catalogue is all there is.
    let api = start(home, &url, &[]);
    assert!(degraded(&ask(&api, "u0")) && degraded(&api.get("/v1/popular")), "{}", ask(&api, "u0"));
    assert_eq!(api.get("/health/ready")["store"], "down");
    assert!(!metrics(&api).contains("result=\"left-alone\"} 0"), "counted");
    trouble.refuses.store(false, Relaxed);
    becomes(&api, "the store is back", |a| a["source"] == "list" && a["degraded"] == false);
    assert_eq!(api.get("/health/ready")["store"], "up");
    let popular = api.get("/v1/popular");
    assert_eq!(popular["degraded"], false);
    // From now on what everybody gets is known also to a start without the store.
    drop(api);
    trouble.refuses.store(true, Relaxed);
    let again = start(home, &url, &[]);
    let (kept, model) = (again.get("/v1/popular"), &popular["model"]);
    assert_eq!((&kept["items"], &kept["model"], &kept["degraded"]), (&popular["items"], model, &true.into()));
    // With a model at hand nobody has to do with what everybody gets.
    drop(again);
    let live = start(home, &url, &["--model", "model"]);
    let own = ask(&live, "u0");
    assert_eq!((&own["source"], &own["degraded"]), (&"live".into(), &true.into()), "{own}");
}
