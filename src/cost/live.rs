//! What a table or a campaign used lately: CloudWatch's sums, and what DescribeTable or DescribeCampaign say of it.

use serde_json::{Value, json};

use super::aws::{Aws, AwsError, CLOUDWATCH, DYNAMODB, PERSONALIZE};
use super::meter::{Metered, WINDOW_S};

/// Up to here minutes are asked for, beyond whole hours: an answer of one call holds either.
const MINUTES_UP_TO_S: i64 = 3 * 3_600;
/// CloudWatch's last minutes are not whole.
const LATE_S: i64 = 120;
/// How long CloudWatch keeps five minutes.
const LONGEST_CAMPAIGN_S: i64 = 63 * 86_400;

/// The last `since` seconds, cut to whole pieces of `each`.
struct Window {
    from: i64,
    until: i64,
    each: i64,
}

impl Window {
    fn of(since: i64, each: i64) -> Self {
        let now = jiff::Timestamp::now().as_second();
        let until = if each < 3_600 { (now - LATE_S) / each * each } else { now / each * each };
        Self { from: until - (since / each).max(1) * each, until, each }
    }

    fn hours(&self) -> f64 {
        (self.until - self.from) as f64 / 3_600.0
    }

    fn pieces(&self) -> usize {
        ((self.until - self.from) / self.each) as usize
    }

    fn ask(&self, aws: &mut Aws, queries: &[Value]) -> Result<Value, AwsError> {
        let body = json!({"MetricDataQueries": queries, "StartTime": self.from, "EndTime": self.until,
            "ScanBy": "TimestampAscending"});
        aws.call(&CLOUDWATCH, "GetMetricData", &body)
    }

    fn query(&self, id: &str, namespace: &str, metric: &str, dimension: (&str, &str)) -> Value {
        json!({"Id": id, "MetricStat": {"Period": self.each, "Stat": "Sum", "Metric": {
            "Namespace": namespace, "MetricName": metric,
            "Dimensions": [{"Name": dimension.0, "Value": dimension.1}]}}})
    }

    fn nothing(&self, of: &str) -> AwsError {
        AwsError::Odd {
            action: "GetMetricData".to_owned(),
            why: format!("CloudWatch has nothing of {of} in the last {:.1} h: unknown, not zero", self.hours()),
        }
    }
}

/// A campaign as it was used.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveCampaign {
    pub metered: Metered,
    pub least_tps: f64,
    pub notes: Vec<String>,
}

/// Asks about the last `since_s` seconds in pieces of five minutes, as it is billed.
pub fn campaign(aws: &mut Aws, arn: &str, since_s: i64) -> Result<LiveCampaign, AwsError> {
    let described = aws.call(&PERSONALIZE, "DescribeCampaign", &json!({"campaignArn": arn}))?;
    let least = described["campaign"]["minProvisionedTPS"].as_f64().ok_or_else(|| AwsError::Odd {
        action: "DescribeCampaign".to_owned(),
        why: format!("no minProvisionedTPS in {described}"),
    })?;
    let window = Window::of(since_s.min(LONGEST_CAMPAIGN_S), WINDOW_S as i64);
    let query = window.query("asked", "AWS/Personalize", "GetRecommendations", ("CampaignArn", arn));
    let answer = window.ask(aws, &[query])?;
    let asked = values(&answer, "asked")?;
    let mut notes = Vec::new();
    if asked.is_empty() {
        return Err(window.nothing("the campaign"));
    }
    let silent = window.pieces().saturating_sub(asked.len());
    if silent > 0 {
        notes.push(format!(
            "{silent} of {} pieces of five minutes had no request: billed as provisioned",
            window.pieces()
        ));
    }
    let billed: f64 = asked.iter().map(|n| least.max(n / WINDOW_S)).sum::<f64>() + least * silent as f64;
    let metered = Metered {
        hours: window.hours(),
        requests: asked.iter().sum(),
        tps_hours: billed * WINDOW_S / 3_600.0,
        ..Metered::default()
    };
    Ok(LiveCampaign { metered, least_tps: least, notes })
}

const GB: f64 = 1024.0 * 1024.0 * 1024.0;

/// A table as it is and as it was used.
#[derive(Clone, Debug, PartialEq)]
pub struct Live {
    pub metered: Metered,
    pub on_demand: bool,
    pub reads: f64,
    pub writes: f64,
    pub storage_gb: f64,
    /// Whether every second of the last weeks is kept; `None` where it may not be asked.
    pub every_second: Option<bool>,
    pub notes: Vec<String>,
}

/// Asks about the last `since_s` seconds: minutes of a few hours, else whole hours.
pub fn table(aws: &mut Aws, name: &str, since_s: i64) -> Result<Live, AwsError> {
    let described = aws.call(&DYNAMODB, "DescribeTable", &json!({"TableName": name}))?;
    let table = &described["Table"];
    let given = |key: &str| table["ProvisionedThroughput"][key].as_f64().unwrap_or(0.0);
    let backups = aws.call(&DYNAMODB, "DescribeContinuousBackups", &json!({"TableName": name}));
    let mut notes = Vec::new();
    let every_second = match &backups {
        Ok(answer) => {
            let kept = &answer["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"];
            Some(kept["PointInTimeRecoveryStatus"] == "ENABLED")
        }
        Err(e) => {
            notes.push(format!("whether points in time are kept is unknown: {e}"));
            None
        }
    };
    let window = Window::of(since_s, if since_s <= MINUTES_UP_TO_S { 60 } else { 3_600 });
    let query = |id: &str, metric: &str| window.query(id, "AWS/DynamoDB", metric, ("TableName", name));
    let queries = [query("reads", "ConsumedReadCapacityUnits"), query("writes", "ConsumedWriteCapacityUnits")];
    let answer = window.ask(aws, &queries)?;
    let (reads, writes) = (values(&answer, "reads")?, values(&answer, "writes")?);
    let told = reads.len().max(writes.len());
    if told == 0 {
        return Err(window.nothing(&format!("table `{name}`")));
    }
    if told < window.pieces() {
        let what = if window.each == 60 { "minutes" } else { "hours" };
        notes.push(format!(
            "CloudWatch tells {told} of {} {what}; one without requests has no datapoint",
            window.pieces()
        ));
    }
    let metered = Metered {
        hours: window.hours(),
        read_units: reads.iter().sum(),
        write_units: writes.iter().sum(),
        ..Metered::default()
    };
    Ok(Live {
        metered,
        on_demand: table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST",
        reads: given("ReadCapacityUnits"),
        writes: given("WriteCapacityUnits"),
        storage_gb: table["TableSizeBytes"].as_f64().unwrap_or(0.0) / GB,
        every_second,
        notes,
    })
}

fn values(answer: &Value, id: &str) -> Result<Vec<f64>, AwsError> {
    let all = answer["MetricDataResults"].as_array();
    let one = all.and_then(|all| all.iter().find(|r| r["Id"] == id));
    let values = one
        .and_then(|r| r["Values"].as_array())
        .ok_or_else(|| AwsError::Odd { action: "GetMetricData".to_owned(), why: format!("no `{id}` in {answer}") })?;
    Ok(values.iter().filter_map(Value::as_f64).collect())
}
