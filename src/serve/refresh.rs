//! Looks for a new generation or a new catalogue while serving, and swaps the world whole; what is bad is left where it is.

use std::io::Write;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::api::{Api, now_s};
use super::catalogue::Catalogue;
use super::error::ServeError;
use super::expression::Filters;
use super::rules::Rules;
use super::stand_in;
use super::stores::embedded;
use super::stores::remote::{Afar, Distant, Watcher};
use super::viewers::Viewers;
use super::world::{Held, Lack, World};
use crate::model::consent::Consent;
use crate::model::files::Model;
use crate::stop::Stop;

/// A model switch shall show within a tenth of a second.
const EACH: Duration = Duration::from_millis(25);

/// Where a world comes from.
#[derive(Clone, Debug)]
pub struct Sources {
    pub items: PathBuf,
    pub store: Option<Lists>,
    pub model: Option<PathBuf>,
    /// Who agreed.
    pub users: Option<PathBuf>,
    /// Named filters of the Personalize wire.
    pub filters: Option<PathBuf>,
    /// Boosts, promotions, caps, freshness and exploration.
    pub rules: Option<PathBuf>,
}

/// Where the lists lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lists {
    Here(PathBuf),
    There(Afar),
}

/// How often a store elsewhere is asked for its pointer.
const EACH_AFAR: Duration = Duration::from_millis(500);

/// How long a refresh that failed waits until it is tried again, doubled each time up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What tells one state of a file or folder from another: a time alone may stay the same.
type Mark = (SystemTime, u64, u64);

/// What the sources looked like when they were last read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    items: Option<Mark>,
    generation: Option<String>,
    model: Option<Mark>,
    users: Option<Mark>,
    filters: Option<Mark>,
    rules: Option<Mark>,
}

fn mark(path: &Path) -> Option<Mark> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len(), meta.ino()))
}

impl Sources {
    /// Reads everything anew; an error leaves nothing half read.
    pub fn open(&self) -> Result<World, ServeError> {
        self.read(None)
    }

    /// The same for a start: where the store is down, empty or damaged, a generation before or what was kept in `folder`
    /// stands in for its lists.
    pub fn begin(&self, folder: &Path) -> Result<World, ServeError> {
        let world = self.read(Some(folder))?;
        stand_in::keep(folder, &world);
        Ok(world)
    }

    fn read(&self, stand_in: Option<&Path>) -> Result<World, ServeError> {
        let catalogue = Arc::new(Catalogue::open(&self.items)?);
        let mut lack = None;
        let held = match &self.store {
            Some(Lists::Here(path)) => match (embedded::open(path), stand_in) {
                (Err(error @ ServeError::NothingPublished { .. }), Some(_)) => {
                    log(format_args!("there are no lists yet, the popular list is answered until there are: {error}"));
                    lack = Some(Lack::Unpublished);
                    None
                }
                (Err(error @ (ServeError::DamagedStore { .. } | ServeError::Io { .. })), Some(_)) => {
                    lack = Some(Lack::Unreadable);
                    let before = embedded::whole_before(path);
                    let serves = before.as_ref().map_or("the popular list", |g| &g.name);
                    log(format_args!("the lists cannot be read, {serves} serves until they can: {error}"));
                    before.map(Held::Here)
                }
                (told, _) => Some(Held::Here(told?)),
            },
            Some(Lists::There(afar)) => match (Distant::open(afar), stand_in) {
                (Err(error @ ServeError::TableFailed { .. }), Some(_)) => {
                    log(format_args!("the store is down, the popular list is answered until it is back: {error}"));
                    lack = Some(Lack::Down);
                    None
                }
                (told, _) => Some(Held::There(told?)),
            },
            None => None,
        };
        let model = self.model.as_deref().map(Model::open).transpose();
        let model = model.map_err(|e| ServeError::Setting(e.to_string()))?;
        let consent = self.users.as_deref().map(Consent::read).transpose();
        let consent = consent.map_err(|e| ServeError::Setting(e.to_string()))?.unwrap_or_default();
        let filters = self.filters.as_deref().map(|path| Filters::open(path, &catalogue)).transpose()?;
        let rules = self.rules.as_deref().map(|path| Rules::open(path, &catalogue)).transpose()?;
        let filters = filters.unwrap_or_default();
        let fields = filters.viewer_fields();
        let viewers = match &self.users {
            _ if fields.is_empty() => Viewers::default(),
            Some(path) => Viewers::read(path, &fields)?,
            None => {
                let what = format!("a filter looks at CurrentUser.{}; name the users file with --users", fields[0]);
                return Err(ServeError::Setting(what));
            }
        };
        let world = match (lack, stand_in) {
            (Some(lack), Some(folder)) if held.is_none() => {
                let stand_in = stand_in::recall(folder, &catalogue);
                World::without_lists(catalogue, model, consent, filters, lack, stand_in)
            }
            _ => World { lack, ..World::new(catalogue, held, model, consent, filters)? },
        };
        Ok(World { viewers, rules, ..world })
    }

    fn look(&self, pointer: &mut Pointer) -> Seen {
        let generation = match &self.store {
            Some(Lists::Here(path)) => embedded::current(path).ok().flatten(),
            Some(Lists::There(afar)) => pointer.look(afar),
            None => None,
        };
        // The manifest is made anew with each model: its inode changes even where the time does not.
        let model = self.model.as_ref().and_then(|folder| mark(&folder.join("model.json")));
        Seen {
            items: mark(&self.items),
            generation,
            model,
            users: self.users.as_deref().and_then(mark),
            filters: self.filters.as_deref().and_then(mark),
            rules: self.rules.as_deref().and_then(mark),
        }
    }
}

/// What a store elsewhere said last of its pointer; asked seldom, and what it does not say changes nothing.
#[derive(Default)]
struct Pointer {
    watcher: Watcher,
    asked: Option<Instant>,
    said: Option<String>,
}

impl Pointer {
    fn look(&mut self, afar: &Afar) -> Option<String> {
        if self.asked.is_none_or(|at| at.elapsed() >= EACH_AFAR) {
            self.asked = Some(Instant::now());
            match self.watcher.current(afar) {
                Ok(generation) => self.said = Some(format!("generation {generation}")),
                Err(error) => tracing::warn!(%error, "the store does not say which lists serve; those held serve on"),
            }
        }
        self.said.clone()
    }
}

/// Starts the thread that keeps the world fresh until `stop`.
pub fn keep_fresh(
    sources: Sources,
    folder: PathBuf,
    api: Arc<Api>,
    stop: Stop,
) -> std::io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name("refresh".to_owned()).spawn(move || {
        let mut pointer = Pointer::default();
        let mut seen = sources.look(&mut pointer);
        // What could not be read at the start may be mended where it lies: the pointer need not move for that.
        let lacks = api.world.load().lack.is_some() && matches!(sources.store, Some(Lists::Here(_)));
        let mut again = lacks.then(|| (Instant::now() + FIRST_PAUSE, FIRST_PAUSE));
        while !stop.requested() {
            thread::sleep(EACH);
            if let Err(error) = api.recent.catch_up(now_s()) {
                tracing::warn!(%error, "what other replicas took in could not be read");
            }
            let now = sources.look(&mut pointer);
            let due = again.is_some_and(|(at, _)| Instant::now() >= at);
            if now == seen && !due {
                continue;
            }
            match sources.open() {
                Ok(world) => {
                    // Before it serves: whoever saw it serve finds it kept, also when this process dies at once.
                    stand_in::keep(&folder, &world);
                    let generation = now.generation.as_deref().unwrap_or("none");
                    log(format_args!("refreshed: {} programmes, generation {generation}", world.catalogue.len()));
                    let until = world.knows_until();
                    api.world.store(Arc::new(world));
                    api.recent.prune(until);
                    again = None;
                }
                Err(error) => {
                    api.meter.refreshes_failed.fetch_add(1, Relaxed);
                    log(format_args!("not refreshed, what was there serves on: {error}"));
                    let pause = again.filter(|_| now == seen).map_or(FIRST_PAUSE, |(_, p)| (p * 2).min(LONGEST_PAUSE));
                    again = Some((Instant::now() + pause, pause));
                }
            }
            seen = now;
        }
    })
}

/// Says it on stderr; that nobody reads there any more must not end the thread.
fn log(line: std::fmt::Arguments) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
