//! Points of one value against another, the seen and the guessed apart, with the objective's line drawn through.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::Widget;

use crate::console::glyphs;
use crate::console::look::Look;
use crate::console::theme::Tone;

const LABEL: u16 = 9;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub x: f64,
    pub y: f64,
    /// Not seen yet.
    pub guess: bool,
}

/// The highest x stands at the left: the way goes down.
pub struct Curve<'a> {
    pub points: &'a [Point],
    pub limit: Option<f64>,
    /// How a value is written at the edge.
    pub label: &'a dyn Fn(f64) -> String,
    pub look: Look,
}

impl Widget for Curve<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        if area.width <= LABEL + 6 || area.height < 3 {
            return;
        }
        let (width, rows) = (usize::from(area.width - LABEL), usize::from(area.height - 1));
        let highest = self.points.iter().map(|p| p.y).chain(self.limit).fold(0.0, f64::max);
        let top = if highest > 0.0 { highest * 1.15 } else { 1.0 };
        let row_of = |y: f64| ((y / top * rows as f64) as usize).min(rows - 1);
        let xs = self.points.iter().map(|p| p.x);
        let (most, least) = (xs.clone().fold(f64::MIN, f64::max), xs.fold(f64::MAX, f64::min));
        let cell_of = |x: f64| {
            let share = if most > least { (most - x) / (most - least) } else { 0.0 };
            (share * width.saturating_sub(6) as f64) as usize
        };
        let limit_row = self.limit.map(row_of);
        let line = |row: usize| area.y + (rows - 1 - row) as u16;
        for row in 0..rows {
            let on_limit = limit_row == Some(row);
            let label = match self.limit {
                Some(limit) if on_limit => (self.label)(limit),
                _ if row == 0 => "0".to_owned(),
                _ if row + 1 == rows => (self.label)(top),
                _ => String::new(),
            };
            let edge = if label.is_empty() { "│" } else { "┤" };
            let tone = if on_limit { Tone::Limit } else { Tone::Dim };
            buffer.set_string(area.x, line(row), format!("{label:>8}{edge}"), self.look.style(tone));
            if on_limit {
                buffer.set_string(area.x + LABEL, line(row), glyphs::LIMIT.repeat(width), self.look.style(Tone::Limit));
            }
        }
        let dim = self.look.style(Tone::Dim);
        buffer.set_string(area.x + LABEL - 1, area.y + rows as u16, "└", dim);
        buffer.set_string(area.x + LABEL, area.y + rows as u16, "─".repeat(width), dim);
        let mut free = 0;
        for point in self.points {
            let cell = cell_of(point.x);
            let over = self.limit.is_some_and(|l| point.y > l);
            let tone = match (point.guess, over) {
                (true, _) => Tone::Warn,
                (false, true) => Tone::Bad,
                (false, false) => Tone::Good,
            };
            let sign = if point.guess { "○" } else { "●" };
            buffer.set_string(area.x + LABEL + cell as u16, line(row_of(point.y)), sign, self.look.style(tone));
            let text = format!("{:.0}", point.x);
            if cell >= free && cell + text.len() <= width {
                buffer.set_string(area.x + LABEL + cell as u16, area.y + rows as u16, &text, dim);
                free = cell + text.len() + 1;
            }
        }
    }
}
