//! The numbers that an instance tells of itself on `/metrics`: the present, without a past.

use crate::watch::error::WatchError;
use crate::watch::exposition;
use crate::watch::http::{Asker, shown};
use crate::watch::names;
use crate::watch::sample::{Sample, Signal};
use crate::watch::source::{Answering, Source, Span};

/// One instance's page.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub asker: Asker,
    /// The whole address of the page.
    pub url: String,
    pub instance: String,
    /// "stable", "canary", or empty.
    pub arm: String,
}

impl Metrics {
    async fn page(&self) -> Result<Vec<Sample>, WatchError> {
        let heard = self.asker.wanted(&self.url, None, "metrics").await?;
        let malformed = |why| WatchError::Malformed { at: shown(&self.url), wanted: "metrics", why };
        let readings = exposition::parse(&heard.body).map_err(malformed)?;
        let at = now();
        let sample = names::sample(at, &self.instance, &self.arm, &readings);
        let mut sample = sample.ok_or_else(|| WatchError::Foreign { at: shown(&self.url) })?;
        // The header tells whole seconds only: good enough where the page has no clock of its own.
        if let (None, Some(clock)) = (sample.get(Signal::Clock), heard.clock) {
            sample.set(Signal::Clock, clock + 0.5);
        }
        Ok(vec![sample])
    }
}

impl Source for Metrics {
    fn name(&self) -> String {
        format!("metrics of {}", shown(&self.url))
    }

    fn ask(&self, _span: Span) -> Answering<'_> {
        Box::pin(self.page())
    }
}

/// The time now, Unix seconds.
pub fn now() -> f64 {
    jiff::Timestamp::now().as_millisecond() as f64 / 1000.0
}
