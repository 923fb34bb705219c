//! The way down on this machine: played days, real requests, the stack's own limiter; and wishes told to it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

/// One stack at a time: two that start at once may choose the same port.
static TURN: Mutex<()> = Mutex::new(());

struct Place(tempfile::TempDir);

impl Place {
    /// A small platform of our own in the demo platform's place, so that nothing has to be made first.
    fn new(plan: &str) -> Self {
        let place = Self(tempfile::tempdir().expect("a folder"));
        let rows: String =
            (0..60).map(|i| format!("u{},p{},{},1.0\n", i % 12, (i * 5) % 9, 1_700_000_000 + i)).collect();
        place.put("interactions.csv", &format!("USER_ID,ITEM_ID,TIMESTAMP,EVENT_VALUE\n{rows}"));
        let items: String = (0..9).map(|p| format!("p{p},one\n")).collect();
        place.put("items.csv", &format!("ITEM_ID,CHANNEL\n{items}"));
        place.put("plan.toml", plan);
        let demo = place.path("home/demo");
        std::fs::create_dir_all(&demo).expect("a folder");
        let at = |name: &str| demo.join(name).display().to_string();
        place.done(&["train", "--interactions", "interactions.csv", "--out", &at("model"), "--rank", "4"]);
        place.done(&["catalogue", "build", "--items", "items.csv", "--out", &at("items.catalogue")]);
        let store = format!("embedded:{}", at("store"));
        place.done(&["publish", "--model", &at("model"), "--items", &at("items.catalogue"), "--store", &store]);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("written");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_serin"));
        command.args(arguments).current_dir(self.0.path()).env("SERIN_HOME", self.path("home"));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn done(&self, arguments: &[&str]) {
        let (code, _, err) = end(self.command(arguments).spawn().expect("starts"));
        assert_eq!(code, 0, "{arguments:?}: {err}");
    }

    fn descend(&self, more: &[&str]) -> Child {
        let line = [&["cost", "descend", "plan.toml", "--json"], more].concat();
        self.command(&line).spawn().expect("starts")
    }

    fn run_folder(&self) -> Option<PathBuf> {
        std::fs::read_dir(self.path("reports")).ok()?.flatten().map(|e| e.path()).next()
    }
}

fn end(child: Child) -> (i32, Value, String) {
    let out = child.wait_with_output().expect("ends");
    let err = String::from_utf8_lossy(&out.stderr).into_owned();
    (out.status.code().unwrap_or(-1), serde_json::from_slice(&out.stdout).unwrap_or(Value::Null), err)
}

fn wait_for(what: &str, mut there: impl FnMut() -> bool) {
    let began = Instant::now();
    while !there() {
        assert!(began.elapsed() < Duration::from_secs(40), "waited for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Days of 40 reads a second, 400 from 19 to 22 h, in pieces of five minutes.
fn days(days: u32) -> String {
    let rows = (0..days * 288).map(|i| {
        let hour = i * 300 / 3_600 % 24;
        format!("{},{}\n", 1_793_577_600 + u64::from(i) * 300, if (19..22).contains(&hour) { 400 } else { 40 })
    });
    format!("timestamp,reads_per_second\n{}", rows.collect::<String>())
}

const PLAN: &str = "[descend]\nknob = \"local\"\nunit = \"rcu\"\nstart = 900\nhold = \"24h\"\n[local]\nplay = \"1s\"\n";

#[test]
fn played_days_end_at_the_cheapest_capacity_that_held() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let place = Place::new(PLAN);
    place.put("demand.csv", &days(9));
    let (code, seen, err) = end(place.descend(&["--trace", "demand.csv"]));
    assert_eq!((code, seen["verdict"].as_str()), (0, Some("go")), "{seen} {err}");
    assert_eq!((seen["throttled"].as_u64(), seen["simulated"].as_bool()), (Some(0), Some(false)));
    // 200 units for three hours: 200 x 10800 / 11100 = 194.6, whole units.
    assert_eq!(seen["needed_capacity"], 195);
    let last = seen["final_capacity"].as_u64().expect("a capacity");
    assert!((195..=214).contains(&last), "{last}");
    let steps = seen["steps"].as_array().expect("steps");
    assert!(
        steps.len() >= 4 && steps[1]["p99_ms"].as_f64().is_some_and(|p| p > 0.0),
        "real answers have a p99: {steps:?}"
    );
    // 40 x 75,600 + 400 x 10,800 reads a day.
    assert_eq!(seen["demand"]["requests"].as_f64().map(f64::round), Some(9.0 * 7_344_000.0));
    // The stack is gone, and so is its table's limit; report and page have the steps.
    let run = place.run_folder().expect("a run");
    let html = text(&run.join("report.html"));
    assert!(
        html.contains("Each step: what it cost") && html.contains("p99 against rcu"),
        "the report has table and curve"
    );
    assert!(text(&run.join("report.md")).contains("| at | rcu |"), "{}", text(&run.join("report.md")));
    assert!(!place.path("home/stack/state.json").exists());
}

#[test]
fn a_surge_beyond_every_bucket_is_throttled_by_the_stack_and_answered_at_once() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let place = Place::new(PLAN);
    let mut text = days(3);
    for i in 0..12 {
        text += &format!("{},200000\n", 1_793_577_600 + 3 * 86_400 + i * 300);
    }
    place.put("demand.csv", &text);
    let (code, seen, err) = end(place.descend(&["--trace", "demand.csv"]));
    assert_eq!((code, seen["verdict"].as_str()), (1, Some("no")), "{seen} {err}");
    // 100,000 units a second for ten seconds, less the 76,500 to 77,700 of a bucket of 255 to 259 and what they give
    // meanwhile: half a unit a request.
    let throttled = seen["throttled"].as_f64().expect("a count");
    assert!((1_838_000.0..1_843_000.0).contains(&throttled), "{throttled}");
    // Played time goes on by ten seconds while demand is above capacity.
    assert!(seen["longest_breach_s"].as_f64().expect("seconds") <= 20.0, "{seen}");
    assert!(seen["final_capacity"].as_u64().expect("a capacity") >= 100_000);
}

#[test]
fn wishes_are_heard_and_undone_steps_stay_undone() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let place = Place::new(&PLAN.replace("1s", "30s"));
    place.put("demand.csv", &days(14));
    let child = place.descend(&["--trace", "demand.csv"]);
    let journal = || place.run_folder().map_or(String::new(), |run| text(&run.join("way.journal")));
    wait_for("a first step down", || journal().contains("\"verdict\":\"go\""));
    let tell = |wish: &str| place.done(&["cost", "tell", "latest", wish]);
    tell("undo");
    wait_for("the step back", || journal().contains("somebody asked for the step back"));
    let (code, _, err) = end(place.command(&["cost", "tell", "latest", "hodl"]).spawn().expect("starts"));
    assert!(code == 2 && err.contains("hodl"), "{code} {err}");
    std::thread::sleep(Duration::from_secs(3));
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("signalled");
    let (code, seen, err) = end(child);
    assert_eq!(code, 130, "{err}");
    let steps = seen["steps"].as_array().expect("steps");
    let last = steps.last().expect("a step");
    assert_eq!(
        (last["verdict"].as_str(), last["capacity"].as_u64()),
        (Some("up"), Some(900)),
        "it stays there: {steps:?}"
    );
    let (code, _, err) = end(place.command(&["cost", "tell", "latest", "hold"]).spawn().expect("starts"));
    assert!(code == 2 && err.contains("has ended"), "{code} {err}");
}

#[test]
fn replicas_of_the_local_stack_come_and_go_as_processes() {
    let plan =
        PLAN.replace("\"local\"", "\"replicas\"").replace("unit = \"rcu\"\nstart = 900", "per_unit = 100\nstart = 7");
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let place = Place::new(&plan);
    place.put("demand.csv", &days(5));
    let (code, seen, err) = end(place.descend(&["--trace", "demand.csv"]));
    assert_eq!((code, seen["verdict"].as_str()), (0, Some("go")), "{seen} {err}");
    // 400 reads a second and nothing kept for a surge: four replicas of 100 would do, five have room.
    assert_eq!((seen["needed_capacity"].as_u64(), seen["throttled"].as_u64()), (Some(4), Some(0)), "{seen}");
    assert_eq!(seen["final_capacity"], 5, "{}", seen["steps"]);
    assert_eq!(seen["unit"], "replica");
}
