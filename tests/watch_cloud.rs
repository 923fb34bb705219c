//! Watching through AWS' own clients: CloudWatch and DynamoDB, what they tell, what they cost, and how they fail.
#![cfg(feature = "aws")]

mod cloud;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use cloud::{Asked, CloudWatch};
use serde_json::Value;
use serin::watch::cloud::Resources;
use serin::watch::error::WatchError;
use serin::watch::purse::Purse;
use serin::watch::source::{Source as _, Span};
use serin::watch::sources::cloudwatch;

const USD_A_METRIC: f64 = 1e-5;
const METRICS: usize = 14;

/// An API behind a load balancer: it answers, and tells no numbers of its own.
fn api() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut line = String::new();
            let mut reader = BufReader::new(&stream);
            while reader.read_line(&mut line).unwrap_or(0) > 2 {
                line.clear();
            }
            let body = r#"{"items":[{"item_id":"p1"},{"item_id":"p2"}]}"#;
            let head = "HTTP/1.1 200 X\r\nconnection: close\r\ncontent-length:";
            let _ = write!(&stream, "{head} {}\r\n\r\n{body}", body.len());
        }
    });
    url
}

/// A DynamoDB-compatible server with the table `lists`, 100 read units; one for all tests.
fn dynamodb() -> &'static str {
    static URL: OnceLock<String> = OnceLock::new();
    URL.get_or_init(|| {
        let database = dynoxide::Database::memory().expect("a database");
        let create = serde_json::json!({
            "TableName": "lists",
            "AttributeDefinitions": [{"AttributeName": "k", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}],
            "ProvisionedThroughput": {"ReadCapacityUnits": 100, "WriteCapacityUnits": 5},
        });
        database.create_table(serde_json::from_value(create).expect("a request")).expect("a table");
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
                tell.send(format!("http://{}", listener.local_addr().expect("bound"))).expect("heard");
                dynoxide::server::serve_on(listener, database).await;
            });
        });
        told.recv().expect("an address")
    })
}

/// Whole periods of a day's past: a number for each minute that the metric has.
fn minutes(asked: &Asked, each: impl Fn(i64) -> Option<f64>) -> Vec<(i64, f64)> {
    let now = jiff::Timestamp::now().as_second();
    let first = (asked.from + asked.period - 1) / asked.period * asked.period;
    let times = (first..asked.to.min(now)).step_by(asked.period as usize);
    times
        .filter_map(|at| {
            each((now - at) / 60).map(|v| {
                (
                    at,
                    v * if asked.stat == "Sum" || asked.stat == "SampleCount" {
                        asked.period as f64 / 60.0
                    } else {
                        1.0
                    },
                )
            })
        })
        .collect()
}

/// What a healthy evening looks like; errors have no datapoint where there are none.
fn healthy(asked: &Asked) -> Vec<(i64, f64)> {
    let value = match asked.metric.as_str() {
        "ConsumedReadCapacityUnits" => 600.0,
        "ProvisionedReadCapacityUnits" => 100.0,
        "SuccessfulRequestLatency" if asked.stat == "SampleCount" => 1200.0,
        "SuccessfulRequestLatency" => 3.0,
        "RequestCount" => 12_000.0,
        "TargetResponseTime" => 0.08,
        "GetRecommendations" => 12_000.0,
        "GetRecommendationsLatency" => 35.0,
        _ => return Vec::new(),
    };
    minutes(asked, |_| Some(value))
}

fn target(more: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    let text = format!(
        "[targets.api]\nurl = \"{}\"\n[targets.api.watch]\nmetrics = false\nregion = \"eu-west-1\"\ntable = \"lists\"\n\
         load_balancer = \"app/recs/1\"\ncampaign = \"arn:aws:personalize:eu-west-1:1:campaign/strip\"\n{more}",
        api()
    );
    std::fs::write(dir.path().join("serin.toml"), text).expect("written");
    dir
}

fn serin(dir: &Path, cloudwatch: &str, arguments: &[&str], keys: bool) -> Output {
    serin_at(dir, (cloudwatch, dynamodb()), arguments, keys)
}

fn serin_at(dir: &Path, (cloudwatch, table): (&str, &str), arguments: &[&str], keys: bool) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_serin"));
    command.current_dir(dir).env("SERIN_HOME", dir.join("home")).args(arguments);
    for (name, _) in std::env::vars().filter(|(n, _)| n.starts_with("AWS_")) {
        command.env_remove(name);
    }
    command.env("HOME", dir).env("AWS_EC2_METADATA_DISABLED", "true");
    command.env("AWS_ENDPOINT_URL_CLOUDWATCH", cloudwatch).env("AWS_ENDPOINT_URL_DYNAMODB", table);
    if keys {
        command.env("AWS_ACCESS_KEY_ID", "AKID").env("AWS_SECRET_ACCESS_KEY", "secret");
    }
    command.output().expect("runs")
}

fn check(dir: &Path, cloudwatch: &str) -> (i32, Value) {
    let ran = serin(dir, cloudwatch, &["check", "--target", "api", "--json"], true);
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    (ran.status.code().expect("ended"), serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}{err}")))
}

fn one<'a>(document: &'a Value, name: &str) -> &'a Value {
    let checks = document["checks"].as_array().expect("checks");
    checks.iter().find(|c| c["name"] == name).unwrap_or_else(|| panic!("no check {name}"))
}

fn blind(document: &Value) -> String {
    one(document, "blind-spots")["seen"].as_str().expect("text").to_owned()
}

#[test]
fn a_healthy_target_is_told_by_aws_alone_and_the_price_is_what_is_billed() {
    let cloudwatch = CloudWatch::start(|asked| Ok(healthy(asked)));
    let dir = target("");
    let (code, document) = check(dir.path(), &cloudwatch.url);
    assert_eq!((code, &document["verdict"]), (0, &"go".into()), "{document:#}");
    for name in ["user-errors", "user-latency", "traffic", "store-throttling", "store-latency", "quota", "cost"] {
        assert_eq!(one(&document, name)["state"], "ok", "{name}: {document:#}");
    }
    assert_eq!(one(&document, "user-errors")["source"], "CloudWatch");
    assert!(one(&document, "traffic")["seen"].as_str().is_some_and(|s| s.starts_with("200")), "{document:#}");
    let cost = one(&document, "cost")["seen"].as_str().expect("text").to_owned();
    assert!(cost.contains("for 100 read units"), "the table's own description says it: {cost}");
    // One call a piece of the past, each with every metric.
    assert_eq!(cloudwatch.billed.calls(), [METRICS; 3]);
    let billed = cloudwatch.billed.metrics() as f64 * USD_A_METRIC;
    let spent: Value =
        serde_json::from_slice(&std::fs::read(dir.path().join("home/history/api.spent.json")).expect("kept"))
            .expect("JSON");
    let said = spent["usd"].as_f64().expect("dollars");
    assert!((said / billed - 1.0).abs() < 0.01, "said {said}, billed {billed}");
    let ran = serin(dir.path(), &cloudwatch.url, &["check", "--target", "api", "--config-only"], true);
    assert_eq!(ran.status.code(), Some(0), "{}", String::from_utf8_lossy(&ran.stdout));
}

#[test]
fn a_table_that_throttles_and_a_campaign_that_is_full_are_both_named() {
    let cloudwatch = CloudWatch::start(|asked| {
        let lately = |value: f64| Ok(minutes(asked, |old| (old < 12).then_some(value)));
        match asked.metric.as_str() {
            "ReadThrottleEvents" => lately(300.0),
            "GetRecommendations4xxErrors" => lately(600.0),
            "GetRecommendations" => Ok(minutes(asked, |old| Some(if old < 12 { 30_000.0 } else { 18_000.0 }))),
            _ => Ok(healthy(asked)),
        }
    });
    let dir = target("");
    let (code, document) = check(dir.path(), &cloudwatch.url);
    let causes = document["findings"].as_array().expect("findings").iter().map(|f| f["cause"].as_str());
    let causes: Vec<_> = causes.map(Option::unwrap_or_default).collect();
    assert_eq!((code, causes.as_slice()), (1, ["quota-reached", "store-throttled"].as_slice()), "{document:#}");
    let since: jiff::Timestamp = document["findings"][1]["since"].as_str().expect("text").parse().expect("a time");
    let ago = jiff::Timestamp::now().as_second() - since.as_second();
    assert!((600..=900).contains(&ago), "began about twelve minutes ago, not {ago} s: {document:#}");
}

#[test]
fn what_fails_says_why_and_what_to_allow_while_the_rest_goes_on() {
    let cases: [((u16, &str, &str), &str); 4] = [
        (
            (400, "com.amazonaws#AccessDeniedException", "not authorized"),
            "the policy does not allow cloudwatch:GetMetricData",
        ),
        ((400, "com.amazonaws#ExpiredTokenException", "too old"), "the credentials have expired"),
        ((400, "com.amazonaws#UnrecognizedClientException", "who"), "the access key is not known to this account"),
        ((400, "com.amazonaws#RequestTimeTooSkewed", "late"), "this machine's clock is off"),
    ];
    for (error, expected) in cases {
        let cloudwatch = CloudWatch::start(move |_| Err(error));
        let dir = target("");
        let ran = serin(dir.path(), &cloudwatch.url, &["check", "--target", "api", "--config-only"], true);
        let out = String::from_utf8_lossy(&ran.stdout).into_owned();
        assert_eq!(ran.status.code(), Some(3), "{out}");
        assert!(out.contains(expected) && out.contains("✓ DynamoDB table lists in eu-west-1 answers"), "{out}");
    }
    // A region that has no such service, or a network that is gone: nobody listens.
    let gone = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
    let dir = target("");
    let (code, document) = check(dir.path(), &format!("http://{gone}"));
    assert_eq!(code, 0, "the probe still tells: {document:#}");
    assert!(blind(&document).contains("does the region `eu-west-1` have this service?"), "{document:#}");
    assert_eq!(one(&document, "user-errors")["state"], "unknown");
    let began = Instant::now();
    let ran = serin(dir.path(), &format!("http://{gone}"), &["check", "--target", "api", "--config-only"], false);
    let out = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(out.contains("no AWS credentials"), "{out}");
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_metric_that_was_renamed_is_named_and_a_cap_is_kept() {
    let cloudwatch = CloudWatch::start(|asked| match asked.metric.as_str() {
        "RequestCount" => Ok(Vec::new()),
        _ => Ok(healthy(asked)),
    });
    let dir = target("spend_cap = 0.0006\n");
    let (_, document) = check(dir.path(), &cloudwatch.url);
    assert!(blind(&document).contains("AWS/ApplicationELB RequestCount"), "{document:#}");
    assert_eq!(one(&document, "user-latency")["state"], "ok", "the others go on");
    // 42 metrics are spent; 18 more would do, and a piece has 14.
    let (_, document) = check(dir.path(), &cloudwatch.url);
    assert!(blind(&document).contains("cap of $0.0006"), "{document:#}");
    assert_eq!(cloudwatch.billed.metrics(), 4 * METRICS);
}

#[test]
fn a_throttled_watch_asks_no_more_for_a_while_and_a_good_one_once_a_minute() {
    let throttled = CloudWatch::start(|_| Err((400, "com.amazonaws#ThrottlingException", "Rate exceeded")));
    let good = CloudWatch::start(|asked| Ok(healthy(asked)));
    let words = ["watch", "--target", "api", "--every", "1s", "--duration", "4s", "--json"];
    let dir = target("");
    let ran = serin(dir.path(), &throttled.url, &words, true);
    let out = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(out.lines().count() >= 2 && out.contains("Rate exceeded"), "{out}");
    assert!(throttled.billed.calls().len() <= 2, "one question, and the client's own second try");
    let ran = serin(target("").path(), &good.url, &words, true);
    let out = String::from_utf8_lossy(&ran.stdout).into_owned();
    let last: Value = serde_json::from_str(out.lines().last().expect("a line")).expect("JSON");
    assert_eq!(good.billed.calls().len(), 3, "{out}");
    let spent = last["spent_usd"].as_f64().expect("dollars");
    assert!((spent - good.billed.metrics() as f64 * USD_A_METRIC).abs() < 1e-9, "{last:#}");
    assert!((last["rate"].as_f64().expect("known") - 200.0).abs() < 10.0, "{last:#}");
}

/// A server that refuses everything, as DynamoDB words it.
fn refusing(kind: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut line = String::new();
            let mut reader = BufReader::new(&stream);
            while reader.read_line(&mut line).unwrap_or(0) > 2 {
                line.clear();
            }
            let body = format!("{{\"__type\":\"com.amazon.coral.service#{kind}\",\"message\":\"no\"}}");
            let head =
                "HTTP/1.1 400 X\r\nconnection: close\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length:";
            let _ = write!(&stream, "{head} {}\r\n\r\n{body}", body.len());
        }
    });
    url
}

#[test]
fn each_source_of_aws_names_the_action_that_is_missing_and_another_account_is_suspected() {
    let denied = CloudWatch::start(|_| Err((400, "com.amazonaws#AccessDeniedException", "not authorized")));
    let dir = target("");
    let words = ["check", "--target", "api", "--config-only"];
    let ran = serin_at(dir.path(), (&denied.url, &refusing("AccessDeniedException")), &words, true);
    let out = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert_eq!(ran.status.code(), Some(3), "{out}");
    for action in ["cloudwatch:GetMetricData", "dynamodb:DescribeTable"] {
        assert!(out.contains(&format!("the policy does not allow {action}")), "{out}");
    }
    // Keys of another account find no such table, and no number of it.
    let empty = CloudWatch::start(|_| Ok(Vec::new()));
    let ran = serin_at(dir.path(), (&empty.url, &refusing("ResourceNotFoundException")), &words, true);
    let out = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(out.contains("not in `eu-west-1` for these credentials (another account's"), "{out}");
    assert!(out.contains("or with the credentials of another account?"), "{out}");
}

const FORTY: usize = 40;

/// Runs with keys in its environment, started by the test below.
#[test]
#[ignore = "the inner side of the next test"]
fn hours_of_forty_metrics() {
    let cloudwatch = CloudWatch::start(|asked| Ok(healthy(asked)));
    let dir = tempfile::tempdir().expect("a folder");
    // Four environments, each a table and a load balancer.
    let queries = |n: usize| {
        let (table, balancer) = (Some(format!("lists-{n}")), Some(format!("app/recs/{n}")));
        Resources { table, balancer, campaign: None }.queries(0.99)
    };
    let queries: Vec<_> = (0..4).flat_map(queries).collect();
    assert_eq!(queries.len(), FORTY);
    let purse = |cap| Purse::of(dir.path(), &format!("{cap:?}"), cap);
    let open = |cap| {
        let endpoint = Some(cloudwatch.url.clone());
        cloudwatch::CloudWatch::new("eu-west-1".to_owned(), endpoint, queries.clone(), purse(cap))
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    // Twenty-eight minutes of a day that began after midnight, looked at each seven seconds: whoever looks often pays no more.
    let day = jiff::Timestamp::now().as_second() as f64;
    let start = (day / 86_400.0).floor() * 86_400.0 - 86_400.0 + 3600.0;
    let look = |source: &cloudwatch::CloudWatch, second: f64| {
        let to = start + second;
        runtime.block_on(source.ask(Span { from: to - 300.0, to }))
    };
    let source = open(None);
    look(&source, 0.0).expect("told");
    let first = cloudwatch.billed.metrics();
    assert_eq!(first, 3 * FORTY, "the past is looked at once, in three pieces");
    let minutes = 28_u32;
    for tick in 1..=minutes * 60 / 7 {
        look(&source, f64::from(tick * 7)).expect("told");
    }
    let watched = cloudwatch.billed.metrics() - first;
    println!("watched {} {}", watched as f64 / f64::from(minutes), cloudwatch.billed.metrics() as f64 * USD_A_METRIC);
    let said = purse(None).spent(start + 60.0).usd;
    assert!((said / (cloudwatch.billed.metrics() as f64 * USD_A_METRIC) - 1.0).abs() < 1e-6, "{said}");
    // With a cap it asks as long as the money lasts, and then no more.
    let before = cloudwatch.billed.metrics();
    let (cap, source) = (0.0105, open(Some(0.0105)));
    let mut refused = None;
    for minute in 0..60_u32 {
        refused = look(&source, f64::from(minute) * 60.0).err();
    }
    assert!(matches!(refused, Some(WatchError::Cap { .. })), "{refused:?}");
    let billed = (cloudwatch.billed.metrics() - before) as f64 * USD_A_METRIC;
    assert!(billed <= cap && billed > cap - 40.0 * USD_A_METRIC, "billed {billed}, the cap is {cap}");
}

#[test]
fn forty_metrics_a_minute_cost_what_the_cost_command_says() {
    let mut command = Command::new(std::env::current_exe().expect("this test"));
    command.args(["--ignored", "--exact", "hours_of_forty_metrics", "--nocapture"]);
    let dir = tempfile::tempdir().expect("a folder");
    for (name, _) in std::env::vars().filter(|(n, _)| n.starts_with("AWS_")) {
        command.env_remove(name);
    }
    command.env("HOME", dir.path()).env("AWS_EC2_METADATA_DISABLED", "true");
    command.env("AWS_ACCESS_KEY_ID", "AKID").env("AWS_SECRET_ACCESS_KEY", "secret");
    let ran = command.output().expect("runs");
    let out = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success(), "{out}{}", String::from_utf8_lossy(&ran.stderr));
    let told = out.lines().find_map(|l| l.split("watched ").nth(1)).expect("told");
    let each_minute: f64 = told.split(' ').next().and_then(|n| n.parse().ok()).expect("a number");
    let ran = serin(dir.path(), "http://127.0.0.1:1", &["cost", "estimate", "--metrics", "40", "--json"], false);
    let document: Value = serde_json::from_slice(&ran.stdout).expect("JSON");
    let lines = document["own"]["lines"].as_array().expect("lines");
    let line = lines.iter().find(|l| l["what"] == "watching").expect("a line");
    let (said, billed) = (line["usd"].as_f64().expect("dollars"), each_minute * USD_A_METRIC * 60.0 * 730.0);
    assert!((billed / said - 1.0).abs() < 0.01, "the cost command says {said} a month, {billed} would be billed");
}
