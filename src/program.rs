//! A program of the user's, run to its end within a bound: what it printed, or why not.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The most that is read of what a program prints.
const MOST_BYTES: u64 = 1 << 20;

/// Runs a program, or kills it when it takes too long; returns what it printed.
pub fn run(words: &[String], environment: &[(&str, String)], longest: Duration) -> Result<String, String> {
    run_until(words, environment, longest, &|| false)
}

/// Runs a program likewise, and kills it too when somebody asks to stop.
pub fn run_until(
    words: &[String],
    environment: &[(&str, String)],
    longest: Duration,
    stop: &dyn Fn() -> bool,
) -> Result<String, String> {
    let (program, arguments) = words.split_first().ok_or_else(|| "is empty".to_owned())?;
    let mut process = Command::new(program);
    process.args(arguments).envs(environment.iter().map(|(k, v)| (k, v)));
    process.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = process.spawn().map_err(|e| format!("cannot be started: {e}"))?;
    // Read beside, so that a program that prints much is not stopped by a full pipe.
    let reader = |from: Option<Box<dyn Read + Send>>| {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            if let Some(from) = from {
                let _ = from.take(MOST_BYTES).read_to_end(&mut text);
            }
            String::from_utf8_lossy(&text).into_owned()
        })
    };
    let out = reader(child.stdout.take().map(|p| Box::new(p) as Box<dyn Read + Send>));
    let errors = reader(child.stderr.take().map(|p| Box::new(p) as Box<dyn Read + Send>));
    let began = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if began.elapsed() > longest => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("gave no answer within {} s", longest.as_secs()));
            }
            Ok(None) if stop() => {
                let _ = child.kill();
                let _ = child.wait();
                return Err("was given up".to_owned());
            }
            Ok(None) => std::thread::sleep(Duration::from_millis(2)),
            Err(e) => return Err(e.to_string()),
        }
    };
    let text = out.join().unwrap_or_default();
    if status.success() {
        return Ok(text);
    }
    let errors = errors.join().unwrap_or_default();
    let said = errors.trim().lines().last().unwrap_or("said nothing").to_owned();
    Err(format!("ended with {status}: {said}"))
}
