//! What an API counts of itself and of its store, by its `/metrics` pages, one an instance: demand and money as they are now.

use std::time::Duration;

use tokio::runtime::Runtime;

use super::knob::{KnobError, nap};
use super::meter::Metered;
use crate::stop::Stop;
use crate::watch::http::Asker;
use crate::watch::sample::{Sample, Signal};
use crate::watch::source::{Source as _, Span};
use crate::watch::sources::metrics::Metrics;

const ANSWER: Duration = Duration::from_secs(2);

/// The pages of all instances that serve one platform.
pub struct Pages {
    pages: Vec<Metrics>,
    runtime: Runtime,
}

impl Pages {
    pub fn open(urls: &[String]) -> Result<Self, KnobError> {
        let unfit = |e: String| KnobError::Unfit(e);
        let asker = Asker::new(ANSWER).map_err(|e| unfit(e.to_string()))?;
        let page = |url: &String| Metrics {
            asker: asker.clone(),
            url: url.clone(),
            instance: url.clone(),
            arm: String::new(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Ok(Self { pages: urls.iter().map(page).collect(), runtime: runtime.map_err(|e| unfit(e.to_string()))? })
    }

    pub fn name(&self) -> String {
        self.pages.iter().map(|p| p.url.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// One sample a page; a page that is silent makes the sum unknown.
    pub fn ask(&self) -> Result<Vec<Sample>, KnobError> {
        let now = Span { from: 0.0, to: 0.0 };
        let mut samples = Vec::new();
        for page in &self.pages {
            let told = self.runtime.block_on(page.ask(now));
            samples.extend(told.map_err(|e| KnobError::Failed { what: page.name(), why: e.to_string() })?);
        }
        Ok(samples)
    }

    /// Looks twice, `time` apart by the clock, at what was asked and used in between.
    pub fn over(&self, time: Duration, read_units: f64, least_tps: f64, stop: &Stop) -> Result<Now, KnobError> {
        let before = self.ask()?;
        let began = std::time::Instant::now();
        nap(time, stop);
        let after = self.ask()?;
        let odd = |why: &str| KnobError::Failed { what: self.name(), why: why.to_owned() };
        let grown = Grown { read_units, least_tps };
        grown
            .between(&before, &after, began.elapsed().as_secs_f64())
            .ok_or_else(|| odd("an instance began anew, or does not count its requests: nothing can be told"))
    }
}

/// What was used lately, by the limiter of the store itself where there is one.
#[derive(Clone, Debug, PartialEq)]
pub struct Now {
    pub metered: Metered,
    /// Read units a second that the store is limited to.
    pub capacity: Option<f64>,
    pub throttled: f64,
    pub notes: Vec<String>,
}

struct Grown {
    read_units: f64,
    least_tps: f64,
}

impl Grown {
    fn between(&self, before: &[Sample], after: &[Sample], seconds: f64) -> Option<Now> {
        let (mut requests, mut throttled, mut units, mut guessed) = (0.0, 0.0, 0.0, false);
        let mut capacity: Option<f64> = None;
        for now in after {
            let was = before.iter().find(|s| s.instance == now.instance)?;
            let grown = |signal| Some(now.get(signal)? - was.get(signal).unwrap_or(0.0)).filter(|d: &f64| *d >= 0.0);
            requests += grown(Signal::Requests)?;
            throttled += grown(Signal::StoreThrottled).unwrap_or(0.0);
            if now.get(Signal::StoreUnits).is_some() {
                units += grown(Signal::StoreUnits)?;
            } else {
                units += grown(Signal::StoreReads)? * self.read_units;
                guessed = true;
            }
            capacity = [capacity, now.get(Signal::StoreCapacity)].into_iter().flatten().reduce(f64::max);
        }
        let hours = seconds / 3_600.0;
        let mut notes = Vec::new();
        if guessed {
            notes.push("no limiter counts units here: each read of the store was taken as one list".to_owned());
        }
        if throttled > 0.0 {
            notes.push(format!("{throttled:.0} reads of the store were throttled"));
        }
        let metered = Metered {
            hours,
            requests,
            read_units: units,
            tps_hours: (requests / seconds.max(1e-9)).max(self.least_tps) * hours,
            ..Metered::default()
        };
        Some(Now { metered, capacity, throttled, notes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(instance: &str, numbers: &[(Signal, f64)]) -> Sample {
        let mut sample = Sample::new(0.0, instance);
        for (signal, value) in numbers {
            sample.set(*signal, *value);
        }
        sample
    }

    #[test]
    fn the_limiters_units_count_and_without_it_each_read_is_one_list() {
        use Signal::{Requests, StoreCapacity, StoreReads, StoreUnits};
        let grown = Grown { read_units: 0.5, least_tps: 1.0 };
        let before = [page("a", &[(Requests, 100.0), (StoreUnits, 10.0), (StoreCapacity, 300.0)])];
        let after = [page("a", &[(Requests, 400.0), (StoreUnits, 130.0), (StoreCapacity, 300.0)])];
        let now = grown.between(&before, &after, 10.0).expect("told");
        assert_eq!((now.metered.requests, now.metered.read_units, now.capacity), (300.0, 120.0, Some(300.0)));
        // 30 a second are above the one that is provisioned: 30 x 10 s / 3600.
        assert!((now.metered.tps_hours - 30.0 * 10.0 / 3_600.0).abs() < 1e-12 && now.notes.is_empty());
        let (before, after) =
            ([page("a", &[(Requests, 0.0), (StoreReads, 0.0)])], [page("a", &[(Requests, 9.0), (StoreReads, 8.0)])]);
        let now = grown.between(&before, &after, 10.0).expect("told");
        assert_eq!((now.metered.read_units, now.capacity, now.notes.len()), (4.0, None, 1));
        assert!(grown.between(&after, &before, 10.0).is_none(), "a restart is no number");
    }
}
