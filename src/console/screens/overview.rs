//! What is being done, how far it is, what has happened: the run at a glance.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;

use super::load::{verdict_lines, verdict_of};
use super::stack;
use crate::console::keys::Action;
use crate::console::look::Look;
use crate::console::screen::{Effect, Screen, World};
use crate::console::theme::Tone;
use crate::console::widgets::bars::Bars;
use crate::console::widgets::frame::{cut, lines, panel};
use crate::console::widgets::spark::gauge;
use crate::run::objectives;
use crate::stats::progress::Progress;
use crate::stats::units::{Millis, clock};

#[derive(Debug, Default)]
pub struct Overview;

impl Screen for Overview {
    fn act(&mut self, action: Action, _: &World) -> Option<Effect> {
        (action == Action::StopLoad).then_some(Effect::StopRun)
    }

    fn copy(&self, world: &World) -> Option<String> {
        let (verdict, reason) = verdict_of(world);
        let head = verdict.map_or("under way", |v| v.sign());
        let title = world.story.began.as_ref().map_or("serin", |b| b.title.as_str());
        Some(format!("**{head}** {title}: {reason}\n"))
    }

    fn draw(&self, frame: &mut Frame, area: Rect, world: &World) {
        let roomy = area.height >= 20 && area.width >= 76;
        if !roomy {
            return small(frame, area, world);
        }
        let picture = if area.height >= 26 { 9 } else { 0 };
        let steps = (world.story.tasks.len() as u16 + 3).clamp(8, 10);
        let [top, middle, bottom] =
            Layout::vertical([Constraint::Length(steps), Constraint::Length(picture), Constraint::Min(4)]).areas(area);
        let [left, right] = Layout::horizontal([Constraint::Fill(3), Constraint::Length(38)]).areas(top);
        let ready = world.story.load.is_some() || !world.live();
        match world.seen.as_ref().filter(|_| ready) {
            Some(seen) => stack::draw(frame, left, world, seen),
            None => preparing(frame, left, world),
        }
        running(frame, right, world);
        if picture > 0 {
            latency(frame, middle, world);
        }
        happened(frame, bottom, world);
    }
}

fn preparing(frame: &mut Frame, area: Rect, world: &World) {
    let phase = world.story.phases.last().map_or("", String::as_str);
    let inside = panel(frame, area, &world.look, "what is going on", phase);
    let rows: Vec<Line> =
        world.story.tasks.iter().map(|t| task(&world.look, t, world.live(), usize::from(inside.width))).collect();
    let hidden = rows.len().saturating_sub(usize::from(inside.height));
    let rows = if rows.is_empty() { said(world, usize::from(inside.width), usize::from(inside.height)) } else { rows };
    lines(frame, inside, rows.into_iter().skip(hidden).collect::<Vec<_>>());
}

/// Returns the last sentences said, for a job that counts nothing.
fn said(world: &World, width: usize, height: usize) -> Vec<Line<'static>> {
    let recent = world.story.said.iter().rev().take(height).rev();
    recent.map(|text| Line::from(world.look.span(cut(text, width), Tone::Plain))).collect()
}

/// Returns one task: its sign, bar, figures, and how long the rest may take.
pub fn task(look: &Look, task: &Progress, live: bool, width: usize) -> Line<'static> {
    let done = task.total.is_some_and(|t| task.done >= t);
    let (sign, tone) = match (done, live) {
        (true, _) => ("✓", Tone::Good),
        (false, true) => ("▸", Tone::Strong),
        (false, false) => ("?", Tone::Warn),
    };
    let name = format!("{:<18}", cut(&task.task, 18));
    let of = task.total.map_or(String::new(), |t| format!(" of {}", number(t)));
    let count = format!("{}{of} {}", number(task.done), task.unit);
    let left = task.left_s.filter(|s| *s >= 1.0 && !done).map(|s| format!("{} left", clock(seconds(s))));
    let tail = [Some(count), left, Some(task.note.clone())].into_iter().flatten().filter(|t| !t.is_empty());
    let tail = tail.collect::<Vec<_>>().join(" · ");
    let bar = width.saturating_sub(24).min(12);
    let (full, empty) = gauge(task.total.map_or(0.0, |t| if t > 0.0 { task.done / t } else { 1.0 }), bar);
    Line::from(vec![
        look.span(format!("{sign} "), tone),
        look.span(name, Tone::Plain),
        look.span(full, Tone::Good),
        look.span(empty, Tone::Dim),
        look.span(format!(" {}", cut(&tail, width.saturating_sub(21 + bar))), Tone::Plain),
    ])
}

fn number(value: f64) -> String {
    crate::stats::units::grouped(value.max(0.0) as u64)
}

fn seconds(s: f64) -> Duration {
    Duration::try_from_secs_f64(s).unwrap_or_default()
}

fn running(frame: &mut Frame, area: Rect, world: &World) {
    let (title, kind) = world.story.began.as_ref().map_or(("", ""), |b| (b.title.as_str(), b.kind.as_str()));
    let note = clock(world.elapsed);
    let inside = panel(frame, area, &world.look, if world.live() { "now running" } else { "ended" }, &note);
    let width = usize::from(inside.width);
    let mut rows = vec![Line::from(vec![
        world.look.span(format!("{kind}  "), Tone::Strong),
        world.look.span(cut(title, width.saturating_sub(kind.len() + 2)), Tone::Plain),
    ])];
    if let Some(load) = &world.story.load {
        let share = f64::from(load.columns.end()) / f64::from(load.seconds().max(1));
        let (full, empty) = gauge(share, width.saturating_sub(14));
        let end = clock(Duration::from_secs(load.columns.end().into()));
        rows.push(Line::from(vec![
            world.look.span(full, Tone::Good),
            world.look.span(empty, Tone::Dim),
            world.look.span(format!(" {end} of {}", clock(Duration::from_secs(load.seconds().into()))), Tone::Plain),
        ]));
    }
    rows.push(Line::default());
    rows.extend(verdict_lines(world, inside.width));
    lines(frame, inside, rows);
}

fn latency(frame: &mut Frame, area: Rect, world: &World) {
    let load = world.story.load.as_ref();
    let limit = load.and_then(|l| objectives::latency_limit(&l.plan));
    let note = limit.map_or(String::new(), |l| format!("objective {l} ┄"));
    let inside = panel(frame, area, &world.look, "p99 over the load", &note);
    match load.filter(|l| !l.columns.is_empty()) {
        Some(load) => {
            let slices = load.columns.slices(load.seconds(), usize::from(inside.width.saturating_sub(9))).0;
            let values: Vec<Option<Millis>> =
                slices.iter().map(|s| s.as_ref().and_then(|c| c.quantile(0.99))).collect();
            frame.render_widget(Bars { values: &values, limit, look: world.look }, inside);
        }
        None => lines(frame, inside, Line::from(world.look.span("no load has begun yet", Tone::Dim))),
    }
}

fn happened(frame: &mut Frame, area: Rect, world: &World) {
    let inside = panel(frame, area, &world.look, "what happened", "newest first");
    let width = usize::from(inside.width);
    let moments = world.story.happened.iter().rev().map(|h| {
        let (sign, tone) = match h.good {
            Some(true) => ("✓", Tone::Good),
            Some(false) => ("✗", Tone::Bad),
            None => (" ", Tone::Plain),
        };
        let time = h.at.get(11..19).unwrap_or(&h.at);
        Line::from(vec![
            world.look.span(format!("{time}  "), Tone::Dim),
            world.look.span(format!("{sign} "), tone),
            world.look.span(cut(&format!("{:<9} {}", h.source, h.text), width.saturating_sub(12)), Tone::Plain),
        ])
    });
    let sentences = world.story.said.iter().rev().map(|s| Line::from(world.look.span(cut(s, width), Tone::Plain)));
    let rows: Vec<Line> = moments.chain(sentences).take(usize::from(inside.height)).collect();
    let empty = Line::from(world.look.span("nothing yet", Tone::Dim));
    lines(frame, inside, if rows.is_empty() { vec![empty] } else { rows });
}

/// The same without boxes, for a small terminal: verdict, the current task, the last moment.
fn small(frame: &mut Frame, area: Rect, world: &World) {
    let width = usize::from(area.width);
    let mut rows = verdict_lines(world, area.width);
    rows.truncate(4);
    let ready = world.story.load.is_some() || !world.live();
    match world.seen.as_ref().filter(|_| ready) {
        Some(seen) => rows.extend(stack::rows(&world.look, seen, width)),
        None => rows.extend(world.story.tasks.iter().map(|t| task(&world.look, t, world.live(), width))),
    }
    let moments = world.story.happened.iter().rev().map(|h| cut(&format!("{}  {}", h.source, h.text), width));
    rows.extend(moments.take(4).map(|m| Line::from(world.look.span(m, Tone::Dim))));
    lines(frame, area, rows);
}
