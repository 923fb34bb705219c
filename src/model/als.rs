//! Alternating least squares: viewers against programmes and back, each row solved exactly, the loss told each time.
//!
//! The same seed gives the same factors whatever the number of threads: rows never share a sum, and sums over rows are added
//! in a fixed order. Another kind of kernel (another processor) may differ in the last digits.

use std::time::Instant;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use rayon::prelude::*;

use super::convention::Weights;
use super::error::ModelError;
use super::kernel::{self, CHUNK, Kernel, Rows, System, matrix_len, padded, row_start};
use super::matrix::Matrix;
use crate::stats::progress::{Progress, Tell};
use crate::stop::Stop;

#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub rank: usize,
    pub iterations: usize,
    pub weights: Weights,
    pub seed: u64,
}

/// Factors of both sides, row by row, padded with zeros to `stride` columns.
#[derive(Debug)]
pub struct Factors {
    pub rank: usize,
    pub stride: usize,
    pub viewers: Vec<f32>,
    pub programmes: Vec<f32>,
    /// After each iteration.
    pub loss: Vec<f64>,
    /// Of each iteration: both sides, and all that belongs to them.
    pub seconds: Vec<f64>,
}

/// Trains on viewings by viewer; runs on the rayon pool it is called in.
pub fn train(
    by_viewer: &Matrix,
    programmes: usize,
    plan: &Plan,
    stop: &Stop,
    tell: Tell,
) -> Result<Factors, ModelError> {
    let kernel = kernel::best();
    let stride = padded(plan.rank);
    let by_programme = by_viewer.turned(programmes);
    let mut x = vec![0.0; by_viewer.rows() * stride];
    let mut y = first_guess(programmes, plan, stride);
    let (mut loss, mut seconds) = (Vec::new(), Vec::new());
    let began = Instant::now();
    for iteration in 0..plan.iterations {
        let start = Instant::now();
        let mut said = |done: f64, loss: Option<&f64>| {
            let left = plan.iterations as f64 - done;
            tell(Progress {
                task: "training".to_owned(),
                done,
                total: Some(plan.iterations as f64),
                unit: "iterations".to_owned(),
                left_s: Some(began.elapsed().as_secs_f64() / done.max(0.5) * left),
                note: loss.map_or(String::new(), |l| format!("loss {l:.4e}")),
            });
        };
        let viewers = half(kernel, by_viewer, &y, &mut x, plan, stride, stop)?;
        said(iteration as f64 + 0.5, loss.last());
        let items = half(kernel, &by_programme, &x, &mut y, plan, stride, stop)?;
        // The programmes' half knows the fit; the viewers' half knows how large their own factors are.
        let now = items.fit + items.held + viewers.held;
        if !now.is_finite() {
            let hint = "raise --regularization, or lower --alpha";
            return Err(ModelError::asked(format!("the training diverged at iteration {}", iteration + 1), hint));
        }
        loss.push(now);
        seconds.push(start.elapsed().as_secs_f64());
        said(iteration as f64 + 1.0, loss.last());
    }
    Ok(Factors { rank: plan.rank, stride, viewers: x, programmes: y, loss, seconds })
}

/// Returns the factors of one row that was not there in training, given its viewings against `other`.
pub fn solve_one(
    other: &[f32],
    gram: &[f32],
    weights: &Weights,
    columns: &[u32],
    values: &[f32],
    stride: usize,
) -> Vec<f32> {
    let kernel = kernel::best();
    let mut room = Room::new(kernel, stride);
    let held = other.len() / stride;
    room.build(kernel, 0, gram, other, weights, (columns, values), stride, held);
    let mut out = vec![0.0; kernel.lanes * stride];
    room.answer(kernel, 1, &mut out, stride);
    out.truncate(stride);
    out
}

/// Returns the weighted sum over all rows that every system starts from.
pub fn gram(factors: &[f32], unseen: f32, stride: usize) -> Vec<f32> {
    let kernel = kernel::best();
    let size = matrix_len(stride);
    // Parts of 4,096 rows in f32, their sum in f64, added in order: the same on any number of threads.
    let parts: Vec<Vec<f32>> = factors
        .par_chunks(4096 * stride)
        .map(|part| {
            let mut sum = vec![0.0; size];
            kernel.gram(&mut sum, part, stride);
            sum
        })
        .collect();
    let mut total = vec![0.0_f64; size];
    for part in &parts {
        total.iter_mut().zip(part).for_each(|(t, p)| *t += f64::from(*p));
    }
    total.into_iter().map(|t| (t * f64::from(unseen)) as f32).collect()
}

/// Small and positive, as Spark and implicit begin too: the first answers then lean on popularity.
fn first_guess(programmes: usize, plan: &Plan, stride: usize) -> Vec<f32> {
    let mut random = Pcg64::seed_from_u64(plan.seed);
    let mut y = vec![0.0; programmes * stride];
    for row in y.chunks_mut(stride) {
        for v in &mut row[..plan.rank] {
            *v = random.random::<f32>() * 0.01;
        }
    }
    y
}

/// What half an iteration says of the loss.
#[derive(Clone, Copy, Default)]
struct Part {
    /// The weighted squared error.
    fit: f64,
    /// What the size of the solved factors costs.
    held: f64,
}

/// Solves every row of `matrix` against the factors of the other side.
fn half(
    kernel: &'static Kernel,
    matrix: &Matrix,
    other: &[f32],
    own: &mut [f32],
    plan: &Plan,
    stride: usize,
    stop: &Stop,
) -> Result<Part, ModelError> {
    let gram = gram(other, plan.weights.unseen, stride);
    let columns = other.len() / stride;
    let parts: Option<Vec<Part>> = own
        .par_chunks_mut(kernel.lanes * stride)
        .enumerate()
        .map_init(
            || Room::new(kernel, stride),
            |room, (batch, own)| {
                if stop.requested() {
                    return None;
                }
                let rows = own.len() / stride;
                for lane in 0..rows {
                    let row = matrix.row(batch * kernel.lanes + lane);
                    room.build(kernel, lane, &gram, other, &plan.weights, row, stride, columns);
                }
                room.answer(kernel, rows, own, stride);
                Some(room.told(own, rows, stride))
            },
        )
        .collect();
    let parts = parts.ok_or(ModelError::Stopped)?;
    Ok(parts.iter().fold(Part::default(), |sum, p| Part { fit: sum.fit + p.fit, held: sum.held + p.held }))
}

/// One thread's working room: as many systems as the kernel solves at once.
struct Room {
    matrices: Vec<f32>,
    sides: Vec<f32>,
    scratch: Vec<f32>,
    solving: Vec<f32>,
    weights: Vec<(f32, f32)>,
    answers: Vec<f32>,
    /// Of each system: what its viewings weigh together, and its diagonal.
    known: Vec<(f64, f32)>,
}

impl Room {
    fn new(kernel: &Kernel, stride: usize) -> Self {
        let mut matrices = vec![0.0; kernel.lanes * matrix_len(stride)];
        // Lanes that a last, short batch leaves empty must hold something that can be factored.
        for lane in 0..kernel.lanes {
            (0..stride).for_each(|i| matrices[lane * matrix_len(stride) + row_start(i) + i] = 1.0);
        }
        Self {
            matrices,
            sides: vec![0.0; kernel.lanes * stride],
            scratch: vec![0.0; 2 * CHUNK * stride],
            solving: vec![0.0; kernel.solve_room(stride)],
            weights: Vec::new(),
            answers: vec![0.0; kernel.lanes * stride],
            known: vec![(0.0, 0.0); kernel.lanes],
        }
    }

    #[allow(clippy::too_many_arguments, reason = "one system, wholly stated")]
    fn build(
        &mut self,
        kernel: &Kernel,
        lane: usize,
        gram: &[f32],
        other: &[f32],
        weights: &Weights,
        (columns, values): (&[u32], &[f32]),
        stride: usize,
        all: usize,
    ) {
        let size = matrix_len(stride);
        let matrix = &mut self.matrices[lane * size..(lane + 1) * size];
        matrix.copy_from_slice(gram);
        self.weights.clear();
        self.weights.extend(values.iter().map(|r| weights.of(*r)));
        let seen = values.iter().filter(|r| **r > 0.0).count();
        let diagonal = weights.diagonal(seen, all);
        (0..stride).for_each(|i| matrix[row_start(i) + i] += diagonal);
        let right = &mut self.sides[lane * stride..(lane + 1) * stride];
        right.fill(0.0);
        let mut system = System { matrix, right, scratch: &mut self.scratch };
        kernel.accumulate(&mut system, &Rows { factors: other, rank: stride, columns, weights: &self.weights });
        self.known[lane] = (self.weights.iter().map(|w| f64::from(w.1)).sum(), diagonal);
    }

    fn answer(&mut self, kernel: &Kernel, rows: usize, own: &mut [f32], stride: usize) {
        self.answers.copy_from_slice(&self.sides);
        kernel.solve(&self.matrices, &mut self.answers, &mut self.solving, stride);
        own[..rows * stride].copy_from_slice(&self.answers[..rows * stride]);
    }

    /// At the exact answer the squared error and the price of the factors together are `sum(weights) - b'x`.
    fn told(&self, own: &[f32], rows: usize, stride: usize) -> Part {
        let mut part = Part::default();
        for lane in 0..rows {
            let x = &own[lane * stride..(lane + 1) * stride];
            let b = &self.sides[lane * stride..(lane + 1) * stride];
            let dot: f64 = x.iter().zip(b).map(|(x, b)| f64::from(*x) * f64::from(*b)).sum();
            let size: f64 = x.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
            let (weight, diagonal) = self.known[lane];
            let held = f64::from(diagonal) * size;
            part.fit += weight - dot - held;
            part.held += held;
        }
        part
    }
}
