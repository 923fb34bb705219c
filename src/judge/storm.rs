//! The last minute, look by look: a storm of a minute looks, while it lasts, like harm that stays.
//!
//! A group that has a bad minute of its own says in that minute what a bad version says. So whether the canary is healthy
//! includes that it may be struck once by such a storm, anywhere in the walk: what is over within a minute rolls nothing
//! back, what goes on does a little after it. At the start of a walk or a stage harm is likelier than a storm, and a
//! canary of which a large part fails is not waited for at all.

use std::collections::VecDeque;

/// How long a storm lasts at most, seconds.
pub const STORM_S: f64 = 60.0;
/// How many times the usual count it brings, each as likely as the others.
pub const RATIOS: [(f64, f64); 3] = [(3.0, 1.0 / 3.0), (8.0, 1.0 / 3.0), (25.0, 1.0 / 3.0)];
/// How often a group has one, a second: in one of ten evenings of 150 minutes.
const RATE: f64 = 0.1 / 9000.0;
/// Fewer counts than this are no collapse, whatever their share.
const LEAST: f64 = 10.0;

/// Sums of one metric over the looks in which there may have been a storm.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Window {
    /// `(counted, out of)`.
    pub canary: (f64, f64),
    pub baseline: (f64, f64),
    /// Slices of the baseline that told something; 0 where it was not cut.
    pub slices: f64,
    /// How likely a storm in just this window is a priori, as a logarithm.
    pub suspicion: f64,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    t: f64,
    window: Window,
}

#[derive(Clone, Debug)]
pub struct Storms {
    /// From this share of the canary's requests on it is no storm.
    most: f64,
    looks: VecDeque<Seen>,
    step_s: f64,
}

impl Storms {
    pub fn new(most: f64) -> Self {
        Self { most, looks: VecDeque::new(), step_s: STORM_S }
    }

    /// Adds a look that begins at `t`; `suspicion` in it is not read.
    pub fn add(&mut self, t: f64, window: Window) {
        if let Some(last) = self.looks.back().filter(|l| l.t < t) {
            self.step_s = self.step_s.min(t - last.t);
        }
        self.looks.push_back(Seen { t, window });
    }

    /// Takes a window that was complete before a look that begins at `t`; asked until there is none.
    pub fn completed(&mut self, t: f64) -> Option<Option<Window>> {
        self.looks.front().filter(|l| t >= l.t + STORM_S)?;
        let window = self.window(0);
        self.looks.pop_front();
        Some(window)
    }

    /// Returns the windows that are not complete yet.
    pub fn open(&self) -> impl Iterator<Item = Window> + '_ {
        (0..self.looks.len()).filter_map(|from| self.window(from))
    }

    /// Sums up a window; `None` where it cannot have been a storm.
    fn window(&self, from: usize) -> Option<Window> {
        let until = self.looks[from].t + STORM_S;
        let mut sum = Window { suspicion: (RATE * self.step_s).ln(), ..Window::default() };
        for Seen { window, .. } in self.looks.iter().skip(from).take_while(|l| l.t < until) {
            sum.canary = (sum.canary.0 + window.canary.0, sum.canary.1 + window.canary.1);
            sum.baseline = (sum.baseline.0 + window.baseline.0, sum.baseline.1 + window.baseline.1);
            sum.slices = window.slices;
        }
        let (counted, of) = sum.canary;
        let collapsed = counted >= LEAST && counted >= self.most * of;
        (!collapsed && of > 0.0 && sum.baseline.1 > 0.0).then_some(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(counted: f64) -> Window {
        Window { canary: (counted, 500.0), baseline: (9.0 * counted, 4500.0), slices: 9.0, ..Window::default() }
    }

    /// So many looks, each so long; every window that is complete holds `whole` requests of the canary.
    fn watched(looks: u32, step_s: f64, whole: f64) -> Storms {
        let mut storms = Storms::new(0.1);
        for i in 0..looks {
            let t = step_s * f64::from(i);
            while let Some(window) = storms.completed(t) {
                assert_eq!(window.expect("no collapse").canary.1, whole);
            }
            storms.add(t, look(1.0));
        }
        storms
    }

    #[test]
    fn a_window_is_a_minute_of_looks() {
        let storms = watched(9, 10.0, 3000.0);
        let open: Vec<f64> = storms.open().map(|w| w.canary.1 / 500.0).collect();
        assert_eq!(open, [6.0, 5.0, 4.0, 3.0, 2.0, 1.0]);
        let all: f64 = storms.open().map(|w| w.suspicion.exp()).sum();
        assert!((all - RATE * STORM_S).abs() < 1e-12, "{all}");
    }

    #[test]
    fn looks_of_five_minutes_are_windows_of_their_own() {
        assert_eq!(watched(4, 300.0, 500.0).open().count(), 1);
    }

    #[test]
    fn a_canary_that_collapses_is_no_storm() {
        let mut storms = Storms::new(0.1);
        storms.add(0.0, look(100.0));
        assert_eq!(storms.open().count(), 0);
        let mut few = Storms::new(0.1);
        few.add(0.0, Window { canary: (3.0, 5.0), baseline: (0.0, 45.0), ..Window::default() });
        assert_eq!(few.open().count(), 1);
    }
}
