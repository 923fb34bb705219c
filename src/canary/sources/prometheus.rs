//! Range queries of a Prometheus: raw counters of each side, differenced here, so that a restart is a gap and no burst.
//!
//! The newest samples are late: only what is older than `LATE_S` is asked for, and each moment is counted once. Every
//! instance of the baseline is a slice of it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::counters::{Counts, counts, since};
use super::metrics::whole;
use crate::canary::http::{Answer, Http};
use crate::canary::source::{Source, Taken};
use crate::judge::interval::Side;
use crate::watch::http::shown;
use crate::watch::names;
use crate::watch::promql;
use crate::watch::sources::metrics::now;

const PATIENCE: Duration = Duration::from_secs(5);
/// A scrape is stored a moment after it was made.
const LATE_S: f64 = 5.0;
/// Prometheus looks so far back for a sample of each moment; an instance that is gone longer has gone.
const STEP_S: f64 = 15.0;
/// A clock that lies so far behind the moment counted last was set.
const SET_BACK_S: f64 = 60.0;

#[derive(Debug)]
pub struct Prometheus {
    url: String,
    baseline: Vec<String>,
    canary: Vec<String>,
    http: Http,
    /// Each instance's counters at the moment that was counted last.
    last: BTreeMap<(bool, String), Counts>,
    counted: Option<f64>,
}

impl Prometheus {
    pub fn new(url: &str, baseline: Vec<String>, canary: Vec<String>) -> Result<Self, String> {
        let http = Http::new(PATIENCE, None)?;
        let url = url.trim_end_matches('/').to_owned();
        Ok(Self { url, baseline, canary, http, last: BTreeMap::new(), counted: None })
    }

    /// Returns the counters of every instance that a selector finds, at the newest moment it has up to `to`.
    fn newest(&self, selector: &str, to: f64) -> Result<BTreeMap<String, Counts>, String> {
        let names = [
            names::REQUESTS.to_owned(),
            names::ANSWERS.to_owned(),
            names::DEGRADED.to_owned(),
            format!("{}_bucket", names::REQUEST_SECONDS),
        ];
        let query = format!("{{__name__=~\"{}\",{selector}}}", names.join("|"));
        let url = promql::range(&self.url, &query, (to - STEP_S, to), STEP_S);
        let named = |why: String| format!("{} for {{{selector}}}: {why}", shown(&self.url));
        let body = self.http.get(&url, &[]).and_then(Answer::good).map_err(named)?;
        let rows = promql::rows(&body).map_err(|e| named(format!("that is no answer of Prometheus: {e}")))?;
        // Only what Prometheus still has at the last moment: an older value is an instance that is gone.
        let last = promql::pages(rows).into_iter().filter(|((_, at), _)| *at as f64 >= (to - 0.5) * 1000.0);
        let newest: BTreeMap<_, _> = last.map(|((instance, _), page)| (instance, counts(&page))).collect();
        if newest.is_empty() {
            return Err(named("it has no such series of the last seconds".to_owned()));
        }
        Ok(newest)
    }

    /// Returns what each instance of one side did since the moment that was counted last.
    fn grown(&mut self, canary: bool, to: f64) -> Result<Vec<Side>, String> {
        let selectors = if canary { self.canary.clone() } else { self.baseline.clone() };
        let mut sides = Vec::new();
        let mut why = None;
        for selector in selectors {
            // What was missed stays missed: nothing later is told as of one interval.
            let newest = self.newest(&selector, to).inspect_err(|_| self.last.clear())?;
            for (instance, now) in newest {
                let then = self.last.insert((canary, format!("{selector} {instance}")), now.clone());
                match then.map(|then| since(&now, &then)) {
                    Some(Some(side)) => sides.push(side),
                    Some(None) => why = Some(format!("{instance} was started again, and its counters with it")),
                    // A newcomer's past is not this interval's.
                    None => {}
                }
            }
        }
        match why {
            Some(why) => Err(why),
            None if sides.is_empty() => Err("its counters were read for the first time".to_owned()),
            None => Ok(sides),
        }
    }
}

impl Source for Prometheus {
    fn name(&self) -> String {
        format!("Prometheus at {}", shown(&self.url))
    }

    fn take(&mut self) -> Result<Taken, String> {
        let to = (now() - LATE_S).floor();
        if self.counted.is_some_and(|last| to < last - SET_BACK_S) {
            self.counted = Some(to);
            self.last.clear();
            return Err("the clock was set back: its counters are read anew from here".to_owned());
        }
        if self.counted.is_some_and(|last| to <= last) {
            return Err("no later moment to ask for: the clock was set back, or it is asked too often".to_owned());
        }
        self.counted = Some(to);
        let (baseline, canary) = (self.grown(false, to), self.grown(true, to));
        if baseline.is_err() || canary.is_err() {
            // What was missed stays missed.
            let why = baseline.err().or(canary.err()).unwrap_or_default();
            return Err(why);
        }
        let (slices, canary) = (baseline?, canary?);
        if slices.iter().all(|s| s.requests == 0.0) && canary.iter().all(|s| s.requests == 0.0) {
            return Err("no counter moved: not scraped again yet, or nobody asked".to_owned());
        }
        Ok(Taken { interval: whole(&slices, &canary), viewers: None })
    }

    fn every(&self) -> Duration {
        Duration::from_secs_f64(STEP_S)
    }
}
