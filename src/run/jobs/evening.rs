//! The main job: a demo platform is made, trained, published and served, then plays a short evening.
//!
//! Each part is the same job that its own command runs. The platform is kept: only the first start makes it, in a folder
//! beside its final place, so that a start that was stopped leaves no half platform.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use super::evaluate::Evaluate;
use super::load::{play, summarise};
use super::publish::PublishJob;
use super::synth::Synth;
use super::train::Train;
use crate::journal::{self, Journal};
use crate::load::dress::Tokens;
use crate::load::engine::Spec;
use crate::load::library;
use crate::load::target::Address;
use crate::model::convention::Convention;
use crate::model::dataset::Source;
use crate::model::event_value::EventValue;
use crate::model::rows::Format;
use crate::model::synth::Size;
use crate::model::training::Ask;
use crate::run::error::RunError;
use crate::run::event::Event;
use crate::run::job::{Desk, Job};
use crate::run::summary::Summary;
use crate::serve::stack::{self, CanarySpec, StackHandle, StackSpec};
use crate::serve::store::StoreAt;
use crate::serve::{catalogue, secret};

/// The documents of the parts that made the platform, in its folder.
const PARTS: &str = "parts.jsonl";
/// The scenario that is played.
pub const SCENARIO: &str = "evening-short";

/// A platform that is made in seconds and still has tastes to learn.
const SIZE: Size = Size { viewers: 20_000, programmes: 2_000, viewings: 600_000, seed: 7 };
const RANK: usize = 64;
const ITERATIONS: usize = 10;
const TOP: usize = 100;
/// Where the stack listens when nobody else does; else any free port.
const PORT: u16 = 7070;

pub struct Evening {
    /// Where runs from: `SERIN_HOME/demo`.
    pub platform: PathBuf,
}

impl Evening {
    pub fn new(home: &Path) -> Self {
        Self { platform: home.join("demo") }
    }
}

impl Job for Evening {
    fn kind(&self) -> &'static str {
        "evening"
    }

    fn title(&self) -> String {
        "short evening → local".to_owned()
    }

    fn keeps_folder(&self) -> bool {
        true
    }

    fn run(self: Box<Self>, desk: &Desk) -> Result<Summary, RunError> {
        open(&self.platform, desk)?;
        desk.tell(Event::phase("starting the stack"));
        let up = start_with(&self.platform, None, desk)?;
        desk.say(format!("the stack is up at {}", up.state.api_url));
        desk.tell(Event::phase("playing the evening"));
        let load = play(&load(&up.state.api_url, &desk.home)?, desk);
        let down = up.down();
        let summary = summarise(self.title(), &load?)?;
        down?;
        Ok(summary)
    }
}

/// Returns the folder of the demo platform, made now if this is its first use.
pub fn ready(desk: &Desk) -> Result<PathBuf, RunError> {
    let platform = desk.home.join("demo");
    open(&platform, desk)?;
    Ok(platform)
}

/// Makes the platform where there is none, else tells how it was made.
fn open(platform: &Path, desk: &Desk) -> Result<(), RunError> {
    if !platform.is_dir() {
        return make(platform, desk);
    }
    for document in journal::read(&platform.join(PARTS)).unwrap_or_default() {
        desk.tell(Event::Part { document });
    }
    Ok(())
}

/// Makes the platform beside its place and moves it there whole.
fn make(place: &Path, desk: &Desk) -> Result<(), RunError> {
    let io = |e: std::io::Error| RunError::cannot_tell(format!("{}: {e}", place.display()));
    let draft = place.with_file_name(format!("demo.part.{}", std::process::id()));
    fs::create_dir_all(&draft).map_err(io)?;
    let made = fill(&draft, desk).and_then(|()| fs::rename(&draft, place).map_err(io));
    if made.is_err() {
        let _ = fs::remove_dir_all(&draft);
    }
    made
}

fn fill(place: &Path, desk: &Desk) -> Result<(), RunError> {
    let (data, model) = (place.join("data"), place.join("model"));
    desk.tell(Event::phase("making a demo platform"));
    part(Synth { out: data.clone(), size: SIZE, threads: 0 }, place, desk)?;
    desk.tell(Event::phase("training the model"));
    part(Train { source: source(&data), ask: ask(), out: model.clone(), threads: 0 }, place, desk)?;
    desk.tell(Event::phase("evaluating it"));
    let heldout = data.join("heldout.csv");
    part(Evaluate { model: model.clone(), heldout, k: 20, threads: 0 }, place, desk)?;
    desk.tell(Event::phase("publishing its lists"));
    let items = place.join("items.catalogue");
    let now = jiff::Timestamp::now().as_second();
    catalogue::build(&data.join("items.csv"), &items, now)?;
    part(PublishJob { top: TOP, ..PublishJob::new(model, items, StoreAt::Embedded(place.join("store"))) }, place, desk)
}

fn source(data: &Path) -> Source {
    Source {
        interactions: vec![data.join("interactions.csv")],
        items: Some(data.join("items.csv")),
        users: Some(data.join("users.csv")),
        withdrawn: None,
        format: Format::Personalize,
        event: EventValue::Completion,
        since: None,
    }
}

fn ask() -> Ask {
    let convention = Convention::Spark;
    let (alpha, regularization) = convention.defaults();
    Ask {
        rank: RANK,
        iterations: ITERATIONS,
        convention,
        regularization,
        alpha,
        seed: SIZE.seed,
        event: EventValue::Completion,
        since: None,
        half_life: None,
    }
}

/// Runs a part, says what came of it, and keeps its document with the platform for later runs to tell of.
fn part(job: impl Job + 'static, place: &Path, desk: &Desk) -> Result<(), RunError> {
    let summary = Box::new(job).run(desk)?;
    let kept = Journal::open(&place.join(PARTS)).and_then(|mut parts| parts.append(&summary.document));
    if let Err(e) = kept {
        desk.say(format!("{}: {e}", place.join(PARTS).display()));
    }
    desk.tell(Event::Part { document: summary.document });
    summary.lines.into_iter().for_each(|line| desk.say(line));
    if desk.stop.requested() { Err(RunError::Stopped) } else { Ok(()) }
}

/// Starts the local stack on a platform; it ends with this process.
pub fn start(platform: &Path, desk: &Desk) -> Result<StackHandle, RunError> {
    start_with(platform, None, desk)
}

/// Starts the stack of a platform, perhaps with a second version; it ends with this process.
pub fn start_with(platform: &Path, canary: Option<CanarySpec>, desk: &Desk) -> Result<StackHandle, RunError> {
    let spec = StackSpec {
        home: desk.home.clone(),
        items: platform.join("items.catalogue"),
        store: format!("embedded:{}", platform.join("store").display()),
        model: Some(platform.join("model")),
        // A walk's stack is its own: it never meets another one at the usual place.
        listen: if canary.is_some() { any_address() } else { free_address() }
            .map_err(|e| RunError::cannot_tell(format!("no port is free on 127.0.0.1: {e}")))?,
        replicas: 1,
        attached: true,
        canary,
    };
    Ok(stack::up(&spec)?)
}

fn any_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

fn free_address() -> std::io::Result<SocketAddr> {
    let usual = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT));
    usual.or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?.local_addr()
}

/// Returns the short evening, aimed at the local stack.
fn load(url: &str, home: &Path) -> Result<Spec, RunError> {
    let scenario = library::open(Path::new(SCENARIO))?;
    let tokens = Tokens::hs256(secret::ensure(home)?.as_bytes());
    Ok(Spec::of(scenario, "local", Address::parse(url)?, Some(tokens)))
}
