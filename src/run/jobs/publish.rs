//! Does a publish: a model's lists to the store that serves.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::model::consent::Consent;
use crate::model::files::Model;
use crate::run::error::RunError;
use crate::run::event::Event;
use crate::run::job::{Desk, Job};
use crate::run::summary::Summary;
use crate::serve::catalogue::Catalogue;
use crate::serve::error::ServeError;
use crate::serve::publish::{Order, Outcome, publish};
use crate::serve::store::StoreAt;
use crate::serve::stores::objects::Objects;
use crate::stats::progress::Tell;

pub struct PublishJob {
    pub model: PathBuf,
    pub items: PathBuf,
    /// Who agreed, and who took it back.
    pub users: Option<PathBuf>,
    pub withdrawn: Option<PathBuf>,
    pub store: StoreAt,
    /// A folder or a bucket that takes the lists first.
    pub objects: Option<String>,
    /// Where the object store answers, when that is not AWS.
    pub objects_endpoint: Option<String>,
    pub top: usize,
    pub threads: usize,
    pub budget: Option<f64>,
    pub keep: Duration,
    pub create: bool,
    /// Whether a table is read whole to count its lists.
    pub count: bool,
    pub lease: Duration,
}

impl PublishJob {
    /// Everything that is usually left as it is.
    pub fn new(model: PathBuf, items: PathBuf, store: StoreAt) -> Self {
        Self {
            model,
            items,
            users: None,
            withdrawn: None,
            store,
            objects: None,
            objects_endpoint: None,
            top: 100,
            threads: 0,
            budget: None,
            keep: Duration::from_secs(14 * 86_400),
            create: false,
            count: false,
            lease: Duration::from_secs(15),
        }
    }
}

impl Job for PublishJob {
    fn kind(&self) -> &'static str {
        "publish"
    }

    fn title(&self) -> String {
        format!("{} → {}", self.model.display(), self.store)
    }

    fn run(self: Box<Self>, desk: &Desk) -> Result<Summary, RunError> {
        let model = Model::open(&self.model).map_err(RunError::misuse)?;
        let catalogue = Catalogue::open(&self.items)?;
        let mut consent =
            self.users.as_deref().map(Consent::read).transpose().map_err(RunError::misuse)?.unwrap_or_default();
        self.withdrawn.as_deref().map(|path| consent.withdraw(path)).transpose().map_err(RunError::misuse)?;
        let objects = self.objects.as_deref().map(|url| Objects::open(url, self.objects_endpoint.as_deref()));
        let objects = objects.transpose()?;
        let order = Order {
            model: &model,
            catalogue: &catalogue,
            consent: &consent,
            top: self.top,
            threads: self.threads,
            objects: objects.as_ref(),
        };
        let began = Instant::now();
        let (outcome, table) = self.publish(&order, desk)?;
        let (published, seconds) = (outcome.published, began.elapsed().as_secs_f64());
        let rate = published.lists as f64 / seconds.max(1e-9);
        let mut lines = vec![format!(
            "{} lists in {seconds:.1} s ({rate:.0} a second); {} serves",
            published.lists, published.generation
        )];
        // A file is counted as it is read back; a table only when that was asked for, as it costs read units.
        let counted = table.as_ref().map_or(Some(published.lists), |t| t.counted.map(|(lists, _)| lists));
        let all = if counted.is_some() { "all of them counted, " } else { "" };
        lines.push(format!("{all}{} read back and compared", published.read_back));
        if outcome.unknown > 0 {
            lines.push(format!("{} programmes of the model are not in the catalogue and in no list", outcome.unknown));
        }
        if outcome.without_consent > 0 {
            lines
                .push(format!("{} viewers did not agree, or took it back: they have no list", outcome.without_consent));
        }
        if let Some(url) = &self.objects {
            lines.push(format!("the same lists are in {url}"));
        }
        let mut document = serde_json::json!({
            "schema": "serin.publish/1",
            "model": model.id(),
            "generation": published.generation,
            "lists": published.lists,
            "entries": published.entries,
            "bytes": published.bytes,
            "verified": {"counted": counted, "read_back": published.read_back},
            "seconds": seconds,
            "lists_per_second": rate,
            "unknown_programmes": outcome.unknown,
            "without_consent": outcome.without_consent,
            "objects": self.objects,
        });
        if let Some(table) = table {
            table.tell(&mut lines, &mut document);
        }
        Ok(Summary { title: self.title(), verdict: None, reason: lines[0].clone(), document, lines, stopped: false })
    }
}

/// What there is to tell of a table, beyond what every store has.
#[derive(Default)]
struct OfTable {
    budget: Option<f64>,
    units: f64,
    seconds: f64,
    again: u64,
    over_one_unit: u64,
    resumed: u64,
    sampled: usize,
    counted: Option<(u64, f64)>,
    expires: bool,
}

impl OfTable {
    fn tell(&self, lines: &mut Vec<String>, document: &mut serde_json::Value) {
        let rate = self.units / self.seconds.max(1e-9);
        let share = self.budget.map(|b| rate / b);
        let of = share.map_or(String::new(), |s| format!(", {:.1} % of the budget", s * 100.0));
        lines.push(format!("{:.0} write units in {:.1} s, {rate:.0} a second{of}", self.units, self.seconds));
        if let Some((lists, units)) = self.counted {
            lines.push(format!("{lists} lists found by reading the whole table, for {units:.0} read units"));
        }
        if self.resumed > 0 {
            lines.push(format!("{} lists were there already, from the publish that was stopped", self.resumed));
        }
        if self.again > 0 {
            lines.push(format!("{} items were not taken at first and came again", self.again));
        }
        if self.over_one_unit > 0 {
            lines.push(format!("{} lists take more than one unit: their viewers' ids are long", self.over_one_unit));
        }
        if !self.expires {
            lines.push(
                "old lists stay: the table's expiry (TTL) on the attribute x is off and could not be turned on"
                    .to_owned(),
            );
        }
        document["table"] = serde_json::json!({
            "budget_units": self.budget, "units": self.units, "units_per_second": rate, "share_of_budget": share,
            "write_seconds": self.seconds, "came_again": self.again, "over_one_unit": self.over_one_unit,
            "resumed": self.resumed, "read_back": self.sampled, "expires": self.expires,
            "counted": self.counted.map(|c| c.0), "count_read_units": self.counted.map(|c| c.1),
        });
    }
}

impl PublishJob {
    fn publish(&self, order: &Order<'_>, desk: &Desk) -> Result<(Outcome, Option<OfTable>), RunError> {
        let mut tell = |p| desk.tell(Event::Progress(p));
        match &self.store {
            StoreAt::Embedded(path) => match publish(order, path, &desk.stop, &mut tell) {
                Err(full @ ServeError::Publish { .. }) => {
                    Err(RunError::from(full).hint("make room on that disk, then publish again"))
                }
                told => Ok((told?, None)),
            },
            StoreAt::DynamoDb { table, endpoint } => self.to_table(order, table, endpoint.clone(), desk, &mut tell),
        }
    }

    #[cfg(feature = "aws")]
    fn to_table(
        &self,
        order: &Order<'_>,
        table: &str,
        endpoint: Option<String>,
        desk: &Desk,
        tell: Tell<'_>,
    ) -> Result<(Outcome, Option<OfTable>), RunError> {
        use crate::serve::publish_table::{Terms, publish_to_table};
        let terms = Terms {
            table: table.to_owned(),
            endpoint,
            budget: self.budget,
            keep: self.keep,
            create: self.create,
            count: self.count,
            lease: self.lease,
            scratch: desk.home.clone(),
        };
        let told = publish_to_table(order, &terms, &desk.stop, tell);
        let (outcome, told) = told.map_err(|error| match error {
            broken @ ServeError::TableFailed { .. } => RunError::from(broken)
                .hint("the lists before serve on; the same command goes on where this one stopped"),
            other => other.into(),
        })?;
        let of_table = OfTable {
            budget: told.budget,
            units: told.told.units,
            seconds: told.told.seconds,
            again: told.told.again,
            over_one_unit: told.told.over_one_unit,
            resumed: told.told.resumed,
            sampled: told.sampled,
            counted: told.counted,
            expires: told.expires,
        };
        Ok((outcome, Some(of_table)))
    }

    #[cfg(not(feature = "aws"))]
    fn to_table(
        &self,
        _order: &Order<'_>,
        table: &str,
        _endpoint: Option<String>,
        _desk: &Desk,
        _tell: Tell<'_>,
    ) -> Result<(Outcome, Option<OfTable>), RunError> {
        Err(RunError::misuse(format!("dynamodb:{table}: this build knows no DynamoDB; build with the feature `aws`")))
    }
}
