//! Which screen is on top, and what reaches it; keys and events in, effects and drawings out, no terminal anywhere.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ratatui::Frame;
use ratatui::crossterm::event::KeyEvent;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::Clear;

use super::chrome;
use super::glyphs;
use super::keys::{self, Action};
use super::look::Look;
use super::screen::{Effect, Name, Screen, State, World};
use super::screens::canary::{self, Canary};
use super::screens::cost::{self, Cost};
use super::screens::help;
use super::screens::incident::Incident;
use super::screens::load::{Load, verdict_lines};
use super::screens::model::Model;
use super::screens::overview::Overview;
use super::screens::runs::Runs;
use super::theme::Tone;
use super::watcher::Told;
use super::widgets::frame::{lines, panel, wrap};
use crate::canary::order::Wish;
use crate::cost::told;
use crate::run::error::RunError;
use crate::run::event::Event;
use crate::run::journal;
use crate::run::past;
use crate::run::story::Story;

/// How long a notice stays.
const NOTICE: Duration = Duration::from_secs(6);

/// A question that waits for yes or no; no is what everything but `y` means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    Stop,
    StopAndQuit,
    /// Of a way down: the step that is asked for, or its taking back.
    CostWish(told::Wish),
    Wish(Wish),
}

pub struct App {
    pub world: World,
    reports: PathBuf,
    on: Name,
    overview: Overview,
    load: Load,
    cost: Cost,
    model: Model,
    incident: Incident,
    canary: Canary,
    runs: Runs,
    question: Option<Question>,
    help: bool,
    notice: Option<(String, Instant)>,
    began: Instant,
    ticked: Instant,
    /// When the stack was looked at last.
    seen_at: Instant,
    /// The last moment that passed.
    noted: Instant,
    quitting: bool,
    /// Whether the person has chosen a screen; until then the run chooses.
    steered: bool,
}

impl App {
    pub fn new(look: Look, reports: &Path, folder: Option<PathBuf>, now: Instant) -> Self {
        let world = World {
            story: Story::default(),
            load: None,
            state: State::Live,
            elapsed: Duration::ZERO,
            tick_age: Duration::ZERO,
            folder,
            past: Vec::new(),
            seen: None,
            seen_age: Duration::ZERO,
            checked: None,
            checking: false,
            look,
        };
        Self {
            world,
            reports: reports.to_owned(),
            on: Name::Overview,
            overview: Overview,
            load: Load::default(),
            cost: Cost::default(),
            model: Model,
            incident: Incident::default(),
            canary: Canary,
            runs: Runs::default(),
            question: None,
            help: false,
            notice: None,
            began: now,
            ticked: now,
            seen_at: now,
            noted: now,
            quitting: false,
            steered: false,
        }
    }

    /// Takes what happened in the run.
    pub fn hear(&mut self, event: &Event, now: Instant) {
        match event {
            Event::CostRoad(_) if !self.steered => self.on = Name::Cost,
            Event::CostView(_) => self.ticked = now,
            Event::CanaryRoad(_) if !self.steered => self.on = Name::Canary,
            // A walk plays its load beside it.
            Event::LoadPlan(_) if !self.steered && self.on != Name::Canary => self.on = Name::Load,
            Event::Tick(_) => self.ticked = now,
            _ => {}
        }
        self.world.story.hear(event);
        if matches!(event, Event::LoadPlan(_) | Event::Tick(_) | Event::Ended(_)) {
            self.world.load = self.world.story.load_summary();
        }
    }

    /// Takes what was seen of the stack beside the run.
    pub fn see(&mut self, told: Told, now: Instant) {
        match told {
            Told::Seen(seen) => (self.world.seen, self.seen_at) = (Some(seen), now),
            // What was seen last stays, and grows old in sight, as long as the run that it belongs to.
            Told::Nothing if self.world.live() => {}
            Told::Nothing => self.world.seen = None,
            Told::Checking => self.world.checking = true,
            Told::Checked(look) => (self.world.checked, self.world.checking) = (Some(look), false),
            Told::NotChecked(why) => {
                self.world.checking = false;
                self.notice(format!("not checked: {why}"), now);
            }
        }
    }

    /// Takes the end of the run; returns whether the person is waiting to leave.
    pub fn ended(&mut self, failure: Option<RunError>) {
        self.question = None;
        self.world.state = failure.map_or(State::Ended, State::Failed);
        self.refresh();
    }

    /// Whether the console closes as soon as the run has ended and its reports are written.
    pub fn quitting(&self) -> bool {
        self.quitting
    }

    /// Lets time pass; returns whether something on the screen changes by it.
    pub fn pass(&mut self, now: Instant) -> bool {
        self.noted = now;
        let shown = (self.world.elapsed.as_secs(), self.notice.is_some());
        if self.world.live() {
            self.world.elapsed = now.saturating_duration_since(self.began);
        }
        self.world.tick_age = now.saturating_duration_since(self.ticked);
        self.world.seen_age = now.saturating_duration_since(self.seen_at);
        self.notice.take_if(|(_, since)| now.saturating_duration_since(*since) > NOTICE);
        shown != (self.world.elapsed.as_secs(), self.notice.is_some())
    }

    pub fn notice(&mut self, text: impl Into<String>, now: Instant) {
        self.notice = Some((text.into(), now));
    }

    /// Asks the run to stop, and leaves once its reports are written.
    pub fn stop_and_quit(&mut self) -> Effect {
        self.quitting = true;
        if !self.world.live() {
            return Effect::Quit;
        }
        self.world.state = State::Stopping;
        Effect::StopRun
    }

    fn refresh(&mut self) {
        self.world.past = past::list(&self.reports).unwrap_or_default();
    }

    fn screen(&mut self) -> (&mut dyn Screen, &World) {
        let screen: &mut dyn Screen = match self.on {
            Name::Overview => &mut self.overview,
            Name::Load => &mut self.load,
            Name::Cost => &mut self.cost,
            Name::Model => &mut self.model,
            Name::Incident => &mut self.incident,
            Name::Canary => &mut self.canary,
            Name::Runs => &mut self.runs,
        };
        (screen, &self.world)
    }

    /// Returns the screens that have something on them.
    fn tabs(&self) -> Vec<Name> {
        let story = &self.world.story;
        let shown = |name: &Name| match name {
            Name::Load => story.load.is_some() || self.load.is_open(),
            Name::Cost => story.cost.is_some(),
            Name::Model => !story.model.is_empty(),
            Name::Incident => self.world.seen.is_some() || self.world.checked.is_some(),
            Name::Canary => story.canary.is_some(),
            Name::Overview | Name::Runs => true,
        };
        Name::ALL.into_iter().filter(shown).collect()
    }

    /// Returns what a key wants done.
    pub fn key(&mut self, key: &KeyEvent, now: Instant) -> Effect {
        let (screen, world) = self.screen();
        if screen.write(key, world) && !key.modifiers.contains(ratatui::crossterm::event::KeyModifiers::CONTROL) {
            return Effect::Nothing;
        }
        let action = keys::action(key, self.on, self.question.is_some());
        if std::mem::take(&mut self.help) {
            return match action {
                Some(Action::Interrupt) => self.stop_and_quit(),
                _ => Effect::Nothing,
            };
        }
        match action {
            Some(action) => self.act(action, now),
            // Whatever is not yes is no.
            None => {
                self.question = None;
                Effect::Nothing
            }
        }
    }

    fn act(&mut self, action: Action, now: Instant) -> Effect {
        match action {
            Action::Show(name) => return self.arrive(|app| app.show(name)),
            Action::NextScreen => return self.arrive(|app| app.turn(1)),
            Action::PreviousScreen => return self.arrive(|app| app.turn(-1)),
            Action::Help => self.help = true,
            Action::Interrupt => return self.stop_and_quit(),
            Action::Suspend => return Effect::Suspend,
            Action::Quit if matches!(self.world.state, State::Live) => self.question = Some(Question::StopAndQuit),
            Action::Quit => return self.stop_and_quit(),
            Action::Export => return Effect::Export,
            Action::CopyText => {
                let (screen, world) = self.screen();
                return match screen.copy(world) {
                    Some(text) => Effect::Copy(text),
                    None => {
                        self.notice("there is nothing to copy yet", now);
                        Effect::Nothing
                    }
                };
            }
            Action::Yes => {
                return match self.question.take() {
                    Some(Question::Stop) => {
                        self.world.state = State::Stopping;
                        Effect::StopRun
                    }
                    Some(Question::StopAndQuit) => self.stop_and_quit(),
                    Some(Question::CostWish(wish)) => self.cost_wish(wish),
                    Some(Question::Wish(wish)) => Effect::Wish(wish),
                    None => Effect::Nothing,
                };
            }
            Action::No => self.question = None,
            other => return self.hand_on(other),
        }
        Effect::Nothing
    }

    /// Hands an action to the screen on top; what changes the world is asked first.
    fn hand_on(&mut self, action: Action) -> Effect {
        let live = matches!(self.world.state, State::Live);
        let (screen, world) = self.screen();
        match screen.act(action, world) {
            Some(Effect::StopRun) => {
                self.question = live.then_some(Question::Stop);
                Effect::Nothing
            }
            Some(Effect::CostWish(_, wish @ (told::Wish::Step | told::Wish::Undo))) => {
                self.question = live.then_some(Question::CostWish(wish));
                Effect::Nothing
            }
            Some(Effect::Look(folder)) => {
                self.look_into(&folder);
                Effect::Nothing
            }
            Some(Effect::Go(name)) => {
                self.on = name;
                Effect::Nothing
            }
            Some(Effect::Wish(wish)) => {
                self.question = live.then_some(Question::Wish(wish));
                Effect::Nothing
            }
            Some(effect) => effect,
            None => Effect::Nothing,
        }
    }

    fn cost_wish(&self, wish: told::Wish) -> Effect {
        let listens = self.world.story.cost.as_ref().and_then(|c| c.road.wishes.clone());
        listens.map_or(Effect::Nothing, |path| Effect::CostWish(path, wish))
    }

    /// Goes to another screen; who comes to the incident first wants to know what is wrong.
    fn arrive(&mut self, go: impl Fn(&mut Self)) -> Effect {
        go(self);
        let first = self.on == Name::Incident && self.world.checked.is_none() && !self.world.checking;
        self.world.checking |= first;
        if first { Effect::Check } else { Effect::Nothing }
    }

    /// Reads a past run back and shows it where a running one is shown.
    fn look_into(&mut self, folder: &Path) {
        let mut story = Story::default();
        let read = journal::events(folder).map(|events| {
            // A journal that was cut off is read as far as it goes.
            events.map_while(Result::ok).for_each(|event| story.hear(&event));
        });
        if read.is_err() || story.load.is_none() {
            self.notice("that run sent no load; o opens its report", self.noted);
            return;
        }
        let load = story.load_summary();
        self.load.open(World {
            load,
            story,
            state: State::Ended,
            elapsed: Duration::ZERO,
            tick_age: Duration::ZERO,
            folder: Some(folder.to_owned()),
            past: Vec::new(),
            seen: None,
            seen_age: Duration::ZERO,
            checked: None,
            checking: false,
            look: self.world.look,
        });
        self.steered = true;
        self.on = Name::Load;
    }

    fn show(&mut self, name: Name) {
        if self.tabs().contains(&name) {
            self.steered = true;
            self.on = name;
            if name == Name::Runs {
                self.refresh();
            }
        }
    }

    fn turn(&mut self, by: isize) {
        let tabs = self.tabs();
        let at = tabs.iter().position(|t| *t == self.on).unwrap_or(0);
        let next = (at as isize + by).rem_euclid(tabs.len() as isize) as usize;
        self.show(tabs[next]);
    }

    pub fn draw(&self, frame: &mut Frame) {
        let area = frame.area();
        if area.height < 4 || area.width < 20 {
            self.tiny(frame, area);
        } else {
            let bars = [Constraint::Length(1), Constraint::Fill(1), Constraint::Length(1)];
            let [top, middle, bottom] = Layout::vertical(bars).areas(area);
            chrome::top(frame, top, &self.tabs(), self.on, &self.world);
            match self.on {
                Name::Overview => self.overview.draw(frame, middle, &self.world),
                Name::Load => self.load.draw(frame, middle, &self.world),
                Name::Cost => self.cost.draw(frame, middle, &self.world),
                Name::Model => self.model.draw(frame, middle, &self.world),
                Name::Incident => self.incident.draw(frame, middle, &self.world),
                Name::Canary => self.canary.draw(frame, middle, &self.world),
                Name::Runs => self.runs.draw(frame, middle, &self.world),
            }
            let notice = self.notice.as_ref().map(|(text, _)| text.as_str());
            chrome::bottom(frame, bottom, self.on, notice, &self.world.look);
            if self.help {
                help::draw(frame, middle, self.on, &self.world.look);
            }
            if let Some(question) = self.question {
                self.ask(frame, middle, question);
            }
        }
        if self.world.look.ascii {
            glyphs::to_ascii(frame.buffer_mut());
        }
    }

    /// Two lines that still say what matters most, for a terminal that has no room.
    fn tiny(&self, frame: &mut Frame, area: Rect) {
        let mut rows = verdict_lines(&self.world, area.width);
        rows.truncate(1);
        let summary = self.world.load.as_ref();
        let p99 = summary
            .and_then(|s| s.latency_ms.p99)
            .map_or("?".to_owned(), |v| crate::stats::units::Millis(v).to_string());
        if let Some(view) = self.world.story.cost.as_ref().and_then(|c| c.view.as_ref()) {
            let text = cost::in_short(view);
            rows.push(Line::from(self.world.look.span(text, Tone::Plain)));
            return lines(frame, area, rows);
        }
        let last = self.world.story.load.as_ref().and_then(|l| l.columns.iter().next_back());
        let last = last.map_or(0.0, |c| c.rate(c.answered));
        rows.push(Line::from(self.world.look.span(format!("p99 {p99} {last:.0}/s"), Tone::Plain)));
        lines(frame, area, rows);
    }

    fn ask(&self, frame: &mut Frame, area: Rect, question: Question) {
        let what = self.world.story.began.as_ref().map_or("the run", |b| b.title.as_str());
        let text = match question {
            Question::Stop => format!("Stop {what}? What was measured is reported; the rest is not sent."),
            Question::StopAndQuit => format!("Stop {what} and quit? What was measured is reported first."),
            Question::CostWish(wish) => cost::question(&self.world, wish),
            Question::Wish(wish) => canary::question(&self.world, wish),
        };
        let width = area.width.min(62);
        let rows = wrap(&text, usize::from(width.saturating_sub(4)));
        let height = area.height.min(rows.len() as u16 + 4);
        let place =
            Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
        let look = &self.world.look;
        frame.render_widget(Clear, place);
        let inside = panel(frame, place, look, "sure?", "");
        let mut rows: Vec<Line> = rows.into_iter().map(|l| Line::from(look.span(l, Tone::Plain))).collect();
        rows.push(Line::default());
        rows.push(Line::from(vec![look.span("y", Tone::Strong), look.span(" yes   any other key: no", Tone::Dim)]));
        lines(frame, inside, rows);
    }
}
