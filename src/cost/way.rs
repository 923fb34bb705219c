//! A way down under way: everything that its parts look at and change; and what each of them does in the same way.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::descend::{Order, Planner};
use super::error::CostError;
use super::knob::{Knob, Rhythm};
use super::ledger::Ledger;
use super::plan::Plan;
use super::proof::Proving;
use super::record::{Place, Record};
use super::simulate::Walk;
use super::step::StepVerdict;
use super::tariff::PriceUsed;
use super::told::View;
use super::view;
use crate::journal::Journal;
use crate::judge::verdict::Verdict;
use crate::stop::Stop;

/// Between two views, unless something happened.
const VIEW: Duration = Duration::from_millis(200);

/// Why it ended by itself.
pub(super) type Ended = (Verdict, String);

/// Demand since it was last written down.
#[derive(Default)]
pub(super) struct Piece {
    pub from: f64,
    pub until: f64,
    pub units: f64,
}

/// Demand that this way down makes itself: it is not learnt from.
#[derive(Clone, Copy)]
pub(super) struct OwnLoad {
    pub units: f64,
    pub beside: f64,
    pub until: f64,
}

pub(super) struct Way<'a> {
    pub plan: Plan,
    pub planner: Planner,
    pub per_request: f64,
    pub knob: Box<dyn Knob>,
    pub place: Place,
    pub journal: Journal,
    pub ledger: Ledger<'a>,
    pub rhythm: Rhythm,
    pub seen: Piece,
    pub read_at: Instant,
    pub over_since: Option<f64>,
    /// Since when each look has seen a throttle.
    pub broke_at: Option<f64>,
    pub price: PriceUsed,
    pub show: &'a mut dyn FnMut(View),
    pub shown: Option<Instant>,
    pub busy: &'a mut dyn FnMut() -> Option<String>,
    pub busy_at: Option<(Instant, Option<String>)>,
    pub wishes: Option<PathBuf>,
    /// So many wishes were heard already.
    pub heard: usize,
    /// A step that is being proved.
    pub proving: Option<Proving>,
    /// The load of a proof, until the meter has forgotten it: units a second, the demand beside it, and until when.
    pub own_load: Option<OwnLoad>,
    /// Moments of the demand from which on it may mean another time, with the reason.
    pub doubts: Vec<(f64, String)>,
    /// Where each step down came from, so that it can be undone.
    pub climbed: Vec<u64>,
    pub blind_since: Option<f64>,
    /// The end of the recorded demand that the planner began with.
    pub learnt: f64,
    pub walk: Walk,
    pub stop: Stop,
    pub say: &'a mut dyn FnMut(String),
}

impl Way<'_> {
    pub fn begin(&mut self, now: f64, order: &Order) {
        self.shown = None;
        self.ledger.begin(now, order);
    }

    pub fn write(&mut self, record: &Record) -> Result<(), CostError> {
        self.journal.append(record).map_err(|e| unreadable(&self.place, &e))
    }

    /// Tells where it stands, not more often than anybody can see.
    pub fn view(&mut self, now: f64) {
        if self.shown.is_some_and(|at| at.elapsed() < VIEW) {
            return;
        }
        self.shown = Some(Instant::now());
        let view = view::of(now, self.plan.start, &self.planner, &self.ledger, &self.walk, &self.price);
        (self.show)(view);
    }

    pub fn foreign(&mut self, now: f64, expected: u64, reading: u64) -> Ended {
        let reason = format!(
            "another program set {reading} where {expected} {} was set by this way down: held, not fought over",
            self.plan.unit.name
        );
        self.planner.stayed(now, reading);
        self.begin(now, &Order { to: reading, verdict: StepVerdict::Hold, reason: reason.clone() });
        let journal = self.place.journal.display();
        (Verdict::No, format!("{reason}; set {expected} again, or remove {journal} to start anew from what is set"))
    }
}

pub(super) fn unreadable(place: &Place, e: &std::io::Error) -> CostError {
    CostError::Journal { path: place.journal.clone(), why: e.to_string() }
}
