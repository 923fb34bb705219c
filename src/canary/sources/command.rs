//! A program of the user's prints one interval: the numbers of each side since it was asked last.

use std::time::Duration;

use crate::canary::source::{Source, Taken};
use crate::judge::interval::Interval;
use crate::program;

/// Numbers that take longer than this are too late to hold a canary by.
const LONGEST: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Printed(Vec<String>);

impl Printed {
    pub fn new(words: Vec<String>) -> Self {
        Self(words)
    }
}

impl Source for Printed {
    fn name(&self) -> String {
        self.0.join(" ")
    }

    fn take(&mut self) -> Result<Taken, String> {
        let named = |why: String| format!("{}: {why}", self.name());
        let out = program::run(&self.0, &[], LONGEST).map_err(named)?;
        // Its own clock is of no interest: the walk has one that does not jump.
        let mut line: serde_json::Value =
            serde_json::from_str(out.trim()).map_err(|e| named(format!("printed `{}`: {e}", short(&out))))?;
        line["t"] = 0.0.into();
        let interval =
            Interval::parse(&line.to_string()).map_err(|e| named(format!("printed `{}`: {e}", short(&out))))?;
        Ok(Taken { interval, viewers: None })
    }
}

fn short(text: &str) -> String {
    text.trim().chars().take(80).collect()
}
