//! `serin cost estimate`: its flags, as a question on paper.

use std::path::PathBuf;

use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::cost::estimate::{Estimate, Question};
use crate::cost::evening;
use crate::run::error::RunError;
use crate::stats::units::parse_share;

/// On paper: the own stack against Personalize, with the break-even
#[derive(clap::Args)]
#[command(after_help = "Example: serin cost estimate --viewers 45000000 --peak 500 --region us-east-1")]
pub struct OnPaper {
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
    pub fn run(self, session: &Session) -> Result<Exit, RunError> {
        let prices = super::open(self.prices.as_deref(), session)?;
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
