//! Programs of the user's: one sets, one reads back, one meters; the capacity stands in the environment.

use std::time::Duration;

use serde::Deserialize;

use crate::cost::knob::{Knob, KnobError, Look};
use crate::cost::plan::Command;
use crate::program;

const LONGEST: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct Programs {
    programs: Command,
    writes: bool,
    per_request: f64,
}

/// What the meter prints, for the time since it was asked last.
#[derive(Debug, Deserialize)]
struct Printed {
    reads_per_second: Option<f64>,
    writes_per_second: Option<f64>,
    throttled: f64,
    p99_ms: Option<f64>,
    errors: Option<f64>,
}

impl Programs {
    pub fn new(programs: Command, writes: bool, per_request: f64) -> Self {
        Self { programs, writes, per_request }
    }
}

impl Knob for Programs {
    fn name(&self) -> String {
        self.programs.set.join(" ")
    }

    fn read(&mut self) -> Result<u64, KnobError> {
        let out = run(&self.programs.read, &[])?;
        let failed = |_| failed(&self.programs.read, format!("printed `{}`, not a whole number", out.trim()));
        out.trim().parse().map_err(failed)
    }

    fn set(&mut self, from: u64, to: u64) -> Result<(), KnobError> {
        let capacities = [("SERIN_CAPACITY", to.to_string()), ("SERIN_CAPACITY_BEFORE", from.to_string())];
        run(&self.programs.set, &capacities).map(|_| ())
    }

    fn look(&mut self) -> Result<Look, KnobError> {
        let out = run(&self.programs.meter, &[])?;
        let bad = |why: String| failed(&self.programs.meter, why);
        let printed: Printed =
            serde_json::from_str(out.trim()).map_err(|e| bad(format!("printed `{}`: {e}", out.trim())))?;
        let (key, rate) = if self.writes {
            ("writes_per_second", printed.writes_per_second)
        } else {
            ("reads_per_second", printed.reads_per_second)
        };
        let rate = rate.ok_or_else(|| bad(format!("printed no {key}")))?;
        let whole = |v: f64| v.is_finite() && v >= 0.0;
        let others = [printed.p99_ms, printed.errors];
        if !whole(rate) || !whole(printed.throttled) || others.into_iter().flatten().any(|v| !whole(v)) {
            return Err(bad(format!("printed a number below 0: {}", out.trim())));
        }
        if printed.errors.is_some_and(|share| share > 1.0) {
            return Err(bad(format!("printed {:?} as the share of errors; it is from 0 to 1", printed.errors)));
        }
        let Printed { throttled, p99_ms, errors, .. } = printed;
        Ok(Look { units: rate * self.per_request, throttled, p99_ms, errors })
    }
}

fn failed(words: &[String], why: String) -> KnobError {
    KnobError::Failed { what: words.join(" "), why }
}

fn run(words: &[String], environment: &[(&str, String)]) -> Result<String, KnobError> {
    program::run(words, environment, LONGEST).map_err(|why| failed(words, why))
}
