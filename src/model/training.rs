//! Viewings to a model folder, in one call: weigh by age, train, rank by popularity, write.

use std::path::Path;
use std::time::Duration;

use super::als::{self, Factors, Plan};
use super::convention::Convention;
use super::dataset::Dataset;
use super::error::ModelError;
use super::event_value::EventValue;
use super::files::{self, Parts, Training};
use super::matrix::Matrix;
use crate::stats::progress::Tell;
use crate::stop::Stop;

/// What to train, beside the data.
#[derive(Clone, Debug)]
pub struct Ask {
    pub rank: usize,
    pub iterations: usize,
    pub convention: Convention,
    pub regularization: f32,
    pub alpha: f32,
    pub seed: u64,
    pub event: EventValue,
    pub since: Option<Duration>,
    pub half_life: Option<Duration>,
}

/// A model that is trained but not yet on disk.
#[derive(Debug)]
pub struct Trained {
    pub factors: Factors,
    data: Dataset,
    ask: Ask,
}

impl Ask {
    /// Refuses what cannot be trained, before anything is read.
    pub fn check(&self) -> Result<(), ModelError> {
        let wrong = |what: String, hint: &str| Err(ModelError::asked(what, hint));
        if !(1..=512).contains(&self.rank) {
            return wrong(format!("rank {} is outside 1 to 512", self.rank), "choose --rank between 16 and 128");
        }
        if !(1..=1000).contains(&self.iterations) {
            return wrong(format!("{} iterations are outside 1 to 1000", self.iterations), "15 are usually enough");
        }
        for (name, value) in [("regularization", self.regularization), ("alpha", self.alpha)] {
            if !value.is_finite() || value <= 0.0 {
                return wrong(
                    format!("{name} {value} is not above 0"),
                    "leave the flag out for a value that does well",
                );
            }
        }
        if self.half_life.is_some_and(|h| h.is_zero()) {
            return wrong(
                "a half-life of 0 leaves nothing".to_owned(),
                "leave --half-life out to weigh all viewings alike",
            );
        }
        Ok(())
    }
}

/// Trains; runs on the rayon pool it is called in.
pub fn train(mut data: Dataset, ask: &Ask, stop: &Stop, tell: Tell) -> Result<Trained, ModelError> {
    if let Some(half) = ask.half_life {
        for (value, at) in data.value.iter_mut().zip(&data.at) {
            let age = f64::from(data.newest - at) / half.as_secs_f64();
            *value *= (-age).exp2() as f32;
        }
    }
    data.at = Vec::new();
    let matrix = Matrix {
        starts: std::mem::take(&mut data.starts),
        columns: std::mem::take(&mut data.programme),
        values: std::mem::take(&mut data.value),
    };
    let weights = ask.convention.weights(ask.alpha, ask.regularization);
    let plan = Plan { rank: ask.rank, iterations: ask.iterations, weights, seed: ask.seed };
    let factors = als::train(&matrix, data.programmes.len(), &plan, stop, tell)?;
    data.starts = matrix.starts;
    data.programme = matrix.columns;
    Ok(Trained { factors, data, ask: ask.clone() })
}

impl Trained {
    pub fn viewers(&self) -> usize {
        self.data.viewers.len()
    }

    pub fn programmes(&self) -> usize {
        self.data.programmes.len()
    }

    pub fn viewings(&self) -> usize {
        self.data.programme.len()
    }

    /// Writes the model folder and returns the model's name.
    pub fn write(&self, folder: &Path, trained_at: &str) -> Result<String, ModelError> {
        let ask = &self.ask;
        let training = Training {
            rank: ask.rank,
            iterations: ask.iterations,
            convention: ask.convention,
            regularization: ask.regularization,
            alpha: ask.alpha,
            seed: ask.seed,
            event_value: ask.event,
            since_s: ask.since.map(|d| d.as_secs()),
            half_life_s: ask.half_life.map(|d| d.as_secs()),
            interactions: self.viewings() as u64,
            newest: self.data.newest,
            loss: self.factors.loss.clone(),
        };
        let parts = Parts {
            training,
            trained_at: trained_at.to_owned(),
            viewers: &self.data.viewers,
            programmes: &self.data.programmes,
            viewer_factors: &self.factors.viewers,
            programme_factors: &self.factors.programmes,
            stride: self.factors.stride,
            seen_starts: &self.data.starts,
            seen: &self.data.programme,
            popular: &self.popular(),
        };
        files::write(folder, &parts)
    }

    fn popular(&self) -> Vec<(u32, f32)> {
        let mut seen = vec![0_u32; self.programmes()];
        self.data.programme.iter().for_each(|p| seen[*p as usize] += 1);
        let mut order: Vec<u32> = (0..seen.len() as u32).collect();
        order.sort_by_key(|p| std::cmp::Reverse(seen[*p as usize]));
        order.into_iter().map(|p| (p, seen[p as usize] as f32 / self.viewers().max(1) as f32)).collect()
    }
}
