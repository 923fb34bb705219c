//! One interval of recorded numbers: a line of a series, read and checked.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

/// Counts above this in one interval are a broken exporter, not traffic.
const MOST: f64 = 1e12;

/// What both sides did in one interval; a side that could not be measured is `None`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Seconds; only differences count.
    pub t: f64,
    pub baseline: Option<Side>,
    pub canary: Option<Side>,
    /// The baseline again, cut by viewers into groups about as large as the canary.
    #[serde(default, deserialize_with = "none_is_empty")]
    pub slices: Vec<Option<Side>>,
    /// The stage of the walk, counted from 1, where the walk has more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<u32>,
}

/// The requests of one side, or of one slice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Side {
    pub requests: f64,
    pub errors: f64,
    #[serde(default, deserialize_with = "none_is_empty")]
    pub latency_ms: Vec<Bucket>,
    /// Further counts by name: `empty`, `degraded`, `timeout`.
    #[serde(flatten)]
    pub others: BTreeMap<String, serde_json::Value>,
}

/// How many requests took at most `upper` milliseconds and more than the next lower bound; `null` is no bound.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bucket(#[serde(deserialize_with = "bound")] pub f64, pub f64);

impl Interval {
    /// Reads one line; the error says what is wrong with it, in a person's words.
    pub fn parse(line: &str) -> Result<Self, String> {
        let read: Self = serde_json::from_str(line).map_err(|e| {
            let odd = ["NaN", "Infinity", "nan"].iter().find(|w| line.contains(**w));
            odd.map_or_else(|| e.to_string(), |w| format!("{w} is not a number that can be judged ({e})"))
        })?;
        read.check()?;
        Ok(read)
    }

    fn check(&self) -> Result<(), String> {
        if !self.t.is_finite() {
            return Err("t is not a time".to_owned());
        }
        let named = [("baseline", &self.baseline), ("canary", &self.canary)];
        named.iter().try_for_each(|(name, side)| side.as_ref().map_or(Ok(()), |s| s.check(name)))?;
        let mut slices = self.slices.iter().enumerate();
        slices.try_for_each(|(i, s)| s.as_ref().map_or(Ok(()), |s| s.check(&format!("slice {}", i + 1))))
    }
}

impl Side {
    fn check(&self, name: &str) -> Result<(), String> {
        let sane = |what: &str, n: f64| match n {
            n if n.is_nan() || n < 0.0 => Err(format!("{name}: {what} is {n}, which no count can be")),
            n if n > MOST => Err(format!("{name}: {what} is {n:e}, more than any interval holds")),
            _ => Ok(()),
        };
        sane("requests", self.requests)?;
        sane("errors", self.errors)?;
        if self.errors > self.requests {
            return Err(format!("{name}: {} errors of {} requests", self.errors, self.requests));
        }
        let mut last = f64::NEG_INFINITY;
        for Bucket(upper, count) in &self.latency_ms {
            sane("a latency count", *count)?;
            if upper.is_nan() || *upper < 0.0 {
                return Err(format!("{name}: {upper} ms is no latency"));
            }
            if *upper <= last {
                return Err(format!("{name}: latency bounds have to rise, and {upper} ms follows {last} ms"));
            }
            last = *upper;
        }
        self.others.iter().filter_map(|(k, v)| Some((k, v.as_f64()?))).try_for_each(|(k, n)| sane(k, n))
    }

    /// Returns what was counted since `then`, both being counts that only grow; `None` where one went back.
    pub fn since(&self, then: &Self) -> Option<Self> {
        let less = |now: f64, then: f64| (now >= then).then_some(now - then);
        let mut latency: BTreeMap<u64, f64> = self.latency_ms.iter().map(|b| (b.0.to_bits(), b.1)).collect();
        for Bucket(upper, count) in &then.latency_ms {
            let now = latency.get_mut(&upper.to_bits())?;
            *now = less(*now, *count)?;
        }
        let others = self.others.iter().map(|(name, now)| {
            let now = now.as_f64()?;
            Some((name.clone(), less(now, then.named(name).unwrap_or(0.0))?.into()))
        });
        Some(Self {
            requests: less(self.requests, then.requests)?,
            errors: less(self.errors, then.errors)?,
            latency_ms: latency.into_iter().map(|(bits, count)| Bucket(f64::from_bits(bits), count)).collect(),
            others: others.collect::<Option<_>>()?,
        })
    }

    /// Returns both together.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let mut latency: BTreeMap<u64, f64> = BTreeMap::new();
        for Bucket(upper, count) in self.latency_ms.iter().chain(&other.latency_ms) {
            *latency.entry(upper.to_bits()).or_default() += count;
        }
        let names = self.others.keys().chain(other.others.keys());
        let sum = |name: &str| self.named(name).unwrap_or(0.0) + other.named(name).unwrap_or(0.0);
        Self {
            requests: self.requests + other.requests,
            errors: self.errors + other.errors,
            latency_ms: latency.into_iter().map(|(bits, count)| Bucket(f64::from_bits(bits), count)).collect(),
            others: names.map(|name| (name.clone(), sum(name).into())).collect(),
        }
    }

    /// Returns how many requests have a latency.
    pub fn timed(&self) -> f64 {
        self.latency_ms.iter().map(|b| b.1).sum()
    }

    /// Returns how many requests took longer than `limit`; each counts as its bucket's upper bound.
    pub fn slower_than(&self, limit: f64) -> f64 {
        self.latency_ms.iter().filter(|b| b.0 > limit).map(|b| b.1).sum()
    }

    /// Returns a further count by its name.
    pub fn named(&self, name: &str) -> Option<f64> {
        self.others.get(name).and_then(serde_json::Value::as_f64)
    }
}

fn none_is_empty<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// A number, or what exporters write for "no upper bound".
fn bound<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(f64),
        Word(String),
        None(()),
    }
    match Written::deserialize(from)? {
        Written::Number(n) => Ok(n),
        Written::None(()) => Ok(f64::INFINITY),
        Written::Word(w) if ["inf", "+inf", "infinity"].contains(&w.to_lowercase().as_str()) => Ok(f64::INFINITY),
        Written::Word(w) => Err(serde::de::Error::custom(format!("`{w}` is not a latency bound in milliseconds"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(canary: &str) -> Result<Interval, String> {
        Interval::parse(&format!(r#"{{"t": 10, "baseline": null, "canary": {canary}}}"#))
    }

    #[test]
    fn a_line_is_read_with_its_gaps_and_bounds() {
        let read = parse(r#"{"requests": 9, "errors": 1, "latency_ms": [[5, 4], [10.5, 3], [null, 2]], "empty": 3}"#);
        let side = read.expect("reads").canary.expect("measured");
        assert_eq!((side.timed(), side.slower_than(5.0), side.slower_than(10.5)), (9.0, 5.0, 2.0));
        assert_eq!(side.named("empty"), Some(3.0));
        assert_eq!(parse("null").expect("a gap").canary, None);
    }

    #[test]
    fn counters_become_intervals_and_sides_add_up() {
        let side = |line: &str| parse(line).expect("reads").canary.expect("measured");
        let then = side(r#"{"requests": 5, "errors": 1, "latency_ms": [[5, 4]], "empty": 1}"#);
        let now = side(r#"{"requests": 9, "errors": 1, "latency_ms": [[1, 1], [5, 6], [null, 1]], "empty": 3}"#);
        let since = now.since(&then).expect("grew");
        assert_eq!((since.requests, since.errors, since.named("empty")), (4.0, 0.0, Some(2.0)));
        assert_eq!(since.latency_ms, [Bucket(1.0, 1.0), Bucket(5.0, 2.0), Bucket(f64::INFINITY, 1.0)]);
        assert_eq!(then.since(&now), None);
        let sum = since.and(&then);
        assert_eq!((sum.requests, sum.errors, sum.named("empty")), (9.0, 1.0, Some(3.0)));
        assert_eq!(sum.latency_ms, now.latency_ms);
    }

    #[test]
    fn what_no_count_can_be_is_refused_by_name() {
        let table = [
            (r#"{"requests": -1, "errors": 0}"#, "canary: requests is -1"),
            (r#"{"requests": 1, "errors": 2}"#, "canary: 2 errors of 1 requests"),
            (r#"{"requests": 1, "errors": NaN}"#, "NaN is not a number"),
            (r#"{"requests": 1e300, "errors": 0}"#, "more than any interval holds"),
            (r#"{"requests": 1}"#, "missing field `errors`"),
            (r#"{"requests": 1, "errors": 0, "latency_ms": [[10, 1], [5, 1]]}"#, "bounds have to rise"),
            (r#"{"requests": 1, "errors": 0, "latency_ms": [[10, -1]]}"#, "a latency count is -1"),
            (r#"{"requests": 1, "errors": 0, "latency_ms": [["x", 1]]}"#, "not a latency bound"),
            (r#"{"requests": 1, "errors": 0, "empty": -3}"#, "empty is -3"),
        ];
        for (line, why) in table {
            let error = parse(line).expect_err(line);
            assert!(error.contains(why), "{line}: {error}");
        }
    }
}
