//! The stack's parts as a table: state, rate, p99, errors, and how much of its limit is in use; drawn on the overview.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::console::look::Look;
use crate::console::screen::World;
use crate::console::theme::Tone;
use crate::console::widgets::frame::{cut, lines, panel};
use crate::console::widgets::spark::gauge;
use crate::incident::parts::{Part, Stand};
use crate::incident::scene::age;
use crate::run::jobs::eye::Seen;
use crate::stats::units::{Millis, Share};

/// A number older than this says so in the frame.
const FRESH_S: f64 = 6.0;

pub fn draw(frame: &mut Frame, area: Rect, world: &World, seen: &Seen) {
    let old = world.seen_age.as_secs_f64();
    let note = match old {
        o if o > FRESH_S => format!("asked {} ago", age(o)),
        _ => format!("{} · asked just now", seen.target),
    };
    let inside = panel(frame, area, &world.look, "the stack", &note);
    let width = usize::from(inside.width);
    let head = format!("  {:<10} {:<7} {:>7} {:>8} {:>8}  of its limit", "part", "state", "rate", "p99", "errors");
    let mut rows = vec![Line::from(world.look.span(cut(&head, width), Tone::Dim))];
    rows.extend(seen.parts.iter().map(|part| row(&world.look, part, width)));
    let room = usize::from(inside.height);
    // An alert takes its time to be sure of; what is wrong with a part is seen at once.
    let alert = seen.signals.alerts.first().cloned();
    let worst = alert.or_else(|| seen.parts.iter().find_map(Part::trouble)).filter(|_| rows.len() < room);
    rows.extend(worst.map(|alert| {
        let text = cut(&format!("✗ {alert}  (6: why)"), width);
        Line::from(world.look.span(text, Tone::Bad))
    }));
    lines(frame, inside, rows);
}

/// The parts without a frame, for a small terminal.
pub fn rows(look: &Look, seen: &Seen, width: usize) -> Vec<Line<'static>> {
    seen.parts.iter().map(|part| row(look, part, width)).collect()
}

fn row(look: &Look, part: &Part, width: usize) -> Line<'static> {
    let tone = match part.stand {
        Stand::Up => Tone::Good,
        Stand::Warm | Stand::Unknown => Tone::Warn,
        Stand::Full | Stand::Fails | Stand::Down | Stand::Poor => Tone::Bad,
    };
    let shown = |value: Option<String>| value.unwrap_or_else(|| "?".to_owned());
    let mut spans = vec![
        look.span(format!("  {:<10} ", cut(&part.name, 10)), Tone::Plain),
        look.span(format!("{} {:<5} ", part.stand.sign(), part.stand.word()), tone),
    ];
    if let Some(told) = &part.told {
        spans.push(look.span(cut(told, width.saturating_sub(21)), Tone::Plain));
        return Line::from(spans);
    }
    let rate = shown(part.rate.map(|r| format!("{r:.0}/s")));
    let p99 = shown(part.p99_ms.map(|p| Millis(p).to_string()));
    let quiet = part.rate == Some(0.0);
    let errors = part.errors.map(|e| Share(e).to_string()).or(quiet.then(|| "-".to_owned()));
    let figures = format!("{rate:>7} {:>8} {:>8}  ", if quiet { "-" } else { &p99 }, shown(errors));
    let left = width.saturating_sub(21 + figures.chars().count());
    spans.push(look.span(figures, Tone::Plain));
    if let Some(used) = part.used.filter(|_| left >= 9) {
        let (full, empty) = gauge(used, 5);
        let text = format!("{:.0}%", (used * 100.0).min(999.0));
        spans.extend([look.span(full, tone), look.span(empty, Tone::Dim), look.span(format!(" {text}"), Tone::Plain)]);
    }
    Line::from(spans)
}
