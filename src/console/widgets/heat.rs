//! Latency over time: a column a slice of time, a row a band of latency, the objective's row drawn through.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::Widget;

use crate::console::glyphs;
use crate::console::look::Look;
use crate::console::theme::Tone;
use crate::run::bands;
use crate::run::columns::Columns;
use crate::stats::units::{Millis, clock};

const LABEL: u16 = 12;

pub struct Heat<'a> {
    pub columns: &'a Columns,
    /// The length of the whole load; the picture leaves room for what is to come.
    pub seconds: u32,
    pub limit: Option<Millis>,
    pub look: Look,
}

impl Heat<'_> {
    /// Returns how many seconds a slice of a picture this wide covers.
    pub fn slice_seconds(columns: &Columns, seconds: u32, width: u16) -> u32 {
        columns.slices(seconds, usize::from(width.saturating_sub(LABEL))).1
    }

    fn axis(&self, area: Rect, each: u32, cells: usize, slices: usize, buffer: &mut Buffer) {
        let dim = self.look.style(Tone::Dim);
        let width = usize::from(area.width - LABEL);
        let mut text = vec!['─'; width];
        let total = (slices as u32 * each).max(1);
        for (place, second) in marks(total, (slices * cells).min(width)) {
            let label = format!("┬{}", clock(Duration::from_secs(second.into())));
            for (cell, c) in text.iter_mut().skip(place).zip(label.chars()) {
                *cell = c;
            }
        }
        buffer.set_string(area.x + LABEL - 1, area.y, "└", dim);
        buffer.set_string(area.x + LABEL, area.y, text.iter().collect::<String>(), dim);
    }
}

impl Widget for Heat<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        if area.width <= LABEL + 4 || area.height < 3 {
            return;
        }
        let width = usize::from(area.width - LABEL);
        let rows = area.height - 1;
        let (slices, each) = self.columns.slices(self.seconds, width);
        // A short run fills the width: each slice gets as many cells as fit.
        let cells = (width / slices.len().max(1)).max(1);
        let bounds = bands::bounds(self.columns, self.limit, usize::from(rows) - 1);
        let bands: Vec<Option<(u64, Vec<u64>)>> =
            slices.iter().map(|s| s.as_ref().map(|c| (c.answers(), c.bands(&bounds)))).collect();
        let left = area.x + LABEL;
        let limit_band = self.limit.and_then(|l| bounds.iter().position(|b| b.0 == l.0));
        for row in 0..rows {
            // Row 0 is the open band on top; below it, the bands from the highest down.
            let band = bounds.len() - usize::from(row);
            let y = area.y + row;
            let on_limit = limit_band == Some(band);
            let label = match bounds.get(band) {
                Some(bound) => bound.to_string(),
                None => bounds.last().map_or(String::new(), |b| format!(">{b}")),
            };
            let (sign, edge) = if on_limit { ("┄┄", "┼") } else { ("", "│") };
            let tone = if on_limit { Tone::Limit } else { Tone::Dim };
            buffer.set_string(area.x, y, format!("{sign:<2}{label:>8} {edge}"), self.look.style(tone));
            if on_limit {
                buffer.set_string(left, y, glyphs::LIMIT.repeat(width), self.look.style(Tone::Limit));
            }
            let missed = limit_band.is_some_and(|l| band > l);
            let tone = if missed { Tone::Bad } else { Tone::Good };
            for (i, counts) in bands.iter().enumerate() {
                let Some((answers, counts)) = counts else { continue };
                let share = counts[band] as f64 / (*answers).max(1) as f64;
                let Some(shade) = glyphs::shade(share) else { continue };
                buffer.set_string(left + (i * cells) as u16, y, shade.repeat(cells), self.look.style(tone));
            }
        }
        self.axis(Rect { y: area.y + rows, height: 1, ..area }, each, cells, slices.len(), buffer);
    }
}

/// Returns where to write which second: about one mark each 14 cells, at round seconds.
fn marks(total: u32, cells: usize) -> impl Iterator<Item = (usize, u32)> {
    let round = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400];
    let wanted = f64::from(total) * 14.0 / cells.max(1) as f64;
    let step = round.into_iter().find(|s| f64::from(*s) >= wanted).unwrap_or(86_400);
    (0..total).step_by(step as usize).map(move |s| ((s as usize * cells) / total as usize, s))
}
