//! Windows of a load: the last seconds as one measure, and in how many of all windows an objective held.

use std::collections::VecDeque;

use super::summary::Judged;
use super::tick::{EndpointTick, Tick};
use crate::judge::measure::Measure;
use crate::judge::objective::{Figure, Metric, Objective, Windows};
use crate::stats::histogram::Histogram;
use crate::stats::units::Share;

/// The last seconds, and how the windows that ended so far did. Its size is the window's, never the run's.
#[derive(Clone, Debug)]
pub struct Window {
    /// What each second showed, and how late the generator was in it.
    seconds: VecDeque<(Measure, Histogram)>,
    length: usize,
    met: u64,
    /// Those too that only the generator's own lateness spoiled.
    met_but_for_late: u64,
    without_data: u64,
    total: u64,
}

impl Window {
    /// Returns the window that an objective asks for, if it asks for one.
    pub fn of(objective: &Objective) -> Option<Self> {
        objective.windows.map(|w| Self {
            seconds: VecDeque::new(),
            length: w.seconds as usize,
            met: 0,
            met_but_for_late: 0,
            without_data: 0,
            total: 0,
        })
    }

    /// Takes a second; with it a window ends, once there are as many as a window is long.
    pub fn turn(&mut self, objective: &Objective, second: Measure, late: Histogram) {
        self.seconds.push_back((second, late));
        if self.seconds.len() > self.length {
            self.seconds.pop_front();
        }
        if self.seconds.len() < self.length {
            return;
        }
        let mut all = Measure::default();
        let mut late = Histogram::default();
        for (second, own) in &self.seconds {
            add(&mut all, second);
            late.merge(own);
        }
        all.rate = Some(all.rate.unwrap_or(0.0) / self.length as f64);
        self.total += 1;
        match objective.observe(&all) {
            Some(seen) => {
                let met = objective.holds(seen);
                self.met += u64::from(met);
                self.met_but_for_late += u64::from(met || holds_but_for_late(objective, seen, &late));
            }
            None => self.without_data += 1,
        }
    }

    /// Whether the share of windows is missed though all that are still to come were met.
    pub fn is_lost(&self, duration_s: f64, share: f64) -> bool {
        let seconds = duration_s.ceil() as u64;
        let all = (seconds + 1).saturating_sub(self.length as u64).max(self.total);
        let missed = self.total - self.met - self.without_data;
        !enough(all - missed, share, all)
    }

    /// Whether the share would have been met without the generator's own lateness.
    pub fn late_decides(&self, share: f64) -> bool {
        enough(self.met_but_for_late + self.without_data, share, self.total)
    }

    pub fn judged(&self, expression: String, asked: Windows) -> Judged {
        let verdict = match () {
            () if self.total == self.without_data => None,
            () if enough(self.met, asked.share, self.total) => Some(true),
            () if enough(self.met + self.without_data, asked.share, self.total) => None,
            () => Some(false),
        };
        let reason = if self.total == 0 {
            format!("the run was shorter than one window of {} s", asked.seconds)
        } else {
            format!(
                "held in {} of {} windows ({} asked), {} without data; limit and observed are shares of windows",
                self.met,
                self.total,
                Share(asked.share),
                self.without_data
            )
        };
        let observed = (self.total > 0).then(|| self.met as f64 / self.total as f64);
        Judged { expression, limit: asked.share, observed, met: verdict, reason }
    }
}

fn enough(held: u64, share: f64, all: u64) -> bool {
    held as f64 >= share * all as f64 - 1e-9
}

/// Whether a figure of time holds once the generator's own lateness is taken off it.
pub fn holds_but_for_late(objective: &Objective, seen: f64, late: &Histogram) -> bool {
    // A loop that stood still is late to read as well as to send.
    let (Metric::Latency(figure) | Metric::Service(figure) | Metric::Part(_, figure)) = &objective.metric else {
        return false;
    };
    let late = match figure {
        Figure::Quantile(q) => late.quantile(*q),
        Figure::Max => late.max(),
        Figure::Mean => late.mean(),
        Figure::Min => late.min(),
    };
    // Below a millisecond it is what any clock costs.
    late.is_some_and(|l| l.0 > 1.0 && objective.holds(seen - l.0))
}

pub fn of_ended(e: &EndpointTick) -> Measure {
    Measure {
        latency: e.latency.clone(),
        service: e.service.clone(),
        ended: e.ended,
        errors: e.errors,
        throttled: e.throttled,
        ..Measure::default()
    }
}

/// One second as a measure; its rate is a count until the window divides it.
pub fn of_tick(tick: &Tick, endpoint: Option<usize>) -> Measure {
    let mut sum = EndpointTick::default();
    match endpoint {
        Some(n) => tick.endpoints.get(n).into_iter().for_each(|e| sum.merge(e)),
        None => tick.endpoints.iter().for_each(|e| sum.merge(e)),
    }
    Measure {
        in_time: Some((tick.due, tick.sent)),
        rate: Some(sum.answered as f64),
        by_kind: tick.errors.clone(),
        parts: tick.parts.named().into_iter().map(|(n, h)| (n, h.clone())).collect(),
        ..of_ended(&sum)
    }
}

fn add(all: &mut Measure, one: &Measure) {
    all.latency.merge(&one.latency);
    all.service.merge(&one.service);
    for (part, h) in &one.parts {
        all.parts.entry(part).or_default().merge(h);
    }
    all.ended += one.ended;
    all.errors += one.errors;
    all.throttled += one.throttled;
    for (kind, n) in &one.by_kind {
        *all.by_kind.entry(kind.clone()).or_default() += n;
    }
    let pair = |m: &Measure| m.in_time.unwrap_or_default();
    all.in_time = Some((pair(all).0 + pair(one).0, pair(all).1 + pair(one).1));
    all.rate = Some(all.rate.unwrap_or(0.0) + one.rate.unwrap_or(0.0));
}
