//! Programs of the user's: one sets the share, one reads it back; it stands in the environment.

use std::time::Duration;

use serde::Deserialize;

use crate::canary::driver::{Driver, DriverError};
use crate::canary::split::Counted;
use crate::canary::wiring::Command;
use crate::program;
use crate::stats::units::parse_share;

const LONGEST: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct Programs(Command);

#[derive(Deserialize)]
struct Printed {
    canary: f64,
    all: f64,
}

impl Programs {
    pub fn new(programs: Command) -> Self {
        Self(programs)
    }
}

fn run(words: &[String], environment: &[(&str, String)]) -> Result<String, DriverError> {
    program::run(words, environment, LONGEST).map_err(|why| DriverError::new(words.join(" "), why))
}

impl Driver for Programs {
    fn name(&self) -> String {
        self.0.set.join(" ")
    }

    fn read(&mut self) -> Result<f64, DriverError> {
        let out = run(&self.0.read, &[])?;
        let share = parse_share(out.trim());
        share.map(|s| s.0).map_err(|why| DriverError::new(self.0.read.join(" "), format!("printed {why}")))
    }

    fn set(&mut self, share: f64) -> Result<(), DriverError> {
        let percent = format!("{}", (share * 1e6).round() / 1e4);
        let shares = [("SERIN_SHARE", share.to_string()), ("SERIN_PERCENT", percent)];
        run(&self.0.set, &shares).map(|_| ())
    }

    fn requests(&mut self) -> Result<Option<Counted>, DriverError> {
        let Some(words) = &self.0.requests else { return Ok(None) };
        let out = run(words, &[])?;
        let printed: Printed = serde_json::from_str(out.trim())
            .map_err(|e| DriverError::new(words.join(" "), format!("printed `{}`: {e}", out.trim())))?;
        Ok(Some(Counted { canary: printed.canary, all: printed.all }))
    }
}
