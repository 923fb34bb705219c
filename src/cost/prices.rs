//! The price list: dated rows with their source, by item and region; what is not in it is unknown, never zero.

use std::path::Path;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::error::CostError;
use crate::toml_file::{self, TomlError};

const SHIPPED: &str = include_str!("prices.toml");
/// Prices older than this are worth a second look.
const OLD_DAYS: i64 = 180;

/// One row: what a unit of `item` costs in `region`, from `above` units a month on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    pub item: String,
    pub region: String,
    #[serde(default)]
    pub above: f64,
    pub usd: f64,
    pub source: String,
    /// Whether it was not read at the source itself.
    #[serde(default)]
    pub guess: bool,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    date: String,
    #[serde(default)]
    price: Vec<Price>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Prices {
    pub name: String,
    pub date: Date,
    pub rows: Vec<Price>,
}

impl Prices {
    /// The list that is part of this program, with the rows of the user's file before it.
    pub fn open(own: Option<&Path>) -> Result<Self, CostError> {
        let shipped = Self::parse("the shipped prices", SHIPPED)?;
        let Some(path) = own else { return Ok(shipped) };
        let mut list = Self::parse(&path.display().to_string(), &toml_file::text(path)?)?;
        let known = |row: &Price| list.rows.iter().any(|r| r.item == row.item && r.region == row.region);
        let rest: Vec<Price> = shipped.rows.into_iter().filter(|row| !known(row)).collect();
        if !rest.is_empty() {
            // The age shown is that of the oldest row that may be used.
            list.date = list.date.min(shipped.date);
        }
        list.rows.extend(rest);
        Ok(list)
    }

    fn parse(name: &str, text: &str) -> Result<Self, CostError> {
        let file: File = toml_file::parse(name, text)?;
        let bad = |what: String| CostError::File(TomlError::about(name, what));
        let date = file.date.parse().map_err(|_| bad(format!("date = `{}` is not a day (2026-11-23)", file.date)))?;
        for row in &file.price {
            let wrong = |what: &str| bad(format!("the price of {} in {} is {what}", row.item, row.region));
            if !row.usd.is_finite() || row.usd < 0.0 {
                return Err(wrong(&format!("{}; a price is a number from 0 on", row.usd)));
            }
            if !row.above.is_finite() || row.above < 0.0 {
                return Err(wrong("for a negative amount"));
            }
            if row.source.trim().is_empty() {
                return Err(wrong("without a source"));
            }
        }
        Ok(Self { name: name.to_owned(), date, rows: file.price })
    }

    /// The rows of an item in a region, cheapest amount first; empty where unknown.
    pub fn rows(&self, item: &str, region: &str) -> Vec<&Price> {
        let mut rows: Vec<&Price> = self.rows.iter().filter(|r| r.item == item && r.region == region).collect();
        rows.sort_by(|a, b| a.above.total_cmp(&b.above));
        rows
    }

    /// What the first unit costs.
    pub fn one(&self, item: &str, region: &str) -> Option<f64> {
        self.rows(item, region).first().filter(|r| r.above == 0.0).map(|r| r.usd)
    }

    /// What `amount` units of one month cost, tier by tier.
    pub fn of(&self, item: &str, region: &str, amount: f64) -> Option<f64> {
        let rows = self.rows(item, region);
        rows.first().filter(|r| r.above == 0.0)?;
        let ends = rows.iter().skip(1).map(|r| r.above).chain([f64::INFINITY]);
        Some(rows.iter().zip(ends).map(|(row, end)| (amount.min(end) - row.above).max(0.0) * row.usd).sum())
    }

    pub fn is_guess(&self, item: &str, region: &str) -> bool {
        self.rows(item, region).iter().any(|r| r.guess)
    }

    pub fn age_days(&self, today: Date) -> i64 {
        i64::from(self.date.until(today).map_or(0, |span| span.get_days()))
    }

    /// How old the prices are, for wherever money is shown.
    pub fn age(&self, today: Date) -> String {
        match self.age_days(today) {
            d if d > OLD_DAYS => format!("prices of {}, {d} days old: look again", self.date),
            d if d < 0 => format!("prices of {}, which is in the future", self.date),
            d => format!("prices of {}, {d} days old", self.date),
        }
    }

    /// Regions that have a price of this item.
    pub fn regions(&self, item: &str) -> Vec<&str> {
        let mut regions: Vec<&str> = self.rows.iter().filter(|r| r.item == item).map(|r| r.region.as_str()).collect();
        regions.sort_unstable();
        regions.dedup();
        regions
    }
}

/// Today, in UTC.
pub fn today() -> Date {
    jiff::Timestamp::now().to_zoned_datetime(jiff::tz::TimeZone::UTC).date()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shipped() -> Prices {
        Prices::open(None).expect("the shipped list reads")
    }

    #[test]
    fn tiers_are_added_up() {
        // 500 TPS for 730 hours: 20,000 x .20 + 180,000 x .10 + 165,000 x .05.
        let usd = shipped().of("personalize.tps-hour", "us-east-1", 365_000.0);
        assert_eq!(usd, Some(4_000.0 + 18_000.0 + 8_250.0));
    }

    #[test]
    fn another_region_is_unknown_not_zero() {
        assert_eq!(shipped().of("fargate.vcpu-hour", "eu-west-3", 10.0), None);
        assert_eq!(shipped().one("dynamodb.rcu-hour", "mars-1"), None);
        assert_eq!(shipped().one("dynamodb.rcu-hour", "eu-west-3"), Some(0.000_154_4));
    }

    #[test]
    fn bad_rows_are_refused_by_name() {
        let row = |usd: &str| format!("date='2026-01-01'\n[[price]]\nitem='x'\nregion='r'\nusd={usd}\nsource='s'\n");
        for usd in ["-0.1", "nan", "inf"] {
            let error = Prices::parse("mine.toml", &row(usd)).expect_err(usd).to_string();
            assert!(error.contains("the price of x in r"), "{error}");
        }
        assert!(Prices::parse("mine.toml", "date='soon'").is_err());
    }

    #[test]
    fn age_is_counted_in_days() {
        let prices = shipped();
        assert_eq!(prices.age_days("2027-01-02".parse().expect("a day")), 40);
        assert!(prices.age("2028-01-02".parse().expect("a day")).contains("look again"));
    }
}
