//! The serving stack from the outside: data to model to lists to answers, tokens refused, a disk that is full.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn serin(home: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_serin"));
    command.current_dir(home).env("SERIN_HOME", home.join("home")).env("SERIN_JWT_SECRET", SECRET);
    command.args(arguments).output().expect("runs")
}

fn done(home: &Path, arguments: &[&str]) -> String {
    let output = serin(home, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

/// An API process on a free port, ended with the test.
struct Api {
    child: Child,
    address: String,
}

impl Api {
    fn start(home: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_serin"));
        command.current_dir(home).env("SERIN_HOME", home.join("home")).env("SERIN_JWT_SECRET", SECRET);
        command.args(["serve", "--listen", "127.0.0.1:0"]).args(arguments).stderr(Stdio::piped());
        let mut api = Self { child: command.spawn().expect("starts"), address: String::new() };
        let mut said = String::new();
        let mut lines = BufReader::new(api.child.stderr.take().expect("piped"));
        while lines.read_line(&mut said).expect("a line") > 0 {
            let last = said.lines().last().unwrap_or_default();
            if let Some((_, address)) = last.split_once("ready: http://") {
                address.split(' ').next().unwrap_or_default().clone_into(&mut api.address);
                return api;
            }
        }
        panic!("it ended before it was up: {said}");
    }

    /// Returns status and body.
    fn ask(&self, method: &str, path: &str, token: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).expect("connects");
        let text = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        stream.write_all(text.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        (head[9..12].parse().expect("a status"), body.to_owned())
    }

    fn first(&self, viewer: &str, token: &str) -> String {
        let (status, body) = self.ask("GET", &format!("/v1/recommendations/{viewer}?limit=1"), token, "");
        assert_eq!(status, 200, "{body}");
        let answer: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!((&answer["source"], &answer["degraded"]), (&"list".into(), &false.into()), "{answer}");
        answer["items"][0]["itemId"].as_str().expect("an id").to_owned()
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Two tastes; `me` shares `loved` with the others of one of them.
fn write_data(home: &Path, loved: &str) {
    let mut rows = "USER_ID,ITEM_ID,TIMESTAMP,EVENT_VALUE\n".to_owned();
    for viewer in 0..20 {
        let taste = if viewer % 2 == 0 { "a" } else { "b" };
        for programme in 0..6 {
            rows += &format!("u{viewer},{taste}{programme},{},1.0\n", 1_700_000_000 + programme);
        }
    }
    for programme in 0..3 {
        rows += &format!("me,{loved}{programme},{},1.0\n", 1_700_000_000 + programme);
    }
    std::fs::write(home.join("interactions.csv"), rows).expect("written");
    let items: String = ["a", "b"].iter().flat_map(|t| (0..6).map(move |p| format!("{t}{p},{t}\n"))).collect();
    std::fs::write(home.join("items.csv"), format!("ITEM_ID,CHANNEL\n{items}")).expect("written");
}

fn train_and_publish(home: &Path, model: &str) {
    done(home, &["train", "--interactions", "interactions.csv", "--out", model, "--rank", "4", "--seed", "7"]);
    done(home, &["publish", "--model", model, "--items", "items.csv", "--store", "embedded:store"]);
}

#[test]
fn when_the_completions_change_the_answers_change() {
    let dir = tempfile::tempdir().expect("a folder");
    let home = dir.path();
    write_data(home, "a");
    train_and_publish(home, "first");
    let api = Api::start(home, &["--store", "embedded:store", "--items", "items.csv"]);
    let token = done(home, &["token"]);
    assert!(api.first("me", &token).starts_with('a'));
    write_data(home, "b");
    train_and_publish(home, "second");
    let taken_up = (0..200).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        api.first("me", &token).starts_with('b')
    });
    assert!(taken_up, "the new lists were not taken up while serving");
    done(home, &["publish", "--store", "embedded:store", "--rollback"]);
    let back = (0..200).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        api.first("me", &token).starts_with('a')
    });
    assert!(back, "the roll back was not taken up");
}

#[test]
fn what_is_wrong_is_said_and_nobody_unknown_is_let_in() {
    let dir = tempfile::tempdir().expect("a folder");
    let home = dir.path();
    write_data(home, "a");
    train_and_publish(home, "model");
    let api = Api::start(home, &["--store", "embedded:store", "--items", "items.csv", "--campaign-tps", "10"]);
    let token = done(home, &["token"]);
    let long = "x".repeat(10_240);
    for (method, path, token, expected, says) in [
        ("GET", "/v1/recommendations/nobody", token.as_str(), 200, "\"source\":\"popular\""),
        ("GET", "/v1/recommendations/me?channel=b", &token, 200, "\"items\":["),
        ("GET", "/v1/recommendations/me?chanel=b", &token, 400, "did you mean `channel`?"),
        ("GET", "/v1/recommendations/me?limit=0", &token, 400, "limit must be 1 to 500"),
        ("GET", &format!("/v1/recommendations/{long}"), &token, 400, "an id has 1 to 256 characters"),
        ("GET", "/v1/recommendations/me", "a.b.c", 401, "urn:serin:problem:token-refused"),
        ("GET", "/v1/recommendations/../../etc", &token, 404, "no-such-route"),
        ("DELETE", "/v1/recommendations/me", &token, 405, "GET only"),
        ("POST", "/recommendations", "a.b.c", 403, "AccessDeniedException"),
        ("GET", "/v1/similar/a0?limit=2", &token, 200, "\"source\":\"list\""),
        ("GET", "/v1/similar/nothing", &token, 404, "no-such-item"),
        ("GET", "/v1/similar/a0", "", 401, "token-"),
        ("GET", "/v1/events", &token, 405, "POST only"),
        ("POST", "/v1/events", "a.b.c", 401, "token-refused"),
        ("POST", "/v1/events", &token, 400, "bad-body"),
        ("POST", "/v1/rank/me", &token, 400, "bad-body"),
        ("POST", "/v1/forget/", &token, 400, "bad-id"),
        ("GET", "/openapi.json", "", 200, "/v1/recommendations/{user_id}"),
        ("GET", "/health/ready", "", 200, "\"status\":\"ready\""),
        ("GET", "/metrics", "", 200, "serin_requests_total"),
    ] {
        let (status, body) = api.ask(method, path, token, "");
        assert_eq!(status, expected, "{method} {path:.60}: {body}");
        assert!(body.contains(says), "{method} {path:.60}: {body}");
    }
    let body = r#"{"campaignArn":"arn:c","userId":"me","numResults":2}"#;
    let answers: Vec<_> = (0..30).map(|_| api.ask("POST", "/recommendations", &token, body)).collect();
    assert_eq!(answers[0].0, 200, "{}", answers[0].1);
    assert!(answers.iter().any(|(status, body)| *status == 429 && body.contains("ThrottlingException")));
    let second = serin(home, &["serve", "--listen", &api.address, "--store", "embedded:store", "--items", "items.csv"]);
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(second.status.code() == Some(2) && said.contains("--listen") && said.contains("in use"), "{said}");
}

/// The programmes of an answer, and its source.
fn answered(api: &Api, path: &str, token: &str) -> (Vec<String>, String) {
    let (status, body) = api.ask("GET", path, token, "");
    assert_eq!(status, 200, "{body}");
    let answer: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    let items = answer["items"].as_array().expect("items").iter();
    let items = items.map(|i| i["itemId"].as_str().expect("an id").to_owned()).collect();
    (items, answer["source"].as_str().expect("a source").to_owned())
}

#[test]
fn a_viewing_shows_in_the_next_answer_on_every_replica_and_a_withdrawal_too() {
    let dir = tempfile::tempdir().expect("a folder");
    let home = dir.path();
    write_data(home, "a");
    train_and_publish(home, "model");
    let flags = ["--store", "embedded:store", "--model", "model", "--items", "items.csv"];
    let (api, replica) = (Api::start(home, &flags), Api::start(home, &flags));
    let token = done(home, &["token"]);
    let new = "/v1/recommendations/somebody-new?limit=3";
    assert_eq!(answered(&api, new, &token).1, "popular");
    let (status, body) = api.ask("POST", "/v1/events", &token, r#"{"user":"somebody-new","item":"b1","value":0.9}"#);
    assert!(status == 202 && body.contains("\"accepted\":1"), "{status} {body}");
    let fresh = answered(&api, new, &token);
    assert_eq!(fresh.1, "live");
    assert!(fresh.0.iter().all(|item| item.starts_with('b') && item != "b1"), "{fresh:?}");
    let told = (0..100).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        answered(&replica, new, &token) == fresh
    });
    assert!(told, "the other replica does not know of the viewing");
    let (_, ranked) = api.ask("POST", "/v1/rank/somebody-new", &token, r#"{"items":["a0","b2","unknown","a1","b3"]}"#);
    let ranked: serde_json::Value = serde_json::from_str(&ranked).expect("JSON");
    let order: Vec<_> = ranked["items"].as_array().expect("items").iter().map(|i| i["itemId"].to_string()).collect();
    assert!(order[0].contains('b') && order[1].contains('b') && order[4].contains("unknown"), "{ranked}");
    assert!(answered(&api, "/v1/similar/b1?limit=4", &token).0.iter().all(|item| item.starts_with('b')));
    // Each programme says because of what it is there, where that is asked.
    let explained = |viewer: &str| {
        let (status, body) = api.ask("GET", &format!("/v1/recommendations/{viewer}?limit=3&explain=true"), &token, "");
        assert_eq!(status, 200, "{body}");
        let answer: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        let items = answer["items"].as_array().expect("items").clone();
        items.iter().map(|i| i["because"].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    let same = |because: &Option<String>, taste: &str| because.as_ref().is_some_and(|b| b.starts_with(taste));
    assert!(explained("me").iter().all(|b| same(b, "a")), "{:?}", explained("me"));
    assert!(explained("somebody-new").iter().all(|b| same(b, "b1")), "{:?}", explained("somebody-new"));
    assert!(explained("nobody").iter().all(Option::is_none), "{:?}", explained("nobody"));
    assert_eq!(api.ask("GET", "/v1/recommendations/me?explain=maybe", &token, "").0, 400);
    assert!(!api.ask("GET", "/v1/recommendations/me", &token, "").1.contains("because"), "only where it is asked");

    // Consent taken back: what everybody gets, at once, everywhere, and nothing of theirs is taken in or trained on again.
    assert_eq!(answered(&api, "/v1/recommendations/me", &token).1, "list");
    assert_eq!(api.ask("POST", "/v1/forget/me", &token, "").0, 202);
    assert_eq!(answered(&api, "/v1/recommendations/me", &token).1, "popular");
    assert!(explained("me").iter().all(Option::is_none), "who withdrew is explained nothing: {:?}", explained("me"));
    let (_, body) = api.ask("POST", "/v1/events", &token, r#"{"user":"me","item":"b1"}"#);
    assert!(body.contains("\"accepted\":0") && body.contains("\"without_consent\":1"), "{body}");
    let told = (0..100).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        answered(&replica, "/v1/recommendations/me", &token).1 == "popular"
    });
    assert!(told, "the other replica does not know of the withdrawal");
    assert!(api.ask("GET", "/metrics", "", "").1.contains("\nserin_forgotten_total 1\n"));
    drop((api, replica));
    train_and_publish(home, "without");
    let lists = done(home, &["recommend", "--model", "without", "--out", "lists.csv"]);
    assert!(!std::fs::read_to_string(home.join("lists.csv")).expect("lists").contains("me,"), "{lists}");
    let again = Api::start(home, &["--model", "model", "--items", "items.csv"]);
    assert_eq!(answered(&again, "/v1/recommendations/me", &token).1, "popular", "a new start remembers");
}

#[test]
fn who_did_not_agree_has_no_list() {
    let dir = tempfile::tempdir().expect("a folder");
    let home = dir.path();
    write_data(home, "a");
    std::fs::write(home.join("users.csv"), "USER_ID,CONSENT\nme,false\nu1,true\n").expect("written");
    done(home, &["train", "--interactions", "interactions.csv", "--out", "model", "--rank", "4"]);
    let publish = ["publish", "--json", "--model", "model", "--items", "items.csv", "--store", "embedded:store"];
    let all: serde_json::Value = serde_json::from_str(&done(home, &publish)).expect("JSON");
    assert_eq!((&all["lists"], &all["without_consent"]), (&21.into(), &0.into()), "{all}");
    let some = done(home, &[&publish[..], &["--users", "users.csv"]].concat());
    let some: serde_json::Value = serde_json::from_str(&some).expect("JSON");
    assert_eq!((&some["lists"], &some["without_consent"]), (&1.into(), &20.into()), "{some}");
    let api = Api::start(home, &["--store", "embedded:store", "--items", "items.csv", "--users", "users.csv"]);
    let token = done(home, &["token"]);
    let source = |viewer: &str| answered(&api, &format!("/v1/recommendations/{viewer}"), &token).1;
    assert_eq!((source("me"), source("u1")), ("popular".to_owned(), "list".to_owned()));
    let (_, body) = api.ask("POST", "/v1/events", &token, r#"[{"user":"me","item":"a1"},{"user":"u1","item":"a1"}]"#);
    assert!(body.contains("\"accepted\":1") && body.contains("\"without_consent\":1"), "{body}");
}

#[test]
fn named_filters_of_the_personalize_wire_take_parameters() {
    let dir = tempfile::tempdir().expect("a folder");
    let home = dir.path();
    write_data(home, "a");
    train_and_publish(home, "model");
    let expressions = "one = 'INCLUDE ItemID WHERE Items.CHANNEL IN ($CHANNEL)'\nnone = 'EXCLUDE ItemID WHERE Items.CHANNEL IN (\"a\",\"b\")'\n";
    std::fs::write(home.join("filters.toml"), expressions).expect("written");
    let flags = ["--store", "embedded:store", "--items", "items.csv", "--filters", "filters.toml"];
    let api = Api::start(home, &flags);
    let token = done(home, &["token"]);
    let ask = |path: &str, more: &str| {
        let body = format!(r#"{{"campaignArn":"arn:c","userId":"u0",{more}}}"#);
        api.ask("POST", path, &token, &body)
    };
    let named = |name: &str| format!(r#""filterArn":"arn:aws:personalize:eu-west-1:1:filter/{name}""#);
    let (one, none, other) = (named("one"), named("none"), named("other"));
    let given = format!(r#"{one},"filterValues":{{"CHANNEL":"\"b\""}}"#);
    for _ in 0..2 {
        let (status, body) = ask("/recommendations", &given);
        assert!(status == 200 && body.contains("\"b0\"") && !body.contains("\"a"), "{body}");
    }
    assert_eq!(ask("/recommendations", &none).1.split(",\"rec").next(), Some("{\"itemList\":[]"));
    let ranking = format!(r#""inputList":["a0","b1","b2"],{given}"#);
    let (_, body) = ask("/personalize-ranking", &ranking);
    assert!(body.contains("\"b1\"") && !body.contains("\"a0\""), "{body}");
    for (more, status, says) in
        [(other.as_str(), 404, "ResourceNotFoundException"), (&one, 400, "filterValues lacks CHANNEL")]
    {
        let (found, body) = ask("/recommendations", more);
        assert!(found == status && body.contains(says), "{found} {body}");
    }
    // A part that is meant for some viewers only, by the users file.
    drop(api);
    std::fs::write(home.join("users.csv"), "USER_ID,AGE\nu0,9\nu2,40\n").expect("written");
    let kids = "kids = 'INCLUDE ItemID WHERE Items.CHANNEL IN (\"a\") IF CurrentUser.AGE < 18'\n";
    std::fs::write(home.join("filters.toml"), kids).expect("written");
    let without = serin(home, &[&["serve", "--listen", "127.0.0.1:0"], &flags[..]].concat());
    assert!(String::from_utf8_lossy(&without.stderr).contains("name the users file"), "{without:?}");
    let api = Api::start(home, &[&flags[..], &["--users", "users.csv"]].concat());
    let of = |user: &str| {
        let body = format!(r#"{{"campaignArn":"arn:c","userId":"{user}","filterArn":"kids"}}"#);
        api.ask("POST", "/recommendations", &token, &body).1
    };
    // Both have seen all of channel a: the filter leaves the child nothing, and is not meant for the other one.
    assert!(of("u0").starts_with("{\"itemList\":[]"), "{}", of("u0"));
    assert!(of("u2").contains("\"b0\"") && of("nobody").contains("\"b"), "{}", of("u2"));
    std::fs::write(home.join("filters.toml"), "bad = 'INCLUDE ItemID WHERE Items.CHANEL IN (\"a\")'").expect("written");
    let refused = serin(home, &[&["serve", "--listen", "127.0.0.1:0"], &flags[..]].concat());
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(2) && said.contains("did you mean CHANNEL?"), "{said}");
}

/// A connection that is kept, and asked again and again.
struct Line(BufReader<TcpStream>);

impl Line {
    fn ask(&mut self, path: &str, token: &str) -> (u16, String) {
        let text = format!("GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n");
        self.0.get_mut().write_all(text.as_bytes()).expect("sent");
        let (mut head, mut line) = (String::new(), String::new());
        while line != "\r\n" {
            head += &line;
            line.clear();
            assert!(self.0.read_line(&mut line).expect("a head") > 0, "the connection ended: {head}");
        }
        let length = head.to_lowercase().split_once("content-length: ").expect("a length").1.to_owned();
        let length: usize = length.split("\r\n").next().and_then(|l| l.parse().ok()).expect("a number");
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).expect("a body");
        (head[9..12].parse().expect("a status"), String::from_utf8(body).expect("text"))
    }
}

#[test]
fn no_answer_mixes_two_models_while_they_are_switched_under_load() {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
    let dir = tempfile::tempdir().expect("a folder");
    let home = dir.path();
    // Two models that have not one programme in common, one catalogue that has all of them.
    let mut models = Vec::new();
    for taste in ["a", "b"] {
        let mut rows = "USER_ID,ITEM_ID,TIMESTAMP,EVENT_VALUE\n".to_owned();
        for viewer in 0..30 {
            for programme in 0..5 {
                rows += &format!("u{viewer},{taste}{},{},1.0\n", (viewer + programme) % 12, 1_700_000_000 + programme);
            }
        }
        std::fs::write(home.join("interactions.csv"), rows).expect("written");
        let items: String = ["a", "b"].iter().flat_map(|t| (0..12).map(move |p| format!("{t}{p},{t}\n"))).collect();
        std::fs::write(home.join("items.csv"), format!("ITEM_ID,CHANNEL\n{items}")).expect("written");
        train_and_publish(home, taste);
        models.push(std::fs::read_to_string(home.join("store/current")).expect("a pointer"));
    }
    let api = Api::start(home, &["--store", "embedded:store", "--items", "items.csv", "--threads", "2"]);
    let token = done(home, &["token"]);
    let (over, answers) = (AtomicBool::new(false), AtomicU64::new(0));
    // What each model's answers begin with, as the first answer of it says.
    let known: std::sync::Mutex<std::collections::HashMap<String, String>> = std::sync::Mutex::default();
    std::thread::scope(|scope| {
        for asker in 0..4 {
            let (api, token, over, answers, known) = (&api, &token, &over, &answers, &known);
            scope.spawn(move || {
                let mut line = Line(BufReader::new(TcpStream::connect(&api.address).expect("connects")));
                for turn in 0.. {
                    if over.load(Relaxed) {
                        break;
                    }
                    let viewer = if turn % 5 == 0 { "nobody".to_owned() } else { format!("u{}", (asker + turn) % 30) };
                    let path = format!("/v1/recommendations/{viewer}?limit=6");
                    let path = if turn % 7 == 0 { "/v1/popular?limit=6".to_owned() } else { path };
                    let (status, body) = line.ask(&path, token);
                    assert_eq!(status, 200, "{body}");
                    let answer: serde_json::Value = serde_json::from_str(&body).expect("JSON");
                    assert_eq!(answer["degraded"], false, "{body}");
                    let items = answer["items"].as_array().expect("items");
                    let tastes: Vec<&str> = items.iter().map(|i| &i["itemId"].as_str().expect("an id")[..1]).collect();
                    assert!(!tastes.is_empty() && tastes.iter().all(|t| *t == tastes[0]), "two models: {body}");
                    let model = answer["model"].as_str().expect("a model").to_owned();
                    let mut known = known.lock().expect("held");
                    assert_eq!(known.entry(model).or_insert_with(|| tastes[0].to_owned()), tastes[0], "{body}");
                    answers.fetch_add(1, Relaxed);
                }
            });
        }
        let mut watch = Line(BufReader::new(TcpStream::connect(&api.address).expect("connects")));
        for turn in 0..12 {
            std::fs::write(home.join("store/next"), &models[turn % 2]).expect("written");
            std::fs::rename(home.join("store/next"), home.join("store/current")).expect("moved");
            let wanted = format!("\"itemId\":\"{}", ["a", "b"][turn % 2]);
            let began = std::time::Instant::now();
            while !watch.ask("/v1/popular?limit=1", &token).1.contains(&wanted) {
                assert!(began.elapsed() < std::time::Duration::from_secs(20), "the switch {turn} was not taken up");
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
        }
        over.store(true, Relaxed);
    });
    assert!(known.into_inner().expect("free").len() == 2 && answers.into_inner() > 100);
}

#[test]
fn a_process_starts_on_a_store_that_is_empty_or_damaged_answers_what_it_can_and_recovers() {
    let dir = tempfile::tempdir().expect("a folder");
    let home = dir.path();
    write_data(home, "a");
    let token = done(home, &["token"]);
    let flags = ["--store", "embedded:store", "--items", "items.csv"];
    let ready = |api: &Api| {
        let (status, body) = api.ask("GET", "/health/ready", "", "");
        (status, serde_json::from_str::<serde_json::Value>(&body).expect("JSON"))
    };
    let popular = |api: &Api, viewer: &str| {
        let (status, body) = api.ask("GET", &format!("/v1/recommendations/{viewer}"), &token, "");
        let answer: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert!(status == 200 && answer["items"].as_array().is_some_and(|i| !i.is_empty()), "{answer}");
        assert_eq!((&answer["source"], &answer["degraded"]), (&"popular".into(), &true.into()), "{answer}");
    };
    let becomes_well = |api: &Api, what: &str| {
        let well = || ready(api).0 == 200 && ready(api).1["store"] == "up";
        let well = (0..1000).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(20));
            well()
        });
        assert!(well, "{what}: {:?}", ready(api));
        api.first("me", &token);
    };
    // Nothing was ever published: it is up, answers, and does not call itself ready.
    let api = Api::start(home, &flags);
    popular(&api, "me");
    let (status, state) = ready(&api);
    assert!(status == 503 && state.to_string().contains("nothing-to-serve"), "{state}");
    train_and_publish(home, "first");
    becomes_well(&api, "published");
    drop(api);
    // The only generation is damaged: what everybody got stands in, and that is worth an answer.
    let only = home.join("store/gen-00000001.lists");
    let good = std::fs::read(&only).expect("bytes");
    let damage = |bytes: &[u8]| bytes[..bytes.len() / 2].to_vec();
    std::fs::write(&only, damage(&good)).expect("written");
    let api = Api::start(home, &flags);
    popular(&api, "me");
    let (status, state) = ready(&api);
    assert_eq!((status, &state["store"], &state["lists"]), (200, &"unreadable".into(), &serde_json::Value::Null));
    // It was mended where it lies; the pointer did not move.
    std::fs::write(&only, &good).expect("written");
    becomes_well(&api, "mended");
    drop(api);
    // A newer one is damaged: the one before serves, and a new publish mends the store.
    train_and_publish(home, "first");
    let newer = home.join("store/gen-00000002.lists");
    std::fs::write(&newer, damage(&std::fs::read(&newer).expect("bytes"))).expect("written");
    let api = Api::start(home, &flags);
    let (status, state) = ready(&api);
    assert_eq!((status, &state["store"], &state["generation"]), (200, &"unreadable".into(), &1.into()), "{state}");
    assert!(api.first("me", &token).starts_with('a'));
    train_and_publish(home, "first");
    becomes_well(&api, "published again");
    assert_eq!(ready(&api).1["generation"], 3);
}

#[test]
fn who_comes_when_the_process_is_behind_is_told_to_come_back() {
    let dir = tempfile::tempdir().expect("a folder");
    let home = dir.path();
    write_data(home, "a");
    train_and_publish(home, "model");
    let api = Api::start(home, &["--store", "embedded:store", "--items", "items.csv", "--threads", "1"]);
    let token = done(home, &["token"]);
    // Each connection brings many requests at once, each with a filter that nobody asked for before; all come together,
    // and the process wakes to them from a sleep, as on a machine that had no time for it.
    let began = std::time::Instant::now();
    let mut shed = None;
    let signal = |signal| {
        // SAFETY: a plain signal to a child of ours that was not yet waited for.
        assert_eq!(unsafe { libc::kill(api.child.id() as libc::pid_t, signal) }, 0);
    };
    for round in 0..20 {
        let mut lines: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(&api.address).expect("connects")).collect();
        // All of them were taken in: who sleeps takes nobody in.
        api.ask("GET", "/v1/recommendations/me?limit=1", &token, "");
        signal(libc::SIGSTOP);
        let asleep = std::time::Instant::now();
        for (at, line) in lines.iter_mut().enumerate() {
            let one = |n: usize| {
                let filter = format!("channel=-x{round}x{at}x{n}{}", ",-y".repeat(40));
                format!(
                    "GET /v1/recommendations/me?{filter} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n"
                )
            };
            let _ = line.write_all((0..60).map(one).collect::<String>().as_bytes());
        }
        std::thread::sleep(std::time::Duration::from_millis(600).saturating_sub(asleep.elapsed()));
        signal(libc::SIGCONT);
        for line in &mut lines {
            let _ = line.set_read_timeout(Some(std::time::Duration::from_millis(500)));
            let mut heap = vec![0; 1 << 20];
            let mut held = 0;
            while let Ok(read @ 1..) = line.read(&mut heap[held..]) {
                held += read;
                let text = String::from_utf8_lossy(&heap[..held]);
                if let Some((_, answer)) = text.split_once("HTTP/1.1 503") {
                    shed.get_or_insert_with(|| answer.chars().take(400).collect::<String>());
                }
                if shed.is_some() || text.matches("HTTP/1.1 ").count() >= 60 {
                    break;
                }
            }
            if shed.is_some() {
                break;
            }
        }
        if shed.is_some() || began.elapsed() > std::time::Duration::from_secs(25) {
            break;
        }
    }
    let shed = shed.expect("it slept while thousands of requests came, and never said that it is behind");
    assert!(shed.to_lowercase().contains("retry-after: 1") && shed.contains("overloaded"), "{shed}");
    // It comes round: the backlog goes, and everybody is served again.
    let well = (0..400).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(25));
        api.ask("GET", "/v1/recommendations/me?limit=1", &token, "").0 == 200
    });
    assert!(well, "it stays behind");
    let page = api.ask("GET", "/metrics", &token, "").1;
    assert!(!page.contains("\nserin_shed_total 0\n"), "counted");
}

/// A signing key, and its public half as a key set.
fn signing_key(kid: &str) -> (jsonwebtoken::EncodingKey, String) {
    use jsonwebtoken::{Algorithm, EncodingKey, jwk::Jwk};
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key");
    let key = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).expect("a key");
    let mut jwk = Jwk::from_encoding_key(&key, Algorithm::ES256).expect("a public key");
    jwk.common.key_id = Some(kid.to_owned());
    let set = serde_json::json!({"keys": [jwk]}).to_string();
    (key, set)
}

#[test]
fn public_keys_are_rotated_while_serving() {
    let dir = tempfile::tempdir().expect("a folder");
    let home = dir.path();
    write_data(home, "a");
    train_and_publish(home, "model");
    let ((first, first_set), (second, second_set)) = (signing_key("one"), signing_key("two"));
    std::fs::write(home.join("keys.json"), &first_set).expect("written");
    let flags = ["--store", "embedded:store", "--items", "items.csv", "--jwks", "keys.json", "--platform", "sixplay"];
    let api = Api::start(home, &flags);
    let token = |key: &jsonwebtoken::EncodingKey, kid: &str, platform: &str| {
        let header = jsonwebtoken::Header {
            kid: Some(kid.to_owned()),
            ..jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES256)
        };
        let claims = serde_json::json!({"exp": 4_000_000_000_u64, "platform": platform});
        jsonwebtoken::encode(&header, &claims, key).expect("signed")
    };
    let status = |token: &str| api.ask("GET", "/v1/popular", token, "").0;
    let (old, new) = (token(&first, "one", "sixplay"), token(&second, "two", "sixplay"));
    assert_eq!((status(&old), status(&new)), (200, 401));
    assert_eq!(status(&token(&first, "one", "videoland")), 401, "another platform's token");
    assert_eq!(status(&token(&second, "one", "sixplay")), 401, "another key under a known name");
    assert_eq!(status(&done(home, &["token", "--platform", "sixplay"])), 401, "the shared secret has no say");
    std::fs::write(home.join("keys.json"), "{broken").expect("written");
    std::fs::write(home.join("keys.json"), &second_set).expect("written");
    let rotated = (0..500).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        status(&new) == 200
    });
    assert!(rotated && status(&old) == 401);
}

#[test]
fn a_campaigns_wall_is_no_limit_to_those_who_never_ask_there() {
    let dir = tempfile::tempdir().expect("a folder");
    let home = dir.path();
    write_data(home, "a");
    train_and_publish(home, "model");
    let api = Api::start(home, &["--store", "embedded:store", "--items", "items.csv", "--campaign-tps", "500"]);
    let token = done(home, &["token"]);
    let told = || api.ask("GET", "/metrics", &token, "").1.contains("serin_quota_requests_per_second 500");
    assert_eq!(api.ask("GET", "/v1/recommendations/u0", &token, "").0, 200);
    assert!(!told(), "the platform's own routes have no such wall");
    assert_eq!(api.ask("POST", "/recommendations", &token, r#"{"campaignArn":"arn:c","userId":"u0"}"#).0, 200);
    assert!(told());
}
