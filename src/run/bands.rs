//! The rows of a latency picture: bands whose bounds fall on the objective; the few slowest share the open one on top.

use super::columns::Columns;
use crate::stats::units::Millis;

/// Steps from a band to the next: the finest that covers what was seen is taken.
const STEPS: [f64; 8] = [1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 10.0];

/// Returns up to `rows` ascending upper bounds; `limit`, where there is one, is among them.
pub fn bounds(columns: &Columns, limit: Option<Millis>, rows: usize) -> Vec<Millis> {
    let seen = |pick: fn(f64, f64) -> f64, values: Vec<f64>| values.into_iter().reduce(pick);
    let low = seen(f64::min, columns.iter().filter_map(|c| c.quantile(0.05)).map(|m| m.0).collect());
    let high = seen(f64::max, columns.iter().filter_map(|c| c.quantile(0.99)).map(|m| m.0).collect());
    let anchor = limit.map_or(1.0, |l| l.0.max(0.01));
    let low = low.unwrap_or(anchor / 16.0).max(0.01).min(anchor);
    let high = high.unwrap_or(anchor * 2.0).max(if limit.is_some() { anchor } else { low });
    let rows = rows.max(1);
    let span = |step: f64| {
        let below = (low / anchor).ln() / step.ln();
        let above = (high / anchor).ln() / step.ln();
        (below.floor() as i32, above.ceil() as i32)
    };
    let fits = |step: &f64| {
        let (first, last) = span(*step);
        (last - first) < rows as i32
    };
    let step = STEPS.into_iter().find(fits).unwrap_or(10.0);
    let (first, last) = span(step);
    // Above the last bound lies one more, open band, so the highest bound may be missing; the objective never.
    let last = if limit.is_some() { last.max(0) } else { last };
    let first = first.max(last - rows as i32 + 1);
    let first = if limit.is_some() { first.min(0) } else { first };
    (first..first + rows as i32).map(|k| Millis(anchor * step.powi(k))).collect()
}
