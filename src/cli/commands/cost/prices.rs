//! `serin cost prices`: the list with each row's source and age, and its update from AWS's own.

use std::path::PathBuf;

use super::misuse;
use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::cost::aws::{Aws, AwsError};
use crate::cost::price_list::{self, ListError};
use crate::cost::prices::{Prices, today};
use crate::run::error::RunError;

/// The price list: each row with its source and date
#[derive(clap::Args)]
#[command(after_help = "Example: serin cost prices update --region eu-west-3")]
pub struct List {
    #[command(subcommand)]
    word: Option<ListWord>,
    /// Own prices, before the fetched and the shipped ones
    #[arg(long, value_name = "FILE", global = true)]
    prices: Option<PathBuf>,
}

#[derive(clap::Subcommand)]
enum ListWord {
    /// Print the list
    Show,
    Update(Update),
}

/// Fetch a region's prices from AWS's price list, by signed calls (pricing:GetProducts)
#[derive(clap::Args)]
struct Update {
    /// Which region's; may be repeated (else AWS_REGION, else us-east-1)
    #[arg(long, value_name = "REGION")]
    region: Vec<String>,
    /// A server that speaks like the price list
    #[arg(long, value_name = "URL")]
    endpoint_url: Option<String>,
}

impl List {
    pub fn run(self, session: &Session) -> Result<Exit, RunError> {
        if let Some(ListWord::Update(update)) = self.word {
            return update.run(session);
        }
        let prices = super::open(self.prices.as_deref(), session)?;
        let document = serde_json::json!({
            "schema": "serin.prices/1", "date": prices.date.to_string(),
            "age_days": prices.date.until(today()).map_or(0, |s| s.get_days()),
            "currency": "USD", "tax": "left out", "prices": prices.rows,
        });
        session.print(&document, || lines(&prices));
        Ok(Exit::Go)
    }
}

fn lines(prices: &Prices) -> Vec<String> {
    let mut lines =
        vec![format!("{:<28} {:<14} {:>10} {:>13}    {:<10}  source", "item", "region", "above", "US dollars", "of")];
    for row in &prices.rows {
        let (sign, date) = (if row.guess { "~" } else { " " }, row.date.as_deref().unwrap_or("?"));
        lines.push(format!(
            "{:<28} {:<14} {:>10} {:>13} {sign}  {date:<10}  {}",
            row.item, row.region, row.above, row.usd, row.source
        ));
    }
    let days = prices.date.until(today()).map_or(0, |s| s.get_days());
    lines.push(format!(
        "the oldest is {days} days old; ~ marks guesses; without tax; what is not here is unknown, not free"
    ));
    lines
}

impl Update {
    fn run(self, session: &Session) -> Result<Exit, RunError> {
        let from_env = || std::env::var("AWS_REGION").ok().filter(|r| !r.is_empty());
        let regions = match self.region {
            none if none.is_empty() => vec![from_env().unwrap_or_else(|| "us-east-1".to_owned())],
            some => some,
        };
        let mut aws = Aws::open(Some(price_list::ASKED_IN), self.endpoint_url.as_deref()).map_err(error)?;
        let (path, day) = (Prices::updated(&session.home), today());
        let (mut rows, mut left) = (Vec::new(), Vec::new());
        for region in &regions {
            let mut updated = price_list::update(&mut aws, region, &day.to_string()).map_err(list_error)?;
            rows.append(&mut updated.rows);
            left.append(&mut updated.left);
        }
        if rows.is_empty() {
            let cause = format!("the price list knows nothing of {}: is the region's name right?", regions.join(", "));
            return Err(RunError::misuse(cause).hint("eu-west-3, us-east-1, .."));
        }
        let shipped = super::open(None, session)?;
        let changed: Vec<String> = rows
            .iter()
            .filter_map(|row| {
                let before = shipped.one(&row.item, &row.region).filter(|_| row.above == 0.0)?;
                (before.to_bits() != row.usd.to_bits())
                    .then(|| format!("{} in {}: {before} → {}", row.item, row.region, row.usd))
            })
            .collect();
        let fetched = rows.clone();
        Prices::keep(&path, rows, day).map_err(misuse)?;
        let document = serde_json::json!({
            "schema": "serin.prices-update/1", "date": day.to_string(), "regions": regions, "file": path,
            "prices": fetched, "changed": changed, "left": left,
        });
        session.print(&document, || {
            let mut lines =
                vec![format!("{} prices of {} are in {}", fetched.len(), regions.join(", "), path.display())];
            lines.extend(changed.iter().map(|c| format!("changed: {c}")));
            lines.extend(left.iter().map(|l| format!("! {l}")));
            lines
        });
        Ok(Exit::Go)
    }
}

fn error(e: AwsError) -> RunError {
    RunError::cannot_tell(e)
}

fn list_error(e: ListError) -> RunError {
    RunError::cannot_tell(e)
}
