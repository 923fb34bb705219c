//! On paper: the own stack against Personalize for so many viewers at such a peak, with the break-even.

use serde::Serialize;
use serde_json::{Value, json};

use super::bill::{Bill, MONTH_H, Market};
use super::capacity::{read_units, write_units};
use super::prices::{Prices, today};
use crate::stats::units::{Rps, Usd, grouped};

pub const SCHEMA: &str = "serin.estimate/1";
const DAYS: f64 = MONTH_H / 24.0;

/// What is asked; every number is a flag of `serin cost estimate`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Question {
    pub viewers: f64,
    /// Recommendations a second at the evening's peak.
    pub peak_per_second: f64,
    /// The day's mean in shares of the peak.
    pub mean_share: f64,
    pub region: String,
    /// One viewer's stored list.
    pub item_kb: f64,
    pub consistent: bool,
    /// Reads of the store for one recommendation.
    pub reads_each: f64,
    /// Room above the peak.
    pub headroom: f64,
    /// Share of the viewers whose list is written again each day, and in how many hours.
    pub changed_share: f64,
    pub publish_hours: f64,
    /// Requests a second that one replica of the API carries, its size, and the fewest there are.
    pub per_replica: f64,
    pub replica_vcpu: f64,
    pub replica_gb: f64,
    pub replicas_least: f64,
    /// Hours a day of a training machine, and its size.
    pub training_hours: f64,
    pub training_vcpu: f64,
    pub training_gb: f64,
    /// Metrics read from CloudWatch each minute.
    pub metrics: f64,
    /// TPS that the campaign has provisioned; without it, the peak.
    pub minimum_tps: Option<f64>,
    /// Personalize: training hours a month, and GB of interactions sent a month.
    pub campaign_training_hours: f64,
    pub ingestion_gb: f64,
}

impl Question {
    fn recommendations(&self) -> f64 {
        self.peak_per_second * self.mean_share * MONTH_H * 3_600.0
    }

    fn with_peak(&self, peak: f64) -> Self {
        Self { peak_per_second: peak, minimum_tps: self.minimum_tps.map(|_| peak), ..self.clone() }
    }
}

/// The own stack, a month.
pub fn own(q: &Question, prices: &Prices) -> Bill {
    let mut bill = Bill::default();
    let mut add = |item: &str, amount: f64, what: &str, how: String, guess: bool| {
        bill.add(Market { prices, region: &q.region }, item, amount, what, how, guess);
    };
    let rcu = (q.peak_per_second * q.reads_each * read_units(q.item_kb, q.consistent) * (1.0 + q.headroom)).ceil();
    let kind = if q.consistent { "strongly" } else { "eventually" };
    let how = format!(
        "{rcu} RCU all month: peak {} x {} {kind} consistent reads of {} KB, {:.0} % free",
        Rps(q.peak_per_second),
        q.reads_each,
        q.item_kb,
        q.headroom * 100.0
    );
    add("dynamodb.rcu-hour", rcu * MONTH_H, "store: reads", how, false);
    let written = q.viewers * q.changed_share;
    let wcu = (written * write_units(q.item_kb) / (q.publish_hours * 3_600.0)).ceil();
    let how = format!(
        "{} lists a day in {} h: {wcu} WCU for those hours, 1 besides",
        grouped(written as u64),
        q.publish_hours
    );
    add("dynamodb.wcu-hour", (wcu * q.publish_hours + 24.0 - q.publish_hours) * DAYS, "store: publishing", how, false);
    // 100 bytes of index a row, as DynamoDB counts.
    let gb = q.viewers * (q.item_kb * 1024.0 + 100.0) / 1024f64.powi(3);
    add(
        "dynamodb.storage-gb-month",
        gb,
        "store: keeping",
        format!("{} lists of {} KB", grouped(q.viewers as u64), q.item_kb),
        false,
    );
    let replicas = (q.peak_per_second * (1.0 + q.headroom) / q.per_replica).ceil().max(q.replicas_least);
    let how =
        format!("{replicas} replicas of {} vCPU and {} GB, {}/s each", q.replica_vcpu, q.replica_gb, q.per_replica);
    add("fargate.vcpu-hour", replicas * q.replica_vcpu * MONTH_H, "API: vCPU", how.clone(), true);
    add("fargate.gb-hour", replicas * q.replica_gb * MONTH_H, "API: memory", how, true);
    let how = format!("{} h a day on {} vCPU and {} GB", q.training_hours, q.training_vcpu, q.training_gb);
    add("fargate.vcpu-hour", q.training_hours * q.training_vcpu * DAYS, "training: vCPU", how.clone(), true);
    add("fargate.gb-hour", q.training_hours * q.training_gb * DAYS, "training: memory", how, true);
    let gb = q.viewers * q.item_kb * 1024.0 / 1024f64.powi(3);
    add("s3.gb-month", gb, "lists in the object store", "one generation".to_owned(), false);
    let how = format!("{} metrics a minute", q.metrics);
    add("cloudwatch.metric-read", q.metrics * MONTH_H * 60.0, "watching", how, false);
    bill
}

/// The campaign, a month.
pub fn campaign(q: &Question, prices: &Prices) -> Bill {
    let mut bill = Bill::default();
    let mut add = |item: &str, amount: f64, what: &str, how: String, guess: bool| {
        bill.add(Market { prices, region: &q.region }, item, amount, what, how, guess);
    };
    let least = q.minimum_tps.unwrap_or(q.peak_per_second);
    let tps = tps_mean(q, least);
    let how = format!("{tps:.1} TPS on average: the larger of {least} provisioned and each five minutes' mean");
    add("personalize.tps-hour", tps * MONTH_H, "campaign", how, false);
    add(
        "personalize.training-hour",
        q.campaign_training_hours,
        "training",
        "hours as asked: unknown before a first training".to_owned(),
        true,
    );
    add("personalize.ingestion-gb", q.ingestion_gb, "ingestion", "GB of interactions as asked".to_owned(), true);
    bill
}

/// The mean over an ordinary day of what a campaign bills, its shape stretched to the mean that was asked for.
fn tps_mean(q: &Question, least: f64) -> f64 {
    if least >= q.peak_per_second {
        return least;
    }
    let of = |power: f64, f: &dyn Fn(f64) -> f64| {
        (0..288).map(|w| f(super::evening::shape(f64::from(w) * 300.0).min(1.0).powf(power))).sum::<f64>() / 288.0
    };
    let (mut low, mut high) = (0.0, 20.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if of(middle, &|s| s) > q.mean_share { low = middle } else { high = middle }
    }
    of(low, &|s| least.max(s * q.peak_per_second))
}

/// The peak at which both cost the same, everything else as asked: above it the own stack is cheaper.
pub fn break_even(q: &Question, prices: &Prices) -> Option<f64> {
    let dearer = |peak: f64| {
        let q = q.with_peak(peak);
        Some(own(&q, prices).usd()? > campaign(&q, prices).usd()?)
    };
    let (mut low, mut high) = (0.01, 1e6);
    if !dearer(low)? || dearer(high)? {
        return None;
    }
    for _ in 0..200 {
        let middle = (low * high).sqrt();
        if dearer(middle)? { low = middle } else { high = middle }
    }
    Some(high)
}

/// The whole answer.
#[derive(Clone, Debug)]
pub struct Estimate {
    pub question: Question,
    pub own: Bill,
    pub campaign: Bill,
    pub break_even: Option<f64>,
    age: String,
    age_days: i64,
    date: String,
}

impl Estimate {
    pub fn of(question: Question, prices: &Prices) -> Self {
        Self {
            own: own(&question, prices),
            campaign: campaign(&question, prices),
            break_even: break_even(&question, prices),
            age: prices.age(&question.region, today()),
            age_days: prices.age_days(&question.region, today()),
            date: prices.date_in(&question.region).to_string(),
            question,
        }
    }

    pub fn document(&self) -> Value {
        let recommendations = self.question.recommendations();
        let side = |bill: &Bill| {
            let usd = bill.usd();
            json!({
                "lines": bill.lines,
                "usd_per_month": usd,
                "usd_per_day": usd.map(|u| u / DAYS),
                "usd_per_hour": usd.map(|u| u / MONTH_H),
                "usd_per_million": usd.filter(|_| recommendations > 0.0).map(|u| u / (recommendations / 1e6)),
                "known_usd_per_month": bill.known_usd(),
                "unknown": bill.unknown(),
                "guess": bill.has_guesses(),
            })
        };
        json!({
            "schema": SCHEMA,
            "question": self.question,
            "recommendations_per_month": recommendations,
            "prices": {"date": self.date, "age_days": self.age_days, "currency": "USD", "tax": "left out"},
            "own": side(&self.own),
            "personalize": side(&self.campaign),
            "cheaper": self.cheaper(),
            "break_even": {"peak_per_second": self.break_even},
        })
    }

    fn cheaper(&self) -> Option<&'static str> {
        let (own, campaign) = (self.own.usd()?, self.campaign.usd()?);
        Some(if own <= campaign { "own" } else { "personalize" })
    }

    pub fn lines(&self) -> Vec<String> {
        let q = &self.question;
        let recommendations = q.recommendations();
        let mut lines = vec![format!(
            "{} viewers, {} at the peak, {} on average, in {}: {} million recommendations a month",
            grouped(q.viewers as u64),
            Rps(q.peak_per_second),
            Rps((q.peak_per_second * q.mean_share * 10.0).round() / 10.0),
            q.region,
            grouped((recommendations / 1e6).round() as u64)
        )];
        for (name, bill) in [("own stack", &self.own), ("Personalize", &self.campaign)] {
            lines.push(String::new());
            lines.push(format!("{name}, a month"));
            for l in &bill.lines {
                let usd = l.usd.map_or("unknown".to_owned(), |u| Usd(u).to_string());
                lines.push(format!("  {:<26} {usd:>12} {} {}", l.what, if l.guess { "~" } else { " " }, l.how));
            }
            lines.push(match bill.usd() {
                Some(u) => format!(
                    "  {:<26} {:>12}   {} an hour, {} a day, {} a million recommendations",
                    "sum",
                    Usd(u).to_string(),
                    Usd(u / MONTH_H),
                    Usd(u / DAYS),
                    if recommendations > 0.0 { Usd(u / (recommendations / 1e6)).to_string() } else { "?".to_owned() }
                ),
                None => format!(
                    "  {:<26} {:>12}   {} is known; no price in {} for: {}",
                    "sum",
                    "unknown",
                    Usd(bill.known_usd()),
                    q.region,
                    bill.unknown().join(", ")
                ),
            });
        }
        lines.push(String::new());
        lines.push(match self.break_even {
            Some(peak) => format!(
                "break-even: above a peak of {} the own stack is the cheaper one",
                Rps((peak * 10.0).round() / 10.0)
            ),
            None => "break-even: none is known (a price is missing, or one side is always the cheaper)".to_owned(),
        });
        lines.push(format!("{}; ~ marks guesses; US dollars without tax, free tiers or discounts", self.age));
        lines
    }
}
