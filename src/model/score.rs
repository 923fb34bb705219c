//! Viewers against all programmes: scores eight viewers at a time, strikes out what was seen, finds the highest.

use super::kernel::{self, BLOCK, TOGETHER};
use super::tiles::Tiles;

/// One thread's room for scoring.
pub struct Scores {
    asking: Vec<f32>,
    scores: Vec<f32>,
}

impl Scores {
    pub fn new(tiles: &Tiles) -> Self {
        Self { asking: vec![0.0; TOGETHER * tiles.rank], scores: vec![0.0; TOGETHER * tiles.width()] }
    }

    /// Scores up to eight viewers, given by their factors; what each has seen scores minus infinity.
    pub fn score<'a>(&mut self, tiles: &Tiles, viewers: impl Iterator<Item = (&'a [f32], &'a [u32])>) {
        let (rank, width) = (tiles.rank, tiles.width());
        let mut all_seen = Vec::with_capacity(TOGETHER);
        self.asking.fill(0.0);
        for (i, (factors, seen)) in viewers.take(TOGETHER).enumerate() {
            self.asking[i * rank..(i + 1) * rank].copy_from_slice(factors);
            all_seen.push(seen);
        }
        kernel::best().score(&self.asking, &tiles.floats, &mut self.scores, rank);
        for (row, seen) in self.scores.chunks_mut(width).zip(all_seen) {
            for p in seen {
                row[*p as usize] = f32::NEG_INFINITY;
            }
            row[tiles.programmes..].fill(f32::NEG_INFINITY);
        }
    }

    /// Returns the scores of the `i`-th viewer of the last call.
    pub fn of(&self, i: usize, tiles: &Tiles) -> &[f32] {
        &self.scores[i * tiles.width()..(i + 1) * tiles.width()]
    }
}

/// Writes the highest scores into `best`, highest first; of equal ones the lower index comes first.
///
/// What is above the limit is only collected; from time to time the limit is raised to the last of the best so far. Scores
/// and indices are collected as whole numbers that sort alike: comparing pairs takes three times as long.
pub fn highest(scores: &[f32], top: usize, best: &mut Vec<(u32, f32)>) {
    best.clear();
    if top == 0 {
        return;
    }
    let kernel = kernel::best();
    let room = 2 * top + 4 * BLOCK;
    let mut keys = Vec::with_capacity(room + BLOCK);
    let mut limit = f32::NEG_INFINITY;
    for (block, sixteen) in scores.chunks_exact(BLOCK).enumerate() {
        let mut bits = kernel.above(sixteen, limit);
        while bits != 0 {
            let i = bits.trailing_zeros() as usize;
            bits &= bits - 1;
            keys.push(key((block * BLOCK + i) as u32, sixteen[i]));
        }
        if keys.len() > room {
            keep(top, &mut keys);
            // A later one that is only as high comes after all of these.
            limit = read_key(keys[top - 1]).1;
        }
    }
    if keys.len() > top {
        keep(top, &mut keys);
    }
    keys.sort_unstable();
    best.extend(keys.into_iter().map(read_key));
}

/// Keeps the `top` first ones of more, in any order but for the last, which is in its place.
fn keep(top: usize, keys: &mut Vec<u64>) {
    keys.select_nth_unstable(top - 1);
    keys.truncate(top);
}

const SIGN: u32 = 1 << 31;

/// Returns a number that is lower for a higher score, and for a lower index of equal scores.
fn key(index: u32, score: f32) -> u64 {
    // Zero has two signs, which are no difference.
    let bits = (score + 0.0).to_bits();
    let rising = if bits & SIGN == 0 { bits | SIGN } else { !bits };
    u64::from(!rising) << 32 | u64::from(index)
}

fn read_key(key: u64) -> (u32, f32) {
    let rising = !((key >> 32) as u32);
    let bits = if rising & SIGN == 0 { !rising } else { rising & !SIGN };
    (key as u32, f32::from_bits(bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_come_in_order_and_ties_by_index() {
        let mut scores: Vec<f32> = (0..64).map(|i| ((i * 37) % 16) as f32).collect();
        scores[5] = f32::NEG_INFINITY;
        let mut expected: Vec<(u32, f32)> =
            (0..64_u32).map(|i| (i, scores[i as usize])).filter(|s| s.1.is_finite()).collect();
        expected.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let mut best = Vec::new();
        for top in [1, 7, 63, 64, 100] {
            highest(&scores, top, &mut best);
            assert_eq!(best, expected[..top.min(expected.len())], "top {top}");
        }
    }

    proptest::proptest! {
        #[test]
        fn the_same_as_by_sorting_all(seeds in proptest::collection::vec(0_u16..600, 0..2000), top in 1_usize..150, rises in proptest::bool::ANY) {
            // Rising scores are the worst case: each one is among the best when it comes.
            let mut scores: Vec<f32> = seeds.iter().map(|s| if *s == 0 { f32::NEG_INFINITY } else { f32::from(*s) / 7.0 - 40.0 }).collect();
            if rises {
                scores.sort_by(f32::total_cmp);
            }
            scores.resize(scores.len().next_multiple_of(BLOCK), f32::NEG_INFINITY);
            let mut expected: Vec<(u32, f32)> = (0..).zip(scores.iter().copied()).filter(|s: &(u32, f32)| s.1.is_finite()).collect();
            expected.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            expected.truncate(top);
            let mut best = Vec::new();
            highest(&scores, top, &mut best);
            proptest::prop_assert_eq!(best, expected);
        }
    }
}
