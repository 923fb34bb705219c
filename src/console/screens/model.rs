//! The model: how its training goes, what it is worth beside the plain "most seen", where the last watched programme stands.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use serde_json::Value;

use super::overview::task;
use crate::console::keys::Action;
use crate::console::look::Look;
use crate::console::screen::{Effect, Screen, World};
use crate::console::theme::Tone;
use crate::console::widgets::frame::{cut, lines, panel};
use crate::console::widgets::spark;
use crate::run::story::ModelStory;
use crate::stats::progress::Progress;
use crate::stats::units::{Share, clock, grouped};

/// The figures of an evaluation, best known first.
const FIGURES: [(&str, &str); 5] =
    [("NDCG", "ndcg"), ("recall", "recall"), ("hit rate", "hit_rate"), ("MRR", "mrr"), ("coverage", "coverage")];

#[derive(Debug, Default)]
pub struct Model;

impl Screen for Model {
    fn act(&mut self, action: Action, _: &World) -> Option<Effect> {
        (action == Action::StopLoad).then_some(Effect::StopRun)
    }

    fn copy(&self, world: &World) -> Option<String> {
        let found = world.story.model.evaluated.as_ref()?;
        let k = &found["k"];
        let mut text =
            format!("**{}**\n\n| @{k} | this model | most seen |\n|---|---:|---:|\n", name(&world.story.model));
        for (word, key) in FIGURES {
            text += &format!("| {word} | {} | {} |\n", figure(&found[key]), figure(&found["popular"][key]));
        }
        Some(text)
    }

    fn draw(&self, frame: &mut Frame, area: Rect, world: &World) {
        let shown = Shown { model: &world.story.model, world };
        if area.width >= 76 && area.height >= 18 { shown.wide(frame, area) } else { shown.small(frame, area) }
    }
}

fn figure(value: &Value) -> String {
    value.as_f64().map_or("?".to_owned(), |v| format!("{v:.4}"))
}

fn number(value: &Value) -> String {
    value.as_u64().map_or("?".to_owned(), grouped)
}

fn name(model: &ModelStory) -> String {
    let told = [&model.published, &model.evaluated].into_iter().flatten().find_map(|d| d["model"].as_str());
    let told = model.trained.as_ref().and_then(|d| d["id"].as_str()).or(told);
    told.unwrap_or("no model yet").to_owned()
}

struct Shown<'a> {
    model: &'a ModelStory,
    world: &'a World,
}

impl Shown<'_> {
    fn look(&self) -> &Look {
        &self.world.look
    }

    fn plain(&self, text: impl Into<String>) -> Line<'static> {
        Line::from(self.look().span(text, Tone::Plain))
    }

    fn dim(&self, text: impl Into<String>) -> Line<'static> {
        Line::from(self.look().span(text, Tone::Dim))
    }

    fn wide(&self, frame: &mut Frame, area: Rect) {
        let places = self.places(1).len() as u16 + 2;
        let [head, middle, below] =
            Layout::vertical([Constraint::Length(5), Constraint::Min(8), Constraint::Length(places.clamp(6, 11))])
                .areas(area);
        self.training(frame, head);
        let halves = |area| Layout::horizontal([Constraint::Fill(1), Constraint::Length(38)]).areas::<2>(area);
        let [left, right] = halves(middle);
        let inside = panel(frame, left, self.look(), "beside the most seen, for all", &name(self.model));
        lines(frame, inside, self.figures());
        let inside = panel(frame, right, self.look(), "what it learnt from", "");
        lines(frame, inside, self.learnt());
        let [left, right] = halves(below);
        let note = self.viewers();
        let inside = panel(frame, left, self.look(), "where the last watched stands", &note);
        lines(frame, inside, self.places(usize::from(inside.width)));
        let inside = panel(frame, right, self.look(), "published", "");
        lines(frame, inside, self.published());
    }

    fn small(&self, frame: &mut Frame, area: Rect) {
        let width = usize::from(area.width);
        let mut rows = vec![self.plain(name(self.model))];
        rows.extend(self.task().map(|t| task(self.look(), t, self.world.live(), width)));
        rows.extend(self.figures());
        rows.extend(self.places(width));
        rows.extend(self.published());
        lines(frame, area, rows);
    }

    fn task(&self) -> Option<&Progress> {
        self.world.story.tasks.iter().find(|t| t.task == "training")
    }

    fn training(&self, frame: &mut Frame, area: Rect) {
        let note = self.model.trained.as_ref().map_or(String::new(), |d| {
            let (items, users) = (number(&d["items"]), number(&d["users"]));
            format!("{items} programmes · {users} viewers · {} viewings", number(&d["interactions"]))
        });
        let inside = panel(frame, area, self.look(), &format!("training {}", name(self.model)), &note);
        let width = usize::from(inside.width);
        let mut rows = Vec::new();
        match self.task() {
            Some(told) => rows.push(task(self.look(), told, self.world.live(), width)),
            None => rows.push(self.dim("this run trains nothing; what it serves was trained before")),
        }
        if let (Some(first), Some(last)) = (self.model.losses.first(), self.model.losses.last()) {
            let values: Vec<Option<f64>> = self.model.losses.iter().copied().map(Some).collect();
            let line = spark::line(&values, 40);
            rows.push(self.plain(cut(&format!("loss {first:.3e} {line} {last:.3e}"), width)));
        }
        let other =
            self.world.story.tasks.iter().rev().find(|t| t.task != "training" && t.total.is_some_and(|n| t.done < n));
        rows.extend(other.map(|t| task(self.look(), t, self.world.live(), width)));
        lines(frame, inside, rows);
    }

    fn figures(&self) -> Vec<Line<'static>> {
        let Some(found) = &self.model.evaluated else {
            return vec![self.dim("not evaluated in this run: how good it is is not known here")];
        };
        let k = number(&found["k"]);
        let mut rows = vec![self.dim(format!(
            "  {:<12} {:>12} {:>12} {:>9}",
            format!("@{k}"),
            "this model",
            "most seen",
            "times"
        ))];
        for (word, key) in FIGURES {
            let (own, plain) = (found[key].as_f64(), found["popular"][key].as_f64());
            let times =
                own.zip(plain).filter(|(_, p)| *p > 0.0).map_or("?".to_owned(), |(o, p)| format!("x {:.2}", o / p));
            let text =
                format!("  {word:<12} {:>12} {:>12} {times:>9}", figure(&found[key]), figure(&found["popular"][key]));
            let better = own.zip(plain).is_some_and(|(o, p)| o > p);
            let sign = if key == "coverage" || own.is_none() {
                ""
            } else if better {
                "  ✓"
            } else {
                "  ✗ no better"
            };
            let tone = if better { Tone::Good } else { Tone::Bad };
            rows.push(Line::from(vec![self.look().span(text, Tone::Plain), self.look().span(sign, tone)]));
        }
        rows
    }

    fn learnt(&self) -> Vec<Line<'static>> {
        let Some(told) = &self.model.trained else { return vec![self.dim("trained before this run")] };
        let row = |what: &str, value: String| {
            Line::from(vec![self.look().span(format!("{what:<14}"), Tone::Dim), self.look().span(value, Tone::Plain)])
        };
        let seconds = |key: &str| told[key].as_f64().map_or("?".to_owned(), |s| format!("{s:.2} s"));
        let word = |key: &str| told[key].as_str().map_or_else(|| told[key].to_string(), str::to_owned);
        vec![
            row("rank", word("rank")),
            row("lambda, alpha", format!("{}, {}", word("regularization"), word("alpha"))),
            row("convention", word("convention")),
            row("iterations", format!("{} of {}", word("iterations"), seconds("seconds_per_iteration"))),
            row("in all", seconds("seconds_total")),
            row("memory", told["peak_rss_mb"].as_f64().map_or("?".to_owned(), |mb| format!("{mb:.0} MB at most"))),
        ]
    }

    fn viewers(&self) -> String {
        let users = self.model.evaluated.as_ref().map(|d| number(&d["users"]));
        users.map_or(String::new(), |u| format!("{u} viewers"))
    }

    fn places(&self, width: usize) -> Vec<Line<'static>> {
        let Some(found) = &self.model.evaluated else { return vec![self.dim("not evaluated in this run")] };
        let places = found["places"].as_array().into_iter().flatten();
        let room = width.saturating_sub(26).min(60);
        places
            .map(|place| {
                let (from, to) = (place["from"].as_u64().unwrap_or(0), place["to"].as_u64());
                let name = match to {
                    Some(to) if to == from => format!("place {to}"),
                    Some(to) => format!("      {from}-{to}"),
                    None => "      below".to_owned(),
                };
                let share = place["share"].as_f64().unwrap_or(0.0);
                let (full, _) = spark::gauge(share, room);
                Line::from(vec![
                    self.look().span(format!("{name:<13}"), Tone::Plain),
                    self.look().span(format!("{full:<room$}"), Tone::Good),
                    self.look().span(format!(" {:>9}", Share(share).to_string()), Tone::Plain),
                ])
            })
            .collect()
    }

    fn published(&self) -> Vec<Line<'static>> {
        let Some(told) = &self.model.published else { return vec![self.dim("published before this run")] };
        let lists = told["lists"].as_f64();
        let users = self.model.trained.as_ref().and_then(|d| d["users"].as_f64());
        let covers = lists
            .zip(users)
            .filter(|(_, u)| *u > 0.0)
            .map_or("?".to_owned(), |(l, u)| Share((l / u).min(1.0)).to_string());
        let took = told["seconds"].as_f64().and_then(|s| Duration::try_from_secs_f64(s).ok());
        vec![
            self.plain(format!("serving   {}", told["model"].as_str().unwrap_or("?"))),
            self.plain(format!("lists     {}", number(&told["lists"]))),
            self.plain(format!("covers    {covers} of viewers")),
            self.plain(format!("took      {}", took.map_or("?".to_owned(), clock))),
        ]
    }
}
