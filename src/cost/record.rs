//! What a way down writes before it acts, so that a kill loses nothing; and where it keeps it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::descend::Floor;
use super::plan::Plan;
use super::step::StepVerdict;

/// What must survive a kill; `Intent` is on the disk before the knob is turned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case")]
pub enum Record {
    Began {
        at: f64,
        capacity: u64,
    },
    Saw {
        from: f64,
        until: f64,
        units: f64,
    },
    Intent {
        at: f64,
        from: u64,
        to: u64,
        verdict: StepVerdict,
        reason: String,
    },
    Set {
        at: f64,
        capacity: u64,
    },
    Incident {
        at: f64,
        floor: Option<Floor>,
    },
    /// Somebody asked it to stay, or to go on.
    Held {
        at: f64,
        on: bool,
    },
    Ended {
        at: f64,
        reason: String,
    },
}

/// Where a way down keeps its journal and its lock.
#[derive(Clone, Debug)]
pub struct Place {
    pub journal: PathBuf,
    pub lock: PathBuf,
}

impl Place {
    /// One place a plan file: the same line goes on where it stopped.
    pub fn of(home: &Path, plan: &Plan) -> Self {
        let path = Path::new(&plan.name);
        let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let stem = path.file_stem().map_or_else(|| "plan".to_owned(), |s| s.to_string_lossy().into_owned());
        let name = format!("{stem}-{:08x}", crc32fast::hash(whole.to_string_lossy().as_bytes()));
        let folder = home.join("cost");
        Self { journal: folder.join(format!("{name}.journal")), lock: folder.join(format!("{name}.lock")) }
    }
}
