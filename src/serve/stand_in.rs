//! What everybody gets, kept from when the store was last read: a process that starts without its lists has something to answer.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::catalogue::Catalogue;
use super::world::{GONE, StandIn, World};
use crate::durable;

/// Programmes that are answered where nothing was kept: the first of the catalogue.
const FIRST: u32 = 500;

#[derive(Serialize, Deserialize)]
struct Kept {
    model: String,
    /// Ids and scores, most popular first.
    popular: Vec<(String, f32)>,
}

fn place(folder: &Path) -> PathBuf {
    folder.join("popular.json")
}

/// Keeps what everybody gets of a world that has lists; a folder that takes nothing is only warned of.
pub fn keep(folder: &Path, world: &World) {
    if world.shelf.is_none() {
        return;
    }
    if let Err(error) = write(folder, world) {
        tracing::warn!(%error, "what everybody gets could not be kept for the next start");
    }
}

fn write(folder: &Path, world: &World) -> std::io::Result<()> {
    let popular = world.popular.iter().map(|(p, score)| (world.catalogue.id(*p).to_owned(), *score)).collect();
    let kept = Kept { model: world.model.clone(), popular };
    std::fs::create_dir_all(folder)?;
    durable::write(&place(folder), &serde_json::to_vec(&kept)?)
}

/// Returns what was kept, as far as the catalogue holds it; else the catalogue's first.
pub fn recall(folder: &Path, catalogue: &Catalogue) -> StandIn {
    let kept = std::fs::read(place(folder)).ok().and_then(|text| serde_json::from_slice::<Kept>(&text).ok());
    let known = |kept: Kept| {
        let indexed = kept.popular.iter().map(|(id, score)| (catalogue.index(id).unwrap_or(GONE), *score));
        let popular: Vec<_> = indexed.filter(|(index, _)| *index != GONE).collect();
        (!popular.is_empty()).then_some(StandIn { popular, model: kept.model, known: true })
    };
    kept.and_then(known).unwrap_or_else(|| {
        let first = 0..FIRST.min(catalogue.len() as u32);
        StandIn { popular: first.map(|index| (index, 0.0)).collect(), model: "null".to_owned(), known: false }
    })
}
