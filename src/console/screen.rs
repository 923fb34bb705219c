//! What every screen can do: it owns its state, its actions and its drawing.

use std::path::PathBuf;
use std::time::Duration;

use ratatui::Frame;
use ratatui::crossterm::event::KeyEvent;
use ratatui::layout::Rect;

use super::keys::Action;
use super::look::Look as Style;
use crate::canary::order::Wish;
use crate::cost::told;
use crate::load::summary::LoadSummary;
use crate::run::error::RunError;
use crate::run::jobs::check::Look;
use crate::run::jobs::eye::Seen;
use crate::run::past::Entry;
use crate::run::story::Story;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    Overview,
    Load,
    Canary,
    Cost,
    Model,
    Incident,
    Runs,
}

impl Name {
    pub const ALL: [Self; 7] =
        [Self::Overview, Self::Load, Self::Canary, Self::Cost, Self::Model, Self::Incident, Self::Runs];

    pub fn word(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Load => "Load",
            Self::Cost => "Cost",
            Self::Model => "Model",
            Self::Incident => "Incident",
            Self::Canary => "Canary",
            Self::Runs => "Runs",
        }
    }
}

/// How far the run has come.
#[derive(Debug)]
pub enum State {
    Live,
    /// Somebody asked to stop; the reports are being written.
    Stopping,
    /// Its summary is in the story.
    Ended,
    /// It ended without one.
    Failed(RunError),
}

/// What every screen sees.
pub struct World {
    pub story: Story,
    /// The load in one page, as far as it is known: folded once a second, drawn often.
    pub load: Option<LoadSummary>,
    pub state: State,
    /// Since the run began.
    pub elapsed: Duration,
    /// Since the last tick of load.
    pub tick_age: Duration,
    pub folder: Option<PathBuf>,
    pub past: Vec<Entry>,
    /// The stack at its last look, and how long ago that was; `None` while none is up.
    pub seen: Option<Box<Seen>>,
    pub seen_age: Duration,
    /// The last check of it, and whether another is under way.
    pub checked: Option<Box<Look>>,
    pub checking: bool,
    pub look: Style,
}

impl World {
    pub fn live(&self) -> bool {
        matches!(self.state, State::Live | State::Stopping)
    }
}

/// What a key wants done outside the screens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    Nothing,
    StopRun,
    /// Check the stack, now.
    Check,
    /// Ask the walk that is under way for something.
    Wish(Wish),
    /// Write the reports of this run again, now.
    Export,
    Copy(String),
    /// Show a file to the person, with what the desktop has for it.
    Open(PathBuf),
    /// Tell the way down what is wanted, in the file that it listens to.
    CostWish(PathBuf, told::Wish),
    /// Read a past run back from its folder, and show it.
    Look(PathBuf),
    /// Make a past run the baseline of its scenario and target.
    Keep(PathBuf),
    /// Go to another screen.
    Go(Name),
    Suspend,
    Quit,
}

pub trait Screen {
    /// Does what a key means here; `None` where it means nothing.
    fn act(&mut self, _action: Action, _world: &World) -> Option<Effect> {
        None
    }

    /// Takes a key as text while a line is being written; returns whether it was taken.
    fn write(&mut self, _key: &KeyEvent, _world: &World) -> bool {
        false
    }

    /// Returns what `y` copies, as Markdown.
    fn copy(&self, world: &World) -> Option<String>;

    fn draw(&self, frame: &mut Frame, area: Rect, world: &World);
}
