//! What a table used lately: CloudWatch's hourly sums, and what DescribeTable says of its mode, capacity and size.

use serde_json::{Value, json};

use super::aws::{Aws, AwsError, CLOUDWATCH, DYNAMODB};
use super::meter::Metered;

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

/// Asks about the last `hours` whole hours.
pub fn table(aws: &mut Aws, name: &str, hours: u32) -> Result<Live, AwsError> {
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
    let until = jiff::Timestamp::now().as_second() / 3_600 * 3_600;
    let from = until - i64::from(hours) * 3_600;
    let query = |id: &str, metric: &str| {
        json!({"Id": id, "MetricStat": {"Period": 3600, "Stat": "Sum", "Metric": {
            "Namespace": "AWS/DynamoDB", "MetricName": metric,
            "Dimensions": [{"Name": "TableName", "Value": name}]}}})
    };
    let queries = [query("reads", "ConsumedReadCapacityUnits"), query("writes", "ConsumedWriteCapacityUnits")];
    let body =
        json!({"MetricDataQueries": queries, "StartTime": from, "EndTime": until, "ScanBy": "TimestampAscending"});
    let answer = aws.call(&CLOUDWATCH, "GetMetricData", &body)?;
    let (reads, read_hours) = sum(&answer, "reads")?;
    let (writes, write_hours) = sum(&answer, "writes")?;
    let told = read_hours.max(write_hours);
    if told == 0 {
        return Err(AwsError::Odd {
            action: "GetMetricData".to_owned(),
            why: format!("CloudWatch has nothing of table `{name}` in the last {hours} h: unknown, not zero"),
        });
    }
    if told < hours as usize {
        notes.push(format!("CloudWatch tells {told} of {hours} hours; an hour without requests has no datapoint"));
    }
    let metered = Metered { hours: f64::from(hours), read_units: reads, write_units: writes, ..Metered::default() };
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

fn sum(answer: &Value, id: &str) -> Result<(f64, usize), AwsError> {
    let all = answer["MetricDataResults"].as_array();
    let one = all.and_then(|all| all.iter().find(|r| r["Id"] == id));
    let values = one
        .and_then(|r| r["Values"].as_array())
        .ok_or_else(|| AwsError::Odd { action: "GetMetricData".to_owned(), why: format!("no `{id}` in {answer}") })?;
    Ok((values.iter().filter_map(Value::as_f64).sum(), values.len()))
}
