//! A CloudWatch that speaks the SDK's own protocol (RPC v2 over CBOR) on loopback, and counts what it would bill.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Map, Value, json};

/// A query of GetMetricData, and the time it is about.
pub struct Asked {
    pub metric: String,
    pub stat: String,
    pub period: i64,
    pub from: i64,
    pub to: i64,
}

/// The numbers of one query: (beginning of the period, value); or an error of the service for the whole call.
pub type Answer = Result<Vec<(i64, f64)>, (u16, &'static str, &'static str)>;

/// What came: calls, and metrics in each.
#[derive(Clone, Default)]
pub struct Billed(Arc<Mutex<Vec<usize>>>);

impl Billed {
    pub fn calls(&self) -> Vec<usize> {
        self.0.lock().expect("whole").clone()
    }

    pub fn metrics(&self) -> usize {
        self.calls().iter().sum()
    }
}

pub struct CloudWatch {
    pub url: String,
    pub billed: Billed,
}

impl CloudWatch {
    pub fn start(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let billed = Billed::default();
        let (kept, answer) = (billed.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (kept, answer) = (kept.clone(), Arc::clone(&answer));
                std::thread::spawn(move || while one(&stream, &*answer, &kept).is_some() {});
            }
        });
        Self { url, billed }
    }
}

fn one(mut stream: &TcpStream, answer: &dyn Fn(&Asked) -> Answer, billed: &Billed) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let (mut length, mut protocol, mut signed) = (0, false, false);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        match name.to_lowercase().as_str() {
            "content-length" => length = value.trim().parse().ok()?,
            "smithy-protocol" => protocol = value.trim() == "rpc-v2-cbor",
            "authorization" => signed = value.contains("AWS4-HMAC-SHA256"),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    assert!(protocol && signed && path == "/service/GraniteServiceVersion20100801/operation/GetMetricData", "{path}");
    let (question, _) = read(&body);
    let queries = question["MetricDataQueries"].as_array().expect("queries");
    billed.0.lock().expect("whole").push(queries.len());
    let number = |v: &Value| v.as_f64().expect("a number") as i64;
    let mut results = Vec::new();
    let mut failed = None;
    for query in queries {
        let stat = &query["MetricStat"];
        let text = |v: &Value| v.as_str().expect("text").to_owned();
        let asked = Asked {
            metric: text(&stat["Metric"]["MetricName"]),
            stat: text(&stat["Stat"]),
            period: number(&stat["Period"]),
            from: number(&question["StartTime"]),
            to: number(&question["EndTime"]),
        };
        match answer(&asked) {
            Ok(points) => results.push((text(&query["Id"]), points)),
            Err(error) => failed = Some(error),
        }
    }
    let (status, body) = match failed {
        Some((status, kind, message)) => (status, written(&json!({"__type": kind, "message": message}))),
        None => (200, data(&results)),
    };
    let head = format!(
        "HTTP/1.1 {status} X\r\nsmithy-protocol: rpc-v2-cbor\r\ncontent-type: application/cbor\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), &body].concat()).ok()
}

/// GetMetricData's answer; times carry CBOR's tag for seconds since 1970.
fn data(results: &[(String, Vec<(i64, f64)>)]) -> Vec<u8> {
    let mut out = Vec::new();
    head(&mut out, 5, 1);
    out.extend(written(&json!("MetricDataResults")));
    head(&mut out, 4, results.len() as u64);
    for (id, points) in results {
        head(&mut out, 5, 4);
        out.extend(written(&json!("Id")));
        out.extend(written(&json!(id)));
        out.extend(written(&json!("StatusCode")));
        out.extend(written(&json!("Complete")));
        out.extend(written(&json!("Timestamps")));
        head(&mut out, 4, points.len() as u64);
        for (at, _) in points {
            head(&mut out, 6, 1);
            head(&mut out, 0, at.unsigned_abs());
        }
        out.extend(written(&json!("Values")));
        head(&mut out, 4, points.len() as u64);
        for (_, value) in points {
            out.push(0xfb);
            out.extend(value.to_be_bytes());
        }
    }
    out
}

fn head(out: &mut Vec<u8>, major: u8, value: u64) {
    let major = major << 5;
    match value {
        0..=23 => out.push(major | value as u8),
        24..=0xff => out.extend([major | 0x18, value as u8]),
        0x100..=0xffff => {
            out.push(major | 0x19);
            out.extend((value as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(major | 0x1a);
            out.extend((value as u32).to_be_bytes());
        }
        _ => {
            out.push(major | 0x1b);
            out.extend(value.to_be_bytes());
        }
    }
}

fn written(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    match value {
        Value::String(text) => {
            head(&mut out, 3, text.len() as u64);
            out.extend(text.as_bytes());
        }
        Value::Object(map) => {
            head(&mut out, 5, map.len() as u64);
            for (key, value) in map {
                out.extend(written(&json!(key)));
                out.extend(written(value));
            }
        }
        other => panic!("not needed: {other}"),
    }
    out
}

/// Reads one CBOR item; returns it and how many bytes it had.
fn read(bytes: &[u8]) -> (Value, usize) {
    let (major, short) = (bytes[0] >> 5, bytes[0] & 31);
    let big = |n: usize| bytes[1..=n].iter().fold(0_u64, |all, b| all << 8 | u64::from(*b));
    let (value, mut at) = match short {
        0..=23 => (u64::from(short), 1),
        24 => (big(1), 2),
        25 => (big(2), 3),
        26 => (big(4), 5),
        27 => (big(8), 9),
        _ => (u64::MAX, 1),
    };
    let over = |at: usize, done: u64| if value == u64::MAX { bytes[at] == 0xff } else { done == value };
    let out = match major {
        0 => json!(value),
        1 => json!(-1 - value as i64),
        3 => {
            let text = String::from_utf8(bytes[at..at + value as usize].to_vec()).expect("text");
            at += value as usize;
            json!(text)
        }
        4 => {
            let mut list = Vec::new();
            while !over(at, list.len() as u64) {
                let (item, used) = read(&bytes[at..]);
                list.push(item);
                at += used;
            }
            at += usize::from(value == u64::MAX);
            Value::Array(list)
        }
        5 => {
            let mut map = Map::new();
            while !over(at, map.len() as u64) {
                let (key, used) = read(&bytes[at..]);
                at += used;
                let (item, used) = read(&bytes[at..]);
                at += used;
                map.insert(key.as_str().expect("a name").to_owned(), item);
            }
            at += usize::from(value == u64::MAX);
            Value::Object(map)
        }
        6 => {
            let (item, used) = read(&bytes[at..]);
            at += used;
            item
        }
        7 if short == 27 => json!(f64::from_bits(value)),
        7 if short == 26 => json!(f64::from(f32::from_bits(value as u32))),
        7 => Value::Bool(short == 21),
        _ => panic!("no such kind: {major}"),
    };
    (out, at)
}
