//! Whether the split that is seen is the one that was asked: viewers counted once, or only their requests.

use crate::stats::units::Share;

/// How improbable a wrong split has to be before it is called one.
const SURE: f64 = 1e-4;
/// Fewer viewers or requests than this say nothing of a split.
const LEAST: f64 = 200.0;

/// Who or what was counted on each side.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counted {
    pub canary: f64,
    pub all: f64,
}

impl Counted {
    pub fn share(self) -> Option<f64> {
        (self.all > 0.0).then(|| self.canary / self.all)
    }
}

/// Returns what is wrong with the split of viewers, each counted once: an honest one misses by chance only.
pub fn wrong_viewers(seen: Counted, wanted: f64) -> Option<String> {
    let missed = seen.canary - seen.all * wanted;
    let deviation = (seen.all * wanted * (1.0 - wanted)).sqrt();
    let honest = if deviation > 0.0 { libm::erfc((missed / deviation).abs() / std::f64::consts::SQRT_2) } else { 1.0 };
    let wrong = seen.all >= LEAST && (honest < SURE || deviation == 0.0 && missed.abs() >= 1.0);
    wrong.then(|| {
        format!(
            "the split is wrong: {:.0} of {:.0} viewers are in the canary, {} where {} was asked",
            seen.canary,
            seen.all,
            Share(seen.canary / seen.all),
            Share(wanted)
        )
    })
}

/// Returns what is wrong with the split of requests: viewers ask unevenly often, so only a gross miss counts.
pub fn wrong_requests(seen: Counted, wanted: f64) -> Option<String> {
    let share = seen.share().filter(|_| seen.all >= LEAST.max(20.0 / wanted.max(1e-6)))?;
    let gross = share > 2.0 * wanted + 0.05 || share < wanted / 2.0 - 0.05 || (share == 0.0 && wanted > 0.0);
    gross.then(|| {
        format!(
            "the split is wrong: {} of {:.0} requests reach the canary where {} of the viewers were asked",
            Share(share),
            seen.all,
            Share(wanted)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::lot::{Place, place};

    #[test]
    fn a_wrong_split_is_told_and_chance_is_not() {
        let honest = (0..20_000).filter(|i| place(&format!("u{i}"), "als-0931", 0.1) == Place::Canary).count();
        assert_eq!(wrong_viewers(Counted { canary: honest as f64, all: 20_000.0 }, 0.1), None);
        let seen = |canary, all| Counted { canary, all };
        assert_eq!(wrong_viewers(seen(105.0, 1_000.0), 0.1), None);
        assert_eq!(wrong_viewers(seen(3.0, 10.0), 0.1), None);
        let told = wrong_viewers(seen(200.0, 1_000.0), 0.1).expect("told");
        assert!(told.contains("20.0 % where 10.0 % was asked"), "{told}");
        assert!(wrong_requests(seen(0.0, 1_000.0), 0.1).is_some());
        assert_eq!(wrong_requests(seen(180.0, 1_000.0), 0.1), None);
        assert!(wrong_requests(seen(500.0, 1_000.0), 0.1).is_some());
    }
}
