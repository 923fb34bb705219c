//! The highest scores among all programmes, exactly, without scoring most of them: a copy of one byte a factor rules out who cannot be among them.
//!
//! A score of bytes differs from the true one by at most |p|·|u − û| + |p − p̂|·|û| (Cauchy and Schwarz), where p̂ and û are
//! what the bytes say of a programme and of who asks. Whoever stays below the lowest of the best even with all of that is
//! left out; the others are scored with their whole factors. Programmes lie longest factors first: the best are found
//! early, and the rest ends where even a programme pointing straight at who asks would be too short.

use super::kernels::bytes::{self, Asked, Bytes, CHUNK, Chunk, TINY};

/// Lengths outside of this are scored whole, so that no product of two overflows or vanishes.
const SMALLEST: f32 = 1e-15;
const LARGEST: f32 = 1e15;

/// All programmes as bytes, longest factors first.
#[derive(Debug)]
pub struct Shortlist {
    rank: usize,
    /// Programmes in this order; what a place holds, and where a programme lies.
    order: Vec<u32>,
    places: Vec<u32>,
    /// `[chunk][group of four factors][64 programmes][4]`, 128 too high.
    bytes: Vec<u8>,
    steps: Vec<f32>,
    lengths: Vec<f32>,
    losses: Vec<f32>,
}

/// One row as bytes.
struct Small {
    step: f32,
    length: f32,
    /// The length of what the bytes leave out.
    loss: f32,
}

impl Shortlist {
    /// Takes programmes given row by row.
    pub fn of(rows: &[f32], rank: usize) -> Self {
        let programmes = rows.len() / rank.max(1);
        let length = |p: u32| length_of(&rows[p as usize * rank..][..rank]);
        let mut order: Vec<(u32, f32)> = (0..programmes as u32).map(|p| (p, length(p))).collect();
        order.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let order: Vec<u32> = order.into_iter().map(|(p, _)| p).collect();
        let padded = programmes.next_multiple_of(CHUNK);
        let mut places = vec![0; programmes];
        let mut list = Self {
            rank,
            places: Vec::new(),
            bytes: vec![128; padded * rank.div_ceil(4) * 4],
            steps: vec![0.0; padded],
            lengths: vec![0.0; padded],
            losses: vec![0.0; padded],
            order: Vec::new(),
        };
        let groups = rank.div_ceil(4);
        for (place, programme) in order.iter().enumerate() {
            places[*programme as usize] = place as u32;
            let chunk = &mut list.bytes[place / CHUNK * groups * 4 * CHUNK..];
            let row = &rows[*programme as usize * rank..][..rank];
            let small = shrink(row, |k, byte| {
                chunk[k / 4 * 4 * CHUNK + place % CHUNK * 4 + k % 4] = (i16::from(byte) + 128) as u8;
            });
            (list.steps[place], list.lengths[place], list.losses[place]) = (small.step, small.length, small.loss);
        }
        Self { order, places, ..list }
    }

    /// Returns where a programme lies; `allowed` of `highest` speaks of places.
    pub fn place(&self, programme: u32) -> usize {
        self.places[programme as usize] as usize
    }

    /// Returns the programmes in the order of their places.
    pub fn order(&self) -> &[u32] {
        &self.order
    }

    /// Writes the highest scores into `best`, highest first; of equal ones the lower programme comes first. `rows` are those
    /// that the list was made of; `allowed` gives one bit a place, sixty-four at a time.
    pub fn highest(
        &self,
        rows: &[f32],
        factors: &[f32],
        allowed: impl Fn(usize) -> u64,
        top: usize,
        best: &mut Vec<(u32, f32)>,
    ) {
        self.highest_by(bytes::best(), rows, factors, allowed, top, best);
    }

    fn highest_by(
        &self,
        by: &Bytes,
        rows: &[f32],
        factors: &[f32],
        allowed: impl Fn(usize) -> u64,
        top: usize,
        best: &mut Vec<(u32, f32)>,
    ) {
        best.clear();
        if top == 0 || self.order.is_empty() {
            return;
        }
        let (asked, longest) = ask(factors);
        let each = self.rank.div_ceil(4) * 4 * CHUNK;
        let mut limit = f32::NEG_INFINITY;
        for (at, programmes) in self.order.chunks(CHUNK).enumerate() {
            let first = at * CHUNK;
            // What is no number goes on.
            if self.lengths[first] * longest + TINY < limit {
                break;
            }
            let mut bits = allowed(at) & (u64::MAX >> (CHUNK - programmes.len()));
            if bits == 0 {
                continue;
            }
            if limit > f32::NEG_INFINITY {
                let chunk = Chunk {
                    bytes: &self.bytes[at * each..][..each],
                    steps: &self.steps[first..][..CHUNK],
                    lengths: &self.lengths[first..][..CHUNK],
                    losses: &self.losses[first..][..CHUNK],
                };
                bits &= by.within(&chunk, &asked, limit);
            }
            while bits != 0 {
                let programme = programmes[bits.trailing_zeros() as usize];
                bits &= bits - 1;
                let score = by.dot(&rows[programme as usize * self.rank..][..self.rank], factors);
                if score > f32::NEG_INFINITY && (score >= limit || best.len() < top) {
                    limit = take(best, top, programme, score);
                }
            }
        }
    }
}

/// Puts one among the best; returns the lowest of them when they are as many as wanted.
fn take(best: &mut Vec<(u32, f32)>, top: usize, programme: u32, score: f32) -> f32 {
    let at = best.partition_point(|b| b.1 > score || (b.1 == score && b.0 < programme));
    if at < top {
        if best.len() == top {
            best.pop();
        }
        best.insert(at, (programme, score));
    }
    if best.len() == top { best[top - 1].1 } else { f32::NEG_INFINITY }
}

/// Makes bytes of who asks; also returns what a programme's length may bring at most.
fn ask(factors: &[f32]) -> (Asked, f32) {
    let mut own = vec![[0_u8; 4]; factors.len().div_ceil(4)];
    let mut sum = 0;
    let small = shrink(factors, |k, byte| {
        own[k / 4][k % 4] = byte.cast_unsigned();
        sum += i32::from(byte);
    });
    // Each sum rounds as often as there are factors; the bound itself rounds too.
    let rounding = (factors.len() + 64) as f32 * f32::EPSILON;
    let asked = Asked {
        groups: own.into_iter().map(i32::from_le_bytes).collect(),
        start: -128 * sum,
        step: small.step,
        by_length: small.loss + small.length * rounding,
        by_loss: (small.length + small.loss) * (1.0 + rounding),
    };
    (asked, small.length * (1.0 + 2.0 * rounding))
}

/// Gives each factor as a byte to `put`; what has no useful size gets no bytes and an endless length.
fn shrink(row: &[f32], mut put: impl FnMut(usize, i8)) -> Small {
    let largest = row.iter().fold(0.0_f32, |most, f| if f.is_nan() { f32::NAN } else { most.max(f.abs()) });
    if largest == 0.0 && row.iter().all(|f| *f == 0.0) {
        return Small { step: 0.0, length: 0.0, loss: 0.0 };
    }
    let length = length_of(row);
    if !(SMALLEST..LARGEST).contains(&largest) || !(SMALLEST..LARGEST).contains(&length) {
        return Small { step: 0.0, length: f32::INFINITY, loss: f32::INFINITY };
    }
    let step = largest / 127.0;
    let mut loss = 0.0_f64;
    for (k, factor) in row.iter().enumerate() {
        let byte = (factor / step).round().clamp(-127.0, 127.0);
        put(k, byte as i8);
        loss += (f64::from(*factor) - f64::from(byte) * f64::from(step)).powi(2);
    }
    Small { step, length, loss: above(loss.sqrt()) }
}

/// Returns the length of a row, never less than it is.
fn length_of(row: &[f32]) -> f32 {
    let length = above(row.iter().map(|f| f64::from(*f).powi(2)).sum::<f64>().sqrt());
    if (SMALLEST..LARGEST).contains(&length) || length == 0.0 { length } else { f32::INFINITY }
}

/// The next larger single, and a bit.
fn above(value: f64) -> f32 {
    (value * (1.0 + 1e-6)) as f32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Scores everything, and sorts.
    fn plainly(by: &Bytes, rows: &[f32], factors: &[f32], allowed: &[u64], top: usize) -> Vec<(u32, f32)> {
        let all = rows.chunks(factors.len()).enumerate();
        let mut all: Vec<(u32, f32)> = all.map(|(p, row)| (p as u32, by.dot(row, factors))).collect();
        all.retain(|(p, score)| *score > f32::NEG_INFINITY && allowed[*p as usize / 64] >> (p % 64) & 1 == 1);
        all.sort_by(|a, b| b.1.partial_cmp(&a.1).expect("numbers").then(a.0.cmp(&b.0)));
        all.truncate(top);
        all
    }

    fn check(rows: &[f32], factors: &[f32], allowed: &[u64], top: usize) {
        let list = Shortlist::of(rows, factors.len());
        let mut by_place = vec![0_u64; allowed.len()];
        for (place, p) in list.order().iter().enumerate() {
            by_place[place / 64] |= (allowed[*p as usize / 64] >> (p % 64) & 1) << (place % 64);
            assert_eq!(list.place(*p), place);
        }
        let mut best = Vec::new();
        for by in bytes::all() {
            list.highest_by(by, rows, factors, |at| by_place[at], top, &mut best);
            let bits = |list: &[(u32, f32)]| list.iter().map(|(p, s)| (*p, s.to_bits())).collect::<Vec<_>>();
            assert_eq!(bits(&best), bits(&plainly(by, rows, factors, allowed, top)), "{}", by.name);
        }
    }

    /// Factors of all sizes, whole numbers that tie, zeros, and what training should never make.
    fn factor() -> impl Strategy<Value = f32> {
        prop_oneof![
            8 => -1.0_f32..1.0,
            2 => (-3_i8..3).prop_map(f32::from),
            2 => prop::num::f32::NORMAL | prop::num::f32::SUBNORMAL | prop::num::f32::ZERO,
            1 => prop_oneof![Just(1e-16_f32), Just(1e16), Just(-1e-14), Just(1e14)],
        ]
    }

    fn problem(
        one: impl Strategy<Value = f32> + Clone,
    ) -> impl Strategy<Value = (Vec<f32>, Vec<f32>, Vec<u64>, usize)> {
        (1_usize..40, 0_usize..300).prop_flat_map(move |(rank, programmes)| {
            (
                prop::collection::vec(one.clone(), rank * programmes),
                prop::collection::vec(one.clone(), rank),
                prop::collection::vec(prop_oneof![any::<u64>(), Just(u64::MAX)], programmes.div_ceil(64)),
                0_usize..40,
            )
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn the_answer_is_that_of_scoring_everything((rows, factors, allowed, top) in problem(factor().boxed())) {
            check(&rows, &factors, &allowed, top);
        }

        #[test]
        fn also_where_many_are_nearly_as_good((rows, factors, allowed, top) in problem((0.9_f32..1.0).boxed())) {
            check(&rows, &factors, &allowed, top);
        }

        #[test]
        fn also_where_numbers_are_none((rows, factors, allowed, top) in problem(prop_oneof![
            6 => -1.0_f32..1.0, 1 => prop_oneof![Just(f32::NAN), Just(f32::INFINITY), Just(f32::NEG_INFINITY), Just(f32::MAX)],
        ].boxed())) {
            check(&rows, &factors, &allowed, top);
        }
    }

    #[test]
    fn most_are_ruled_out() {
        let mut state = 7_u32;
        let mut drawn = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 8_388_608.0 - 1.0
        };
        let rows: Vec<f32> = (0..10_000 * 64).map(|_| drawn()).collect();
        let factors: Vec<f32> = (0..64).map(|_| drawn()).collect();
        check(&rows, &factors, &[u64::MAX; 157], 20);
        let list = Shortlist::of(&rows, 64);
        let (asked, _) = ask(&factors);
        let mut best = Vec::new();
        list.highest(&rows, &factors, |_| u64::MAX, 20, &mut best);
        let each = 64 * CHUNK;
        let left: u32 = (0..156)
            .map(|at| {
                let first = at * CHUNK;
                let chunk = Chunk {
                    bytes: &list.bytes[at * each..][..each],
                    steps: &list.steps[first..][..CHUNK],
                    lengths: &list.lengths[first..][..CHUNK],
                    losses: &list.losses[first..][..CHUNK],
                };
                bytes::best().within(&chunk, &asked, best[19].1).count_ones()
            })
            .sum();
        assert!(left < 100, "{left} of 10,000 are left");
    }
}
