//! Units of capacity: how many of them a request takes, and which price they have.

use super::plan::KnobKind;
use crate::serve::limiter::BURST_S;

/// What the plan's numbers count.
#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    /// "rcu", "wcu", "tps", "replica", or the user's own word.
    pub name: String,
    per_request: f64,
}

impl Unit {
    /// The unit of a knob; says what is wrong with the plan's keys where they do not fit.
    pub fn of(
        knob: KnobKind,
        name: Option<&str>,
        item_kb: Option<f64>,
        consistent: Option<bool>,
        per_unit: Option<f64>,
    ) -> Result<Self, String> {
        if item_kb.is_some_and(|kb| !(kb > 0.0 && kb <= 400.0)) {
            return Err("item_kb is outside 0 to 400, the largest item".to_owned());
        }
        if per_unit.is_some_and(|n| !(n.is_finite() && n > 0.0)) {
            return Err("per_unit, the requests a second that one unit carries, must be above 0".to_owned());
        }
        let named = |usual: &str| name.unwrap_or(usual).to_owned();
        let unit = |name: String, per_request: f64| Self { name, per_request };
        match (knob, name.unwrap_or("rcu")) {
            (KnobKind::Local, other) if other != "rcu" => Err(format!("unit of the local table is rcu, not `{other}`")),
            (KnobKind::Dynamodb | KnobKind::Local, "rcu") => {
                Ok(unit(named("rcu"), read_units(item_kb.unwrap_or(4.0), consistent.unwrap_or(false))))
            }
            (KnobKind::Dynamodb, "wcu") => Ok(unit(named("wcu"), write_units(item_kb.unwrap_or(1.0)))),
            (KnobKind::Dynamodb | KnobKind::Local, other) => {
                Err(format!("unit of a dynamodb table is rcu or wcu, not `{other}`"))
            }
            (KnobKind::Personalize, _) if name.is_some_and(|n| n != "tps") => {
                Err(format!("unit of a campaign is tps, not `{}`", named("tps")))
            }
            (KnobKind::Personalize, _) => Ok(unit(named("tps"), 1.0)),
            (KnobKind::Replicas, _) => match per_unit {
                Some(n) => Ok(unit(named("replica"), 1.0 / n)),
                None => {
                    Err("replicas need per_unit, the requests a second that one carries (see `serin limit`)".to_owned())
                }
            },
            (KnobKind::Command, "rcu") if per_unit.is_none() => {
                Ok(unit(named("rcu"), read_units(item_kb.unwrap_or(4.0), consistent.unwrap_or(false))))
            }
            (KnobKind::Command, _) => Ok(unit(named("unit"), 1.0 / per_unit.unwrap_or(1.0))),
        }
    }

    /// Units of capacity that one request a second takes.
    pub fn units_a_request(&self) -> f64 {
        self.per_request
    }

    /// Seconds of unused units that are kept: five minutes by DynamoDB, next to nothing by anything else.
    pub fn burst_s(&self) -> f64 {
        if matches!(self.name.as_str(), "rcu" | "wcu") { BURST_S } else { 1.0 }
    }

    /// Whether demand is the writes of a trace, not its reads.
    pub fn is_writes(&self) -> bool {
        self.name == "wcu"
    }
}

/// RCU of one read: 4 KB each when strongly consistent, half of it when eventually.
pub fn read_units(item_kb: f64, consistent: bool) -> f64 {
    (item_kb / 4.0).ceil() * if consistent { 1.0 } else { 0.5 }
}

/// WCU of one write: 1 KB each.
pub fn write_units(item_kb: f64) -> f64 {
    item_kb.ceil()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_follow_the_table_of_sizes() {
        for (kb, strong, eventual, write) in
            [(0.5, 1.0, 0.5, 1.0), (4.0, 1.0, 0.5, 4.0), (4.1, 2.0, 1.0, 5.0), (9.0, 3.0, 1.5, 9.0)]
        {
            assert_eq!(
                (read_units(kb, true), read_units(kb, false), write_units(kb)),
                (strong, eventual, write),
                "{kb} KB"
            );
        }
    }
}
