//! Callers who mean harm, from the outside: slow heads, endless bodies, floods of headers and connections, requests cut in the middle; others are served on.

mod served;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use served::{Api, platform};

fn memory_mb(api: &Api) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", api.child.id())).expect("Linux");
    let line = status.lines().find(|l| l.starts_with("VmRSS")).expect("a line");
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).expect("a number") / 1024
}

fn well(api: &Api) {
    let answer = api.get("/v1/recommendations/u0?limit=2");
    assert_eq!((&answer["source"], &answer["degraded"]), (&"list".into(), &false.into()), "{answer}");
}

fn flags() -> [&'static str; 4] {
    ["--store", "embedded:store", "--items", "items.csv"]
}

#[test]
fn requests_that_attack_are_refused_and_others_are_served_on() {
    let dir = tempfile::tempdir().expect("a folder");
    platform(dir.path());
    let api = Api::start(dir.path(), &flags());
    let bearer = format!("authorization: Bearer {}\r\n", api.token);
    let before = memory_mb(&api);

    // Heads: too many, too long, not HTTP, two lengths. The answer is an error or a closed connection, never a page.
    let many: String = (0..300).map(|i| format!("x-{i}: y\r\n")).collect();
    let long = format!("x-long: {}\r\n", "y".repeat(200 * 1024));
    let smuggled = "POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /metrics HTTP/1.1\r\nhost: x\r\n\r\n";
    for (what, text) in [
        ("300 headers", format!("GET /v1/popular HTTP/1.1\r\nhost: x\r\n{bearer}{many}\r\n")),
        ("a header of 200 KB", format!("GET /v1/popular HTTP/1.1\r\nhost: x\r\n{bearer}{long}\r\n")),
        (
            "a path of 200 KB",
            format!("GET /v1/recommendations/{} HTTP/1.1\r\nhost: x\r\n{bearer}\r\n", "u".repeat(200 * 1024)),
        ),
        ("no HTTP", "\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\x03\x03 hello".to_owned()),
        ("a bare new line in a header", format!("GET /v1/popular HTTP/1.1\r\nhost: x\r\nx: a\n b\r\n{bearer}\r\n")),
        (
            "two content lengths",
            "POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nabcd".to_owned(),
        ),
    ] {
        let answer = api.raw(text.as_bytes());
        let refused = answer.is_empty() || answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.0 4");
        assert!(refused || what == "a bare new line in a header", "{what}: {answer:.200}");
        well(&api);
    }
    let answer = api.raw(smuggled.as_bytes());
    assert!(!answer.contains("serin_requests_total"), "a second request was smuggled in: {answer:.300}");

    // Bodies: endless, longer than said, deep, full of nothing.
    let chunk = format!("{:x}\r\n{}\r\n", 64 * 1024, "x".repeat(64 * 1024));
    let endless = format!(
        "POST /v1/events HTTP/1.1\r\nhost: x\r\n{bearer}transfer-encoding: chunked\r\n\r\n{}",
        chunk.repeat(64)
    );
    let answer = api.raw(endless.as_bytes());
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413"), "{answer:.200}");
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(api.ask("POST", "/v1/events", &deep).0, 400);
    assert_eq!(api.ask("POST", "/v1/rank/u0", &format!("{{\"items\":[{}\"a\"]}}", "\"x\",".repeat(501))).0, 400);
    let huge_number = r#"{"user":"u0","item":"a0","value":1e999}"#;
    assert_eq!(api.ask("POST", "/v1/events", huge_number).0, 400);

    // Queries that are made to explode, and paths with tricks.
    for (path, expected) in [
        (format!("/v1/recommendations/u0?channel={}", "a,".repeat(5_000)), 400),
        (format!("/v1/recommendations/u0?{}", "channel=a&".repeat(500)), 400),
        ("/v1/recommendations/..%2f..%2fetc%2fpasswd".to_owned(), 200),
        ("/v1/recommendations/%00".to_owned(), 400),
        ("/v1/recommendations/%ff".to_owned(), 400),
        ("/v1/recommendations/u0/../../metrics".to_owned(), 404),
        ("//metrics".to_owned(), 404),
        ("/v1/similar/%0d%0aset-cookie:x".to_owned(), 400),
    ] {
        let (status, body) = api.ask("GET", &path, "");
        assert_eq!(status, expected, "{path:.80}: {body:.200}");
        assert!(!body.contains("root:"), "{path:.80}");
    }
    // Thousands of different queries: what is remembered of them is bounded.
    for i in 0..3_000 {
        let (status, _) = api.ask("GET", &format!("/v1/popular?limit={}&channel=a,x{i}", i % 500 + 1), "");
        assert_eq!(status, 200);
    }
    well(&api);
    assert!(memory_mb(&api) < before + 100, "{} MB, {before} before", memory_mb(&api));
}

#[test]
fn slow_callers_and_cut_requests_hold_nobody_up() {
    let dir = tempfile::tempdir().expect("a folder");
    platform(dir.path());
    let api = Api::start(dir.path(), &flags());
    let connect = || TcpStream::connect(&api.address).expect("connects");
    // Slow heads, slow bodies, and requests whose callers go away in the middle.
    let mut slow: Vec<TcpStream> = (0..200).map(|_| connect()).collect();
    for stream in &mut slow {
        stream.write_all(b"GET /v1/popular HTTP/1.1\r\nhost: x\r\nx-").expect("sent");
    }
    let mut body = connect();
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-length: 100\r\n\r\n{{",
        api.token
    );
    body.write_all(head.as_bytes()).expect("sent");
    for _ in 0..300 {
        let mut cut = connect();
        let _ = cut.write_all(
            format!("GET /v1/recommendations/u0 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n", api.token)
                .as_bytes(),
        );
    }
    let asked = Instant::now();
    for _ in 0..20 {
        well(&api);
    }
    assert!(asked.elapsed() < Duration::from_secs(10), "others waited {:?}", asked.elapsed());
    // A drop now and then must not keep a head open for ever.
    for stream in slow.iter_mut().take(20) {
        let _ = stream.write_all(b"a");
    }
    let mut answer = String::new();
    body.set_read_timeout(Some(Duration::from_secs(30))).expect("set");
    let _ = body.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 408"), "a body that does not come: {answer:.200}");
    for stream in slow.iter_mut().take(40) {
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("set");
        let mut rest = Vec::new();
        // Ended by the server: with 408 or without a word, not by our own patience.
        let ended = stream.read_to_end(&mut rest);
        assert!(ended.is_ok() || ended.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset));
    }
    well(&api);
}

#[test]
fn ten_thousand_connections_are_held_in_bounded_memory() {
    let dir = tempfile::tempdir().expect("a folder");
    platform(dir.path());
    let api = Api::start(dir.path(), &flags());
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls take a valid struct of ours.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
    }
    let most = (limit.rlim_cur.saturating_sub(200)).min(10_000) as usize;
    let before = memory_mb(&api);
    let mut held = Vec::with_capacity(most);
    let began = Instant::now();
    while held.len() < most && began.elapsed() < Duration::from_secs(20) {
        match TcpStream::connect(&api.address) {
            Ok(mut stream) => {
                let _ = stream.write_all(b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n");
                held.push(stream);
            }
            // The machine's own limits: what is open is enough to tell.
            Err(_) => break,
        }
    }
    well(&api);
    let each = (memory_mb(&api).saturating_sub(before)) * 1024 / (held.len() as u64).max(1);
    assert!(each < 40, "{each} KB a connection, {} of them", held.len());
    drop(held);
    let began = Instant::now();
    loop {
        let page = api.ask("GET", "/metrics", "").1;
        let open =
            page.lines().find_map(|l| l.strip_prefix("serin_connections ")?.parse::<f64>().ok()).expect("a number");
        if open < 100.0 {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{open} are still held");
        std::thread::sleep(Duration::from_millis(100));
    }
    well(&api);
}
