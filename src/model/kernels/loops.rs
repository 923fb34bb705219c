//! The loops themselves, written once over lanes of any width; each kind compiles them for its own instructions.
//!
//! Everything here is `inline(always)`: it has to melt into the function that enables the instructions.

#![allow(
    clippy::inline_always,
    reason = "a call in the inner loop, or one without the instructions, costs ten times as much"
)]
#![allow(clippy::needless_range_loop, reason = "indices of tiles are the formula; loops over them unroll whole")]
#![allow(clippy::missing_safety_doc, reason = "one contract for all: the trait's, and the sizes that `Kernel` checks")]

use crate::model::kernel::{BLOCK, CHUNK, Rows, System, TOGETHER, row_start};

/// Floats that one instruction works on.
///
/// # Safety
/// Only to be called where the instructions of the implementor are enabled; pointers are good for `N` floats.
pub unsafe trait Lanes: Copy {
    const N: usize;
    type V: Copy;
    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn load(p: *const f32) -> Self::V;
    unsafe fn store(p: *mut f32, v: Self::V);
    /// a * b + c
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// c - a * b
    unsafe fn fnma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    /// 1 / sqrt(v), at full precision; tiny and negative pivots are lifted so that no answer is NaN.
    unsafe fn pivot(v: Self::V) -> Self::V;
    unsafe fn prefetch(p: *const f32);
    /// Reads `N` floats at each of `N` places `stride` apart and writes them turned round.
    unsafe fn turn(from: *const f32, stride: usize, to: *mut f32);
    unsafe fn above(p: *const f32, limit: f32) -> u32;
}

/// Adds s'g over `n` rows to `M` rows and `W` lanes of a matrix.
#[inline(always)]
unsafe fn tile<L: Lanes, const M: usize, const W: usize>(
    a: *mut f32,
    stride: usize,
    g: *const f32,
    s: *const f32,
    n: usize,
    rank: usize,
) {
    // SAFETY: callers hand places inside buffers whose sizes `Kernel` has checked.
    unsafe {
        let mut sum = [[L::splat(0.0); W]; M];
        for m in 0..M {
            for w in 0..W {
                sum[m][w] = L::load(a.add(m * stride + w * L::N));
            }
        }
        let (mut g, mut s) = (g, s);
        for _ in 0..n {
            let mut v = [L::splat(0.0); W];
            for w in 0..W {
                v[w] = L::load(g.add(w * L::N));
            }
            for m in 0..M {
                let b = L::splat(*s.add(m));
                for w in 0..W {
                    sum[m][w] = L::fma(b, v[w], sum[m][w]);
                }
            }
            g = g.add(rank);
            s = s.add(rank);
        }
        for m in 0..M {
            for w in 0..W {
                L::store(a.add(m * stride + w * L::N), sum[m][w]);
            }
        }
    }
}

/// Adds s'g over `n` rows to the lower half, in tiles of `M` rows by up to three lanes.
#[inline(always)]
unsafe fn product<L: Lanes, const M: usize>(a: *mut f32, g: *const f32, s: *const f32, n: usize, rank: usize) {
    // SAFETY: as in `tile`.
    unsafe {
        for i in (0..rank).step_by(M) {
            let width = BLOCK * (i / BLOCK + 1);
            let row = a.add(row_start(i));
            let mut column = 0;
            while column < width {
                let left = (width - column) / L::N;
                let (to, from, by) = (row.add(column), g.add(column), s.add(i));
                column += L::N
                    * match left {
                        1 => {
                            tile::<L, M, 1>(to, width, from, by, n, rank);
                            1
                        }
                        2 | 4 => {
                            tile::<L, M, 2>(to, width, from, by, n, rank);
                            2
                        }
                        _ => {
                            tile::<L, M, 3>(to, width, from, by, n, rank);
                            3
                        }
                    };
            }
        }
    }
}

#[inline(always)]
pub unsafe fn accumulate<L: Lanes, const M: usize>(system: &mut System<'_>, rows: &Rows<'_>) {
    let rank = rows.rank;
    let ahead = 8;
    let g = system.scratch.as_mut_ptr();
    // SAFETY: `Kernel::accumulate` checked columns and sizes.
    unsafe {
        let s = g.add(CHUNK * rank);
        let base = rows.factors.as_ptr();
        let right = system.right.as_mut_ptr();
        let total = rows.columns.len();
        let mut from = 0;
        while from < total {
            let n = CHUNK.min(total - from);
            for r in 0..n {
                if from + r + ahead < total {
                    let next = base.add(*rows.columns.get_unchecked(from + r + ahead) as usize * rank);
                    for line in (0..rank).step_by(16) {
                        L::prefetch(next.add(line));
                    }
                }
                let y = base.add(*rows.columns.get_unchecked(from + r) as usize * rank);
                let (matrix, side) = *rows.weights.get_unchecked(from + r);
                let (matrix, side) = (L::splat(matrix), L::splat(side));
                for c in (0..rank).step_by(L::N) {
                    let v = L::load(y.add(c));
                    L::store(g.add(r * rank + c), v);
                    L::store(s.add(r * rank + c), L::mul(matrix, v));
                    L::store(right.add(c), L::fma(side, v, L::load(right.add(c))));
                }
            }
            product::<L, M>(system.matrix.as_mut_ptr(), g, s, n, rank);
            from += n;
        }
    }
}

#[inline(always)]
pub unsafe fn gram<L: Lanes, const M: usize>(matrix: &mut [f32], factors: &[f32], rank: usize) {
    for chunk in factors.chunks(CHUNK * rank) {
        // SAFETY: a chunk holds whole rows; `Kernel::gram` checked the matrix.
        unsafe { product::<L, M>(matrix.as_mut_ptr(), chunk.as_ptr(), chunk.as_ptr(), chunk.len() / rank, rank) }
    }
}

/// Cholesky of `N` systems at once, each in a lane: left-looking, in tiles of `M` rows by four columns. The right sides are
/// carried along as one more row, which solves the first triangle on the way.
#[inline(always)]
pub unsafe fn solve<L: Lanes, const M: usize>(matrices: &[f32], sides: &mut [f32], scratch: &mut [f32], rank: usize) {
    // SAFETY: `Kernel::solve` checked the sizes; every place below is `row_start(i) + j` with j <= i < rank, times lanes.
    unsafe {
        let size = crate::model::kernel::matrix_len(rank);
        let l = scratch.as_mut_ptr();
        let y = l.add(size * L::N);
        for i in 0..rank {
            let start = row_start(i);
            for j in (0..=i).step_by(L::N) {
                L::turn(matrices.as_ptr().add(start + j), size, l.add((start + j) * L::N));
            }
        }
        for j in (0..rank).step_by(L::N) {
            L::turn(sides.as_ptr().add(j), rank, y.add(j * L::N));
        }
        for j in (0..rank).step_by(4) {
            let corner = factor_corner::<L>(l, j);
            let mut i = j + 4;
            while i < rank && !(i).is_multiple_of(M) {
                below::<L, 1>(l, l.add(row_start(i) * L::N), 0, j, &corner);
                i += 1;
            }
            while i < rank {
                let width = BLOCK * (i / BLOCK + 1);
                below::<L, M>(l, l.add(row_start(i) * L::N), width * L::N, j, &corner);
                i += M;
            }
            below::<L, 1>(l, y, 0, j, &corner);
        }
        for i in (0..rank).rev() {
            let row = l.add(row_start(i) * L::N);
            let x = L::mul(L::load(y.add(i * L::N)), L::load(row.add(i * L::N)));
            L::store(y.add(i * L::N), x);
            for j in 0..i {
                let to = y.add(j * L::N);
                L::store(to, L::fnma(x, L::load(row.add(j * L::N)), L::load(to)));
            }
        }
        for j in (0..rank).step_by(L::N) {
            // Turned back, lane by lane: `N` rows of `N` become the answers' columns.
            let mut square = [0.0_f32; 256];
            L::turn(y.add(j * L::N), L::N, square.as_mut_ptr());
            for lane in 0..L::N {
                L::store(sides.as_mut_ptr().add(lane * rank + j), L::load(square.as_ptr().add(lane * L::N)));
            }
        }
    }
}

/// Factors the four by four corner at `j`; keeps one over its diagonal in the matrix, and returns it whole.
#[inline(always)]
unsafe fn factor_corner<L: Lanes>(l: *mut f32, j: usize) -> [[L::V; 4]; 4] {
    // SAFETY: as in `solve`.
    unsafe {
        let rows: [*mut f32; 4] = std::array::from_fn(|m| l.add(row_start(j + m) * L::N));
        let mut c = [[L::splat(0.0); 4]; 4];
        for m in 0..4 {
            for w in 0..=m {
                c[m][w] = L::load(rows[m].add((j + w) * L::N));
            }
        }
        for p in 0..j {
            let v: [L::V; 4] = std::array::from_fn(|m| L::load(rows[m].add(p * L::N)));
            for m in 0..4 {
                for w in 0..=m {
                    c[m][w] = L::fnma(v[m], v[w], c[m][w]);
                }
            }
        }
        for w in 0..4 {
            for q in 0..w {
                for m in w..4 {
                    c[m][w] = L::fnma(c[m][q], c[w][q], c[m][w]);
                }
            }
            let over = L::pivot(c[w][w]);
            for m in w + 1..4 {
                c[m][w] = L::mul(c[m][w], over);
            }
            c[w][w] = over;
        }
        for m in 0..4 {
            for w in 0..=m {
                L::store(rows[m].add((j + w) * L::N), c[m][w]);
            }
        }
        c
    }
}

/// Finishes columns `j..j + 4` of `M` rows below the corner.
#[inline(always)]
unsafe fn below<L: Lanes, const M: usize>(
    l: *const f32,
    row: *mut f32,
    stride: usize,
    j: usize,
    corner: &[[L::V; 4]; 4],
) {
    // SAFETY: as in `solve`.
    unsafe {
        let above: [*const f32; 4] = std::array::from_fn(|w| l.add(row_start(j + w) * L::N));
        let mut c = [[L::splat(0.0); 4]; M];
        for m in 0..M {
            for w in 0..4 {
                c[m][w] = L::load(row.add(m * stride + (j + w) * L::N));
            }
        }
        for p in 0..j {
            let mut v = [L::splat(0.0); 4];
            for w in 0..4 {
                v[w] = L::load(above[w].add(p * L::N));
            }
            for m in 0..M {
                let own = L::load(row.add(m * stride + p * L::N));
                for w in 0..4 {
                    c[m][w] = L::fnma(own, v[w], c[m][w]);
                }
            }
        }
        for m in 0..M {
            for w in 0..4 {
                for q in 0..w {
                    c[m][w] = L::fnma(c[m][q], corner[w][q], c[m][w]);
                }
                c[m][w] = L::mul(c[m][w], corner[w][w]);
                L::store(row.add(m * stride + (j + w) * L::N), c[m][w]);
            }
        }
    }
}

/// Scores `TOGETHER` viewers, `M` at a time, against blocks of sixteen programmes; `P` lanes make a block.
#[inline(always)]
pub unsafe fn score<L: Lanes, const M: usize, const P: usize>(
    viewers: &[f32],
    tiles: &[f32],
    out: &mut [f32],
    rank: usize,
) {
    let width = tiles.len() / rank;
    // SAFETY: `Kernel::score` checked the sizes.
    unsafe {
        for first in (0..TOGETHER).step_by(M) {
            let mut block = 0;
            while block * BLOCK < width {
                if (block + 1) * BLOCK < width {
                    score_tile::<L, M, P, 2>(viewers, tiles, out, (first, block), rank, width);
                    block += 2;
                } else {
                    score_tile::<L, M, P, 1>(viewers, tiles, out, (first, block), rank, width);
                    block += 1;
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn score_tile<L: Lanes, const M: usize, const P: usize, const B: usize>(
    viewers: &[f32],
    tiles: &[f32],
    out: &mut [f32],
    (first, block): (usize, usize),
    rank: usize,
    width: usize,
) {
    // SAFETY: as in `score`.
    unsafe {
        let x = viewers.as_ptr().add(first * rank);
        let t = tiles.as_ptr().add(block * rank * BLOCK);
        let mut sum = [[[L::splat(0.0); P]; B]; M];
        for k in 0..rank {
            let mut v = [[L::splat(0.0); P]; B];
            for b in 0..B {
                for p in 0..P {
                    v[b][p] = L::load(t.add((b * rank + k) * BLOCK + p * L::N));
                }
            }
            for m in 0..M {
                let own = L::splat(*x.add(m * rank + k));
                for b in 0..B {
                    for p in 0..P {
                        sum[m][b][p] = L::fma(own, v[b][p], sum[m][b][p]);
                    }
                }
            }
        }
        for m in 0..M {
            for b in 0..B {
                for p in 0..P {
                    let to = (first + m) * width + (block + b) * BLOCK + p * L::N;
                    L::store(out.as_mut_ptr().add(to), sum[m][b][p]);
                }
            }
        }
    }
}

/// The scalar way to turn a square of `n` by `n`.
#[inline(always)]
pub unsafe fn turn_slowly(from: *const f32, stride: usize, to: *mut f32, n: usize) {
    for i in 0..n {
        for j in 0..n {
            // SAFETY: callers hand `n` places of `n` floats, and room for the square.
            unsafe { *to.add(j * n + i) = *from.add(i * stride + j) }
        }
    }
}
