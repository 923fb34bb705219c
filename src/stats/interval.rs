//! How far a number may be from the truth: Wilson for shares, a block bootstrap for anything else.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// Two-sided 99 %: a gate that asks often must seldom be wrong.
pub const Z99: f64 = 2.575_829_303_548_901;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
}

/// Returns Wilson's interval for a share of which `hits` of `of` were seen.
pub fn wilson(hits: u64, of: u64, z: f64) -> Option<Interval> {
    if of == 0 {
        return None;
    }
    let (n, p) = (of as f64, hits as f64 / of as f64);
    let middle = p + z * z / (2.0 * n);
    let reach = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z * z / n;
    Some(Interval { low: ((middle - reach) / scale).max(0.0), high: ((middle + reach) / scale).min(1.0) })
}

/// Returns Student's quantile that belongs to the normal quantile `z`, by Cornish and Fisher's expansion
/// (within 1 % from 5 degrees of freedom on).
pub fn student(z: f64, freedom: f64) -> f64 {
    let v = freedom;
    z + (z.powi(3) + z) / (4.0 * v)
        + (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / (96.0 * v.powi(2))
        + (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / (384.0 * v.powi(3))
}

/// The fewest blocks from which a spread is worth estimating.
pub const FEWEST_BLOCKS: usize = 8;
/// The fewest blocks from which it can be told how much one resembles the next.
const FEWEST_FOR_MEMORY: usize = 14;

/// Returns the half-width of the 99 % interval of a statistic over `slots` moments in a row.
///
/// Neighbouring moments resemble each other, so runs of them are drawn whole. How long their memory is nobody knows:
/// the width is the largest over several lengths of run, each with Student's quantile for the number of its blocks;
/// and where the longest runs still resemble each other, it grows by what a memory of that kind adds (AR(1)).
/// `statistic` gets how often each moment was drawn; `None` says that this draw has no value.
pub fn block_bootstrap(
    slots: usize,
    draws: u32,
    seed: u64,
    mut statistic: impl FnMut(&[u32]) -> Option<f64>,
) -> Option<f64> {
    let mut widest: Option<f64> = None;
    let mut length = 1;
    while slots / length >= FEWEST_BLOCKS {
        let mut rng = Pcg64Mcg::seed_from_u64(seed ^ length as u64);
        let mut weights = vec![0; slots];
        let mut values = Vec::with_capacity(draws as usize);
        for _ in 0..draws {
            draw(&mut weights, length, &mut rng);
            values.push(statistic(&weights)?);
        }
        let blocks = slots as f64 / length as f64;
        // Blocks drawn with replacement spread a little less than the truth; few of them, noticeably less.
        let spread = deviation(&values) * (blocks / (blocks - 1.0)).sqrt();
        let mut width = spread * student(Z99, blocks - 1.0);
        if slots / length >= FEWEST_FOR_MEMORY && slots / (length * 2) < FEWEST_FOR_MEMORY {
            let r = memory(slots, length, &mut statistic)?;
            width *= ((1.0 + r) / (1.0 - r)).sqrt();
        }
        widest = Some(widest.unwrap_or(0.0).max(width));
        length *= 2;
    }
    widest
}

/// Returns how much a block resembles the next, 0 to 0.95: the first autocorrelation of the jackknife's values.
fn memory(slots: usize, length: usize, statistic: &mut impl FnMut(&[u32]) -> Option<f64>) -> Option<f64> {
    let blocks = slots / length;
    let mut without = Vec::with_capacity(blocks);
    for block in 0..blocks {
        let mut weights = vec![1; slots];
        weights[block * length..(block + 1) * length].fill(0);
        without.push(statistic(&weights)?);
    }
    let mean = without.iter().sum::<f64>() / blocks as f64;
    let square: f64 = without.iter().map(|v| (v - mean).powi(2)).sum();
    if square == 0.0 {
        return Some(0.0);
    }
    let product: f64 = without.windows(2).map(|w| (w[0] - mean) * (w[1] - mean)).sum();
    let seen = product / square;
    // In a short series the autocorrelation looks smaller than it is; this is its known bias.
    Some((seen + (1.0 + 3.0 * seen) / blocks as f64).clamp(0.0, 0.95))
}

/// Draws runs of `length` moments, around the end to the beginning, until as many are drawn as there are.
fn draw(weights: &mut [u32], length: usize, rng: &mut Pcg64Mcg) {
    weights.fill(0);
    let slots = weights.len();
    let mut left = slots;
    while left > 0 {
        let start = rng.random_range(0..slots);
        for step in 0..length.min(left) {
            weights[(start + step) % slots] += 1;
        }
        left -= length.min(left);
    }
}

fn deviation(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_agrees_with_the_textbook_and_knows_no_data() {
        assert_eq!(wilson(0, 0, 1.96), None);
        let seen = wilson(10, 100, 1.96).expect("data");
        assert!((seen.low - 0.0552).abs() < 1e-3 && (seen.high - 0.1744).abs() < 1e-3, "{seen:?}");
        assert!(wilson(0, 1000, 1.96).expect("data").high > 0.003);
    }

    #[test]
    fn student_agrees_with_the_tables() {
        for (freedom, table) in [(7.0, 3.499), (9.0, 3.250), (19.0, 2.861), (59.0, 2.662), (1e6, 2.576)] {
            let seen = student(Z99, freedom);
            assert!((seen / table - 1.0).abs() < 0.01, "{freedom}: {seen}");
        }
    }

    #[test]
    fn independent_moments_get_the_width_that_theory_gives() {
        let mut rng = Pcg64Mcg::seed_from_u64(1);
        let values: Vec<f64> = (0..400).map(|_| rng.random::<f64>()).collect();
        let width = block_bootstrap(400, 400, 7, |w| Some(mean(&values, w))).expect("data");
        let theory = Z99 * (1.0 / 12.0_f64 / 400.0).sqrt();
        assert!((1.0..1.8).contains(&(width / theory)), "{}", width / theory);
    }

    #[test]
    fn moments_that_remember_get_a_wider_interval() {
        let mut rng = Pcg64Mcg::seed_from_u64(1);
        let mut level = 0.0;
        let values: Vec<f64> = (0..400)
            .map(|_| {
                level = 0.95 * level + rng.random::<f64>() - 0.5;
                level
            })
            .collect();
        let shuffled: Vec<f64> = (0..400).map(|i| values[(i * 171) % 400]).collect();
        let width = |v: &[f64]| block_bootstrap(400, 400, 7, |w| Some(mean(v, w))).expect("data");
        assert!(width(&values) > 3.0 * width(&shuffled));
    }

    #[test]
    fn too_few_moments_have_no_interval() {
        assert_eq!(block_bootstrap(FEWEST_BLOCKS - 1, 100, 7, |_| Some(1.0)), None);
    }

    fn mean(values: &[f64], weights: &[u32]) -> f64 {
        values.iter().zip(weights).map(|(v, w)| v * f64::from(*w)).sum::<f64>() / values.len() as f64
    }
}
