//! A small platform of two tastes, and an API process that serves it, for tests from the outside.
#![allow(dead_code)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

pub const SECRET: &str = "0123456789abcdef0123456789abcdef";

pub fn command(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_serin"));
    command.current_dir(home).env("SERIN_HOME", home.join("home")).env("SERIN_JWT_SECRET", SECRET).args(arguments);
    command
}

pub fn serin(home: &Path, arguments: &[&str]) -> Output {
    command(home, arguments).output().expect("runs")
}

pub fn done(home: &Path, arguments: &[&str]) -> String {
    let output = serin(home, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

/// Viewers of two tastes, programmes `a0..` on channel a and `b0..` on channel b; trained and published to `store`.
pub fn platform(home: &Path) {
    let mut rows = "USER_ID,ITEM_ID,TIMESTAMP,EVENT_VALUE\n".to_owned();
    for viewer in 0..40 {
        let taste = if viewer % 2 == 0 { "a" } else { "b" };
        for programme in 0..4 {
            rows += &format!("u{viewer},{taste}{},{},1.0\n", (viewer / 2 + programme) % 8, 1_700_000_000 + programme);
        }
    }
    std::fs::write(home.join("interactions.csv"), rows).expect("written");
    let items: String = ["a", "b"].iter().flat_map(|t| (0..8).map(move |p| format!("{t}{p},{t}\n"))).collect();
    std::fs::write(home.join("items.csv"), format!("ITEM_ID,CHANNEL\n{items}")).expect("written");
    done(home, &["train", "--interactions", "interactions.csv", "--out", "model", "--rank", "4", "--seed", "7"]);
    done(home, &["publish", "--model", "model", "--items", "items.csv", "--store", "embedded:store"]);
}

/// An API process on a free port, ended with the test.
pub struct Api {
    pub child: Child,
    pub address: String,
    pub token: String,
}

impl Api {
    pub fn start(home: &Path, arguments: &[&str]) -> Self {
        Self::run(home, command(home, &[&["serve", "--listen", "127.0.0.1:0"], arguments].concat()))
    }

    pub fn run(home: &Path, mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("starts");
        let mut before = String::new();
        let mut said = BufReader::new(child.stderr.take().expect("piped"));
        // Warnings may come first.
        let address = loop {
            let mut line = String::new();
            let came = said.read_line(&mut line).expect("a line");
            if let Some(address) = line.strip_prefix("ready: http://").and_then(|l| l.split([' ', '/']).next()) {
                break address.to_owned();
            }
            before += &line;
            assert!(came > 0, "not ready: {before}");
        };
        // What it says later must find a reader, or it ends.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Self { child, address, token: done(home, &["token"]) }
    }

    /// Sends one request as it is and returns the whole answer, which may be nothing.
    pub fn raw(&self, text: &[u8]) -> String {
        let Ok(mut stream) = TcpStream::connect(&self.address) else { return String::new() };
        let _ = stream.set_read_timeout(Some(std::time::Duration::from_secs(15)));
        let _ = stream.write_all(text);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Returns status and body; `more` are header lines.
    pub fn send(&self, method: &str, path: &str, more: &str, body: &str) -> (u16, String, String) {
        let address = &self.address;
        let length = body.len();
        let text = format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\n{more}connection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        let answer = self.raw(text.as_bytes());
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer to {path:.80}"));
        (head[9..12].parse().expect("a status"), head.to_owned(), body.to_owned())
    }

    pub fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let (status, _, body) = self.send(method, path, &format!("authorization: Bearer {}\r\n", self.token), body);
        (status, body)
    }

    pub fn get(&self, path: &str) -> serde_json::Value {
        let (status, body) = self.ask("GET", path, "");
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).expect("JSON")
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
