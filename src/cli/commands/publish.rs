//! `serin publish`: its flags, as a job; and the way back.

use std::path::PathBuf;
use std::time::Duration;

use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::run::error::RunError;
use crate::run::jobs::publish::PublishJob;
use crate::serve::store::StoreAt;
use crate::serve::stores::embedded;
use crate::stats::units::parse_duration;

/// Publish a model's lists to the store that serves
///
/// The lists before serve on until the new ones are written, checked and read back; then one pointer moves.
#[derive(clap::Args)]
#[command(after_help = "Example: serin publish --model model --items data/items.csv --store embedded:lists")]
pub struct Publish {
    /// The model folder
    #[arg(long, value_name = "DIR", required_unless_present = "rollback")]
    model: Option<PathBuf>,
    /// The catalogue: programmes it does not hold are left out of the lists
    #[arg(long, value_name = "FILE", required_unless_present = "rollback")]
    items: Option<PathBuf>,
    /// CSV with USER_ID and CONSENT: whoever did not agree has no list
    #[arg(long, value_name = "FILE")]
    users: Option<PathBuf>,
    /// Viewers who took their consent back: the file that `serin serve` keeps [default: SERIN_HOME/live/forgotten.csv]
    #[arg(long, value_name = "FILE")]
    withdrawn: Option<PathBuf>,
    /// Where the lists go: embedded:PATH or dynamodb:TABLE
    #[arg(long, value_name = "STORE")]
    store: StoreAt,
    /// A folder or s3://bucket/prefix that takes the lists before they go to the store
    #[arg(long, value_name = "URL", conflicts_with = "rollback")]
    objects: Option<String>,
    /// Where DynamoDB answers, when that is not AWS: a local server, or a limiter before it
    #[arg(long, value_name = "URL")]
    endpoint_url: Option<String>,
    /// Where the object store answers, when that is not AWS
    #[arg(long, value_name = "URL", requires = "objects")]
    objects_endpoint_url: Option<String>,
    /// Write units a second that are filled and never exceeded [default: what the table is provisioned with; on demand, as
    /// fast as it takes them]
    #[arg(long, value_name = "UNITS")]
    wcu: Option<f64>,
    /// How long lists stay in a table unless newer ones take their place; a roll back reaches no further
    #[arg(long, value_name = "DURATION", default_value = "14d", value_parser = parse_duration)]
    keep: Duration,
    /// Make the table where there is none: on demand, with its expiry on
    #[arg(long)]
    create_table: bool,
    /// Read the whole table, with half of its read units at most, and count the lists before the pointer moves
    #[arg(long)]
    count: bool,
    /// How long a publish that was killed bars the next one from the table
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = parse_duration, hide = true)]
    lease: Duration,
    /// Places of a list
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=500))]
    top: u16,
    /// Threads that score; 0 is one a core
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Point back to the lists before, at once
    #[arg(long, conflicts_with_all = ["model", "items"])]
    rollback: bool,
}

impl Publish {
    pub fn run(self, session: &Session) -> Result<Exit, RunError> {
        if self.wcu.is_some_and(|units| !units.is_finite() || units < 1.0) {
            return Err(RunError::misuse("--wcu must be at least 1"));
        }
        let store = self.store.at(self.endpoint_url.as_deref());
        let (Some(model), Some(items)) = (self.model, self.items) else {
            let (from, to) = roll_back(&store)?;
            let document = serde_json::json!({"schema": "serin.rollback/1", "from": from, "to": to});
            session.print(&document, || vec![format!("{to} serves again, in the place of {from}")]);
            return Ok(Exit::Go);
        };
        let withdrawn = session.withdrawn(self.withdrawn);
        let job = PublishJob {
            users: self.users,
            withdrawn,
            objects: self.objects,
            objects_endpoint: self.objects_endpoint_url,
            top: usize::from(self.top),
            threads: self.threads,
            budget: self.wcu,
            keep: self.keep,
            create: self.create_table,
            count: self.count,
            lease: self.lease,
            ..PublishJob::new(model, items, store)
        };
        session.headless(Box::new(job), None)
    }
}

fn roll_back(store: &StoreAt) -> Result<(String, String), RunError> {
    match store {
        StoreAt::Embedded(path) => Ok(embedded::roll_back(path)?),
        #[cfg(feature = "aws")]
        StoreAt::DynamoDb { table, endpoint } => {
            use crate::serve::publish_table::{Reaching, roll_back_table};
            Ok(roll_back_table(&Reaching { table, endpoint: endpoint.as_deref() })?)
        }
        #[cfg(not(feature = "aws"))]
        StoreAt::DynamoDb { table, .. } => Err(RunError::misuse(format!(
            "dynamodb:{table}: this build knows no DynamoDB; build with the feature `aws`"
        ))),
    }
}
