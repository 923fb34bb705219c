//! A viewer's own scores of now: their factors against every programme that the filter lets through, before the best are taken.

use super::catalogue::Catalogue;
use super::wish::Wish;
use super::world::GONE;
use crate::model::files::Model;
use crate::model::kernel::BLOCK;
use crate::model::score::highest;
use crate::model::tiles::Tiles;

/// A model, and what its programmes are in the catalogue that is held.
pub struct Live {
    pub model: Model,
    programmes: Vec<u32>,
}

/// One worker's room for scoring.
#[derive(Default)]
pub struct Room {
    scores: Vec<f32>,
    pub best: Vec<(u32, f32)>,
}

impl Live {
    pub fn new(model: Model, catalogue: &Catalogue) -> Self {
        let all = 0..model.programmes() as u32;
        let programmes = all.map(|p| catalogue.index(model.programme_id(p)).unwrap_or(GONE)).collect();
        model.tiles();
        Self { model, programmes }
    }

    /// Returns the catalogue index of a programme of the model.
    pub fn programme(&self, programme: u32) -> u32 {
        self.programmes.get(programme as usize).copied().unwrap_or(GONE)
    }

    /// Fills `room.best` with catalogue indices, best first; `false` where the model does not know the viewer.
    pub fn recommend(&self, viewer: &str, wish: &Wish, room: &mut Room) -> bool {
        let Some(viewer) = self.model.viewer_index(viewer) else { return false };
        self.score(viewer, &mut room.scores);
        for (score, programme) in room.scores.iter_mut().zip(&self.programmes) {
            if *programme == GONE || !wish.wants(*programme) {
                *score = f32::NEG_INFINITY;
            }
        }
        for seen in self.model.seen(viewer) {
            room.scores[*seen as usize] = f32::NEG_INFINITY;
        }
        highest(&room.scores, wish.limit, &mut room.best);
        room.best.retain(|(_, score)| *score > f32::NEG_INFINITY);
        room.best.iter_mut().for_each(|(programme, _)| *programme = self.programmes[*programme as usize]);
        true
    }

    /// Scores every programme of the model for one viewer.
    pub fn score(&self, viewer: u32, scores: &mut Vec<f32>) {
        let tiles = self.model.tiles();
        scores.resize(tiles.width(), 0.0);
        let factors = self.model.viewer_factors(viewer);
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            // SAFETY: the processor has what the function is built for.
            unsafe { wide(tiles, factors, scores) };
            scores[tiles.programmes..].fill(f32::NEG_INFINITY);
            return;
        }
        plain(tiles, factors, scores, |sum, a, b| sum + a * b);
        scores[tiles.programmes..].fill(f32::NEG_INFINITY);
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn wide(tiles: &Tiles, factors: &[f32], scores: &mut [f32]) {
    plain(tiles, factors, scores, |sum, a, b| a.mul_add(b, sum));
}

/// Sixteen programmes at a time, factor by factor: the compiler makes it as wide as the caller allows.
#[inline(always)]
fn plain(tiles: &Tiles, factors: &[f32], scores: &mut [f32], add: impl Fn(f32, f32, f32) -> f32) {
    let blocks = tiles.floats.chunks_exact(tiles.rank * BLOCK);
    for (block, sixteen) in blocks.zip(scores.chunks_exact_mut(BLOCK)) {
        let mut sums = [0.0_f32; BLOCK];
        for (row, factor) in block.chunks_exact(BLOCK).zip(factors) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum = add(*sum, *factor, *value);
            }
        }
        sixteen.copy_from_slice(&sums);
    }
}
