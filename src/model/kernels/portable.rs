//! Eight plain floats at a time, for any processor; the compiler makes of them what it can.

#![allow(clippy::inline_always, reason = "see `loops`")]

use super::loops::{self, Lanes};
use crate::model::kernel::{Kernel, Rows, System};

pub static KERNEL: Kernel = Kernel { name: "portable", lanes: 8, accumulate, gram, solve, score, above };

#[derive(Clone, Copy)]
struct Eight;

// SAFETY: plain arithmetic; it needs nothing of the processor.
unsafe impl Lanes for Eight {
    const N: usize = 8;
    type V = [f32; 8];

    #[inline(always)]
    unsafe fn splat(x: f32) -> [f32; 8] {
        [x; 8]
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> [f32; 8] {
        // SAFETY: the caller's pointer is good for eight floats.
        unsafe { p.cast::<[f32; 8]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: [f32; 8]) {
        // SAFETY: as in `load`.
        unsafe { p.cast::<[f32; 8]>().write_unaligned(v) }
    }
    // `mul_add` would be a library call where the processor has none.
    #[inline(always)]
    unsafe fn fma(a: [f32; 8], b: [f32; 8], c: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    unsafe fn fnma(a: [f32; 8], b: [f32; 8], c: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|i| c[i] - a[i] * b[i])
    }
    #[inline(always)]
    unsafe fn mul(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|i| a[i] * b[i])
    }
    #[inline(always)]
    unsafe fn pivot(v: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|i| 1.0 / v[i].max(1e-20).sqrt())
    }
    #[inline(always)]
    unsafe fn prefetch(_: *const f32) {}
    #[inline(always)]
    unsafe fn turn(from: *const f32, stride: usize, to: *mut f32) {
        // SAFETY: as the caller's.
        unsafe { loops::turn_slowly(from, stride, to, 8) }
    }
    #[inline(always)]
    unsafe fn above(p: *const f32, limit: f32) -> u32 {
        // SAFETY: the caller's pointer is good for eight floats.
        let v = unsafe { Self::load(p) };
        (0..8).fold(0, |bits, i| bits | u32::from(v[i] > limit) << i)
    }
}

unsafe fn accumulate(system: &mut System<'_>, rows: &Rows<'_>) {
    // SAFETY: as `Kernel` promises.
    unsafe { loops::accumulate::<Eight, 4>(system, rows) }
}
unsafe fn gram(matrix: &mut [f32], factors: &[f32], rank: usize) {
    // SAFETY: as above.
    unsafe { loops::gram::<Eight, 4>(matrix, factors, rank) }
}
unsafe fn solve(matrices: &[f32], sides: &mut [f32], scratch: &mut [f32], rank: usize) {
    // SAFETY: as above.
    unsafe { loops::solve::<Eight, 2>(matrices, sides, scratch, rank) }
}
unsafe fn score(viewers: &[f32], tiles: &[f32], out: &mut [f32], rank: usize) {
    // SAFETY: as above.
    unsafe { loops::score::<Eight, 2, 2>(viewers, tiles, out, rank) }
}
unsafe fn above(scores: &[f32], limit: f32) -> u32 {
    // SAFETY: as above; sixteen floats were checked.
    unsafe { Eight::above(scores.as_ptr(), limit) | Eight::above(scores.as_ptr().add(8), limit) << 8 }
}
