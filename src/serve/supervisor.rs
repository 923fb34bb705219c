//! Holds the parts of the local stack: starts them, starts them again when they crash, ends them with itself.

use std::fs::{File, OpenOptions};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::error::ServeError;
use super::faults::{storm_file, trouble_file};
use super::secret;
use super::stack::{
    self, CANARY, CanarySpec, PartState, StackSpec, StackState, folder, lock_file, share_file, state_file,
};
use super::trouble::Trouble;
use crate::durable;
use crate::lock::{Lock, LockError};

/// How soon a crashed part is started again; doubled each time, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A part that ran this long has recovered.
const RECOVERED: Duration = Duration::from_secs(10);
/// How long a part may take to end in good order.
const DRAIN: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(50);
/// How often the lock is tried before somebody else is believed to hold it.
const TRIES: u32 = 10;
/// A campaign's quota, requests a second.
const CAMPAIGN_TPS: &str = "500";
/// Misuse: starting the same again would end the same.
const MISUSE: i32 = 2;

struct Part {
    state: PartState,
    arguments: Vec<String>,
    child: Option<Child>,
    started: Instant,
    pause: Duration,
}

/// Runs until asked to stop, or until a part cannot be started at all. The body of the supervisor process.
pub fn run(wish: &Path) -> Result<(), ServeError> {
    let bytes = std::fs::read(wish).map_err(ServeError::io(wish))?;
    let spec: StackSpec = serde_json::from_slice(&bytes).map_err(|e| ServeError::input(wish, e.to_string()))?;
    let holder = format!("the stack's supervisor, process {}", std::process::id());
    let _lock = take(&lock_file(&spec.home), &holder).map_err(|e| ServeError::Stack(e.to_string()))?;
    let _address = stack::hold_address(spec.listen)?;
    if spec.attached {
        end_with_parent(libc::SIGTERM).map_err(|e| ServeError::Stack(e.to_string()))?;
    }
    let secret = secret::ensure(&spec.home)?;
    let mut parts = parts(&spec)?;
    let mut storm = Storm::default();
    let ended = hold(&spec, &secret, &mut parts, &mut storm);
    parts.iter_mut().for_each(Part::end);
    storm.end();
    let _ = std::fs::remove_file(state_file(&spec.home));
    ended
}

/// Takes the lock; who only looks whether a stack is up has it for an instant.
fn take(path: &Path, holder: &str) -> Result<Lock, LockError> {
    let mut taken = Lock::take(path, holder);
    for _ in 0..TRIES {
        if !matches!(taken, Err(LockError::Held { .. })) {
            break;
        }
        thread::sleep(LOOK);
        taken = Lock::take(path, holder);
    }
    taken
}

/// The API: one process at the stack's address, or several that share it, each with an address of its own beside.
fn replicas(spec: &StackSpec) -> Result<Vec<Part>, ServeError> {
    if spec.replicas <= 1 {
        return Ok(vec![api(spec)]);
    }
    let failed = |e: io::Error| ServeError::Stack(format!("no port is free on 127.0.0.1: {e}"));
    // All are held until all are found, so that none is found twice.
    let held = (0..spec.replicas).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    let held = held.collect::<io::Result<Vec<_>>>().map_err(failed)?;
    let mut parts = Vec::new();
    for (at, listener) in held.iter().enumerate() {
        let own = listener.local_addr().map_err(failed)?;
        let mut part = api(&StackSpec { listen: own, ..spec.clone() });
        part.arguments.extend(["--shared".to_owned(), spec.listen.to_string()]);
        if at > 0 {
            part.rename(&spec.home, &format!("api-{}", at + 1));
        }
        parts.push(part);
    }
    Ok(parts)
}

/// The API alone; or two versions of it, and the router that listens in its place.
fn parts(spec: &StackSpec) -> Result<Vec<Part>, ServeError> {
    let Some(canary) = &spec.canary else { return replicas(spec) };
    let [first, second] = canary.versions;
    let own = canary.store.is_none() && canary.model.is_none();
    let version = StackSpec {
        listen: second,
        store: if own { spec.store.clone() } else { canary.store.clone().unwrap_or_default() },
        model: if own { spec.model.clone() } else { canary.model.clone() },
        ..spec.clone()
    };
    let mut second_api = api(&version);
    second_api.rename(&spec.home, CANARY);
    Ok(vec![api(&StackSpec { listen: first, ..spec.clone() }), second_api, router(spec, canary)])
}

fn router(spec: &StackSpec, canary: &CanarySpec) -> Part {
    let [baseline, version] = canary.versions.map(|a| a.to_string());
    let (listen, state) = (spec.listen.to_string(), share_file(&spec.home).display().to_string());
    let words = ["stack", "route", "--listen", &listen, "--baseline", &baseline, "--canary", &version];
    let mut arguments: Vec<String> = words.map(str::to_owned).into();
    arguments.extend(["--salt".to_owned(), canary.salt.clone(), "--state".to_owned(), state]);
    if let Some(after) = canary.mute_after_s {
        arguments.extend(["--mute-after".to_owned(), format!("{after}s")]);
    }
    part("router", &listen, arguments)
}

fn part(name: &str, listen: &str, arguments: Vec<String>) -> Part {
    let url = format!("http://{listen}");
    let state = PartState { name: name.to_owned(), pid: None, url, restarts: 0, ended: None };
    Part { state, arguments, child: None, started: Instant::now(), pause: Duration::ZERO }
}

fn api(spec: &StackSpec) -> Part {
    let listen = spec.listen.to_string();
    let items = spec.items.display().to_string();
    let mut arguments: Vec<String> = ["serve", "--listen", &listen, "--items", &items].map(str::to_owned).into();
    if !spec.store.is_empty() {
        arguments.extend(["--store".to_owned(), spec.store.clone()]);
    }
    arguments.push("--practice".to_owned());
    // The Personalize wire has the wall that a campaign has.
    arguments.extend(["--campaign-tps".to_owned(), CAMPAIGN_TPS.to_owned()]);
    if let Some(model) = &spec.model {
        arguments.extend(["--model".to_owned(), model.display().to_string()]);
    }
    let mut part = part("api", &listen, arguments);
    part.rename(&spec.home, "api");
    part
}

/// Clients who repeat what was answered already: a load of ours, as long as the file asks for it.
#[derive(Default)]
struct Storm {
    rate: Option<f64>,
    child: Option<Child>,
}

impl Storm {
    fn look(&mut self, spec: &StackSpec) {
        let asked = std::fs::read(storm_file(&spec.home)).ok().and_then(|b| serde_json::from_slice::<f64>(&b).ok());
        let over = self.child.as_mut().is_some_and(|c| !matches!(c.try_wait(), Ok(None)));
        if asked == self.rate && !over {
            return;
        }
        self.end();
        self.rate = asked;
        if let Some(rate) = asked {
            // A storm that cannot begin is none: the log says why.
            self.child = storm(spec, rate).map_err(|e| eprintln!("no storm: {e}")).ok();
        }
    }

    fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn storm(spec: &StackSpec, rate: f64) -> io::Result<Child> {
    let place = folder(&spec.home).join("storm");
    std::fs::create_dir_all(&place)?;
    // What the user calls `local` is not asked here.
    std::fs::write(place.join("none.toml"), "")?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args([
        "load",
        "evening-short",
        "--target",
        "local",
        "--duration",
        "1h",
        "--header",
        "x-envoy-attempt-count: 3",
    ]);
    command.args(["--rate", &rate.to_string(), "--quiet", "--config", "none.toml", "--out", "runs"]);
    command.current_dir(&place).env("SERIN_HOME", std::path::absolute(&spec.home)?);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(place.join("storm.log"))?);
    // SAFETY: prctl and getppid are async-signal-safe.
    unsafe {
        command.pre_exec(|| end_with_parent(libc::SIGKILL));
    }
    command.spawn()
}

fn hold(spec: &StackSpec, secret: &str, parts: &mut [Part], storm: &mut Storm) -> Result<(), ServeError> {
    while !crate::stop::signalled() {
        storm.look(spec);
        let mut changed = false;
        for part in &mut *parts {
            changed |= part.look(spec, secret)?;
        }
        if changed {
            let state = StackState {
                supervisor: std::process::id(),
                api_url: format!("http://{}", spec.listen),
                parts: parts.iter().map(|p| p.state.clone()).collect(),
            };
            let text = serde_json::to_vec_pretty(&state).map_err(|e| ServeError::Stack(e.to_string()))?;
            let path = state_file(&spec.home);
            durable::write(&path, &text).map_err(ServeError::io(path))?;
        }
        thread::sleep(LOOK);
    }
    Ok(())
}

impl Part {
    /// Gives it its name, and the file that says what it suffers.
    fn rename(&mut self, home: &Path, name: &str) {
        name.clone_into(&mut self.state.name);
        let file = trouble_file(home, name).display().to_string();
        match self.arguments.iter().position(|a| a == "--trouble") {
            Some(at) => self.arguments[at + 1] = file,
            None => self.arguments.extend(["--trouble".to_owned(), file]),
        }
    }

    /// Starts it when it is due, notes when it ended; returns whether anything changed.
    fn look(&mut self, spec: &StackSpec, secret: &str) -> Result<bool, ServeError> {
        let failed = |e: io::Error| ServeError::Stack(format!("cannot run a part of the stack: {e}"));
        if Trouble::read(&trouble_file(&spec.home, &self.state.name)).is_ok_and(|t| t.dead) {
            let Some(mut child) = self.child.take() else { return Ok(false) };
            child.kill().map_err(failed)?;
            self.state.ended = Some(told(child.wait().map_err(failed)?));
            self.state.pid = None;
            self.pause = Duration::ZERO;
            return Ok(true);
        }
        if let Some(child) = &mut self.child {
            let Some(status) = child.try_wait().map_err(failed)? else { return Ok(false) };
            self.child = None;
            self.state.pid = None;
            self.state.ended = Some(told(status));
            if status.code() == Some(MISUSE) {
                let name = &self.state.name;
                return Err(ServeError::Stack(format!("{name} cannot start as asked; see {name}.log")));
            }
            let recovered = self.started.elapsed() > RECOVERED;
            self.pause = if recovered { FIRST_PAUSE } else { (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE) };
            self.started = Instant::now();
            eprintln!("{}: {}; starts again in {:?}", self.state.name, told(status), self.pause);
            return Ok(true);
        }
        if self.started.elapsed() < self.pause {
            return Ok(false);
        }
        let child = self.spawn(&folder(&spec.home), secret).map_err(failed)?;
        self.state.restarts += u32::from(self.state.ended.is_some());
        self.state.pid = Some(child.id());
        self.child = Some(child);
        self.started = Instant::now();
        Ok(true)
    }

    fn spawn(&self, place: &Path, secret: &str) -> io::Result<Child> {
        let log: File =
            OpenOptions::new().create(true).append(true).open(place.join(format!("{}.log", self.state.name)))?;
        // Only what this start says is of interest, and a log must not grow with the years.
        log.set_len(0)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(&self.arguments).env("SERIN_JWT_SECRET", secret);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // SAFETY: prctl and getppid are async-signal-safe.
        unsafe {
            command.pre_exec(|| end_with_parent(libc::SIGKILL));
        }
        command.spawn()
    }

    /// Asks it to drain, then ends it.
    fn end(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // SAFETY: plain kill of a child that was not yet waited for.
        unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGTERM) };
        let began = Instant::now();
        while began.elapsed() < DRAIN {
            if !matches!(child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(LOOK);
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn told(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with {code}"),
        (None, Some(signal)) => format!("ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

/// Asks the kernel for `signal` when the parent dies; fails when it is dead already.
pub(super) fn end_with_parent(signal: libc::c_int) -> io::Result<()> {
    // SAFETY: both calls only read or set this process's own attributes.
    unsafe {
        if libc::prctl(libc::PR_SET_PDEATHSIG, signal) != 0 {
            return Err(io::Error::last_os_error());
        }
        if libc::getppid() == 1 {
            return Err(io::Error::other("the parent is gone"));
        }
    }
    Ok(())
}
