//! Factors to top lists: for everybody in blocks, for one viewer at once, for a viewer who was not there in training.

use rayon::prelude::*;

use super::als;
use super::convention::Weights;
use super::error::ModelError;
use super::files::Model;
use super::kernel::{TOGETHER, padded};
use super::score::{Scores, highest};
use super::tiles::Tiles;
use crate::stop::Stop;

/// Viewers scored before their lists are handed over.
const AT_ONCE: usize = 4096;

/// Makes each viewer's list, highest score first and without what they saw, and hands them over in the viewers' order.
/// `threads` 0 is one a core.
pub fn top_lists(
    model: &Model,
    top: usize,
    threads: usize,
    stop: &Stop,
    each: impl FnMut(u32, &[(u32, f32)]) + Send,
) -> Result<(), ModelError> {
    let viewers: Vec<u32> = (0..model.viewers() as u32).collect();
    pool(threads)?.install(|| lists_of(model, &viewers, top, stop, each))
}

/// Makes the lists of some viewers, handed over in the order asked for; runs on the rayon pool it is called in.
pub fn lists_of(
    model: &Model,
    viewers: &[u32],
    top: usize,
    stop: &Stop,
    each: impl FnMut(u32, &[(u32, f32)]),
) -> Result<(), ModelError> {
    in_groups(model.tiles(), viewers, |v| (model.viewer_factors(v), model.seen(v)), top, stop, each)
}

/// Makes each programme's list of the most similar ones, by the angle between their factors, and hands them over in
/// the programmes' order.
pub fn similar_lists(
    model: &Model,
    top: usize,
    threads: usize,
    stop: &Stop,
    each: impl FnMut(u32, &[(u32, f32)]) + Send,
) -> Result<(), ModelError> {
    let rank = model.rank();
    let directions = directions(model);
    let tiles = Tiles::of(&directions, rank);
    let all: Vec<u32> = (0..model.programmes() as u32).collect();
    let of = |p: u32| {
        let own = std::slice::from_ref(&all[p as usize]);
        (&directions[p as usize * rank..][..rank], own)
    };
    pool(threads)?.install(|| in_groups(&tiles, &all, of, top, stop, each))
}

/// Returns the programmes' factors, each of length one; a programme without any stays zero.
pub fn directions(model: &Model) -> Vec<f32> {
    let mut directions = model.programme_factors().to_vec();
    for row in directions.chunks_mut(model.rank()) {
        let length = row.iter().map(|f| f * f).sum::<f32>().sqrt();
        if length > 0.0 {
            row.iter_mut().for_each(|f| *f /= length);
        }
    }
    directions
}

/// Scores rows against tiles, some at a time, in parallel; `of` says a row's factors and what its list leaves out.
fn in_groups<'a>(
    tiles: &Tiles,
    rows: &[u32],
    of: impl Fn(u32) -> (&'a [f32], &'a [u32]) + Sync,
    top: usize,
    stop: &Stop,
    mut each: impl FnMut(u32, &[(u32, f32)]),
) -> Result<(), ModelError> {
    for some in rows.chunks(AT_ONCE) {
        if stop.requested() {
            return Err(ModelError::Stopped);
        }
        let lists: Vec<Vec<Vec<(u32, f32)>>> = some
            .par_chunks(TOGETHER)
            .map_init(
                || (Scores::new(tiles), Vec::new()),
                |(scores, best), group| {
                    scores.score(tiles, group.iter().map(|row| of(*row)));
                    let list = |i| {
                        highest(scores.of(i, tiles), top, best);
                        best.clone()
                    };
                    (0..group.len()).map(list).collect()
                },
            )
            .collect();
        some.iter().zip(lists.iter().flatten()).for_each(|(v, list)| each(*v, list));
    }
    Ok(())
}

/// Returns the highest scores for one viewer's factors, without what is in `seen`.
pub fn top_for(factors: &[f32], model: &Model, seen: &[u32], top: usize) -> Vec<(u32, f32)> {
    let tiles = model.tiles();
    let mut scores = Scores::new(tiles);
    scores.score(tiles, std::iter::once((factors, seen)));
    let mut best = Vec::new();
    highest(scores.of(0, tiles), top, &mut best);
    best
}

/// Returns the factors of a viewer from their viewings (programme, value as in training), as training would have solved them.
pub fn fold_in(model: &Model, viewings: &[(u32, f32)]) -> Vec<f32> {
    FoldIn::new(model).factors(viewings)
}

/// What solving for a viewer who was not there in training needs of a model; made once, asked often.
#[derive(Debug)]
pub struct FoldIn {
    programmes: Vec<f32>,
    gram: Vec<f32>,
    weights: Weights,
    rank: usize,
    stride: usize,
}

impl FoldIn {
    pub fn new(model: &Model) -> Self {
        let training = model.training();
        let (rank, stride) = (model.rank(), padded(model.rank()));
        let mut programmes = vec![0.0; model.programmes() * stride];
        for (to, from) in programmes.chunks_mut(stride).zip(model.programme_factors().chunks(rank)) {
            to[..rank].copy_from_slice(from);
        }
        let weights = training.convention.weights(training.alpha, training.regularization);
        let gram = als::gram(&programmes, weights.unseen, stride);
        Self { programmes, gram, weights, rank, stride }
    }

    /// Returns the factors of somebody with these viewings.
    pub fn factors(&self, viewings: &[(u32, f32)]) -> Vec<f32> {
        let (columns, values): (Vec<u32>, Vec<f32>) = viewings.iter().copied().unzip();
        let mut factors = als::solve_one(&self.programmes, &self.gram, &self.weights, &columns, &values, self.stride);
        factors.truncate(self.rank);
        factors
    }
}

/// Returns a pool of `threads` threads; 0 is one a core.
pub fn pool(threads: usize) -> Result<rayon::ThreadPool, ModelError> {
    let built = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    built.map_err(|e| ModelError::asked(format!("cannot start {threads} threads: {e}"), "ask for fewer with --threads"))
}
