//! A small server that speaks as AWS does, and checks every signature: ours, so that what it knows is only what we know.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use serin::sigv4::{self, Signed};

pub const KEYS: [(&str, &str); 3] =
    [("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "SECRET"), ("AWS_REGION", "eu-west-1")];

/// One request: what was asked (the action, or method and path) and with which body.
pub struct Asked<'a> {
    pub what: &'a str,
    pub body: Value,
}

/// A status and a body; a string is sent as it is.
pub type Answer = (u16, Value);

pub struct Fake {
    pub url: String,
    pub seen: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Fake {
    /// Answers until the process ends.
    pub fn start(mut answer: impl FnMut(Asked<'_>) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A caller that goes away in the middle ends only its own call.
                let _ = one(&stream, &mut answer, &kept);
            }
        });
        Self { url, seen }
    }

    pub fn bodies(&self, what: &str) -> Vec<Value> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().filter(|(w, _)| w == what).map(|(_, body)| body.clone()).collect()
    }
}

pub fn refused(kind: &str, message: &str) -> Answer {
    (400, serde_json::json!({"__type": format!("com.amazonaws.x#{kind}"), "message": message}))
}

fn one(
    mut stream: &TcpStream,
    answer: &mut impl FnMut(Asked<'_>) -> Answer,
    seen: &Mutex<Vec<(String, Value)>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let request: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let [method, path, ..] = request.as_slice() else { return Ok(()) };
    let (what, fault) = match headers.get("x-amz-target") {
        Some(target) => {
            let service = match target.split('.').next() {
                Some("DynamoDB_20120810") => "dynamodb",
                Some("AmazonPersonalize") => "personalize",
                Some("GraniteServiceVersion20100801") => "monitoring",
                _ => "pricing",
            };
            let all: Vec<_> = headers.clone().into_iter().collect();
            let signed = Signed { method, path, query: "", headers: &all, body: &body };
            let now = jiff::Timestamp::now().as_second();
            let authorization = headers.get("authorization").cloned().unwrap_or_default();
            let secret = |key: &str| (key == "AKID").then(|| "SECRET".to_owned());
            let fault = sigv4::check(&authorization, &signed, service, secret, now).err();
            (target.split('.').nth(1).unwrap_or_default().to_owned(), fault)
        }
        None => (format!("{method} {path}"), None),
    };
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let (status, answer) = match fault {
        Some(fault) => refused("InvalidSignatureException", &format!("{fault:?}")),
        None => {
            seen.lock().unwrap_or_else(PoisonError::into_inner).push((what.clone(), body.clone()));
            answer(Asked { what: &what, body })
        }
    };
    let text = answer.as_str().map_or_else(|| answer.to_string(), str::to_owned);
    write!(stream, "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{text}", text.len())
}
