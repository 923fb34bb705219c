//! Pictures without a script: heat and lines as SVG whose colours come from the page's style.

use std::fmt::Write as _;
use std::time::Duration;

use maud::{Markup, html};

use super::page::{Curve, Heat, Lines, Unit};
use crate::stats::units::{Millis, Rps, clock};

const WIDTH: f64 = 860.0;
const LEFT: f64 = 74.0;
const ROW: f64 = 15.0;
const HEIGHT: f64 = 150.0;
const FOOT: f64 = 20.0;
/// From which share of its slice's answers a cell is how dark.
const SHADES: [f64; 5] = [0.0, 0.01, 0.07, 0.2, 0.5];

/// Returns the heat: cells above the objective in another colour, its line drawn through.
pub fn heat(heat: &Heat) -> Markup {
    let rows = heat.bounds.len() + 1;
    let height = rows as f64 * ROW;
    let across = (WIDTH - LEFT) / heat.slices.len().max(1) as f64;
    let top = |band: usize| (rows - 1 - band) as f64 * ROW;
    let limit = heat.limit.and_then(|l| heat.bounds.iter().position(|b| b.0 == l.0));
    // One path a shade: thousands of cells stay a few kilobytes.
    let mut paths = vec![String::new(); SHADES.len() * 2];
    for (i, slice) in heat.slices.iter().enumerate() {
        let Some(shares) = slice else { continue };
        for (band, share) in shares.iter().enumerate().filter(|(_, s)| **s > 0.0) {
            let shade = SHADES.iter().rposition(|least| share >= least).unwrap_or(0);
            let missed = usize::from(limit.is_some_and(|l| band > l));
            let (x, y) = (LEFT + i as f64 * across, top(band));
            let _ = write!(paths[shade * 2 + missed], "M{x:.1} {y:.0}h{across:.1}v{ROW:.0}H{x:.1}z");
        }
    }
    html! {
        svg viewBox=(format!("0 0 {WIDTH:.0} {:.0}", height + FOOT)) role="img" aria-label=(format!("{}. {}", heat.caption, heat.told)) {
            @for (band, bound) in heat.bounds.iter().enumerate() {
                text x=(LEFT - 6.0) y=(top(band) + 11.0) text-anchor="end" { (bound) }
            }
            @if let Some(last) = heat.bounds.last() {
                text x=(LEFT - 6.0) y="11" text-anchor="end" { "> " (last) }
            }
            @for (i, d) in paths.iter().enumerate().filter(|(_, d)| !d.is_empty()) {
                path class=(format!("{}{}", if i % 2 == 1 { "miss" } else { "heat" }, i / 2 + 1)) d=(d) {}
            }
            @if let Some(band) = limit {
                line class="limit" x1=(LEFT) x2=(WIDTH) y1=(top(band)) y2=(top(band)) {}
            }
            (axis(height, heat.slices.len(), heat.each_s))
        }
    }
}

fn shown(unit: Unit, v: f64) -> String {
    match unit {
        Unit::Millis => Millis(v).to_string(),
        Unit::PerSecond => Rps(v.round()).to_string(),
        Unit::Share => format!("{:.0} %", v * 100.0),
    }
}

/// Returns points, the highest x at the left: full where seen, hollow where guessed.
pub fn curve(curve: &Curve) -> Markup {
    let xs = || curve.points.iter().map(|p| p.x);
    let (most, least) = (xs().fold(f64::MIN, f64::max), xs().fold(f64::MAX, f64::min));
    let highest = curve.points.iter().map(|p| p.y).chain(curve.limit).fold(0.0, f64::max);
    let top = if highest > 0.0 { highest * 1.15 } else { 1.0 };
    let wide = WIDTH - LEFT - 60.0;
    let x = |v: f64| LEFT + 20.0 + if most > least { (most - v) / (most - least) * wide } else { 0.0 };
    let y = |v: f64| HEIGHT - v / top * (HEIGHT - 8.0);
    let mut free = f64::MIN;
    let labelled: Vec<(f64, String)> = curve
        .points
        .iter()
        .filter_map(|p| {
            let at = x(p.x);
            (at >= free).then(|| {
                free = at + 44.0;
                (at, format!("{:.0}", p.x))
            })
        })
        .collect();
    html! {
        svg viewBox=(format!("0 0 {WIDTH:.0} {:.0}", HEIGHT + FOOT)) role="img" aria-label=(format!("{}. {}", curve.caption, curve.told)) {
            @for share in [0.0, 0.5, 1.0] {
                @let value = highest * share;
                text x=(LEFT - 6.0) y=(y(value) + 4.0) text-anchor="end" { (shown(curve.unit, value)) }
                line class="grid" x1=(LEFT) x2=(WIDTH) y1=(y(value)) y2=(y(value)) {}
            }
            @if let Some(limit) = curve.limit {
                line class="limit" x1=(LEFT) x2=(WIDTH) y1=(y(limit)) y2=(y(limit)) {}
                text class="limit-label" x=(WIDTH - 4.0) y=(y(limit) - 4.0) text-anchor="end" { "limit " (shown(curve.unit, limit)) }
            }
            @for point in &curve.points {
                circle class=(if point.guess { "guess" } else { "held" }) cx=(x(point.x)) cy=(y(point.y)) r="4" {}
            }
            line class="axis" x1=(LEFT) x2=(WIDTH) y1=(HEIGHT) y2=(HEIGHT) {}
            @for (at, text) in &labelled {
                text x=(at) y=(HEIGHT + 14.0) text-anchor="middle" { (text) }
            }
            text x=(WIDTH - 4.0) y=(HEIGHT + 14.0) text-anchor="end" { (curve.along) }
        }
    }
}

/// Returns lines over time; a gap in the data is a gap in the line.
pub fn lines(lines: &Lines) -> Markup {
    let count = lines.series.iter().map(|s| s.values.len()).max().unwrap_or(0).max(1);
    let seen = lines.series.iter().flat_map(|s| s.values.iter().flatten().copied());
    let highest = seen.chain(lines.limit).fold(0.0, f64::max);
    let most = if highest > 0.0 { highest * 1.1 } else { 1.0 };
    let x = |i: usize| LEFT + (i as f64 + 0.5) * (WIDTH - LEFT) / count as f64;
    let y = |v: f64| HEIGHT - v / most * (HEIGHT - 8.0);
    let label = |v: f64| shown(lines.unit, v);
    html! {
        svg viewBox=(format!("0 0 {WIDTH:.0} {:.0}", HEIGHT + FOOT)) role="img" aria-label=(format!("{}. {}", lines.caption, lines.told)) {
            @for share in [0.0, 0.5, 1.0] {
                @let value = highest * share;
                text x=(LEFT - 6.0) y=(y(value) + 4.0) text-anchor="end" { (label(value)) }
                line class="grid" x1=(LEFT) x2=(WIDTH) y1=(y(value)) y2=(y(value)) {}
            }
            @for (i, series) in lines.series.iter().enumerate() {
                path class=(format!("line{i}")) d=(path(&series.values, x, y)) {}
            }
            @if let Some(limit) = lines.limit {
                line class="limit" x1=(LEFT) x2=(WIDTH) y1=(y(limit)) y2=(y(limit)) {}
                text class="limit-label" x=(WIDTH - 4.0) y=(y(limit) - 4.0) text-anchor="end" { "objective " (label(limit)) }
            }
            (axis(HEIGHT, count, lines.each_s))
        }
    }
}

fn path(values: &[Option<f64>], x: impl Fn(usize) -> f64, y: impl Fn(f64) -> f64) -> String {
    let mut d = String::new();
    let mut pen_down = false;
    for (i, value) in values.iter().enumerate() {
        let Some(value) = value else {
            pen_down = false;
            continue;
        };
        let _ = write!(d, "{}{:.1} {:.1}", if pen_down { "L" } else { "M" }, x(i), y(*value));
        if !pen_down {
            // A single point between two gaps is still seen.
            d.push_str("h.1");
        }
        pen_down = true;
    }
    d
}

fn axis(y: f64, slices: usize, each_s: u32) -> Markup {
    let total = (slices as u32 * each_s).max(1);
    let round = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400];
    let step = round.into_iter().find(|s| total / s <= 10).unwrap_or(86_400);
    let x = |s: u32| LEFT + f64::from(s) / f64::from(total) * (WIDTH - LEFT);
    html! {
        line class="axis" x1=(LEFT) x2=(WIDTH) y1=(y) y2=(y) {}
        @for second in (0..total).step_by(step as usize) {
            line class="axis" x1=(x(second)) x2=(x(second)) y1=(y) y2=(y + 4.0) {}
            text x=(x(second) + 3.0) y=(y + 14.0) { (clock(Duration::from_secs(second.into()))) }
        }
    }
}
