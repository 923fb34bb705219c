//! The whole stack on one machine: up, down, status; a supervisor holds the parts, and they end with it.
//!
//! The supervisor is this same binary in a session of its own, so that `up` can return and a closed terminal ends
//! nothing. It holds the lock, and the kernel gives that back however it dies; the parts ask the kernel to be ended with
//! their supervisor. Nothing is guessed from process numbers alone: a number without the lock is a leftover.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::api::PROCESS;
use super::error::ServeError;
use super::faults;
use super::secret;
use super::trouble::Trouble;
use crate::durable;

/// The longest that a part may take until it answers.
const READY: Duration = Duration::from_secs(20);
/// The longest that `down` waits before it ends the supervisor by force.
const PATIENCE: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(20);
const ASK: Duration = Duration::from_secs(2);
/// The most that is read of an answer whose head is wanted.
const MOST_HEAD: u64 = 4096;

/// What the stack is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StackSpec {
    /// `SERIN_HOME`.
    pub home: PathBuf,
    pub items: PathBuf,
    /// As `serin serve --store` takes it.
    pub store: String,
    /// A model to score live those who have no list.
    pub model: Option<PathBuf>,
    pub listen: SocketAddr,
    /// How many API processes answer there.
    #[serde(default = "one")]
    pub replicas: u16,
    /// Whether the stack ends with the process that called `up`.
    pub attached: bool,
    /// A second version of the API; then a router listens in the API's place and splits viewers between the two.
    #[serde(default)]
    pub canary: Option<CanarySpec>,
}

/// The second version, and the router before both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CanarySpec {
    /// Its lists and its model; neither: those of the first version.
    pub store: Option<String>,
    pub model: Option<PathBuf>,
    /// What it suffers.
    pub trouble: Trouble,
    /// What viewers are dealt by.
    pub salt: String,
    /// After so many seconds the router's numbers cannot be read any more.
    pub mute_after_s: Option<f64>,
    /// Where the versions themselves listen.
    pub versions: [SocketAddr; 2],
}

impl CanarySpec {
    /// A second version that is the first again, on two free ports of this machine.
    pub fn same(salt: &str) -> io::Result<Self> {
        let held = [TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?, TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?];
        let versions = [held[0].local_addr()?, held[1].local_addr()?];
        Ok(Self {
            store: None,
            model: None,
            trouble: Trouble::default(),
            salt: salt.to_owned(),
            mute_after_s: None,
            versions,
        })
    }
}

fn one() -> u16 {
    1
}

/// What runs, as the supervisor writes it down.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StackState {
    pub supervisor: u32,
    pub api_url: String,
    pub parts: Vec<PartState>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartState {
    pub name: String,
    /// `None` while it is down.
    pub pid: Option<u32>,
    pub url: String,
    pub restarts: u32,
    /// How it ended last, if it did.
    pub ended: Option<String>,
}

impl PartState {
    /// Whether it runs, and says by itself that it can answer; a stranger who answers in its place is not it.
    pub fn is_ready(&self) -> bool {
        let at = self.url.trim_start_matches("http://").parse();
        self.pid.is_some() && at.is_ok_and(|at| ready(at) == self.pid)
    }
}

/// A stack that is up.
#[derive(Debug)]
pub struct StackHandle {
    pub state: StackState,
    home: PathBuf,
}

impl StackHandle {
    pub fn down(self) -> Result<(), ServeError> {
        down(&self.home).map(|_| ())
    }
}

/// What the second version is called among the parts.
pub const CANARY: &str = "api-canary";

/// Returns the folder of the stack's state and logs.
pub fn folder(home: &Path) -> PathBuf {
    home.join("stack")
}

pub(super) fn state_file(home: &Path) -> PathBuf {
    folder(home).join("state.json")
}

/// Where the router keeps its share over a restart of its own.
pub(super) fn share_file(home: &Path) -> PathBuf {
    folder(home).join("share.json")
}

/// Returns the share of viewers that the router of the stack last gave its canary.
pub fn share(home: &Path) -> f64 {
    let kept = fs::read(share_file(home)).ok().and_then(|b| serde_json::from_slice::<serde_json::Value>(&b).ok());
    kept.and_then(|k| k["share"].as_f64()).unwrap_or(0.0)
}

pub(super) fn lock_file(home: &Path) -> PathBuf {
    folder(home).join("supervisor.lock")
}

/// Starts the stack and returns when its API is ready; an error leaves nothing running.
pub fn up(spec: &StackSpec) -> Result<StackHandle, ServeError> {
    if let Some(state) = running(&spec.home)? {
        let pid = state.supervisor;
        return Err(ServeError::Stack(format!("the stack is already up at {} (process {pid})", state.api_url)));
    }
    let port_in_use = |_| ServeError::PortInUse { host: spec.listen.ip().to_string(), port: spec.listen.port() };
    drop(TcpListener::bind(spec.listen).map_err(port_in_use)?);
    secret::ensure(&spec.home)?;
    let place = folder(&spec.home);
    fs::create_dir_all(&place).map_err(ServeError::io(&place))?;
    let _ = fs::remove_file(state_file(&spec.home));
    // What an earlier stack said last is no reason of this one.
    let _ = fs::remove_file(place.join("api.log"));
    faults::forget(&spec.home);
    // A new stack begins with nobody in its canary.
    let _ = fs::remove_file(share_file(&spec.home));
    let trouble = spec.canary.as_ref().map_or_else(Trouble::default, |c| c.trouble.clone());
    trouble.write(&faults::trouble_file(&spec.home, CANARY))?;
    let wish = place.join("spec.json");
    let text = serde_json::to_vec_pretty(spec).map_err(|e| ServeError::Stack(e.to_string()))?;
    durable::write(&wish, &text).map_err(ServeError::io(&wish))?;
    let log = File::create(place.join("supervisor.log")).map_err(ServeError::io(&place))?;
    let mut supervisor = supervise(&wish, log).map_err(|e| ServeError::Stack(format!("cannot start it: {e}")))?;
    let waited = wait_ready(spec, &mut supervisor);
    if waited.is_err() {
        // SAFETY: plain kill of a child that was not yet waited for.
        unsafe { libc::kill(supervisor.id() as libc::pid_t, libc::SIGTERM) };
        let _ = supervisor.wait();
    } else {
        // Reaps it if it ends before this process does.
        thread::spawn(move || supervisor.wait());
    }
    waited.map(|state| StackHandle { state, home: spec.home.clone() })
}

fn supervise(wish: &Path, log: File) -> io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["stack", "supervise"]).arg(wish);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    // SAFETY: setsid is async-signal-safe.
    unsafe {
        command.pre_exec(|| if libc::setsid() < 0 { Err(io::Error::last_os_error()) } else { Ok(()) });
    }
    command.spawn()
}

fn wait_ready(spec: &StackSpec, supervisor: &mut Child) -> Result<StackState, ServeError> {
    let began = Instant::now();
    loop {
        if supervisor.try_wait().map_err(|e| ServeError::Stack(e.to_string()))?.is_some() {
            return Err(ServeError::Stack(format!("the stack ended before it was ready: {}", last_words(&spec.home))));
        }
        let ours = |s: &StackState| ready(spec.listen).is_some_and(|pid| s.parts.iter().any(|p| p.pid == Some(pid)));
        let well = |s: &StackState| s.parts.iter().all(PartState::is_ready) && ours(s);
        if let Some(state) = read_state(&spec.home).filter(well) {
            return Ok(state);
        }
        if began.elapsed() > READY || crate::stop::signalled() {
            let seconds = began.elapsed().as_secs();
            return Err(ServeError::Stack(format!("not ready after {seconds} s: {}", last_words(&spec.home))));
        }
        thread::sleep(STEP);
    }
}

/// The last line that a part wrote before it ended; where the reason stands.
fn last_words(home: &Path) -> String {
    let read = |name: &str| fs::read_to_string(folder(home).join(name)).unwrap_or_default();
    let last = |text: String| text.lines().rev().find(|l| l.starts_with("error")).map(str::to_owned);
    let said = last(read("api.log")).or_else(|| last(read("supervisor.log")));
    said.unwrap_or_else(|| format!("its logs are in {}", folder(home).display()))
}

/// Ends the stack; returns whether one was up.
pub fn down(home: &Path) -> Result<bool, ServeError> {
    let Some(state) = running(home)? else {
        let _ = fs::remove_file(state_file(home));
        return Ok(false);
    };
    let pid = state.supervisor as libc::pid_t;
    let began = Instant::now();
    // SAFETY: the lock says that this process is the supervisor.
    unsafe { libc::kill(pid, libc::SIGTERM) };
    while is_held(home)? {
        if began.elapsed() > PATIENCE {
            // Its parts end with it: they asked the kernel for that.
            // SAFETY: as above.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
        thread::sleep(STEP);
    }
    let _ = fs::remove_file(state_file(home));
    Ok(true)
}

/// Returns what runs, or `None`; what a dead supervisor left behind does not count.
pub fn running(home: &Path) -> Result<Option<StackState>, ServeError> {
    Ok(if is_held(home)? { read_state(home) } else { None })
}

/// Returns what the stack that runs was asked to be.
pub fn spec(home: &Path) -> Result<StackSpec, ServeError> {
    let path = folder(home).join("spec.json");
    let bytes = fs::read(&path).map_err(ServeError::io(&path))?;
    serde_json::from_slice(&bytes).map_err(|e| ServeError::input(&path, e.to_string()))
}

fn is_held(home: &Path) -> Result<bool, ServeError> {
    let path = lock_file(home);
    // A look shares the lock with other looks, and leaves the holder's name alone.
    let held = match File::open(&path) {
        Ok(file) => file.try_lock_shared(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(ServeError::io(path)(e)),
    };
    match held {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(e)) => Err(ServeError::io(path)(e)),
    }
}

fn read_state(home: &Path) -> Option<StackState> {
    serde_json::from_slice(&fs::read(state_file(home)).ok()?).ok()
}

/// Returns the process that says at an address that it can answer.
fn ready(at: SocketAddr) -> Option<u32> {
    let head = ask_ready(at).ok().filter(|head| head.starts_with("http/1.1 200"))?;
    let told = head.lines().find_map(|line| line.strip_prefix(PROCESS)?.strip_prefix(':'));
    told?.trim().parse().ok()
}

/// Returns the head of the answer, in small letters.
fn ask_ready(at: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&at, ASK)?;
    stream.set_read_timeout(Some(ASK))?;
    stream.write_all(format!("GET /health/ready HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.take(MOST_HEAD).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).to_lowercase();
    Ok(answer.split("\r\n\r\n").next().unwrap_or_default().to_owned())
}

/// Keeps an address for one stack of this machine, whoever's it is, until the process ends.
///
/// Replicas share their port, so that the kernel would let two stacks share it as well, and give each the other's viewers.
pub(super) fn hold_address(at: SocketAddr) -> Result<UnixListener, ServeError> {
    let name = UnixAddress::from_abstract_name(format!("serin-stack {at}"));
    name.and_then(|name| UnixListener::bind_addr(&name)).map_err(|e| match e.kind() {
        io::ErrorKind::AddrInUse => ServeError::PortInUse { host: at.ip().to_string(), port: at.port() },
        _ => ServeError::Listen { address: at.to_string(), source: e },
    })
}
