//! `serin canary judge` on recorded numbers whose truth is known.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use rand::SeedableRng;
use rand_distr::{Distribution, Poisson};
use rand_pcg::Pcg64Mcg;
use serde_json::{Value, json};

/// Runs the judge over these lines.
fn judge(lines: &str, flags: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_serin"));
    command.args(["canary", "judge", "-"]).args(flags).env("SERIN_HOME", std::env::temp_dir());
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().expect("starts");
    child.stdin.take().expect("piped").write_all(lines.as_bytes()).expect("writes");
    child.wait_with_output().expect("ends")
}

fn verdicts(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let each = text.lines().map(|l| serde_json::from_str::<Value>(l).expect("a line of JSON"));
    each.map(|v| {
        assert!(v["reason"].as_str().is_some_and(|r| !r.is_empty()), "a verdict has its reason: {v}");
        v["verdict"].as_str().expect("a word").to_owned()
    })
    .collect()
}

/// A side of 500 requests from the same dice each time: this many fail and this many are slow on average.
fn drawn(n: u64, salt: u64, errors: f64, slow: f64) -> Value {
    let mut dice = Pcg64Mcg::seed_from_u64(n * 1000 + salt);
    let mut count = |mean: f64| Poisson::new(mean).expect("a mean").sample(&mut dice) as u64;
    let (errors, slow, slowest) = (count(errors), count(slow * 0.8), count(slow * 0.2));
    sum(&[json!({"requests": 500, "errors": errors,
        "latency_ms": [[10, 300], [20, 200 - slow - slowest], [50, slow], [200, slowest]]})])
}

/// Adds sides up.
fn sum(sides: &[Value]) -> Value {
    let total = |of: &dyn Fn(&Value) -> &Value| sides.iter().map(|s| of(s).as_u64().expect("a count")).sum::<u64>();
    let bucket = |i: usize, upper: u64| json!([upper, total(&|s| &s["latency_ms"][i][1])]);
    json!({"requests": total(&|s| &s["requests"]), "errors": total(&|s| &s["errors"]),
        "latency_ms": [bucket(0, 10), bucket(1, 20), bucket(2, 50), bucket(3, 200)]})
}

/// One interval: a healthy baseline in some slices, and this canary.
fn cut(i: u64, slices: usize, canary: &Value) -> String {
    let groups: Vec<_> = (0..9).map(|g| drawn(i, g, 0.5, 25.0)).collect();
    json!({"t": i * 10, "baseline": sum(&groups), "canary": canary, "slices": groups[..slices]}).to_string() + "\n"
}

fn series(n: u64, canary: impl Fn(u64) -> Value) -> String {
    (1..=n).map(|i| cut(i, 9, &canary(i))).collect()
}

fn healthy(i: u64) -> Value {
    drawn(i, 99, 0.5, 25.0)
}

fn failing(i: u64) -> Value {
    drawn(i, 99, 10.0, 25.0)
}

fn slow(i: u64) -> Value {
    drawn(i, 99, 0.5, 40.0)
}

#[test]
fn a_healthy_canary_goes_and_a_failing_one_is_rolled_back_for_good() {
    let output = judge(&series(90, healthy), &[]);
    let words = verdicts(&output);
    assert_eq!((words[0].as_str(), words[89].as_str()), ("wait", "go"));
    assert_eq!(output.status.code(), Some(0));

    let recovered = |i: u64| if (20..40).contains(&i) { failing(i) } else { healthy(i) };
    let output = judge(&series(90, recovered), &[]);
    let words = verdicts(&output);
    let first = words.iter().position(|w| w == "rollback").expect("rolled back");
    assert!((19..28).contains(&first), "found at line {first}");
    assert!(words[first..].iter().all(|w| w == "rollback"));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_storm_of_a_minute_is_waited_out_and_said_to_be_one() {
    let stormy = |i: u64| if (91..97).contains(&i) { failing(i) } else { healthy(i) };
    let output = judge(&series(150, stormy), &[]);
    let words = verdicts(&output);
    assert!(words.iter().all(|w| w != "rollback"), "{words:?}");
    assert_eq!(words[95], "wait", "no go while it lasts");
    assert!(String::from_utf8_lossy(&output.stdout).contains("a storm of a minute would look the same so far"));
    let broken = |i: u64| if i > 90 { drawn(i, 99, 250.0, 25.0) } else { healthy(i) };
    let words = verdicts(&judge(&series(100, broken), &[]));
    let first = words.iter().position(|w| w == "rollback").expect("rolled back");
    assert!((90..93).contains(&first), "a collapse is not waited out: line {first}");
}

#[test]
fn go_is_withdrawn_when_the_evidence_turns() {
    let turning = |i: u64| if i <= 60 { healthy(i) } else { slow(i) };
    let words = verdicts(&judge(&series(120, turning), &[]));
    let gone = words.iter().position(|w| w == "go").expect("go first");
    assert!(words[gone..].iter().any(|w| w != "go"), "{words:?}");
    assert_eq!(words.last().map(String::as_str), Some("rollback"));
}

#[test]
fn a_gap_is_cannot_tell_wherever_it_stands_and_is_never_fed_as_zeros() {
    let dead = |i: u64| if (61..=120).contains(&i) { Value::Null } else { healthy(i) };
    let output = judge(&series(121, dead), &[]);
    let words = verdicts(&output);
    assert_eq!(words[59], "go");
    assert!(words[60..120].iter().all(|w| w == "cannot-tell"));
    assert_eq!(words[120], "go", "ten blind minutes neither advance nor roll back");
    for blind in [Value::Null, json!({"requests": 0, "errors": 0})] {
        let output = judge(&series(70, |i| if i < 70 { healthy(i) } else { blind.clone() }), &[]);
        assert_eq!((output.status.code(), verdicts(&output)[69].as_str()), (Some(3), "cannot-tell"));
    }
}

#[test]
fn both_sides_bad_is_not_held_against_the_canary() {
    let sick = |i: u64| {
        let groups: Vec<_> = (0..9).map(|g| drawn(i, g, 45.0, 25.0)).collect();
        json!({"t": i * 10, "baseline": sum(&groups), "canary": drawn(i, 99, 55.0, 25.0), "slices": groups}).to_string()
            + "\n"
    };
    let lines = series(30, healthy) + &(31..90).map(sick).collect::<String>();
    let output = judge(&lines, &[]);
    assert!(verdicts(&output)[30..].iter().all(|w| w == "cannot-tell"), "{:?}", verdicts(&output));
    assert_eq!(output.status.code(), Some(3));
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(told.contains("not the canary"), "{told}");
}

#[test]
fn few_slices_never_roll_back_on_latency_and_none_are_said_to_be_assumed() {
    let few = |slices: usize, canary: &dyn Fn(u64) -> Value| {
        judge(&(1..=60).map(|i| cut(i, slices, &canary(i))).collect::<String>(), &[])
    };
    for slices in [0, 1, 2, 3] {
        let words = verdicts(&few(slices, &|i| drawn(i, 99, 0.5, 90.0)));
        assert_eq!(words.last().map(String::as_str), Some("cannot-tell"), "{slices} slices");
        let failing = few(slices, &|i| drawn(i, 99, 50.0, 25.0));
        assert_eq!(failing.status.code(), Some(1), "{slices} slices");
        let told = String::from_utf8_lossy(&failing.stdout).into_owned();
        assert_eq!(told.contains("assumed noise"), slices < 2, "{told}");
    }
    assert_eq!(few(4, &|i| drawn(i, 99, 0.5, 90.0)).status.code(), Some(1));
}

#[test]
fn a_bad_line_is_named_and_a_cut_one_is_a_gap() {
    let good = series(3, healthy);
    for (bad, why) in [
        (r#"{"t": 40, "baseline": {"requests": -5, "errors": 0}, "canary": null}"#, "requests is -5"),
        (r#"{"t": 40, "baseline": {"requests": 5, "errors": 6}, "canary": null}"#, "6 errors of 5 requests"),
        (r#"{"t": NaN, "baseline": null, "canary": null}"#, "NaN"),
        (r#"{"t": 5, "baseline": null, "canary": null}"#, "t goes back from 30 to 5"),
        ("hello", "expected"),
        (r#"{"t": 40, "canary": "#, "EOF"),
    ] {
        let output = judge(&format!("{good}{bad}\n"), &[]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains("-:4: ") && told.contains(why), "{bad}: {told}");
        assert_eq!((output.status.code(), verdicts(&output).len()), (Some(2), 3));
    }
    let torn = judge(&format!("{good}{}", &cut(4, 9, &healthy(4))[..60]), &[]);
    assert_eq!((torn.status.code(), verdicts(&torn)[3].as_str()), (Some(3), "cannot-tell"));
    let repeated = judge(&format!("{good}{}", cut(3, 9, &healthy(3))), &[]);
    assert_eq!((repeated.status.code(), verdicts(&repeated)[3].as_str()), (Some(3), "cannot-tell"));
    assert_eq!(judge("", &[]).status.code(), Some(3));
}

#[test]
fn json_is_one_document_and_a_missing_file_is_misuse() {
    let output = judge(&series(90, healthy), &["--json"]);
    let document: Value = serde_json::from_slice(&output.stdout).expect("one document");
    assert_eq!(document["schema"], "serin.canary-judge/1");
    assert_eq!((&document["verdict"], &document["intervals"]), (&json!("go"), &json!(90)));
    assert_eq!(document["lines"][89]["verdict"], "go");
    let mut command = Command::new(env!("CARGO_BIN_EXE_serin"));
    let missing = command.args(["canary", "judge", "/nowhere/series.jsonl"]).output().expect("runs");
    assert_eq!(missing.status.code(), Some(2));
}

#[test]
fn a_second_opinion_is_told_beside_and_never_decides() {
    // Sixty intervals of a canary whose errors are tenfold: both see it. The one that decides says so long before the end.
    let bad = series(60, failing);
    let output = judge(&bad, &["--second-opinion", "--json"]);
    let document: Value = serde_json::from_slice(&output.stdout).expect("one document");
    let second = &document["second_opinion"];
    let guards = second["guards"].as_array().expect("a guard each");
    let names: Vec<_> = guards.iter().filter_map(|g| g["guard"].as_str()).collect();
    assert_eq!(names, ["errors", "p95", "p99"], "{second}");
    assert_eq!((&guards[0]["answer"], &guards[0]["intervals"]), (&"high".into(), &60.into()), "{second}");
    assert!(guards[0]["low"].as_f64().is_some_and(|low| low > 0.0), "{second}");
    let score = second["score"].as_f64().expect("a score");
    assert!((score - 200.0 / 3.0).abs() < 0.1, "two of three pass: {second}");
    assert_eq!((output.status.code(), &document["verdict"]), (Some(1), &"no".into()));
    // With too few intervals it says so, beside the lines and not among them; the verdict is the same with and without it.
    let short = series(20, healthy);
    let (with, without) = (judge(&short, &["--second-opinion"]), judge(&short, &[]));
    assert_eq!((with.status.code(), &with.stdout), (without.status.code(), &without.stdout));
    let told = String::from_utf8_lossy(&with.stderr).into_owned();
    assert!(told.contains("second opinion: errors passes") && told.contains("fewer than the 50 it wants"), "{told}");
    assert!(!String::from_utf8_lossy(&without.stderr).contains("second opinion"));
    let plain: Value = serde_json::from_slice(&judge(&short, &["--json"]).stdout).expect("one document");
    assert_eq!(plain["second_opinion"], Value::Null);
}
