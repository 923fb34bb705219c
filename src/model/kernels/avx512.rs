//! Sixteen floats at a time (AVX-512F).

#![allow(clippy::inline_always, reason = "see `loops`")]
#![allow(clippy::wildcard_imports, reason = "intrinsics have their own prefix")]

use std::arch::x86_64::*;

use super::loops::{self, Lanes};
use crate::model::kernel::{Kernel, Rows, System};

pub static KERNEL: Kernel = Kernel { name: "avx512", lanes: 16, accumulate, gram, solve, score, above };

#[derive(Clone, Copy)]
struct Zmm;

// SAFETY: every call melts into one of the functions below, which enable the instructions.
#[allow(unsafe_op_in_unsafe_fn, reason = "one intrinsic a function; the trait's contract is their safety")]
unsafe impl Lanes for Zmm {
    const N: usize = 16;
    type V = __m512;

    #[inline(always)]
    unsafe fn splat(x: f32) -> __m512 {
        _mm512_set1_ps(x)
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> __m512 {
        _mm512_loadu_ps(p)
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: __m512) {
        _mm512_storeu_ps(p, v);
    }
    #[inline(always)]
    unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        _mm512_fmadd_ps(a, b, c)
    }
    #[inline(always)]
    unsafe fn fnma(a: __m512, b: __m512, c: __m512) -> __m512 {
        _mm512_fnmadd_ps(a, b, c)
    }
    #[inline(always)]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        _mm512_mul_ps(a, b)
    }
    #[inline(always)]
    unsafe fn pivot(v: __m512) -> __m512 {
        _mm512_div_ps(_mm512_set1_ps(1.0), _mm512_sqrt_ps(_mm512_max_ps(v, _mm512_set1_ps(1e-20))))
    }
    #[inline(always)]
    unsafe fn prefetch(p: *const f32) {
        _mm_prefetch::<_MM_HINT_T0>(p.cast());
    }
    #[inline(always)]
    unsafe fn turn(from: *const f32, stride: usize, to: *mut f32) {
        let r: [__m512; 16] = std::array::from_fn(|i| unsafe { _mm512_loadu_ps(from.add(i * stride)) });
        let mut t = r;
        for i in (0..16).step_by(2) {
            t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
            t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
        }
        let mut u = t;
        for i in (0..16).step_by(4) {
            u[i] = _mm512_shuffle_ps::<0x44>(t[i], t[i + 2]);
            u[i + 1] = _mm512_shuffle_ps::<0xEE>(t[i], t[i + 2]);
            u[i + 2] = _mm512_shuffle_ps::<0x44>(t[i + 1], t[i + 3]);
            u[i + 3] = _mm512_shuffle_ps::<0xEE>(t[i + 1], t[i + 3]);
        }
        // u[4 g + c] holds, in each quarter q, column 4 q + c of rows 4 g to 4 g + 3: now the quarters change places.
        for c in 0..4 {
            let low = _mm512_shuffle_f32x4::<0x88>(u[c], u[4 + c]);
            let high = _mm512_shuffle_f32x4::<0xDD>(u[c], u[4 + c]);
            let low2 = _mm512_shuffle_f32x4::<0x88>(u[8 + c], u[12 + c]);
            let high2 = _mm512_shuffle_f32x4::<0xDD>(u[8 + c], u[12 + c]);
            _mm512_storeu_ps(to.add(c * 16), _mm512_shuffle_f32x4::<0x88>(low, low2));
            _mm512_storeu_ps(to.add((4 + c) * 16), _mm512_shuffle_f32x4::<0x88>(high, high2));
            _mm512_storeu_ps(to.add((8 + c) * 16), _mm512_shuffle_f32x4::<0xDD>(low, low2));
            _mm512_storeu_ps(to.add((12 + c) * 16), _mm512_shuffle_f32x4::<0xDD>(high, high2));
        }
    }
    #[inline(always)]
    unsafe fn above(p: *const f32, limit: f32) -> u32 {
        u32::from(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(_mm512_loadu_ps(p), _mm512_set1_ps(limit)))
    }
}

#[target_feature(enable = "avx512f")]
unsafe fn accumulate(system: &mut System<'_>, rows: &Rows<'_>) {
    // SAFETY: as `Kernel` promises.
    unsafe { loops::accumulate::<Zmm, 8>(system, rows) }
}
#[target_feature(enable = "avx512f")]
unsafe fn gram(matrix: &mut [f32], factors: &[f32], rank: usize) {
    // SAFETY: as above.
    unsafe { loops::gram::<Zmm, 8>(matrix, factors, rank) }
}
#[target_feature(enable = "avx512f")]
unsafe fn solve(matrices: &[f32], sides: &mut [f32], scratch: &mut [f32], rank: usize) {
    // SAFETY: as above.
    unsafe { loops::solve::<Zmm, 4>(matrices, sides, scratch, rank) }
}
#[target_feature(enable = "avx512f")]
unsafe fn score(viewers: &[f32], tiles: &[f32], out: &mut [f32], rank: usize) {
    // SAFETY: as above.
    unsafe { loops::score::<Zmm, 8, 1>(viewers, tiles, out, rank) }
}
#[target_feature(enable = "avx512f")]
unsafe fn above(scores: &[f32], limit: f32) -> u32 {
    // SAFETY: as above.
    unsafe { Zmm::above(scores.as_ptr(), limit) }
}
