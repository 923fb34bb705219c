//! Walks recorded demand behind the limiter's model, weeks in milliseconds: the planner looks on as it would live.

use super::capacity::Unit;
use super::demand::{Demand, Sample, shown};
use super::descend::{Floor, Order, Planner};
use super::error::CostError;
use super::ledger::{Ledger, Seen};
use super::plan::Plan;
use super::step::Step;
use super::tariff::PriceUsed;
use super::told::{Ahead, View};
use super::view;
use crate::judge::verdict::Verdict;
use crate::serve::limiter::Limiter;

/// The guard looks at the meters this often.
const LOOK_S: f64 = 5.0;
/// The planner thinks about steps down this often.
const DECIDE_S: f64 = 300.0;

/// Somebody who looks on is shown where it stands this often.
const SHOW_S: f64 = 1_800.0;

/// A way down, walked to its end.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Walk {
    pub steps: Vec<Step>,
    pub final_capacity: u64,
    pub throttled: u64,
    /// The longest time from a first throttle until it was answered or over.
    pub longest_breach_s: f64,
    /// The least whole capacity that would have held all that was seen.
    pub needed: u64,
    pub floor: Option<Floor>,
    pub incidents: u32,
    pub from: f64,
    pub until: f64,
    /// Seconds for which the trace says nothing.
    pub missing_s: f64,
    /// Units x hours that were paid for.
    pub unit_hours: f64,
    /// What they cost; `None` where no price is known.
    pub paid_usd: Option<f64>,
    /// Requests that were seen.
    pub requests: f64,
    /// Verdict and reason of a way down that ended by itself; one whose time is over is judged by its numbers.
    pub ended: Option<(Verdict, String)>,
    pub simulated: bool,
    pub ahead: Vec<Ahead>,
}

impl Walk {
    /// Takes that a capacity was paid for, for so many seconds.
    pub fn pay(&mut self, price: &PriceUsed, capacity: u64, seconds: f64) {
        let hours = seconds / 3_600.0;
        self.unit_hours += capacity as f64 * hours;
        self.paid_usd = self.paid_usd.zip(price.per_hour(capacity as f64)).map(|(paid, usd)| paid + usd * hours);
    }
}

/// Walks `demand` down by `plan`; `tell` hears each step when it begins and once more when it has ended.
pub fn walk(plan: &Plan, price: &PriceUsed, demand: &Demand, tell: &mut dyn FnMut(&Step)) -> Result<Walk, CostError> {
    walk_shown(plan, price, demand, tell, None)
}

/// Walks likewise, and shows now and then where it stands.
pub fn walk_shown(
    plan: &Plan,
    price: &PriceUsed,
    demand: &Demand,
    tell: &mut dyn FnMut(&Step),
    mut show: Option<&mut dyn FnMut(View)>,
) -> Result<Walk, CostError> {
    let first = demand.samples.first().ok_or_else(|| CostError::trace(&demand.name, 0, "is empty".to_owned()))?;
    let mut world = World::new(plan.clone(), price.clone(), first.from, tell);
    let mut until = first.from;
    let (mut zones, mut shown_at) = (demand.zones.iter().peekable(), f64::NEG_INFINITY);
    for sample in &demand.samples {
        let rate = units_of(sample, &plan.unit, &demand.name)?;
        while let Some((at, why)) = zones.next_if(|(at, _)| *at <= sample.from) {
            world.planner.doubts(*at, why.clone());
        }
        if sample.from > until + 1e-6 {
            world.gap(sample.from);
        }
        world.span(rate, sample.from, sample.until);
        until = sample.until;
        if let Some(show) = show.as_mut().filter(|_| until - shown_at >= SHOW_S) {
            shown_at = until;
            show(view::of(until, plan.start, &world.planner, &world.ledger, &world.walk, &world.price));
        }
    }
    Ok(world.end(first.from, until))
}

/// Demand of one sample in units of capacity a second.
pub fn units_of(sample: &Sample, unit: &Unit, name: &str) -> Result<f64, CostError> {
    let requests = if unit.is_writes() {
        let missing = || CostError::trace(name, 0, format!("has no writes_per_second at {}", shown(sample.from)));
        sample.writes.ok_or_else(missing)?
    } else {
        sample.reads
    };
    Ok(requests * unit.units_a_request())
}

struct World<'a> {
    planner: Planner,
    limiter: Limiter,
    per_request: f64,
    ledger: Ledger<'a>,
    broke_at: Option<f64>,
    decided: f64,
    walk: Walk,
    price: PriceUsed,
}

impl<'a> World<'a> {
    fn new(plan: Plan, price: PriceUsed, now: f64, tell: &'a mut dyn FnMut(&Step)) -> Self {
        let mut ledger = Ledger::new(price.clone(), tell);
        ledger.begin(now, &Order::start(&plan));
        Self {
            limiter: Limiter::with_burst(plan.start as f64, plan.burst_s, now),
            per_request: plan.unit.units_a_request(),
            ledger,
            broke_at: None,
            decided: now,
            walk: Walk { from: now, simulated: true, paid_usd: price.per_hour(0.0), ..Walk::default() },
            price,
            planner: Planner::new(plan, now),
        }
    }

    /// A stretch of constant demand: flows on to the next moment at which somebody might act.
    fn span(&mut self, rate: f64, from: f64, until: f64) {
        self.walk.requests += rate * (until - from) / self.per_request;
        let mut now = from;
        while now < until {
            let alarm = now + self.planner.alarm_in(rate);
            let look = (alarm.max(now) / LOOK_S + 1e-9).floor() * LOOK_S + LOOK_S;
            let next = look.min(until);
            let dry = now + self.limiter.lasts(rate);
            let throttled = self.limiter.flow(rate, next) / self.per_request;
            self.walk.pay(&self.price, self.planner.capacity(), next - now);
            self.planner.saw(rate, now, next);
            let seconds = next - now;
            let requests = rate * seconds / self.per_request;
            self.ledger.saw(Seen { seconds, units: rate, requests, throttled, p99_ms: None });
            if throttled > 0.0 {
                self.broke_at.get_or_insert(dry);
                let since = self.broke_at.map_or(0.0, |at| next - at);
                self.walk.longest_breach_s = self.walk.longest_breach_s.max(since);
            } else {
                self.broke_at = None;
            }
            now = next;
            if next == look
                && let Some(order) = self.planner.guard(now, rate, throttled)
            {
                self.obey(now, order);
            }
        }
        if until - self.decided >= DECIDE_S {
            self.decided = until;
            if let Some(order) = self.planner.decide(until) {
                self.obey(until, order);
            }
        }
    }

    fn gap(&mut self, until: f64) {
        self.walk.missing_s += until - self.limiter.at();
        self.planner.blind(until);
        self.limiter.skip(until);
        self.broke_at = None;
    }

    fn obey(&mut self, now: f64, order: Order) {
        self.limiter.set_capacity(order.to as f64, now);
        self.ledger.begin(now, &order);
    }

    fn end(self, from: f64, until: f64) -> Walk {
        let ahead = self.planner.ahead(until, self.ledger.peak());
        let (steps, throttled) = self.ledger.end();
        Walk {
            steps,
            throttled,
            final_capacity: self.planner.capacity(),
            needed: self.planner.needed(until),
            floor: self.planner.floor().cloned(),
            incidents: self.planner.incidents(),
            from,
            until,
            ahead,
            ..self.walk
        }
    }
}
