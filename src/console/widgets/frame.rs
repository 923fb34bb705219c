//! A framed panel with what it is on the left of its edge and what to know about it on the right.

use ratatui::Frame;
use ratatui::layout::{Alignment, Rect};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Block, BorderType, Paragraph};

use crate::console::look::Look;
use crate::console::theme::Tone;

/// Draws the frame and returns what is inside it.
pub fn panel(frame: &mut Frame, area: Rect, look: &Look, title: &str, note: &str) -> Rect {
    let room = usize::from(area.width).saturating_sub(4);
    let title = cut(title, room);
    let note = if title.chars().count() + note.chars().count() + 5 <= room { note } else { "" };
    let mut block = Block::bordered().border_type(BorderType::Rounded).border_style(look.style(Tone::Dim));
    if !title.is_empty() {
        block = block.title(look.span(format!(" {title} "), Tone::Strong));
    }
    if !note.is_empty() {
        block = block.title(Line::from(look.span(format!(" {note} "), Tone::Dim)).alignment(Alignment::Right));
    }
    let inside = block.inner(area);
    frame.render_widget(block, area);
    inside
}

/// Draws lines from the top; what does not fit is left out.
pub fn lines<'a>(frame: &mut Frame, area: Rect, lines: impl Into<Text<'a>>) {
    frame.render_widget(Paragraph::new(lines), area);
}

/// Returns a text of at most `room` characters, `…` where it was cut.
pub fn cut(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    let mut out: String = text.chars().take(room.saturating_sub(1)).collect();
    if room > 0 {
        out.push('…');
    }
    out
}

/// Breaks a text into lines of at most `width` characters, between words where it can.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut out = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            out.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    out.push(line);
    out.into_iter().map(|l| cut(&l, width)).collect()
}
