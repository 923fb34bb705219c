//! Looks for a new generation or a new catalogue while serving, and swaps the world whole; what is bad is left where it is.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, SystemTime};

use super::api::Api;
use super::catalogue::Catalogue;
use super::error::ServeError;
use super::stores::embedded;
use super::world::World;
use crate::model::files::Model;
use crate::stop::Stop;

/// A model switch shall show within a tenth of a second.
const EACH: Duration = Duration::from_millis(25);

/// Where a world comes from.
#[derive(Clone, Debug)]
pub struct Sources {
    pub items: PathBuf,
    pub store: Option<PathBuf>,
    pub model: Option<PathBuf>,
}

/// What the sources looked like when they were last read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    items: Option<(SystemTime, u64)>,
    generation: Option<String>,
    model: Option<SystemTime>,
}

impl Sources {
    /// Reads everything anew; an error leaves nothing half read.
    pub fn open(&self) -> Result<World, ServeError> {
        let catalogue = Arc::new(Catalogue::open(&self.items)?);
        let generation = self.store.as_deref().map(embedded::open).transpose()?.map(Arc::new);
        let model = self.model.as_deref().map(Model::open).transpose();
        let model = model.map_err(|e| ServeError::Setting(e.to_string()))?;
        World::new(catalogue, generation, model)
    }

    fn look(&self) -> Seen {
        let items = std::fs::metadata(&self.items).ok().and_then(|m| Some((m.modified().ok()?, m.len())));
        let generation = self.store.as_ref().and_then(|s| embedded::current(s).ok().flatten());
        let model = self.model.as_ref().and_then(|m| std::fs::metadata(m).ok()?.modified().ok());
        Seen { items, generation, model }
    }
}

/// Starts the thread that keeps the world fresh until `stop`.
pub fn keep_fresh(sources: Sources, api: Arc<Api>, stop: Stop) -> std::io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name("refresh".to_owned()).spawn(move || {
        let mut seen = sources.look();
        while !stop.requested() {
            thread::sleep(EACH);
            let now = sources.look();
            if now == seen {
                continue;
            }
            match sources.open() {
                Ok(world) => {
                    let generation = now.generation.as_deref().unwrap_or("none");
                    log(format_args!("refreshed: {} programmes, generation {generation}", world.catalogue.len()));
                    api.world.store(Arc::new(world));
                }
                Err(error) => {
                    api.meter.refreshes_failed.fetch_add(1, Relaxed);
                    log(format_args!("not refreshed, what was there serves on: {error}"));
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
