//! The bars above and below: where one is, how the run stands, and the keys that work here.

use ratatui::Frame;
use ratatui::layout::{Alignment, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::keys::{self, Place};
use super::look::Look;
use super::screen::{Name, State, World};
use super::theme::Tone;

/// Draws the tabs, and at the right end how the run stands.
pub fn top(frame: &mut Frame, area: Rect, tabs: &[Name], on: Name, world: &World) {
    let look = &world.look;
    let mut spans = vec![look.span(" serin ", Tone::Strong)];
    for tab in tabs {
        let key = keys::table().iter().find(|b| b.action == keys::Action::Show(*tab)).map_or("", |b| b.keys[0]);
        let word = format!("{key} {}", tab.word());
        spans.push(if *tab == on {
            look.span(format!("[{word}]"), Tone::Chosen)
        } else {
            look.span(format!(" {word} "), Tone::Plain)
        });
    }
    let (text, tone) = state(world);
    let used: usize = spans.iter().map(Span::width).sum();
    frame.render_widget(Paragraph::new(Line::from(spans)), area);
    let target = world.story.load.as_ref().map_or("", |l| l.plan.target.as_str());
    let room = usize::from(area.width).saturating_sub(used + text.chars().count() + 4);
    let target = if target.chars().count() <= room { target } else { "" };
    if usize::from(area.width) > used + text.chars().count() {
        let line = Line::from(vec![look.span(format!("{target}  "), Tone::Dim), look.span(format!("{text} "), tone)]);
        frame.render_widget(Paragraph::new(line).alignment(Alignment::Right), area);
    }
}

fn state(world: &World) -> (String, Tone) {
    match (&world.state, &world.story.ended) {
        (State::Live, _) => ("● live".to_owned(), Tone::Good),
        (State::Stopping, _) => ("● stopping".to_owned(), Tone::Warn),
        (State::Failed(_), _) => ("? ended without a verdict".to_owned(), Tone::Warn),
        (State::Ended, Some(s)) => {
            s.verdict.map_or(("ended".to_owned(), Tone::Plain), |v| (v.sign().to_owned(), v.into()))
        }
        (State::Ended, None) => ("ended".to_owned(), Tone::Plain),
    }
}

/// Draws the keys that work on this screen, as many as fit; a notice takes their place.
pub fn bottom(frame: &mut Frame, area: Rect, on: Name, notice: Option<&str>, look: &Look) {
    if let Some(notice) = notice {
        frame.render_widget(Paragraph::new(look.span(format!(" {notice}"), Tone::Strong)), area);
        return;
    }
    let here = keys::table().iter().filter(|b| b.bar && b.place == Place::On(on));
    let everywhere = keys::table().iter().filter(|b| b.bar && b.place == Place::Everywhere);
    // `?` and `q` are always shown; the others while there is room.
    let (always, others): (Vec<_>, Vec<_>) =
        here.chain(everywhere).partition(|b| matches!(b.action, keys::Action::Help | keys::Action::Quit));
    let width = |b: &&keys::Binding| b.keys[0].chars().count() + b.name.chars().count() + 3;
    let mut room = usize::from(area.width).saturating_sub(always.iter().map(width).sum::<usize>() + 1);
    let fitting = others.into_iter().take_while(|b| {
        let fits = width(b) <= room;
        room = room.saturating_sub(width(b));
        fits
    });
    let mut spans = vec![Span::raw(" ")];
    for binding in fitting.collect::<Vec<_>>().into_iter().chain(always) {
        spans.push(look.span(binding.keys[0], Tone::Strong));
        spans.push(look.span(format!(" {}  ", binding.name), Tone::Dim));
    }
    frame.render_widget(Paragraph::new(Line::from(spans)), area);
}
