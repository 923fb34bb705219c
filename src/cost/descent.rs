//! A way down in one page of data: the `serin.descend/1` document, its verdict and its lines for a person.

use serde::Serialize;

use super::bill::MONTH_H;
use super::descend::Floor;
use super::plan::Plan;
use super::rule::RuleWalk;
use super::simulate::Walk;
use super::step::{Step, StepVerdict};
use super::tariff::PriceUsed;
use super::told::Ahead;
use crate::judge::verdict::Verdict;
use crate::stats::units::{Share, Usd, grouped};

pub const SCHEMA: &str = "serin.descend/1";
/// A trace of which more than this is missing proves nothing.
const MOST_MISSING: f64 = 0.2;

/// Rates are per second; money is US dollars and `None` where no price is known.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Descent {
    pub schema: &'static str,
    pub verdict: Verdict,
    pub reason: String,
    pub plan: String,
    pub knob: &'static str,
    pub unit: String,
    pub simulated: bool,
    pub demand: DemandSeen,
    pub start_capacity: u64,
    pub final_capacity: u64,
    /// The least constant capacity that would have held all demand seen.
    pub needed_capacity: Option<u64>,
    /// The capacity that did not hold though it should have, and is not tried again.
    pub floor: Option<Floor>,
    pub throttled: u64,
    pub longest_breach_s: f64,
    pub incidents: u32,
    pub price: PriceUsed,
    pub saved_so_far: Option<f64>,
    pub saved_per_month: Option<f64>,
    pub saved_per_year: Option<f64>,
    pub usd_per_million: Option<f64>,
    pub steps: Vec<Step>,
    /// Steps that would have come next: guesses.
    pub ahead: Vec<Ahead>,
    pub p99_ms: Option<f64>,
    /// A quarter less each quiet hour, on the same demand.
    pub rule: Option<RuleWalk>,
    pub notes: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DemandSeen {
    pub name: String,
    pub from: String,
    pub until: String,
    pub missing_s: f64,
    pub requests: f64,
}

impl Descent {
    pub fn of(
        plan: &Plan,
        name: &str,
        walk: Walk,
        price: PriceUsed,
        rule: Option<RuleWalk>,
        notes: Vec<String>,
    ) -> Self {
        let at = |capacity: u64| price.per_hour(capacity as f64);
        let less = at(plan.start).zip(at(walk.final_capacity)).map(|(start, end)| start - end);
        let hours = (walk.until - walk.from - walk.missing_s) / 3_600.0;
        let simulated = walk.simulated;
        let (verdict, reason) = walk.ended.clone().unwrap_or_else(|| judged(plan, &walk));
        Self {
            schema: SCHEMA,
            verdict,
            reason,
            plan: plan.name.clone(),
            knob: plan.knob.name(),
            unit: plan.unit.name.clone(),
            simulated,
            demand: DemandSeen {
                name: name.to_owned(),
                from: super::demand::shown(walk.from),
                until: super::demand::shown(walk.until),
                missing_s: walk.missing_s,
                requests: walk.requests,
            },
            start_capacity: plan.start,
            final_capacity: walk.final_capacity,
            needed_capacity: Some(walk.needed),
            floor: walk.floor,
            throttled: walk.throttled,
            longest_breach_s: walk.longest_breach_s,
            incidents: walk.incidents,
            saved_so_far: at(plan.start).zip(walk.paid_usd).map(|(start, paid)| start * hours - paid),
            saved_per_month: less.map(|l| l * MONTH_H),
            saved_per_year: less.map(|l| l * MONTH_H * 12.0),
            usd_per_million: walk.paid_usd.filter(|_| walk.requests > 0.0).map(|usd| usd / (walk.requests / 1e6)),
            price,
            steps: walk.steps,
            ahead: walk.ahead,
            p99_ms: plan.p99_ms,
            rule,
            notes,
        }
    }

    /// The table of steps, the picture with its sentence, the money.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "{} → {} {}: {} steps, {} to {}",
            self.start_capacity,
            self.final_capacity,
            self.unit,
            self.steps.len() - 1,
            self.demand.from,
            self.demand.until
        )];
        lines.push(format!(
            "{:<21} {:>9}  {:>10}  {:>8}  {:>9}  {:>8}  step",
            "at", self.unit, "$/h", "p99", "throttled", "of limit"
        ));
        lines.extend(self.steps.iter().map(row));
        lines.push(String::new());
        lines.extend(self.picture());
        lines.push(String::new());
        lines.extend(self.money());
        if let Some(rule) = &self.rule {
            lines.push(format!(
                "beside it, a quarter less each quiet hour: ends at {}, {} requests throttled in {} hours",
                rule.final_capacity,
                grouped(rule.throttled),
                rule.hours_broken
            ));
        }
        if let Some(floor) = &self.floor {
            lines.push(format!("floor: {} on {}: {}", floor.capacity, floor.at, floor.reason));
        }
        lines.extend(self.notes.iter().map(|n| format!("! {n}")));
        lines
    }

    fn money(&self) -> Vec<String> {
        let (Some(so_far), Some(month), Some(year)) = (self.saved_so_far, self.saved_per_month, self.saved_per_year)
        else {
            return vec![format!("saved: unknown; {}", self.price.from)];
        };
        let guess = if self.price.guess { " (guess)" } else { "" };
        vec![
            format!(
                "saved: {} so far, {} a month and {} a year at {} {}{guess}",
                Usd(so_far),
                Usd(month),
                Usd(year),
                self.final_capacity,
                self.unit
            ),
            format!("{}; without tax and discounts", self.price.from),
        ]
    }

    /// Bars of capacity, one a step, the part that demand reached filled; then the sentence.
    fn picture(&self) -> Vec<String> {
        const WIDE: f64 = 40.0;
        let most = self.steps.iter().map(|s| s.capacity).max().unwrap_or(1).max(1) as f64;
        let mut lines: Vec<String> = self
            .steps
            .iter()
            .filter(|s| s.verdict != StepVerdict::Hold || s.share_of_limit.is_some())
            .map(|s| {
                let wide = (s.capacity as f64 / most * WIDE).ceil();
                let full = (wide * s.share_of_limit.unwrap_or(0.0).min(1.0)).round();
                let bar = format!("{}{}", "▰".repeat(full as usize), "▱".repeat((wide - full) as usize));
                format!("{} {:>7} {bar}", s.at.get(5..10).unwrap_or_default(), s.capacity)
            })
            .collect();
        let needed = self.needed_capacity.map_or("unknown".to_owned(), |n| n.to_string());
        lines.push(format!(
            "filled: the highest demand of each step (surges above the end come out of the burst bucket); {needed} {} is the \
             least that would have held it all.",
            self.unit
        ));
        lines
    }
}

fn row(step: &Step) -> String {
    let or_unknown = |v: Option<String>| v.unwrap_or_else(|| "?".to_owned());
    format!(
        "{:<21} {:>9}  {:>10}  {:>8}  {:>9}  {:>8}  {}  {}",
        step.at,
        step.capacity,
        or_unknown(step.usd_per_hour.map(|u| format!("{u:.4}"))),
        or_unknown(step.p99_ms.map(|p| format!("{p:.0} ms"))),
        step.throttled,
        or_unknown(step.share_of_limit.map(|s| Share(s).to_string())),
        step.verdict.sign(),
        step.reason
    )
}

fn judged(plan: &Plan, walk: &Walk) -> (Verdict, String) {
    let seconds = walk.until - walk.from;
    let days = seconds / 86_400.0;
    let unit = &plan.unit.name;
    if walk.throttled > 0 {
        let reason = format!(
            "{} requests were throttled on the way from {} to {} {unit}; {} is what would have held",
            grouped(walk.throttled),
            plan.start,
            walk.final_capacity,
            walk.needed
        );
        return (Verdict::No, reason);
    }
    if walk.missing_s > MOST_MISSING * seconds {
        let share = Share(walk.missing_s / seconds);
        return (Verdict::CannotTell, format!("{share} of the demand is missing: what was not seen proves nothing"));
    }
    if days < 1.0 {
        return (
            Verdict::CannotTell,
            format!("{days:.1} days of demand are too short: a step needs a whole day before it"),
        );
    }
    let missing =
        if walk.missing_s > 0.0 { format!("; {:.1} h are missing", walk.missing_s / 3_600.0) } else { String::new() };
    let reason = format!(
        "{} {unit} held with no request throttled in {days:.1} days; {} is the least that would have{missing}",
        walk.final_capacity, walk.needed
    );
    (Verdict::Go, reason)
}
