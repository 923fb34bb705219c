//! All runs, newest first: filter them, look into one, mark two and compare them.

use std::path::{Path, PathBuf};

use ratatui::Frame;
use ratatui::crossterm::event::{KeyCode, KeyEvent};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use serde_json::Value;

use crate::console::keys::Action;
use crate::console::look::Look;
use crate::console::screen::{Effect, Screen, World};
use crate::console::theme::Tone;
use crate::console::widgets::frame::{cut, lines, panel, wrap};
use crate::load::summary::LoadSummary;
use crate::run::objectives;
use crate::run::past::{self, Entry};
use crate::stats::units::{Millis, Rps, Share, grouped};

#[derive(Debug, Default)]
pub struct Runs {
    chosen: usize,
    filter: String,
    /// Whether the filter is being written.
    writing: bool,
    marked: Vec<PathBuf>,
    comparing: bool,
}

impl Runs {
    fn shown<'a>(&self, world: &'a World) -> Vec<&'a Entry> {
        let words: Vec<String> = self.filter.to_lowercase().split_whitespace().map(str::to_owned).collect();
        let fits = |run: &&Entry| {
            let text = format!("{} {} {} {}", run.name, run.began.kind, run.began.title, verdict(run)).to_lowercase();
            words.iter().all(|w| text.contains(w))
        };
        world.past.iter().filter(fits).collect()
    }

    fn current<'a>(&self, world: &'a World) -> Option<&'a Entry> {
        let shown = self.shown(world);
        shown.get(self.chosen.min(shown.len().saturating_sub(1))).copied()
    }

    fn mark(&mut self, folder: &Path) {
        if let Some(at) = self.marked.iter().position(|m| m == folder) {
            self.marked.remove(at);
        } else {
            if self.marked.len() == 2 {
                self.marked.remove(0);
            }
            self.marked.push(folder.to_owned());
        }
    }
}

impl Screen for Runs {
    fn act(&mut self, action: Action, world: &World) -> Option<Effect> {
        let last = self.shown(world).len().saturating_sub(1);
        self.chosen = self.chosen.min(last);
        match action {
            Action::Up => self.chosen = self.chosen.saturating_sub(1),
            Action::Down => self.chosen = (self.chosen + 1).min(last),
            Action::Filter => self.writing = true,
            Action::Mark => {
                if let Some(run) = self.current(world) {
                    self.mark(&run.folder.clone());
                }
            }
            Action::Compare => self.comparing = self.marked.len() == 2,
            Action::Back if self.comparing => self.comparing = false,
            Action::Back if !self.filter.is_empty() => self.filter.clear(),
            Action::Open => return self.current(world).map(|r| Effect::Open(r.folder.join("report.html"))),
            _ => return None,
        }
        Some(Effect::Nothing)
    }

    fn write(&mut self, key: &KeyEvent, _: &World) -> bool {
        if !self.writing {
            return false;
        }
        match key.code {
            KeyCode::Char(c) => self.filter.push(c),
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Enter => self.writing = false,
            KeyCode::Esc => {
                self.filter.clear();
                self.writing = false;
            }
            _ => {}
        }
        self.chosen = 0;
        true
    }

    fn copy(&self, world: &World) -> Option<String> {
        self.current(world).map(|r| r.folder.display().to_string())
    }

    fn draw(&self, frame: &mut Frame, area: Rect, world: &World) {
        if self.comparing
            && let [a, b] = self.marked.as_slice()
        {
            return compare(frame, area, &world.look, a, b);
        }
        let beside = area.width >= 76;
        let widths = if beside {
            [Constraint::Fill(5), Constraint::Fill(4)]
        } else {
            [Constraint::Fill(1), Constraint::Length(0)]
        };
        let [left, right] = Layout::horizontal(widths).areas(area);
        self.list(frame, left, world);
        if beside {
            self.one(frame, right, world);
        }
    }
}

impl Runs {
    fn list(&self, frame: &mut Frame, area: Rect, world: &World) {
        let shown = self.shown(world);
        let note = format!("{} of {}", shown.len(), world.past.len());
        let title = match (self.writing, self.filter.is_empty()) {
            (true, _) => format!("filter: {}▏", self.filter),
            (false, true) => "runs".to_owned(),
            (false, false) => format!("runs · filter: {}", self.filter),
        };
        let inside = panel(frame, area, &world.look, &title, &note);
        let chosen = self.chosen.min(shown.len().saturating_sub(1));
        let height = usize::from(inside.height).max(1);
        let first = chosen.saturating_sub(height - 1);
        let rows: Vec<Line> = shown
            .iter()
            .enumerate()
            .skip(first)
            .take(height)
            .map(|(i, run)| self.row(run, i == chosen, usize::from(inside.width), &world.look))
            .collect();
        let empty = if world.past.is_empty() { "no run yet" } else { "no run fits the filter" };
        let empty = vec![Line::from(world.look.span(empty, Tone::Dim))];
        lines(frame, inside, if rows.is_empty() { empty } else { rows });
    }

    fn row(&self, run: &Entry, chosen: bool, width: usize, look: &Look) -> Line<'static> {
        let pointer = if chosen { "▸" } else { " " };
        let mark = if self.marked.contains(&run.folder) { "★" } else { " " };
        let when = run.began.at.get(..16).unwrap_or(&run.began.at).replace('T', " ");
        let word = verdict(run);
        let room = width.saturating_sub(when.len() + word.chars().count() + 14);
        let text =
            format!("{pointer}{mark} {when}  {:<8}{:<room$} ", cut(&run.began.kind, 7), cut(&run.began.title, room));
        let tone = run.verdict.map_or(Tone::Dim, Tone::from);
        let base = if chosen { Tone::Chosen } else { Tone::Plain };
        Line::from(vec![look.span(text, base), look.span(word, tone)])
    }

    fn one(&self, frame: &mut Frame, area: Rect, world: &World) {
        let Some(run) = self.current(world) else {
            panel(frame, area, &world.look, "", "");
            return;
        };
        let inside = panel(frame, area, &world.look, &run.began.title, &run.began.kind);
        let width = usize::from(inside.width);
        let plain = |text: String| Line::from(world.look.span(text, Tone::Plain));
        let mut rows = vec![Line::from(world.look.span(verdict(run), run.verdict.map_or(Tone::Dim, Tone::from)))];
        rows.extend(wrap(&run.reason, width).into_iter().map(plain));
        rows.push(Line::default());
        match past::summary(&run.folder).ok().and_then(|d| load_of(&d)) {
            Some(load) => rows.extend(figures(&load).into_iter().map(plain)),
            None => rows.push(Line::from(world.look.span("no load in this run", Tone::Dim))),
        }
        rows.push(Line::default());
        rows.push(Line::from(world.look.span("files", Tone::Dim)));
        rows.extend(files(&run.folder).into_iter().map(plain));
        rows.push(Line::default());
        rows.push(Line::from(world.look.span("again", Tone::Dim)));
        rows.extend(wrap(&run.began.command, width).into_iter().map(plain));
        lines(frame, inside, rows);
    }
}

/// Returns sign and word; a run that never ended says so.
fn verdict(run: &Entry) -> &'static str {
    match run.verdict {
        Some(verdict) => verdict.sign(),
        None if run.ended => "done",
        None => "? not ended",
    }
}

fn load_of(document: &Value) -> Option<LoadSummary> {
    [Some(document), document.get("load")].into_iter().flatten().find_map(|d| serde_json::from_value(d.clone()).ok())
}

fn figures(load: &LoadSummary) -> Vec<String> {
    let ms = |v: Option<f64>| v.map_or("?".to_owned(), |v| Millis(v).to_string());
    let mut rows: Vec<String> = load
        .objectives
        .iter()
        .map(|j| format!("{:<18} {:>11}  {}", j.expression, objectives::shown(j), objectives::sign(j.met)))
        .collect();
    rows.push(format!(
        "p50 {} · p99 {} · max {}",
        ms(load.latency_ms.p50),
        ms(load.latency_ms.p99),
        ms(load.latency_ms.max)
    ));
    rows.push(format!(
        "asked {} · sent {} · answered {}",
        Rps(load.rate.asked),
        Rps(load.rate.sent),
        Rps(load.rate.answered)
    ));
    rows.push(format!(
        "{} requests, {} errors, seed {}",
        grouped(load.requests),
        grouped(load.errors.total),
        load.seed
    ));
    rows
}

fn files(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<(String, u64)> = entries
        .flatten()
        .filter_map(|e| Some((e.file_name().to_string_lossy().into_owned(), e.metadata().ok()?.len())))
        .filter(|(name, _)| !name.starts_with('.'))
        .collect();
    found.sort();
    found.into_iter().map(|(name, bytes)| format!("{name:<18} {:>7} KB", grouped(bytes.div_ceil(1024)))).collect()
}

/// Draws two runs side by side; a difference of two single runs is shown, and not judged.
fn compare(frame: &mut Frame, area: Rect, look: &Look, a: &Path, b: &Path) {
    let inside = panel(frame, area, look, "two runs side by side", "esc back");
    let read = |p: &Path| past::summary(p).ok().and_then(|d| load_of(&d));
    let (Some(first), Some(second)) = (read(a), read(b)) else {
        return lines(frame, inside, Line::from(look.span("one of them holds no finished load", Tone::Warn)));
    };
    let name = |p: &Path| p.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let column = usize::from(inside.width).saturating_sub(12) / 3;
    let row = |what: &str, one: String, two: String, change: String| {
        let text = format!(
            "{what:<12}{:>column$}{:>column$}{:>column$}",
            cut(&one, column),
            cut(&two, column),
            cut(&change, column)
        );
        Line::from(look.span(text, Tone::Plain))
    };
    let change = |x: Option<f64>, y: Option<f64>| match (x, y) {
        (Some(x), Some(y)) if x > 0.0 => format!("{:+.1} %", (y / x - 1.0) * 100.0),
        _ => "?".to_owned(),
    };
    let ms = |v: Option<f64>| v.map_or("?".to_owned(), |v| Millis(v).to_string());
    let mut rows = vec![
        row("", name(a), name(b), "second against first".to_owned()),
        row("verdict", first.verdict.sign().to_owned(), second.verdict.sign().to_owned(), String::new()),
    ];
    let (x, y) = (&first.latency_ms, &second.latency_ms);
    for (what, x, y) in [
        ("p50", x.p50, y.p50),
        ("p90", x.p90, y.p90),
        ("p95", x.p95, y.p95),
        ("p99", x.p99, y.p99),
        ("p99.9", x.p999, y.p999),
        ("max", x.max, y.max),
    ] {
        rows.push(row(what, ms(x), ms(y), change(x, y)));
    }
    let rate = |l: &LoadSummary| Rps(l.rate.answered).to_string();
    rows.push(row(
        "answered",
        rate(&first),
        rate(&second),
        change(Some(first.rate.answered), Some(second.rate.answered)),
    ));
    let errors = |l: &LoadSummary| format!("{} ({})", grouped(l.errors.total), Share(l.errors.share));
    rows.push(row("errors", errors(&first), errors(&second), String::new()));
    rows.push(Line::default());
    let advice = format!(
        "two single runs differ by chance too; `serin report compare {} {}` says how sure that is",
        name(a),
        name(b)
    );
    rows.extend(wrap(&advice, usize::from(inside.width)).into_iter().map(|l| Line::from(look.span(l, Tone::Dim))));
    lines(frame, inside, rows);
}
