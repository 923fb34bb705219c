//! Counters of many processes to one side: what each grew by between two readings, restarts and newcomers told apart.

use std::collections::BTreeMap;

use crate::judge::interval::{Bucket, Side};
use crate::watch::exposition::Reading;
use crate::watch::names;

/// One process' counters at one moment, by series.
pub type Counts = BTreeMap<String, (Reading, f64)>;

/// Paths that no viewer asks.
const OWN: [&str; 5] = ["/health", "/metrics", "/practice", "/openapi.json", "none"];

/// Returns the counters of a page that the judge reads.
pub fn counts(page: &[Reading]) -> Counts {
    let bucket = format!("{}_bucket", names::REQUEST_SECONDS);
    let known = [names::REQUESTS, names::ANSWERS, names::DEGRADED, bucket.as_str()];
    let wanted = |r: &&Reading| known.contains(&r.name.as_str()) && !r.label("route").is_some_and(|p| OWN.contains(&p));
    let key = |r: &Reading| {
        let mut labels: Vec<_> = r.labels.iter().filter(|l| l.0 != "__name__").collect();
        labels.sort();
        format!("{}{labels:?}", r.name)
    };
    page.iter().filter(wanted).filter(|r| r.value.is_finite()).map(|r| (key(r), (r.clone(), r.value))).collect()
}

/// Returns what one process did between two readings; `None` where it was started again meanwhile, as then something is lost.
pub fn since(now: &Counts, then: &Counts) -> Option<Side> {
    let mut grown: Vec<(Reading, f64)> = Vec::new();
    for (key, (reading, value)) in now {
        // A series that was not there yet counted nothing: a status is told from its first answer on.
        let before = then.get(key).map_or(0.0, |(_, v)| *v);
        if *value < before {
            return None;
        }
        grown.push((reading.clone(), value - before));
    }
    // A counter does not vanish from a process that lives.
    then.keys().all(|k| now.contains_key(k)).then(|| side(&grown))
}

fn side(grown: &[(Reading, f64)]) -> Side {
    let mut side = Side::default();
    let mut named: BTreeMap<&str, f64> = [("throttled", 0.0), ("empty", 0.0), ("degraded", 0.0)].into();
    // Buckets are cumulative: of each route its own, so the bounds are summed first and taken apart then.
    let mut below: BTreeMap<u64, f64> = BTreeMap::new();
    for (reading, n) in grown {
        match reading.name.as_str() {
            names::REQUESTS => {
                let status = reading.label("status").unwrap_or_default();
                side.requests += n;
                side.errors +=
                    if status.starts_with('4') || status.starts_with('5') || status == "other" { *n } else { 0.0 };
                *named.entry("throttled").or_default() += if status == "429" { *n } else { 0.0 };
            }
            names::ANSWERS if reading.label("kind") == Some("empty") => *named.entry("empty").or_default() += n,
            names::ANSWERS => {}
            names::DEGRADED => *named.entry("degraded").or_default() += n,
            _ => {
                let bound = match reading.label("le") {
                    Some("+Inf") => Some(f64::INFINITY),
                    Some(text) => text.parse::<f64>().ok().map(|s| s * 1000.0),
                    None => None,
                };
                if let Some(bound) = bound {
                    *below.entry(bound.to_bits()).or_default() += n;
                }
            }
        }
    }
    let mut last = 0.0;
    side.latency_ms = below
        .into_iter()
        .map(|(bits, upto)| {
            let own = (upto - last).max(0.0);
            last = upto;
            Bucket(f64::from_bits(bits), own)
        })
        .collect();
    side.errors = side.errors.min(side.requests);
    side.others = named.into_iter().map(|(name, n)| (name.to_owned(), n.into())).collect();
    side
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::exposition::parse;

    fn page(ok: u64, bad: Option<u64>, fast: u64, all: u64) -> Counts {
        let bad = bad
            .map_or(String::new(), |n| format!("serin_requests_total{{route=\"/v1/popular\",status=\"500\"}} {n}\n"));
        let text = format!(
            "serin_requests_total{{route=\"/v1/popular\",status=\"200\"}} {ok}\n{bad}\
             serin_requests_total{{route=\"/health\",status=\"200\"}} {ok}\n\
             serin_request_seconds_bucket{{route=\"/v1/popular\",le=\"0.005\"}} {fast}\n\
             serin_request_seconds_bucket{{route=\"/v1/popular\",le=\"+Inf\"}} {all}\n"
        );
        counts(&parse(&text).expect("reads"))
    }

    #[test]
    fn what_grew_is_a_side_and_a_restart_is_a_gap() {
        let grew = since(&page(30, Some(2), 20, 32), &page(10, None, 5, 10)).expect("grew");
        assert_eq!((grew.requests, grew.errors), (22.0, 2.0), "a first error is an error");
        assert_eq!(grew.latency_ms, [Bucket(5.0, 15.0), Bucket(f64::INFINITY, 7.0)]);
        assert_eq!(since(&page(3, None, 2, 3), &page(10, None, 5, 10)), None, "started again");
        assert_eq!(since(&page(30, None, 20, 30), &page(10, Some(1), 5, 11)), None, "a counter vanished");
    }
}
