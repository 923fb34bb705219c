//! What happens, whoever does it: plain data that screen, plain lines, journal and report all read.

use serde::{Deserialize, Serialize};

use super::summary::Summary;
use crate::canary::told::{Road, View};
use crate::cost::{self, step::Step};
use crate::load::tick::{LoadPlan, Tick};
use crate::stats::progress::Progress;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The first record of every journal.
    Began(Began),
    /// A part of the job began: "train", "publish", "evening".
    Phase {
        name: String,
    },
    Progress(Progress),
    /// One whole sentence for a person.
    Said {
        text: String,
    },
    /// Something worth keeping on the time line: a stage, a throttle, a switch.
    Happened(Happened),
    LoadPlan(LoadPlan),
    Tick(Box<Tick>),
    /// A step of the way down, when it begins and once more when it has ended (same `at`).
    CostStep(Box<Step>),
    /// The way down that is going to be walked.
    CostRoad(Box<cost::told::Road>),
    /// Where it stands, a look each.
    CostView(Box<cost::told::View>),
    /// The stages that a canary is going to walk.
    CanaryRoad(Box<Road>),
    /// Where it stands, a look each.
    CanaryView(Box<View>),
    /// A part of the job has its summary: the document that its own command would print.
    Part {
        document: serde_json::Value,
    },
    /// The last record: the job has its summary.
    Ended(Box<Summary>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Began {
    /// "load", "canary", "evening", ...
    pub kind: String,
    pub title: String,
    /// The line that repeats this run.
    pub command: String,
    /// RFC 3339.
    pub at: String,
    pub version: String,
    pub host: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Happened {
    /// RFC 3339.
    pub at: String,
    /// Who: "canary", "publish", "campaign", ...
    pub source: String,
    pub text: String,
    /// `Some(true)` good, `Some(false)` bad, `None` neither.
    pub good: Option<bool>,
}

impl Event {
    pub fn said(text: impl Into<String>) -> Self {
        Self::Said { text: text.into() }
    }

    pub fn phase(name: impl Into<String>) -> Self {
        Self::Phase { name: name.into() }
    }
}
