//! A bill: lines of amount times price; a line without a price makes the sum unknown, and says so.

use serde::Serialize;

use super::prices::Prices;

/// Hours of a month, as AWS's own calculator has it.
pub const MONTH_H: f64 = 730.0;

/// Whose prices count.
#[derive(Clone, Copy, Debug)]
pub struct Market<'a> {
    pub prices: &'a Prices,
    pub region: &'a str,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    pub what: String,
    pub item: String,
    pub amount: f64,
    /// `None` where no price is known.
    pub usd: Option<f64>,
    /// The price, or the amount, is not certain.
    pub guess: bool,
    /// How the amount came about.
    pub how: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Bill {
    pub lines: Vec<Line>,
}

impl Bill {
    /// Adds `amount` of an item at its price there.
    pub fn add(&mut self, market: Market<'_>, item: &str, amount: f64, what: &str, how: String, guess: bool) {
        let Market { prices, region } = market;
        self.lines.push(Line {
            what: what.to_owned(),
            item: item.to_owned(),
            amount,
            usd: prices.of(item, region, amount),
            guess: guess || prices.is_guess(item, region),
            how,
        });
    }

    /// The sum; `None` as soon as one line is unknown.
    pub fn usd(&self) -> Option<f64> {
        self.lines.iter().map(|l| l.usd).sum()
    }

    /// The sum of a month at this pace, tier by tier, where the lines are those of `hours`.
    pub fn month(&self, market: Market<'_>, hours: f64) -> Option<f64> {
        let Market { prices, region } = market;
        let month = MONTH_H / hours;
        let each = |l: &Line| match prices.of(&l.item, region, l.amount * month) {
            Some(usd) => Some(usd),
            // A price of the reader's own has no tiers.
            None => l.usd.map(|usd| usd * month),
        };
        self.lines.iter().map(|l| l.usd.and_then(|_| each(l))).sum()
    }

    /// The sum of what is known.
    pub fn known_usd(&self) -> f64 {
        self.lines.iter().filter_map(|l| l.usd).sum()
    }

    /// What has no price.
    pub fn unknown(&self) -> Vec<&str> {
        self.lines.iter().filter(|l| l.usd.is_none()).map(|l| l.what.as_str()).collect()
    }

    pub fn has_guesses(&self) -> bool {
        self.lines.iter().any(|l| l.guess)
    }
}
