//! Go, no, cannot tell: sign, word and colour, and the sentence why.

use ratatui::text::Line;

use super::frame::wrap;
use crate::console::look::Look;
use crate::console::theme::Tone;
use crate::judge::verdict::Verdict;

/// Returns the verdict and its reason in lines of at most `width`; no verdict is said, never left blank.
pub fn lines(look: &Look, verdict: Option<Verdict>, reason: &str, width: u16) -> Vec<Line<'static>> {
    let head = match verdict {
        Some(v) => look.span(v.sign(), Tone::from(v)),
        None => look.span("? nothing to judge yet", Tone::Dim),
    };
    let reason = wrap(reason, usize::from(width)).into_iter().map(|l| Line::from(look.span(l, Tone::Plain)));
    std::iter::once(Line::from(head)).chain(reason).collect()
}
