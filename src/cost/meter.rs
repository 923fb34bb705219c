//! What recorded demand costs by each way of paying: capacity by the hour, on demand, TPS-hours by five minutes.

use super::capacity::{read_units, write_units};
use super::demand::Demand;

/// A campaign is billed by so many seconds.
pub const WINDOW_S: f64 = 300.0;

/// The amounts that a bill multiplies with prices.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Metered {
    pub hours: f64,
    pub requests: f64,
    pub read_units: f64,
    pub write_units: f64,
    pub tps_hours: f64,
    /// Seconds within the record that nothing is known of: they are not in the amounts.
    pub missing_s: f64,
}

/// Meters a record; `least_tps` is what a campaign has provisioned.
pub fn meter(demand: &Demand, item_kb: f64, consistent: bool, least_tps: f64) -> Metered {
    let mut sum = Metered::default();
    let (each_read, each_write) = (read_units(item_kb, consistent), write_units(item_kb));
    let mut window = Window::default();
    for pair in demand.samples.windows(2) {
        sum.missing_s += (pair[1].from - pair[0].until).max(0.0);
    }
    for sample in &demand.samples {
        let seconds = sample.until - sample.from;
        sum.hours += seconds / 3_600.0;
        sum.requests += sample.reads * seconds;
        sum.read_units += sample.reads * seconds * each_read;
        sum.write_units += sample.writes.unwrap_or(0.0) * seconds * each_write;
        let mut from = sample.from;
        while from < sample.until {
            let end = ((from / WINDOW_S + 1e-9).floor() + 1.0) * WINDOW_S;
            let until = end.min(sample.until);
            window.seconds += until - from;
            window.requests += sample.reads * (until - from);
            if until >= end {
                sum.tps_hours += window.close(least_tps);
            }
            from = until;
        }
    }
    sum.tps_hours += window.close(least_tps);
    sum
}

/// Five minutes of a campaign: what is billed is the larger of the average and the provisioned.
#[derive(Default)]
struct Window {
    seconds: f64,
    requests: f64,
}

impl Window {
    fn close(&mut self, least_tps: f64) -> f64 {
        let ended = std::mem::take(self);
        if ended.seconds <= 0.0 {
            return 0.0;
        }
        least_tps.max(ended.requests / ended.seconds) * ended.seconds / 3_600.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::demand::Sample;

    /// Each minute of an hour: `busy` in the first five minutes, nothing after.
    fn burst(busy: f64) -> Demand {
        let sample = |m: u32| Sample {
            from: f64::from(m) * 60.0,
            until: f64::from(m + 1) * 60.0,
            reads: if m < 5 { busy } else { 0.0 },
            writes: None,
        };
        Demand::from_samples("burst", (0..60).map(sample).collect())
    }

    #[test]
    fn tps_hours_follow_the_five_minute_average_above_the_provisioned() {
        // Five minutes at 500: 500 / 12 TPS-hours; 55 minutes at the provisioned 10: 10 x 11 / 12.
        let metered = meter(&burst(500.0), 4.0, false, 10.0);
        assert!((metered.tps_hours - (500.0 / 12.0 + 110.0 / 12.0)).abs() < 1e-9);
        assert_eq!(metered.requests, 150_000.0);
        assert_eq!(metered.read_units, 75_000.0);
    }
}
