//! A second opinion in the manner of older canary judges: Mann-Whitney on one value an interval, each guard for itself.
//!
//! It has no notion of a sample's size, of looking early, or of groups that differ; what it is known to miss and to
//! mistake stands beside it. It is told on request and never decides.

use serde::Serialize;

use super::guard::{Counted, Guard};
use super::interval::{Interval, Side};

/// A shift counts when its confidence interval lies beyond this part of the estimate ..
const TOLERANCE: f64 = 0.25;
/// .. at this confidence, two-sided: 98 %.
const Z: f64 = 2.326_347_9;
/// Fewer intervals than this are too few for it.
pub const WANTED: usize = 50;
/// Pairs grow with the square: the newest so many intervals are compared.
const MOST: usize = 1500;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    Pass,
    High,
    Low,
    NoData,
}

/// What it says of one guard.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Opinion {
    pub guard: String,
    pub answer: Answer,
    /// How much higher the canary's values lie, and between what with 98 % confidence; in the metric's own unit.
    pub shift: Option<f64>,
    pub low: Option<f64>,
    pub high: Option<f64>,
    pub intervals: usize,
}

/// Each guard's values, an interval each.
#[derive(Clone, Debug, Default)]
pub struct Second {
    guards: Vec<Guard>,
    /// Canary and baseline.
    values: Vec<[Vec<f64>; 2]>,
}

impl Second {
    pub fn new(guards: &[Guard]) -> Self {
        Self { guards: guards.to_vec(), values: vec![Default::default(); guards.len()] }
    }

    /// Takes an interval that both sides have.
    pub fn hear(&mut self, interval: &Interval) {
        let (Some(canary), Some(baseline)) = (&interval.canary, &interval.baseline) else { return };
        for (guard, [own, rest]) in self.guards.iter().zip(&mut self.values) {
            if let (Some(c), Some(b)) = (value(guard, canary), value(guard, baseline)) {
                own.push(c);
                rest.push(b);
            }
        }
    }

    pub fn opinions(&self) -> Vec<Opinion> {
        let each = self.guards.iter().zip(&self.values).map(|(guard, [canary, baseline])| {
            let newest = |all: &[f64]| all[all.len().saturating_sub(MOST)..].to_vec();
            let shift = shift(&newest(canary), &newest(baseline));
            let answer = shift.map_or(Answer::NoData, |s| {
                let bound = TOLERANCE * s.estimate.abs();
                match () {
                    () if s.low > bound => Answer::High,
                    () if s.high < -bound => Answer::Low,
                    () => Answer::Pass,
                }
            });
            Opinion {
                guard: guard.name.clone(),
                answer,
                shift: shift.map(|s| s.estimate),
                low: shift.map(|s| s.low),
                high: shift.map(|s| s.high),
                intervals: canary.len(),
            }
        });
        each.collect()
    }
}

/// Returns the share of guards that pass, of those with data, in percent.
pub fn score(opinions: &[Opinion]) -> Option<f64> {
    let told = opinions.iter().filter(|o| o.answer != Answer::NoData).count();
    let passed = opinions.iter().filter(|o| o.answer == Answer::Pass).count();
    (told > 0).then(|| 100.0 * passed as f64 / told as f64)
}

/// The guard's value in one interval: a share, or a quantile by upper bounds.
fn value(guard: &Guard, side: &Side) -> Option<f64> {
    let share = |count: f64| (side.requests > 0.0).then(|| count / side.requests);
    match &guard.counts {
        Counted::Errors => share(side.errors),
        Counted::Named(name) => share(side.named(name)?),
        Counted::Slower { quantile } => {
            let rank = quantile * side.timed();
            let mut below = 0.0;
            let found = side.latency_ms.iter().filter(|_| rank > 0.0).find(|b| {
                below += b.1;
                below >= rank
            });
            found.map(|b| b.0).filter(|v| v.is_finite())
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Shift {
    estimate: f64,
    low: f64,
    high: f64,
}

/// The Hodges-Lehmann shift of the canary's values against the baseline's, with the interval of the rank-sum test.
fn shift(canary: &[f64], baseline: &[f64]) -> Option<Shift> {
    if canary.is_empty() || baseline.is_empty() {
        return None;
    }
    let mut pairs: Vec<f64> = canary.iter().flat_map(|c| baseline.iter().map(move |b| c - b)).collect();
    pairs.sort_by(f64::total_cmp);
    let (n, m) = (canary.len() as f64, baseline.len() as f64);
    let outside = (n * m / 2.0 - Z * (n * m * (n + m + 1.0) / 12.0).sqrt()).floor();
    let at = |i: f64| pairs[(i.max(0.0) as usize).min(pairs.len() - 1)];
    let middle = pairs.len() / 2;
    let estimate =
        if pairs.len().is_multiple_of(2) { f64::midpoint(pairs[middle - 1], pairs[middle]) } else { pairs[middle] };
    Some(Shift { estimate, low: at(outside), high: at(n * m - 1.0 - outside.max(0.0)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shift_is_found_and_its_interval_holds_it() {
        let baseline: Vec<f64> = (0..60).map(|i| 100.0 + f64::from(i * 37 % 60)).collect();
        let canary: Vec<f64> = baseline.iter().map(|v| v + 40.0).collect();
        let found = shift(&canary, &baseline).expect("data");
        assert!((found.estimate - 40.0).abs() < 1e-9 && found.low < 40.0 && found.high > 40.0, "{found:?}");
        assert!(found.low > 30.0 && found.high < 50.0, "{found:?}");
        let none = shift(&baseline, &baseline).expect("data");
        assert!(none.low <= 0.0 && none.high >= 0.0, "{none:?}");
        assert_eq!(shift(&[], &baseline), None);
    }

    #[test]
    fn each_guard_has_its_say_and_one_without_data_has_none() {
        let mut second = Second::new(&Guard::usual());
        for i in 0..60 {
            let line = format!(
                r#"{{"t": {i}, "baseline": {{"requests": 1000, "errors": {}}}, "canary": {{"requests": 1000, "errors": {}}}}}"#,
                i % 5,
                40 + i % 7
            );
            second.hear(&Interval::parse(&line).expect("reads"));
        }
        let opinions = second.opinions();
        let answers: Vec<_> = opinions.iter().map(|o| o.answer).collect();
        assert_eq!(answers, [Answer::High, Answer::NoData, Answer::NoData]);
        assert_eq!(score(&opinions), Some(0.0), "a guard without data does not score");
    }
}
