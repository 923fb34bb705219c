//! The pages that the instances of each side tell of themselves: each instance of the baseline is a slice of it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::counters::{Counts, counts, since};
use crate::canary::http::{Answer, Http};
use crate::canary::source::{Source, Taken};
use crate::judge::interval::{Interval, Side};
use crate::watch::exposition::{is_page, parse};
use crate::watch::http::shown;

const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub struct Pages {
    baseline: Vec<String>,
    canary: Vec<String>,
    http: Http,
    last: BTreeMap<String, Counts>,
}

impl Pages {
    pub fn new(baseline: Vec<String>, canary: Vec<String>) -> Result<Self, String> {
        Ok(Self { baseline, canary, http: Http::new(PATIENCE, None)?, last: BTreeMap::new() })
    }

    /// Returns what one instance did since it was asked last.
    fn grown(&mut self, url: &str) -> Result<Side, String> {
        let named = |why: String| format!("{}: {why}", shown(url));
        let read = self.http.get(url, &[]).and_then(Answer::good).and_then(|body| {
            if is_page(&body) { Err("answers with a web page, not with metrics".to_owned()) } else { parse(&body) }
        });
        // What could not be read is lost: the next reading must not count it as one interval's.
        let Ok(page) = &read else {
            self.last.remove(url);
            return Err(named(read.err().unwrap_or_default()));
        };
        let now = counts(page);
        if now.is_empty() {
            return Err(named("has none of the metrics of serin's API".to_owned()));
        }
        let Some(then) = self.last.insert(url.to_owned(), now.clone()) else {
            return Err(named("was read for the first time".to_owned()));
        };
        since(&now, &then).ok_or_else(|| named("was started again, and its counters with it".to_owned()))
    }
}

impl Source for Pages {
    fn name(&self) -> String {
        format!("the metrics of {} instances", self.baseline.len() + self.canary.len())
    }

    fn take(&mut self) -> Result<Taken, String> {
        // All are asked before one that is missing is told of, so that each has its own last reading.
        let baseline: Vec<_> = self.baseline.clone().iter().map(|u| self.grown(u)).collect();
        let canary: Vec<_> = self.canary.clone().iter().map(|u| self.grown(u)).collect();
        let slices: Vec<Side> = baseline.into_iter().collect::<Result<_, _>>()?;
        let canary: Vec<Side> = canary.into_iter().collect::<Result<_, _>>()?;
        Ok(Taken { interval: whole(&slices, &canary), viewers: None })
    }
}

/// Puts the parts of each side together; the baseline's are its slices.
pub fn whole(slices: &[Side], canary: &[Side]) -> Interval {
    let sum = |all: &[Side]| all.iter().fold(Side::default(), |sum, one| sum.and(one));
    Interval {
        baseline: Some(sum(slices)),
        canary: Some(sum(canary)),
        slices: slices.iter().cloned().map(Some).collect(),
        ..Interval::default()
    }
}
