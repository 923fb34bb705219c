//! The console in a real pseudo-terminal: it starts, follows a resize, asks before it leaves, and gives the terminal back.

mod recorded;

use std::io::{Read, Write};
use std::num::NonZero;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use serin::console::look::{Colour, Look};
use serin::console::terminal::Taken;
use serin::console::{Options, run};
use serin::judge::verdict::Verdict;
use serin::run::director::{self, Setting};
use serin::run::error::RunError;
use serin::run::event::Event;
use serin::run::job::{Desk, Job};
use serin::run::summary::Summary;
use serin::stop::Stop;

/// Plays a recorded evening, slowly, until it is told to stop.
struct Playback;

impl Job for Playback {
    fn kind(&self) -> &'static str {
        "evening"
    }

    fn title(&self) -> String {
        "evening short → local".to_owned()
    }

    fn run(self: Box<Self>, desk: &Desk) -> Result<Summary, RunError> {
        for event in recorded::evening(60, false).into_iter().skip(1) {
            if let Event::Ended(summary) = event {
                return Ok(*summary);
            }
            if desk.stop.requested() {
                break;
            }
            desk.tell(event);
            thread::sleep(Duration::from_millis(60));
        }
        Ok(Summary {
            title: self.title(),
            verdict: Some(Verdict::CannotTell),
            reason: "stopped by hand".to_owned(),
            document: serde_json::json!({"verdict": "cannot-tell", "reason": "stopped by hand"}),
            lines: Vec::new(),
            stopped: true,
        })
    }
}

/// What runs inside the pseudo-terminal; the tests below start this very binary with this test alone.
#[test]
#[ignore = "the inner side of the other tests"]
fn inside() {
    if std::env::var("SERIN_TEST_PANIC").is_ok() {
        let _taken = Taken::take().expect("a terminal");
        panic!("a defect in a screen");
    }
    if std::env::var("SERIN_TEST_HANGUP").is_ok() {
        // SAFETY: only this process no longer hears that its terminal closed, as under nohup.
        unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
    }
    let home = std::env::temp_dir();
    let setting = Setting { home: home.clone(), reports: home.clone(), command: "serin".to_owned() };
    let running = director::start(Box::new(Playback), &setting, Stop::default()).expect("started");
    let look = Look::choose(Colour::Auto, |n| std::env::var(n).ok()).expect("a look");
    let options = Options {
        look,
        reports: home.clone(),
        write_reports: Arc::new(|_: &Path| ()),
        deployed: Arc::new(|| None),
        home,
    };
    run(running, &options).expect("ended");
}

fn cells(n: u16) -> NonZero<u16> {
    NonZero::new(n).expect("not zero")
}

struct Terminal {
    master: Box<dyn MasterPty + Send>,
    child: Box<dyn Child + Send + Sync>,
    keys: Box<dyn Write + Send>,
    screen: Arc<Mutex<vt100::Parser>>,
    /// Tells the reader to let go of its copy of the master.
    closing: Arc<AtomicBool>,
}

impl Terminal {
    fn start(told: Option<&str>) -> Self {
        let size = PtySize { rows: 30, cols: 100, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).expect("a pseudo-terminal");
        let mut command = CommandBuilder::new(std::env::current_exe().expect("this test"));
        command.args(["--ignored", "--exact", "inside", "--nocapture"]);
        command.env("LC_ALL", "C.UTF-8");
        command.env("TERM", "xterm-256color");
        if let Some(name) = told {
            command.env(name, "1");
        }
        let child = pair.slave.spawn_command(command).expect("started");
        let mut from = pair.master.try_clone_reader().expect("a reader");
        let keys = pair.master.take_writer().expect("a writer");
        let screen = Arc::new(Mutex::new(vt100::Parser::new(cells(30), cells(100), 0)));
        let drawn = screen.clone();
        let closing = Arc::new(AtomicBool::new(false));
        let closed = closing.clone();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = from.read(&mut bytes) {
                if closed.load(Ordering::Acquire) {
                    return;
                }
                drawn.lock().expect("drawn").process(&bytes[..n]);
            }
        });
        Self { master: pair.master, child, keys, screen, closing }
    }

    fn contents(&self) -> String {
        self.screen.lock().expect("drawn").screen().contents()
    }

    fn wait_for(&self, text: &str) {
        let begin = Instant::now();
        while !self.contents().contains(text) {
            assert!(begin.elapsed() < Duration::from_secs(20), "`{text}` never came:\n{}", self.contents());
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("pressed");
        self.keys.flush().expect("pressed");
    }

    /// Waits for the end and returns what is left on the normal screen.
    fn left(mut self) -> String {
        self.child.wait().expect("ended");
        thread::sleep(Duration::from_millis(200));
        let screen = self.screen.lock().expect("drawn");
        assert!(!screen.screen().alternate_screen(), "the normal screen is back");
        assert!(!screen.screen().hide_cursor(), "the cursor is back");
        screen.screen().contents()
    }
}

#[test]
fn it_starts_follows_a_resize_asks_and_gives_the_terminal_back() {
    let mut terminal = Terminal::start(None);
    terminal.wait_for("[2 Load]");
    terminal.wait_for("answered 500/s");
    assert!(terminal.screen.lock().expect("drawn").screen().alternate_screen());
    let small = PtySize { rows: 16, cols: 60, pixel_width: 0, pixel_height: 0 };
    terminal.screen.lock().expect("drawn").screen_mut().set_size(cells(16), cells(60));
    terminal.master.resize(small).expect("resized");
    terminal.wait_for("in time");
    terminal.press("q");
    terminal.wait_for("sure?");
    terminal.press("n");
    terminal.press("1");
    terminal.wait_for("[1 Overview]");
    terminal.press("q");
    terminal.wait_for("sure?");
    terminal.press("y");
    let left = terminal.left();
    assert!(left.contains("? CANNOT TELL: stopped by hand"), "{left}");
}

#[test]
fn ctrl_c_stops_the_run_and_leaves() {
    let mut terminal = Terminal::start(None);
    terminal.wait_for("[2 Load]");
    terminal.press("\x03");
    assert!(terminal.left().contains("? CANNOT TELL: stopped by hand"));
}

#[test]
fn a_panic_gives_the_terminal_back_and_is_read_on_it() {
    let left = Terminal::start(Some("SERIN_TEST_PANIC")).left();
    assert!(left.contains("a defect in a screen"), "{left}");
}

#[test]
fn a_terminal_that_vanishes_ends_the_console_even_when_nobody_signals_it() {
    let terminal = Terminal::start(Some("SERIN_TEST_HANGUP"));
    terminal.wait_for("[2 Load]");
    let Terminal { master, mut child, keys, screen, closing } = terminal;
    closing.store(true, Ordering::Release);
    drop((master, keys));
    let begin = Instant::now();
    while child.try_wait().expect("asked").is_none() {
        assert!(
            begin.elapsed() < Duration::from_secs(20),
            "still there:\n{}",
            screen.lock().expect("drawn").screen().contents()
        );
        thread::sleep(Duration::from_millis(50));
    }
}
