//! Whether the generator itself kept its word: valid, suspect or invalid, each with its reason.

use crate::stats::histogram::Histogram;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Valid,
    /// Worth a look; the verdict stands.
    Suspect,
    /// What was measured says more about the generator than about the target.
    Invalid,
}

impl State {
    pub fn word(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Suspect => "suspect",
            Self::Invalid => "invalid",
        }
    }
}

/// What a run knows of its own generator.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// Due to ready-to-send.
    pub late: Histogram,
    /// Mean share of one core, over all workers.
    pub cpu_share: f64,
    pub steal_share: f64,
    pub run_queue_ms: f64,
    /// Seconds that the machine itself slept in the run, and by how many its wall clock was set.
    pub slept_s: f64,
    pub clock_step_s: f64,
    /// The steps in which its clock goes, where they are coarse.
    pub clock_grain_ms: f64,
    /// What the target is said to have taken.
    pub latency_p90_ms: Option<f64>,
    pub latency_p99_ms: Option<f64>,
    pub seconds: f64,
    /// `--rate max`: nothing is due, so nothing is late.
    pub closed: bool,
    pub workers: u32,
}

/// More than a tenth of all requests this late is no hiccup: the schedule was not kept.
const INVALID_P90_MS: f64 = 10.0;
/// One in a hundred this late puts the generator's own pauses into the tail that is judged.
const INVALID_P99_MS: f64 = 100.0;
/// Above that, lateness that is most of what was measured for a tenth of the requests leaves nothing to judge.
const SPOILED_P90_MS: f64 = 5.0;
const SUSPECT_P99_MS: f64 = 5.0;
/// Below that, lateness is looked at only where it is most of what was measured: latency counts from the due time.
const NOTED_P99_MS: f64 = 1.0;
const MOST_OF_LATENCY: f64 = 0.5;
/// Times in coarser steps than this are no measurements of a service that answers within a millisecond or two.
const COARSE_MS: f64 = 0.1;

pub fn judge(h: &Health) -> (State, String) {
    if h.slept_s > 0.0 {
        return (State::Invalid, format!("the machine itself slept for {:.1} s in the run", h.slept_s));
    }
    let (state, reason) = kept(h);
    if h.clock_grain_ms > COARSE_MS && state != State::Invalid {
        let grain = h.clock_grain_ms;
        return (
            State::Suspect,
            format!("{reason}; this machine's clock goes in steps of {grain:.1} ms: so does every time here"),
        );
    }
    if h.clock_step_s == 0.0 || state == State::Invalid {
        return (state, reason);
    }
    // Times here come from the steady clock; tokens, signatures and logs do not.
    let set = format!(
        "the wall clock was set by {:+.1} s in the run: times here are right, tokens and logs may not be",
        h.clock_step_s
    );
    (State::Suspect, format!("{reason}; {set}"))
}

/// Whether the schedule was kept.
fn kept(h: &Health) -> (State, String) {
    if h.closed {
        let busy = h.cpu_share / f64::from(h.workers.max(1));
        if busy > 0.95 {
            let reason = format!("the generator used {:.0} % of its CPU: the target may bear more", busy * 100.0);
            return (State::Suspect, reason);
        }
        return (State::Valid, "every connection asked as soon as it was answered".to_owned());
    }
    let at = |q| h.late.quantile(q).map_or(0.0, |m| m.0);
    let (p50, p90, p99) = (at(0.5), at(0.9), at(0.99));
    let cause = || {
        let waited = h.run_queue_ms / 1000.0 / h.seconds.max(1e-9);
        if h.cpu_share > 0.9 * f64::from(h.workers.max(1)) {
            format!("it used {:.2} of a core and needed more", h.cpu_share)
        } else if h.steal_share > 0.2 {
            format!("others on this host took {:.2} of a core", h.steal_share)
        } else if waited > 0.05 {
            format!("it stood in the queue for a CPU {:.0} % of the time", waited * 100.0)
        } else {
            "it was stopped or starved from outside".to_owned()
        }
    };
    let spoiled = p90 > SPOILED_P90_MS && h.latency_p90_ms.is_some_and(|seen| p90 > MOST_OF_LATENCY * seen);
    if p90 > INVALID_P90_MS || p99 > INVALID_P99_MS || spoiled {
        let reason = format!("the generator was late by {p90:.1} ms at p90 and {p99:.1} ms at p99: {}", cause());
        return (State::Invalid, reason);
    }
    if p99 > SUSPECT_P99_MS {
        return (State::Suspect, format!("the generator was late by {p99:.1} ms at p99: {}", cause()));
    }
    if let Some(seen) = h.latency_p99_ms.filter(|seen| p99 > NOTED_P99_MS && p99 > MOST_OF_LATENCY * seen) {
        let reason = format!(
            "the generator's own lateness, {p99:.1} ms at p99, is most of the {seen:.1} ms measured: {}",
            cause()
        );
        return (State::Suspect, reason);
    }
    (State::Valid, format!("sent {p50:.2} ms after due at p50, {p99:.2} ms at p99"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn late(ms: impl Iterator<Item = f64>) -> Health {
        let mut h = Health { seconds: 10.0, workers: 1, cpu_share: 0.1, ..Health::default() };
        ms.for_each(|v| h.late.record(Duration::from_secs_f64(v / 1000.0)));
        h
    }

    #[test]
    fn stopped_thirty_of_every_forty_milliseconds_is_invalid() {
        // Due evenly, each noticed at the end of its stop.
        let pauses = (0..5000).map(|i| (30.0 - f64::from(i) * 2.0 % 40.0).max(0.05));
        assert_eq!(judge(&late(pauses)).0, State::Invalid);
    }

    #[test]
    fn a_rare_hiccup_does_not_spoil_a_run() {
        let (state, reason) = judge(&late((0..1000).map(|i| if i % 200 == 0 { 30.0 } else { 0.05 })));
        assert_eq!(state, State::Valid, "{reason}");
        assert_eq!(judge(&late((0..1000).map(|i| if i % 50 == 0 { 30.0 } else { 0.05 }))).0, State::Suspect);
    }

    #[test]
    fn a_small_share_of_cpu_with_the_schedule_kept_is_valid() {
        let healthy =
            Health { cpu_share: 0.02, run_queue_ms: 900.0, steal_share: 0.9, ..late([0.05; 1000].into_iter()) };
        assert_eq!(judge(&healthy).0, State::Valid);
    }

    #[test]
    fn a_machine_that_slept_is_invalid_and_a_clock_that_was_set_is_suspect() {
        let well = late([0.05; 1000].into_iter());
        let (state, reason) = judge(&Health { slept_s: 3.0, ..well.clone() });
        assert_eq!((state, reason.as_str()), (State::Invalid, "the machine itself slept for 3.0 s in the run"));
        let (state, reason) = judge(&Health { clock_step_s: -3600.0, ..well });
        assert_eq!(state, State::Suspect);
        assert!(reason.contains("set by -3600.0 s"), "{reason}");
    }

    #[test]
    fn lateness_that_is_most_of_what_was_measured_is_suspect() {
        let late = late([2.6; 1000].into_iter());
        let beside = |latency| judge(&Health { latency_p99_ms: Some(latency), ..late.clone() });
        assert_eq!((beside(3.0).0, beside(60.0).0, judge(&late).0), (State::Suspect, State::Valid, State::Valid));
        assert!(beside(3.0).1.contains("2.6 ms at p99, is most of the 3.0 ms measured"), "{}", beside(3.0).1);
    }

    #[test]
    fn a_schedule_that_a_tenth_missed_by_most_of_what_was_measured_is_invalid() {
        // Halved CPU in short turns: late by up to 9 ms, again and again.
        let late = late((0..1000).map(|i| f64::from(i % 100) * 0.09));
        let beside = |latency| judge(&Health { latency_p90_ms: Some(latency), ..late.clone() }).0;
        assert_eq!((beside(9.0), beside(60.0)), (State::Invalid, State::Suspect));
    }

    #[test]
    fn a_clock_that_goes_in_steps_is_suspect() {
        let well = late([0.05; 1000].into_iter());
        let (state, reason) = judge(&Health { clock_grain_ms: 4.0, ..well });
        assert_eq!(state, State::Suspect);
        assert!(reason.contains("steps of 4.0 ms"), "{reason}");
    }

    #[test]
    fn too_little_cpu_is_invalid_and_says_so() {
        let h = Health { cpu_share: 0.99, ..late((0..1000).map(f64::from)) };
        let (state, reason) = judge(&h);
        assert_eq!(state, State::Invalid);
        assert!(reason.contains("needed more"), "{reason}");
    }
}
