//! `serin watch`: its flags, as a job; a line a moment on stdout, JSON lines with `--json`.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::cli::deployment;
use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::incident::signals::{self, Signals};
use crate::run::error::RunError;
use crate::run::jobs::watch;
use crate::stats::units::parse_duration;
use crate::watch::http::Asker;
use crate::watch::source::PATIENCE;

/// Live signals without a screen
///
/// Rate, errors, latency, saturation and ages, one line each few seconds; the error and latency budgets are watched
/// over three pairs of windows (1 h and 5 min, 6 h and 30 min, 3 d and 6 h). What was heard is kept, so that
/// `serin check` knows what is usual. Exit 1 when the last moment has an alert, 3 when it told nothing.
#[derive(clap::Args)]
#[command(after_help = "Example: serin watch --target local --every 5s --alert 'notify-send serin'")]
pub struct Watch {
    /// A target of serin.toml, or `local` for the local stack
    #[arg(long, value_name = "NAME")]
    target: String,
    /// How often to ask
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    every: Duration,
    /// How long to watch (else until stopped)
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    duration: Option<Duration>,
    /// A command that gets each new alert on its standard input, and once more when it is over; a repeated one is quiet
    #[arg(long, value_name = "COMMAND")]
    alert: Option<String>,
    /// An address that each new alert is posted to, as JSON with `text`, `target`, `at`
    #[arg(long, value_name = "URL")]
    webhook: Option<String>,
}

impl Watch {
    pub fn run(self, session: &Session) -> Result<Exit, RunError> {
        if self.every < Duration::from_secs(1) {
            return Err(RunError::misuse("--every is at least 1s: watching must not become load"));
        }
        let deployment = deployment::named(session, &self.target)?;
        let job = watch::Watch { deployment, every: self.every, duration: self.duration };
        let mut last: Option<Signals> = None;
        job.run(&session.home, &session.stop, |seen, fresh| {
            if session.global.json {
                println!("{}", serde_json::to_string(seen).unwrap_or_default());
            } else if !session.global.quiet {
                println!("{}", signals::line(seen));
            }
            for alert in fresh {
                eprintln!("{} {alert}", if alert.starts_with("over: ") { "✓" } else { "!" });
                if let Some(command) = &self.alert {
                    send(command, &format!("{}: {alert}", seen.target));
                }
                if let Some(url) = &self.webhook {
                    post(url, seen, alert);
                }
            }
            last = Some(seen.clone());
        })?;
        Ok(match last {
            _ if session.stop.requested() => Exit::Stopped,
            Some(s) if s.rate.is_none() && s.up == 0 => Exit::CannotTell,
            None => Exit::CannotTell,
            Some(s) if !s.alerts.is_empty() => Exit::No,
            Some(_) => Exit::Go,
        })
    }
}

/// Posts one alert; that nobody takes it is said, and the watch goes on.
fn post(url: &str, seen: &Signals, alert: &str) {
    let text = format!("{}: {alert}", seen.target);
    let body = serde_json::json!({"text": text, "target": seen.target, "alert": alert, "at": seen.at});
    let url = url.to_owned();
    // In its own thread, so that a slow receiver holds up no number.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let sent = runtime.map_err(|e| e.to_string()).and_then(|runtime| {
            let asker = Asker::new(PATIENCE).map_err(|e| e.to_string())?;
            runtime.block_on(asker.post(&url, &body)).map_err(|e| e.to_string())
        });
        if let Err(why) = sent {
            eprintln!("the webhook failed: {why}");
        }
    });
}

/// Hands one alert to a command of the user's; that it fails is said, and the watch goes on.
fn send(command: &str, alert: &str) {
    let child = Command::new("sh").args(["-c", command]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
    let sent = child.and_then(|mut child| {
        if let Some(mut input) = child.stdin.take() {
            writeln!(input, "{alert}")?;
        }
        // Waited for elsewhere, so that a slow command holds up no number.
        std::thread::spawn(move || child.wait());
        Ok(())
    });
    if let Err(e) = sent {
        eprintln!("the alert command failed: {e}");
    }
}
