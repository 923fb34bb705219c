//! `serin cost` as scripts use it: the binary, its documents and its exit codes.

use std::path::Path;

use assert_cmd::Command;
use serde_json::Value;

const PLAN: &str = "[descend]\nknob = \"dynamodb\"\nunit = \"rcu\"\nstart = 900\nfloor = 1\nhold = \"24h\"\n";

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn file(&self, name: &str, text: &str) -> &Self {
        std::fs::write(self.path().join(name), text).expect("written");
        self
    }

    fn serin(&self, line: &str) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_serin"));
        command.current_dir(self.path()).env("SERIN_HOME", self.path().join("home")).env_remove("XDG_CONFIG_HOME");
        let out = command.args(line.split_whitespace()).output().expect("runs");
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        (out.status.code().expect("an exit code"), text(&out.stdout), text(&out.stderr))
    }

    fn json(&self, line: &str) -> (i32, Value) {
        let (code, out, err) = self.serin(&format!("{line} --json"));
        (code, serde_json::from_str(&out).unwrap_or_else(|e| panic!("{line}: {e}\n{out}\n{err}")))
    }
}

/// Days of a plain evening: 40 reads a second, and `high` from 19 to 22 h.
fn days(days: u32, high: f64, each_s: u32) -> String {
    let mut text = "timestamp,reads_per_second\n".to_owned();
    for i in 0..days * 86_400 / each_s {
        let t = 1_793_577_600 + u64::from(i * each_s);
        let hour = i * each_s / 3_600 % 24;
        text += &format!("{t},{}\n", if (19..22).contains(&hour) { high } else { 40.0 });
    }
    text
}

fn close(seen: &Value, wanted: f64) {
    let seen = seen.as_f64().expect("a number");
    assert!((seen - wanted).abs() <= 0.01 * wanted.abs(), "{seen} is not within 1 % of {wanted}");
}

#[test]
fn the_way_down_ends_near_the_least_that_holds() {
    let place = Place::new();
    place.file("plan.toml", PLAN).file("demand.csv", &days(21, 400.0, 60));
    let (code, seen) = place.json("cost descend plan.toml --simulate --trace demand.csv");
    assert_eq!((code, seen["schema"].as_str()), (0, Some("serin.descend/1")));
    // 200 units for three hours: 200 x 10800 / 11100 = 194.6, whole units.
    assert_eq!(seen["needed_capacity"], 195);
    let end = seen["final_capacity"].as_u64().expect("a capacity");
    assert!((195..=214).contains(&end), "{end}");
    assert_eq!(seen["throttled"], 0);
    close(&seen["saved_per_month"], (900.0 - end as f64) * 0.00013 * 730.0);
    let steps = seen["steps"].as_array().expect("steps");
    assert_eq!((steps[0]["capacity"].as_u64(), steps[0]["at"].as_str()), (Some(900), Some("2026-11-02T00:00:00Z")));
    assert!(seen["rule"]["throttled"].as_u64().expect("the rule beside it") > 0);
    assert!(Path::new(seen["run"].as_str().expect("a run")).is_relative() || seen["run"].is_string());
}

#[test]
fn a_forced_breach_is_answered_within_ten_seconds() {
    // Four quiet evenings, then half as much again within a minute, at the evening's height and for the rest of it.
    let mut rates: Vec<f64> =
        (0..6 * 86_400 / 10).map(|i| if (19..22).contains(&(i / 360 % 24)) { 400.0 } else { 40.0 }).collect();
    let at = (5 * 86_400 + 20 * 3_600) / 10;
    for (i, rate) in rates.iter_mut().enumerate().skip(at).take(360) {
        *rate *= 1.0 + 0.5 * ((i - at + 1) as f64 / 6.0).min(1.0);
    }
    let lines: String = rates.iter().enumerate().map(|(i, r)| format!("{},{r}\n", 1_793_577_600 + i * 10)).collect();
    let place = Place::new();
    place.file("plan.toml", PLAN).file("demand.csv", &format!("timestamp,reads_per_second\n{lines}"));
    let (_, seen) = place.json("cost descend plan.toml --simulate --trace demand.csv");
    let breach = 1_793_577_600 + at as i64 * 10;
    let ups: Vec<&Value> = seen["steps"].as_array().expect("steps").iter().filter(|s| s["verdict"] == "up").collect();
    assert!(!ups.is_empty());
    assert!(seen["longest_breach_s"].as_f64().expect("seconds") <= 10.0);
    for up in ups {
        let when: jiff::Timestamp = up["at"].as_str().expect("a time").parse().expect("RFC 3339");
        assert!(when.as_second() >= breach, "{up}");
    }
}

#[test]
fn a_demand_that_no_bucket_can_carry_is_throttled_and_answered_at_once() {
    let mut text = days(3, 400.0, 60);
    text += &format!("{},{}\n{},{}\n", 1_793_577_600 + 3 * 86_400, 400_000, 1_793_577_600 + 3 * 86_400 + 60, 400_000);
    let place = Place::new();
    place.file("plan.toml", PLAN).file("demand.csv", &text);
    let (code, seen) = place.json("cost descend plan.toml --simulate --trace demand.csv");
    assert_eq!((code, seen["verdict"].as_str()), (1, Some("no")));
    assert!(seen["throttled"].as_u64().expect("a count") > 0);
    assert!(seen["longest_breach_s"].as_f64().expect("seconds") <= 10.0);
    assert!(seen["final_capacity"].as_u64().expect("a capacity") >= 200_000);
}

#[test]
fn another_future_gives_the_same_steps_until_then() {
    let whole = days(14, 400.0, 60);
    let until = 1_793_577_600 + 9 * 86_400 + 12 * 3_600;
    let other: String = whole
        .lines()
        .enumerate()
        .map(|(i, line)| match line.split_once(',') {
            Some((t, r)) if i > 0 && t.parse::<i64>().expect("a time") >= until => {
                format!("{t},{}\n", r.parse::<f64>().expect("a rate") * 7.0)
            }
            _ => format!("{line}\n"),
        })
        .collect();
    let steps = |text: &str| -> Vec<(String, u64, String, String)> {
        let place = Place::new();
        place.file("plan.toml", PLAN).file("demand.csv", text);
        let (_, seen) = place.json("cost descend plan.toml --simulate --trace demand.csv");
        let told = |s: &Value| {
            let word = |key: &str| s[key].as_str().expect("a word").to_owned();
            (word("at"), s["capacity"].as_u64().expect("units"), word("verdict"), word("reason"))
        };
        let until = jiff::Timestamp::from_second(until).expect("a time");
        let all: Vec<_> = seen["steps"].as_array().expect("steps").iter().map(told).collect();
        all.into_iter().filter(|s| s.0.parse::<jiff::Timestamp>().expect("RFC 3339") < until).collect()
    };
    let (one, two) = (steps(&whole), steps(&other));
    assert!(one.len() > 3, "{one:?}");
    assert_eq!(one, two);
}

#[test]
fn a_gap_is_said_and_holds_the_next_step() {
    let text: String = days(6, 400.0, 60)
        .lines()
        .filter(|l| {
            l.split(',')
                .next()
                .and_then(|t| t.parse::<i64>().ok())
                .is_none_or(|t| !(1_793_660_000..1_793_670_000).contains(&t))
        })
        .map(|l| format!("{l}\n"))
        .collect();
    let place = Place::new();
    place.file("plan.toml", PLAN).file("demand.csv", &text);
    let (code, seen) = place.json("cost descend plan.toml --simulate --trace demand.csv");
    assert_eq!(code, 0);
    let held = seen["steps"]
        .as_array()
        .expect("steps")
        .iter()
        .find(|s| s["verdict"] == "hold" && s["reason"].as_str().is_some_and(|r| r.contains("missing")));
    assert!(held.is_some(), "{}", seen["steps"]);
    assert!(seen["reason"].as_str().expect("a reason").contains("missing"));
}

/// Clocks went forward in the night of the sixth day: said, and no step down is taken until a whole day is told one way.
#[test]
fn a_changed_time_zone_is_said_and_holds_the_next_step() {
    let place = Place::new();
    let steps = |name: &str, changed: bool| {
        let rows: String = (0..8 * 24_u32)
            .map(|hour| {
                let local = if changed && hour >= 121 { hour + 1 } else { hour };
                let zone = if changed && hour >= 121 { "+02:00" } else { "+01:00" };
                let high = if hour % 24 == 20 { 400 - 20 * (hour / 24) } else { 50 };
                format!("2026-03-{:02}T{:02}:00:00{zone},{high}\n", 2 + local / 24, local % 24)
            })
            .collect();
        place.file(name, &format!("timestamp,reads_per_second\n{rows}"));
        let plan = "[descend]\nknob = \"dynamodb\"\nunit = \"rcu\"\nstart = 900\nfloor = 1\nhold = \"24h\"\nlookback = \"24h\"\n";
        place.file("zone.toml", plan);
        let (_, seen) = place.json(&format!("cost descend zone.toml --simulate --trace {name}"));
        seen
    };
    let (calm, changed) = (steps("calm.csv", false), steps("changed.csv", true));
    let held =
        |seen: &Value| seen["steps"].to_string().contains("time zone of the trace changes from +01:00 to +02:00");
    assert!(!held(&calm) && calm["notes"].as_array().is_some_and(Vec::is_empty), "{calm}");
    assert!(held(&changed), "{}", changed["steps"]);
    assert!(changed["notes"].to_string().contains("no step down is taken for a day"), "{}", changed["notes"]);
    let downs = |seen: &Value| -> Vec<String> {
        let steps = seen["steps"].as_array().expect("steps").iter();
        steps.filter(|s| s["verdict"] == "go").filter_map(|s| s["at"].as_str().map(str::to_owned)).collect()
    };
    // The change is on the 7th at 00:00 UTC.
    let in_doubt = |at: &String| ("2026-03-07T00:00:00Z".."2026-03-08T00:00:00Z").contains(&at.as_str());
    assert!(downs(&calm).iter().any(in_doubt), "without it a step is taken then: {:?}", downs(&calm));
    assert!(!downs(&changed).iter().any(in_doubt), "{:?}", downs(&changed));
}

#[test]
fn half_a_trace_proves_nothing() {
    let text: String = days(6, 400.0, 60)
        .lines()
        .enumerate()
        .filter(|(i, _)| *i < 2_000 || *i > 6_000)
        .map(|(_, l)| format!("{l}\n"))
        .collect();
    let place = Place::new();
    place.file("plan.toml", PLAN).file("demand.csv", &text);
    let (code, seen) = place.json("cost descend plan.toml --simulate --trace demand.csv");
    assert_eq!((code, seen["verdict"].as_str()), (3, Some("cannot-tell")));
}

#[test]
fn misuse_is_told_with_file_and_line_and_exit_2() {
    let place = Place::new();
    place
        .file("plan.toml", PLAN)
        .file("back.csv", "timestamp,reads_per_second\n2026-10-25T02:59:00+02:00,5\n2026-10-25T02:00:00+02:00,5\n")
        .file("negative.toml", "date = '2026-11-01'\n[[price]]\nitem = 'dynamodb.rcu-hour'\nregion = 'us-east-1'\nusd = -1\nsource = 'me'\n");
    for (line, says) in [
        ("cost descend nowhere.toml --simulate", "nowhere.toml: cannot be read"),
        ("cost descend plan.toml --simulate --trace back.csv", "back.csv: line 3: time does not go on"),
        ("cost prices --prices negative.toml", "negative.toml: the price of dynamodb.rcu-hour in us-east-1 is -1"),
        ("cost estimate --peak=-1", "--peak"),
        ("cost estimate --item-kb 500", "--item-kb is 500"),
    ] {
        let (code, out, err) = place.serin(line);
        assert_eq!(code, 2, "{line}: {out}{err}");
        assert!(err.contains(says), "{line}: {err}");
    }
}

#[test]
fn the_price_of_another_region_is_unknown_not_zero() {
    let place = Place::new();
    place.file("plan.toml", &format!("{PLAN}region = \"mars-1\"\n")).file("demand.csv", &days(3, 400.0, 60));
    let (_, seen) = place.json("cost descend plan.toml --simulate --trace demand.csv");
    assert!(seen["saved_per_month"].is_null() && seen["steps"][0]["usd_per_hour"].is_null());
    assert!(seen["price"]["from"].as_str().expect("why").contains("eu-west-3"));
    let (_, seen) = place.json("cost estimate --region eu-west-3");
    assert!(seen["own"]["usd_per_month"].is_null() && seen["break_even"]["peak_per_second"].is_null());
    assert!(seen["own"]["known_usd_per_month"].as_f64().expect("a part") > 0.0);
}

/// 500 reads a second all month against 500 TPS, by hand.
#[test]
fn the_estimate_is_the_hand_calculation() {
    let (code, seen) = Place::new().json("cost estimate --viewers 45000000 --peak 500 --headroom 0% --mean 100%");
    assert_eq!(code, 0);
    let line = |side: &str, what: &str| {
        let lines = seen[side]["lines"].as_array().expect("lines");
        lines.iter().find(|l| l["what"] == what).unwrap_or_else(|| panic!("{what}"))["usd"].clone()
    };
    // 500 eventually consistent reads of at most 4 KB are 250 RCU: 250 x 730 h x $ 0.00013 = $ 23.725.
    close(&line("own", "store: reads"), 23.725);
    // 45 M lists of 0.8 KB in 4 h are 3,125 WCU; (3,125 x 4 + 1 x 20) x 30.417 days x $ 0.00065 = $ 247.53.
    close(&line("own", "store: publishing"), 247.53);
    // 3 replicas: 3 x 730 x (1 x 0.04048 + 2 x 0.004445) = $ 108.12.
    close(
        &(line("own", "API: vCPU").as_f64().expect("usd") + line("own", "API: memory").as_f64().expect("usd")).into(),
        108.12,
    );
    // 40 metrics x 60 x 730 x $ 0.00001 = $ 17.52.
    close(&line("own", "watching"), 17.52);
    // 500 TPS x 730 h = 365,000 TPS-h: 20,000 x .20 + 180,000 x .10 + 165,000 x .05 = $ 30,250.
    close(&line("personalize", "campaign"), 30_250.0);
    assert_eq!(seen["cheaper"], "own");
    // A million: 500/s x 730 h x 3600 s = 1,314 M recommendations.
    close(&seen["personalize"]["usd_per_million"], (30_250.0 + 28.8 + 5.0) / 1_314.0);
    // At the break-even both sides are the same.
    let peak = seen["break_even"]["peak_per_second"].as_f64().expect("a rate");
    let (_, at) = Place::new().json(&format!("cost estimate --peak {peak} --headroom 0% --mean 100%"));
    close(&at["own"]["usd_per_month"], at["personalize"]["usd_per_month"].as_f64().expect("usd"));
}

/// A recorded day: 40 reads a second, 400 from 19 to 22 h; 5 writes a second.
#[test]
fn the_bill_of_a_recorded_day_is_the_hand_calculation() {
    let place = Place::new();
    let with_writes: String = days(1, 400.0, 60)
        .lines()
        .enumerate()
        .map(|(i, l)| format!("{l},{}\n", if i == 0 { "writes_per_second" } else { "5" }))
        .collect();
    place.file("day.csv", &with_writes);
    let (_, seen) = place.json("cost show --trace day.csv --read-capacity 300 --write-capacity 10 --minimum-tps 100");
    let way = |i: usize| seen["ways"][i]["usd"].clone();
    // 300 RCU and 10 WCU for 24 h: 24 x (300 x 0.00013 + 10 x 0.00065) = $ 1.092.
    close(&way(0), 1.092);
    // Reads: 40 x 75,600 + 400 x 10,800 = 7,344,000, half a unit each, $ 0.125 a million: $ 0.459.
    // Writes: 5 x 86,400 = 432,000 at $ 0.625 a million: $ 0.27.
    close(&way(1), 0.459 + 0.27);
    // Five-minute windows: 21 h at the provisioned 100, 3 h at 400: 3,300 TPS-hours x $ 0.20 = $ 660.
    close(&way(2), 660.0);
}

#[test]
fn the_built_in_descent_needs_no_file() {
    let place = Place::new();
    let (code, seen) = place.json("cost descend --simulate");
    assert_eq!((code, seen["throttled"].as_u64()), (0, Some(0)));
    let ratio = seen["final_capacity"].as_f64().expect("units") / seen["needed_capacity"].as_f64().expect("units");
    assert!((1.0..=1.1).contains(&ratio), "{ratio}");
    let (code, out, _) = place.serin("cost prices show");
    assert!(code == 0 && out.contains("days old") && out.contains('~'), "{out}");
}

#[test]
fn an_announced_evening_is_met_in_time_and_nothing_is_stepped_down_before_it() {
    // Sunday's final: the planner has seen nothing like it and never sees its demand before its time.
    let (from, until) = (1_793_577_600 + 6 * 86_400 + 19 * 3_600, 1_793_577_600 + 6 * 86_400 + 22 * 3_600);
    let demand: String = days(9, 400.0, 60)
        .lines()
        .map(|l| match l.split_once(',') {
            Some((t, _)) if t.parse::<i64>().is_ok_and(|t| (from..until).contains(&t)) => format!("{t},2000\n"),
            _ => format!("{l}\n"),
        })
        .collect();
    let when = |s: i64| jiff::Timestamp::from_second(s).expect("a time");
    let peak = format!(
        "[[peak]]\nname = \"the final\"\nfrom = \"{}\"\nuntil = \"{}\"\nreads_per_second = 2000\n",
        when(from),
        when(until)
    );
    let place = Place::new();
    place.file("plan.toml", &format!("{PLAN}{peak}")).file("demand.csv", &demand);
    let (code, seen) = place.json("cost descend plan.toml --simulate --trace demand.csv");
    assert_eq!((code, seen["throttled"].as_u64()), (0, Some(0)), "{}", seen["steps"]);
    let steps = seen["steps"].as_array().expect("steps");
    let at = |s: &Value| s["at"].as_str().expect("a time").parse::<jiff::Timestamp>().expect("RFC 3339").as_second();
    let before = steps.iter().rev().find(|s| at(s) <= from).expect("a step");
    assert!(before["capacity"].as_u64().expect("units") >= 1_000, "{before}");
    assert!(before["reason"].as_str().expect("a reason").contains("the final"), "{before}");
    let near = |s: &&Value| (from - 86_400..until).contains(&at(s));
    assert!(steps.iter().filter(near).all(|s| s["verdict"] != "go"), "{steps:?}");
}

#[test]
fn a_table_is_made_smaller_no_more_often_than_dynamodb_allows() {
    let place = Place::new();
    let plan = PLAN.replace("24h", "1m").replace("900", "40000");
    place
        .file("plan.toml", &format!("{plan}largest_step = \"5%\"\nsettle = \"1m\"\n"))
        .file("demand.csv", &days(6, 400.0, 60));
    let (_, seen) = place.json("cost descend plan.toml --simulate --trace demand.csv");
    let mut by_hour = std::collections::BTreeMap::new();
    let mut by_day = std::collections::BTreeMap::new();
    for step in seen["steps"].as_array().expect("steps").iter().filter(|s| s["verdict"] == "go") {
        let at = step["at"].as_str().expect("a time").to_owned();
        *by_hour.entry(at[..13].to_owned()).or_insert(0) += 1;
        *by_day.entry(at[..10].to_owned()).or_insert(0) += 1;
    }
    assert!(by_hour.len() > 20, "{by_hour:?}");
    assert!(by_hour.iter().all(|(hour, n)| *n <= if hour.ends_with("T00") { 4 } else { 1 }), "{by_hour:?}");
    assert!(by_day.values().all(|n| *n <= 27), "{by_day:?}");
}
