//! What to do, wholly stated: the contract of everything that runs.

use std::path::PathBuf;
use std::sync::mpsc::Sender;

use super::error::RunError;
use super::event::Event;
use super::summary::Summary;
use crate::stop::Stop;

/// A piece of work. Its kinds live in `jobs/`; a command turns its flags into one, the console starts the same ones.
pub trait Job: Send {
    /// The word that names its kind in folders and lists: "load", "canary", "train".
    fn kind(&self) -> &'static str;

    /// What is done to what, for a person: "evening peak → local".
    fn title(&self) -> String;

    /// Whether the run leaves a folder with journal and reports.
    fn keeps_folder(&self) -> bool {
        false
    }

    /// Does the work, telling as it goes; asks `stop` often and still returns a summary when there is anything to say.
    fn run(self: Box<Self>, desk: &Desk) -> Result<Summary, RunError>;
}

/// What a job has at hand while it runs.
#[derive(Clone, Debug)]
pub struct Desk {
    /// State of this user: demo platform, models, stores, locks (`SERIN_HOME`).
    pub home: PathBuf,
    /// The run's own folder, when it keeps one.
    pub folder: Option<PathBuf>,
    pub stop: Stop,
    events: Sender<Event>,
}

impl Desk {
    pub fn new(home: PathBuf, folder: Option<PathBuf>, stop: Stop, events: Sender<Event>) -> Self {
        Self { home, folder, stop, events }
    }

    /// Tells everybody who listens; that nobody does is no error.
    pub fn tell(&self, event: Event) {
        let _ = self.events.send(event);
    }

    pub fn say(&self, text: impl Into<String>) {
        self.tell(Event::said(text));
    }
}
