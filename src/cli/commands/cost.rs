//! `serin cost`: money now and on paper, the price list, and the way down.

use std::path::PathBuf;
use std::time::Duration;

use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::cost::bill::{Bill, MONTH_H, Market};
use crate::cost::demand::Demand;
use crate::cost::descent::PriceUsed;
use crate::cost::error::CostError;
use crate::cost::estimate::{Estimate, Question};
use crate::cost::evening;
use crate::cost::meter::{Metered, meter};
use crate::cost::plan::Plan;
use crate::cost::prices::{Prices, today};
use crate::run::error::RunError;
use crate::run::jobs::cost::{Descend as Real, Simulate};
use crate::stats::units::{Usd, grouped, parse_duration, parse_share};

/// Money: what it costs, what it would cost, and the way down to the cheapest capacity that holds
#[derive(clap::Args)]
#[command(after_help = "Example: serin cost descend scenarios/cost-descend.toml --simulate")]
pub struct Cost {
    #[command(subcommand)]
    word: Word,
}

#[derive(clap::Subcommand)]
enum Word {
    Show(Box<Show>),
    Estimate(Box<OnPaper>),
    Descend(Box<Descend>),
    Prices(List),
}

impl Cost {
    pub fn run(self, session: &Session) -> Result<Exit, RunError> {
        match self.word {
            Word::Show(command) => command.run(session),
            Word::Estimate(command) => command.run(session),
            Word::Descend(command) => command.run(session),
            Word::Prices(command) => command.run(session),
        }
    }
}

fn misuse(error: CostError) -> RunError {
    RunError::misuse(error)
}

/// What recorded demand costs by each way of paying: provisioned, on demand, a Personalize campaign
#[derive(clap::Args)]
#[command(
    after_help = "Example: serin cost show --trace demand.csv --read-capacity 300 --write-capacity 20 --region eu-west-3"
)]
struct Show {
    /// Recorded demand: timestamp,reads_per_second[,writes_per_second]
    #[arg(long, value_name = "DEMAND.csv")]
    trace: PathBuf,
    /// The RCU that were provisioned
    #[arg(long, value_name = "RCU")]
    read_capacity: Option<f64>,
    /// The WCU that were provisioned
    #[arg(long, value_name = "WCU")]
    write_capacity: Option<f64>,
    /// The TPS that the campaign has provisioned
    #[arg(long, value_name = "TPS", default_value_t = 1.0)]
    minimum_tps: f64,
    /// Size of one item
    #[arg(long, value_name = "KB", default_value_t = 0.8)]
    item_kb: f64,
    /// Reads are strongly consistent (else eventually)
    #[arg(long)]
    consistent: bool,
    #[arg(long, default_value = "us-east-1")]
    region: String,
    /// Own prices, before the shipped ones
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,
}

impl Show {
    fn run(self, session: &Session) -> Result<Exit, RunError> {
        let prices = Prices::open(self.prices.as_deref()).map_err(misuse)?;
        let amounts = [Some(self.minimum_tps), Some(self.item_kb), self.read_capacity, self.write_capacity];
        if amounts.iter().flatten().any(|v| !v.is_finite() || *v < 0.0) {
            return Err(RunError::misuse("capacities and sizes are numbers from 0 on"));
        }
        let demand = Demand::open(&self.trace).map_err(misuse)?;
        let metered = meter(&demand, self.item_kb, self.consistent, self.minimum_tps);
        let ways = self.ways(&prices, &metered);
        let requests = metered.requests;
        if session.global.json {
            let way = |(name, bill): &(&str, Bill)| {
                let usd = bill.usd();
                serde_json::json!({
                    "way": name, "usd": usd, "lines": bill.lines, "guess": bill.has_guesses(), "unknown": bill.unknown(),
                    "usd_per_hour": usd.filter(|_| metered.hours > 0.0).map(|u| u / metered.hours),
                    "usd_per_day": usd.filter(|_| metered.hours > 0.0).map(|u| u / metered.hours * 24.0),
                    "usd_per_month": usd.filter(|_| metered.hours > 0.0).map(|u| u / metered.hours * MONTH_H),
                    "usd_per_million": usd.filter(|_| requests > 0.0).map(|u| u / (requests / 1e6)),
                })
            };
            let document = serde_json::json!({
                "schema": "serin.cost/1", "trace": demand.name, "region": self.region, "hours": metered.hours,
                "requests": requests, "missing_s": metered.missing_s, "ways": ways.iter().map(way).collect::<Vec<_>>(),
                "prices": {"date": prices.date.to_string(), "age_days": prices.age_days(today())}, "notes": demand.notes,
            });
            println!("{document}");
            return Ok(Exit::Go);
        }
        println!("{}: {:.1} h, {} reads, in {}", demand.name, metered.hours, grouped(requests as u64), self.region);
        for (name, bill) in &ways {
            let sum = match bill.usd() {
                Some(usd) => format!(
                    "{} in all, {} an hour, {} a month, {} a million reads",
                    Usd(usd),
                    Usd(usd / metered.hours),
                    Usd(usd / metered.hours * MONTH_H),
                    if requests > 0.0 { Usd(usd / (requests / 1e6)).to_string() } else { "?".to_owned() }
                ),
                None => format!("unknown: no price in {} for {}", self.region, bill.unknown().join(", ")),
            };
            println!("{name:<22} {}{sum}", if bill.has_guesses() { "~ " } else { "  " });
            for line in &bill.lines {
                let usd = line.usd.map_or("unknown".to_owned(), |u| Usd(u).to_string());
                println!("  {:<20} {usd:>12}  {}", line.what, line.how);
            }
        }
        if metered.missing_s > 0.0 {
            println!("! {:.1} h are missing in the trace and are in no sum", metered.missing_s / 3_600.0);
        }
        demand.notes.iter().for_each(|n| println!("! {n}"));
        println!("{}; ~ marks guesses; US dollars without tax", prices.age(today()));
        Ok(Exit::Go)
    }

    fn ways(&self, prices: &Prices, metered: &Metered) -> Vec<(&'static str, Bill)> {
        let line = |bill: &mut Bill, item: &str, amount: f64, what: &str, how: String| {
            bill.add(Market { prices, region: &self.region }, item, amount, what, how, false);
        };
        let mut ways = Vec::new();
        if self.read_capacity.is_some() || self.write_capacity.is_some() {
            let mut bill = Bill::default();
            for (capacity, item, what) in [
                (self.read_capacity, "dynamodb.rcu-hour", "RCU-hours"),
                (self.write_capacity, "dynamodb.wcu-hour", "WCU-hours"),
            ] {
                if let Some(c) = capacity {
                    line(&mut bill, item, c * metered.hours, what, format!("{c} x {:.2} h", metered.hours));
                }
            }
            ways.push(("DynamoDB provisioned", bill));
        }
        let mut bill = Bill::default();
        line(
            &mut bill,
            "dynamodb.read-request",
            metered.read_units,
            "read units",
            format!("{:.0} RRU", metered.read_units),
        );
        if metered.write_units > 0.0 {
            line(
                &mut bill,
                "dynamodb.write-request",
                metered.write_units,
                "write units",
                format!("{:.0} WRU", metered.write_units),
            );
        }
        ways.push(("DynamoDB on demand", bill));
        let mut bill = Bill::default();
        let how = format!("{:.1} TPS-hours, at least {} TPS, by five minutes", metered.tps_hours, self.minimum_tps);
        line(&mut bill, "personalize.tps-hour", metered.tps_hours, "TPS-hours", how);
        ways.push(("Personalize campaign", bill));
        ways
    }
}

/// On paper: the own stack against Personalize, with the break-even
#[derive(clap::Args)]
#[command(after_help = "Example: serin cost estimate --viewers 45000000 --peak 500 --region us-east-1")]
struct OnPaper {
    #[arg(long, default_value_t = 45_000_000)]
    viewers: u64,
    /// Recommendations a second at the evening's peak
    #[arg(long, default_value_t = 500.0, value_name = "RATE")]
    peak: f64,
    /// The day's mean in shares of the peak (else an ordinary evening's)
    #[arg(long, value_name = "SHARE")]
    mean: Option<String>,
    #[arg(long, default_value = "us-east-1")]
    region: String,
    /// Size of one viewer's list
    #[arg(long, value_name = "KB", default_value_t = 0.8)]
    item_kb: f64,
    /// Reads of the store for one recommendation
    #[arg(long, value_name = "N", default_value_t = 1.0)]
    reads: f64,
    /// Reads are strongly consistent (else eventually)
    #[arg(long)]
    consistent: bool,
    /// Room kept above the peak
    #[arg(long, value_name = "SHARE", default_value = "5%")]
    headroom: String,
    /// Share of the lists that are written again each day
    #[arg(long, value_name = "SHARE", default_value = "100%")]
    changed: String,
    /// Hours in which they are written
    #[arg(long, value_name = "HOURS", default_value_t = 4.0)]
    publish_hours: f64,
    /// Requests a second that one replica of the API carries
    #[arg(long, value_name = "RATE", default_value_t = 400.0)]
    per_replica: f64,
    /// The fewest replicas
    #[arg(long, value_name = "N", default_value_t = 3)]
    replicas: u32,
    /// Hours of training a day, on 4 vCPU and 8 GB
    #[arg(long, value_name = "HOURS", default_value_t = 1.0)]
    training_hours: f64,
    /// TPS that the campaign has provisioned (else the peak: less may lose requests while it grows)
    #[arg(long, value_name = "TPS")]
    minimum_tps: Option<f64>,
    /// Training hours that Personalize bills a month
    #[arg(long, value_name = "HOURS", default_value_t = 120.0)]
    campaign_training_hours: f64,
    /// GB of interactions sent to Personalize a month
    #[arg(long, value_name = "GB", default_value_t = 100.0)]
    ingestion_gb: f64,
    /// Metrics read from CloudWatch each minute
    #[arg(long, value_name = "N", default_value_t = 40.0)]
    metrics: f64,
    /// Own prices, before the shipped ones
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,
}

impl OnPaper {
    fn run(self, session: &Session) -> Result<Exit, RunError> {
        let prices = Prices::open(self.prices.as_deref()).map_err(misuse)?;
        let share = |flag: &str, text: &str| {
            parse_share(text).map(|s| s.0).map_err(|e| RunError::misuse(format!("{flag}: {e}")))
        };
        let question = Question {
            viewers: self.viewers as f64,
            peak_per_second: self.peak,
            mean_share: self.mean.as_ref().map_or(Ok(evening::mean_share()), |m| share("--mean", m))?,
            region: self.region,
            item_kb: self.item_kb,
            consistent: self.consistent,
            reads_each: self.reads,
            headroom: share("--headroom", &self.headroom)?,
            changed_share: share("--changed", &self.changed)?,
            publish_hours: self.publish_hours,
            per_replica: self.per_replica,
            replica_vcpu: 1.0,
            replica_gb: 2.0,
            replicas_least: f64::from(self.replicas),
            training_hours: self.training_hours,
            training_vcpu: 4.0,
            training_gb: 8.0,
            metrics: self.metrics,
            minimum_tps: self.minimum_tps,
            campaign_training_hours: self.campaign_training_hours,
            ingestion_gb: self.ingestion_gb,
        };
        check(&question)?;
        let estimate = Estimate::of(question, &prices);
        if session.global.json {
            println!("{}", estimate.document());
        } else {
            estimate.lines().iter().for_each(|l| println!("{l}"));
        }
        Ok(Exit::Go)
    }
}

fn check(q: &Question) -> Result<(), RunError> {
    let from_0 = [
        ("--peak", q.peak_per_second),
        ("--reads", q.reads_each),
        ("--training-hours", q.training_hours),
        ("--campaign-training-hours", q.campaign_training_hours),
        ("--ingestion-gb", q.ingestion_gb),
        ("--metrics", q.metrics),
        ("--minimum-tps", q.minimum_tps.unwrap_or(0.0)),
    ];
    if let Some((flag, value)) = from_0.iter().find(|(_, v)| !v.is_finite() || *v < 0.0) {
        return Err(RunError::misuse(format!("{flag} is {value}; it is a number from 0 on")));
    }
    if !(q.item_kb > 0.0 && q.item_kb <= 400.0) {
        return Err(RunError::misuse(format!("--item-kb is {}; an item is above 0 and at most 400 KB", q.item_kb)));
    }
    if !(q.publish_hours > 0.0 && q.publish_hours <= 24.0) {
        return Err(RunError::misuse(format!("--publish-hours is {}; a day has 24", q.publish_hours)));
    }
    if !(q.per_replica > 0.0 && q.per_replica.is_finite()) {
        return Err(RunError::misuse(format!("--per-replica is {}; it must be above 0", q.per_replica)));
    }
    Ok(())
}

/// Step capacity down, day by day, to the cheapest that holds
///
/// Each step is proved on the demand seen so far, written to a journal, made, and read back; at the first throttle, or
/// before it, capacity goes up again. Stopped or killed, the same line goes on where it was.
#[derive(clap::Args)]
#[command(after_help = "Example: serin cost descend scenarios/cost-descend.toml --simulate --trace demand.csv --json")]
struct Descend {
    /// The plan; without it the built-in one, and --simulate
    plan: Option<PathBuf>,
    /// Walk recorded demand behind the limiter's model, touching nothing
    #[arg(long)]
    simulate: bool,
    /// Recorded demand: timestamp,reads_per_second[,writes_per_second]; simulated without it: 14 made days; for real:
    /// the days before now, to begin with
    #[arg(long, value_name = "DEMAND.csv")]
    trace: Option<PathBuf>,
    /// Spread the simulated walk over this much time, to watch it
    #[arg(long, value_name = "DURATION", requires = "simulate")]
    play: Option<String>,
    /// Own prices, before the shipped ones
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,
    /// Where the run's folder is made
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// The plan that is part of this program.
const BUILT_IN: &str = include_str!("../../../scenarios/cost-descend.toml");
/// The peak of the made demand, fit for the built-in plan.
const MADE: (u64, u32, f64) = (7, 14, 500.0);

impl Descend {
    fn run(self, session: &Session) -> Result<Exit, RunError> {
        let plan = match &self.plan {
            Some(path) => Plan::open(path).map_err(misuse)?,
            None => Plan::parse("scenarios/cost-descend.toml", BUILT_IN).map_err(misuse)?,
        };
        let prices = Prices::open(self.prices.as_deref()).map_err(misuse)?;
        let price = PriceUsed::of(&plan, &prices);
        if !self.simulate {
            if self.plan.is_none() {
                return Err(RunError::misuse("a way down for real needs its plan").hint("serin cost descend PLAN.toml"));
            }
            let history = self.trace.as_deref().map(Demand::open).transpose().map_err(misuse)?;
            return session.headless(Box::new(Real { plan, history, price }), self.out.as_deref());
        }
        let demand = match &self.trace {
            Some(path) => Demand::open(path).map_err(misuse)?,
            None => evening::demand(MADE.0, MADE.1, MADE.2),
        };
        let play = self.play.as_deref().map(parse_duration).transpose();
        let play: Option<Duration> = play.map_err(|e| RunError::misuse(format!("--play: {e}")))?;
        session.headless(Box::new(Simulate { plan, demand, price, play }), self.out.as_deref())
    }
}

/// The price list: each row with its source and date
#[derive(clap::Args)]
#[command(after_help = "Example: serin cost prices show")]
struct List {
    #[command(subcommand)]
    word: Option<ListWord>,
    /// Own prices, before the shipped ones
    #[arg(long, value_name = "FILE", global = true)]
    prices: Option<PathBuf>,
}

#[derive(clap::Subcommand)]
enum ListWord {
    /// Print the list
    Show,
}

impl List {
    fn run(self, session: &Session) -> Result<Exit, RunError> {
        let prices = Prices::open(self.prices.as_deref()).map_err(misuse)?;
        match self.word {
            None | Some(ListWord::Show) => {}
        }
        if session.global.json {
            let document = serde_json::json!({
                "schema": "serin.prices/1", "date": prices.date.to_string(), "age_days": prices.age_days(today()),
                "currency": "USD", "tax": "left out", "prices": prices.rows,
            });
            println!("{document}");
            return Ok(Exit::Go);
        }
        println!("{:<28} {:<14} {:>10} {:>13}    source", "item", "region", "above", "US dollars");
        for row in &prices.rows {
            let sign = if row.guess { "~" } else { " " };
            println!("{:<28} {:<14} {:>10} {:>13} {sign}  {}", row.item, row.region, row.above, row.usd, row.source);
        }
        println!("{}; ~ marks guesses; without tax; what is not here is unknown, not free", prices.age(today()));
        Ok(Exit::Go)
    }
}
