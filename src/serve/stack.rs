//! The whole stack on one machine: a supervisor of its own, the API below it, restarted when it ends; nothing outlives it.
//!
//! The supervisor is this same binary. It holds a lock for as long as it lives, so that who asks never mistakes another
//! process for it. Its children ask the kernel to kill them when it dies, however it dies.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::durable;
use super::error::ServeError;
use super::secret;
use crate::lock::{Lock, LockError};
use crate::stop::Stop;

/// How long the API may take to be ready.
const START: Duration = Duration::from_secs(30);
/// How long the API may take to drain; then it is killed.
const DRAIN: Duration = Duration::from_secs(4);
const LOOK: Duration = Duration::from_millis(20);
/// Waits between restarts: from this, doubled up to a hundred times it.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// A child that lived so long begins again with the first wait.
const HEALTHY: Duration = Duration::from_secs(10);

/// What a stack is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackSpec {
    /// State of this user; the stack keeps its logs and its secret below it.
    pub home: PathBuf,
    pub items: PathBuf,
    /// A folder of the embedded store.
    pub store: Option<PathBuf>,
    pub model: Option<PathBuf>,
    pub listen: String,
    /// The wall of the Personalize wire, requests a second.
    pub campaign_tps: Option<u32>,
}

impl StackSpec {
    /// The demo platform of this user.
    pub fn demo(home: &Path, listen: &str) -> Self {
        let demo = home.join("demo");
        Self {
            home: home.to_owned(),
            items: demo.join("data/items.csv"),
            store: Some(demo.join("store")),
            model: Some(demo.join("model")),
            listen: listen.to_owned(),
            campaign_tps: Some(500),
        }
    }

    fn folder(&self) -> PathBuf {
        folder(&self.home)
    }
}

/// What is known of a stack that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackState {
    pub api_url: String,
    pub supervisor: u32,
    pub api: u32,
    pub restarts: u32,
    pub ready: bool,
}

/// A stack that ends with its holder, however the holder ends: it hangs on a pipe.
#[derive(Debug)]
pub struct StackHandle {
    pub api_url: String,
    home: PathBuf,
    supervisor: Child,
}

impl StackHandle {
    /// Ends the stack and waits until it is gone.
    pub fn down(mut self) -> Result<(), ServeError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), ServeError> {
        drop(self.supervisor.stdin.take());
        let ended = down(&self.home).map(|_| ());
        let _ = self.supervisor.wait();
        ended
    }
}

impl Drop for StackHandle {
    fn drop(&mut self) {
        if matches!(self.supervisor.try_wait(), Ok(None)) {
            let _ = self.end();
        }
    }
}

fn folder(home: &Path) -> PathBuf {
    home.join("stack")
}

/// Starts a stack that lives as long as the handle; returns when it is ready.
pub fn up(spec: &StackSpec, tell: &mut dyn FnMut(String)) -> Result<StackHandle, ServeError> {
    let mut supervisor = spawn_supervisor(spec, true)?;
    match wait_until_ready(spec, &mut supervisor, tell) {
        Ok(state) => Ok(StackHandle { api_url: state.api_url, home: spec.home.clone(), supervisor }),
        Err(error) => {
            drop(supervisor.stdin.take());
            let _ = supervisor.wait();
            Err(error)
        }
    }
}

/// Starts a stack that lives on after this process; returns when it is ready.
pub fn up_detached(spec: &StackSpec, tell: &mut dyn FnMut(String)) -> Result<StackState, ServeError> {
    let mut supervisor = spawn_supervisor(spec, false)?;
    wait_until_ready(spec, &mut supervisor, tell)
}

fn spawn_supervisor(spec: &StackSpec, tethered: bool) -> Result<Child, ServeError> {
    let folder = spec.folder();
    fs::create_dir_all(&folder).map_err(ServeError::io(&folder))?;
    if let Some(state) = status(&spec.home)? {
        let text = format!("a stack is up already on {}; end it with `serin stack down`", state.api_url);
        return Err(ServeError::Stack(text));
    }
    if let Some(store) = &spec.store
        && super::stores::embedded::current(store).map_err(ServeError::io(store))?.is_none()
    {
        return Err(ServeError::NothingPublished { path: store.clone() });
    }
    if !spec.items.is_file() {
        let text = format!("there is no catalogue at {}; give one with --items FILE", spec.items.display());
        return Err(ServeError::Stack(text));
    }
    secret::of_stack(&spec.home)?;
    let _ = fs::remove_file(folder.join("state.json"));
    let plan = folder.join("spec.json");
    let text = serde_json::to_vec_pretty(spec).map_err(|e| ServeError::Stack(e.to_string()))?;
    durable::write(&plan, &text).map_err(ServeError::io(&plan))?;
    let log = log(&folder.join("supervisor.log"))?;
    let mut command = Command::new(own_binary()?);
    command.args(["stack", "supervise"]).arg(&plan);
    command.stdin(if tethered { Stdio::piped() } else { Stdio::null() });
    if tethered {
        command.arg("--tethered");
    }
    command.stdout(Stdio::from(log.try_clone().map_err(ServeError::io(&folder))?)).stderr(Stdio::from(log));
    // SAFETY: `setsid` is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            libc::setsid();
            Ok(())
        });
    }
    command.spawn().map_err(ServeError::io(&folder))
}

fn wait_until_ready(
    spec: &StackSpec,
    supervisor: &mut Child,
    tell: &mut dyn FnMut(String),
) -> Result<StackState, ServeError> {
    let began = Instant::now();
    loop {
        if let Some(state) = read_state(&spec.folder()).filter(|s| s.ready && s.supervisor == supervisor.id()) {
            tell(format!("the stack is up on {} after {:.1} s", state.api_url, began.elapsed().as_secs_f64()));
            return Ok(state);
        }
        if let Ok(Some(_)) = supervisor.try_wait() {
            return Err(ServeError::Stack(format!("the stack did not start: {}", last_words(&spec.folder()))));
        }
        if began.elapsed() > START {
            let text = format!("the stack is not ready after {} s: {}", START.as_secs(), last_words(&spec.folder()));
            let _ = down(&spec.home);
            return Err(ServeError::Stack(text));
        }
        thread::sleep(LOOK);
    }
}

/// Returns what runs, or `None`; a state file that nobody holds the lock of is of the past.
pub fn status(home: &Path) -> Result<Option<StackState>, ServeError> {
    let folder = folder(home);
    if !folder.join("lock").exists() {
        return Ok(None);
    }
    match Lock::take(&folder.join("lock"), "") {
        Ok(_) => Ok(None),
        Err(LockError::Held { .. }) => {
            // Held and not told yet: it is starting.
            let starting = StackState { api_url: String::new(), supervisor: 0, api: 0, restarts: 0, ready: false };
            Ok(Some(read_state(&folder).unwrap_or(starting)))
        }
        Err(LockError::Io { path, source }) => Err(ServeError::Io { path, source }),
    }
}

/// Ends the stack; returns whether there was one.
pub fn down(home: &Path) -> Result<bool, ServeError> {
    let lock = folder(home).join("lock");
    let Some(state) = status(home)? else { return Ok(false) };
    // The lock's holder wrote its own number there, and it lives as long as the lock is held.
    let holder = fs::read_to_string(&lock).ok().and_then(|t| t.trim().parse::<i32>().ok());
    let pid = holder.or_else(|| i32::try_from(state.supervisor).ok()).filter(|p| *p > 1);
    let pid = pid.ok_or_else(|| ServeError::Stack(format!("{} does not say who runs the stack", lock.display())))?;
    let began = Instant::now();
    for (signal, patience) in [(libc::SIGTERM, DRAIN + Duration::from_millis(500)), (libc::SIGKILL, DRAIN)] {
        // SAFETY: sends a signal to the holder of the lock.
        unsafe { libc::kill(pid, signal) };
        let until = began.elapsed() + patience;
        while began.elapsed() < until {
            if status(home)?.is_none() {
                return Ok(true);
            }
            thread::sleep(LOOK);
        }
    }
    Err(ServeError::Stack(format!("process {pid} does not end; look at {}", folder(home).display())))
}

fn read_state(folder: &Path) -> Option<StackState> {
    serde_json::from_slice(&fs::read(folder.join("state.json")).ok()?).ok()
}

fn last_words(folder: &Path) -> String {
    let text = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
    let both = [text("supervisor.log"), text("api.log")].concat();
    let lines: Vec<&str> = both.lines().filter(|l| l.starts_with("error: ")).collect();
    let last = lines.last().map_or("see the logs", |l| l.trim_start_matches("error: "));
    format!("{last} (logs in {})", folder.display())
}

fn own_binary() -> Result<PathBuf, ServeError> {
    std::env::current_exe().map_err(ServeError::io("/proc/self/exe"))
}

/// A log of this start: the one before is kept beside it.
fn log(path: &Path) -> Result<File, ServeError> {
    if path.exists() {
        let _ = fs::rename(path, path.with_extension("log.before"));
    }
    OpenOptions::new().create(true).append(true).open(path).map_err(ServeError::io(path))
}

/// The supervisor's own life: keeps the API running until told to stop, or until whom it is tethered to is gone.
pub fn supervise(plan: &Path, tethered: bool, stop: &Stop) -> Result<(), ServeError> {
    let spec: StackSpec = serde_json::from_slice(&fs::read(plan).map_err(ServeError::io(plan))?)
        .map_err(|e| ServeError::input(plan, e.to_string()))?;
    let folder = spec.folder();
    let _lock = hold(&folder.join("lock"))?;
    if tethered {
        let stop = stop.clone();
        thread::spawn(move || {
            let _ = io::stdin().read(&mut [0]);
            stop.request();
        });
    }
    let api_log = log(&folder.join("api.log"))?;
    let mut listen = spec.listen.clone();
    let mut state =
        StackState { api_url: String::new(), supervisor: std::process::id(), api: 0, restarts: 0, ready: false };
    let mut wait = FIRST_WAIT;
    loop {
        let ready_file = folder.join("api.ready");
        let _ = fs::remove_file(&ready_file);
        let began = Instant::now();
        let mut api = spawn_api(&spec, &listen, &ready_file, &api_log)?;
        state.api = api.id();
        state.ready = false;
        loop {
            if stop.requested() {
                end(&mut api);
                return Ok(());
            }
            if !state.ready
                && let Ok(url) = fs::read_to_string(&ready_file)
            {
                // A free port that was taken once is kept over restarts.
                listen = url.trim_start_matches("http://").to_owned();
                state.api_url = url;
                state.ready = true;
                write_state(&folder, &state)?;
            }
            if let Ok(Some(status)) = api.try_wait() {
                eprintln!("the api ended: {status}");
                if !state.ready && state.restarts == 0 {
                    return Err(ServeError::Stack(format!("the api ended at its start: {}", last_words(&folder))));
                }
                break;
            }
            thread::sleep(LOOK);
        }
        wait = if began.elapsed() > HEALTHY { FIRST_WAIT } else { (wait * 2).min(FIRST_WAIT * 100) };
        state.restarts += 1;
        state.ready = false;
        write_state(&folder, &state)?;
        let again = Instant::now() + wait;
        while Instant::now() < again && !stop.requested() {
            thread::sleep(LOOK);
        }
    }
}

/// Takes the lock; who asks for the status holds it for a moment too.
fn hold(path: &Path) -> Result<Lock, ServeError> {
    let mut tries = 0;
    loop {
        match Lock::take(path, &std::process::id().to_string()) {
            Err(LockError::Held { .. }) if tries < 20 => thread::sleep(LOOK),
            taken => return taken.map_err(|e| ServeError::Stack(e.to_string())),
        }
        tries += 1;
    }
}

fn write_state(folder: &Path, state: &StackState) -> Result<(), ServeError> {
    let text = serde_json::to_vec_pretty(state).map_err(|e| ServeError::Stack(e.to_string()))?;
    durable::write(&folder.join("state.json"), &text).map_err(ServeError::io(folder))
}

fn spawn_api(spec: &StackSpec, listen: &str, ready: &Path, log: &File) -> Result<Child, ServeError> {
    let secret = secret::of_stack(&spec.home)?;
    let mut command = Command::new(own_binary()?);
    command.args(["serve", "--listen", listen, "--ready-file"]).arg(ready).arg("--items").arg(&spec.items);
    if let Some(store) = &spec.store {
        command.arg("--store").arg(format!("embedded:{}", store.display()));
    }
    if let Some(model) = spec.model.as_ref().filter(|m| m.exists()) {
        command.arg("--model").arg(model);
    }
    if let Some(tps) = spec.campaign_tps {
        command.arg("--campaign-tps").arg(tps.to_string());
    }
    command.env(secret::VARIABLE, <std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(secret));
    let copy = || log.try_clone().map(Stdio::from).map_err(ServeError::io(&spec.home));
    command.stdin(Stdio::null()).stdout(copy()?).stderr(copy()?);
    let parent = std::process::id();
    // SAFETY: `prctl` and `getppid` are async-signal-safe. The supervisor spawns on its main thread, which lives as long
    // as it does: the kernel sends the signal when that thread ends.
    unsafe {
        command.pre_exec(move || {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            if libc::getppid() as u32 != parent {
                return Err(io::Error::other("the supervisor is gone"));
            }
            Ok(())
        });
    }
    command.spawn().map_err(ServeError::io(&spec.home))
}

/// Asks the child to drain, and kills it when it takes too long.
fn end(child: &mut Child) {
    // SAFETY: the child is ours and not waited for yet, so its number is its own.
    unsafe { libc::kill(child.id() as i32, libc::SIGTERM) };
    let began = Instant::now();
    while began.elapsed() < DRAIN {
        if matches!(child.try_wait(), Ok(Some(_)) | Err(_)) {
            return;
        }
        thread::sleep(LOOK);
    }
    let _ = child.kill();
    let _ = child.wait();
}
