//! A canary on the local stack, for real: two API processes behind the router, an evening's requests, the walk and its judge.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A small platform where `serin` looks for its demo, so that a walk finds it made.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().expect("a folder"));
        let rows: String =
            (0..400).map(|i| format!("u{},p{},{},1.0\n", i % 100, (i * 7) % 23, 1_700_000_000 + i)).collect();
        home.write("interactions.csv", &format!("USER_ID,ITEM_ID,TIMESTAMP,EVENT_VALUE\n{rows}"));
        let items: String = (0..23).map(|p| format!("p{p},one\n")).collect();
        home.write("items.csv", &format!("ITEM_ID,CHANNEL\n{items}"));
        let demo = home.path("home/demo");
        fs::create_dir_all(&demo).expect("made");
        let place = |name: &str| demo.join(name).display().to_string();
        let (model, store, items) = (place("model"), format!("embedded:{}", place("store")), place("items.catalogue"));
        home.done(&["train", "--interactions", "interactions.csv", "--out", &model, "--rank", "4", "--quiet"]);
        home.done(&["catalogue", "build", "--items", "items.csv", "--out", &items, "--quiet"]);
        home.done(&["publish", "--model", &model, "--items", &items, "--store", &store, "--top", "10", "--quiet"]);
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("written");
    }

    fn serin(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_serin"));
        command.args(words).current_dir(self.0.path()).env("SERIN_HOME", self.path("home"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn done(&self, words: &[&str]) {
        let (code, out, err) = ended(self.serin(words).spawn().expect("starts"));
        assert_eq!(code, Some(0), "{words:?}: {out}\n{err}");
    }

    /// Two quick stages; `more` goes into the table of the local stack.
    fn plan(&self, more: &str, longest: &str) {
        self.write("plan.toml", &plan(more, longest));
    }

    fn walk(&self) -> (Option<i32>, Value, String) {
        let (code, out, err) = ended(self.serin(&["canary", "walk", "plan.toml", "--json"]).spawn().expect("starts"));
        let document = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}\n{err}"));
        (code, document, err)
    }

    /// The share that the router has, from its own file.
    fn share(&self) -> f64 {
        let text = fs::read_to_string(self.path("home/stack/share.json")).unwrap_or_default();
        serde_json::from_str::<Value>(&text).ok().and_then(|v| v["share"].as_f64()).unwrap_or(0.0)
    }

    fn wait_for(&self, share: f64) {
        let began = Instant::now();
        while self.share() != share {
            assert!(began.elapsed() < Duration::from_secs(60), "the share stays {}", self.share());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = self.serin(&["stack", "down"]).output();
    }
}

fn plan(more: &str, longest: &str) -> String {
    // Two processes on a busy machine differ by more than a canary may: only a delay beyond that is looked for.
    format!(
        "[canary]\ntarget='local'\ndriver='local'\nlook='500ms'\n\
         [[stage]]\nshare='20%'\nhold='3s'\nlongest='{longest}'\n[[stage]]\nshare='50%'\nhold='3s'\nlongest='{longest}'\n\
         [[guard]]\nmetric='errors'\nharm='x3 or +10%'\n[[guard]]\nmetric='empty'\nharm='x3 or +10%'\n\
         [[guard]]\nmetric='p95'\ntolerated='+500ms'\nharm='x3'\n[local]\nrate=150\n{more}\n"
    )
}

fn ended(child: Child) -> (Option<i32>, String, String) {
    let output = child.wait_with_output().expect("ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_good_version_is_walked_out_and_everything_ends_with_the_walk() {
    let home = Home::new();
    home.plan("", "90s");
    let (code, document, err) = home.walk();
    assert_eq!((code, &document["verdict"]), (Some(0), &"go".into()), "{document}\n{err}");
    let stages = document["stages"].as_array().expect("stages");
    assert_eq!((stages.len(), &document["share"]), (2, &0.5.into()), "{document}");
    for (stage, share) in stages.iter().zip([0.2, 0.5]) {
        let seen = stage["measured_share"].as_f64().expect("measured");
        assert!((seen - share).abs() < 0.25, "{document}");
    }
    assert_eq!(document["findings"], Value::Array(Vec::new()), "{document}");
    let (code, out, _) = ended(home.serin(&["stack", "status"]).spawn().expect("starts"));
    assert_eq!(code, Some(1), "the stack was the walk's own: {out}");
}

#[test]
fn a_version_that_fails_is_rolled_back_to_a_measured_zero() {
    let home = Home::new();
    home.plan("trouble = { errors = 0.4 }", "90s");
    let (code, document, err) = home.walk();
    assert_eq!((code, &document["rolled_back"]), (Some(1), &true.into()), "{document}\n{err}");
    assert!(document["reason"].as_str().is_some_and(|r| r.starts_with("errors")), "{document}");
    assert_eq!((&document["share"], &document["rollback"]["verified"]), (&0.0.into(), &true.into()), "{document}");
    assert_eq!(document["rollback"]["requests_at_zero"], 0, "{document}");
}

#[test]
fn what_serin_sends_tells_a_bad_version_too() {
    let home = Home::new();
    home.plan("trouble = { errors = 0.4 }\n[numbers]\nfrom='load'", "90s");
    let (code, document, err) = home.walk();
    assert_eq!((code, &document["rolled_back"]), (Some(1), &true.into()), "{document}\n{err}");
    assert!(document["reason"].as_str().is_some_and(|r| r.starts_with("errors")), "{document}");
}

#[test]
fn viewers_who_live_on_both_versions_make_an_experiment() {
    let home = Home::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
    home.done(&["stack", "up", "--canary", "--listen", &port.to_string()]);
    home.done(&["stack", "live", "--out", "exposures.csv", "--viewers", "400", "--days", "3"]);
    let text = fs::read_to_string(home.path("exposures.csv")).expect("written");
    assert!(text.lines().count() > 500, "{} rows", text.lines().count());
    let words = ["experiment", "exposures.csv", "--metric", "time_to_play_s", "--json"];
    let (code, out, err) = ended(home.serin(&words).spawn().expect("starts"));
    let found: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}{err}"));
    assert!(code != Some(2), "{err}");
    assert_eq!(found["sample_ratio_ok"], true, "dealt evenly, and nobody lost: {found}");
    assert_eq!(found["groups"][0]["name"], "baseline", "{found}");
    home.done(&["stack", "down"]);
}

#[test]
fn empty_lists_and_long_delays_are_found_as_what_they_are() {
    std::thread::scope(|scope| {
        for (trouble, guard) in [("{ empty = 0.6 }", "empty"), ("{ delay_ms = 1500 }", "p95")] {
            scope.spawn(move || {
                let home = Home::new();
                home.plan(&format!("trouble = {trouble}"), "90s");
                let (code, document, err) = home.walk();
                assert_eq!((code, &document["rolled_back"]), (Some(1), &true.into()), "{document}\n{err}");
                assert!(document["reason"].as_str().is_some_and(|r| r.contains(guard)), "{guard}: {document}");
            });
        }
    });
}

#[test]
fn a_router_that_does_not_tell_its_numbers_is_no_verdict() {
    let home = Home::new();
    home.plan("blind_after = '0s'", "5s");
    let (code, document, err) = home.walk();
    assert_eq!((code, &document["verdict"]), (Some(3), &"cannot-tell".into()), "{document}\n{err}");
    assert_eq!((&document["rolled_back"], &document["share"]), (&false.into(), &0.2.into()), "{document}");
    assert!(document["reason"].as_str().is_some_and(|r| r.contains("blind")), "{document}");
}

#[test]
fn a_killed_walk_on_a_stack_that_stays_up_leaves_the_share_and_is_resumed() {
    let home = Home::new();
    home.plan("", "90s");
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
    home.done(&["stack", "up", "--canary", "--listen", &port.to_string()]);
    let mut walk = home.serin(&["canary", "walk", "plan.toml"]).spawn().expect("starts");
    home.wait_for(0.2);
    walk.kill().expect("killed");
    walk.wait().expect("dead");
    assert_eq!(home.share(), 0.2, "the stack is not the walk's: the share stays where it was chosen");
    kill_router(home.0.path());
    let (code, out, err) = ended(home.serin(&["canary", "resume", "local", "--json"]).spawn().expect("starts"));
    assert_eq!((code, home.share()), (Some(0), 0.5), "{out}\n{err}");
    home.done(&["canary", "rollback", "local"]);
    assert_eq!(home.share(), 0.0);
}

/// The router is started again by its supervisor, and stands where it stood.
fn kill_router(home: &Path) {
    let text = fs::read_to_string(home.join("home/stack/state.json")).expect("a stack");
    let state: Value = serde_json::from_str(&text).expect("JSON");
    let router = state["parts"].as_array().into_iter().flatten().find(|p| p["name"] == "router").expect("a router");
    let pid = router["pid"].as_u64().expect("alive").to_string();
    assert!(Command::new("kill").args(["-9", &pid]).status().expect("runs").success());
}
