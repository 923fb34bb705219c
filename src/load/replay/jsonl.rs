//! One JSON object a line: `{"time": "2025-07-02T22:22:48.364Z", "method": "GET", "path": "/v1/popular", "viewer": "ann"}`.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::line::{Line, Spoiled, known_method, only_reads, path_of, request};

/// What the fields are called in logs that people have; the first one found counts.
const TIMES: [&str; 6] = ["time", "timestamp", "@timestamp", "ts", "at", "t"];
const PATHS: [&str; 5] = ["path", "url", "uri", "request_uri", "target"];
const METHODS: [&str; 3] = ["method", "request_method", "verb"];
const VIEWERS: [&str; 7] = ["viewer", "user", "user_id", "userId", "client_ip", "remote_addr", "client"];

pub fn parse(line: &str) -> Result<Line<'_>, Spoiled> {
    let fields: Map<String, Value> = serde_json::from_str(line).map_err(|_| Spoiled::Cut)?;
    let text = |names: &[&str]| names.iter().find_map(|n| fields.get(*n)).and_then(Value::as_str);
    let time = TIMES.iter().find_map(|n| fields.get(*n)).ok_or(Spoiled::Time)?;
    let (at_ns, whole_second) = stamp(time).ok_or(Spoiled::Time)?;
    let (method, path) = match text(&PATHS) {
        Some(path) => (known_method(text(&METHODS).unwrap_or("GET"))?, path_of(path)?),
        None => request(text(&["request"]).ok_or(Spoiled::Request)?)?,
    };
    let body = match fields.get("body") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(Cow::Owned(text.clone())),
        Some(other) => Some(Cow::Owned(other.to_string())),
    };
    if body.is_none() && !only_reads(method) {
        return Err(Spoiled::NoBody);
    }
    let viewer = VIEWERS.iter().find_map(|n| fields.get(*n)).map(|v| match v {
        Value::String(name) => name.clone(),
        other => other.to_string(),
    });
    let (path, viewer) = (Cow::Owned(path.to_owned()), Cow::Owned(viewer.unwrap_or_default()));
    Ok(Line { at_ns, whole_second, method, path, viewer, body })
}

/// Reads RFC 3339, or a number since 1970 whose size tells its unit: s, ms, us or ns.
fn stamp(value: &Value) -> Option<(i64, bool)> {
    let number = match value {
        Value::Number(n) => n.clone(),
        Value::String(text) => match text.parse::<jiff::Timestamp>() {
            Ok(at) => return Some((i64::try_from(at.as_nanosecond()).ok()?, !text.contains('.'))),
            Err(_) => serde_json::from_str(text).ok()?,
        },
        _ => return None,
    };
    let size = number.as_f64().filter(|n| *n >= 0.0)?;
    let scale = match size {
        s if s < 1e11 => 1_000_000_000,
        s if s < 1e14 => 1_000_000,
        s if s < 1e17 => 1000,
        _ => 1,
    };
    match number.as_i64() {
        Some(whole) => Some((whole.checked_mul(scale)?, scale == 1_000_000_000)),
        // A double holds today's time to a quarter of a microsecond, no better.
        None => Some((((size * scale as f64 / 1000.0).round() as i64).checked_mul(1000)?, false)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_of_several_makes_are_requests() {
        let table = [
            (r#"{"time": "2025-07-02T22:22:48.5Z", "path": "/a?b=1", "viewer": "ann"}"#, "GET", "/a?b=1", "ann", 500),
            (r#"{"ts": 1751494968.5, "request": "HEAD /a HTTP/1.1", "user": 7}"#, "HEAD", "/a", "7", 500),
            (r#"{"t": 1751494968500, "url": "https://h/a", "client_ip": "::1"}"#, "GET", "/a", "::1", 500),
            (r#"{"at": "1751494968", "uri": "/", "body": {"x": 1}, "method": "POST"}"#, "POST", "/", "", 0),
        ];
        for (text, method, path, viewer, ms) in table {
            let line = parse(text).expect(text);
            assert_eq!((line.method, &*line.path, &*line.viewer), (method, path, viewer), "{text}");
            assert_eq!(line.at_ns, 1_751_494_968_000_000_000 + ms * 1_000_000, "{text}");
            assert_eq!(line.whole_second, ms == 0, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_apart() {
        let table = [
            (r#"{"time": 1751494968, "path": "/a""#, Spoiled::Cut),
            (r#"{"path": "/a"}"#, Spoiled::Time),
            (r#"{"time": "yesterday", "path": "/a"}"#, Spoiled::Time),
            (r#"{"time": -5, "path": "/a"}"#, Spoiled::Time),
            (r#"{"time": 1751494968, "path": "a"}"#, Spoiled::Request),
            (r#"{"time": 1751494968, "path": "/a\r\nHost: evil"}"#, Spoiled::Request),
            (r#"{"time": 1751494968, "path": "/a", "method": "DELETE"}"#, Spoiled::NoBody),
            ("[1]", Spoiled::Cut),
        ];
        for (text, why) in table {
            assert_eq!(parse(text), Err(why), "{text}");
        }
    }
}
