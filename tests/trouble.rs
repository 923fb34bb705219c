//! An API process that suffers what its trouble file asks for, and is well again when the file is gone.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn command(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_serin"));
    command.current_dir(home).env("SERIN_HOME", home.join("home")).env("SERIN_JWT_SECRET", SECRET).args(arguments);
    command
}

fn done(home: &Path, arguments: &[&str]) -> String {
    let output = command(home, arguments).output().expect("runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

struct Api {
    child: Child,
    address: String,
    token: String,
}

impl Api {
    fn start(home: &Path, arguments: &[&str]) -> Self {
        let mut command = command(home, &["serve", "--listen", "127.0.0.1:0"]);
        let mut child = command.args(arguments).stderr(Stdio::piped()).spawn().expect("starts");
        let mut line = String::new();
        BufReader::new(child.stderr.take().expect("piped")).read_line(&mut line).expect("a line");
        let address = line.strip_prefix("ready: http://").and_then(|l| l.split(' ').next());
        let address = address.unwrap_or_else(|| panic!("not ready: {line}")).to_owned();
        Self { child, address, token: done(home, &["token"]) }
    }

    fn get(&self, path: &str, more: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).expect("connects");
        let (address, token) = (&self.address, &self.token);
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n{more}connection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        (head[9..12].parse().expect("a status"), body.to_owned())
    }

    fn ask(&self) -> (u16, String) {
        self.get("/v1/recommendations/u1?limit=2", "")
    }

    fn number(&self, name: &str) -> f64 {
        let (_, page) = self.get("/metrics", "");
        let line = page.lines().find(|l| l.starts_with(name)).unwrap_or_else(|| panic!("no {name} in {page}"));
        line.rsplit(' ').next().and_then(|v| v.parse().ok()).expect("a number")
    }

    /// Asks until the answer is as wished: the file is looked at many times a second.
    fn becomes(&self, what: &str, wished: impl Fn(&(u16, String)) -> bool) {
        let began = Instant::now();
        let mut answer = self.ask();
        while !wished(&answer) {
            assert!(began.elapsed() < Duration::from_secs(10), "{what}: {answer:?}");
            std::thread::sleep(Duration::from_millis(20));
            answer = self.ask();
        }
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn what_the_file_asks_for_is_suffered_until_it_is_gone() {
    let dir = tempfile::tempdir().expect("a folder");
    let home = dir.path();
    let rows: String = (0..24).map(|i| format!("u{},p{},{},1.0\n", i % 6, (i * 5) % 9, 1_700_000_000 + i)).collect();
    let header = "USER_ID,ITEM_ID,TIMESTAMP,EVENT_VALUE\n";
    std::fs::write(home.join("interactions.csv"), format!("{header}{rows}")).expect("written");
    let items: String = (0..9).map(|p| format!("p{p},one\n")).collect();
    std::fs::write(home.join("items.csv"), format!("ITEM_ID,CHANNEL\n{items}")).expect("written");
    done(home, &["train", "--interactions", "interactions.csv", "--out", "model", "--rank", "4", "--seed", "7"]);
    done(home, &["publish", "--model", "model", "--items", "items.csv", "--store", "embedded:store"]);
    let file = home.join("trouble.json");
    let api = Api::start(
        home,
        &["--store", "embedded:store", "--items", "items.csv", "--practice", "--trouble", "trouble.json"],
    );
    let suffer = |text: &str| {
        std::fs::write(home.join("t.new"), text).expect("written");
        std::fs::rename(home.join("t.new"), &file).expect("in place");
    };
    let well = |(status, body): &(u16, String)| {
        *status == 200 && body.contains("\"source\":\"list\"") && body.contains("itemId")
    };
    assert!(well(&api.ask()));
    let provisioned = api.number("serin_store_capacity_units");
    assert!(provisioned > 1000.0 && api.number("serin_store_units_total") > 0.0);

    suffer(r#"{"errors": 1.0}"#);
    api.becomes("errors", |a| a.0 == 500);
    suffer(r#"{"quota": 0.01}"#);
    api.becomes("quota", |a| a.0 == 429);
    suffer(r#"{"foreign_key": true}"#);
    api.becomes("another key", |a| a.0 == 401 && a.1.contains("signature"));
    suffer(r#"{"clock_s": 7200}"#);
    api.becomes("a clock ahead", |a| a.0 == 401 && a.1.contains("expired"));
    suffer(r#"{"store_throttled": 1.0}"#);
    api.becomes("throttles", |a| a.0 == 200 && a.1.contains("\"degraded\":true"));
    assert!(api.number("serin_store_reads_total{result=\"throttled\"}") >= 1.0);
    suffer(r#"{"store_units": 0.001}"#);
    api.becomes("a cut", |_| api.number("serin_store_capacity_units") < 1.0);
    api.becomes("throttles of a cut", |a| a.1.contains("\"degraded\":true"));
    suffer(r#"{"empty": 1.0}"#);
    api.becomes("empty lists", |a| a.0 == 200 && a.1.contains("\"items\":[]"));
    suffer(r#"{"store_delay_ms": 120, "mute": true}"#);
    api.becomes("mute", |_| api.get("/metrics", "").0 == 500);
    let asked = Instant::now();
    assert!(well(&api.ask()) && asked.elapsed() >= Duration::from_millis(120));
    assert_eq!(api.get("/health/ready", "").0, 200);

    std::fs::remove_file(&file).expect("gone");
    api.becomes("well again", |a| well(a) && api.get("/metrics", "").0 == 200);
    assert!((api.number("serin_store_capacity_units") - provisioned).abs() < 1e-9);
    for attempt in ["attempt=1; max=3", "attempt=2; max=3"] {
        assert!(well(&api.get("/v1/recommendations/u1", &format!("amz-sdk-request: {attempt}\r\n"))));
    }
    assert!((api.number("serin_repeats_total") - 1.0).abs() < 1e-9);
}
