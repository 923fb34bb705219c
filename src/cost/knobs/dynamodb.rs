//! The throughput of a DynamoDB table: UpdateTable within its rules, DescribeTable after it, CloudWatch beside it.

use std::time::Duration;

use serde_json::json;

use super::cloudwatch::Metrics;
use crate::cost::decrease;
use crate::cost::knob::{Knob, KnobError, Look};
use crate::serve::aws::{Aws, AwsError, DYNAMODB};

/// An update of a table takes minutes.
const PATIENCE: Duration = Duration::from_secs(600);

pub struct Table {
    aws: Aws,
    name: String,
    writes: bool,
    metrics: Metrics,
}

/// What DescribeTable says of capacity.
struct Described {
    reads: u64,
    writes: u64,
    decreases: u64,
    decreased_at: Option<f64>,
}

impl Table {
    pub fn new(aws: Aws, name: String, writes: bool, per_request: f64) -> Self {
        let kind = if writes { "Write" } else { "Read" };
        let metrics = Metrics {
            namespace: "AWS/DynamoDB",
            dimension: ("TableName", name.clone()),
            used: format!("Consumed{kind}CapacityUnits"),
            refused: format!("{kind}ThrottleEvents"),
            units_a_refusal: per_request,
            ..Metrics::default()
        };
        Self { aws, name, writes, metrics }
    }

    fn failed(&self, e: &AwsError) -> KnobError {
        KnobError::Failed { what: self.name(), why: e.to_string() }
    }

    fn describe(&mut self) -> Result<Described, KnobError> {
        let answer = self.aws.call(&DYNAMODB, "DescribeTable", &json!({"TableName": self.name}));
        let answer = answer.map_err(|e| {
            if e.is("ResourceNotFoundException") {
                KnobError::Unfit(format!("there is no table `{}` in {}", self.name, self.aws.region))
            } else {
                self.failed(&e)
            }
        })?;
        let table = &answer["Table"];
        if table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST" {
            let what = format!("table `{}` is on demand: it has no capacity to step down", self.name);
            return Err(KnobError::Unfit(format!("{what}; `serin cost show` says what provisioned would cost")));
        }
        let given = &table["ProvisionedThroughput"];
        let units = |key: &str| given[key].as_u64().filter(|n| *n > 0);
        let (Some(reads), Some(writes)) = (units("ReadCapacityUnits"), units("WriteCapacityUnits")) else {
            let why = format!("DescribeTable tells no capacity: {given}");
            return Err(KnobError::Failed { what: self.name(), why });
        };
        Ok(Described {
            reads,
            writes,
            decreases: given["NumberOfDecreasesToday"].as_u64().unwrap_or(0),
            decreased_at: given["LastDecreaseDateTime"].as_f64(),
        })
    }
}

impl Knob for Table {
    fn name(&self) -> String {
        format!("the {} units of table {}", if self.writes { "write" } else { "read" }, self.name)
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }

    fn read(&mut self) -> Result<u64, KnobError> {
        let seen = self.describe()?;
        Ok(if self.writes { seen.writes } else { seen.reads })
    }

    fn set(&mut self, from: u64, to: u64) -> Result<(), KnobError> {
        let seen = self.describe()?;
        let stands = if self.writes { seen.writes } else { seen.reads };
        if stands != from {
            let why = format!("stands at {stands}, not at {from}: somebody else set it");
            return Err(KnobError::Failed { what: self.name(), why });
        }
        let now = jiff::Timestamp::now().as_millisecond() as f64 / 1_000.0;
        if to < from
            && let Some(why) = decrease::of_others(seen.decreases, seen.decreased_at, now)
        {
            return Err(KnobError::NotNow(why));
        }
        let (reads, writes) = if self.writes { (seen.reads, to) } else { (to, seen.writes) };
        let throughput = json!({"ReadCapacityUnits": reads, "WriteCapacityUnits": writes});
        let body = json!({"TableName": self.name, "ProvisionedThroughput": throughput});
        match self.aws.call(&DYNAMODB, "UpdateTable", &body) {
            Ok(_) => Ok(()),
            Err(e) if e.is("ResourceInUseException") => {
                Err(KnobError::NotNow(format!("another change of the table is under way ({e})")))
            }
            Err(e) if e.is("LimitExceededException") && to < from => Err(KnobError::NotNow(e.to_string())),
            Err(e) if e.is("LimitExceededException") => {
                let why = format!("a limit of the account is reached: {e}; ask AWS to raise it, or set `ceiling`");
                Err(KnobError::Failed { what: self.name(), why })
            }
            Err(e) => Err(self.failed(&e)),
        }
    }

    fn look(&mut self) -> Result<Look, KnobError> {
        self.metrics.look(&mut self.aws).map_err(|why| KnobError::Failed { what: self.name(), why })
    }
}
