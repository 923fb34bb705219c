//! What a walk writes down before it acts, and what such a journal says of an earlier life.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::CanaryError;
use super::order::{Ending, Wish};
use crate::durable;
use crate::journal;
use crate::judge::verdict::Verdict;

/// The journal's name in the folder of its run, and that of what others ask of the walk.
const JOURNAL: &str = "walk.jsonl";
const WISHES: &str = "wishes.jsonl";

/// One line of the journal; `at` is RFC 3339. Synced before the act that it announces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case")]
pub enum Record {
    Began {
        at: String,
        target: String,
        plan: String,
        name: String,
    },
    /// This share is about to be set; the stage counts from 1.
    Meant {
        at: String,
        stage: usize,
        share: f64,
        why: String,
    },
    /// It was read back.
    Verified {
        at: String,
        stage: usize,
        share: f64,
    },
    Approved {
        at: String,
        stage: usize,
    },
    /// This share is about to be set on the way back.
    Back {
        at: String,
        stage: usize,
        share: f64,
        ending: Ending,
    },
    Ended {
        at: String,
        share: Option<f64>,
        ending: Ending,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    pub at: String,
    pub wish: Wish,
}

/// Where one walk keeps its journal and hears of wishes.
#[derive(Clone, Debug)]
pub struct Place {
    pub folder: PathBuf,
}

impl Place {
    pub fn journal(&self) -> PathBuf {
        self.folder.join(JOURNAL)
    }

    pub fn wishes(&self) -> PathBuf {
        self.folder.join(WISHES)
    }

    pub fn read(&self) -> Result<Vec<Record>, CanaryError> {
        journal::read(&self.journal()).map_err(|e| CanaryError::journal(&self.journal(), &e))
    }

    /// Tells the walk, alive or not, what somebody wants of it; on the disk when this returns.
    pub fn ask(&self, wish: Wish) -> Result<(), CanaryError> {
        let path = self.wishes();
        let failed = |e: std::io::Error| CanaryError::journal(&path, &e);
        let asked = Asked { at: now(), wish };
        journal::Journal::open(&path).map_err(failed)?.append(&asked).map_err(failed)
    }

    /// Returns the wishes so far; none without a file.
    pub fn asked(&self) -> Vec<Wish> {
        journal::read::<Asked>(&self.wishes())
            .map_or_else(|_| Vec::new(), |all| all.into_iter().map(|a| a.wish).collect())
    }
}

/// Where the walks of one target meet: one lock, and a pointer to the last of them.
#[derive(Clone, Debug)]
pub struct Meeting {
    folder: PathBuf,
    name: String,
}

impl Meeting {
    pub fn of(home: &Path, target: &str) -> Self {
        let fair = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
        let name =
            format!("{}-{:08x}", target.chars().map(fair).collect::<String>(), crc32fast::hash(target.as_bytes()));
        Self { folder: home.join("canary"), name }
    }

    pub fn lock(&self) -> PathBuf {
        self.folder.join(format!("{}.lock", self.name))
    }

    fn pointer(&self) -> PathBuf {
        self.folder.join(format!("{}.last", self.name))
    }

    /// Points to this walk as the target's last one.
    pub fn point(&self, place: &Place) -> std::io::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        durable::write(&self.pointer(), std::path::absolute(&place.folder)?.as_os_str().as_encoded_bytes())
    }

    /// Returns the target's last walk, where its journal is still there.
    pub fn last(&self) -> Option<Place> {
        let folder = PathBuf::from(std::fs::read_to_string(self.pointer()).ok()?);
        let place = Place { folder };
        place.journal().is_file().then_some(place)
    }
}

/// What a journal tells of a walk.
#[derive(Clone, Debug, PartialEq)]
pub struct Past {
    pub target: String,
    /// The plan's text and the name of its file.
    pub plan: String,
    pub name: String,
    pub began: String,
    pub step: PastStep,
    /// Stages that were left, with the reason of the next one; and the stage that was approved, counted from 1.
    pub approved: Option<usize>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum PastStep {
    /// Nothing was set.
    Nothing,
    /// This stage's share was at least about to be set; counted from zero.
    At {
        stage: usize,
    },
    /// On the way back.
    Back {
        stage: usize,
        ending: Ending,
    },
    Ended {
        stage: usize,
        share: Option<f64>,
        ending: Ending,
    },
}

impl Past {
    /// Returns what whole records say; `None` where not even the first was written.
    pub fn of(records: &[Record]) -> Option<Self> {
        let mut past = None;
        for record in records {
            if let Record::Began { at, target, plan, name } = record {
                past = Some(Self {
                    target: target.clone(),
                    plan: plan.clone(),
                    name: name.clone(),
                    began: at.clone(),
                    step: PastStep::Nothing,
                    approved: None,
                });
                continue;
            }
            let past = past.as_mut()?;
            match record {
                Record::Meant { stage, .. } | Record::Verified { stage, .. } => {
                    past.step = PastStep::At { stage: stage.saturating_sub(1) };
                }
                Record::Approved { stage, .. } => past.approved = Some(*stage),
                Record::Back { stage, ending, .. } => {
                    past.step = PastStep::Back { stage: stage.saturating_sub(1), ending: ending.clone() };
                }
                Record::Ended { share, ending, .. } => {
                    past.step = PastStep::Ended { stage: past.step.stage(), share: *share, ending: ending.clone() };
                }
                Record::Began { .. } => {}
            }
        }
        past
    }

    /// Whether traffic may still stand where this walk put it, with nobody to guard it.
    pub fn is_open(&self) -> bool {
        match &self.step {
            PastStep::Nothing => false,
            PastStep::At { .. } | PastStep::Back { .. } => true,
            PastStep::Ended { ending, .. } => ending.verdict == Verdict::CannotTell && !ending.rolled_back,
        }
    }
}

impl PastStep {
    pub fn stage(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::At { stage } | Self::Back { stage, .. } | Self::Ended { stage, .. } => *stage,
        }
    }
}

/// The time now, RFC 3339 in seconds.
pub fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
