//! The names of the numbers that `serin serve` tells on `/metrics`, and what each means to those who watch.

use super::exposition::Reading;
use super::sample::{Sample, Signal, Timing};

/// Labels `route`, `status`: a counter of answers.
pub const REQUESTS: &str = "serin_requests_total";
/// A histogram of seconds from the whole request to the whole answer.
pub const REQUEST_SECONDS: &str = "serin_request_seconds";
/// Label `reason` (`time` for expired and not yet valid, else `signature`, `missing`, `platform`, ..): refused tokens.
pub const REFUSED: &str = "serin_refused_total";
/// Label `kind` (`list`, `live`, `popular`, `empty`): what recommendations were answered with.
pub const ANSWERS: &str = "serin_answers_total";
/// Requests that say themselves that they repeat an earlier one.
pub const REPEATS: &str = "serin_repeats_total";
pub const DEGRADED: &str = "serin_degraded_total";
/// Label `result` (`ok`, `throttled`, `error`): reads of the key-value store, each try counted.
pub const STORE_READS: &str = "serin_store_reads_total";
/// Tries beyond the first.
pub const STORE_RETRIES: &str = "serin_store_retries_total";
pub const STORE_SECONDS: &str = "serin_store_seconds";
/// Read units used.
pub const STORE_UNITS: &str = "serin_store_units_total";
/// Read units a second that are provisioned.
pub const STORE_CAPACITY: &str = "serin_store_capacity_units";
/// Requests a second that are let in.
pub const QUOTA: &str = "serin_quota_requests_per_second";
/// Unix seconds at which the catalogue that is held was built.
pub const CATALOGUE_BUILT: &str = "serin_catalogue_built_timestamp_seconds";
pub const CATALOGUE_ITEMS: &str = "serin_catalogue_items";
/// Unix seconds at which the generation that is served was published.
pub const MODEL_PUBLISHED: &str = "serin_model_published_timestamp_seconds";
/// Unix seconds at which the model was trained that answers live, or made the lists.
pub const MODEL_TRAINED: &str = "serin_model_trained_timestamp_seconds";
/// 1 where lists are read from a store, 0 where every answer is scored live.
pub const STORE_USED: &str = "serin_store_used";
/// Unix seconds since when the keys are in force that tokens are checked with.
pub const KEYS_SINCE: &str = "serin_keys_since_timestamp_seconds";
pub const GENERATION: &str = "serin_generation";
pub const LISTS: &str = "serin_lists";
/// Different programmes among the first places of the latest answers.
pub const PROGRAMMES: &str = "serin_answered_programmes";
/// The process's own clock, Unix seconds.
pub const CLOCK: &str = "serin_clock_seconds";
/// 1 when ready.
pub const READY: &str = "serin_ready";

/// Routes that machines ask, not viewers.
fn is_upkeep(route: &str) -> bool {
    matches!(route, "/health" | "/metrics" | "/practice" | "/openapi.json" | "none")
}

/// Folds the series of one instance into a sample, or `None` where none of them is ours.
pub fn sample(at: f64, instance: &str, arm: &str, readings: &[Reading]) -> Option<Sample> {
    let mut sample = Sample { arm: arm.to_owned(), ..Sample::new(at, instance) };
    for reading in readings {
        fold(&mut sample, reading);
    }
    for buckets in sample.timings.values_mut() {
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    (!sample.numbers.is_empty()).then_some(sample)
}

fn fold(sample: &mut Sample, reading: &Reading) {
    let value = reading.value;
    let label = |name| reading.label(name).unwrap_or_default();
    if sample.arm.is_empty() && matches!(label("arm"), "stable" | "canary") {
        label("arm").clone_into(&mut sample.arm);
    }
    if is_upkeep(label("route")) {
        // A target that answered nobody yet has answered nobody: zero, not unknown.
        return sample.add(Signal::Requests, 0.0);
    }
    let gauge = match reading.name.as_str() {
        REQUESTS => {
            sample.add(Signal::Requests, value);
            return match label("status") {
                "429" => sample.add(Signal::Throttled, value),
                "401" | "403" => sample.add(Signal::Refused, value),
                status if status.starts_with('5') => sample.add(Signal::Errors, value),
                _ => {}
            };
        }
        REFUSED if matches!(label("reason"), "time" | "expired" | "not-yet") => {
            return sample.add(Signal::RefusedTime, value);
        }
        ANSWERS => {
            return match label("kind") {
                "empty" => sample.add(Signal::Empty, value),
                "popular" => sample.add(Signal::Popular, value),
                _ => {}
            };
        }
        REPEATS => return sample.add(Signal::Repeats, value),
        DEGRADED => return sample.add(Signal::Degraded, value),
        STORE_READS => {
            sample.add(Signal::StoreReads, value);
            return match label("result") {
                "throttled" => sample.add(Signal::StoreThrottled, value),
                "error" | "timeout" => sample.add(Signal::StoreErrors, value),
                _ => {}
            };
        }
        STORE_RETRIES => return sample.add(Signal::StoreRetries, value),
        STORE_UNITS => return sample.add(Signal::StoreUnits, value),
        STORE_CAPACITY => Signal::StoreCapacity,
        QUOTA => Signal::Quota,
        CATALOGUE_BUILT => Signal::CatalogueBuilt,
        CATALOGUE_ITEMS => Signal::CatalogueItems,
        MODEL_PUBLISHED => Signal::ModelPublished,
        MODEL_TRAINED => Signal::ModelTrained,
        STORE_USED => Signal::StoreUsed,
        KEYS_SINCE => Signal::KeysSince,
        GENERATION => Signal::Generation,
        LISTS => Signal::Lists,
        PROGRAMMES => Signal::Programmes,
        CLOCK => Signal::Clock,
        READY => Signal::Up,
        name => return bucket(sample, name, reading),
    };
    sample.set(gauge, value);
}

/// Adds a histogram's bucket to those of the other label sets with the same bound.
fn bucket(sample: &mut Sample, name: &str, reading: &Reading) {
    let timing = match name.strip_suffix("_bucket") {
        Some(REQUEST_SECONDS) => Timing::Request,
        Some(STORE_SECONDS) => Timing::Store,
        _ => return,
    };
    let Some(bound) = reading.label("le").map(|le| if le == "+Inf" { Some(f64::INFINITY) } else { le.parse().ok() })
    else {
        return;
    };
    // What lies above the last bound is told as an hour: JSON has no infinity.
    let Some(bound) = bound.map(|b: f64| b.min(3600.0)) else { return };
    let buckets = sample.timings.entry(timing).or_default();
    match buckets.iter_mut().find(|b| b.0 == bound) {
        Some(known) => known.1 += reading.value,
        None => buckets.push((bound, reading.value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::exposition::parse;

    #[test]
    fn a_page_of_ours_becomes_a_sample_and_a_strangers_page_none() {
        let page = "serin_requests_total{status=\"200\"} 90\nserin_requests_total{status=\"503\"} 4\n\
                    serin_requests_total{status=\"429\"} 5\nserin_requests_total{status=\"401\"} 1\n\
                    serin_store_reads_total{result=\"throttled\"} 3\nserin_store_capacity_units 40\n\
                    serin_request_seconds_bucket{route=\"a\",le=\"0.01\"} 50\nserin_request_seconds_bucket{route=\"b\",le=\"0.01\"} 20\n\
                    serin_request_seconds_bucket{route=\"a\",le=\"+Inf\"} 60\n";
        let sample = super::sample(7.0, "a", "", &parse(page).expect("reads")).expect("ours");
        let got = |s| sample.get(s).expect("said");
        assert_eq!((got(Signal::Requests), got(Signal::Errors), got(Signal::Throttled)), (100.0, 4.0, 5.0));
        assert_eq!((got(Signal::Refused), got(Signal::StoreThrottled), got(Signal::StoreCapacity)), (1.0, 3.0, 40.0));
        assert_eq!(sample.timings[&Timing::Request], [(0.01, 70.0), (3600.0, 60.0)]);
        assert_eq!(super::sample(7.0, "a", "", &parse("up 1\n").expect("reads")), None);
    }
}
