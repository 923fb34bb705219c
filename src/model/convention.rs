//! Whose least squares: what a viewing weighs, what an unseen programme weighs, and how strongly factors are held small.

use serde::{Deserialize, Serialize};

/// The three in use; the same alpha and lambda mean different things in each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Convention {
    /// Confidence 1 + alpha r; lambda times the number of viewings. Spark's ALS with implicitPrefs.
    #[default]
    Spark,
    /// Confidence alpha r, in the place of 1; plain lambda. The Python package implicit.
    Implicit,
    /// Confidence r on top of 1 / alpha for every programme; lambda times (viewings + programmes / alpha). iALS.
    Ials,
}

/// A convention with its figures, as the solver reads it: A = unseen YtY + sum(matrix yyt) + lambda I, b = sum(right y).
#[derive(Clone, Copy, Debug)]
pub struct Weights {
    /// What every programme weighs, seen or not.
    pub unseen: f32,
    scale: f32,
    matrix_shift: f32,
    right_shift: f32,
    plain: f32,
    by_count: f32,
    by_all: f32,
}

impl Convention {
    /// Returns alpha and regularization that do well on viewings by completion.
    pub fn defaults(self) -> (f32, f32) {
        match self {
            Self::Spark => (10.0, 0.1),
            Self::Implicit => (10.0, 5.0),
            Self::Ials => (10.0, 0.05),
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Spark => "spark",
            Self::Implicit => "implicit",
            Self::Ials => "ials",
        }
    }

    pub fn weights(self, alpha: f32, lambda: f32) -> Weights {
        let zero = Weights {
            unseen: 1.0,
            scale: alpha,
            matrix_shift: 0.0,
            right_shift: 0.0,
            plain: 0.0,
            by_count: 0.0,
            by_all: 0.0,
        };
        match self {
            Self::Spark => Weights { right_shift: 1.0, by_count: lambda, ..zero },
            Self::Implicit => Weights { matrix_shift: -1.0, plain: lambda, ..zero },
            Self::Ials => Weights { unseen: 1.0 / alpha, scale: 1.0, by_count: lambda, by_all: lambda / alpha, ..zero },
        }
    }
}

impl Weights {
    /// Returns what a viewing of value `r` adds to the matrix and to the right side; one of value 0 adds nothing.
    pub fn of(&self, r: f32) -> (f32, f32) {
        if r > 0.0 { (self.scale * r + self.matrix_shift, self.scale * r + self.right_shift) } else { (0.0, 0.0) }
    }

    /// Returns the diagonal for a row with `count` viewings of value above 0, out of `all` on the other side.
    pub fn diagonal(&self, count: usize, all: usize) -> f32 {
        // A row without any evidence still needs a system that can be solved; its answer is zero.
        (self.plain + self.by_count * count as f32 + self.by_all * all as f32).max(1e-6)
    }
}
