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
        let mut child = command.spawn().expect("starts");
        let mut line = String::new();
        BufReader::new(child.stderr.take().expect("piped")).read_line(&mut line).expect("a line");
        let address = line.strip_prefix("ready: http://").and_then(|l| l.split(' ').next());
        let address = address.unwrap_or_else(|| panic!("not ready: {line}")).to_owned();
        Self { child, address }
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
        ("GET", &format!("/v1/recommendations/{long}"), &token, 400, "an id has 1 to 256 bytes"),
        ("GET", "/v1/recommendations/me", "a.b.c", 401, "urn:serin:problem:token-refused"),
        ("GET", "/v1/recommendations/../../etc", &token, 404, "no-such-route"),
        ("DELETE", "/v1/recommendations/me", &token, 405, "GET only"),
        ("POST", "/recommendations", "a.b.c", 403, "AccessDeniedException"),
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
