//! `serin cost descend`: its flags, as a job.

use std::path::PathBuf;
use std::time::Duration;

use super::misuse;
use crate::cli::commands::console;
use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::cost::bill::MONTH_H;
use crate::cost::demand::Demand;
use crate::cost::evening;
use crate::cost::meter::meter;
use crate::cost::plan::Plan;
use crate::cost::prices::Prices;
use crate::cost::tariff::PriceUsed;
use crate::run::error::RunError;
use crate::run::jobs::cost::{Descend as Real, Market, Simulate};
use crate::stats::units::parse_duration;

/// Step capacity down, day by day, to the cheapest that holds
///
/// Each step is proved on the demand seen so far, written to a journal, made, and read back; at the first throttle, or
/// before it, capacity goes up again. Stopped or killed, the same line goes on where it was.
#[derive(clap::Args)]
#[command(after_help = "Example: serin cost descend scenarios/cost-descend.toml --simulate --trace demand.csv --json")]
pub struct Descend {
    /// The plan; without it the built-in one: 14 days in two minutes on the local stack
    plan: Option<PathBuf>,
    /// Walk recorded demand behind the limiter's model, touching nothing
    #[arg(long)]
    simulate: bool,
    /// Recorded demand: timestamp,reads_per_second[,writes_per_second]; simulated or on the local stack: what is played
    /// (without it: 14 made days); for real: the days before now, to begin with
    #[arg(long, value_name = "DEMAND.csv")]
    trace: Option<PathBuf>,
    /// Spread the simulated or played days over this much time, to watch them
    #[arg(long, value_name = "DURATION")]
    play: Option<String>,
    /// Own prices, before the shipped ones
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,
    /// Where the run's folder is made
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Descend {
    pub fn run(self, session: &Session) -> Result<Exit, RunError> {
        let plan = self.plan.as_deref().map_or_else(Plan::built_in, Plan::open).map_err(misuse)?;
        let prices = super::open(self.prices.as_deref(), session)?;
        let price = PriceUsed::of(&plan, &prices);
        let demand = self.trace.as_deref().map(Demand::open).transpose().map_err(misuse)?;
        let play = self.play.as_deref().map(parse_duration).transpose();
        let play: Option<Duration> = play.map_err(|e| RunError::misuse(format!("--play: {e}")))?;
        let made = || evening::demand(plan.local.seed, plan.local.days, plan.local.peak);
        if self.simulate {
            let demand = demand.unwrap_or_else(made);
            let market = market(&plan, &prices, Some(&demand));
            return console::show(
                session,
                Box::new(Simulate { plan, demand, price, market, play }),
                self.out.as_deref(),
            );
        }
        let mut plan = plan;
        if let Some(play) = play {
            if !plan.is_local() {
                return Err(RunError::misuse("--play is for --simulate, or for the local stack"));
            }
            plan.local.play = play;
        }
        let market = market(&plan, &prices, demand.as_ref());
        let job = Real { plan, demand, price, market };
        console::show(session, Box::new(job), self.out.as_deref())
    }
}

/// The prices of the plan's region, and what else the same demand would cost by them.
fn market(plan: &Plan, prices: &Prices, demand: Option<&Demand>) -> Market {
    let region = plan.region.as_deref().unwrap_or("us-east-1");
    let on_demand = match plan.unit.name.as_str() {
        "rcu" => prices.one("dynamodb.read-request", region),
        "wcu" => prices.one("dynamodb.write-request", region),
        _ => None,
    };
    // A list to each other region is too long to look through; it stays in `serin cost prices`.
    let shown = prices.rows.iter().filter(|r| r.region == region && !r.item.starts_with("transfer.to-"));
    Market {
        campaign_usd_per_hour: campaign(plan, prices, demand),
        on_demand_usd: on_demand.map(|usd| usd * plan.unit.units_a_request()),
        prices: shown.cloned().collect(),
    }
}

/// What a campaign would cost an hour for the same demand, its minimum at 1 TPS; unknown without a record or a price.
fn campaign(plan: &Plan, prices: &Prices, demand: Option<&Demand>) -> Option<f64> {
    let made = plan.is_local().then(|| evening::demand(plan.local.seed, plan.local.days, plan.local.peak));
    let metered = meter(demand.or(made.as_ref())?, 4.0, false, 1.0);
    let region = plan.region.as_deref().unwrap_or("us-east-1");
    // A month's tiers, at this month's pace.
    let month = metered.tps_hours / metered.hours * MONTH_H;
    Some(prices.of("personalize.tps-hour", region, month)? / MONTH_H)
}
