//! Bars over time on several rows, with the objective's line drawn through.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::Widget;

use crate::console::glyphs;
use crate::console::look::Look;
use crate::console::theme::Tone;
use crate::stats::units::Millis;

const LABEL: u16 = 9;

pub struct Bars<'a> {
    /// One a slice of time; `None` is a gap.
    pub values: &'a [Option<Millis>],
    pub limit: Option<Millis>,
    pub look: Look,
}

impl Widget for Bars<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        if area.width <= LABEL + 2 || area.height < 2 {
            return;
        }
        let width = usize::from(area.width - LABEL);
        let rows = usize::from(area.height);
        let cells = (width / self.values.len().max(1)).max(1);
        let highest = self.values.iter().flatten().map(|m| m.0).chain(self.limit.map(|l| l.0)).fold(0.0, f64::max);
        let top = if highest > 0.0 { highest * 1.15 } else { 1.0 };
        let limit_row = self.limit.map(|l| (l.0 / top * rows as f64) as usize);
        for row in 0..rows {
            let y = area.y + (rows - 1 - row) as u16;
            let on_limit = limit_row == Some(row);
            let label = match self.limit {
                Some(limit) if on_limit => limit.to_string(),
                _ if row == 0 => "0".to_owned(),
                _ if row + 1 == rows => Millis(top).to_string(),
                _ => String::new(),
            };
            let edge = if label.is_empty() { "│" } else { "┤" };
            let tone = if on_limit { Tone::Limit } else { Tone::Dim };
            buffer.set_string(area.x, y, format!("{label:>8}{edge}"), self.look.style(tone));
            if on_limit {
                buffer.set_string(area.x + LABEL, y, glyphs::LIMIT.repeat(width), self.look.style(Tone::Limit));
            }
            for (i, value) in self.values.iter().enumerate().take(width / cells) {
                let Some(value) = value else { continue };
                let filled = (value.0 / top * rows as f64 - row as f64).min(1.0);
                let missed = self.limit.is_some_and(|l| value.0 > l.0);
                let tone = if missed { Tone::Bad } else { Tone::Good };
                if filled > 0.0 || row == 0 {
                    let bar = glyphs::height(filled).repeat(cells);
                    buffer.set_string(area.x + LABEL + (i * cells) as u16, y, bar, self.look.style(tone));
                }
            }
        }
    }
}
