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
use crate::console::widgets::spark;
use crate::judge::compare::{self as judge, Terms};
use crate::load::summary::LoadSummary;
use crate::run::error::RunError;
use crate::run::jobs::gate::moments;
use crate::run::objectives;
use crate::run::past::{self, Entry, PastLoad};
use crate::stats::units::{Millis, Rps, Share, grouped};

#[derive(Debug, Default)]
pub struct Runs {
    chosen: usize,
    filter: String,
    /// Whether the filter is being written.
    writing: bool,
    marked: Vec<PathBuf>,
    compared: Option<Compared>,
}

/// Two runs, read once and compared second by second.
#[derive(Debug)]
struct Compared {
    names: [String; 2],
    loads: Option<[LoadSummary; 2]>,
    /// How sure the difference is; a reason why nobody can say, otherwise.
    sure: Vec<String>,
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
            Action::Compare => {
                self.compared = match self.marked.as_slice() {
                    [a, b] => Some(Compared::of(a, b)),
                    _ => None,
                };
            }
            Action::Back if self.compared.is_some() => self.compared = None,
            Action::Back if !self.filter.is_empty() => self.filter.clear(),
            Action::Keep => return self.current(world).map(|r| Effect::Keep(r.folder.clone())),
            Action::Look => return self.current(world).map(|r| Effect::Look(r.folder.clone())),
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
        if let Some(compared) = &self.compared {
            return compared.draw(frame, area, &world.look);
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
        let p99 = run.p99_ms.map_or(String::new(), |v| Millis(v).to_string());
        // The slowest part of a list is the eye: the figure that most ask for stands beside the verdict.
        let figure = if width >= 64 { format!("{p99:>9} ") } else { String::new() };
        let room = width.saturating_sub(when.len() + word.chars().count() + figure.chars().count() + 14);
        let text = format!(
            "{pointer}{mark} {when}  {:<8}{:<room$} {figure}",
            cut(&run.began.kind, 7),
            cut(&run.began.title, room)
        );
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
        rows.extend(self.before(run, width, world));
        rows.push(Line::default());
        rows.push(Line::from(world.look.span("files", Tone::Dim)));
        rows.extend(files(&run.folder).into_iter().map(plain));
        rows.push(Line::default());
        rows.push(Line::from(world.look.span("again", Tone::Dim)));
        rows.extend(wrap(&run.began.command, width).into_iter().map(plain));
        lines(frame, inside, rows);
    }
}

/// How many runs of the same thing are drawn.
const HISTORY: usize = 24;

impl Runs {
    /// Draws the p99 of what was run before under the same title, this run last.
    fn before(&self, run: &Entry, width: usize, world: &World) -> Vec<Line<'static>> {
        let same = |e: &&Entry| e.began.title == run.began.title && e.began.at <= run.began.at;
        let mut seen: Vec<Option<f64>> = world.past.iter().filter(same).take(HISTORY).map(|e| e.p99_ms).collect();
        if seen.iter().flatten().count() < 2 {
            return Vec::new();
        }
        seen.reverse();
        let (least, most) = seen.iter().flatten().fold((f64::MAX, 0.0_f64), |(l, m), v| (l.min(*v), m.max(*v)));
        let told = format!("p99 of the last {}: {} to {}", seen.len(), Millis(least), Millis(most));
        vec![
            Line::default(),
            Line::from(world.look.span(cut(&told, width), Tone::Dim)),
            Line::from(world.look.span(spark::line(&seen, width.min(HISTORY)), Tone::Plain)),
        ]
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

/// How sure a difference of each quantile is; the margin of `serin report compare`.
fn sureness(a: &Path, b: &Path) -> Result<Vec<String>, RunError> {
    let (old, new) = (PastLoad::open(a)?, PastLoad::open(b)?);
    if old.plan.scenario != new.plan.scenario || old.plan.stages != new.plan.stages {
        return Ok(vec![
            "they ran other scenarios, or other stages: how sure a difference is cannot be told".to_owned(),
        ]);
    }
    let (before, after) = (moments(&old)?, moments(&new)?);
    let told = |quantile| {
        let against = old.plan.target.clone();
        let terms = Terms { quantile, margin: Share(0.05), against, seed: new.plan.seed, apart: true };
        let seen = judge::compare(before.all(), after.all(), &terms);
        format!("{}: {}, {}", seen.metric, seen.verdict, seen.reason)
    };
    Ok([0.5, 0.99].map(told).into())
}

impl Compared {
    fn of(a: &Path, b: &Path) -> Self {
        let read = |p: &Path| past::summary(p).ok().and_then(|d| load_of(&d));
        let name = |p: &Path| p.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let loads = read(a).zip(read(b)).map(|(a, b)| [a, b]);
        let sure = sureness(a, b).unwrap_or_else(|e| vec![e.to_string()]);
        Self { names: [name(a), name(b)], loads, sure }
    }

    fn draw(&self, frame: &mut Frame, area: Rect, look: &Look) {
        let inside = panel(frame, area, look, "two runs side by side", "esc back");
        let Some([first, second]) = &self.loads else {
            return lines(frame, inside, Line::from(look.span("one of them holds no finished load", Tone::Warn)));
        };
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
        let [one, two] = self.names.clone();
        let mut rows = vec![
            row("", one, two, "second against first".to_owned()),
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
        let answered = change(Some(first.rate.answered), Some(second.rate.answered));
        rows.push(row("answered", rate(first), rate(second), answered));
        let errors = |l: &LoadSummary| format!("{} ({})", grouped(l.errors.total), Share(l.errors.share));
        rows.push(row("errors", errors(first), errors(second), String::new()));
        rows.push(Line::default());
        for said in &self.sure {
            rows.extend(
                wrap(said, usize::from(inside.width)).into_iter().map(|l| Line::from(look.span(l, Tone::Plain))),
            );
        }
        lines(frame, inside, rows);
    }
}
