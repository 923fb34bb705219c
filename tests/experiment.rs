//! `serin experiment` on exposures whose truth is known.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output};

use rand::SeedableRng;
use rand_distr::{Distribution, Normal};
use rand_pcg::Pcg64Mcg;
use serde_json::Value;

fn experiment(text: &str, flags: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("exposures.csv");
    std::fs::write(&file, text).expect("writes");
    run(&file, flags)
}

fn run(file: &Path, flags: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_serin"));
    command.arg("experiment").arg(file).args(["--json"]).args(flags).env("SERIN_HOME", std::env::temp_dir());
    command.output().expect("runs")
}

fn document(output: &Output) -> Value {
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {told}"))
}

/// Viewers whose past and present correlate by 0.8; group b watches `effect` minutes more.
fn viewers(n: u32, effect: f64, seed: u64) -> String {
    let mut dice = Pcg64Mcg::seed_from_u64(seed);
    let standard = Normal::new(0.0, 1.0).expect("a normal");
    let mut text = "country,pre_viewing_minutes,viewing_minutes,group,viewer\n".to_owned();
    for i in 0..n {
        let (habit, now) = (standard.sample(&mut dice), standard.sample(&mut dice));
        let (group, more) = if i % 2 == 0 { ("a", 0.0) } else { ("b", effect) };
        let minutes = 100.0 + 20.0 * (0.8 * habit + 0.6 * now) + more;
        let country = ["fr", "de", "it"][i as usize % 3];
        writeln!(text, "{country},{},{minutes},{group},viewer-{i}", 100.0 + 20.0 * habit).expect("writes");
    }
    text
}

fn width(document: &Value, method: &str) -> f64 {
    let all = document["estimates"].as_array().expect("estimates");
    let one = all.iter().find(|e| e["method"] == method).expect(method);
    one["high"].as_f64().expect("high") - one["low"].as_f64().expect("low")
}

#[test]
fn a_true_difference_is_found_and_cuped_narrows_by_the_correlations_due() {
    let output = experiment(&viewers(4000, 3.0, 1), &[]);
    let found = document(&output);
    assert_eq!((output.status.code(), &found["verdict"]), (Some(0), &Value::from("go")));
    assert_eq!(found["schema"], "serin.experiment/1");
    let narrowed = width(&found, "cuped") / width(&found, "welch");
    assert!((narrowed - 0.6).abs() < 0.03, "sqrt(1 - 0.8^2) is 0.6, not {narrowed}");
    for method in ["winsorised", "bootstrap"] {
        let same = width(&found, method) / width(&found, "welch");
        assert!((0.85..1.15).contains(&same), "{method}: {same}");
    }
    assert_eq!(found["segments"].as_array().expect("cut by country").len(), 3);
    let worse = experiment(&viewers(4000, -3.0, 1), &[]);
    assert_eq!((worse.status.code(), &document(&worse)["verdict"]), (Some(1), &Value::from("no")));
}

#[test]
fn no_difference_is_cannot_tell_and_says_what_would_have_been_noticed() {
    let output = experiment(&viewers(4000, 0.0, 2), &[]);
    let found = document(&output);
    assert_eq!(output.status.code(), Some(3));
    assert!(found["reason"].as_str().is_some_and(|r| r.contains("would have been noticed")), "{found}");
    // Four of five: (1.96 + 0.84) standard errors of 0.6 x 20 minutes in two groups of 2000.
    let due = 2.802 * 12.0 * (2.0 / 2000.0_f64).sqrt();
    assert!((found["noticeable"].as_f64().expect("a number") - due).abs() < 0.08);
}

#[test]
fn groups_of_the_wrong_size_are_told_before_anything_else() {
    let text = viewers(4000, 5.0, 3);
    let lost = text.lines().enumerate().filter(|(i, _)| i % 8 != 2).map(|(_, l)| l).collect::<Vec<_>>().join("\n");
    let output = experiment(&lost, &[]);
    let found = document(&output);
    assert_eq!((output.status.code(), &found["sample_ratio_ok"]), (Some(3), &Value::from(false)));
    let planned = experiment(&lost, &["--split", "42.857%"]);
    assert_eq!(planned.status.code(), Some(0), "as planned it is no mismatch");
}

#[test]
fn a_time_is_averaged_over_its_rows_and_less_is_better() {
    let mut text = "viewer,group,day,time_to_play_s\n".to_owned();
    for i in 0..600 {
        for day in 1..=(1 + i % 4) {
            let (group, seconds) = if i % 2 == 0 { ("without", 30 + i % 7) } else { ("with", 24 + i % 7) };
            writeln!(text, "v{i},{group},2026-11-{day:02},{seconds}").expect("writes");
        }
    }
    let output = experiment(&text, &["--metric", "time_to_play_s"]);
    let found = document(&output);
    assert_eq!((output.status.code(), &found["estimates"][0]["method"]), (Some(0), &Value::from("delta method")));
    let difference = found["estimates"][0]["difference"].as_f64().expect("a number");
    assert!((difference + 6.0).abs() < 0.3, "{difference}");
    assert_eq!(found["groups"][0]["name"], "without");
    assert_eq!(found["days"].as_array().expect("days").len(), 4);
}

#[test]
fn what_cannot_be_an_experiment_is_refused_with_its_line() {
    let head = "viewer,group,viewing_minutes\n";
    for (rows, why) in [
        ("v1,a,5\nv2,b,6\nv1,b,7\n", ":4: viewer v1 is in b and was in a before"),
        ("v1,a,5\nv2,b,many\n", ":3: `many` in column viewing_minutes is not a number"),
        ("v1,a,5\nv2,b,NaN\n", ":3: `NaN`"),
        ("v1,a,5\nv2,b,1\nv3,c,1\n", ":4: `c` is a third group"),
        ("v1,a,5\nv2,a,1\n", "every viewer is in group a"),
        ("v1,,5\n", ":2: the group is empty"),
        ("", "holds no exposures"),
    ] {
        let output = experiment(&format!("{head}{rows}"), &[]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains(why), "{rows:?}: {told}");
        assert_eq!(output.status.code(), Some(2), "{rows:?}");
    }
    let output = experiment("viewer,group,viewing_minuts\n", &[]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("did you mean `viewing_minuts`"), "{told}");
}
