//! More API processes like the stack's own: each is ready when it is handed out, and ends with whoever holds it.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::error::ServeError;
use super::secret;
use super::stack::StackSpec;
use super::supervisor::end_with_parent;

/// How long one may take to end in good order.
const DRAIN: Duration = Duration::from_secs(3);

/// One API process on a free port.
#[derive(Debug)]
pub struct Replica {
    pub url: String,
    child: Child,
}

impl Replica {
    /// Starts one that serves what a stack serves.
    pub fn start(spec: &StackSpec) -> Result<Self, ServeError> {
        let failed = |e: std::io::Error| ServeError::Stack(format!("a replica cannot be started: {e}"));
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command.args(["serve", "--listen", "127.0.0.1:0", "--threads", "1", "--practice", "--store", &spec.store]);
        command.arg("--items").arg(&spec.items);
        if let Some(model) = &spec.model {
            command.arg("--model").arg(model);
        }
        command.env("SERIN_JWT_SECRET", secret::ensure(&spec.home)?);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        // SAFETY: prctl and getppid are async-signal-safe.
        unsafe {
            command.pre_exec(|| end_with_parent(libc::SIGKILL));
        }
        let mut child = command.spawn().map_err(failed)?;
        let said = child.stderr.take().map(BufReader::new);
        match said.and_then(ready) {
            Some(url) => Ok(Self { url, child }),
            None => {
                let _ = child.kill();
                let _ = child.wait();
                Err(ServeError::Stack(format!("a replica ended before it was ready; it serves {}", shown(&spec.items))))
            }
        }
    }

    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        // SAFETY: plain kill of a child that was not yet waited for.
        unsafe { libc::kill(self.child.id() as libc::pid_t, libc::SIGTERM) };
        let began = Instant::now();
        while began.elapsed() < DRAIN {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Reads until it says where it listens; what it says afterwards is read and forgotten, so that it never waits for us.
fn ready(mut said: BufReader<std::process::ChildStderr>) -> Option<String> {
    let mut line = String::new();
    // One that is up and has nothing to answer is of no use here.
    while said.read_line(&mut line).ok()? > 0 && !line.starts_with("not ready: ") {
        if let Some(url) = line.strip_prefix("ready: ").and_then(|l| l.split(' ').next()) {
            let url = url.trim().to_owned();
            thread::spawn(move || said.lines().map_while(Result::ok).for_each(drop));
            return Some(url);
        }
        line.clear();
    }
    None
}
