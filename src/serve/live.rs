//! A viewer's own scores of now: their factors against every programme that the filter lets through, before the best are taken.

use std::sync::OnceLock;

use super::catalogue::Catalogue;
use super::recent::Past;
use super::wish::Wish;
use super::world::GONE;
use crate::model::files::Model;
use crate::model::kernel::BLOCK;
use crate::model::recommend::{FoldIn, directions};
use crate::model::score::highest;
use crate::model::tiles::Tiles;

/// A model, and what its programmes are in the catalogue that is held.
pub struct Live {
    pub model: Model,
    /// Programme of the model to catalogue index, and back.
    programmes: Vec<u32>,
    by_index: Vec<u32>,
    fold_in: OnceLock<FoldIn>,
    /// Programmes by direction only, for similarity; made when first asked for.
    directions: OnceLock<(Vec<f32>, Tiles)>,
}

/// One worker's room for scoring.
#[derive(Default)]
pub struct Room {
    scores: Vec<f32>,
    pub best: Vec<(u32, f32)>,
    /// What the viewer watched since the lists were made, by catalogue index.
    pub watched: Vec<u32>,
}

impl Live {
    pub fn new(model: Model, catalogue: &Catalogue) -> Self {
        let all = 0..model.programmes() as u32;
        let programmes: Vec<u32> = all.map(|p| catalogue.index(model.programme_id(p)).unwrap_or(GONE)).collect();
        let mut by_index = vec![GONE; catalogue.len()];
        for (programme, index) in (0..).zip(&programmes).filter(|(_, index)| **index != GONE) {
            by_index[*index as usize] = programme;
        }
        model.tiles();
        Self { model, programmes, by_index, fold_in: OnceLock::new(), directions: OnceLock::new() }
    }

    /// Returns the catalogue index of a programme of the model.
    pub fn programme(&self, programme: u32) -> u32 {
        self.programmes.get(programme as usize).copied().unwrap_or(GONE)
    }

    /// Returns a viewer's factors, with what they watched since folded in; `None` where nothing is known of them.
    pub fn factors(&self, viewer: &str, past: Option<&mut Past>) -> Option<Vec<f32>> {
        let known = self.model.viewer_index(viewer);
        let base = known.map(|v| self.model.viewer_factors(v).to_vec());
        let Some(past) = past.filter(|p| !p.viewings.is_empty()) else { return base };
        if let Some((model, factors)) = &past.folded
            && model == self.model.id()
        {
            return Some(factors.clone());
        }
        let numbered = |v: &(Box<str>, f32, i64)| Some((self.model.programme_index(&v.0)?, v.1));
        let fresh: Vec<(u32, f32)> = past.viewings.iter().filter_map(numbered).collect();
        if fresh.is_empty() {
            return base;
        }
        let fold_in = self.fold_in.get_or_init(|| FoldIn::new(&self.model));
        let factors = match (known, base) {
            // The model does not keep how much was watched: what the fresh viewings change is solved with every old one
            // counted whole, and added to the factors that training found.
            (Some(viewer), Some(mut factors)) => {
                let mut all: Vec<(u32, f32)> = self.model.seen(viewer).iter().map(|p| (*p, 1.0)).collect();
                let before = fold_in.factors(&all);
                all.extend(fresh);
                let after = fold_in.factors(&all);
                factors.iter_mut().zip(after.iter().zip(&before)).for_each(|(f, (a, b))| *f += a - b);
                factors
            }
            _ => fold_in.factors(&fresh),
        };
        past.folded = Some((self.model.id().to_owned(), factors.clone()));
        Some(factors)
    }

    /// Fills `room.best` with at most `most` catalogue indices, best first, from what a viewer with these factors has not
    /// seen.
    pub fn recommend(&self, viewer: &str, factors: &[f32], wish: &Wish, most: usize, room: &mut Room) {
        self.score(self.model.tiles(), factors, &mut room.scores);
        let seen = self.model.viewer_index(viewer).map_or(&[][..], |v| self.model.seen(v));
        seen.iter().for_each(|p| room.scores[*p as usize] = f32::NEG_INFINITY);
        self.take_best(wish, most, room);
    }

    /// Fills `room.best` with the programmes most like one of the catalogue; `false` where the model does not know it.
    pub fn similar(&self, index: u32, wish: &Wish, room: &mut Room) -> bool {
        let Some(own) = self.number(index) else { return false };
        let rank = self.model.rank();
        let (rows, tiles) = self.directions.get_or_init(|| {
            let rows = directions(&self.model);
            let tiles = Tiles::of(&rows, rank);
            (rows, tiles)
        });
        self.score(tiles, &rows[own as usize * rank..][..rank], &mut room.scores);
        room.scores[own as usize] = f32::NEG_INFINITY;
        self.take_best(wish, wish.limit, room);
        true
    }

    /// Returns the score of one programme of the catalogue for somebody with these factors.
    pub fn score_one(&self, factors: &[f32], index: u32) -> Option<f32> {
        let own = self.number(index)? as usize;
        let row = &self.model.programme_factors()[own * self.model.rank()..][..self.model.rank()];
        Some(row.iter().zip(factors).map(|(a, b)| a * b).sum())
    }

    fn number(&self, index: u32) -> Option<u32> {
        self.by_index.get(index as usize).copied().filter(|p| *p != GONE)
    }

    fn take_best(&self, wish: &Wish, most: usize, room: &mut Room) {
        let Room { scores, best, watched } = room;
        for (score, index) in scores.iter_mut().zip(&self.programmes) {
            if *index == GONE || !wish.wants(*index) {
                *score = f32::NEG_INFINITY;
            }
        }
        for programme in watched.iter().filter_map(|index| self.number(*index)) {
            scores[programme as usize] = f32::NEG_INFINITY;
        }
        highest(scores, most, best);
        best.retain(|(_, score)| *score > f32::NEG_INFINITY);
        best.iter_mut().for_each(|(programme, _)| *programme = self.programmes[*programme as usize]);
    }

    fn score(&self, tiles: &Tiles, factors: &[f32], scores: &mut Vec<f32>) {
        scores.resize(tiles.width(), 0.0);
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
