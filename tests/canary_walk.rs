//! Canary walks: killed at every write of the journal, and on the binary with programs of the user's as driver and source.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serin::canary::drive::{Drive, Told};
use serin::canary::driver::{Driver, DriverError};
use serin::canary::error::CanaryError;
use serin::canary::plan::Plan;
use serin::canary::record::{Past, Record};
use serin::canary::source::{Source, Taken};
use serin::canary::split::Counted;
use serin::judge::interval::Interval;
use serin::judge::verdict::Verdict;
use serin::stop::Stop;

const PLAN: &str = "[canary]\ntarget='t'\ndriver='command'\nlook='200ms'\n\
    [[stage]]\nshare='10%'\nhold='600ms'\nlongest='20s'\n[[stage]]\nshare='30%'\nhold='600ms'\nlongest='20s'\n\
    [[guard]]\nmetric='errors'\n";

/// A proxy that does as it is told and counts; it lives on when a walk dies.
#[derive(Default)]
struct World {
    share: RefCell<f64>,
    /// Every share that was ever set.
    history: RefCell<Vec<f64>>,
}

struct Proxy<'a>(&'a World);

impl Driver for Proxy<'_> {
    fn name(&self) -> String {
        "a proxy".to_owned()
    }

    fn read(&mut self) -> Result<f64, DriverError> {
        Ok(*self.0.share.borrow())
    }

    fn set(&mut self, share: f64) -> Result<(), DriverError> {
        *self.0.share.borrow_mut() = share;
        self.0.history.borrow_mut().push(share);
        Ok(())
    }

    fn requests(&mut self) -> Result<Option<Counted>, DriverError> {
        Ok(Some(Counted { canary: 5.0, all: 10.0 }))
    }
}

/// What a healthy or a failing canary shows in one interval, whatever its share.
struct Meter {
    errors: f64,
}

impl Source for Meter {
    fn name(&self) -> String {
        "a meter".to_owned()
    }

    fn take(&mut self) -> Result<Taken, String> {
        Ok(Taken { interval: Interval::parse(&line(self.errors))?, viewers: None })
    }
}

fn line(errors: f64) -> String {
    let slice = r#"{"requests":2000,"errors":2}"#;
    let slices = [slice; 9].join(",");
    format!(
        r#"{{"t":0,"baseline":{{"requests":18000,"errors":18}},"canary":{{"requests":4000,"errors":{errors}}},"slices":[{slices}]}}"#
    )
}

/// Walks or goes on until the end, or until the journal's `dies`-th write fails; `kept` says whether that line got to disk.
fn live(
    world: &World,
    journal: &RefCell<Vec<Record>>,
    errors: f64,
    dies: Option<(usize, bool)>,
) -> Result<serin::canary::told::Outcome, CanaryError> {
    let plan = Plan::parse("p", PLAN).expect("reads");
    let past = Past::of(&journal.borrow());
    let mut writes = 0;
    let drive = Drive {
        plan: &plan,
        driver: Box::new(Proxy(world)),
        source: Box::new(Meter { errors }),
        write: Box::new(|record| {
            writes += 1;
            let dead = dies.is_some_and(|(at, _)| writes == at);
            if !dead || dies.is_some_and(|(_, kept)| kept) {
                journal.borrow_mut().push(record.clone());
            }
            if dead { Err(CanaryError::World("killed".to_owned())) } else { Ok(()) }
        }),
        wishes: Box::new(Vec::new),
        heard: 0,
        past,
        name: "test".to_owned(),
        stop: Stop::default(),
        tell: &mut |_: Told| {},
    };
    drive.run()
}

fn began() -> RefCell<Vec<Record>> {
    let (at, target, plan, name) = (String::new(), "t".to_owned(), PLAN.to_owned(), "p".to_owned());
    RefCell::new(vec![Record::Began { at, target, plan, name }])
}

fn killed_at(at: usize, kept: bool, errors: f64) -> (usize, Vec<f64>, Verdict, f64) {
    let (world, journal) = (World::default(), began());
    let first = live(&world, &journal, errors, Some((at, kept)));
    let before = journal.borrow().len();
    let outcome = match first {
        Ok(outcome) => outcome,
        Err(_) if !Past::of(&journal.borrow()).expect("a walk").is_open() && before > 1 => {
            // It died after its last word: nothing is left to do.
            let share = *world.share.borrow();
            let verdict = if errors > 100.0 { Verdict::No } else { Verdict::Go };
            return (before, world.history.into_inner(), verdict, share);
        }
        Err(_) => live(&world, &journal, errors, None).expect("goes on"),
    };
    let share = *world.share.borrow();
    (before, world.history.into_inner(), outcome.ending.verdict, share)
}

#[test]
fn killed_at_every_write_it_resumes_to_the_right_share_and_nobody_flips_back() {
    let cases: Vec<_> = (1..=6).flat_map(|at| [(at, true), (at, false)]).flat_map(|c| [(c, 4.0), (c, 400.0)]).collect();
    std::thread::scope(|scope| {
        for ((at, kept), errors) in cases {
            scope.spawn(move || {
                let (before, history, verdict, share) = killed_at(at, kept, errors);
                let case = format!("killed at write {at} (kept {kept}, {before} lines), {errors} errors: {history:?}");
                if errors < 100.0 {
                    assert_eq!((verdict, share), (Verdict::Go, 0.3), "{case}");
                    assert!(history.windows(2).all(|w| w[0] <= w[1]), "somebody flipped back; {case}");
                } else {
                    assert_eq!((verdict, share), (Verdict::No, 0.0), "{case}");
                    let down = history.iter().position(|s| *s == 0.0).expect("taken back");
                    assert!(history[down..].iter().all(|s| *s == 0.0), "it rose again; {case}");
                }
            });
        }
    });
}

/// A folder with programs that keep the share in a file, and the plan that names them.
struct Desk {
    dir: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let desk = Self { dir: tempfile::tempdir().expect("a folder") };
        fs::write(desk.path("share"), "0").expect("written");
        desk.numbers(4.0);
        desk.plan(&desk.path("share"), "");
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn numbers(&self, errors: f64) {
        fs::write(self.path("numbers"), line(errors)).expect("written");
    }

    fn plan(&self, read: &Path, more: &str) {
        let text = format!(
            "[canary]\ntarget='t'\ndriver='command'\nlook='200ms'\n{more}\n\
             [[stage]]\nshare='10%'\nhold='1s'\nlongest='6s'\n[[stage]]\nshare='30%'\nhold='1s'\nlongest='6s'\n\
             [[guard]]\nmetric='errors'\n\
             [command]\nset=['sh','-c','echo $SERIN_SHARE > {share}']\nread=['cat','{read}']\n\
             [numbers]\nfrom='command'\nprint=['cat','{numbers}']\n",
            share = self.path("share").display(),
            read = read.display(),
            numbers = self.path("numbers").display(),
        );
        fs::write(self.path("plan.toml"), text).expect("written");
    }

    fn serin(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_serin"));
        command.arg("canary").args(words).current_dir(self.dir.path()).env("SERIN_HOME", self.path("home"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn done(&self, words: &[&str]) -> (Option<i32>, String, String) {
        ended(self.serin(words).spawn().expect("starts"))
    }

    fn share(&self) -> f64 {
        // The user's own program may be at work: it empties the file before it writes.
        let began = Instant::now();
        loop {
            let text = fs::read_to_string(self.path("share")).expect("kept");
            match text.trim().parse() {
                Ok(share) => return share,
                Err(e) => assert!(began.elapsed() < Duration::from_secs(10), "{e}: `{text}`"),
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn wait_for(&self, share: f64) {
        let began = Instant::now();
        while self.share() != share {
            assert!(began.elapsed() < Duration::from_secs(120), "the share stays {}", self.share());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn ended(child: Child) -> (Option<i32>, String, String) {
    let output = child.wait_with_output().expect("ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_good_canary_is_walked_out() {
    let desk = Desk::new();
    let (code, out, err) = desk.done(&["walk", "plan.toml", "--json"]);
    assert_eq!((code, desk.share()), (Some(0), 0.3), "{out}\n{err}");
    let document: serde_json::Value = serde_json::from_str(&out).expect("one document");
    assert_eq!(document["schema"], "serin.canary-walk/1");
    assert_eq!((&document["verdict"], &document["rolled_back"]), (&"go".into(), &false.into()));
    assert_eq!(document["stages"].as_array().map(Vec::len), Some(2), "{document}");
    // It has ended: there is nothing to go on with, but it can still be taken back.
    let run = document["run"].as_str().expect("a folder").to_owned();
    assert_eq!(desk.done(&["resume", &run]).0, Some(2));
    assert_eq!((desk.done(&["rollback", &run]).0, desk.share()), (Some(0), 0.0));
}

#[test]
fn a_bad_canary_is_rolled_back_to_a_verified_zero() {
    let desk = Desk::new();
    desk.numbers(400.0);
    let (code, out, err) = desk.done(&["walk", "plan.toml", "--json"]);
    assert_eq!((code, desk.share()), (Some(1), 0.0), "{out}\n{err}");
    let document: serde_json::Value = serde_json::from_str(&out).expect("one document");
    assert_eq!(document["rollback"]["verified"], true, "{document}");
    assert!(document["reason"].as_str().is_some_and(|r| r.contains("errors")), "{document}");
}

#[test]
fn a_blind_source_neither_goes_on_nor_back() {
    let desk = Desk::new();
    fs::write(desk.path("numbers"), "<html>").expect("written");
    let (code, out, err) = desk.done(&["walk", "plan.toml", "--json"]);
    assert_eq!((code, desk.share()), (Some(3), 0.1), "{out}\n{err}");
    assert!(out.contains("blind"), "{out}");
    // The next walk is refused while this one stands open, and resuming it goes on.
    let (code, _, err) = desk.done(&["walk", "plan.toml"]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("left on its way"), "{err}");
    desk.numbers(4.0);
    assert_eq!((desk.done(&["resume", "t"]).0, desk.share()), (Some(0), 0.3));
}

#[test]
fn a_killed_walk_is_resumed_and_another_terminal_rolls_back() {
    let desk = Desk::new();
    desk.plan(&desk.path("share"), "undecided='hold'");
    let text = fs::read_to_string(desk.path("plan.toml"))
        .expect("there")
        .replace("longest='6s'", "longest='5m'\napproval=true");
    fs::write(desk.path("plan.toml"), text).expect("written");
    let mut walk = desk.serin(&["walk", "plan.toml"]).spawn().expect("starts");
    desk.wait_for(0.1);
    let (code, _, err) = desk.done(&["walk", "plan.toml"]);
    assert_eq!(code, Some(2), "two walks at once: {err}");
    assert!(err.contains("being walked already"), "{err}");
    walk.kill().expect("killed");
    walk.wait().expect("dead");
    assert_eq!(desk.done(&["approve", "t"]).0, Some(2), "nobody hears an approval");
    let resumed = desk.serin(&["resume", "t"]).spawn().expect("starts");
    let began = Instant::now();
    loop {
        let (code, _, err) = desk.done(&["approve", "t"]);
        if code == Some(0) {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(120), "{err}");
    }
    desk.wait_for(0.3);
    let (code, out, err) = desk.done(&["rollback", "t", "--json"]);
    assert_eq!((code, desk.share()), (Some(0), 0.0), "{out}\n{err}");
    let (code, out, err) = ended(resumed);
    assert_eq!(code, Some(1), "{out}\n{err}");
}

/// Kills the process itself, the moment the journal has so many lines; then the world is resumed to its end.
fn killed_for_real_at(lines: usize, errors: f64) {
    let desk = Desk::new();
    desk.numbers(errors);
    let mut walk = desk.serin(&["walk", "plan.toml"]).spawn().expect("starts");
    let journal = || {
        let mut runs = fs::read_dir(desk.path("reports")).into_iter().flatten().flatten();
        let text = runs.find_map(|run| fs::read_to_string(run.path().join("walk.jsonl")).ok());
        text.map_or(0, |t| t.lines().count())
    };
    while journal() < lines && walk.try_wait().expect("asked").is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let _ = walk.kill();
    let before = ended(walk);
    let case = format!("killed at {lines} lines, {errors} errors, share {}: {before:?}", desk.share());
    let (code, out, err) = desk.done(&["resume", "t"]);
    // It may have been dead only after its last word.
    let resumed = code == Some(2) && err.contains("that walk has ended");
    let (wanted, verdict) = if errors < 100.0 { (0.3, 0) } else { (0.0, 1) };
    assert!(resumed || code == Some(verdict), "{case}: {code:?} {out}\n{err}");
    assert_eq!(desk.share(), wanted, "{case}: {out}\n{err}");
}

#[test]
fn killed_by_the_kernel_at_every_line_of_its_journal_it_resumes_to_the_right_share() {
    for errors in [4.0, 400.0] {
        std::thread::scope(|scope| {
            for lines in 1..=6 {
                scope.spawn(move || killed_for_real_at(lines, errors));
            }
        });
    }
}

#[test]
fn a_journal_cut_anywhere_still_says_where_the_walk_was() {
    let desk = Desk::new();
    let (code, _, err) = desk.done(&["walk", "plan.toml"]);
    assert_eq!(code, Some(0), "{err}");
    let runs = fs::read_dir(desk.path("reports")).expect("runs").flatten();
    let journal = runs.map(|r| r.path().join("walk.jsonl")).find(|p| p.is_file()).expect("a journal");
    let whole = fs::read(&journal).expect("read");
    let stage = |past: &Past| (past.step.stage(), matches!(past.step, serin::canary::record::PastStep::Ended { .. }));
    let mut last = (0, false);
    for cut in 0..=whole.len() {
        fs::write(&journal, &whole[..cut]).expect("cut");
        let records: Vec<Record> = serin::journal::read(&journal).expect("a cut last line is no line");
        let Some(past) = Past::of(&records) else {
            assert!(cut < whole.iter().position(|b| *b == b'\n').expect("a line") + 1, "lost at {cut}");
            continue;
        };
        assert!(stage(&past) >= last, "it goes back at {cut}: {past:?}");
        last = stage(&past);
    }
    assert_eq!(last, (1, true));
}

#[test]
fn a_driver_that_lies_is_taken_back_and_is_no_verdict() {
    let desk = Desk::new();
    fs::write(desk.path("lie"), "0").expect("written");
    desk.plan(&desk.path("lie"), "");
    let (code, out, err) = desk.done(&["walk", "plan.toml", "--json"]);
    assert_eq!((code, desk.share()), (Some(3), 0.0), "{out}\n{err}");
    assert!(out.contains("the driver does not do what it is told"), "{out}");
}

#[test]
fn a_dead_walk_is_taken_back_from_any_terminal() {
    let desk = Desk::new();
    let mut walk = desk.serin(&["walk", "plan.toml"]).spawn().expect("starts");
    desk.wait_for(0.1);
    walk.kill().expect("killed");
    walk.wait().expect("dead");
    let (code, out, err) = desk.done(&["rollback", "t"]);
    assert_eq!((code, desk.share()), (Some(0), 0.0), "{out}\n{err}");
    assert_eq!(desk.done(&["resume", "t"]).0, Some(2), "it has ended");
}

#[test]
fn what_cannot_be_walked_is_refused_before_anything_is_set() {
    let desk = Desk::new();
    fs::write(desk.path("bare.toml"), "[canary]\ntarget='t'\ndriver='haproxy'\n[[stage]]\nshare='10%'\nhold='5m'\n")
        .expect("written");
    let (code, _, err) = desk.done(&["walk", "bare.toml"]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("[haproxy]"), "{err}");
    fs::write(desk.path("share"), "0.4").expect("written");
    let (code, _, err) = desk.done(&["walk", "plan.toml"]);
    assert_eq!((code, desk.share()), (Some(2), 0.4), "{err}");
    assert!(err.contains("40.0 % of the viewers are in the canary"), "{err}");
}

/// A library that is loaded before libc's and moves the wall clock by as many seconds as a file says.
const WALL_CLOCK: &str = r#"
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t id, struct timespec *t) {
  int answer = (int)syscall(SYS_clock_gettime, id, t);
  const char *file = getenv("WALL_CLOCK_AHEAD");
  FILE *f = id == CLOCK_REALTIME && file ? fopen(file, "r") : NULL;
  long ahead;
  if (f) {
    if (fscanf(f, "%ld", &ahead) == 1) t->tv_sec += ahead;
    fclose(f);
  }
  return answer;
}
"#;

#[test]
#[cfg(target_os = "linux")]
fn a_clock_that_is_set_in_mid_walk_is_told_and_changes_nothing() {
    let desk = Desk::new();
    fs::write(desk.path("clock.c"), WALL_CLOCK).expect("written");
    let (library, ahead) = (desk.path("clock.so"), desk.path("ahead"));
    let mut made = Command::new("cc");
    let made = made.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(desk.path("clock.c")).status();
    assert!(made.expect("the linker that rustc needs is there").success());
    let text = fs::read_to_string(desk.path("plan.toml")).expect("there");
    fs::write(desk.path("plan.toml"), text.replace("hold='1s'\nlongest='6s'", "hold='3s'\nlongest='60s'"))
        .expect("written");
    let mut walk = desk.serin(&["walk", "plan.toml", "--json"]);
    walk.env("LD_PRELOAD", &library).env("WALL_CLOCK_AHEAD", &ahead);
    let began = Instant::now();
    let walk = walk.spawn().expect("starts");
    desk.wait_for(0.1);
    fs::write(desk.path("new"), "-86400").expect("written");
    fs::rename(desk.path("new"), &ahead).expect("a day back at once");
    desk.wait_for(0.3);
    fs::write(desk.path("new"), "7200").expect("written");
    fs::rename(desk.path("new"), &ahead).expect("two hours forward at once");
    let (code, out, err) = ended(walk);
    let took = began.elapsed().as_secs_f64();
    assert_eq!((code, desk.share()), (Some(0), 0.3), "{out}\n{err}");
    let document: serde_json::Value = serde_json::from_str(&out).expect("one document");
    let findings = document["findings"].to_string();
    assert!(findings.contains("set back by 86400 s") && findings.contains("set forward by 93600 s"), "{findings}");
    for stage in document["stages"].as_array().expect("stages") {
        let held = stage["held_s"].as_f64().expect("held");
        assert!((3.0..=took).contains(&held), "held by its own clock: {stage}");
    }
}

#[test]
fn a_plan_that_cannot_be_meant_is_refused_with_its_reason() {
    let desk = Desk::new();
    let plan = fs::read_to_string(desk.path("plan.toml")).expect("there");
    for (from, to, why) in [
        ("share='30%'", "share='5%'", "the share goes from 10.0 % to 5.00 %; shares have to rise"),
        ("share='30%'", "share='10%'", "shares have to rise"),
        ("share='10%'", "share='0%'", "a share of nobody is no stage"),
        ("share='30%'", "share='130%'", "130%"),
        ("hold='1s'", "hold='0s'", "a hold of no time shows nothing"),
        ("longest='6s'", "longest='0s'", "longest 0s is below hold 1s"),
        ("metric='errors'", "metric='erors'", "did you mean `errors`"),
        ("metric='errors'", "metric='happiness'", "happiness"),
    ] {
        assert!(plan.contains(from), "{from}");
        fs::write(desk.path("bad.toml"), plan.replacen(from, to, 1)).expect("written");
        for words in [["walk", "bad.toml"], ["plan", "bad.toml"]] {
            let (code, _, err) = desk.done(&words);
            assert!(code == Some(2) && err.contains(why), "{to}: {code:?} {err}");
        }
    }
    assert_eq!(desk.share(), 0.0, "nothing was set");
}

#[test]
fn a_share_that_somebody_else_sets_in_mid_walk_is_not_fought_over_for_ever() {
    let desk = Desk::new();
    let text = fs::read_to_string(desk.path("plan.toml")).expect("there");
    fs::write(desk.path("plan.toml"), text.replace("longest='6s'", "longest='60s'\napproval=true")).expect("written");
    let mut walk = desk.serin(&["walk", "plan.toml", "--json"]).spawn().expect("starts");
    desk.wait_for(0.1);
    std::thread::sleep(Duration::from_millis(500));
    let rival = Instant::now();
    while walk.try_wait().expect("asked").is_none() {
        fs::write(desk.path("share"), "0.9").expect("somebody else sets it");
        assert!(rival.elapsed() < Duration::from_secs(120), "it fights on");
        std::thread::sleep(Duration::from_millis(100));
    }
    let (code, out, err) = ended(walk);
    assert_eq!(code, Some(3), "{out}\n{err}");
    assert!(out.contains("it is not fought over") || out.contains("does not do what it is told"), "{out}\n{err}");
}
