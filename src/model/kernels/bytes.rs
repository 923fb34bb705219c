//! Programmes as whole numbers of one byte: which of sixty-four may score as high as a limit, as this processor sees it best.
//!
//! A chunk's bytes are `[group of four factors][64 programmes][4]`, each value 128 too high, as the instruction that
//! multiplies bytes wants one side without a sign. The sums are whole numbers: every variant finds the very same ones.

use std::sync::OnceLock;

/// Programmes of a chunk.
pub const CHUNK: usize = 64;

/// Sixty-four programmes.
pub struct Chunk<'a> {
    pub bytes: &'a [u8],
    /// What one step of each programme's bytes is worth.
    pub steps: &'a [f32],
    /// Lengths of the programmes' factors, and of what their bytes leave out.
    pub lengths: &'a [f32],
    pub losses: &'a [f32],
}

/// Somebody's factors as bytes, and how far the score of bytes may be from the true one.
pub struct Asked {
    /// Four bytes each.
    pub groups: Vec<i32>,
    /// What takes the 128 of the programmes' bytes out again.
    pub start: i32,
    pub step: f32,
    /// The error for each unit of a programme's length, and of its loss.
    pub by_length: f32,
    pub by_loss: f32,
}

/// What no rounding near zero exceeds.
pub const TINY: f32 = 1e-30;

/// One way of doing it.
pub struct Bytes {
    pub name: &'static str,
    within: unsafe fn(&Chunk<'_>, &Asked, f32) -> u64,
    dot: unsafe fn(&[f32], &[f32]) -> f32,
}

impl Bytes {
    /// Returns one bit for each programme that may score as high as `limit`; never none for one that does.
    #[inline]
    pub fn within(&self, chunk: &Chunk<'_>, asked: &Asked, limit: f32) -> u64 {
        assert!(chunk.bytes.len() == asked.groups.len() * 4 * CHUNK && chunk.steps.len() == CHUNK);
        assert!(chunk.lengths.len() == CHUNK && chunk.losses.len() == CHUNK);
        // SAFETY: the sizes were just checked, and `best` and `all` hand out what this processor can run.
        unsafe { (self.within)(chunk, asked, limit) }
    }

    /// Returns the product of two rows, always summed in the same order.
    #[inline]
    pub fn dot(&self, a: &[f32], b: &[f32]) -> f32 {
        // SAFETY: as above; the function takes any lengths.
        unsafe { (self.dot)(a, b) }
    }
}

/// Returns the fastest variant that this processor can run.
pub fn best() -> &'static Bytes {
    static BEST: OnceLock<&Bytes> = OnceLock::new();
    BEST.get_or_init(|| all()[0])
}

/// Returns every variant that this processor can run, fastest first.
pub fn all() -> Vec<&'static Bytes> {
    let mut found: Vec<&'static Bytes> = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512vnni") && is_x86_feature_detected!("avx512f") {
            found.push(&x86::VNNI);
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            found.push(&x86::AVX2);
        }
    }
    found.push(&PORTABLE);
    found
}

static PORTABLE: Bytes = Bytes { name: "portable", within: plain_within, dot: plain_dot };

fn plain_within(chunk: &Chunk<'_>, asked: &Asked, limit: f32) -> u64 {
    let mut sums = [asked.start; CHUNK];
    for (group, own) in chunk.bytes.chunks_exact(4 * CHUNK).zip(&asked.groups) {
        let own = own.to_le_bytes().map(|b| i32::from(b.cast_signed()));
        for (sum, four) in sums.iter_mut().zip(group.chunks_exact(4)) {
            *sum += i32::from(four[0]) * own[0]
                + i32::from(four[1]) * own[1]
                + i32::from(four[2]) * own[2]
                + i32::from(four[3]) * own[3];
        }
    }
    reach(chunk, asked, &sums, limit)
}

/// Looks which of the sums, with all that they may be wrong by, come up to the limit; what is no number does.
#[inline(always)]
fn reach(chunk: &Chunk<'_>, asked: &Asked, sums: &[i32; CHUNK], limit: f32) -> u64 {
    let mut bits = 0;
    for (i, sum) in sums.iter().enumerate() {
        let most = *sum as f32 * (chunk.steps[i] * asked.step)
            + (chunk.lengths[i] * asked.by_length + (chunk.losses[i] * asked.by_loss + TINY));
        // Not `most >= limit`: NaN must be let through.
        let below = most < limit;
        bits |= u64::from(!below) << i;
    }
    bits
}

fn plain_dot(a: &[f32], b: &[f32]) -> f32 {
    // Where multiply-add is a library call it is left out.
    if cfg!(target_arch = "aarch64") {
        lanes(a, b, |sum, a, b| a.mul_add(b, sum))
    } else {
        lanes(a, b, |sum, a, b| sum + a * b)
    }
}

/// Sixteen sums side by side, then halves onto halves: the order does not depend on how wide the processor is.
#[inline(always)]
fn lanes(a: &[f32], b: &[f32], add: impl Fn(f32, f32, f32) -> f32) -> f32 {
    let mut sums = [0.0_f32; 16];
    let (mut left, mut right) = (a.chunks_exact(16), b.chunks_exact(16));
    for (a, b) in left.by_ref().zip(right.by_ref()) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum = add(*sum, *a, *b);
        }
    }
    for (sum, (a, b)) in sums.iter_mut().zip(left.remainder().iter().zip(right.remainder())) {
        *sum = add(*sum, *a, *b);
    }
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            sums[i] += sums[i + half];
        }
    }
    sums[0]
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    #![allow(clippy::wildcard_imports, reason = "intrinsics have their own prefix")]
    use std::arch::x86_64::*;

    use super::{Asked, Bytes, CHUNK, Chunk, TINY, lanes, reach};

    pub static VNNI: Bytes = Bytes { name: "avx512vnni", within: vnni_within, dot: vnni_dot };
    pub static AVX2: Bytes = Bytes { name: "avx2", within: avx2_within, dot: avx2_dot };

    #[target_feature(enable = "avx512f,avx512vnni")]
    unsafe fn vnni_within(chunk: &Chunk<'_>, asked: &Asked, limit: f32) -> u64 {
        let mut sums = [_mm512_set1_epi32(asked.start); 4];
        let mut at = chunk.bytes.as_ptr();
        for own in &asked.groups {
            let own = _mm512_set1_epi32(*own);
            for (i, sum) in sums.iter_mut().enumerate() {
                // SAFETY: a group has four times 64 bytes.
                let bytes = unsafe { _mm512_loadu_si512(at.add(i * CHUNK).cast()) };
                *sum = _mm512_dpbusd_epi32(*sum, bytes, own);
            }
            // SAFETY: at most one past the last group.
            at = unsafe { at.add(4 * CHUNK) };
        }
        let (step, limit) = (_mm512_set1_ps(asked.step), _mm512_set1_ps(limit));
        let (by_length, by_loss) = (_mm512_set1_ps(asked.by_length), _mm512_set1_ps(asked.by_loss));
        let mut bits = 0;
        for (i, sum) in sums.into_iter().enumerate() {
            // SAFETY: each has 64 floats.
            let at = |floats: &[f32]| unsafe { _mm512_loadu_ps(floats.as_ptr().add(i * 16)) };
            let most = _mm512_fmadd_ps(at(chunk.losses), by_loss, _mm512_set1_ps(TINY));
            let most = _mm512_fmadd_ps(at(chunk.lengths), by_length, most);
            let most = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), _mm512_mul_ps(at(chunk.steps), step), most);
            bits |= u64::from(_mm512_cmp_ps_mask::<_CMP_NLT_UQ>(most, limit)) << (i * 16);
        }
        bits
    }

    #[target_feature(enable = "avx512f,avx512vnni")]
    unsafe fn vnni_dot(a: &[f32], b: &[f32]) -> f32 {
        lanes(a, b, |sum, a, b| a.mul_add(b, sum))
    }

    /// Bytes become sixteen bits wide, so that no sum of two products overflows.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn avx2_within(chunk: &Chunk<'_>, asked: &Asked, limit: f32) -> u64 {
        let mut found = [asked.start; CHUNK];
        for quarter in 0..4 {
            // Two sums for each of sixteen programmes.
            let mut sums = [_mm256_setzero_si256(); 4];
            let mut at = chunk.bytes.as_ptr().wrapping_add(quarter * CHUNK);
            for own in &asked.groups {
                let own = _mm256_cvtepi8_epi16(_mm_set1_epi32(*own));
                for (i, sum) in sums.iter_mut().enumerate() {
                    // SAFETY: sixteen bytes of a quarter's sixty-four.
                    let bytes = unsafe { _mm_loadu_si128(at.add(i * 16).cast()) };
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(_mm256_cvtepu8_epi16(bytes), own));
                }
                at = at.wrapping_add(4 * CHUNK);
            }
            for (i, sum) in sums.into_iter().enumerate() {
                let mut pairs = [0_i32; 8];
                // SAFETY: eight whole numbers.
                unsafe { _mm256_storeu_si256(pairs.as_mut_ptr().cast(), sum) };
                for (j, pair) in pairs.chunks_exact(2).enumerate() {
                    found[quarter * 16 + i * 4 + j] += pair[0] + pair[1];
                }
            }
        }
        reach(chunk, asked, &found, limit)
    }

    #[target_feature(enable = "avx2,fma")]
    unsafe fn avx2_dot(a: &[f32], b: &[f32]) -> f32 {
        lanes(a, b, |sum, a, b| a.mul_add(b, sum))
    }
}
