//! Does a watch: asks each few seconds, keeps what was heard, tells the signals, and alerts once for each trouble.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use super::check::known_rate;
use crate::incident::gather::{self, Deployment, Far, Moment};
use crate::incident::signals::{Signals, signals};
use crate::run::error::RunError;
use crate::stop::Stop;
use crate::watch::history::History;
use crate::watch::http::Asker;
use crate::watch::series::Series;
use crate::watch::source::PATIENCE;

/// Burn rates look back three days.
const BACK_S: f64 = 3.1 * 86_400.0;

pub struct Watch {
    pub deployment: Deployment,
    pub every: Duration,
    /// How long to watch; until stopped when `None`.
    pub duration: Option<Duration>,
}

impl Watch {
    /// Watches until its end, handing on each moment's signals, and the alerts that are new or over since the moment before.
    pub fn run(&self, home: &Path, stop: &Stop, mut tell: impl FnMut(&Signals, &[String])) -> Result<(), RunError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| RunError::cannot_tell(format!("cannot start to ask: {e}")))?;
        let asker = Asker::new(PATIENCE).map_err(RunError::cannot_tell)?;
        let history = History::of(home, &self.deployment.name);
        let began = Instant::now();
        let far = Far::open(&self.deployment, home);
        let mut limits = self.deployment.limits;
        limits.rate = limits.rate.or_else(|| known_rate(Path::new("reports"), &self.deployment.name));
        let mut known: BTreeMap<String, String> = BTreeMap::new();
        while !stop.requested() {
            let asked = Instant::now();
            let Moment { samples, distant, heard } = runtime.block_on(gather::sample(&self.deployment, &asker, &far));
            let now = jiff::Timestamp::now().as_millisecond() as f64 / 1000.0;
            let mut past = history.read(now - BACK_S).map_err(RunError::cannot_tell)?;
            // Prometheus keeps its own past.
            if self.deployment.prometheus.is_none() {
                history.keep(&samples, now).map_err(RunError::cannot_tell)?;
            }
            past.extend(samples);
            past.extend(distant);
            let silent = heard.iter().filter_map(|h| h.said.as_ref().err().cloned()).collect();
            let mut seen = signals(&self.deployment.name, &Series::new(past), &limits, now, silent);
            seen.spent_usd = far.spent(now).map(|s| s.usd);
            let mut news: Vec<_> = seen.alerts.iter().filter(|a| !known.contains_key(&kind(a))).cloned().collect();
            let lasting: BTreeMap<_, _> = seen.alerts.iter().map(|a| (kind(a), a.clone())).collect();
            news.extend(known.iter().filter(|(k, _)| !lasting.contains_key(*k)).map(|(_, a)| format!("over: {a}")));
            known = lasting;
            tell(&seen, &news);
            if self.duration.is_some_and(|d| began.elapsed() + self.every > d) {
                break;
            }
            while asked.elapsed() < self.every && !stop.requested() {
                std::thread::sleep(Duration::from_millis(50).min(self.every));
            }
        }
        Ok(())
    }
}

/// An alert without its numbers: the same trouble a little worse is no new one.
fn kind(alert: &str) -> String {
    alert.chars().filter(|c| !c.is_ascii_digit()).collect()
}
