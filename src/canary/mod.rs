//! Canary walks: stages by shares of viewers, driven by the judge.

pub mod evening;
pub mod plan;
pub mod series;
pub mod simulate;
