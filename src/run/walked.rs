//! A canary walk folded for the faces: its road, how each stage was left, where it stands, and both sides' latency over time.

use crate::canary::told::{Road, View};
use crate::judge::sequential::{Call, Exhibit};

/// Latency is kept at this many moments at most; older ones are thinned to every second.
const MOST: usize = 600;

/// One stage, as far as it was held.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Held {
    pub seconds: f64,
    pub last: Option<Call>,
}

#[derive(Clone, Debug, Default)]
pub struct Walked {
    pub road: Road,
    pub view: Option<View>,
    /// The numbers of the last look that had any.
    pub evidence: Vec<Exhibit>,
    pub stages: Vec<Held>,
    /// Second of the walk, p99 of the canary and of the baseline.
    pub p99: Vec<(f64, Option<f64>, Option<f64>)>,
}

impl Walked {
    pub fn new(road: &Road) -> Self {
        Self { road: road.clone(), stages: vec![Held::default(); road.stages.len()], ..Self::default() }
    }

    pub fn hear(&mut self, view: &View) {
        if view.phase == "soaking"
            && let Some(held) = self.stages.get_mut(view.stage.saturating_sub(1))
        {
            *held = Held { seconds: view.held_s, last: view.verdict.or(held.last) };
        }
        if !view.evidence.is_empty() {
            self.evidence.clone_from(&view.evidence);
        }
        if view.verdict.is_some() {
            if self.p99.len() >= MOST {
                let mut keep = false;
                self.p99.retain(|_| {
                    keep = !keep;
                    keep
                });
            }
            self.p99.push((view.t, view.p99_ms.0, view.p99_ms.1));
        }
        // What a look said stands until the next one.
        let verdict = view.verdict.or(self.view.as_ref().and_then(|v| v.verdict));
        self.view = Some(View { verdict, ..view.clone() });
    }
}
