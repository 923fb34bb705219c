//! The last stage has no baseline left: what the canary shows alone, in the last minute.

use std::collections::VecDeque;

use crate::judge::interval::Side;
use crate::judge::sequential::{Call, Look};
use crate::judge::usual::percent;

const WINDOW_S: f64 = 60.0;
/// Fewer failures or requests than these say nothing.
const LEAST_ERRORS: f64 = 5.0;
const LEAST: f64 = 200.0;

#[derive(Clone, Debug, Default)]
pub struct Solo {
    ill: f64,
    /// When, errors, requests.
    lately: VecDeque<(f64, f64, f64)>,
}

impl Solo {
    /// `ill` is the share of errors that no service may have, whatever it is compared with.
    pub fn new(ill: f64) -> Self {
        Self { ill, lately: VecDeque::new() }
    }

    pub fn look(&mut self, t: f64, canary: Option<&Side>) -> Look {
        let told = |verdict, reason| Look { t, verdict, reason, evidence: Vec::new() };
        let Some(side) = canary.filter(|s| s.requests > 0.0) else {
            return told(Call::CannotTell, "everybody is in the canary, and it has no numbers".to_owned());
        };
        self.lately.push_back((t, side.errors, side.requests));
        while self.lately.front().is_some_and(|l| l.0 <= t - WINDOW_S) {
            self.lately.pop_front();
        }
        let errors: f64 = self.lately.iter().map(|l| l.1).sum();
        let requests: f64 = self.lately.iter().map(|l| l.2).sum();
        let share = percent(errors / requests);
        if errors >= LEAST_ERRORS && errors >= self.ill * requests {
            let reason = format!("everybody is in the canary, and {share} of {requests:.0} requests fail");
            return told(Call::Rollback, reason);
        }
        if requests < LEAST {
            return told(
                Call::Wait,
                format!("everybody is in the canary: {requests:.0} requests so far, {share} fail"),
            );
        }
        let reason =
            format!("everybody is in the canary, nobody is left to compare with: {share} of {requests:.0} fail");
        told(Call::Go, reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alone_it_is_held_to_what_no_service_may_have() {
        let side = |requests, errors| Side { requests, errors, ..Side::default() };
        let mut solo = Solo::new(0.03);
        assert_eq!(solo.look(0.0, None).verdict, Call::CannotTell);
        assert_eq!(solo.look(10.0, Some(&side(100.0, 1.0))).verdict, Call::Wait);
        assert_eq!(solo.look(20.0, Some(&side(500.0, 1.0))).verdict, Call::Go);
        assert_eq!(solo.look(30.0, Some(&side(500.0, 60.0))).verdict, Call::Rollback);
    }
}
