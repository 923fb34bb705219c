//! Events in, frames out, effects away: the one loop that holds a terminal and a run.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::TryRecvError;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ratatui::crossterm::event::{Event as Input, KeyEvent};

use super::app::App;
use super::error::ConsoleError;
use super::look::Look;
use super::screen::Effect;
use super::terminal::Taken;
use super::watcher::{Deployed, Watcher};
use crate::canary::order::Wish;
use crate::canary::record::Place;
use crate::cost::told;
use crate::run::baseline;
use crate::run::director::Running;
use crate::run::error::RunError;
use crate::run::past;
use crate::run::summary::Summary;
use crate::stop;

/// At most ten drawings a second; a key is heard at once.
const FRAME: Duration = Duration::from_millis(100);

/// Writes every form of a run's report into its folder.
pub type WriteReports = Arc<dyn Fn(&Path) + Send + Sync>;

pub struct Options {
    pub look: Look,
    /// The folder that holds the folders of runs.
    pub reports: PathBuf,
    pub write_reports: WriteReports,
    /// What is looked at beside the run, and where its past is kept.
    pub deployed: Deployed,
    pub home: PathBuf,
}

/// Shows a job to its end and stays until the person leaves; the reports are written before it returns.
pub fn run(running: Running, options: &Options) -> Result<Summary, RunError> {
    let folder = running.folder.clone();
    let stop = running.stop.clone();
    let mut clerk = Clerk { write: options.write_reports.clone(), folder: folder.clone(), at_work: None };
    let mut shown = Shown { running: Some(running), result: None };
    let ended = watch(&mut shown, &mut clerk, options, folder.as_deref());
    if ended.is_err() {
        stop.request();
    }
    let result = shown.finish();
    clerk.write();
    clerk.wait();
    ended?;
    last_line(&result, folder.as_deref());
    result
}

/// The run, and what came of it once it has ended.
struct Shown {
    running: Option<Running>,
    result: Option<Result<Summary, RunError>>,
}

impl Shown {
    fn finish(mut self) -> Result<Summary, RunError> {
        self.join();
        self.result.unwrap_or(Err(RunError::Stopped))
    }

    fn join(&mut self) {
        if let Some(running) = self.running.take() {
            // Drained first: the job must not find its listener gone before it has told its end.
            while running.events.recv().is_ok() {}
            self.result = Some(running.finish());
        }
    }
}

/// Writes reports beside the screen, never in its way.
struct Clerk {
    write: WriteReports,
    folder: Option<PathBuf>,
    at_work: Option<JoinHandle<()>>,
}

impl Clerk {
    fn write(&mut self) {
        self.wait();
        if let Some(folder) = self.folder.clone() {
            let write = self.write.clone();
            self.at_work = Some(thread::spawn(move || write(&folder)));
        }
    }

    fn wait(&mut self) {
        if let Some(at_work) = self.at_work.take() {
            let _ = at_work.join();
        }
    }
}

fn watch(shown: &mut Shown, clerk: &mut Clerk, options: &Options, folder: Option<&Path>) -> Result<(), ConsoleError> {
    let mut terminal = Taken::take()?;
    let mut app = App::new(options.look, &options.reports, folder.map(Path::to_owned), Instant::now());
    let watcher = Watcher::start(options.deployed.clone(), options.home.clone(), options.reports.clone());
    let mut stale = true;
    let mut drawn: Option<Instant> = None;
    loop {
        let now = Instant::now();
        stale |= hear(shown, clerk, &mut app, now);
        while let Ok(told) = watcher.told.try_recv() {
            app.see(told, now);
            stale = true;
        }
        stale |= app.pass(now);
        if stop::signalled() && !app.quitting() {
            let effect = app.stop_and_quit();
            act(effect, shown, clerk, &watcher, &options.home, &mut app, &mut terminal)?;
        }
        if app.quitting() && shown.running.is_none() {
            return Ok(());
        }
        if stale && drawn.is_none_or(|at| now.duration_since(at) >= FRAME) {
            terminal.screen.draw(|frame| app.draw(frame))?;
            (stale, drawn) = (false, Some(now));
        }
        if let Some(input) = terminal.next(FRAME)? {
            stale = true;
            if let Input::Key(key) = input {
                let effect = press(&mut app, &key);
                act(effect, shown, clerk, &watcher, &options.home, &mut app, &mut terminal)?;
            }
        }
    }
}

fn press(app: &mut App, key: &KeyEvent) -> Effect {
    app.key(key, Instant::now())
}

/// Takes what the run has told since the last look; returns whether it told anything.
fn hear(shown: &mut Shown, clerk: &mut Clerk, app: &mut App, now: Instant) -> bool {
    let mut heard = false;
    while let Some(running) = &shown.running {
        match running.events.try_recv() {
            Ok(event) => app.hear(&event, now),
            Err(TryRecvError::Empty) => return heard,
            Err(TryRecvError::Disconnected) => {
                shown.join();
                let failure = match &mut shown.result {
                    Some(Err(error)) => Some(error.clone()),
                    _ => None,
                };
                app.ended(failure);
                clerk.write();
            }
        }
        heard = true;
    }
    heard
}

fn act(
    effect: Effect,
    shown: &mut Shown,
    clerk: &mut Clerk,
    watcher: &Watcher,
    home: &Path,
    app: &mut App,
    terminal: &mut Taken,
) -> io::Result<()> {
    let now = Instant::now();
    match effect {
        // The app itself goes from screen to screen.
        Effect::Nothing | Effect::Quit | Effect::Look(_) | Effect::Go(_) => {}
        Effect::StopRun => {
            if let Some(running) = &shown.running {
                running.stop.request();
            }
        }
        Effect::Check => watcher.check(),
        Effect::Wish(wish) => app.notice(ask(wish, app), now),
        Effect::Export => {
            clerk.write();
            let place = clerk.folder.as_deref().map(|f| f.join("report.html").display().to_string());
            app.notice(place.map_or("this run keeps no folder".to_owned(), |p| format!("writing {p}")), now);
        }
        Effect::Copy(text) => {
            // OSC 52 reaches the clipboard through ssh and tmux too.
            write!(io::stdout(), "\x1b]52;c;{}\x07", STANDARD.encode(&text))?;
            io::stdout().flush()?;
            app.notice("copied, where the terminal allows it", now);
        }
        Effect::Keep(folder) => app.notice(keep(home, &folder), now),
        Effect::Open(path) => app.notice(open(&path), now),
        Effect::CostWish(path, wish) => match told::ask(&path, wish) {
            Ok(()) => app.notice(format!("asked: {}", wish.word()), now),
            Err(e) => app.notice(format!("{} could not be asked: {e}", wish.word()), now),
        },
        Effect::Suspend => terminal.suspend()?,
    }
    Ok(())
}

/// Makes a past run what `serin gate --baseline kept` compares with.
fn keep(home: &Path, folder: &Path) -> String {
    let Some(run) = past::entry(folder).filter(|r| r.p99_ms.is_some()) else {
        return "nothing was answered in this run: it cannot be a baseline".to_owned();
    };
    match baseline::keep(home, &run) {
        Ok(()) => format!("the baseline of {}: serin gate .. --baseline kept", run.began.title),
        Err(e) => format!("not kept: {e}"),
    }
}

/// Asks the walk for something, as another terminal would; it hears of it within a second.
fn ask(wish: Wish, app: &App) -> String {
    let Some(walk) = &app.world.story.canary else { return "no walk is under way".to_owned() };
    let place = Place { folder: PathBuf::from(&walk.road.name) };
    place.ask(wish).map_or_else(|e| format!("not asked: {e}"), |()| format!("asked: {}", wish.word()))
}

/// Opens a file with what the desktop has for it; the path is said in any case.
fn open(path: &Path) -> String {
    let shown = path.display();
    if !path.is_file() {
        return format!("{shown} is not there");
    }
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let mut command = Command::new(opener);
    command.arg(path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let opened = command.spawn().map(|mut child| thread::spawn(move || child.wait()));
    if opened.is_ok() { format!("opening {shown}") } else { format!("{shown}") }
}

/// Leaves one line on the normal screen: verdict, reason, report.
fn last_line(result: &Result<Summary, RunError>, folder: Option<&Path>) {
    let report = match folder.map(|f| f.join("report.html")) {
        Some(path) if path.is_file() => format!("  report: {}", path.display()),
        Some(path) => format!("  ({} could not be written)", path.display()),
        None => String::new(),
    };
    if let Ok(summary) = result {
        let verdict = summary.verdict.map_or("done", |v| v.sign());
        let _ = writeln!(io::stdout(), "{verdict}: {}{report}", summary.reason);
    }
}
