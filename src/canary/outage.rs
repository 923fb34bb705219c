//! Made-up walks whose numbers fail for ten minutes while the first stage's time ends: nothing may rise or go back meanwhile.
//!
//! Here the walk's own rules take part, not the evidence alone: that it neither rises nor goes back is theirs.

use std::ops::Range;

use super::evening::LOOK_S;
use super::night::{Blind, Kind, Night, STAGES, Walked, Way};
use super::order::{Order, Seen};
use super::plan::Plan;
use super::walk::Walk;
use crate::judge::panel::SOAK_S;
use crate::judge::sequential::{Call, Look};

/// The first stage is held until minute 30.
const SILENT: Range<f64> = 1500.0..2100.0;

/// Returns the shares of all of them, and the mean time to go on.
pub fn mean(all: &[Blind]) -> Option<Blind> {
    let share = |of: fn(&Blind) -> f64| all.iter().map(of).sum::<f64>() / all.len() as f64;
    let after: Vec<f64> = all.iter().filter_map(|b| b.then_on_s).collect();
    let then_on_s = (!after.is_empty()).then(|| after.iter().sum::<f64>() / after.len() as f64);
    (!all.is_empty()).then(|| Blind { rolled_back: share(|b| b.rolled_back), went_on: share(|b| b.went_on), then_on_s })
}

pub(super) fn walk(kind: &Kind, way: Way, seed: u64) -> Walked {
    let mut night = Night::begin(kind, way, seed);
    let (mut walked, mut blind) = (Walked::default(), Blind::default());
    let Some(mut walk) = begun(way) else { return walked };
    let (mut begins, mut seen_s) = (true, 0.0);
    for look in 0..(kind.horizon_s / LOOK_S) as usize {
        let t = look as f64 * LOOK_S;
        let stage = walk.stage();
        let drawn = night.evening.next(t, way.groups[stage]);
        let silent = SILENT.contains(&t);
        let verdict = if silent {
            Call::CannotTell
        } else {
            night.feed(t, &drawn, way.groups[stage], (true, begins));
            (begins, seen_s) = (false, seen_s + LOOK_S);
            let soaked = seen_s >= SOAK_S;
            let weights = night.weigh(soaked);
            match (weights.rolls_back(), soaked && weights.is_healthy()) {
                (true, _) => Call::Rollback,
                (false, true) => Call::Go,
                (false, false) => Call::Wait,
            }
        };
        if stage == 0 && verdict == Call::Go {
            walked.go_s.get_or_insert(t + LOOK_S);
        }
        let judged = Look { t, verdict, reason: String::new(), evidence: Vec::new() };
        let now = t + LOOK_S;
        match walk.step(now, &Seen { share: walk.wanted().map(Ok), look: Some(&judged), ..Seen::default() }) {
            Order::Set { .. } => {
                if silent {
                    blind.went_on = 1.0;
                } else if t >= SILENT.end {
                    blind.then_on_s.get_or_insert(now - SILENT.end);
                }
                walk.step(now, &Seen { share: walk.wanted().map(Ok), ..Seen::default() });
                (begins, seen_s) = (true, 0.0);
            }
            Order::Back { .. } => {
                walked.rolled_back_s = Some(now);
                blind.rolled_back = f64::from(u8::from(silent));
                break;
            }
            Order::End(_) => break,
            Order::Begun { .. } | Order::Wait => {}
        }
    }
    walked.blind = Some(blind);
    walked
}

/// A walk whose first stage has begun.
fn begun(way: Way) -> Option<Walk> {
    let steps = if way.groups[0] == way.groups[STAGES - 1] { [10, 11, 12, 13, 14] } else { way.groups.map(|g| 10 * g) };
    let stages: String = steps.iter().map(|s| format!("[[stage]]\nshare='{s}%'\nhold='30m'\nlongest='2h'\n")).collect();
    let text = format!("[canary]\ntarget='made up'\ndriver='command'\nlook='10s'\n{stages}");
    let mut walk = Walk::new(&Plan::parse("made up", &text).ok()?);
    walk.step(0.0, &Seen::default());
    walk.step(0.0, &Seen { share: walk.wanted().map(Ok), ..Seen::default() });
    Some(walk)
}

#[cfg(test)]
mod tests {
    use super::super::simulate::kinds;
    use super::*;

    #[test]
    fn ten_minutes_without_numbers_neither_roll_back_nor_go_on() {
        let kind = kinds(50.0, 0.001).into_iter().find(|k| k.truth.noise.outage).expect("such a kind");
        let way = Way { groups: [1, 2, 3, 4, 5], warm_up_s: 0.0 };
        let until = Kind { horizon_s: SILENT.end + 600.0, ..kind };
        let all: Vec<Blind> = (0..12).filter_map(|seed| walk(&until, way, seed).blind).collect();
        let told = mean(&all).expect("walked");
        assert_eq!((told.rolled_back, told.went_on), (0.0, 0.0));
        assert!(told.then_on_s.is_some_and(|s| s < 120.0), "with numbers it goes on: {told:?}");
    }
}
