//! The price list: dated rows with their source, by item and region; what is not in it is unknown, never zero.

use std::path::{Path, PathBuf};

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::error::CostError;
use crate::durable;
use crate::toml_file::{self, TomlError};

const SHIPPED: &str = include_str!("prices.toml");
/// Prices older than this are worth a second look.
const OLD_DAYS: i64 = 180;

/// What a GB costs that leaves for another region, whichever it is.
pub const TRANSFER: &str = "transfer.region-gb";

/// What a GB costs that leaves for this region.
pub fn transfer_to(region: &str) -> String {
    format!("transfer.to-{region}-gb")
}

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
    /// The day it was read, where that is not the file's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// The shipped list, before it what an update has fetched, before both the user's own file.
    pub fn open(own: Option<&Path>, updated: &Path) -> Result<Self, CostError> {
        let mut list = Self::parse("the shipped prices", SHIPPED)?;
        let fetched = Some(updated).filter(|path| path.is_file());
        for path in fetched.into_iter().chain(own) {
            list = Self::parse(&path.display().to_string(), &toml_file::text(path)?)?.before(list);
        }
        Ok(list)
    }

    /// Where an update keeps what it fetched.
    pub fn updated(home: &Path) -> PathBuf {
        home.join("cost").join("prices.toml")
    }

    fn before(mut self, other: Self) -> Self {
        let known = |row: &Price| self.rows.iter().any(|r| r.item == row.item && r.region == row.region);
        let rest: Vec<Price> = other.rows.into_iter().filter(|row| !known(row)).collect();
        if !rest.is_empty() {
            // The age of the whole is that of its oldest row.
            self.date = self.date.min(other.date);
        }
        self.rows.extend(rest);
        self
    }

    /// Puts fetched rows before those that an earlier update has kept, and keeps them all.
    pub fn keep(path: &Path, rows: Vec<Price>, today: Date) -> Result<(), CostError> {
        let name = path.display().to_string();
        let fresh = Self { name: name.clone(), date: today, rows };
        let all = if path.is_file() { fresh.before(Self::parse(&name, &toml_file::text(path)?)?) } else { fresh };
        let bad = |what: String| CostError::File(TomlError::about(&name, what));
        let file = File { date: all.date.to_string(), price: all.rows };
        let text = toml::to_string_pretty(&file).map_err(|e| bad(e.to_string()))?;
        let text = format!("# Fetched by `serin cost prices update`; the next update writes it anew.\n{text}");
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)
            .and_then(|()| durable::write(path, text.as_bytes()))
            .map_err(|e| bad(format!("cannot be written: {e}")))
    }

    fn parse(name: &str, text: &str) -> Result<Self, CostError> {
        let file: File = toml_file::parse(name, text)?;
        let bad = |what: String| CostError::File(TomlError::about(name, what));
        let day = |text: &str| -> Result<Date, CostError> {
            text.parse().map_err(|_| bad(format!("date = `{text}` is not a day (2026-11-23)")))
        };
        let date = day(&file.date)?;
        let mut rows = file.price;
        for row in &mut rows {
            let text = row.date.get_or_insert_with(|| date.to_string()).clone();
            day(&text)?;
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
        Ok(Self { name: name.to_owned(), date, rows })
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

    /// Returns what one unit costs from each amount of a month on; empty where the price is not known.
    pub fn tiers(&self, item: &str, region: &str) -> Vec<(f64, f64)> {
        self.rows(item, region).iter().map(|r| (r.above, r.usd)).collect()
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

    /// The day of the oldest price of a region; of the whole list where it has none.
    pub fn date_in(&self, region: &str) -> Date {
        let dates = self.rows.iter().filter(|r| r.region == region).filter_map(|r| r.date.as_ref()?.parse().ok());
        dates.min().unwrap_or(self.date)
    }

    pub fn age_days(&self, region: &str, today: Date) -> i64 {
        i64::from(self.date_in(region).until(today).map_or(0, |span| span.get_days()))
    }

    /// How old the prices of a region are, for wherever money is shown.
    pub fn age(&self, region: &str, today: Date) -> String {
        aged(self.date_in(region), today)
    }

    /// How old one price is.
    pub fn age_of(&self, item: &str, region: &str, today: Date) -> String {
        let rows = self.rows(item, region);
        let date = rows.iter().filter_map(|r| r.date.as_ref()?.parse().ok()).min();
        aged(date.unwrap_or_else(|| self.date_in(region)), today)
    }

    /// Regions that have a price of this item.
    pub fn regions(&self, item: &str) -> Vec<&str> {
        let mut regions: Vec<&str> = self.rows.iter().filter(|r| r.item == item).map(|r| r.region.as_str()).collect();
        regions.sort_unstable();
        regions.dedup();
        regions
    }
}

fn aged(date: Date, today: Date) -> String {
    match date.until(today).map_or(0, |span| i64::from(span.get_days())) {
        d if d > OLD_DAYS => format!("prices of {date}, {d} days old: look again (`serin cost prices update`)"),
        d if d < 0 => format!("prices of {date}, which is in the future"),
        d => format!("prices of {date}, {d} days old"),
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
        Prices::open(None, Path::new("/nowhere")).expect("the shipped list reads")
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
    fn what_was_fetched_comes_before_what_was_shipped_and_keeps_its_own_age() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = Prices::updated(dir.path());
        let row = |item: &str, usd: f64| Price {
            item: item.to_owned(),
            region: "eu-west-3".to_owned(),
            above: 0.0,
            usd,
            source: "the list".to_owned(),
            guess: false,
            date: Some("2027-01-01".to_owned()),
        };
        let today: Date = "2027-01-01".parse().expect("a day");
        Prices::keep(&path, vec![row("dynamodb.rcu-hour", 0.5)], today).expect("kept");
        Prices::keep(&path, vec![row("s3.gb-month", 0.25)], today).expect("kept");
        let prices = Prices::open(None, &path).expect("reads");
        assert_eq!(prices.one("dynamodb.rcu-hour", "eu-west-3"), Some(0.5), "an earlier update is kept");
        assert_eq!(
            (prices.one("s3.gb-month", "eu-west-3"), prices.one("dynamodb.rcu-hour", "us-east-1")),
            (Some(0.25), Some(0.000_13))
        );
        assert_eq!(prices.age_of("s3.gb-month", "eu-west-3", today), "prices of 2027-01-01, 0 days old");
        assert!(prices.age("eu-west-3", today).contains("2026-11-23"), "its WCU is still the shipped one");
    }

    #[test]
    fn age_is_counted_in_days() {
        let prices = shipped();
        assert_eq!(prices.age_days("us-east-1", "2027-01-02".parse().expect("a day")), 40);
        assert!(prices.age("us-east-1", "2028-01-02".parse().expect("a day")).contains("look again"));
    }
}
