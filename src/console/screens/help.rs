//! The keys of this screen, from the one table.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::Clear;

use crate::console::keys::{self, Place};
use crate::console::look::Look;
use crate::console::screen::Name;
use crate::console::theme::Tone;
use crate::console::widgets::frame;

/// Draws the help over the screen.
pub fn draw(on_frame: &mut Frame, area: Rect, on: Name, look: &Look) {
    let bindings = |place: Place| keys::table().iter().filter(move |b| b.place == place);
    let rows: Vec<Line> = bindings(Place::On(on))
        .chain(bindings(Place::Everywhere))
        .map(|b| {
            let mark = if b.dangerous { "  asks first" } else { "" };
            Line::from(vec![
                look.span(format!(" {:<14}", b.keys.join(" ")), Tone::Strong),
                look.span(b.name, Tone::Plain),
                look.span(mark, Tone::Dim),
            ])
        })
        .collect();
    let height = area.height.min(rows.len() as u16 + 2);
    let width = area.width.min(60);
    let place = Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    on_frame.render_widget(Clear, place);
    let inside = frame::panel(on_frame, place, look, &format!("keys · {}", on.word()), "any key closes");
    frame::lines(on_frame, inside, rows);
}
