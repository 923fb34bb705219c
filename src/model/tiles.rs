//! Programmes laid out for scoring: blocks of sixteen side by side, factor by factor.

use super::kernel::BLOCK;

#[derive(Debug)]
pub struct Tiles {
    /// `[block][factor][16]`; the places after the last programme are zero.
    pub floats: Vec<f32>,
    pub rank: usize,
    pub programmes: usize,
}

impl Tiles {
    /// Lays out factors that are given row by row.
    pub fn of(factors: &[f32], rank: usize) -> Self {
        let programmes = factors.len() / rank.max(1);
        let mut floats = vec![0.0; programmes.next_multiple_of(BLOCK) * rank];
        for (i, row) in factors.chunks(rank).enumerate() {
            let block = &mut floats[i / BLOCK * rank * BLOCK..];
            row.iter().enumerate().for_each(|(k, f)| block[k * BLOCK + i % BLOCK] = *f);
        }
        Self { floats, rank, programmes }
    }

    /// Returns how many scores a viewer gets, the padding included.
    pub fn width(&self) -> usize {
        self.programmes.next_multiple_of(BLOCK)
    }
}
