//! Eight floats at a time with fused multiply-add (AVX2 and FMA).

#![allow(clippy::inline_always, reason = "see `loops`")]
#![allow(clippy::wildcard_imports, reason = "intrinsics have their own prefix")]

use std::arch::x86_64::*;

use super::loops::{self, Lanes};
use crate::model::kernel::{Kernel, Rows, System};

pub static KERNEL: Kernel = Kernel { name: "avx2", lanes: 8, accumulate, gram, solve, score, above };

#[derive(Clone, Copy)]
struct Ymm;

// SAFETY: every call melts into one of the functions below, which enable the instructions.
#[allow(unsafe_op_in_unsafe_fn, reason = "one intrinsic a function; the trait's contract is their safety")]
unsafe impl Lanes for Ymm {
    const N: usize = 8;
    type V = __m256;

    #[inline(always)]
    unsafe fn splat(x: f32) -> __m256 {
        _mm256_set1_ps(x)
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> __m256 {
        _mm256_loadu_ps(p)
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: __m256) {
        _mm256_storeu_ps(p, v);
    }
    #[inline(always)]
    unsafe fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
        _mm256_fmadd_ps(a, b, c)
    }
    #[inline(always)]
    unsafe fn fnma(a: __m256, b: __m256, c: __m256) -> __m256 {
        _mm256_fnmadd_ps(a, b, c)
    }
    #[inline(always)]
    unsafe fn mul(a: __m256, b: __m256) -> __m256 {
        _mm256_mul_ps(a, b)
    }
    #[inline(always)]
    unsafe fn pivot(v: __m256) -> __m256 {
        _mm256_div_ps(_mm256_set1_ps(1.0), _mm256_sqrt_ps(_mm256_max_ps(v, _mm256_set1_ps(1e-20))))
    }
    #[inline(always)]
    unsafe fn prefetch(p: *const f32) {
        _mm_prefetch::<_MM_HINT_T0>(p.cast());
    }
    #[inline(always)]
    unsafe fn turn(from: *const f32, stride: usize, to: *mut f32) {
        let r: [__m256; 8] = std::array::from_fn(|i| unsafe { _mm256_loadu_ps(from.add(i * stride)) });
        let mut t = r;
        for i in (0..8).step_by(2) {
            t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
            t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
        }
        let mut u = t;
        for i in (0..8).step_by(4) {
            u[i] = _mm256_shuffle_ps::<0x44>(t[i], t[i + 2]);
            u[i + 1] = _mm256_shuffle_ps::<0xEE>(t[i], t[i + 2]);
            u[i + 2] = _mm256_shuffle_ps::<0x44>(t[i + 1], t[i + 3]);
            u[i + 3] = _mm256_shuffle_ps::<0xEE>(t[i + 1], t[i + 3]);
        }
        for i in 0..4 {
            _mm256_storeu_ps(to.add(i * 8), _mm256_permute2f128_ps::<0x20>(u[i], u[i + 4]));
            _mm256_storeu_ps(to.add((i + 4) * 8), _mm256_permute2f128_ps::<0x31>(u[i], u[i + 4]));
        }
    }
    #[inline(always)]
    unsafe fn above(p: *const f32, limit: f32) -> u32 {
        let bits = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(_mm256_loadu_ps(p), _mm256_set1_ps(limit)));
        bits.cast_unsigned()
    }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn accumulate(system: &mut System<'_>, rows: &Rows<'_>) {
    // SAFETY: as `Kernel` promises.
    unsafe { loops::accumulate::<Ymm, 4>(system, rows) }
}
#[target_feature(enable = "avx2,fma")]
unsafe fn gram(matrix: &mut [f32], factors: &[f32], rank: usize) {
    // SAFETY: as above.
    unsafe { loops::gram::<Ymm, 4>(matrix, factors, rank) }
}
#[target_feature(enable = "avx2,fma")]
unsafe fn solve(matrices: &[f32], sides: &mut [f32], scratch: &mut [f32], rank: usize) {
    // SAFETY: as above.
    unsafe { loops::solve::<Ymm, 2>(matrices, sides, scratch, rank) }
}
#[target_feature(enable = "avx2,fma")]
unsafe fn score(viewers: &[f32], tiles: &[f32], out: &mut [f32], rank: usize) {
    // SAFETY: as above.
    unsafe { loops::score::<Ymm, 2, 2>(viewers, tiles, out, rank) }
}
#[target_feature(enable = "avx2,fma")]
unsafe fn above(scores: &[f32], limit: f32) -> u32 {
    // SAFETY: as above; sixteen floats were checked.
    unsafe { Ymm::above(scores.as_ptr(), limit) | Ymm::above(scores.as_ptr().add(8), limit) << 8 }
}
