//! A made demand of a streaming platform: evenings, weekends, premieres and bursts, the same for the same seed.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::demand::{Demand, Sample};

const MINUTE: f64 = 60.0;
const DAY: f64 = 86_400.0;
/// Monday, 2 November 2026, 00:00 UTC.
const BEGINS: f64 = 1_793_577_600.0;

/// Demand a minute over `days`, its ordinary evenings at about `peak` reads a second.
pub fn demand(seed: u64, days: u32, peak: f64) -> Demand {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let premiere: Vec<(f64, f64)> = (0..days.div_ceil(7))
        .map(|week| (f64::from(week * 7 + rng.random_range(3..7)) * DAY + 20.0 * 3_600.0, rng.random_range(0.1..0.3)))
        .collect();
    let bursts: Vec<(f64, f64)> =
        (0..days * 2).map(|_| (rng.random_range(0.0..f64::from(days) * DAY), rng.random_range(0.1..0.5))).collect();
    let samples = (0..days * 1_440).map(|minute| {
        let at = f64::from(minute) * MINUTE;
        let weekend = if (at / DAY).floor() % 7.0 >= 5.0 { 1.15 } else { 1.0 };
        let grown = 1.0 + 0.01 * at / DAY / 7.0;
        let opened = premiere.iter().filter(|p| at >= p.0 && at < p.0 + 5_400.0).map(|p| p.1).sum::<f64>();
        let burst = bursts.iter().filter(|b| at >= b.0 && at < b.0 + 180.0).map(|b| b.1).sum::<f64>();
        let shake = 1.0 + 0.02 * rng.random_range(-1.0..1.0);
        let reads = peak * grown * (weekend * shape(at) * (1.0 + burst) + opened) * shake;
        Sample { from: BEGINS + at, until: BEGINS + at + MINUTE, reads, writes: None }
    });
    Demand::from_samples(&format!("made evenings, seed {seed}"), samples.collect())
}

/// A weekday's demand in shares of its peak: a night, a lunch, a long evening.
pub fn shape(at: f64) -> f64 {
    let hour = at.rem_euclid(DAY) / 3_600.0;
    let hill = |centre: f64, width: f64| {
        (-((hour - centre + 36.0).rem_euclid(24.0) - 12.0).powi(2) / (2.0 * width * width)).exp()
    };
    0.08 + 0.92 * hill(20.5, 1.9) + 0.22 * hill(13.0, 1.5)
}

/// The mean of a day in shares of its peak.
pub fn mean_share() -> f64 {
    (0..1_440).map(|m| shape(f64::from(m) * MINUTE)).sum::<f64>() / 1_440.0
}
