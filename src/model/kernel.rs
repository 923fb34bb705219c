//! The inner loops of training and scoring, as whatever this processor does them best; chosen once, at run time.
//!
//! A system's matrix is kept as its lower half in blocks of sixteen columns: row `i` holds `16 * (i / 16 + 1)` floats.

use std::sync::OnceLock;

/// Columns of a block; every rank is padded to a multiple of it.
pub const BLOCK: usize = 16;
/// Viewers that are scored together.
pub const TOGETHER: usize = 8;

/// One way of doing it. The pointers are only called on a processor that has what they were built for.
pub struct Kernel {
    pub name: &'static str,
    /// Systems that `solve` takes at once.
    pub lanes: usize,
    pub(super) accumulate: unsafe fn(&mut System<'_>, &Rows<'_>),
    pub(super) gram: unsafe fn(&mut [f32], &[f32], usize),
    pub(super) solve: unsafe fn(&[f32], &mut [f32], &mut [f32], usize),
    pub(super) score: unsafe fn(&[f32], &[f32], &mut [f32], usize),
    pub(super) above: unsafe fn(&[f32], f32) -> u32,
}

/// One row's system under construction.
pub struct System<'a> {
    pub matrix: &'a mut [f32],
    pub right: &'a mut [f32],
    /// Room for `2 * CHUNK` rows of factors.
    pub scratch: &'a mut [f32],
}

/// The factors of what a row has seen, and what each weighs.
pub struct Rows<'a> {
    pub factors: &'a [f32],
    pub rank: usize,
    pub columns: &'a [u32],
    /// For the matrix and for the right side.
    pub weights: &'a [(f32, f32)],
}

/// Rows that are gathered before they are multiplied: they stay in the first-level cache.
pub const CHUNK: usize = 64;

/// Returns the number of floats of a system's matrix.
pub fn matrix_len(rank: usize) -> usize {
    let blocks = rank / BLOCK;
    BLOCK * BLOCK * blocks * (blocks + 1) / 2
}

/// Returns where row `i` of a system's matrix begins.
#[inline]
pub fn row_start(i: usize) -> usize {
    let block = i / BLOCK;
    BLOCK * BLOCK * block * (block + 1) / 2 + (i % BLOCK) * BLOCK * (block + 1)
}

pub fn padded(rank: usize) -> usize {
    rank.next_multiple_of(BLOCK)
}

impl Kernel {
    /// Adds what a row has seen to its matrix and right side.
    pub fn accumulate(&self, system: &mut System<'_>, rows: &Rows<'_>) {
        let rank = rows.rank;
        assert!(rank.is_multiple_of(BLOCK) && system.matrix.len() >= matrix_len(rank) && system.right.len() >= rank);
        assert!(system.scratch.len() >= 2 * CHUNK * rank && rows.columns.len() == rows.weights.len());
        let held = rows.factors.len() / rank;
        assert!(rows.columns.iter().all(|c| (*c as usize) < held));
        // SAFETY: the sizes were just checked, and `best` hands out kernels this processor can run.
        unsafe { (self.accumulate)(system, rows) }
    }

    /// Adds the products of all rows of `factors` with themselves.
    pub fn gram(&self, matrix: &mut [f32], factors: &[f32], rank: usize) {
        assert!(rank.is_multiple_of(BLOCK) && matrix.len() >= matrix_len(rank) && factors.len().is_multiple_of(rank));
        // SAFETY: as above.
        unsafe { (self.gram)(matrix, factors, rank) }
    }

    /// Solves `lanes` systems, given one after the other; the right sides become the answers.
    pub fn solve(&self, matrices: &[f32], sides: &mut [f32], scratch: &mut [f32], rank: usize) {
        assert!(matrices.len() >= self.lanes * matrix_len(rank) && sides.len() >= self.lanes * rank);
        assert!(rank.is_multiple_of(BLOCK) && scratch.len() >= self.solve_room(rank));
        // SAFETY: as above.
        unsafe { (self.solve)(matrices, sides, scratch, rank) }
    }

    /// Returns the floats that `solve` needs as scratch.
    pub fn solve_room(&self, rank: usize) -> usize {
        (matrix_len(rank) + rank) * self.lanes
    }

    /// Scores `TOGETHER` viewers against blocks of sixteen programmes: `tiles` holds `[block][factor][16]`.
    pub fn score(&self, viewers: &[f32], tiles: &[f32], out: &mut [f32], rank: usize) {
        assert!(rank > 0 && viewers.len() == TOGETHER * rank && tiles.len().is_multiple_of(rank * BLOCK));
        assert!(out.len() == TOGETHER * (tiles.len() / rank));
        // SAFETY: as above.
        unsafe { (self.score)(viewers, tiles, out, rank) }
    }

    /// Returns one bit for each of sixteen scores that is above `limit`.
    pub fn above(&self, scores: &[f32], limit: f32) -> u32 {
        assert!(scores.len() >= BLOCK);
        // SAFETY: as above.
        unsafe { (self.above)(scores, limit) }
    }
}

/// Returns the fastest kernel this processor can run.
pub fn best() -> &'static Kernel {
    static BEST: OnceLock<&Kernel> = OnceLock::new();
    BEST.get_or_init(|| all()[0])
}

/// Returns every kernel this processor can run, fastest first.
pub fn all() -> Vec<&'static Kernel> {
    let mut found: Vec<&'static Kernel> = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            found.push(&super::kernels::avx512::KERNEL);
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            found.push(&super::kernels::avx2::KERNEL);
        }
    }
    found.push(&super::kernels::portable::KERNEL);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers in -1..1 that look drawn.
    fn drawn(n: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        (0..n)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / 8_388_608.0 - 1.0
            })
            .collect()
    }

    /// Solves a whole system by elimination in f64: slow, and plainly right.
    fn reference(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Vec<f64> {
        let n = b.len();
        for i in 0..n {
            for j in i + 1..n {
                let factor = a[j][i] / a[i][i];
                for k in i..n {
                    a[j][k] -= factor * a[i][k];
                }
                b[j] -= factor * b[i];
            }
        }
        for i in (0..n).rev() {
            let known: f64 = (i + 1..n).map(|k| a[i][k] * b[k]).sum();
            b[i] = (b[i] - known) / a[i][i];
        }
        b
    }

    #[test]
    fn every_kernel_solves_what_elimination_solves() {
        for kernel in all() {
            for (rank, count) in [(16, 5), (32, 64), (64, 150), (80, 1)] {
                let factors = drawn(40 * rank, 7);
                let columns: Vec<u32> = (0..count).map(|i| i * 13 % 40).collect();
                let weights: Vec<(f32, f32)> =
                    columns.iter().map(|c| (*c as f32 * 0.1, *c as f32 * 0.1 + 1.0)).collect();
                let size = matrix_len(rank);
                let mut matrices = vec![0.0; kernel.lanes * size];
                let mut sides = vec![0.0; kernel.lanes * rank];
                let mut scratch = vec![0.0; 2 * CHUNK * rank];
                for lane in 0..kernel.lanes {
                    let matrix = &mut matrices[lane * size..(lane + 1) * size];
                    kernel.gram(matrix, &factors, rank);
                    (0..rank).for_each(|i| matrix[row_start(i) + i] += 1.0 + lane as f32);
                    let right = &mut sides[lane * rank..(lane + 1) * rank];
                    let rows = Rows { factors: &factors, rank, columns: &columns, weights: &weights };
                    kernel.accumulate(&mut System { matrix, right, scratch: &mut scratch }, &rows);
                }
                kernel.solve(&matrices, &mut sides, &mut vec![0.0; kernel.solve_room(rank)], rank);
                let row = |r: usize, i: usize| f64::from(factors[r * rank + i]);
                for lane in 0..kernel.lanes {
                    let mut a = vec![vec![0.0; rank]; rank];
                    let mut b = vec![0.0; rank];
                    for (i, line) in a.iter_mut().enumerate() {
                        for (j, cell) in line.iter_mut().enumerate() {
                            *cell = (0..40).map(|r| row(r, i) * row(r, j)).sum::<f64>();
                            let seen = columns.iter().zip(&weights);
                            *cell += seen
                                .map(|(c, w)| f64::from(w.0) * row(*c as usize, i) * row(*c as usize, j))
                                .sum::<f64>();
                        }
                        line[i] += 1.0 + lane as f64;
                        b[i] = columns.iter().zip(&weights).map(|(c, w)| f64::from(w.1) * row(*c as usize, i)).sum();
                    }
                    let expected = reference(a, b);
                    for (got, want) in sides[lane * rank..].iter().zip(expected) {
                        let far = (f64::from(*got) - want).abs();
                        assert!(
                            far < 2e-4 * (1.0 + want.abs()),
                            "{} rank {rank} lane {lane}: {got} {want}",
                            kernel.name
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn every_kernel_scores_as_dot_products_do() {
        for kernel in all() {
            for (rank, programmes) in [(7, 16), (64, 48), (16, 80)] {
                let (viewers, rows) = (drawn(TOGETHER * rank, 1), drawn(programmes * rank, 2));
                let tiles = super::super::tiles::Tiles::of(&rows, rank);
                let mut out = vec![0.0; TOGETHER * programmes];
                kernel.score(&viewers, &tiles.floats, &mut out, rank);
                for v in 0..TOGETHER {
                    for p in 0..programmes {
                        let dot: f32 = (0..rank).map(|k| viewers[v * rank + k] * rows[p * rank + k]).sum();
                        assert!((out[v * programmes + p] - dot).abs() < 1e-4, "{} {v} {p}", kernel.name);
                    }
                }
                let bits: u32 = (0..16).filter(|i| out[*i] > 0.1).map(|i| 1 << i).sum();
                assert_eq!(kernel.above(&out, 0.1), bits, "{}", kernel.name);
            }
        }
    }
}
