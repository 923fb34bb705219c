//! What sets capacity: set it, read it back, and look at what goes through it. Its kinds live in `knobs/`.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::stop::Stop;

/// What went through since the last look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look {
    /// Units of capacity a second that were asked for, those of throttled requests among them.
    pub units: f64,
    /// Requests that were throttled since the last look.
    pub throttled: f64,
    pub p99_ms: Option<f64>,
    /// Share of the requests that failed otherwise; `None` where nobody counts it.
    pub errors: Option<f64>,
}

#[derive(Debug, thiserror::Error)]
pub enum KnobError {
    #[error("{what}: {why}")]
    Failed { what: String, why: String },
    /// It has no capacity that could be set: a table on demand, say.
    #[error("{0}")]
    Unfit(String),
    /// It is well and says no for now: too many decreases today, another change under way.
    #[error("{0}")]
    NotNow(String),
    /// It is well, and nothing is known of the time since the last look: a gap in what is played.
    #[error("{0}")]
    Gap(String),
}

/// How long a change may take until it can be read back, unless the knob says otherwise.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks at the meter.
const LOOK: Duration = Duration::from_secs(1);

/// The rhythm of the world that a knob turns in.
#[derive(Clone, Copy, Debug)]
pub struct Rhythm {
    /// Between two readings of the knob, besides those after an act.
    pub read: Duration,
    /// Demand is kept in the journal in pieces of so many seconds.
    pub piece_s: f64,
    /// An objective missed for so many seconds is broken, where that is not as the plan says.
    pub broken_s: Option<f64>,
    /// How long after it its meter still tells of what was asked.
    pub late_s: f64,
    /// When its time is over, where that is known: then it is walked to its end, also when nothing is left to do.
    pub until: Option<f64>,
}

impl Default for Rhythm {
    fn default() -> Self {
        Self { read: Duration::from_secs(10), piece_s: 60.0, broken_s: None, late_s: 240.0, until: None }
    }
}

pub trait Knob {
    /// What it turns, for a person.
    fn name(&self) -> String;

    /// How long a change may take until `read` tells it.
    fn patience(&self) -> Duration {
        PATIENCE
    }

    fn rhythm(&self) -> Rhythm {
        Rhythm::default()
    }

    /// The time it lives in, UNIX seconds: a played world has its own.
    fn now(&self) -> f64 {
        clock()
    }

    /// Lets time go on until the next look; returns whether there is any more of it.
    fn pass(&mut self, stop: &Stop) -> Result<bool, KnobError> {
        nap(LOOK, stop);
        Ok(true)
    }

    /// The capacity in force.
    fn read(&mut self) -> Result<u64, KnobError>;

    /// Asks for a capacity; whether it came about, only `read` tells.
    fn set(&mut self, from: u64, to: u64) -> Result<(), KnobError>;

    fn look(&mut self) -> Result<Look, KnobError>;
}

/// The time by everybody's clock.
pub fn clock() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

/// Sleeps, but no longer than anybody wishes.
pub fn nap(time: Duration, stop: &Stop) {
    let end = Instant::now() + time;
    while !stop.requested() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        std::thread::sleep(left.min(Duration::from_millis(20)));
    }
}
