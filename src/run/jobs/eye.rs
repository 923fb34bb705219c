//! An eye on a target for who looks at a screen: each look asks its sources once and tells its parts and signals.

use std::path::Path;

use crate::incident::gather::{self, Deployment, Far, Moment};
use crate::incident::parts::{Part, parts};
use crate::incident::signals::{Signals, signals};
use crate::run::error::RunError;
use crate::watch::history::History;
use crate::watch::http::Asker;
use crate::watch::sample::Sample;
use crate::watch::series::Series;
use crate::watch::source::PATIENCE;

/// How far back a picture goes.
const PICTURE_S: f64 = 3600.0;
/// How much of the past a row is read from.
const ROW_S: f64 = 10.0;

/// What one look saw.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub target: String,
    pub parts: Vec<Part>,
    pub signals: Signals,
    /// The quantile that the objective limits, and its limit.
    pub limit_ms: f64,
}

pub struct Eye {
    pub deployment: Deployment,
    asker: Asker,
    far: Far,
    history: History,
    samples: Vec<Sample>,
    runtime: tokio::runtime::Runtime,
}

impl Eye {
    pub fn open(deployment: Deployment, home: &Path) -> Result<Self, RunError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| RunError::cannot_tell(format!("cannot start to ask: {e}")))?;
        let (history, far) = (History::of(home, &deployment.name), Far::open(&deployment, home));
        let asker = Asker::new(PATIENCE).map_err(RunError::cannot_tell)?;
        let samples = history.read(now() - PICTURE_S).map_err(RunError::cannot_tell)?;
        Ok(Self { deployment, asker, far, history, samples, runtime })
    }

    /// Asks once; what was heard is kept, so that a check later knows what is usual.
    pub fn look(&mut self) -> Result<Seen, RunError> {
        let Moment { samples, distant, heard } =
            self.runtime.block_on(gather::sample(&self.deployment, &self.asker, &self.far));
        let now = now();
        if self.deployment.prometheus.is_none() {
            self.history.keep(&samples, now).map_err(RunError::cannot_tell)?;
        }
        self.samples.extend(samples);
        self.samples.retain(|s| now - s.at < PICTURE_S);
        let series = Series::new(self.samples.iter().cloned().chain(distant));
        let silent = heard.iter().filter_map(|h| h.said.as_ref().err().cloned()).collect();
        let limits = &self.deployment.limits;
        let mut signals = signals(&self.deployment.name, &series, limits, now, silent);
        signals.spent_usd = self.far.spent(now).map(|s| s.usd);
        Ok(Seen {
            target: self.deployment.name.clone(),
            parts: parts(&series, limits, now, ROW_S),
            signals,
            limit_ms: limits.latency_ms,
        })
    }
}

fn now() -> f64 {
    jiff::Timestamp::now().as_millisecond() as f64 / 1000.0
}
