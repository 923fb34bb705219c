//! `serin load` as a script uses it: documents, verdicts and exit codes against servers of known behaviour on loopback.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

const GOOD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A server on a port of its own: `answer` gets each connection's request line and returns what is sent.
fn server(answer: impl Fn(&str, &mut dyn Write) -> bool + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            thread::spawn(move || serve(stream.try_clone().expect("a clone"), stream, &*answer));
        }
    });
    url
}

fn serve(from: impl Read, mut to: impl Write, answer: &(impl Fn(&str, &mut dyn Write) -> bool + ?Sized)) {
    let mut lines = BufReader::new(from).lines().map_while(Result::ok);
    while let Some(first) = lines.next() {
        if lines.by_ref().take_while(|l| !l.is_empty()).count() == 0 {
            return;
        }
        if !answer(&first, &mut to) {
            return;
        }
    }
}

/// One load at a time: two at once on a small machine are late through each other, and each says so.
static MACHINE: Mutex<()> = Mutex::new(());

/// Runs a load until it can tell: what a busy machine made invalid is asked again, at most five times.
fn told(once: impl Fn() -> (Option<i32>, Value, String)) -> (Option<i32>, Value, String) {
    for _ in 0..5 {
        let (code, document, errors) = once();
        if document["generator"]["state"] != "invalid" {
            return (code, document, errors);
        }
        assert_eq!((code, &document["verdict"]), (Some(3), &"cannot-tell".into()), "{document}");
        thread::sleep(Duration::from_secs(1));
    }
    panic!("this machine starved the generator five times: free a core and run the test again")
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_serin"));
        command.current_dir(self.0.path()).env("SERIN_HOME", self.0.path().join("home")).env("HOME", self.0.path());
        command.arg("load").args(arguments).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, Value, String) {
        let _alone = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
        let Output { status, stdout, stderr } = self.command(arguments).arg("--json").output().expect("runs");
        let document = serde_json::from_slice(&stdout).unwrap_or(Value::Null);
        (status.code(), document, String::from_utf8_lossy(&stderr).into_owned())
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    }
}

#[test]
fn a_healthy_target_is_go_and_every_request_is_told() {
    let url = server(|_, to| to.write_all(GOOD.as_bytes()).is_ok());
    let place = Place::new();
    let (code, d, _) = told(|| place.run(&["--url", &url, "--rate", "200", "--duration", "2s"]));
    assert_eq!(code, Some(0), "{d}");
    assert_eq!(d["schema"], "serin.load/1");
    assert_eq!((&d["verdict"], &d["requests"], &d["errors"]["total"]), (&"go".into(), &400.into(), &0.into()));
    assert_eq!(d["rate"]["asked"], 200.0);
    assert_eq!(d["rate"]["sent"], 200.0);
    assert_eq!(d["implied"], true);
    let run = place.0.path().join(d["run"].as_str().expect("a folder"));
    let kept: Value = serde_json::from_slice(&std::fs::read(run.join("summary.json")).expect("kept")).expect("JSON");
    assert_eq!(kept, d, "what was printed is what is kept");
}

#[test]
fn a_stalled_target_shows_its_backlog_and_stays_a_run_that_can_be_judged() {
    let (code, d, _) = told(|| {
        let begin = std::sync::OnceLock::new();
        let stall = Duration::from_millis(1000)..Duration::from_millis(2000);
        // Everything that comes within the second second after the first request is held to its end.
        let url = server(move |_, to| {
            let at = begin.get_or_init(Instant::now).elapsed();
            if stall.contains(&at) {
                thread::sleep(stall.end.saturating_sub(at));
            }
            to.write_all(GOOD.as_bytes()).is_ok()
        });
        let words = ["--rate", "100", "--duration", "4s", "--connections", "4", "--objective", "p99 < 500ms"];
        Place::new().run(&[&["--url", &url][..], &words].concat())
    });
    assert_eq!(code, Some(1), "{d}");
    // A quarter of the requests fell due in the stall, and waited evenly up to a second.
    let p90 = d["latency_ms"]["p90"].as_f64().expect("seen");
    assert!((500.0..750.0).contains(&p90), "{p90}");
    assert!(d["connection_wait_ms"]["p90"].as_f64().expect("seen") > 400.0);
    assert_eq!(d["requests"], 400);
    assert_eq!(d["generator"]["saturated"], false);
}

#[test]
fn errors_are_told_apart_by_kind_with_an_example_without_secrets() {
    let count = std::sync::atomic::AtomicUsize::new(0);
    let url = server(move |_, to| {
        let text = match count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 6 {
            0 => "HTTP/1.1 503 Busy\r\nContent-Length: 24\r\n\r\n{\"token\":\"hush-hush-ab\"}",
            1 => "HTTP/1.1 429 Slow\r\nContent-Length: 0\r\n\r\n",
            2 => "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
            3 => "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
            4 => "SSH-2.0-hello\r\n\r\n",
            _ => GOOD,
        };
        let whole = !text.ends_with("half") && !text.starts_with("SSH");
        to.write_all(text.as_bytes()).is_ok() && whole
    });
    let words = ["--url", &url, "--rate", "60", "--duration", "1s", "--connections", "1"];
    let (code, d, _) = told(|| Place::new().run(&words));
    assert_eq!(code, Some(1), "{d}");
    for kind in ["status", "throttled", "redirect", "closed", "protocol"] {
        assert_eq!(d["errors"]["by_kind"][kind], 10, "{kind}: {d}");
        assert!(d["errors"]["examples"][kind].as_str().expect("an example").starts_with("GET /"), "{kind}");
    }
    assert_eq!(d["errors"]["total"], 50);
    assert!(!d.to_string().contains("hush"), "a secret in the document: {d}");
}

#[test]
fn answers_that_are_less_than_was_asked_are_counted() {
    let url = server(|_, to| {
        to.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 28\r\n\r\n{\"items\":[],\"degraded\":true}").is_ok()
    });
    let (code, d, _) = told(|| Place::new().run(&["--url", &url, "--rate", "20", "--duration", "1s"]));
    assert_eq!((code, &d["degraded"]), (Some(0), &20.into()), "{d}");
}

#[test]
fn a_silent_target_is_given_up_and_counted_at_its_age() {
    let url = server(|_, _| {
        thread::sleep(Duration::from_secs(30));
        false
    });
    let begin = Instant::now();
    let (code, d, _) = Place::new().run(&["--url", &url, "--rate", "20", "--duration", "1s", "--timeout", "500ms"]);
    assert!(begin.elapsed() < Duration::from_secs(8), "it hung");
    assert_eq!(code, Some(3), "no answer at all cannot be judged: {d}");
    assert_eq!(d["errors"]["by_kind"]["timeout"], 20);
    assert!(d["latency_ms"]["min"].as_f64().expect("counted at their age") >= 499.0);
    assert_eq!(d["generator"]["dropped"], 0);
}

#[test]
fn nobody_there_is_said_clearly_and_cannot_be_judged() {
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
    let url = format!("http://127.0.0.1:{port}");
    let (code, d, errors) = Place::new().run(&["--url", &url, "--rate", "5", "--duration", "1s"]);
    assert_eq!((code, &d["verdict"]), (Some(3), &"cannot-tell".into()));
    assert!(errors.contains("cannot reach") && errors.contains("refused"), "{errors}");
}

#[test]
fn load_goes_nowhere_that_nobody_confirmed() {
    let place = Place::new();
    for arguments in [
        &["--url", "http://192.0.2.7/", "--rate", "5"][..],
        &["--url", "http://127.0.0.1.example.org/", "--rate", "5"],
        &["--url", "http://192.0.2.7/", "--allow", "192.0.2.7", "--rate", "101"],
        &["--url", "http://192.0.2.7/", "--allow", "192.0.2.7", "--rate", "max"],
        &["--url", "http://127.0.0.1:1/", "--rate", "0"],
        &["--url", "http://127.0.0.1:1/"],
        &["--target", "nowhere", "--rate", "5"],
        &["evening-paek"],
    ] {
        let (code, _, errors) = place.run(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {errors}");
    }
}

#[test]
fn a_scenario_file_is_checked_with_its_place_and_played() {
    let place = Place::new();
    place.file(
        "bad.toml",
        "name = \"x\"\n[[stage]]\nshape = \"constant\"\nrate = 0\nfor = \"1s\"\n[[request]]\nget = \"/\"\n",
    );
    let (code, _, errors) = place.run(&["bad.toml", "--url", "http://127.0.0.1:1"]);
    assert_eq!(code, Some(2));
    assert!(errors.contains("bad.toml:4:8: `rate` is zero"), "{errors}");
    let good = "[[stage]]\nname = \"a\"\nshape = \"ramp\"\nfrom = 50\nto = 150\nfor = \"1s\"\n[[stage]]\nname = \"b\"\nshape = \"constant\"\nrate = 100\nfor = \"1s\"\n\
        [viewers]\ncount = 5\n[[request]]\nname = \"list\"\nweight = 3\nget = \"/v1/{viewer}\"\n[[request]]\nname = \"pop\"\nget = \"/pop\"\n\
        [[objective]]\nexpression = \"errors = 0\"\nendpoint = \"pop\"\n[[objective]]\nexpression = \"errors < 1%\"\nstage = \"b\"\n";
    place.file("good.toml", good);
    // Only the viewers' lists fail.
    let url = server(|line, to| {
        let text = if line.contains("/pop") { GOOD } else { "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n" };
        to.write_all(text.as_bytes()).is_ok()
    });
    let (code, d, _) = told(|| place.run(&["good.toml", "--url", &url]));
    assert_eq!(code, Some(1), "{d}");
    assert_eq!(d["requests"], 200);
    assert_eq!(d["objectives"][0]["met"], true, "{d}");
    assert_eq!(d["objectives"][1]["met"], false, "{d}");
    assert_eq!(d["stages"][1]["requests"], 100);
}

#[test]
fn shards_together_send_the_whole_schedule() {
    let url = server(|_, to| to.write_all(GOOD.as_bytes()).is_ok());
    let sent = |shard: &str| {
        let words = ["--url", &url, "--rate", "100", "--duration", "1s", "--shard", shard];
        let (code, d, _) = told(|| Place::new().run(&words));
        assert_eq!(code, Some(0), "{d}");
        d["requests"].as_u64().expect("a number")
    };
    assert_eq!(sent("1/3") + sent("2/3") + sent("3/3"), 100);
}

#[test]
fn a_stop_ends_sending_and_still_leaves_a_summary() {
    let url = server(|_, to| to.write_all(GOOD.as_bytes()).is_ok());
    let place = Place::new();
    let mut command = place.command(&["--url", &url, "--rate", "100", "--duration", "60s", "--json"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("starts");
    thread::sleep(Duration::from_millis(1500));
    // SAFETY: a signal to a child of this test.
    unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGINT) };
    let output = child.wait_with_output().expect("ends");
    let d: Value = serde_json::from_slice(&output.stdout).expect("a document");
    assert_eq!((output.status.code(), &d["stopped"]), (Some(130), &true.into()));
    assert!(d["requests"].as_u64().expect("a number") < 400, "{d}");
}

#[test]
fn a_generator_that_is_stopped_again_and_again_says_so() {
    let url = server(|_, to| to.write_all(GOOD.as_bytes()).is_ok());
    let place = Place::new();
    let mut command = place.command(&["--url", &url, "--rate", "300", "--duration", "3s", "--json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("starts");
    let pid = child.id() as libc::pid_t;
    while child.try_wait().expect("asked").is_none() {
        // SAFETY: signals to a child of this test that was not yet waited for.
        unsafe { libc::kill(pid, libc::SIGSTOP) };
        thread::sleep(Duration::from_millis(30));
        unsafe { libc::kill(pid, libc::SIGCONT) };
        thread::sleep(Duration::from_millis(10));
    }
    let mut text = String::new();
    child.stdout.take().expect("piped").read_to_string(&mut text).expect("read");
    let d: Value = serde_json::from_str(&text).expect("a document");
    assert_eq!((&d["verdict"], &d["generator"]["state"]), (&"cannot-tell".into(), &"invalid".into()), "{d}");
}

/// A certificate of `localhost`'s own, and a server that shows it.
fn certified() -> (String, rustls::ServerConfig) {
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("made");
    let key = rustls::pki_types::PrivateKeyDer::try_from(own.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("versions").with_no_client_auth().with_single_cert(vec![own.cert.der().clone()], key);
    (own.cert.pem(), config.expect("a configuration"))
}

#[test]
fn a_secure_target_must_prove_who_it_is() {
    let place = Place::new();
    let (pem, config) = certified();
    let authority = place.file("ca.pem", &pem);
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("https://localhost:{}/", listener.local_addr().expect("bound").port());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let config = Arc::clone(&config);
            thread::spawn(move || answer_securely(stream, config));
        }
    });
    let authority = authority.display().to_string();
    let words = ["--url", &url, "--rate", "50", "--duration", "1s", "--cacert", &authority];
    let (code, d, _) = told(|| place.run(&words));
    assert_eq!((code, &d["requests"]), (Some(0), &50.into()), "{d}");
    assert!(d["parts_ms"]["tls"]["p50"].as_f64().is_some(), "{d}");
    let (code, d, _) = place.run(&["--url", &url, "--rate", "50", "--duration", "1s"]);
    assert_eq!((code, &d["errors"]["by_kind"]["tls"]), (Some(3), &50.into()), "{d}");
    assert!(d["errors"]["examples"]["tls"].as_str().expect("an example").contains("ertificate"), "{d}");
}

fn answer_securely(mut stream: TcpStream, config: Arc<rustls::ServerConfig>) {
    let Ok(mut tls) = rustls::ServerConnection::new(config) else { return };
    let mut secure = rustls::Stream::new(&mut tls, &mut stream);
    let mut held = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = secure.read(&mut buffer) {
        held.extend_from_slice(&buffer[..n]);
        if held.ends_with(b"\r\n\r\n") {
            held.clear();
            if secure.write_all(GOOD.as_bytes()).is_err() {
                return;
            }
        }
    }
}

const EVENING: &str = "[viewers]\ncount = 50\n[[stage]]\nshape = \"constant\"\nrate = 10\nfor = \"2s\"\n\
    [[request]]\nname = \"home\"\nget = \"/home\"\n[[request]]\nname = \"strip\"\nget = \"/strip/{viewer}\"\n\
    [[step]]\nrequest = \"home\"\nthink = \"20ms\"\n[[step]]\nrequest = \"strip\"\nthink = \"80ms\"\ntimes = 2\n";

#[test]
fn viewers_live_their_evenings_and_are_recorded_with_the_body() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&asked);
    // The head comes at once, the body 30 ms later: a time that ends at the headers would not see it.
    let url = server(move |line, to| {
        kept.lock().expect("kept").push(line.to_owned());
        let head = to.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n").and_then(|()| to.flush());
        thread::sleep(Duration::from_millis(30));
        head.and_then(|()| to.write_all(b"ok")).is_ok()
    });
    let place = Place::new();
    place.file("evening.toml", EVENING);
    let (code, d, errors) = told(|| {
        asked.lock().expect("kept").clear();
        place.run(&["evening.toml", "--url", &url, "--users", "10"])
    });
    assert_eq!(code, Some(0), "{d}{errors}");
    // Ten viewers, three requests each in about 270 ms, for two seconds.
    let requests = d["requests"].as_u64().expect("a number");
    assert!((80..=300).contains(&requests), "{d}");
    assert!(d["latency_ms"]["min"].as_f64().expect("seen") >= 29.0, "{d}");
    assert_eq!(d["errors"]["total"], 0, "{d}");
    assert_eq!(d["generator"]["dropped"], 0, "{d}");
    let asked = asked.lock().expect("kept");
    assert_eq!(asked.len() as u64, requests, "every request that was sent is told");
    let (home, strip) = (asked.iter().filter(|l| l.contains("/home")).count(), asked.len());
    assert!((0.25..0.5).contains(&(home as f64 / strip as f64)), "{home} of {strip}");
}

#[test]
fn viewers_stop_when_asked_and_their_answers_under_way_are_counted() {
    let url = server(|_, to| {
        thread::sleep(Duration::from_millis(100));
        to.write_all(GOOD.as_bytes()).is_ok()
    });
    let place = Place::new();
    let mut command =
        place.command(&["--url", &url, "--users", "20", "--think", "50ms", "--duration", "60s", "--json"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("starts");
    thread::sleep(Duration::from_millis(2500));
    let begin = Instant::now();
    // SAFETY: a signal to a child of this test.
    unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGINT) };
    let output = child.wait_with_output().expect("ends");
    let d: Value = serde_json::from_slice(&output.stdout).expect("a document");
    assert_eq!((output.status.code(), &d["stopped"]), (Some(130), &true.into()), "{d}");
    assert!(begin.elapsed() < Duration::from_secs(10), "it hung");
    assert!(d["requests"].as_u64().expect("a number") > 20, "{d}");
    assert_eq!(d["generator"]["dropped"], 0, "{d}");
}

#[test]
fn viewers_meet_silence_resets_and_refusals_like_everybody() {
    let count = std::sync::atomic::AtomicUsize::new(0);
    let url = server(move |_, to| match count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 3 {
        0 => to.write_all(GOOD.as_bytes()).is_ok(),
        1 => {
            let _ = to.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
            false
        }
        _ => {
            thread::sleep(Duration::from_secs(5));
            false
        }
    });
    let words = ["--url", &url, "--users", "6", "--think", "20ms", "--duration", "2s", "--timeout", "300ms"];
    let (code, d, _) = told(|| Place::new().run(&words));
    assert_eq!(code, Some(1), "{d}");
    for kind in ["closed", "timeout"] {
        assert!(d["errors"]["by_kind"][kind].as_u64().is_some_and(|n| n > 0), "{kind}: {d}");
    }
    let secure = Place::new().run(&["--url", &url.replace("http:", "https:"), "--users", "2", "--duration", "1s"]).1;
    assert!(secure["errors"]["by_kind"]["tls"].as_u64().is_some_and(|n| n > 0), "{secure}");
}

#[test]
fn a_connection_lives_as_long_as_was_asked() {
    let opened = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let count = Arc::clone(&opened);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let answer = |_: &str, to: &mut dyn Write| to.write_all(GOOD.as_bytes()).is_ok();
            thread::spawn(move || serve(stream.try_clone().expect("a clone"), stream, &answer));
        }
    });
    let words = ["--url", &url, "--rate", "50", "--duration", "1s", "--requests-per-connection", "5"];
    let (code, d, _) = told(|| Place::new().run(&words));
    assert_eq!((code, &d["requests"]), (Some(0), &50.into()), "{d}");
    // Ten for the run, one for the look whether anybody is there.
    assert!(opened.load(std::sync::atomic::Ordering::Relaxed) >= 10, "{opened:?}");
}

#[test]
fn a_stop_is_heeded_at_once_and_nothing_is_sent_afterwards() {
    let last = Arc::new(Mutex::new(Instant::now()));
    let kept = Arc::clone(&last);
    let url = server(move |_, to| {
        *kept.lock().expect("kept") = Instant::now();
        to.write_all(GOOD.as_bytes()).is_ok()
    });
    let place = Place::new();
    let mut command = place.command(&["--url", &url, "--rate", "500", "--duration", "60s", "--json"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("starts");
    thread::sleep(Duration::from_millis(1500));
    let asked = Instant::now();
    // SAFETY: a signal to a child of this test.
    unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGINT) };
    let output = child.wait_with_output().expect("ends");
    assert_eq!(output.status.code(), Some(130));
    let sent_for = last.lock().expect("kept").saturating_duration_since(asked);
    // The promise is a tenth of a second; a busy machine may hold the signal itself up.
    assert!(sent_for < Duration::from_secs(1), "it went on for {sent_for:?}");
}

/// An HTTP/2 server, behind TLS where that is given: `answer` gets each path; returns its address and how many
/// connections it took.
fn server_of_streams(
    secure: Option<rustls::ServerConfig>,
    answer: impl Fn(&str) -> (u16, Duration) + Clone + Send + Sync + 'static,
) -> (String, Arc<std::sync::atomic::AtomicUsize>) {
    use http_body_util::Full;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let opened = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = Arc::clone(&opened);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("set");
    let port = listener.local_addr().expect("bound").port();
    let url = if secure.is_some() { format!("https://localhost:{port}") } else { format!("http://127.0.0.1:{port}") };
    let secure = secure.map(|config| tokio_rustls::TlsAcceptor::from(Arc::new(config)));
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let answer = answer.clone();
                let service = hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                    let (status, takes) = answer(request.uri().path());
                    async move {
                        tokio::time::sleep(takes).await;
                        let body = Full::new(bytes::Bytes::from_static(b"{\"items\":[1]}"));
                        hyper::Response::builder().status(status).body(body)
                    }
                });
                let mut server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                server.max_concurrent_streams(8);
                let secure = secure.clone();
                tokio::spawn(async move {
                    match secure {
                        None => drop(server.serve_connection(TokioIo::new(stream), service).await),
                        Some(secure) => {
                            if let Ok(stream) = secure.accept(stream).await {
                                let _ = server.serve_connection(TokioIo::new(stream), service).await;
                            }
                        }
                    }
                });
            }
        });
    });
    (url, opened)
}

#[test]
fn many_requests_share_an_http2_connection() {
    let (url, opened) = server_of_streams(None, |path| {
        let slow = if path.contains("slow") { 60 } else { 1 };
        (if path.contains("no") { 503 } else { 200 }, Duration::from_millis(slow))
    });
    let place = Place::new();
    let stage = "http2 = true\nconnections = 2\n[[stage]]\nshape = \"constant\"\nrate = 100\nfor = \"2s\"\n";
    let requests = "[[request]]\nget = \"/slow\"\nweight = 3\n[[request]]\npost = \"/no\"\nbody = '{\"a\": 1}'\n";
    place.file("two.toml", &format!("{stage}{requests}check = {{ has = \"/items/0\" }}\n"));
    let before = opened.load(std::sync::atomic::Ordering::Relaxed);
    let (code, d, errors) = told(|| place.run(&["two.toml", "--url", &url]));
    assert_eq!((code, &d["requests"]), (Some(1), &200.into()), "{d}{errors}");
    assert_eq!(
        d["errors"]["by_kind"].as_object().map(|k| k.keys().collect::<Vec<_>>()),
        Some(vec![&"status".to_owned()])
    );
    assert_eq!(d["errors"]["by_status"]["503"], d["errors"]["total"], "{d}");
    assert!((20..=80).contains(&d["errors"]["total"].as_u64().expect("a number")), "{d}");
    assert_eq!(d["generator"]["dropped"], 0, "{d}");
    // Two for the run, one for the look whether anybody is there; a run asked again has its own.
    let runs = opened.load(std::sync::atomic::Ordering::Relaxed) - before;
    assert!(runs <= 15, "{runs}");
    // As fast as it bears: eight at once on each connection, as the server says, though more were wished.
    let words = ["--url", &format!("{url}/slow"), "--rate", "max", "--connections", "2", "--http2", "--streams", "50"];
    let (code, d, _) = place.run(&[&words[..], &["--duration", "2s"]].concat());
    assert_eq!(code, Some(0), "{d}");
    // Sixteen at once in 60 ms each are 266 a second at most.
    let requests = d["requests"].as_u64().expect("a number");
    assert!((60..=560).contains(&requests), "{d}");
}

#[test]
fn http2_behind_tls_is_agreed_on_and_nothing_else_is_taken_for_it() {
    let place = Place::new();
    let (pem, mut config) = certified();
    let authority = place.file("ca.pem", &pem).display().to_string();
    let old = config.clone();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let (url, _) = server_of_streams(Some(config), |_| (200, Duration::from_millis(1)));
    let words = |url: &str| {
        let words = ["--url", url, "--rate", "50", "--duration", "1s", "--http2", "--cacert", &authority];
        told(|| place.run(&words))
    };
    let (code, d, errors) = words(&url);
    assert_eq!((code, &d["requests"], &d["errors"]["total"]), (Some(0), &50.into(), &0.into()), "{d}{errors}");
    assert!(d["parts_ms"]["tls"]["p50"].as_f64().is_some(), "{d}");
    // A server that agrees to nothing would be spoken to in a language that it may not know.
    let (url, _) = server_of_streams(Some(old), |_| (200, Duration::from_millis(1)));
    let (code, d, _) = words(&url);
    assert_eq!((code, &d["errors"]["by_kind"]["tls"]), (Some(3), &50.into()), "{d}");
}

#[test]
fn under_http2_silence_and_another_protocol_are_told_by_kind() {
    let (url, _) = server_of_streams(None, |_| (200, Duration::from_secs(30)));
    let begin = Instant::now();
    let words = ["--rate", "20", "--duration", "1s", "--timeout", "500ms", "--http2"];
    let (code, d, _) = Place::new().run(&[&["--url", &url][..], &words].concat());
    assert!(begin.elapsed() < Duration::from_secs(20), "it hung");
    assert_eq!((code, &d["errors"]["by_kind"]["timeout"]), (Some(3), &20.into()), "{d}");
    assert!(d["latency_ms"]["min"].as_f64().expect("counted at their age") >= 499.0, "{d}");
    let old = server(|_, to| to.write_all(GOOD.as_bytes()).is_ok());
    let (code, d, _) = Place::new().run(&[&["--url", &old][..], &words].concat());
    assert_eq!((code, &d["generator"]["dropped"]), (Some(3), &0.into()), "{d}");
    assert_eq!(d["errors"]["total"], 20, "{d}");
}

#[test]
fn shards_of_many_processes_begin_as_one_and_merge_from_an_object_store() {
    let url = server(|_, to| to.write_all(GOOD.as_bytes()).is_ok());
    let place = Place::new();
    let alone = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    let (code, d, _) = told(|| {
        // What the Indexed Job does, with processes for pods.
        let depot = tempfile::tempdir_in(place.0.path()).expect("a folder").keep();
        let results = format!("file://{}", depot.display());
        let at = jiff::Timestamp::now() + Duration::from_millis(1500);
        let (at, shards) = (at.to_string(), 3);
        let start = |n: u32| {
            let (shard, out) = (format!("{n}/{shards}"), format!("pod-{n}"));
            let words = ["--url", &url, "--rate", "90", "--duration", "2s", "--shard", &shard, "--at", &at];
            let mut command = place.command(&[&words[..], &["--keep", &results, "--out", &out]].concat());
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts")
        };
        let children: Vec<_> = (1..=shards).map(start).collect();
        for mut child in children {
            assert!(child.wait().expect("ends").code().is_some_and(|c| c != 2), "a shard was refused");
        }
        let mut merge = Command::new(env!("CARGO_BIN_EXE_serin"));
        let merge = merge.current_dir(depot.parent().expect("one")).args(["report", "merge", &results, "--json"]);
        let merge = merge.args(["--out", depot.file_name().and_then(|n| n.to_str()).expect("a name")]);
        let output = merge.env("SERIN_HOME", place.0.path().join("home")).output().expect("runs");
        let document: Value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        (output.status.code(), document, String::from_utf8_lossy(&output.stderr).into_owned())
    });
    assert_eq!((code, &d["requests"], &d["rate"]["asked"]), (Some(0), &180.into(), &90.0.into()), "{d}");
    assert_eq!(d["merged"].as_array().map(Vec::len), Some(3), "{d}");
    assert!(d.get("began_apart_s").is_none(), "{d}");
    drop(alone);
    let late = place.run(&["--url", &url, "--rate", "5", "--at", "2020-01-01T00:00:00Z"]);
    assert_eq!(late.0, Some(2), "{}", late.2);
}
