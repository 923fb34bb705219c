//! The way down for real, its knob three small programs: journal, resume after a kill, breach, others at the knob.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

struct Place(tempfile::TempDir);

impl Place {
    /// A knob set to 900 with `set` as its program, quiet demand, and eight recorded days that needed about 195.
    fn new(hold: &str, set: &str) -> Self {
        let place = Self(tempfile::tempdir().expect("a folder"));
        let programs = format!(
            "[command]\nset = [\"sh\", \"-c\", \"{set}\"]\nread = [\"cat\", \"capacity\"]\nmeter = [\"cat\", \"look\"]\n"
        );
        let plan = "[descend]\nknob = \"command\"\nunit = \"rcu\"\nstart = 900\nsettle = \"1s\"\n";
        place.put("plan.toml", &format!("{plan}hold = \"{hold}\"\n{programs}"));
        place.put("capacity", "900\n");
        place.meter(40.0, 0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() / 60 * 60;
        let rate = |minute: u64| if (4 * 60..7 * 60).contains(&(minute % 1_440)) { 400 } else { 40 };
        let rows: String = (0..8 * 1_440).map(|m| format!("{},{}\n", now - (8 * 1_440 - m) * 60, rate(m))).collect();
        place.put("demand.csv", &format!("timestamp,reads_per_second\n{rows}"));
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Written beside and moved, so that a reader never sees half of it.
    fn put(&self, name: &str, text: &str) {
        std::fs::write(self.path(".new"), text).expect("written");
        std::fs::rename(self.path(".new"), self.path(name)).expect("moved");
    }

    fn meter(&self, rate: f64, throttled: u32) {
        self.put("look", &format!("{{\"reads_per_second\": {rate}, \"throttled\": {throttled}, \"p99_ms\": 12.5}}"));
    }

    fn capacity(&self) -> u64 {
        std::fs::read_to_string(self.path("capacity")).ok().and_then(|t| t.trim().parse().ok()).unwrap_or(0)
    }

    fn start(&self) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_serin"));
        command.args(["cost", "descend", "plan.toml", "--trace", "demand.csv", "--json"]);
        command.current_dir(self.0.path()).env("SERIN_HOME", self.path("home"));
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts")
    }

    fn journal(&self) -> String {
        let folder = std::fs::read_dir(self.path("home/cost")).expect("a folder");
        let paths = folder.map(|e| e.expect("an entry").path());
        let path = paths.filter(|p| p.extension().is_some_and(|e| e == "journal")).last().expect("a journal");
        std::fs::read_to_string(path).expect("text")
    }
}

fn wait_for(what: &str, mut there: impl FnMut() -> bool) {
    let began = Instant::now();
    while !there() {
        assert!(began.elapsed() < Duration::from_secs(20), "waited for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn end(child: Child) -> (i32, Value, String) {
    let out = child.wait_with_output().expect("ends");
    let err = String::from_utf8_lossy(&out.stderr).into_owned();
    let document = serde_json::from_slice(&out.stdout).unwrap_or(Value::Null);
    (out.status.code().unwrap_or(-1), document, err)
}

fn interrupt(child: &Child) {
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().expect("kills").success());
}

#[test]
fn goes_down_step_by_step_and_ends_when_the_cheapest_was_held() {
    let place = Place::new("1s", "echo $SERIN_CAPACITY > capacity");
    let (code, seen, err) = end(place.start());
    assert_eq!((code, seen["verdict"].as_str()), (0, Some("go")), "{err}");
    let end = seen["final_capacity"].as_u64().expect("units");
    assert_eq!(end, place.capacity());
    assert!((195..=214).contains(&end), "{end}");
    let steps = seen["steps"].as_array().expect("steps");
    assert!(steps.len() >= 4 && steps[1]["p99_ms"] == 12.5, "{steps:?}");
    // The intent is on the disk before each act, what was read back after it.
    let journal = place.journal();
    let words: Vec<&str> =
        journal.lines().filter_map(|l| l.split('"').nth(3)).filter(|w| ["intent", "set"].contains(w)).collect();
    assert!(words.len() >= 6 && words.chunks(2).all(|w| w == ["intent", "set"]), "{words:?}");
}

#[test]
fn the_first_throttle_is_answered_within_ten_seconds() {
    let place = Place::new("1h", "echo $SERIN_CAPACITY > capacity");
    place.put("capacity", "200\n");
    let plan = std::fs::read_to_string(place.path("plan.toml")).expect("text").replace("start = 900", "start = 200");
    place.put("plan.toml", &plan);
    let child = place.start();
    wait_for("the journal", || place.path("home/cost").exists());
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(place.capacity(), 200);
    let breach = Instant::now();
    place.meter(900.0, 37);
    wait_for("a step up", || place.capacity() >= 450);
    assert!(breach.elapsed() < Duration::from_secs(10), "{:?}", breach.elapsed());
    println!("stepped up after {:?}", breach.elapsed());
    place.meter(40.0, 0);
    interrupt(&child);
    let (code, seen, err) = end(child);
    assert_eq!(code, 130, "{err}");
    assert!(seen["throttled"].as_u64().expect("a count") >= 37, "{seen}");
    assert_eq!(seen["final_capacity"], place.capacity());
}

#[test]
fn errors_over_their_objective_are_stepped_back_from_and_the_floor_is_remembered() {
    let place = Place::new("1h", "echo $SERIN_CAPACITY > capacity");
    place.put("capacity", "200\n");
    let plan = std::fs::read_to_string(place.path("plan.toml")).expect("text");
    place.put("plan.toml", &plan.replace("start = 900", "start = 200\nerrors = \"1%\"\nbroken = \"2s\""));
    place.put("look", "{\"reads_per_second\": 40, \"throttled\": 0, \"errors\": 0.05}");
    let child = place.start();
    let began = Instant::now();
    while place.capacity() == 200 && began.elapsed() < Duration::from_secs(50) {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(place.capacity(), 220, "up by a tenth once they have lasted");
    interrupt(&child);
    let (code, seen, err) = end(child);
    assert_eq!((code, seen["floor"]["capacity"].as_u64()), (130, Some(200)), "{err}");
    assert!(
        seen["floor"]["reason"].as_str().is_some_and(|r| r.contains("of the requests failed, over 1.00 %")),
        "{seen}"
    );
}

#[test]
fn killed_in_the_middle_of_an_act_it_goes_on_from_what_is_really_set() {
    let place = Place::new("1s", "echo $SERIN_CAPACITY > capacity; [ -f slow ] && sleep 2; true");
    place.put("slow", "");
    let mut child = place.start();
    wait_for("the first step down", || place.capacity() < 900);
    child.kill().expect("killed");
    child.wait().expect("gone");
    let journal = place.journal();
    assert!(journal.lines().last().is_some_and(|l| l.contains("\"intent\"")), "killed after the intent: {journal}");
    std::fs::remove_file(place.path("slow")).expect("removed");
    let (code, seen, err) = end(place.start());
    assert_eq!((code, seen["verdict"].as_str()), (0, Some("go")), "{err}");
    assert!((195..=214).contains(&place.capacity()), "{}", place.capacity());
    assert!(place.journal().lines().filter(|l| l.contains("\"set\"")).count() >= 2);
}

#[test]
fn another_program_at_the_knob_is_said_and_not_fought_over() {
    let place = Place::new("1h", "echo $SERIN_CAPACITY > capacity");
    let child = place.start();
    wait_for("a first step", || place.capacity() < 900);
    std::thread::sleep(Duration::from_millis(500));
    place.put("capacity", "333\n");
    let (code, seen, err) = end(child);
    assert_eq!((code, place.capacity()), (1, 333), "{err}");
    assert!(seen["reason"].as_str().expect("a reason").contains("another program set 333"), "{seen}");
    // Nor afterwards: it says so until somebody settles it.
    let (code, seen, _) = end(place.start());
    assert_eq!((code, place.capacity()), (1, 333));
    assert!(seen["reason"].as_str().expect("a reason").contains("another program"), "{seen}");
}

#[test]
fn a_knob_that_answers_and_does_not_move_is_held() {
    let place = Place::new("1s", "true");
    let (code, seen, err) = end(place.start());
    assert_eq!((code, place.capacity()), (1, 900), "{err}");
    assert!(seen["reason"].as_str().expect("a reason").contains("does not move"), "{seen}");
    assert_eq!(seen["final_capacity"], 900);
}

#[test]
fn a_step_is_proved_first_and_stays_where_it_was_until_then() {
    let place = Place::new("1s", "echo $SERIN_CAPACITY > capacity");
    let plan = std::fs::read_to_string(place.path("plan.toml")).expect("text");
    let proof = "[proof]\nrun = [\"sh\", \"-c\", \"echo $SERIN_CAPACITY_BEFORE $SERIN_CAPACITY $(cat capacity) >> proofs; [ -f holds ]\"]\n";
    place.put("plan.toml", &format!("{plan}{proof}"));
    let first = place.start();
    wait_for("a proof that fails", || place.path("proofs").exists());
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(place.capacity(), 900);
    interrupt(&first);
    let (code, seen, err) = end(first);
    assert_eq!((code, seen["final_capacity"].as_u64()), (130, Some(900)), "{err}");
    let steps = seen["steps"].to_string();
    assert!(steps.contains("was not proved") && steps.contains("ended with"), "{steps}");
    place.put("holds", "");
    std::fs::remove_file(place.path("proofs")).expect("removed");
    let (code, seen, err) = end(place.start());
    assert_eq!((code, seen["verdict"].as_str()), (0, Some("go")), "{err}");
    let proofs = std::fs::read_to_string(place.path("proofs")).expect("proofs");
    let last: Vec<&str> = proofs.lines().last().expect("a line").split(' ').collect();
    assert_eq!(last[0], last[2], "nothing was set before it was proved: {proofs}");
    assert_eq!(last[1].parse::<u64>().ok(), Some(place.capacity()));
    assert!(seen["steps"].to_string().contains("proved by a load"));
}

/// Answers every request with `status` until the test ends; counts them.
fn answers(status: &'static str) -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let url = format!("http://{}/lists", listener.local_addr().expect("an address"));
    let asked = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let counted = Arc::clone(&counted);
            std::thread::spawn(move || {
                let (mut reader, mut writer) = (BufReader::new(&stream), &stream);
                let mut line = String::new();
                while reader.read_line(&mut line).is_ok_and(|n| n > 0) {
                    if line == "\r\n" {
                        counted.fetch_add(1, Ordering::Relaxed);
                        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nok");
                        if writer.write_all(answer.as_bytes()).is_err() {
                            return;
                        }
                    }
                    line.clear();
                }
            });
        }
    });
    (url, asked)
}

/// Eight recorded days with a peak of 40 a second, 4 a second now, and a proof by a load on `url`.
fn with_a_load(url: &str) -> Place {
    let place = Place::new("1s", "echo $SERIN_CAPACITY > capacity");
    place.meter(4.0, 0);
    let demand = std::fs::read_to_string(place.path("demand.csv")).expect("text").replace("0\n", "\n");
    place.put("demand.csv", &demand);
    let plan = std::fs::read_to_string(place.path("plan.toml")).expect("text");
    place.put("plan.toml", &format!("{plan}[proof]\nurl = \"{url}\"\nfor = \"2s\"\n"));
    place
}

#[test]
fn a_load_at_the_coming_peak_proves_a_step() {
    for tries in 1.. {
        let (url, asked) = answers("200 OK");
        let place = with_a_load(&url);
        let child = place.start();
        wait_for("a step that was proved", || place.path("home/cost").is_dir() && place.journal().contains("\"set\""));
        interrupt(&child);
        let (_, seen, err) = end(child);
        let steps = seen["steps"].to_string();
        // A machine that could not send in time has proved nothing, and says so.
        if steps.contains("not proved") && tries < 4 {
            continue;
        }
        // The peak of 40 a second less the 4 that are asked anyway.
        assert!(steps.contains("proved by a load of 36/s on top of 4/s for 2 s, the coming peak"), "{steps} {err}");
        assert!((60..=160).contains(&asked.load(Ordering::Relaxed)), "about 72 a proof: {asked:?}");
        return;
    }
}

#[test]
fn a_load_that_fails_puts_the_step_off() {
    let (url, _) = answers("503 Service Unavailable");
    let place = with_a_load(&url);
    let child = place.start();
    wait_for("a step that is put off", || place.path("home/cost").is_dir() && place.journal().contains("\"set\""));
    interrupt(&child);
    let (_, seen, err) = end(child);
    assert_eq!(place.capacity(), 900, "{err}");
    assert!(seen["steps"].to_string().contains("was not proved"), "{} {err}", seen["steps"]);
}

#[test]
fn nothing_steps_down_during_a_canary_or_an_incident() {
    for what in ["canary", "incident"] {
        let place = Place::new("1s", "echo $SERIN_CAPACITY > capacity");
        let mut held = None;
        if what == "canary" {
            let lock = place.path("home/canary/local-00000000.lock");
            held = Some(serin::lock::Lock::take(&lock, "the walk of reports/x").expect("taken"));
        } else {
            let plan = std::fs::read_to_string(place.path("plan.toml")).expect("text");
            place.put("plan.toml", &format!("{plan}[guard]\nincident = [\"test\", \"-f\", \"quiet\"]\n"));
        }
        let child = place.start();
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(place.capacity(), 900, "{what}");
        interrupt(&child);
        let (code, seen, err) = end(child);
        assert_eq!(code, 130, "{err}");
        assert!(seen["steps"].to_string().contains(what), "{what}: {}", seen["steps"]);
        drop(held);
        place.put("quiet", "");
        let (code, _, err) = end(place.start());
        assert_eq!(code, 0, "{what}: {err}");
        assert!((195..=214).contains(&place.capacity()), "{what}: {}", place.capacity());
    }
}

#[test]
fn one_way_down_a_knob() {
    let place = Place::new("1h", "echo $SERIN_CAPACITY > capacity");
    let first = place.start();
    wait_for("a first step", || place.capacity() < 900);
    let (code, _, err) = end(place.start());
    assert_eq!(code, 3, "{err}");
    assert!(err.contains("held by a way down"), "{err}");
    interrupt(&first);
    assert_eq!(end(first).0, 130);
}

#[test]
fn without_programs_a_plan_for_real_is_refused() {
    let place = Place::new("1h", "true");
    place.put("plan.toml", "[descend]\nknob = \"personalize\"\nstart = 900\nhold = \"24h\"\n");
    let (code, _, err) = end(place.start());
    assert!(code == 2 && err.contains("the plan needs campaign"), "{code}: {err}");
    assert!(Path::new(&place.path("capacity")).exists());
}
