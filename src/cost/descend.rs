//! Decides day by day: demand seen so far in, the next capacity out. Pure, and it never learns anything before its time.
//!
//! Down: once a hold, to what all demand of the lookback would have needed (`Need`, exact) plus headroom: wide while
//! weekdays are still unseen, then as wide as the demand varies. Up: as soon as the burst bucket would run dry within
//! `REACT_S` at the present rate, before anything is throttled; at the first throttle in any case.

use serde::{Deserialize, Serialize};

use super::decrease::Decreases;
use super::demand::shown;
use super::need::{Need, day_of};
use super::plan::{KnobKind, Plan};
use super::step::StepVerdict;
use super::told::Ahead;
use crate::serve::limiter::Limiter;

/// A bucket that lasts no longer than this at the present rate is as good as empty: up.
pub const REACT_S: f64 = 75.0;
/// A bucket with less than so many seconds of the present demand has nothing for a surge: up, unless it fills again soon.
const SURGE_S: f64 = 5.0;
/// With this much above demand it does.
const FILLS: f64 = 0.1;
const DAY_S: f64 = 86_400.0;
/// A step that the knob refuses is asked for again after this long.
const PUT_OFF_S: f64 = 3_600.0;
/// Headroom while days of the week are still unseen: with one day seen, and with six.
const UNSEEN: (f64, f64) = (0.35, 0.25);
/// Headroom from the second week on, by how much the demand varies.
const HEADROOM: (f64, f64) = (0.04, 0.065);
/// The most above the need that is kept for growth and variation together.
const MOST_ABOVE: f64 = 0.085;
/// Nearer to the need than this, capacity follows it up.
const LEAST_ABOVE: f64 = 0.02;
/// A step that saves less is not worth its risk.
const LEAST_STEP: f64 = 0.015;

/// A change of capacity, or that it stays though a step was due.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    pub to: u64,
    pub verdict: StepVerdict,
    pub reason: String,
}

impl Order {
    /// The first row of every way down.
    pub fn start(plan: &Plan) -> Self {
        let reason = format!("starts with {} {}", plan.start, plan.unit.name);
        Self { to: plan.start, verdict: StepVerdict::Hold, reason }
    }
}

/// The capacity that did not hold, kept so that it is not tried again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Floor {
    pub capacity: u64,
    pub at: String,
    pub reason: String,
}

#[derive(Clone, Debug)]
pub struct Planner {
    plan: Plan,
    capacity: u64,
    need: Need,
    bucket: Limiter,
    rate: f64,
    began: f64,
    down_at: Option<f64>,
    up_at: Option<f64>,
    /// The end of the last time without numbers.
    blind_until: Option<f64>,
    /// When the knob itself last said "not now".
    put_off_at: Option<f64>,
    incident_at: Option<f64>,
    incidents: u32,
    decreases: Decreases,
    floor: Option<Floor>,
    held_for: Option<&'static str>,
    /// Somebody asked it to stay.
    stays: bool,
    /// From when on demand may mean another time, and why.
    doubt: Option<(f64, String)>,
}

impl Planner {
    pub fn new(plan: Plan, now: f64) -> Self {
        Self {
            capacity: plan.start,
            bucket: Limiter::with_burst(plan.start as f64, plan.burst_s, now),
            need: Need::new(plan.burst_s),
            rate: 0.0,
            began: now,
            down_at: None,
            up_at: None,
            blind_until: None,
            put_off_at: None,
            incident_at: None,
            incidents: 0,
            decreases: Decreases::default(),
            floor: None,
            held_for: None,
            stays: false,
            doubt: None,
            plan,
        }
    }

    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    pub fn incidents(&self) -> u32 {
        self.incidents
    }

    pub fn floor(&self) -> Option<&Floor> {
        self.floor.as_ref()
    }

    /// The least whole capacity that would have held everything in the lookback.
    pub fn needed(&self, now: f64) -> u64 {
        self.exactly(now).ceil() as u64
    }

    fn exactly(&self, now: f64) -> f64 {
        self.need.since(day_of(now) - self.plan.lookback_days)
    }

    /// Takes demand of `rate` units a second from `from` until `until`.
    pub fn saw(&mut self, rate: f64, from: f64, until: f64) {
        self.saw_of(rate, rate, from, until);
    }

    /// Takes demand of `rate`, of which only `learnt` is there on other days too.
    pub fn saw_of(&mut self, rate: f64, learnt: f64, from: f64, until: f64) {
        self.need.saw(learnt, from, until);
        self.bucket.flow(rate, until);
        self.rate = rate;
    }

    /// Takes that nothing is known of this time.
    pub fn blind(&mut self, until: f64) {
        self.blind_until = Some(until);
        self.bucket.skip(until);
    }

    /// Takes that what was told before this moment may have been told of another time.
    pub fn doubts(&mut self, at: f64, why: String) {
        self.doubt = Some((at, why));
    }

    /// Demand of the last look.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// The highest demand that is expected of the coming days, units a second.
    pub fn coming(&self, now: f64) -> f64 {
        let highest = self.need.highest_since(day_of(now) - self.plan.lookback_days);
        highest * self.growth(now).unwrap_or(1.0).max(1.0)
    }

    /// The earliest moment at which `guard` could ask for more, if demand stays as it is.
    pub fn alarm_in(&self, rate: f64) -> f64 {
        if self.plan.burst_s > REACT_S {
            let dry = (self.bucket.lasts(rate) - REACT_S).max(0.0);
            let spare = self.bucket.level() - SURGE_S * rate;
            let more = rate - self.capacity as f64;
            let thin = if self.fills(rate) || spare > 0.0 && more <= 0.0 {
                f64::INFINITY
            } else {
                spare.max(0.0) / more.max(1e-9)
            };
            dry.min(thin)
        } else if rate * (1.0 + LEAST_ABOVE) > self.capacity as f64 {
            0.0 // nothing is kept for a surge: being near is the alarm
        } else {
            f64::INFINITY
        }
    }

    fn fills(&self, rate: f64) -> bool {
        self.capacity as f64 >= rate * (1.0 + FILLS)
    }

    /// Looks at the last few seconds: `rate` was asked and `throttled` requests were refused.
    pub fn guard(&mut self, now: f64, rate: f64, throttled: f64) -> Option<Order> {
        if throttled > 0.0 {
            return self.broke(now, rate, throttled);
        }
        // A hair of tolerance: the moment was computed by `alarm_in` with the same numbers.
        if self.alarm_in(rate) > 1e-6 {
            return None;
        }
        let thin = self.bucket.level() <= SURGE_S * rate + 1e-6;
        let above = if self.plan.burst_s <= REACT_S {
            self.headroom(now)
        } else if thin {
            FILLS
        } else {
            LEAST_ABOVE
        };
        let to = ((rate * (1.0 + above)).ceil() as u64).max(self.needed(now));
        let lasts = match self.bucket.lasts(rate) {
            s if s.is_finite() => format!("what is kept for surges lasts {s:.0} s more"),
            _ if self.plan.burst_s > REACT_S => "next to nothing is kept for a surge".to_owned(),
            _ => "that is too near".to_owned(),
        };
        let reason =
            format!("demand is {} of {}: {lasts}; up before anything is throttled", units(rate), self.capacity);
        self.up(now, to, reason)
    }

    fn broke(&mut self, now: f64, rate: f64, throttled: f64) -> Option<Order> {
        let needed = self.needed(now);
        let counted = self.incident_at.is_some_and(|at| now - at < 3_600.0);
        self.incident_at = Some(now);
        if !counted {
            self.incidents += 1;
        }
        let reason = format!("{throttled:.0} requests were throttled at {} with demand {}", self.capacity, units(rate));
        if self.capacity > needed {
            // The model says it had room: something else is the limit (one hot partition), so this is never tried again.
            self.remember(now, &reason);
        }
        self.bucket.drain();
        let to = ((rate * 1.1).ceil() as u64).max(needed).max(self.capacity + 1);
        self.up(now, to, format!("{reason}; back up at once"))
    }

    /// Takes that an objective other than throttling broke (p99, say): back to the step before, never here again.
    pub fn objective_broke(&mut self, now: f64, what: &str) -> Option<Order> {
        self.incidents += 1;
        self.incident_at = Some(now);
        self.remember(now, what);
        let to = self.capacity + self.capacity.div_ceil(10);
        self.up(now, to, format!("{what} at {}; back up at once", self.capacity))
    }

    fn remember(&mut self, now: f64, reason: &str) {
        if self.floor.as_ref().is_none_or(|f| f.capacity <= self.capacity) {
            self.floor = Some(Floor { capacity: self.capacity, at: shown(now), reason: reason.to_owned() });
        }
    }

    fn up(&mut self, now: f64, to: u64, reason: String) -> Option<Order> {
        let (to, reason) = if to > self.plan.ceiling {
            (self.plan.ceiling, format!("{reason}; {to} is over the ceiling of {}", self.plan.ceiling))
        } else {
            (to, reason)
        };
        if to <= self.capacity {
            return self.hold("ceiling", format!("{reason}: the limit is reached, nothing more can be given"));
        }
        self.up_at = Some(now);
        self.set(now, to);
        Some(Order { to, verdict: StepVerdict::Up, reason })
    }

    /// Takes a change that was made at `now`, by an earlier life of this way down, from its journal.
    pub fn took(&mut self, now: f64, to: u64, verdict: StepVerdict) {
        match verdict {
            StepVerdict::Go => {
                self.down_at = Some(now);
                self.decreases.note(now);
            }
            StepVerdict::Up => self.up_at = Some(now),
            StepVerdict::Hold => {}
        }
        self.set(now, to);
    }

    /// Takes back an order that was given and could not be done: the capacity is still `to`.
    pub fn stayed(&mut self, now: f64, to: u64) {
        self.set(now, to);
    }

    /// Takes back a step down that was refused for now; it is tried again after an hour.
    pub fn put_off(&mut self, now: f64, to: u64) {
        self.put_off_at = Some(now);
        self.withdraw(now, to);
    }

    /// Takes back a step down that was decided and not made yet.
    pub fn withdraw(&mut self, now: f64, to: u64) {
        if self.capacity != to {
            self.down_at = None;
            self.decreases.withdraw();
        }
        self.set(now, to);
    }

    /// Takes an incident or a floor from the journal of an earlier life.
    pub fn recall(&mut self, at: f64, floor: Option<Floor>) {
        self.incidents += 1;
        self.incident_at = Some(at);
        if floor.is_some() {
            self.floor = floor;
        }
    }

    /// Whether nothing is left to do: no smaller capacity is wanted, and this one has been held for its time.
    pub fn arrived(&self, now: f64) -> bool {
        let since = [self.down_at, self.up_at].into_iter().flatten().fold(self.began, f64::max);
        let (wanted, _) = self.wanted(now);
        let worth = wanted.max(self.plan.floor) as f64 <= self.capacity as f64 * (1.0 - LEAST_STEP);
        self.need.days_seen() >= 1.0 && !worth && now - since >= self.plan.hold_s
    }

    /// Whether the budget of incidents is used up and the last one has been quiet for a while.
    pub fn exhausted(&self, now: f64) -> bool {
        let quiet = self.incident_at.is_some_and(|at| now - at >= self.plan.settle_s);
        self.incidents > 0 && self.incidents >= self.plan.incidents && quiet
    }

    /// Takes a person's wish to stay here, or to go on.
    pub fn stay(&mut self, on: bool) {
        self.stays = on;
        self.held_for = None;
    }

    pub fn stays(&self) -> bool {
        self.stays
    }

    /// What is kept for surges, in shares of what can be kept.
    pub fn kept(&self) -> f64 {
        self.bucket.level() / (self.capacity as f64 * self.plan.burst_s).max(1.0)
    }

    /// The steps that would come next if nothing changed, and the share of each that the `highest` demand would take.
    pub fn ahead(&self, now: f64, highest: Option<f64>) -> Vec<Ahead> {
        let (wanted, _) = self.wanted(now);
        let end = wanted.max(self.plan.floor);
        let mut steps = Vec::new();
        let mut at = self.capacity;
        while steps.len() < 3 && (end as f64) <= at as f64 * (1.0 - LEAST_STEP) && end < at {
            at = end.max((at as f64 * (1.0 - self.plan.largest_step)).ceil() as u64);
            steps.push(Ahead { capacity: at, share_of_limit: highest.map(|h| h / at as f64) });
        }
        steps
    }

    /// A step that a person asked for: taken whatever the hold says, unless something forbids it.
    pub fn step_now(&mut self, now: f64) -> Order {
        let stay = |s: &Self, why: String| Order {
            to: s.capacity,
            verdict: StepVerdict::Hold,
            reason: format!("stays at {}: {why}", s.capacity),
        };
        if let Some((_, why)) = self.forbids(now) {
            return stay(self, why);
        }
        let (wanted, why) = self.wanted(now);
        let largest = (self.capacity as f64 * (1.0 - self.plan.largest_step)).ceil() as u64;
        let to = wanted.max(largest).max(self.plan.floor);
        if self.need.days_seen() < 1.0 {
            return stay(self, "a whole day has to be seen before a step".to_owned());
        }
        if to >= self.capacity {
            return stay(self, format!("nothing smaller holds; {why}"));
        }
        if self.rate > 0.8 * to as f64 {
            return stay(self, format!("demand is {} just now, too near to {to}", units(self.rate)));
        }
        self.go(now, to, format!("{why}; somebody asked for it now"))
    }

    fn go(&mut self, now: f64, to: u64, why: String) -> Order {
        let share = 100.0 * (1.0 - to as f64 / self.capacity as f64);
        let reason = format!("{} → {to} (-{share:.0} %): {why}", self.capacity);
        self.down_at = Some(now);
        self.decreases.note(now);
        self.set(now, to);
        Order { to, verdict: StepVerdict::Go, reason }
    }

    fn set(&mut self, now: f64, to: u64) {
        self.held_for = None;
        self.capacity = to;
        self.bucket.set_capacity(to as f64, now);
    }

    /// Says once that a due step is not taken, until something else is the cause.
    fn hold(&mut self, cause: &'static str, reason: String) -> Option<Order> {
        let fresh = self.held_for != Some(cause);
        self.held_for = Some(cause);
        fresh.then_some(Order { to: self.capacity, verdict: StepVerdict::Hold, reason })
    }

    /// Looks at the whole: called every few minutes.
    pub fn decide(&mut self, now: f64) -> Option<Order> {
        if let Some(order) = self.in_time(now) {
            return Some(order);
        }
        if self.stays {
            return None;
        }
        let (wanted, why) = self.wanted(now);
        let largest = (self.capacity as f64 * (1.0 - self.plan.largest_step)).ceil() as u64;
        let to = wanted.max(largest).max(self.plan.floor);
        let worth = (to as f64) <= self.capacity as f64 * (1.0 - LEAST_STEP) && to < self.capacity;
        if !worth || !self.is_due(now) {
            return None;
        }
        if let Some((cause, reason)) = self.forbids(now) {
            return self.hold(cause, format!("stays at {}: {reason}", self.capacity));
        }
        if self.rate > 0.8 * to as f64 || self.bucket.level() < 0.9 * to as f64 * self.plan.burst_s {
            return None; // a busy moment: the step waits for a quiet one
        }
        Some(self.go(now, to, why))
    }

    /// Steps up that are known to be needed before demand says so: an announced evening, or demand that has grown.
    fn in_time(&mut self, now: f64) -> Option<Order> {
        let lead = 3_600.0;
        let coming = self.plan.peaks.iter().find(|p| p.from - lead <= now && now < p.until && p.units.is_some());
        if let Some((name, units)) = coming.map(|p| (p.name.clone(), p.units.unwrap_or_default())) {
            let to = (units * (1.0 + self.headroom(now))).ceil() as u64;
            if to > self.capacity {
                return self.up(now, to, format!("`{name}` is announced with {units:.0} units"));
            }
        }
        let need = self.exactly(now);
        if (self.capacity as f64) < need * (1.0 + LEAST_ABOVE) {
            // Not the wide headroom of the first days: what is rising is watched closely anyway.
            let to = whole(need, self.plan.headroom.unwrap_or(self.headroom(now).min(HEADROOM.1)));
            let reason =
                format!("demand has grown: {} would have been needed, {} is too near", need.ceil(), self.capacity);
            if to > self.capacity && self.capacity < self.plan.ceiling {
                return self.up(now, to, reason);
            }
        }
        None
    }

    fn is_due(&self, now: f64) -> bool {
        let since = |at: Option<f64>| at.map_or(f64::INFINITY, |a| now - a);
        now - self.began >= self.plan.hold_s.max(DAY_S)
            && self.need.days_seen() >= 1.0
            && since(self.down_at) >= self.plan.hold_s
            && since(self.put_off_at) >= PUT_OFF_S
            && since(self.up_at) >= self.plan.settle_s
            && since(self.incident_at) >= self.plan.hold_s
    }

    /// Returns the cause and the sentence why a step down that is due must not be taken.
    fn forbids(&self, now: f64) -> Option<(&'static str, String)> {
        if self.incidents > 0 && self.incidents >= self.plan.incidents {
            let what = format!("{} incidents used up the budget of {}", self.incidents, self.plan.incidents);
            return Some(("budget", format!("{what}; look first, then start anew")));
        }
        if let Some(until) = self.blind_until.filter(|until| now - until < DAY_S) {
            let what = format!("demand before {} is missing; a whole day without a gap is needed first", shown(until));
            return Some(("gap", what));
        }
        if let Some((at, why)) = self.doubt.as_ref().filter(|(at, _)| now - at < DAY_S) {
            let what = format!("{why} at {}; a whole day told one way is needed first", shown(*at));
            return Some(("zone", what));
        }
        let near = |p: &&super::plan::Peak| p.from - self.plan.hold_s <= now && now < p.until;
        if let Some(peak) = self.plan.peaks.iter().find(near) {
            return Some(("peak", format!("`{}` is announced for {}", peak.name, shown(peak.from))));
        }
        if matches!(self.plan.knob, KnobKind::Dynamodb | KnobKind::Local) {
            return self.decreases.refuse(now).map(|why| ("decreases", why));
        }
        None
    }

    /// The capacity to aim at, and why it will hold.
    fn wanted(&self, now: f64) -> (u64, String) {
        let (need, seen, headroom) = (self.exactly(now), self.need.days_seen(), self.headroom(now));
        let expected = self.forecast(now).unwrap_or(0.0);
        let learnt = self.plan.headroom.is_none() && self.plan.growth.is_none() && seen >= 7.0;
        let above = (need.max(expected) * (1.0 + headroom) / need.max(f64::MIN_POSITIVE) - 1.0).max(0.0);
        let aim = whole(need, if learnt { above.min(MOST_ABOVE) } else { above });
        // Where nothing is kept for a surge, being near is the alarm: a step to there would be taken back each evening.
        let near = if self.plan.burst_s > REACT_S { 0 } else { (need * (1.0 + LEAST_ABOVE)).ceil() as u64 };
        let aim = aim.max(self.floor.as_ref().map_or(0, |f| f.capacity + 1)).max(near).max(1);
        let days = seen.min(self.plan.lookback_days as f64);
        let coming = if expected > need { format!(", {expected:.0} expected next") } else { String::new() };
        let kept = (aim as f64 / need.max(1.0) - 1.0) * 100.0;
        let least = need.ceil();
        let why = format!(
            "{days:.1} days replayed at it hold without a throttle (least {least}{coming}), {kept:.1} % kept free"
        );
        (aim, why)
    }

    /// What the next days should need: the same weekdays a week ago, grown as the last week grew.
    fn forecast(&self, now: f64) -> Option<f64> {
        let growth = self.growth(now)?;
        let today = day_of(now);
        let ahead = 1 + (self.plan.hold_s / DAY_S).ceil() as i64;
        let last_week = (today..=today + ahead).filter_map(|day| self.need.on(day - 7));
        Some(last_week.fold(0.0, f64::max) * growth)
    }

    /// How much more a week later asks for, as a factor; `None` while nothing is known of it.
    fn growth(&self, now: f64) -> Option<f64> {
        match self.plan.growth {
            Some(g) => Some(1.0 + g),
            None => Some(self.ratios(now).and_then(|r| median(&r))?.clamp(1.0, 1.25)),
        }
    }

    /// Each whole day's need against the same weekday a week before, last week's and the one before.
    fn ratios(&self, now: f64) -> Option<Vec<f64>> {
        let today = day_of(now);
        let ratio = |day: i64| Some(self.need.on_whole(day)? / self.need.on_whole(day - 7).filter(|n| *n > 0.0)?);
        let all: Vec<f64> = (today - 14..today).filter_map(ratio).collect();
        (!all.is_empty()).then_some(all)
    }

    fn headroom(&self, now: f64) -> f64 {
        if let Some(h) = self.plan.headroom {
            return h;
        }
        let seen = self.need.days_seen();
        if seen < 7.0 {
            let along = ((seen - 1.0) / 5.0).clamp(0.0, 1.0);
            return UNSEEN.0 + (UNSEEN.1 - UNSEEN.0) * along;
        }
        let Some(ratios) = self.ratios(now).filter(|r| r.len() >= 3) else { return HEADROOM.1 };
        let logs: Vec<f64> = ratios.iter().map(|r| r.max(1e-9).ln()).collect();
        let mean = logs.iter().sum::<f64>() / logs.len() as f64;
        let spread = (logs.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / logs.len() as f64).sqrt();
        (HEADROOM.0 + 0.3 * spread).min(HEADROOM.1)
    }
}

/// Whole units above a need: rounded up, but where units are few rounding is not the larger part of the headroom.
fn whole(need: f64, above: f64) -> u64 {
    let (least, most) = (need.ceil(), (need.ceil() * (1.0 + above.max(MOST_ABOVE))).floor());
    (need * (1.0 + above)).ceil().min(most).max(least) as u64
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

fn units(rate: f64) -> String {
    if rate < 10.0 { format!("{rate:.1}") } else { format!("{rate:.0}") }
}
