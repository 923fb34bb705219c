//! The way down: the road of steps, what each one held, money now and saved, p99 against units, and why it stands here.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};

use super::cost_asked::Asked;
use super::load::verdict_of;
use crate::console::keys::Action;
use crate::console::look::Look;
use crate::console::screen::{Effect, Screen, World};
use crate::console::theme::Tone;
use crate::console::widgets::curve::{Curve, Point};
use crate::console::widgets::frame::{cut, lines, panel, wrap};
use crate::console::widgets::{spark, verdict};
use crate::cost::step::{Step, StepVerdict};
use crate::cost::told::{View, Wish};
use crate::run::story::CostStory;
use crate::stats::units::{Millis, Share, Usd, clock, grouped};

const DAY_S: f64 = 86_400.0;
const YEAR_H: f64 = 8_760.0;
/// From this share of the limit on a step is near its end.
const NEAR: f64 = 0.85;

#[derive(Debug, Default)]
pub struct Cost {
    asked: Asked,
}

impl Screen for Cost {
    fn act(&mut self, action: Action, world: &World) -> Option<Effect> {
        let cost = world.story.cost.as_ref()?;
        let held = cost.view.as_ref().is_some_and(|v| v.held_by_hand);
        let wish = match action {
            Action::StopLoad => return Some(Effect::StopRun),
            Action::Prices => return self.ask(self.asked.turn(Asked::Prices)),
            Action::WhatIf => return self.ask(self.asked.turn(Asked::WhatIf(10))),
            Action::Back if self.asked != Asked::Nothing => return self.ask(Asked::Nothing),
            Action::Up => return self.asked.more(1).and_then(|asked| self.ask(asked)),
            Action::Down => return self.asked.more(-1).and_then(|asked| self.ask(asked)),
            Action::StepNow => Wish::Step,
            Action::HoldHere if held => Wish::GoOn,
            Action::HoldHere => Wish::Hold,
            Action::UndoStep => Wish::Undo,
            _ => return None,
        };
        let listens = cost.road.wishes.clone().filter(|_| world.live());
        Some(listens.map_or(Effect::Nothing, |path| Effect::CostWish(path, wish)))
    }

    fn copy(&self, world: &World) -> Option<String> {
        let cost = world.story.cost.as_ref()?;
        let mut text = format!("**{}** {}\n\n", word(cost).0, reason(cost));
        text += &format!(
            "| at | {} | $/h | p99 | throttled | of limit | |\n|---|---:|---:|---:|---:|---:|---|\n",
            cost.road.unit
        );
        for step in &cost.steps {
            let row = Row::of(cost, step, false);
            let (at, sign) = (step.at.get(..16).unwrap_or(&step.at), step.verdict.sign());
            text += &format!(
                "| {at} | {} | {} | {} | {} | {} | {sign} |\n",
                row.units, row.usd, row.p99, row.throttled, row.share
            );
        }
        Some(text)
    }

    fn draw(&self, frame: &mut Frame, area: Rect, world: &World) {
        let Some(cost) = &world.story.cost else {
            let text = "no way down has begun yet";
            return lines(frame, area, Line::from(world.look.span(text, Tone::Dim)));
        };
        let shown = Shown { cost, world, asked: self.asked };
        if area.width >= 76 && area.height >= 18 { shown.wide(frame, area) } else { shown.small(frame, area) }
    }
}

impl Cost {
    // It fits `act`, which wants an effect.
    #[allow(clippy::unnecessary_wraps)]
    fn ask(&mut self, asked: Asked) -> Option<Effect> {
        self.asked = asked;
        Some(Effect::Nothing)
    }
}

/// What is asked before a wish changes the world.
pub fn question(world: &World, wish: Wish) -> String {
    let Some(cost) = &world.story.cost else { return String::new() };
    let (knob, unit) = (&cost.road.knob, &cost.road.unit);
    let now = capacity(cost);
    match wish {
        Wish::Undo => {
            format!("Take back the last step of {knob}? From {now} {unit} up to the step before; it stays there.")
        }
        _ => {
            let next = cost.view.as_ref().and_then(|v| v.ahead.first());
            let to = next.map_or(String::new(), |n| format!(" to about {}", n.capacity));
            format!("Take the next step of {knob} now? Down from {now}{to} {unit}, unless something forbids it.")
        }
    }
}

/// The figures that must stay when nothing else fits.
pub fn in_short(view: &View) -> String {
    let p99 = view.p99_ms.map_or("?".to_owned(), |p| Millis(p).to_string());
    format!("{} units · p99 {p99} · {:.0}/s of them · throttled {:.0}", view.capacity, view.units, view.throttled)
}

pub fn capacity(cost: &CostStory) -> u64 {
    let stepped = cost.steps.last().map_or(cost.road.start, |s| s.capacity);
    cost.view.as_ref().map_or(stepped, |v| v.capacity)
}

fn reason(cost: &CostStory) -> String {
    let stepped = cost.steps.last().map_or(String::new(), |s| s.reason.clone());
    cost.view.as_ref().map_or(stepped, |v| v.reason.clone())
}

fn word(cost: &CostStory) -> (&'static str, Tone) {
    let stepped = cost.steps.last().map_or(StepVerdict::Hold, |s| s.verdict);
    let by_hand = cost.view.as_ref().is_some_and(|v| v.held_by_hand);
    match cost.view.as_ref().map_or(stepped, |v| v.verdict) {
        _ if by_hand => ("‖ HOLD, as asked", Tone::Warn),
        StepVerdict::Go => ("✓ DOWN", Tone::Good),
        StepVerdict::Hold => ("‖ HOLD", Tone::Warn),
        StepVerdict::Up => ("✗ BACK UP", Tone::Bad),
    }
}

/// One row of the table, worded.
struct Row {
    units: String,
    usd: String,
    million: String,
    p99: String,
    throttled: String,
    share: String,
    tone: Tone,
    sign: &'static str,
}

impl Row {
    fn of(cost: &CostStory, step: &Step, live: bool) -> Self {
        let view = cost.view.as_ref().filter(|_| live);
        let p99 = step.p99_ms.or(view.and_then(|v| v.p99_ms));
        let share = step.share_of_limit.or(view.map(|v| v.units / v.capacity as f64));
        let (sign, tone) = match (step.verdict, step.throttled) {
            _ if live => ("‖ now", Tone::Strong),
            (_, n) if n > 0 => ("✗", Tone::Bad),
            (StepVerdict::Up, _) => ("✗ up", Tone::Bad),
            (StepVerdict::Hold, _) if step.share_of_limit.is_none() => ("‖", Tone::Warn),
            _ => ("✓ held", Tone::Good),
        };
        let unknown = || "?".to_owned();
        Self {
            units: step.capacity.to_string(),
            usd: step.usd_per_hour.map_or_else(unknown, |u| format!("{u:.4}")),
            million: step.usd_per_million.map_or_else(unknown, |u| format!("{u:.4}")),
            p99: p99.map_or_else(unknown, |p| Millis(p).to_string()),
            throttled: if live && step.throttled == 0 { "-".to_owned() } else { grouped(step.throttled) },
            share: share.map_or_else(unknown, |s| Share(s).to_string()),
            tone,
            sign,
        }
    }

    fn line(&self, look: &Look, mark: &str, width: usize) -> Line<'static> {
        let Self { units, usd, million, p99, throttled, share, .. } = self;
        let text = columns(mark, [units, usd, million, p99, throttled, share], width);
        Line::from(vec![look.span(text, Tone::Plain), look.span(self.sign, self.tone)])
    }
}

/// Sets the cells of one row; what a narrow panel has no room for is left out, the least important first, never the
/// verdict that follows them.
fn columns(mark: &str, cells: [&str; 6], width: usize) -> String {
    const WIDTHS: [usize; 6] = [6, 8, 8, 7, 9, 8];
    const VERDICT: usize = 6;
    let (mut shown, mut needed) = ([true; 6], 2 + VERDICT + WIDTHS.iter().map(|w| w + 1).sum::<usize>());
    for at in [2, 5, 1] {
        if needed > width {
            shown[at] = false;
            needed -= WIDTHS[at] + 1;
        }
    }
    let cells = cells.iter().zip(WIDTHS).zip(shown).filter(|(_, shown)| *shown);
    cells.fold(format!("{mark:<2}"), |text, ((cell, width), _)| text + &format!("{cell:>width$} "))
}

struct Shown<'a> {
    cost: &'a CostStory,
    world: &'a World,
    asked: Asked,
}

impl Shown<'_> {
    fn look(&self) -> &Look {
        &self.world.look
    }

    fn view(&self) -> Option<&View> {
        self.cost.view.as_ref()
    }

    fn wide(&self, frame: &mut Frame, area: Rect) {
        let picture = if area.height >= 24 { 9 } else { 6 };
        let [head, middle, below] =
            Layout::vertical([Constraint::Length(6), Constraint::Min(6), Constraint::Length(picture)]).areas(area);
        self.road(frame, head);
        if self.asked != Asked::Nothing {
            let (title, note) = self.asked.title();
            let inside = panel(frame, middle.union(below), self.look(), title, note);
            return lines(frame, inside, self.asked.lines(self.look(), self.cost, inside.width));
        }
        let halves = |area| Layout::horizontal([Constraint::Fill(1), Constraint::Length(38)]).areas::<2>(area);
        let [left, right] = halves(middle);
        self.held(frame, left);
        self.money(frame, right);
        let [left, right] = halves(below);
        self.curve(frame, left);
        self.verdict(frame, right);
    }

    fn small(&self, frame: &mut Frame, area: Rect) {
        let width = usize::from(area.width);
        let mut rows = self.verdict_rows(area.width);
        if self.asked != Asked::Nothing {
            rows.truncate(1);
            rows.extend(self.asked.lines(self.look(), self.cost, area.width));
            return lines(frame, area, rows);
        }
        rows.truncate(4);
        if let Some(view) = self.view() {
            rows.push(Line::from(self.look().span(cut(&in_short(view), width), Tone::Plain)));
        }
        rows.extend(self.money_rows().into_iter().take(3));
        rows.extend(self.step_rows(area.height.saturating_sub(rows.len() as u16 + 1), area.width));
        lines(frame, area, rows);
    }

    /// How far it has come: the day, or the share of what is played.
    fn note(&self) -> String {
        let road = &self.cost.road;
        let Some(view) = self.view() else { return String::new() };
        let days = road.until.map(|u| ((u - road.from) / DAY_S).ceil());
        let day = (((view.t - road.from) / DAY_S).floor() + 1.0).min(days.unwrap_or(f64::MAX));
        let of = days.map_or(String::new(), |d| format!(" of {d:.0}"));
        let age = self.world.tick_age.as_secs();
        let stale = if self.world.live() && age > 5 { format!("heard {age} s ago · ") } else { String::new() };
        let at = view.at.get(5..16).unwrap_or(&view.at).replace('T', " ");
        format!("{stale}day {day:.0}{of} · {at} · incidents {} of {}", view.incidents, road.incidents)
    }

    fn road(&self, frame: &mut Frame, area: Rect) {
        let road = &self.cost.road;
        let simulated = if road.simulated { "simulated: " } else { "" };
        let title = format!("the way down: {simulated}{}", road.knob);
        let inside = panel(frame, area, self.look(), &title, &self.note());
        let changed = |s: &&Step| s.verdict != StepVerdict::Hold;
        let first = self.cost.steps.first().into_iter();
        let mut stops: Vec<(u64, bool, &'static str, Tone)> = first
            .chain(self.cost.steps.iter().skip(1).filter(changed))
            .map(|s| {
                let (sign, tone) = match s.verdict {
                    StepVerdict::Up => ("✗ up", Tone::Bad),
                    _ if s.throttled > 0 => ("✗", Tone::Bad),
                    _ => ("✓ held", Tone::Good),
                };
                (s.capacity, false, sign, tone)
            })
            .collect();
        if let Some(last) = stops.last_mut() {
            (last.2, last.3) = if self.world.live() { ("‖ now", Tone::Strong) } else { (last.2, last.3) };
        }
        let here = stops.len().saturating_sub(1);
        let ahead = self.view().filter(|_| self.world.live()).map_or(&[][..], |v| &v.ahead);
        stops.extend(ahead.iter().map(|a| (a.capacity, true, "~", Tone::Dim)));
        let fit = (usize::from(inside.width).saturating_sub(6) / 9).max(1);
        let skip = (here + 3).min(stops.len()).saturating_sub(fit).min(here);
        let price = &road.price;
        let name = |text: &str| self.look().span(format!("{text:<6}"), Tone::Dim);
        let (mut usd, mut units, mut signs) = (vec![name("$/h")], vec![name(&cut(&road.unit, 6))], vec![name("")]);
        for (i, (capacity, guess, sign, tone)) in stops.iter().enumerate().skip(skip).take(fit) {
            let tones = if *guess { Tone::Dim } else { Tone::Plain };
            let money = price.per_hour(*capacity as f64).map_or("?".to_owned(), |usd| format!("{usd:.4}"));
            usd.push(self.look().span(format!("{money:<9}"), tones));
            let shown = if i == here { format!("[{capacity}]") } else { capacity.to_string() };
            let tones = if i == here { Tone::Strong } else { tones };
            let arrow = if i + 1 < stops.len() { format!("{shown:<6} → ") } else { format!("{shown:<9}") };
            units.push(self.look().span(format!("{arrow:<9}"), tones));
            signs.push(self.look().span(format!("{sign:<9}"), *tone));
        }
        let gauge = self.gauge(usize::from(inside.width));
        lines(frame, inside, vec![Line::from(usd), Line::from(units), Line::from(signs), Line::from(gauge)]);
    }

    /// Demand against capacity, and what is kept for surges.
    fn gauge(&self, width: usize) -> Vec<Span<'static>> {
        let Some(view) = self.view() else { return Vec::new() };
        let share = view.units / view.capacity as f64;
        let text = format!(
            " demand {:.0} of {} · {} kept for surges · {} requests",
            view.units,
            view.capacity,
            Share(view.kept.clamp(0.0, 1.0)),
            grouped(view.requests as u64)
        );
        let (full, empty) = spark::gauge(share, width.saturating_sub(text.chars().count()).min(24));
        let tone = if share > 1.0 { Tone::Warn } else { Tone::Good };
        vec![self.look().span(full, tone), self.look().span(empty, Tone::Dim), self.look().span(text, Tone::Plain)]
    }

    fn held(&self, frame: &mut Frame, area: Rect) {
        let inside = panel(frame, area, self.look(), "what each step held", "newest at the end");
        let rows = self.step_rows(inside.height, inside.width);
        lines(frame, inside, rows);
    }

    fn step_rows(&self, height: u16, width: u16) -> Vec<Line<'static>> {
        let (height, width) = (usize::from(height), usize::from(width));
        let unit = cut(&self.cost.road.unit, 6);
        let head = columns("", [&unit, "$/h", "$/mln", "p99", "throttled", "of limit"], width);
        let steps = &self.cost.steps;
        let last = steps.len().saturating_sub(1);
        let live = self.world.live();
        let seen = steps.iter().enumerate().map(|(i, s)| {
            let now = i == last;
            Row::of(self.cost, s, now && live).line(self.look(), if now { "▸" } else { "" }, width)
        });
        let ahead = self.view().filter(|_| live).map_or(&[][..], |v| &v.ahead);
        let price = &self.cost.road.price;
        let guesses = ahead.iter().map(|a| {
            let usd = price.per_hour(a.capacity as f64).map_or("?".to_owned(), |usd| format!("{usd:.4}"));
            let share = a.share_of_limit.map_or("?".to_owned(), |s| format!("~{}", Share(s)));
            let text = columns("", [&a.capacity.to_string(), &usd, "?", "?", "?", &share], width);
            Line::from(self.look().span(format!("{text}guess"), Tone::Dim))
        });
        let rows: Vec<Line> = seen.chain(guesses).collect();
        let p99 = self.cost.road.p99_ms.map_or("-".to_owned(), |p| Millis(p).to_string());
        let limits = columns("", ["limits", "", "", &p99, "0", "100 %"], width);
        let limits = (height >= 6).then(|| Line::from(self.look().span(limits, Tone::Limit)));
        let hidden = rows.len().saturating_sub(height.saturating_sub(1 + usize::from(limits.is_some())));
        let head = Line::from(self.look().span(head, Tone::Dim));
        std::iter::once(head).chain(rows.into_iter().skip(hidden)).chain(limits).collect()
    }

    fn money(&self, frame: &mut Frame, area: Rect) {
        let price = &self.cost.road.price;
        let inside = panel(frame, area, self.look(), "money", if price.guess { "a guess" } else { "" });
        let mut rows = self.money_rows();
        rows.extend(
            wrap(&price.from, usize::from(inside.width))
                .into_iter()
                .map(|l| Line::from(self.look().span(l, Tone::Dim))),
        );
        lines(frame, inside, rows);
    }

    fn money_rows(&self) -> Vec<Line<'static>> {
        let road = &self.cost.road;
        let row = |what: &str, value: String| {
            Line::from(vec![self.look().span(format!("{what:<14}"), Tone::Dim), self.look().span(value, Tone::Plain)])
        };
        let hourly = |units: u64| road.price.per_hour(units as f64);
        let Some((start, now)) = hourly(road.start).zip(hourly(capacity(self.cost))) else {
            return vec![row("now", "unknown".to_owned())];
        };
        let mut rows = vec![row("now", format!("$ {now:.4} an hour"))];
        if let Some(view) = self.view() {
            let hours = (view.t - road.from) / 3_600.0;
            if let Some(paid) = view.paid_usd.filter(|_| view.requests > 0.0) {
                rows.push(row("", format!("{} a million", Usd(paid / (view.requests / 1e6)))));
            }
            let saved = view.saved_usd.map_or("unknown".to_owned(), |u| Usd(u).to_string());
            rows.push(row("saved so far", format!("{saved} in {:.1} days", hours / 24.0)));
        }
        let year = (start - now) * YEAR_H;
        rows.push(row("a year", format!("{} under {}", Usd(year), road.start)));
        rows.push(match road.campaign_usd_per_hour {
            Some(usd) => row("a campaign", format!("{} an hour", Usd(usd))),
            None => row("a campaign", "not known for this".to_owned()),
        });
        rows
    }

    /// p99 against units where it was measured, else the share of the limit that was used.
    fn curve(&self, frame: &mut Frame, area: Rect) {
        let road = &self.cost.road;
        let steps = || self.cost.steps.iter();
        let timed = steps().any(|s| s.p99_ms.is_some()) || self.view().is_some_and(|v| v.p99_ms.is_some());
        let pick = |s: &Step| if timed { s.p99_ms } else { s.share_of_limit.map(|v| v * 100.0) };
        let mut points: Vec<Point> =
            steps().filter_map(|s| Some(Point { x: s.capacity as f64, y: pick(s)?, guess: false })).collect();
        if let Some(view) = self.view().filter(|_| self.world.live()) {
            let y = if timed { view.p99_ms } else { Some(view.units / view.capacity as f64 * 100.0) };
            points.extend(y.map(|y| Point { x: view.capacity as f64, y, guess: false }));
            let last = points.iter().map(|p| p.y).next_back();
            points.extend(view.ahead.iter().filter_map(|a| {
                let y = if timed { last } else { a.share_of_limit.map(|v| v * 100.0) };
                Some(Point { x: a.capacity as f64, y: y?, guess: true })
            }));
        }
        points.sort_by(|a, b| b.x.total_cmp(&a.x));
        let limit = if timed { road.p99_ms } else { Some(100.0) };
        let millis = |v: f64| Millis(v).to_string();
        let percent = |v: f64| format!("{v:.0} %");
        let what = if timed { "p99" } else { "share of the limit" };
        let title = format!("{what} against {}", road.unit);
        let inside = panel(frame, area, self.look(), &title, "● held  ○ guess");
        if points.is_empty() {
            return lines(frame, inside, Line::from(self.look().span("no step has been held yet", Tone::Dim)));
        }
        let label: &dyn Fn(f64) -> String = if timed { &millis } else { &percent };
        frame.render_widget(Curve { points: &points, limit, label, look: *self.look() }, inside);
    }

    fn verdict(&self, frame: &mut Frame, area: Rect) {
        let verdict_for = || format!("verdict for {}", capacity(self.cost));
        let title = if self.world.live() { verdict_for() } else { "verdict".to_owned() };
        let inside = panel(frame, area, self.look(), &title, "");
        lines(frame, inside, self.verdict_rows(inside.width));
    }

    fn verdict_rows(&self, width: u16) -> Vec<Line<'static>> {
        if !self.world.live() {
            let (judged, reason) = verdict_of(self.world);
            return verdict::lines(self.look(), judged, &reason, width);
        }
        let (word, tone) = word(self.cost);
        let held = self.view().map_or(String::new(), |v| {
            format!("  held {}", clock(Duration::try_from_secs_f64(v.held_s).unwrap_or_default()))
        });
        let mut rows = vec![Line::from(vec![self.look().span(word, tone), self.look().span(held, Tone::Dim)])];
        let plain = |l: String| Line::from(self.look().span(l, Tone::Plain));
        rows.extend(wrap(&reason(self.cost), usize::from(width)).into_iter().map(plain));
        if let Some(view) = self.view() {
            let share = view.units / view.capacity as f64;
            if share > NEAR {
                let text = format!("! demand takes {} of it", Share(share));
                rows.push(Line::from(self.look().span(text, Tone::Warn)));
            }
            rows.push(plain(format!("least that would have held: {}", view.needed)));
        }
        rows
    }
}
