//! A p-value for every day that stays valid however often one looks: the mixture sequential test, day by day.

use serde::Serialize;

use super::exposures::Exposures;
use super::moments::{Done, Mean, Moments, cuped};

/// The size of effect that is thought likely beforehand, in shares of the control's mean.
const LIKELY: f64 = 0.02;
/// Groups smaller than this are not looked at yet: their means are not normal.
const LEAST: f64 = 100.0;

/// One day's look at all days so far.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Peek {
    pub day: String,
    pub viewers: u64,
    /// A viewer, over all days so far.
    pub difference: f64,
    pub low: f64,
    pub high: f64,
    /// The smallest so far; below alpha on any day is a result.
    pub p: f64,
}

/// Looks after each day.
pub fn peek(read: &Exposures, alpha: f64) -> Vec<Peek> {
    let mut groups = [Moments::default(); 2];
    let mut done: Vec<Option<Done>> = vec![None; read.viewers.len()];
    let mut rows = read.rows.iter().peekable();
    let (mut p, mut likely) = (1.0_f64, None);
    let mut looks = Vec::new();
    for (number, day) in read.days.iter().enumerate() {
        while let Some(row) = rows.next_if(|r| r.day as usize == number) {
            let viewer = read.viewers[row.viewer as usize];
            let group = &mut groups[usize::from(viewer.group)];
            let sum = &mut done[row.viewer as usize];
            if let Some(before) = sum {
                group.add(before, -1.0);
            }
            let now = sum.get_or_insert(Done { before: viewer.before, ..Done::default() });
            now.value += row.value;
            now.of += row.of;
            group.add(now, 1.0);
        }
        // A viewer's sum grows with the days; its mean a day has a size that was known beforehand.
        let days = if read.ratio { 1.0 } else { (number + 1) as f64 };
        let [control, treatment] =
            means(read, &groups).map(|m| Mean { mean: m.mean / days, variance: m.variance / days / days });
        let variance = control.variance + treatment.variance;
        let difference = treatment.mean - control.mean;
        let enough = groups.iter().all(|g| g.viewers >= LEAST) && variance > 0.0 && variance.is_finite();
        let mut half = f64::INFINITY;
        if enough {
            let mixed = *likely.get_or_insert_with(|| (LIKELY * control.mean).powi(2).max(variance / 4.0));
            let both = variance + mixed;
            let odds = 0.5 * (variance / both).ln() + mixed * difference * difference / (2.0 * variance * both);
            p = p.min((-odds).exp());
            half = (variance * both / mixed * (both / (variance * alpha * alpha)).ln()).sqrt();
        }
        looks.push(Peek {
            day: day.clone(),
            viewers: (groups[0].viewers + groups[1].viewers) as u64,
            difference: difference * days,
            low: (difference - half) * days,
            high: (difference + half) * days,
            p,
        });
    }
    looks
}

fn means(read: &Exposures, groups: &[Moments; 2]) -> [Mean; 2] {
    match () {
        () if read.ratio => groups.map(|g| g.ratio()),
        () if read.has_before => cuped(groups).0,
        () => groups.map(|g| g.plain()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::exposures::{Row, Viewer};
    use rand::SeedableRng;
    use rand_distr::{Distribution, Normal};
    use rand_pcg::Pcg64Mcg;

    /// Viewers with habits of their own, watched for thirty days; the change adds `effect` a day.
    fn month(seed: u64, effect: f64) -> Exposures {
        let mut dice = Pcg64Mcg::seed_from_u64(seed);
        let standard = Normal::new(0.0, 1.0).expect("a normal");
        let mut draw = || standard.sample(&mut dice);
        let viewers: Vec<_> = (0..400_u32).map(|i| Viewer { group: (i % 2) as u8, before: 0.0 }).collect();
        let habits: Vec<f64> = viewers.iter().map(|_| 60.0 + 20.0 * draw()).collect();
        let each = |day: u32| (0..viewers.len()).map(move |v| (day, v)).collect::<Vec<_>>();
        let rows = (0..30).flat_map(each).map(|(day, v)| {
            let value = habits[v] + 40.0 * draw() + effect * f64::from(viewers[v].group);
            Row { viewer: v as u32, day, value, of: 1.0 }
        });
        let rows = rows.collect();
        let days = (1..=30).map(|d| d.to_string()).collect();
        Exposures { groups: ["a".to_owned(), "b".to_owned()], viewers, rows, days, ..Exposures::default() }
    }

    #[test]
    fn a_true_null_peeked_at_daily_is_seldom_called_a_difference() {
        let called = (0..1000).filter(|seed| peek(&month(*seed, 0.0), 0.05).iter().any(|d| d.p < 0.05)).count();
        assert!(called <= 50, "{called} of 1000");
        println!("{called} of 1000 true nulls called a difference");
        let found = (0..50).filter(|seed| peek(&month(*seed, 12.0), 0.05).iter().any(|d| d.p < 0.05)).count();
        assert!(found >= 45, "{found} of 50 true differences found");
    }
}
