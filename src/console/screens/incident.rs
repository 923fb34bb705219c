//! The on-call page: what is wrong, since when, what to type; then every check, worst first, and what changed.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;

use crate::console::keys::Action;
use crate::console::look::Look as Style;
use crate::console::screen::{Effect, Screen, World};
use crate::console::theme::Tone;
use crate::console::widgets::frame::{cut, lines, panel, wrap};
use crate::incident::check::{Check, State};
use crate::incident::finding::Finding;
use crate::incident::forms;
use crate::incident::scene::{age, clock};
use crate::run::jobs::check::Look;

#[derive(Debug, Default)]
pub struct Incident {
    chosen: usize,
}

impl Screen for Incident {
    fn act(&mut self, action: Action, world: &World) -> Option<Effect> {
        let last = world.checked.as_ref().map_or(0, |l| l.triage.checks.len().saturating_sub(1));
        match action {
            Action::Up => self.chosen = self.chosen.saturating_sub(1),
            Action::Down => self.chosen = (self.chosen + 1).min(last),
            Action::Check => return Some(Effect::Check),
            _ => return None,
        }
        Some(Effect::Nothing)
    }

    fn copy(&self, world: &World) -> Option<String> {
        world.checked.as_ref().map(|look| forms::markdown(&look.scene, &look.triage))
    }

    fn draw(&self, frame: &mut Frame, area: Rect, world: &World) {
        let Some(look) = &world.checked else {
            return lines(frame, area, waiting(world, usize::from(area.width)));
        };
        if area.width < 76 || area.height < 18 {
            return small(frame, area, world, look);
        }
        let causes = causes(&world.look, look, usize::from(area.width.saturating_sub(2)));
        let top_rows = (causes.len() as u16 + 2).clamp(3, (area.height / 2).min(10));
        let bottom_rows = if area.height >= 26 { 6 } else { 0 };
        let [top, middle, bottom] =
            Layout::vertical([Constraint::Length(top_rows), Constraint::Min(6), Constraint::Length(bottom_rows)])
                .areas(area);
        let [left, right] = Layout::horizontal([Constraint::Fill(1), Constraint::Length(34)]).areas(middle);
        let title = format!("checked {}, in {:.1} s", clock(look.scene.now), look.took_s);
        let note = if world.checking { "checking again" } else { "the last 30 minutes against what is usual" };
        let inside = panel(frame, top, &world.look, &title, note);
        lines(frame, inside, causes);
        self.asked(frame, left, world, look);
        self.one(frame, right, world, look);
        if bottom_rows > 0 {
            changed(frame, bottom, world, look);
        }
    }
}

impl Incident {
    fn asked(&self, frame: &mut Frame, area: Rect, world: &World, look: &Look) {
        let checks = &look.triage.checks;
        let count = |state| checks.iter().filter(|c| c.state == state).count();
        let note = format!(
            "{} ✗  {} !  {} ?  {} ✓  {} not configured",
            count(State::Bad),
            count(State::Warn),
            count(State::Unknown),
            count(State::Ok),
            count(State::NotConfigured)
        );
        let inside = panel(frame, area, &world.look, "what was asked, worst first", &note);
        let (width, height) = (usize::from(inside.width), usize::from(inside.height));
        let from = (self.chosen + 1).saturating_sub(height);
        let rows = checks.iter().enumerate().skip(from).take(height).map(|(at, c)| {
            let chosen = at == self.chosen.min(checks.len().saturating_sub(1));
            let mark = if chosen { "▸" } else { " " };
            let tone = if chosen { Tone::Chosen } else { Tone::Plain };
            Line::from(vec![
                world.look.span(format!("{mark} "), Tone::Plain),
                world.look.span(format!("{} ", c.state.sign()), tone_of(c.state)),
                world.look.span(cut(&format!("{:<17} {}", c.name, c.seen), width.saturating_sub(4)), tone),
            ])
        });
        lines(frame, inside, rows.collect::<Vec<_>>());
    }

    fn one(&self, frame: &mut Frame, area: Rect, world: &World, look: &Look) {
        let checks = &look.triage.checks;
        let Some(check) = checks.get(self.chosen.min(checks.len().saturating_sub(1))) else { return };
        let inside = panel(frame, area, &world.look, "the chosen check", "");
        lines(frame, inside, told(&world.look, check, usize::from(inside.width)));
    }
}

fn told(look: &Style, check: &Check, width: usize) -> Vec<Line<'static>> {
    let mut rows = vec![Line::from(vec![
        look.span(format!("{} ", check.state.sign()), tone_of(check.state)),
        look.span(question(&check.name), Tone::Strong),
    ])];
    let fields = [
        ("seen", Some(check.seen.clone())),
        ("usual", Some(check.usual.clone().unwrap_or_else(|| "not known yet".to_owned()))),
        ("asked", Some(check.source.clone()).filter(|s| !s.is_empty())),
        ("age", check.age_s.map(age)),
    ];
    for (name, value) in fields.into_iter().filter_map(|(n, v)| Some((n, v?))) {
        for (at, part) in wrap(&value, width.saturating_sub(7)).into_iter().enumerate() {
            let name = if at == 0 { name } else { "" };
            rows.push(Line::from(vec![look.span(format!("{name:<7}"), Tone::Dim), look.span(part, Tone::Plain)]));
        }
    }
    if check.state == State::Unknown {
        rows.push(Line::from(look.span("a ? is never counted as well", Tone::Warn)));
    }
    rows
}

/// What a check asks, as a person would.
fn question(name: &str) -> String {
    let known = [
        ("user-errors", "do viewers get errors?"),
        ("user-latency", "do viewers wait?"),
        ("traffic", "is the traffic as usual?"),
        ("changes", "what changed?"),
        ("store-throttling", "does the store throttle?"),
        ("store-latency", "is the store quick?"),
        ("probe", "do real questions get good answers?"),
        ("saturation", "how near is a limit?"),
        ("authentication", "do tokens verify?"),
        ("freshness", "are the lists fresh?"),
        ("list-quality", "are the lists good?"),
        ("catalogue", "is the catalogue fresh?"),
        ("quota", "is a quota reached?"),
        ("cost", "does it cost as usual?"),
        ("blind-spots", "do all sources answer?"),
    ];
    known.iter().find(|(n, _)| *n == name).map_or(name, |(_, q)| q).to_owned()
}

fn tone_of(state: State) -> Tone {
    match state {
        State::Bad => Tone::Bad,
        State::Warn | State::Unknown => Tone::Warn,
        State::Ok => Tone::Good,
        State::NotConfigured => Tone::Dim,
    }
}

/// The verdict, then each finding: likeliest cause, because, since, and what to do.
fn causes(look: &Style, found: &Look, width: usize) -> Vec<Line<'static>> {
    let triage = &found.triage;
    let lasting = triage.findings.iter().filter(|f| f.lasts()).count();
    // What lasts is told below, cause by cause: its first line says how many there are.
    let head = match lasting {
        0 => triage.reason.clone(),
        1 => format!("one cause lasts at {}", found.scene.target),
        n => format!("{n} causes last at {}, the likeliest first", found.scene.target),
    };
    let mut rows = vec![Line::from(vec![
        look.span(format!("{} ", triage.verdict.sign()), triage.verdict.into()),
        look.span(cut(&head, width.saturating_sub(14)), Tone::Plain),
    ])];
    for (at, finding) in triage.findings.iter().enumerate() {
        let all = at == 0 && finding.lasts();
        rows.extend(finding_lines(look, finding, (all, found.scene.now), width));
    }
    rows
}

fn finding_lines(look: &Style, finding: &Finding, (all, now): (bool, f64), width: usize) -> Vec<Line<'static>> {
    let since = finding.since.get(11..19).unwrap_or(&finding.since);
    let (sign, tone, span) = match &finding.ended {
        None => {
            let began: Option<jiff::Timestamp> = finding.since.parse().ok();
            let long = began.map_or(String::new(), |b| format!(", {} ago", age(now - b.as_second() as f64)));
            ("✗", Tone::Bad, format!("since {since}{long}"))
        }
        Some(ended) => ("✓", Tone::Dim, format!("{since} to {}, ended", ended.get(11..19).unwrap_or(ended))),
    };
    let room = width.saturating_sub(2);
    let mut rows = vec![Line::from(vec![
        look.span(format!("{sign} "), tone),
        look.span(
            cut(&format!("{}  {span}  {}", finding.cause, if all { "" } else { &finding.because }), room),
            Tone::Strong,
        ),
    ])];
    if all {
        let field = |name: &str, text: &str| {
            let text = cut(text, width.saturating_sub(13));
            Line::from(vec![look.span(format!("  {name:<10} "), Tone::Dim), look.span(text, Tone::Plain)])
        };
        let because = wrap(&finding.because, width.saturating_sub(13).max(1));
        rows.extend(
            because.iter().take(3).enumerate().map(|(at, text)| field(if at == 0 { "because" } else { "" }, text)),
        );
        // The time of the day is enough at night.
        let short = |text: &str| text.get(11..19).map_or(text.to_owned(), |t| format!("{t}{}", &text[20..]));
        rows.extend(finding.before.iter().take(1).map(|b| field("before", &short(b))));
        rows.extend(finding.acts.iter().take(2).enumerate().map(|(n, act)| field(&format!("do {}", n + 1), act)));
    }
    rows
}

fn changed(frame: &mut Frame, area: Rect, world: &World, look: &Look) {
    let inside = panel(frame, area, &world.look, "at the same time", "newest first");
    let width = usize::from(inside.width);
    let recent = look.scene.changes.iter().filter(|c| c.at >= look.scene.from);
    let rows: Vec<_> = recent
        .take(usize::from(inside.height))
        .map(|c| {
            Line::from(vec![
                world.look.span(format!("{}  ", clock(c.at)), Tone::Dim),
                world.look.span(cut(&format!("{:<10} {}", c.source, c.text), width.saturating_sub(10)), Tone::Plain),
            ])
        })
        .collect();
    let none = Line::from(world.look.span("nothing that our journals and the numbers know of", Tone::Dim));
    lines(frame, inside, if rows.is_empty() { vec![none] } else { rows });
}

fn waiting(world: &World, width: usize) -> Vec<Line<'static>> {
    let text = match () {
        () if world.checking => "checking: fifteen questions at once, a few seconds",
        () if world.seen.is_none() => "no stack is up: there is nothing to check yet",
        () => "nothing was checked yet: r asks fifteen questions at once",
    };
    wrap(text, width.max(1)).into_iter().map(|l| Line::from(world.look.span(l, Tone::Dim))).collect()
}

/// Verdict, causes and what is bad, without boxes.
fn small(frame: &mut Frame, area: Rect, world: &World, look: &Look) {
    let width = usize::from(area.width);
    let mut rows = causes(&world.look, look, width);
    let bad = look.triage.checks.iter().filter(|c| c.state < State::Ok);
    rows.extend(bad.map(|c| {
        Line::from(vec![
            world.look.span(format!("{} ", c.state.sign()), tone_of(c.state)),
            world.look.span(cut(&format!("{} {}", c.name, c.seen), width.saturating_sub(2)), Tone::Plain),
        ])
    }));
    lines(frame, area, rows);
}
