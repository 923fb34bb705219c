//! What a plan's units cost an hour: from where, how old, and by the tiers of a month at that pace.

use serde::{Deserialize, Serialize};

use super::bill::MONTH_H;
use super::plan::Plan;
use super::prices::{Prices, today};

/// From `above` unit-hours of a month on, one costs so much.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tier {
    pub above: f64,
    pub usd: f64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PriceUsed {
    /// The first unit's.
    pub usd_per_unit_hour: Option<f64>,
    pub region: String,
    /// Where it is from and how old it is, or why it is unknown.
    pub from: String,
    pub guess: bool,
    /// Where later units of a month cost less; empty where all cost the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tiers: Vec<Tier>,
}

impl PriceUsed {
    /// The price of the plan's unit: its own, else the list's for its region; unknown with the reason.
    pub fn of(plan: &Plan, prices: &Prices) -> Self {
        let (region, assumed) = match &plan.region {
            Some(region) => (region.clone(), ""),
            None => ("us-east-1".to_owned(), " (the plan names no region)"),
        };
        let unit = &plan.unit.name;
        if let Some(usd) = plan.usd_per_unit_hour {
            let from = format!("$ {usd} an hour for one {unit}, as the plan says");
            return Self { usd_per_unit_hour: Some(usd), region, from, ..Self::default() };
        }
        let item = match unit.as_str() {
            "rcu" => "dynamodb.rcu-hour",
            "wcu" => "dynamodb.wcu-hour",
            "tps" => "personalize.tps-hour",
            other => {
                let from = format!("no price is known for one {other}; give usd_per_unit_hour in the plan");
                return Self { region, from, ..Self::default() };
            }
        };
        let rows = prices.rows(item, &region);
        let tiers: Vec<Tier> = rows.iter().map(|r| Tier { above: r.above, usd: r.usd }).collect();
        let usd = prices.one(item, &region);
        let later = if tiers.len() > 1 { ", less for the later ones of a month" } else { "" };
        let from = match usd {
            Some(usd) => {
                let age = prices.age_of(item, &region, today());
                format!("$ {usd} an hour for one {unit} in {region}{assumed}{later}, {age}")
            }
            None => format!("no price of {item} in {region}; known for {}", prices.regions(item).join(", ")),
        };
        let guess = prices.is_guess(item, &region);
        let tiers = if usd.is_some() && tiers.len() > 1 { tiers } else { Vec::new() };
        Self { usd_per_unit_hour: usd, guess, region, from, tiers }
    }

    /// What so many units cost an hour, at this pace for a month.
    pub fn per_hour(&self, units: f64) -> Option<f64> {
        let flat = self.usd_per_unit_hour? * units;
        if self.tiers.is_empty() {
            return Some(flat);
        }
        let month = units * MONTH_H;
        let ends = self.tiers.iter().skip(1).map(|t| t.above).chain([f64::INFINITY]);
        let usd: f64 = self.tiers.iter().zip(ends).map(|(t, end)| (month.min(end) - t.above).max(0.0) * t.usd).sum();
        Some(usd / MONTH_H)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_campaigns_later_hours_cost_less() {
        let plan = "[descend]\nknob = \"personalize\"\ncampaign = \"arn\"\nstart = 500\nhold = \"24h\"\n";
        let plan = Plan::parse("plan.toml", plan).expect("a plan");
        let price = PriceUsed::of(&plan, &Prices::open(None, Path::new("/nowhere")).expect("prices"));
        // 500 TPS all month: 20,000 x .20 + 180,000 x .10 + 165,000 x .05 = 30,250; 100 TPS: 20,000 x .20 + 53,000 x .10.
        let month = |units: f64| price.per_hour(units).expect("known") * MONTH_H;
        assert!((month(500.0) - 30_250.0).abs() < 1e-6 && (month(100.0) - 9_300.0).abs() < 1e-6);
        assert!(price.guess && price.from.contains("less for the later ones"), "{}", price.from);
    }

    #[test]
    fn what_has_no_price_costs_an_unknown_sum() {
        assert_eq!(PriceUsed::default().per_hour(10.0), None);
    }
}
