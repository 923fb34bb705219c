//! The running load: latency over time, objectives, the verdict so far, answers by kind, each second.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;

use crate::console::keys::Action;
use crate::console::look::Look;
use crate::console::screen::{Effect, Name, Screen, State, World};
use crate::console::theme::Tone;
use crate::console::widgets::frame::{cut, lines, panel, wrap};
use crate::console::widgets::heat::Heat;
use crate::console::widgets::spark;
use crate::console::widgets::verdict;
use crate::judge::verdict::Verdict;
use crate::load::summary::LoadSummary;
use crate::run::columns::Column;
use crate::run::error::RunError;
use crate::run::objectives;
use crate::run::story::LoadStory;
use crate::stats::units::{Millis, Share, clock, grouped};

/// The load screen; a frozen picture stands still while the run goes on.
#[derive(Default)]
pub struct Load {
    frozen: Option<Frozen>,
    /// A past run that is looked into, as the world was at its end.
    opened: Option<Box<World>>,
}

impl Load {
    pub fn open(&mut self, past: World) {
        self.frozen = None;
        self.opened = Some(Box::new(past));
    }

    pub fn is_open(&self) -> bool {
        self.opened.is_some()
    }
}

#[derive(Debug)]
struct Frozen {
    load: LoadStory,
    summary: Option<LoadSummary>,
}

impl Screen for Load {
    fn act(&mut self, action: Action, world: &World) -> Option<Effect> {
        match action {
            Action::Back if self.opened.take().is_some() => Some(Effect::Go(Name::Runs)),
            // What has ended stands still, and cannot be stopped.
            Action::Freeze | Action::StopLoad if self.opened.is_some() => Some(Effect::Nothing),
            Action::Freeze => {
                self.frozen = match (self.frozen.take(), &world.story.load) {
                    (None, Some(load)) => Some(Frozen { load: load.clone(), summary: world.load.clone() }),
                    _ => None,
                };
                Some(Effect::Nothing)
            }
            Action::Back if self.frozen.is_some() => {
                self.frozen = None;
                Some(Effect::Nothing)
            }
            Action::StopLoad => Some(Effect::StopRun),
            // A run that still goes on has no end to compare with.
            Action::Keep => {
                let shown = self.opened.as_deref().unwrap_or(world);
                shown.folder.clone().filter(|_| !shown.live()).map(Effect::Keep)
            }
            _ => None,
        }
    }

    fn copy(&self, world: &World) -> Option<String> {
        let summary = self.opened.as_deref().unwrap_or(world).load.as_ref()?;
        let mut text =
            format!("**{}** {} → {}: {}\n\n", summary.verdict.sign(), summary.scenario, summary.target, summary.reason);
        text += "| objective | limit | seen | |\n|---|---:|---:|---|\n";
        for judged in &summary.objectives {
            let (what, limit) = objectives::parts(&judged.expression);
            text +=
                &format!("| {what} | {limit} | {} | {} |\n", objectives::shown(judged), objectives::sign(judged.met));
        }
        Some(text)
    }

    fn draw(&self, frame: &mut Frame, area: Rect, world: &World) {
        let world = self.opened.as_deref().unwrap_or(world);
        let live = world.load.as_ref();
        let (load, summary) = match (&self.frozen, &world.story.load) {
            (Some(frozen), _) => (&frozen.load, frozen.summary.as_ref()),
            (None, Some(load)) => (load, live),
            (None, None) => {
                let text = "no load has begun yet; Overview shows what is being prepared";
                return lines(frame, area, Line::from(world.look.span(text, Tone::Dim)));
            }
        };
        let view = View { load, summary, world, frozen: self.frozen.is_some(), past: self.opened.is_some() };
        if area.width >= 76 && area.height >= 20 {
            view.wide(frame, area);
        } else {
            view.small(frame, area);
        }
    }
}

/// Returns what is known of the verdict by now, and the sentence why.
pub fn verdict_of(world: &World) -> (Option<Verdict>, String) {
    if let State::Failed(error) = &world.state {
        let hint = match error {
            RunError::Misuse { hint, .. } | RunError::CannotTell { hint, .. } => hint.as_deref(),
            RunError::Stopped => None,
        };
        let text = hint.map_or(error.to_string(), |h| format!("{error}. Hint: {h}"));
        return (Some(Verdict::CannotTell), text);
    }
    if let Some(ended) = &world.story.ended {
        return (ended.verdict, ended.reason.clone());
    }
    world.load.as_ref().map_or((None, String::new()), |s| (Some(s.verdict), s.reason.clone()))
}

pub fn verdict_lines(world: &World, width: u16) -> Vec<Line<'static>> {
    let (verdict, reason) = verdict_of(world);
    verdict::lines(&world.look, verdict, &reason, width)
}

/// One load as it is drawn now.
struct View<'a> {
    load: &'a LoadStory,
    summary: Option<&'a LoadSummary>,
    world: &'a World,
    frozen: bool,
    past: bool,
}

impl View<'_> {
    fn look(&self) -> &Look {
        &self.world.look
    }

    fn wide(&self, frame: &mut Frame, area: Rect) {
        let table = (self.load.plan.objectives.len() as u16 + 7).clamp(8, 11);
        let answers = if area.height >= 26 { 6 } else { 0 };
        let [head, heat, middle, below] = Layout::vertical([
            Constraint::Length(3),
            Constraint::Min(7),
            Constraint::Length(table.min(area.height.saturating_sub(10 + answers))),
            Constraint::Length(answers),
        ])
        .areas(area);
        self.head(frame, head);
        self.heat(frame, heat);
        let halves = |area| Layout::horizontal([Constraint::Percentage(52), Constraint::Fill(1)]).areas::<2>(area);
        let [left, right] = halves(middle);
        self.objectives(frame, left);
        self.verdict(frame, right);
        if answers > 0 {
            let [left, right] = halves(below);
            self.answers(frame, left);
            self.seconds(frame, right);
        }
    }

    /// Without boxes: verdict first, then the numbers, then what fits.
    fn small(&self, frame: &mut Frame, area: Rect) {
        let width = usize::from(area.width);
        let mut rows = verdict_lines(self.world, area.width);
        rows.truncate(3);
        if area.height <= 3 {
            rows.truncate(1);
        }
        rows.extend(wrap(&self.flow(), width).into_iter().map(|l| Line::from(self.look().span(l, Tone::Plain))));
        rows.extend(self.objective_rows(width));
        rows.extend(self.spark_rows(width));
        rows.extend(self.answer_rows(width));
        if area.height <= 3 {
            rows.insert(1, Line::from(self.look().span(self.in_short(), Tone::Plain)));
        }
        lines(frame, area, rows);
    }

    /// The two figures that must stay when nothing else fits.
    fn in_short(&self) -> String {
        let p99 = self
            .summary
            .and_then(|s| s.latency_ms.p99)
            .map(Millis)
            .or_else(|| self.now().and_then(|c| c.quantile(0.99)));
        let rate = self.now().map_or(0.0, |c| c.rate(c.answered));
        format!("p99 {} · {rate:.0}/s", p99.map_or("?".to_owned(), |p| p.to_string()))
    }

    fn now(&self) -> Option<&Column> {
        self.load.columns.iter().next_back()
    }

    /// Asked, sent, answered, late: side by side, so that a tired load machine is seen at once.
    fn flow(&self) -> String {
        let Some(now) = self.now() else { return "nothing sent yet".to_owned() };
        let rate = |n: u64| format!("{:.0}/s", now.rate(n));
        let late = now.late_p99.map_or("?".to_owned(), |l| l.to_string());
        format!(
            "asked {} · sent {} · answered {} · late p99 {late} · in flight {} · waiting {}",
            rate(now.due),
            rate(now.sent),
            rate(now.answered),
            grouped(now.in_flight),
            grouped(now.waiting),
        )
    }

    fn head(&self, frame: &mut Frame, area: Rect) {
        let plan = &self.load.plan;
        let end = self.load.columns.end();
        let of = clock(Duration::from_secs(self.load.seconds().into()));
        let mut note = format!("{} of {of}", clock(Duration::from_secs(end.into())));
        if self.past {
            let when = self.world.story.began.as_ref().map_or("?", |b| b.at.get(..16).unwrap_or(&b.at));
            note = format!("run of {} · esc back", when.replace('T', " "));
        } else if self.frozen {
            note = format!("frozen at {note}");
        } else if self.world.live() && self.world.tick_age > Duration::from_secs(3) {
            note = format!("last heard {} s ago · {note}", self.world.tick_age.as_secs());
        }
        let inside = panel(frame, area, self.look(), &format!("{} → {}", plan.scenario, plan.target), &note);
        let flow = self.flow();
        let room = usize::from(inside.width).saturating_sub(flow.chars().count() + 1);
        let (full, empty) = spark::gauge(f64::from(end) / f64::from(self.load.seconds().max(1)), room.min(24));
        let flow = cut(&flow, usize::from(inside.width).saturating_sub(room.min(24) + 1));
        let spans = vec![
            self.look().span(full, Tone::Good),
            self.look().span(empty, Tone::Dim),
            self.look().span(format!(" {flow}"), Tone::Plain),
        ];
        lines(frame, inside, Line::from(spans));
    }

    fn heat(&self, frame: &mut Frame, area: Rect) {
        let limit = objectives::latency_limit(&self.load.plan);
        let seconds = self.load.seconds();
        let each = Heat::slice_seconds(&self.load.columns, seconds, area.width.saturating_sub(2));
        let each = if each == 1 { "a second".to_owned() } else { format!("{each} seconds") };
        let note = limit.map_or(String::new(), |l| format!("┄ objective {l}"));
        let inside =
            panel(frame, area, self.look(), &format!("latency: a column is {each}, darker is more answers"), &note);
        frame.render_widget(Heat { columns: &self.load.columns, seconds, limit, look: *self.look() }, inside);
    }

    fn objectives(&self, frame: &mut Frame, area: Rect) {
        let note = if self.load.plan.implied { "implied: none was given" } else { "" };
        let inside = panel(frame, area, self.look(), "objectives", note);
        lines(frame, inside, self.objective_rows(usize::from(inside.width)));
    }

    fn objective_rows(&self, width: usize) -> Vec<Line<'static>> {
        let Some(summary) = self.summary else {
            let wanted = self.load.plan.objectives.iter();
            return wanted.map(|o| Line::from(self.look().span(format!("{o:<24} ?"), Tone::Dim))).collect();
        };
        let first = width.saturating_sub(31).clamp(5, 22);
        let row = |what: &str, now: &str, limit: &str, sign: &str, tone: Tone| {
            Line::from(vec![
                self.look().span(format!("{:<first$} {now:>9}  {limit:<9} ", cut(what, first)), Tone::Plain),
                self.look().span(sign.to_owned(), tone),
            ])
        };
        let mut rows = vec![Line::from(self.look().span(format!("{:<first$} {:>9}  limit", "", "now"), Tone::Dim))];
        for judged in &summary.objectives {
            let (what, limit) = objectives::parts(&judged.expression);
            let (word, tone) = match judged.met {
                Some(true) => ("✓", Tone::Good),
                Some(false) => ("✗ over", Tone::Bad),
                None => ("? no data", Tone::Warn),
            };
            let word = if judged.met == Some(false) && limit.starts_with('>') { "✗ under" } else { word };
            rows.push(row(what, &objectives::shown(judged), limit, word, tone));
        }
        let judged = |name: &str| summary.objectives.iter().any(|j| objectives::parts(&j.expression).0 == name);
        let q = &summary.latency_ms;
        for (name, value) in
            [("p50", q.p50), ("p90", q.p90), ("p95", q.p95), ("p99", q.p99), ("p99.9", q.p999), ("max", q.max)]
        {
            if !judged(name) {
                let value = value.map_or("?".to_owned(), |v| Millis(v).to_string());
                rows.push(row(name, &value, "", "", Tone::Plain));
            }
        }
        rows
    }

    fn verdict(&self, frame: &mut Frame, area: Rect) {
        let title = if self.world.live() { "verdict so far" } else { "verdict" };
        let inside = panel(frame, area, self.look(), title, "");
        let mut rows = verdict_lines(self.world, inside.width);
        if let Some(summary) = self.summary {
            rows.push(Line::default());
            let g = &summary.generator;
            let late = g.late_p99_ms.map_or("?".to_owned(), |l| Millis(l).to_string());
            let (text, tone) =
                if g.state == "valid" { ("✓ valid", Tone::Good) } else { (g.state.as_str(), Tone::Warn) };
            rows.push(Line::from(vec![
                self.look().span("generator  ", Tone::Dim),
                self.look().span(text.to_owned(), tone),
                self.look().span(format!(", late p99 {late}, {} of a core", Share(g.cpu_share)), Tone::Plain),
            ]));
            if g.state != "valid" {
                let reason = wrap(&g.reason, usize::from(inside.width));
                rows.extend(reason.into_iter().map(|l| Line::from(self.look().span(l, Tone::Plain))));
            }
        }
        lines(frame, inside, rows);
    }

    fn answers(&self, frame: &mut Frame, area: Rect) {
        let note = format!("{} answers", grouped(self.load.answered));
        let inside = panel(frame, area, self.look(), "answers", &note);
        lines(frame, inside, self.answer_rows(usize::from(inside.width)));
    }

    /// Statuses, then errors by kind with the second they were first seen in; nothing is rounded away.
    fn answer_rows(&self, width: usize) -> Vec<Line<'static>> {
        // Of all that ended: a request without an answer is no answer of any status.
        let ended = self.summary.map_or(self.load.answered, |s| s.requests).max(1);
        let bar = width.saturating_sub(44).min(14);
        let mut rows = Vec::new();
        for (status, n) in &self.load.statuses {
            let share = *n as f64 / ended as f64;
            let (full, _) = spark::gauge(share, bar);
            let tone = if *status < 400 { Tone::Good } else { Tone::Bad };
            rows.push(Line::from(vec![
                self.look().span(format!("{status:<10} {:>10} ", grouped(*n)), Tone::Plain),
                self.look().span(format!("{full:<bar$}"), tone),
                self.look().span(format!(" {:>9}", Share(share).to_string()), Tone::Plain),
            ]));
        }
        for (kind, n) in &self.load.errors {
            let from = self.load.first_seen.get(kind).map_or(0, |s| *s);
            let share = Share(*n as f64 / ended as f64);
            let text = format!(
                "{kind:<10} {:>10} {:bar$} {share:>9} from {}",
                grouped(*n),
                "",
                clock(Duration::from_secs(from.into()))
            );
            rows.push(Line::from(self.look().span(cut(&text, width), Tone::Bad)));
        }
        if rows.is_empty() {
            rows.push(Line::from(self.look().span("no answer yet", Tone::Dim)));
        }
        rows
    }

    fn seconds(&self, frame: &mut Frame, area: Rect) {
        let inside = panel(frame, area, self.look(), "each second", "");
        lines(frame, inside, self.spark_rows(usize::from(inside.width)));
    }

    fn spark_rows(&self, width: usize) -> Vec<Line<'static>> {
        let room = width.saturating_sub(19);
        let columns: Vec<&Column> = self.load.columns.iter().collect();
        let recent = &columns[columns.len().saturating_sub(room)..];
        let row = |name: &str, pick: &dyn Fn(&Column) -> f64, shown: &dyn Fn(&Column) -> String| {
            let values: Vec<Option<f64>> = recent.iter().map(|c| Some(pick(c))).collect();
            let last = recent.last().map_or("?".to_owned(), |c| shown(c));
            Line::from(vec![
                self.look().span(format!("{name:<9}"), Tone::Plain),
                self.look().span(format!("{:<room$}", spark::line(&values, room)), Tone::Good),
                self.look().span(format!(" {last:>8}"), Tone::Plain),
            ])
        };
        let whole = |v: f64| format!("{v:.0}");
        vec![
            row("answered", &|c| c.rate(c.answered), &|c| whole(c.rate(c.answered))),
            row("errors", &|c| c.rate(c.errors), &|c| whole(c.rate(c.errors))),
            row("in flight", &|c| c.in_flight as f64, &|c| grouped(c.in_flight)),
            row("late p99", &|c| c.late_p99.map_or(0.0, |l| l.0), &|c| {
                c.late_p99.map_or("?".to_owned(), |l| l.to_string())
            }),
        ]
    }
}
