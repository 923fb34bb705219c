//! The rule of thumb beside which the way down is measured: a quarter less each quiet hour, a third more after a throttle.

use serde::Serialize;

use super::demand::Demand;
use super::error::CostError;
use super::plan::Plan;
use super::simulate::units_of;
use crate::serve::limiter::Limiter;

const HOUR_S: f64 = 3_600.0;

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RuleWalk {
    pub final_capacity: u64,
    pub throttled: u64,
    /// Hours in which something was throttled.
    pub hours_broken: u64,
    pub unit_hours: f64,
}

/// Walks the rule over the same demand, from the same start.
pub fn walk(plan: &Plan, demand: &Demand) -> Result<RuleWalk, CostError> {
    let Some(first) = demand.samples.first() else { return Ok(RuleWalk::default()) };
    let mut capacity = plan.start;
    let mut table = Limiter::with_burst(capacity as f64, plan.burst_s, first.from);
    let mut end = (first.from / HOUR_S).floor() * HOUR_S + HOUR_S;
    let (mut used, mut refused) = (0.0, 0.0);
    let mut walked = RuleWalk::default();
    let mut throttled = 0.0;
    for sample in &demand.samples {
        let rate = units_of(sample, &plan.unit, &demand.name)?;
        let mut from = sample.from;
        table.skip(from);
        while from < sample.until {
            let until = sample.until.min(end.max(from));
            refused += table.flow(rate, until);
            used += rate * (until - from);
            walked.unit_hours += capacity as f64 * (until - from) / HOUR_S;
            from = until;
            if from >= end {
                throttled += refused / plan.unit.units_a_request();
                let mean = used / HOUR_S;
                capacity = if refused > 0.0 {
                    walked.hours_broken += 1;
                    (capacity as f64 * 4.0 / 3.0).max(mean).ceil() as u64
                } else {
                    capacity.min(((capacity as f64 * 0.75).max(mean).ceil() as u64).max(plan.floor))
                };
                table.set_capacity(capacity as f64, from);
                (used, refused, end) = (0.0, 0.0, (from / HOUR_S).floor() * HOUR_S + HOUR_S);
            }
        }
    }
    walked.throttled = (throttled + refused / plan.unit.units_a_request()).ceil() as u64;
    walked.final_capacity = capacity;
    Ok(walked)
}
