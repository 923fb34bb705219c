//! A made-up evening and the judge that watches it: what every simulated walk is made of.

use serde::Serialize;

use super::evening::{Evening, GROUPS, Group, LOOK_S, Truth};
use crate::judge::evidence::{Counts, Margin};
use crate::judge::guard::Guard;
use crate::judge::panel::{Panel, Reading, Weights};

pub const STAGES: usize = 5;
pub const STAGE_S: f64 = 1800.0;
pub const WALK_S: f64 = STAGE_S * STAGES as f64;

/// A kind of evening, many of which are walked.
#[derive(Clone, Debug)]
pub struct Kind {
    pub name: &'static str,
    pub truth: Truth,
    /// Harm is looked for this long; healthy evenings last the whole walk.
    pub horizon_s: f64,
    /// The baseline is cut into so many slices at most.
    pub slices: usize,
    /// What the recipe that this judge began from was measured at, by its own simulation: one canary of 10 % in all stages,
    /// cold, or after ten minutes of warm-up (w).
    pub recipe: &'static str,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Walked {
    pub rolled_back_s: Option<f64>,
    pub go_s: Option<f64>,
    pub harmed: f64,
    pub blind: Option<Blind>,
}

/// What a walk did while nobody told it any numbers, as a share of walks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Blind {
    pub rolled_back: f64,
    pub went_on: f64,
    /// From the first numbers to the next stage.
    pub then_on_s: Option<f64>,
}

/// How each walk goes.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// Tenths of the viewers in each stage.
    pub groups: [usize; STAGES],
    /// Seconds in which the baseline alone is listened to before.
    pub warm_up_s: f64,
}

/// An evening, and the judge that watches it.
pub(super) struct Night {
    pub evening: Evening,
    panel: Panel,
    margins: [Margin; 3],
    slices: usize,
}

impl Night {
    /// Draws the evening, and listens to the baseline alone where that is asked.
    pub fn begin(kind: &Kind, way: Way, seed: u64) -> Self {
        let canary = way.groups[0];
        let slices = kind.slices.min(GROUPS - canary);
        let evening = Evening::new(kind.truth, WALK_S, seed);
        let panel = Panel::new(&Guard::usual(), slices, WALK_S);
        let mut night = Self { evening, panel, margins: margins(kind.truth.errors), slices };
        let looks = (way.warm_up_s / LOOK_S) as usize;
        for look in 0..looks {
            let t = (look as f64 - looks as f64) * LOOK_S;
            let drawn = night.evening.next(t, canary);
            night.feed(t, &drawn, canary, (false, false));
        }
        night
    }

    /// A glance bounds the evidence from above: all of it is weighed only when that would decide.
    pub fn weigh(&self, soaked: bool) -> Weights {
        let bound = self.panel.glance(soaked);
        if bound.rolls_back() || soaked && bound.is_healthy() { self.panel.weigh() } else { bound }
    }

    pub fn feed(&mut self, t: f64, drawn: &[Group; GROUPS], canary: usize, (seen, begins): (bool, bool)) {
        let counted: [fn(&Group) -> f64; 3] = [|g| g.errors, |g| g.slow95, |g| g.slow99];
        let used = self.slices.min(GROUPS - canary);
        let mut slices = [[(0.0, 0.0); GROUPS]; 3];
        let mut sides = [((0.0, 0.0), (0.0, 0.0)); 3];
        for (i, count) in counted.iter().enumerate() {
            let sum = |groups: &[Group]| groups.iter().fold((0.0, 0.0), |(k, n), g| (k + count(g), n + g.requests));
            for (j, group) in drawn[canary..].iter().enumerate().filter(|_| used > 0) {
                let slice = &mut slices[i][j % used];
                *slice = (slice.0 + count(group), slice.1 + group.requests);
            }
            let (own, rest) = drawn.split_at(canary);
            sides[i] = (sum(own), sum(rest));
        }
        let readings: [Option<Reading<'_>>; 3] = std::array::from_fn(|i| {
            let (canary, baseline) = sides[i];
            let counts = Counts { canary, baseline, slices: &slices[i][..used] };
            Some(Reading { counts, margin: self.margins[i] })
        });
        // Whether the canary has numbers, and a stage begins.
        self.panel.feed(t, &readings, seen, begins);
    }
}

/// What the usual guards mean on this truth: errors x1.5 or +0.1 points; p95 and p99 +10 % of a lognormal.
fn margins(errors: f64) -> [Margin; 3] {
    let harm = (1.0 + Guard::ERROR_POINTS / errors).max(1.5);
    [harm, 1.37, 1.51].map(|harm| Margin { tolerated: 1.0, harm })
}
