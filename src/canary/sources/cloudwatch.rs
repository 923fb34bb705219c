//! CloudWatch's numbers of two target groups: whole minutes only, two minutes late, each counted once.
//!
//! A load balancer tells requests and errors, and latency only as an average or a percentile, from which no share of slow
//! requests can be made: a plan on these numbers guards errors. A minute without traffic has no datapoint; a minute in which
//! one side has requests and the other has none is told as a gap of that side.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::canary::source::{Source, Taken};
use crate::judge::interval::{Interval, Side};
use crate::serve::aws::{Aws, CLOUDWATCH};

/// The last two minutes are not whole yet.
const LATE_S: i64 = 120;
/// A silence is not made up for beyond this.
const BACK_S: i64 = 600;

pub struct Groups {
    aws: Aws,
    /// `app/NAME/ID`, and the target groups of each side, `targetgroup/NAME/ID`.
    balancer: String,
    baseline: Vec<String>,
    canary: Vec<String>,
    counted: Option<i64>,
}

impl Groups {
    pub fn new(
        region: &str,
        endpoint: Option<&str>,
        balancer: String,
        baseline: Vec<String>,
        canary: Vec<String>,
    ) -> Result<Self, String> {
        let aws = Aws::open(Some(region), endpoint).map_err(|e| e.to_string())?;
        Ok(Self { aws, balancer, baseline, canary, counted: None })
    }

    fn question(&self, from: i64, to: i64) -> Value {
        let groups = self.baseline.iter().map(|g| ("b", g)).chain(self.canary.iter().map(|g| ("c", g)));
        let mut queries = Vec::new();
        for (i, (side, group)) in groups.enumerate() {
            for (what, name) in [("all", "RequestCount"), ("bad", "HTTPCode_Target_5XX_Count")] {
                queries.push(json!({"Id": format!("{side}{i}{what}"), "ReturnData": true, "MetricStat": {
                    "Period": 60, "Stat": "Sum", "Metric": {"Namespace": "AWS/ApplicationELB", "MetricName": name,
                    "Dimensions": [{"Name": "LoadBalancer", "Value": self.balancer},
                                   {"Name": "TargetGroup", "Value": group}]}}}));
            }
        }
        json!({"MetricDataQueries": queries, "StartTime": from, "EndTime": to, "ScanBy": "TimestampAscending"})
    }

    /// Takes the minutes that are newer than the last one counted.
    fn taken(&mut self, answer: &Value, to: i64) -> Result<Taken, String> {
        let odd = || format!("GetMetricData answers what it should not: {answer}");
        let results = answer["MetricDataResults"].as_array().ok_or_else(odd)?;
        let counted = self.counted.unwrap_or(i64::MIN);
        let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
        let mut newest = None;
        for result in results {
            let id = result["Id"].as_str().ok_or_else(odd)?;
            let times = result["Timestamps"].as_array().into_iter().flatten().filter_map(Value::as_f64);
            let values = result["Values"].as_array().into_iter().flatten().filter_map(Value::as_f64);
            for (at, value) in times.zip(values).filter(|(at, _)| (*at as i64) > counted && (*at as i64) < to) {
                *sums.entry(id).or_default() += value;
                newest = newest.max(Some(at as i64));
            }
        }
        let Some(newest) = newest else { return Err("CloudWatch has no whole minute that is new".to_owned()) };
        self.counted = Some(newest);
        let side = |side: &str, i: usize| {
            let sum = |what: &str| sums.get(format!("{side}{i}{what}").as_str()).copied();
            let requests = sum("all")?;
            // No failure has no datapoint.
            Some(Side { requests, errors: sum("bad").unwrap_or(0.0).min(requests), ..Side::default() })
        };
        let slices: Vec<Option<Side>> = (0..self.baseline.len()).map(|i| side("b", i)).collect();
        let canary = (self.baseline.len()..self.baseline.len() + self.canary.len()).map(|i| side("c", i));
        let canary: Vec<Option<Side>> = canary.collect();
        let sum = |all: &[Option<Side>]| all.iter().flatten().cloned().reduce(|sum, one| sum.and(&one));
        let interval = Interval { baseline: sum(&slices), canary: sum(&canary), slices, ..Interval::default() };
        Ok(Taken { interval, viewers: None })
    }
}

impl Source for Groups {
    fn name(&self) -> String {
        format!("CloudWatch of {}", self.balancer)
    }

    fn take(&mut self) -> Result<Taken, String> {
        let to = (jiff::Timestamp::now().as_second() - LATE_S) / 60 * 60;
        let from = self.counted.unwrap_or(to - 60).max(to - BACK_S) + 60;
        if self.counted.is_none() {
            // What was before the walk is not its numbers.
            self.counted = Some(to - 60);
        }
        if from >= to {
            return Err("no new whole minute yet: CloudWatch tells them two minutes late".to_owned());
        }
        let question = self.question(from, to);
        let answer = self.aws.call(&CLOUDWATCH, "GetMetricData", &question).map_err(|e| e.to_string())?;
        self.taken(&answer, to)
    }

    fn every(&self) -> Duration {
        Duration::from_secs(60)
    }

    /// Minutes that began before the share changed are of both stages.
    fn new_stage(&mut self) {
        let whole = jiff::Timestamp::now().as_second() / 60 * 60;
        self.counted = Some(whole);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups() -> Groups {
        let own = |n: &str| vec![format!("targetgroup/{n}/1")];
        Groups::new("eu-west-3", Some("http://127.0.0.1:1"), "app/x/1".to_owned(), own("old"), own("new"))
            .expect("opens")
    }

    #[test]
    fn each_minute_is_counted_once_and_a_partial_one_not_at_all() {
        let mut groups = groups();
        let answer = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
        let both = answer(
            r#"{"MetricDataResults":[{"Id":"b0all","Timestamps":[60,120,180],"Values":[900,900,100]},
                {"Id":"b0bad","Timestamps":[],"Values":[]},
                {"Id":"c1all","Timestamps":[60,120],"Values":[100,100]},
                {"Id":"c1bad","Timestamps":[120],"Values":[7]}]}"#,
        );
        let taken = groups.taken(&both, 180).expect("two minutes").interval;
        let (baseline, canary) = (taken.baseline.expect("told"), taken.canary.expect("told"));
        assert_eq!((baseline.requests, baseline.errors, canary.requests, canary.errors), (1800.0, 0.0, 200.0, 7.0));
        assert!(groups.taken(&both, 180).is_err(), "the same minutes again say nothing new");
        let blind = answer(r#"{"MetricDataResults":[{"Id":"b0all","Timestamps":[240],"Values":[900]}]}"#);
        let taken = groups.taken(&blind, 300).expect("a minute").interval;
        assert_eq!(taken.canary, None, "a side without a datapoint is a gap, not zeros");
    }
}
