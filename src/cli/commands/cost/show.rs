//! `serin cost show`: what recorded, live or loaded demand costs, each way of paying beside the others.

use std::path::PathBuf;
use std::time::Duration;

use super::misuse;
use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::cost::aws::Aws;
use crate::cost::bill::{Bill, MONTH_H, Market};
use crate::cost::capacity::read_units;
use crate::cost::demand::{Demand, Sample};
use crate::cost::live::{self, Live, LiveCampaign};
use crate::cost::meter::{Metered, meter};
use crate::cost::pages::Pages;
use crate::cost::parts::Parts;
use crate::cost::prices::{Prices, today};
use crate::lock::Lock;
use crate::run::error::RunError;
use crate::run::past::{self, PastLoad};
use crate::serve::stack;
use crate::stats::units::{Usd, grouped, parse_duration};
use crate::stop::Stop;

/// What demand costs by each way of paying: provisioned, on demand, a campaign; and what stands around it
///
/// Demand comes from what is asked now (--live), from a record (--trace), from a load that was run (--run), or from a
/// table's or a campaign's own numbers in CloudWatch (--table, --campaign). Hour, day and month are those of a month at
/// this pace, its tiers counted.
#[derive(clap::Args)]
#[command(
    after_help = "Example: serin cost show --trace demand.csv --read-capacity 300 --write-capacity 20 --region eu-west-3"
)]
pub struct Show {
    /// As it is now: the limiter of the local stack (else --metrics-page), looked at twice
    #[arg(long, conflicts_with_all = ["trace", "run", "table", "campaign"])]
    live: bool,
    /// With --live: the /metrics of an instance of `serin serve`; may be repeated
    #[arg(long, value_name = "URL", requires = "live")]
    metrics_page: Vec<String>,
    /// With --live: how long between the two looks
    #[arg(long = "for", value_name = "DURATION", default_value = "10s", requires = "live")]
    lasts: String,
    /// Recorded demand: timestamp,reads_per_second[,writes_per_second]
    #[arg(long, value_name = "DEMAND.csv", conflicts_with_all = ["run", "table", "campaign"])]
    trace: Option<PathBuf>,
    /// A load that was run: its folder, its name, or `latest`
    #[arg(long, value_name = "RUN", conflicts_with_all = ["table", "campaign"])]
    run: Option<String>,
    /// A DynamoDB table: DescribeTable, and what CloudWatch says it consumed
    #[arg(long, value_name = "NAME", conflicts_with = "campaign")]
    table: Option<String>,
    /// A Personalize campaign: DescribeCampaign, and its requests by five minutes in CloudWatch
    #[arg(long, value_name = "ARN")]
    campaign: Option<String>,
    /// How far back a table or a campaign is looked at: whole hours, or 5m to 3h
    #[arg(long, value_name = "DURATION", default_value = "24h")]
    since: String,
    /// A server that speaks like AWS
    #[arg(long, value_name = "URL")]
    endpoint_url: Option<String>,
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
    /// GB in the table
    #[arg(long, value_name = "GB")]
    storage_gb: Option<f64>,
    /// GB of back-ups that are kept
    #[arg(long, value_name = "GB", default_value_t = 0.0)]
    backup_gb: f64,
    /// Every second of the last weeks is kept (point-in-time recovery)
    #[arg(long)]
    point_in_time: bool,
    /// Fargate tasks that answer, and their size
    #[arg(long, value_name = "N", default_value_t = 0.0)]
    replicas: f64,
    #[arg(long, value_name = "N", default_value_t = 1.0)]
    vcpu: f64,
    #[arg(long, value_name = "GB", default_value_t = 2.0)]
    memory_gb: f64,
    /// Machines, and what one costs an hour
    #[arg(long, value_name = "N", default_value_t = 0.0)]
    instances: f64,
    #[arg(long, value_name = "USD")]
    instance_price: Option<f64>,
    /// GB in the object store, and its requests a day
    #[arg(long, value_name = "GB", default_value_t = 0.0)]
    objects_gb: f64,
    #[arg(long, value_name = "N", default_value_t = 0.0)]
    object_puts: f64,
    #[arg(long, value_name = "N", default_value_t = 0.0)]
    object_gets: f64,
    /// Metrics read from CloudWatch each minute: what the watching itself costs
    #[arg(long, value_name = "N", default_value_t = 0.0)]
    metrics: f64,
    /// GB a day that leave for another region
    #[arg(long, value_name = "GB", default_value_t = 0.0)]
    transfer_gb: f64,
    /// Where they go, where that has a price of its own
    #[arg(long, value_name = "REGION")]
    transfer_to: Option<String>,
    /// Training hours of Personalize in this time, and GB sent to it
    #[arg(long, value_name = "HOURS", default_value_t = 0.0)]
    training_hours: f64,
    #[arg(long, value_name = "GB", default_value_t = 0.0)]
    ingestion_gb: f64,
    #[arg(long, default_value = "us-east-1")]
    region: String,
    /// Own prices, before the fetched and the shipped ones
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,
}

/// Demand, wherever it is from.
struct Told {
    name: String,
    metered: Metered,
    capacities: (Option<f64>, Option<f64>),
    parts: Parts,
    /// Whether requests were counted; a table tells units only.
    counted: bool,
    /// Whether a store was read; a campaign has none.
    stored: bool,
    least_tps: f64,
    notes: Vec<String>,
}

type Ways = Vec<(&'static str, Bill)>;

impl Show {
    pub fn run(self, session: &Session) -> Result<Exit, RunError> {
        let prices = super::open(self.prices.as_deref(), session)?;
        let said = [
            self.minimum_tps,
            self.item_kb,
            self.read_capacity.unwrap_or(0.0),
            self.write_capacity.unwrap_or(0.0),
            self.storage_gb.unwrap_or(0.0),
            self.instance_price.unwrap_or(0.0),
            self.backup_gb,
            self.replicas,
            self.vcpu,
            self.memory_gb,
            self.instances,
            self.objects_gb,
            self.object_puts,
            self.object_gets,
            self.metrics,
            self.transfer_gb,
            self.training_hours,
            self.ingestion_gb,
        ];
        if said.iter().any(|v| !v.is_finite() || *v < 0.0) {
            return Err(RunError::misuse("capacities, sizes and prices are numbers from 0 on"));
        }
        let told = self.told(session)?;
        let ways = self.ways(&prices, &told);
        session.print(&self.document(&prices, &told, &ways), || self.lines(&prices, &told, &ways));
        Ok(Exit::Go)
    }

    fn parts(&self) -> Parts {
        Parts {
            storage_gb: self.storage_gb.unwrap_or(0.0),
            backup_gb: self.backup_gb,
            every_second: self.point_in_time,
            replicas: self.replicas,
            vcpu: self.vcpu,
            gb: self.memory_gb,
            instances: self.instances,
            instance_usd_per_hour: self.instance_price,
            objects_gb: self.objects_gb,
            object_puts: self.object_puts,
            object_gets: self.object_gets,
            metrics: self.metrics,
            transfer_gb: self.transfer_gb,
            transfer_to: self.transfer_to.clone(),
            training_hours: self.training_hours,
            ingestion_gb: self.ingestion_gb,
        }
    }

    fn told(&self, session: &Session) -> Result<Told, RunError> {
        if self.live {
            return self.now(session);
        }
        let demand = match (&self.trace, &self.run, &self.table, &self.campaign) {
            (Some(path), ..) => Demand::open(path).map_err(misuse)?,
            (None, Some(run), ..) => loaded(run)?,
            (None, None, Some(table), _) => return self.table(table),
            (None, None, None, Some(arn)) => return self.campaign(arn),
            (None, None, None, None) => {
                return Err(RunError::misuse("what shall be shown?").hint(
                    "--live, --trace DEMAND.csv, --run latest, --table NAME, --campaign ARN; or on paper: serin cost estimate",
                ));
            }
        };
        Ok(Told {
            metered: meter(&demand, self.item_kb, self.consistent, self.minimum_tps),
            name: demand.name,
            capacities: (self.read_capacity, self.write_capacity),
            parts: self.parts(),
            counted: true,
            stored: true,
            least_tps: self.minimum_tps,
            notes: demand.notes,
        })
    }

    /// What is asked and used now, by the API's own pages.
    fn now(&self, session: &Session) -> Result<Told, RunError> {
        let time = parse_duration(&self.lasts).map_err(|e| RunError::misuse(format!("--for: {e}")))?;
        if time < Duration::from_millis(200) || time > Duration::from_secs(3_600) {
            return Err(RunError::misuse("--for is from 200ms to 1h"));
        }
        let mut pages = self.metrics_page.clone();
        if pages.is_empty() {
            let up = stack::running(&session.home)?.ok_or_else(|| {
                RunError::cannot_tell("no local stack is up")
                    .hint("serin stack up, or --metrics-page http://HOST:7070/metrics")
            })?;
            // Played days are not the clock's: their units would be billed as if they were used in these seconds.
            if Lock::take(&session.home.join("cost/local.lock"), "a look at money").is_err() {
                return Err(RunError::cannot_tell(
                    "a way down plays days on the local stack: its time is not the clock's",
                )
                .hint("its own screen (4) tells its money"));
            }
            pages.push(format!("{}/metrics", up.api_url));
        }
        let each = read_units(self.item_kb, self.consistent);
        let asked = Pages::open(&pages).map_err(RunError::cannot_tell)?;
        let now = asked.over(time, each, self.minimum_tps, &Stop::default()).map_err(RunError::cannot_tell)?;
        Ok(Told {
            name: format!("{} now, in {:.1} s", asked.name(), now.metered.hours * 3_600.0),
            metered: now.metered,
            capacities: (self.read_capacity.or(now.capacity), self.write_capacity),
            parts: self.parts(),
            counted: true,
            stored: true,
            least_tps: self.minimum_tps,
            notes: now.notes,
        })
    }

    fn since_s(&self) -> Result<i64, RunError> {
        let since = parse_duration(&self.since).map_err(|e| RunError::misuse(format!("--since: {e}")))?;
        let seconds = since.as_secs();
        if !(300..=455 * 86_400).contains(&seconds) {
            return Err(RunError::misuse("--since is from 5m to 455d, as long as CloudWatch keeps hours"));
        }
        Ok(seconds.cast_signed())
    }

    fn campaign(&self, arn: &str) -> Result<Told, RunError> {
        let since = self.since_s()?;
        let mut aws = Aws::open(Some(&self.region), self.endpoint_url.as_deref()).map_err(RunError::cannot_tell)?;
        let LiveCampaign { metered, least_tps, notes } =
            live::campaign(&mut aws, arn, since).map_err(RunError::cannot_tell)?;
        Ok(Told {
            name: format!("campaign {arn}, {least_tps} TPS provisioned"),
            metered,
            capacities: (None, None),
            parts: self.parts(),
            counted: true,
            stored: false,
            least_tps,
            notes,
        })
    }

    fn table(&self, table: &str) -> Result<Told, RunError> {
        let since = self.since_s()?;
        let region = Some(self.region.as_str());
        let mut aws = Aws::open(region, self.endpoint_url.as_deref()).map_err(RunError::cannot_tell)?;
        let Live { metered, on_demand, reads, writes, storage_gb, every_second, notes } =
            live::table(&mut aws, table, since).map_err(RunError::cannot_tell)?;
        let given = |own: Option<f64>, seen: f64| own.or(Some(seen).filter(|_| !on_demand));
        let mut parts = self.parts();
        parts.storage_gb = self.storage_gb.unwrap_or(storage_gb);
        parts.every_second |= every_second.unwrap_or(false);
        Ok(Told {
            name: format!("table {table}, {}", if on_demand { "on demand" } else { "provisioned" }),
            metered,
            capacities: (given(self.read_capacity, reads), given(self.write_capacity, writes)),
            parts,
            counted: false,
            stored: true,
            least_tps: self.minimum_tps,
            notes,
        })
    }

    fn ways(&self, prices: &Prices, told: &Told) -> Ways {
        let (metered, market) = (&told.metered, Market { prices, region: &self.region });
        let line = |bill: &mut Bill, item: &str, amount: f64, what: &str, how: String| {
            bill.add(market, item, amount, what, how, false);
        };
        let mut ways = Vec::new();
        if told.capacities.0.is_some() || told.capacities.1.is_some() {
            let mut bill = Bill::default();
            for (capacity, item, what) in [
                (told.capacities.0, "dynamodb.rcu-hour", "RCU-hours"),
                (told.capacities.1, "dynamodb.wcu-hour", "WCU-hours"),
            ] {
                if let Some(c) = capacity {
                    line(&mut bill, item, c * metered.hours, what, format!("{c} x {:.2} h", metered.hours));
                }
            }
            told.parts.table(&mut bill, market, metered.hours);
            ways.push(("DynamoDB provisioned", bill));
        }
        if told.stored {
            let mut bill = Bill::default();
            let units = metered.read_units;
            line(&mut bill, "dynamodb.read-request", units, "read units", format!("{units:.0} RRU"));
            if metered.write_units > 0.0 {
                let units = metered.write_units;
                line(&mut bill, "dynamodb.write-request", units, "write units", format!("{units:.0} WRU"));
            }
            told.parts.table(&mut bill, market, metered.hours);
            ways.push(("DynamoDB on demand", bill));
        }
        if told.counted {
            let mut bill = Bill::default();
            let how = format!("{:.1} TPS-hours, at least {} TPS, by five minutes", metered.tps_hours, told.least_tps);
            line(&mut bill, "personalize.tps-hour", metered.tps_hours, "TPS-hours", how);
            told.parts.campaign(&mut bill, market);
            ways.push(("Personalize campaign", bill));
        }
        let around = told.parts.around(market, metered.hours);
        if !around.lines.is_empty() {
            ways.push(("around it", around));
        }
        ways
    }

    fn document(&self, prices: &Prices, told: &Told, ways: &Ways) -> serde_json::Value {
        let (hours, requests) = (told.metered.hours, told.metered.requests);
        let way = |(name, bill): &(&str, Bill)| {
            let (usd, market) = (bill.usd(), Market { prices, region: &self.region });
            let month = bill.month(market, hours).filter(|_| hours > 0.0);
            let each = |per: f64| month.map(|u| u / MONTH_H * per);
            serde_json::json!({
                "way": name, "usd": usd, "lines": bill.lines, "guess": bill.has_guesses(), "unknown": bill.unknown(),
                "known_usd": bill.known_usd(), "usd_per_hour": each(1.0), "usd_per_day": each(24.0),
                "usd_per_month": each(MONTH_H),
                "usd_per_million": each(hours).filter(|_| requests > 0.0).map(|u| u / (requests / 1e6)),
            })
        };
        serde_json::json!({
            "schema": "serin.cost/1", "trace": told.name, "region": self.region, "hours": hours,
            "requests": told.counted.then_some(requests), "read_units": told.metered.read_units,
            "write_units": told.metered.write_units, "missing_s": told.metered.missing_s,
            "ways": ways.iter().map(way).collect::<Vec<_>>(),
            "prices": {"date": prices.date_in(&self.region).to_string(),
                "age_days": prices.age_days(&self.region, today()), "currency": "USD", "tax": "left out"},
            "notes": told.notes,
        })
    }

    fn lines(&self, prices: &Prices, told: &Told, ways: &Ways) -> Vec<String> {
        let (hours, requests) = (told.metered.hours, told.metered.requests);
        let counted = if told.counted { format!(", {} requests", grouped(requests as u64)) } else { String::new() };
        let mut lines = vec![format!("{}: {hours:.2} h{counted}, in {}", told.name, self.region)];
        for (name, bill) in ways {
            let million =
                |usd: f64| if requests > 0.0 { Usd(usd / (requests / 1e6)).to_string() } else { "?".to_owned() };
            let market = Market { prices, region: &self.region };
            let sum = match bill.usd().zip(bill.month(market, hours)) {
                Some((usd, month)) => format!(
                    "{} in all, {} an hour, {} a day, {} a month, {} a million recommendations",
                    Usd(usd),
                    Usd(month / MONTH_H),
                    Usd(month / MONTH_H * 24.0),
                    Usd(month),
                    million(month / MONTH_H * hours)
                ),
                None => format!("unknown: no price in {} for {}", self.region, bill.unknown().join(", ")),
            };
            lines.push(format!("{name:<22} {}{sum}", if bill.has_guesses() { "~ " } else { "  " }));
            for line in &bill.lines {
                let usd = line.usd.map_or("unknown".to_owned(), |u| Usd(u).to_string());
                lines.push(format!(
                    "  {:<20} {usd:>12}{} {}",
                    line.what,
                    if line.guess { " ~" } else { "  " },
                    line.how
                ));
            }
        }
        if told.metered.missing_s > 0.0 {
            lines.push(format!(
                "! {:.1} h are missing in the trace and are in no sum",
                told.metered.missing_s / 3_600.0
            ));
        }
        lines.extend(told.notes.iter().map(|n| format!("! {n}")));
        lines.push(format!("{}; ~ marks guesses; US dollars without tax", prices.age(&self.region, today())));
        lines
    }
}

/// What a load asked for, second by second.
fn loaded(asked: &str) -> Result<Demand, RunError> {
    let folder = past::find(std::path::Path::new("reports"), asked)?;
    let load = PastLoad::open(&folder)?;
    let began: Option<jiff::Timestamp> = past::entry(&folder).and_then(|run| run.began.at.parse().ok());
    let began = began.map_or(0.0, |at| at.as_second() as f64);
    let mut samples = Vec::new();
    load.each_tick(|tick| {
        let from = began + f64::from(tick.second);
        samples.push(Sample { from, until: from + 1.0, reads: tick.due as f64, writes: None });
    })?;
    if samples.is_empty() {
        return Err(RunError::misuse(format!("{} holds no second of a load", folder.display())));
    }
    Ok(Demand::from_samples(&format!("the load of {}", folder.display()), samples))
}
