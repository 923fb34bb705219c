//! A latency histogram: record, merge, percentile; HDR inside, 1 us to 1 h, three digits.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer, V2Serializer};
use serde::{Deserialize, Serialize};

use super::units::Millis;

const LOWEST_US: u64 = 1;
const HIGHEST_US: u64 = 3_600_000_000;
const DIGITS: u8 = 3;

/// Counts of durations in microseconds. Values over one hour are recorded as one hour.
#[derive(Clone, Debug)]
pub struct Histogram(hdrhistogram::Histogram<u64>);

impl PartialEq for Histogram {
    /// Whether the same counts lie in the same buckets, however far each has grown.
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.buckets().eq(other.buckets())
    }
}

impl Default for Histogram {
    fn default() -> Self {
        // Small at first: a second of quick answers needs a tenth of what an hour's range would.
        let inner = hdrhistogram::Histogram::new_with_bounds(LOWEST_US, 2 * LOWEST_US, DIGITS);
        let mut inner = inner.expect("the bounds are constants that HDR accepts");
        inner.auto(true);
        Self(inner)
    }
}

impl Histogram {
    pub fn record(&mut self, value: Duration) {
        self.record_us(u64::try_from(value.as_micros()).unwrap_or(HIGHEST_US));
    }

    pub fn record_us(&mut self, us: u64) {
        self.0.record(us.clamp(LOWEST_US, HIGHEST_US)).expect("it grows up to the highest value");
    }

    /// Adds every count of `other`, bucket by bucket.
    pub fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all histograms share their digits, and grow");
    }

    pub fn clear(&mut self) {
        self.0.reset();
    }

    pub fn count(&self) -> u64 {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the value at a quantile in 0..=1, or `None` without data.
    pub fn quantile(&self, q: f64) -> Option<Millis> {
        (!self.is_empty()).then(|| millis(self.0.value_at_quantile(q)))
    }

    pub fn max(&self) -> Option<Millis> {
        (!self.is_empty()).then(|| millis(self.0.max()))
    }

    pub fn min(&self) -> Option<Millis> {
        (!self.is_empty()).then(|| millis(self.0.min()))
    }

    pub fn mean(&self) -> Option<Millis> {
        (!self.is_empty()).then(|| Millis(self.0.mean() / 1000.0))
    }

    /// Returns how many values lie above `limit`.
    pub fn count_above(&self, limit: Millis) -> u64 {
        let us = (limit.0 * 1000.0) as u64;
        self.0.len() - self.0.count_between(0, us)
    }

    /// Returns `(upper bound in ms, count)` of each bucket that holds something, ascending.
    pub fn buckets(&self) -> impl Iterator<Item = (Millis, u64)> + '_ {
        self.0.iter_recorded().map(|step| (millis(step.value_iterated_to()), step.count_since_last_iteration()))
    }
}

fn millis(us: u64) -> Millis {
    Millis(us as f64 / 1000.0)
}

impl Serialize for Histogram {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        use serde::ser::Error;
        let mut bytes = Vec::new();
        // Small ones do not win by compression, and a run has thousands of small ones.
        if self.0.len() < 64 {
            V2Serializer::new().serialize(&self.0, &mut bytes).map_err(S::Error::custom)?;
        } else {
            V2DeflateSerializer::new().serialize(&self.0, &mut bytes).map_err(S::Error::custom)?;
        }
        out.serialize_str(&STANDARD.encode(bytes))
    }
}

impl<'de> Deserialize<'de> for Histogram {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let text = String::deserialize(from)?;
        let bytes = STANDARD.decode(text).map_err(D::Error::custom)?;
        let read: hdrhistogram::Histogram<u64> =
            Deserializer::new().deserialize(&mut bytes.as_slice()).map_err(D::Error::custom)?;
        let mut own = Self::default();
        own.0.add(&read).map_err(D::Error::custom)?;
        Ok(own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_data_has_no_quantile() {
        assert_eq!(Histogram::default().quantile(0.99), None);
        assert_eq!(Histogram::default().mean(), None);
    }

    #[test]
    fn survives_json_bucket_by_bucket() {
        for n in [1_u64, 10, 5_000] {
            let mut h = Histogram::default();
            (0..n).for_each(|i| h.record_us(i * 37 + 1));
            let text = serde_json::to_string(&h).expect("serialises");
            let back: Histogram = serde_json::from_str(&text).expect("reads back");
            assert_eq!(h.buckets().collect::<Vec<_>>(), back.buckets().collect::<Vec<_>>());
        }
    }

    #[test]
    fn counts_what_lies_above_a_limit() {
        let mut h = Histogram::default();
        for ms in [1, 2, 3, 200] {
            h.record(Duration::from_millis(ms));
        }
        assert_eq!(h.count_above(Millis(120.0)), 1);
        assert_eq!(h.count_above(Millis(0.5)), 4);
    }
}
