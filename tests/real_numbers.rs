//! A canary's numbers from real servers: a Prometheus that scrapes for itself, CloudWatch as moto and ministack have it.
#![cfg(feature = "real-servers")]

use std::cell::Cell;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use serin::canary::drive::{Drive, Told};
use serin::canary::driver::{Driver, DriverError};
use serin::canary::plan::Plan;
use serin::canary::record::Record;
use serin::canary::source::{Source, Taken};
use serin::canary::sources;
use serin::canary::sources::cloudwatch::{Asked, Groups};
use serin::canary::told::Outcome;
use serin::judge::interval::Side;
use serin::judge::verdict::Verdict;
use serin::serve::aws::{Aws, CLOUDWATCH};
use serin::stop::Stop;

/// The server from the environment that `tests/run` makes. Every test begins here: the keys are set before anything reads.
fn binary(variable: &str) -> String {
    static KEYS: Once = Once::new();
    KEYS.call_once(|| {
        // SAFETY: the first thing that any test of this process does, and nobody writes the environment later.
        unsafe {
            std::env::set_var("AWS_ACCESS_KEY_ID", "testing");
            std::env::set_var("AWS_SECRET_ACCESS_KEY", "testing");
        }
    });
    let found = std::env::var(variable).ok().filter(|v| !v.is_empty());
    found.unwrap_or_else(|| panic!("{variable} is not set: run tests/run, which brings the server"))
}

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port()
}

fn started(mut command: Command, port: u16) -> Ended {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let server = Ended(command.spawn().expect("starts"));
    let began = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(began.elapsed() < Duration::from_secs(90), "{command:?} does not answer");
        thread::sleep(Duration::from_millis(50));
    }
    server
}

/// An instance that answers 400 requests a second, one in a thousand of them or one in ten badly, as its page tells.
fn instance(bad: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let began = Instant::now();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(stream.try_clone().expect("ours")).lines();
            while lines.next().is_some_and(|l| l.is_ok_and(|l| !l.is_empty())) {}
            let all = 1000 + (400.0 * began.elapsed().as_secs_f64()) as u64;
            let failed = if bad { all / 10 } else { all / 1000 };
            let page = format!(
                "serin_requests_total{{route=\"/v1/popular\",status=\"200\"}} {}\n\
                 serin_requests_total{{route=\"/v1/popular\",status=\"500\"}} {failed}\n\
                 serin_request_seconds_bucket{{route=\"/v1/popular\",le=\"0.005\"}} {}\n\
                 serin_request_seconds_bucket{{route=\"/v1/popular\",le=\"+Inf\"}} {all}\n",
                all - failed,
                all - all / 20,
            );
            let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n", page.len());
            let _ = stream.write_all((head + &page).as_bytes());
        }
    });
    port
}

fn prometheus(dir: &Path, old: &[u16], new: u16) -> (Ended, u16) {
    let old: Vec<_> = old.iter().map(|p| format!("'127.0.0.1:{p}'")).collect();
    let text = format!(
        "global:\n  scrape_interval: 1s\nscrape_configs:\n- job_name: recs\n  static_configs:\n  - targets: [{}]\n    \
         labels: {{version: v1}}\n  - targets: ['127.0.0.1:{new}']\n    labels: {{version: v2}}\n",
        old.join(", ")
    );
    fs::write(dir.join("prometheus.yml"), text).expect("written");
    let web = port();
    let mut command = Command::new(binary("SERIN_PROMETHEUS"));
    command.current_dir(dir).args(["--config.file=prometheus.yml", "--storage.tsdb.path=tsdb", "--log.level=error"]);
    command.arg(format!("--web.listen-address=127.0.0.1:{web}"));
    (started(command, web), web)
}

fn plan(web: u16) -> Plan {
    let text = format!(
        "[canary]\ntarget='t'\ndriver='command'\nlook='1s'\n[[stage]]\nshare='10%'\nhold='10m'\n[[guard]]\nmetric='errors'\n\
         [numbers]\nfrom='prometheus'\nurl='http://127.0.0.1:{web}'\nbaseline=['job=\"recs\",version=\"v1\"']\n\
         canary=['job=\"recs\",version=\"v2\"']\n"
    );
    Plan::parse("p", &text).expect("reads")
}

/// The same numbers, asked for as often as this Prometheus scrapes twice.
struct Often(Box<dyn Source>);

impl Source for Often {
    fn name(&self) -> String {
        self.0.name()
    }

    fn take(&mut self) -> Result<Taken, String> {
        self.0.take()
    }

    fn every(&self) -> Duration {
        Duration::from_secs(2)
    }
}

struct Proxy(Cell<f64>);

impl Driver for Proxy {
    fn name(&self) -> String {
        "a proxy".to_owned()
    }

    fn read(&mut self) -> Result<f64, DriverError> {
        Ok(self.0.get())
    }

    fn set(&mut self, share: f64) -> Result<(), DriverError> {
        self.0.set(share);
        Ok(())
    }
}

/// Walks without a journal, a proxy that does as it is told.
fn walk(plan: &Plan, source: Box<dyn Source>, stop: Stop, tell: &mut dyn FnMut(Told)) -> Outcome {
    let drive = Drive {
        plan,
        driver: Box::new(Proxy(Cell::new(0.0))),
        source: Box::new(Often(source)),
        write: Box::new(|_: &Record| Ok(())),
        wishes: Box::new(Vec::new),
        heard: 0,
        past: None,
        name: "test".to_owned(),
        stop,
        tell,
    };
    drive.run().expect("walks")
}

#[test]
fn a_real_prometheus_rolls_a_bad_canary_back_and_its_end_is_a_gap() {
    let _ = binary("SERIN_PROMETHEUS");
    let dir = tempfile::tempdir().expect("a folder");
    let old: Vec<u16> = (0..4).map(|_| instance(false)).collect();
    let (server, web) = prometheus(dir.path(), &old, instance(true));
    let plan = plan(web);
    let open = || sources::open(&plan, dir.path(), None).expect("opens");
    let mut source = open();
    let began = Instant::now();
    let taken = loop {
        assert!(began.elapsed() < Duration::from_secs(120), "no numbers come");
        thread::sleep(Duration::from_secs(2));
        match source.take() {
            Ok(taken) if taken.interval.slices.len() == 4 && taken.interval.canary.is_some() => break taken.interval,
            _ => {}
        }
    };
    let (baseline, canary) = (taken.baseline.expect("told"), taken.canary.expect("told"));
    assert!((baseline.requests / canary.requests - 4.0).abs() < 1.5, "{baseline:?} {canary:?}");
    assert!((canary.errors / canary.requests - 0.1).abs() < 0.03, "{canary:?}");
    assert!((baseline.slower_than(5.0) / baseline.timed() - 0.05).abs() < 0.02, "{baseline:?}");
    // The walk's own judge on these very numbers.
    let outcome = walk(&plan, open(), Stop::default(), &mut |_| {});
    assert_eq!((outcome.ending.verdict, outcome.share), (Verdict::No, Some(0.0)), "{outcome:?}");
    assert!(outcome.ending.reason.starts_with("errors"), "{outcome:?}");
    // Without it there are no numbers: never zeros, and no verdict.
    drop(server);
    let (over, told) = (AtomicBool::new(false), Cell::new(0));
    let stop = Stop::default();
    let outcome = walk(&plan, open(), stop.clone(), &mut |what: Told| {
        if let Told::View(view) = what
            && view.verdict.is_some()
        {
            assert!(view.reason.contains("blind"), "{view:?}");
            told.set(told.get() + 1);
            if told.get() == 2 {
                over.store(true, Ordering::Relaxed);
                stop.request();
            }
        }
    });
    assert!(over.load(Ordering::Relaxed));
    assert_eq!((outcome.ending.verdict, outcome.share), (Verdict::CannotTell, Some(0.1)), "neither on nor back");
}

/// Puts what two target groups did in three whole minutes; returns the first one.
fn put(endpoint: &str) -> i64 {
    let mut aws = Aws::open(Some("eu-west-3"), Some(endpoint)).expect("opens");
    let first = jiff::Timestamp::now().as_second() / 60 * 60 - 360;
    for minute in [first, first + 60, first + 120] {
        for (group, requests, failed, median) in [("old", 9000.0, 9.0, 0.02), ("new", 1000.0, 30.0, 0.03)] {
            let at = json!([{"Name": "LoadBalancer", "Value": "app/x/1"},
                            {"Name": "TargetGroup", "Value": format!("targetgroup/{group}/1")}]);
            // The second minute of the new group comes late: it is not there yet.
            if group == "new" && minute == first + 60 {
                continue;
            }
            // A lognormal's quantiles, so that a twentieth lies above 2.68 medians.
            let z = |i: f64| std::f64::consts::SQRT_2 * inverse_erf(2.0 * (i + 0.5) / 150.0 - 1.0);
            let times: Vec<f64> = (0..150).map(|i| median * f64::exp(0.6 * z(f64::from(i)))).collect();
            let counts = vec![requests / 150.0; 150];
            let data = json!([
                {"MetricName": "RequestCount", "Dimensions": at, "Timestamp": minute + 5, "Value": requests},
                {"MetricName": "HTTPCode_Target_5XX_Count", "Dimensions": at, "Timestamp": minute + 5, "Value": failed},
                {"MetricName": "TargetResponseTime", "Dimensions": at, "Timestamp": minute + 5, "Values": times,
                 "Counts": counts, "Unit": "Seconds"}]);
            let body = json!({"Namespace": "AWS/ApplicationELB", "MetricData": data});
            aws.call(&CLOUDWATCH, "PutMetricData", &body).expect("put");
        }
    }
    first
}

/// Good to a percent, which is all that made-up times need.
fn inverse_erf(x: f64) -> f64 {
    let log = (1.0 - x * x).ln();
    let middle = 2.0 / (std::f64::consts::PI * 0.147) + log / 2.0;
    x.signum() * ((middle * middle - log / 0.147).sqrt() - middle).sqrt()
}

fn groups(endpoint: &str, timed: bool, after: i64) -> Groups {
    let own = |n: &str| vec![format!("targetgroup/{n}/1")];
    let asked = Asked {
        region: "eu-west-3".to_owned(),
        endpoint: Some(endpoint.to_owned()),
        balancer: "app/x/1".to_owned(),
        baseline: own("old"),
        canary: own("new"),
        timed,
    };
    Groups::new(asked).expect("opens").after(after)
}

fn sides(taken: Taken) -> (Side, Side) {
    (taken.interval.baseline.expect("told"), taken.interval.canary.expect("told"))
}

#[test]
fn cloudwatch_as_moto_has_it_tells_errors_by_whole_minutes() {
    let port = port();
    let mut command = Command::new(binary("SERIN_MOTO"));
    command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
    let _moto = started(command, port);
    let endpoint = format!("http://127.0.0.1:{port}");
    let first = put(&endpoint);
    let mut source = groups(&endpoint, false, first - 60);
    let (baseline, canary) = sides(source.take().expect("whole minutes"));
    // The minute that the new group has not told yet counts for neither.
    assert_eq!((baseline.requests, baseline.errors), (18_000.0, 18.0));
    assert_eq!((canary.requests, canary.errors), (2000.0, 60.0));
    assert!(source.take().is_err_and(|e| e.contains("no whole minute")), "each minute is counted once");
    // It has no percentiles: whoever asks for them is told nothing, never zeros.
    assert!(groups(&endpoint, true, first - 60).take().is_err());
    // Nothing that lies before the walk, and nothing of the two minutes that are not whole.
    let mut fresh = groups(&endpoint, false, first + 60);
    assert_eq!(sides(fresh.take().expect("one minute")).0.requests, 9000.0);
    let now: Value = json!(jiff::Timestamp::now().as_second());
    assert!(now.as_i64().is_some_and(|n| n - first < 600), "the minutes were whole and not too old");
}

#[test]
fn cloudwatch_as_ministack_has_it_tells_slow_requests_by_its_percentiles() {
    let port = port();
    let mut command = Command::new(binary("SERIN_MINISTACK"));
    command.env("BIND_HOST", "127.0.0.1").env("GATEWAY_PORT", port.to_string());
    let _ministack = started(command, port);
    let endpoint = format!("http://127.0.0.1:{port}");
    let first = put(&endpoint);
    let (baseline, canary) = sides(groups(&endpoint, true, first - 60).take().expect("whole minutes"));
    assert!((baseline.timed() - 18_000.0).abs() < 1.0 && (canary.timed() - 2000.0).abs() < 1.0);
    // Above the old group's p95, 53.6 ms, lies a twentieth of it and a sixth of a group that takes half as long again.
    let slow = |side: &Side| side.slower_than(53.7) / side.timed();
    assert!((slow(&baseline) - 0.05).abs() < 0.012, "{}", slow(&baseline));
    assert!((slow(&canary) - 0.167).abs() < 0.04, "{}", slow(&canary));
}
