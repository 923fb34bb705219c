//! CloudWatch's numbers of two target groups: whole minutes only, two minutes late, each counted once.
//!
//! A load balancer tells requests and errors as sums and its latency as percentiles. The share of slow requests between two
//! percentiles is drawn as a straight line of logarithms, on bounds that are the same for both sides: were the percentiles
//! themselves the bounds, a healthy canary's p95 that lies a hair above the baseline's would count all of its tenth. A
//! minute without traffic has no datapoint; a minute in which one side has requests and the other has none is told as a gap
//! of that side.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use crate::canary::source::{Source, Taken};
use crate::judge::interval::{Bucket, Interval, Side};
use crate::serve::aws::{Aws, CLOUDWATCH};

/// The last two minutes are not whole yet.
const LATE_S: i64 = 120;
/// A silence is not made up for beyond this.
const BACK_S: i64 = 600;
/// What is asked of the response time, and the share of requests above it; the longest comes last.
const TIMES: [(&str, f64); 9] = [
    ("p50", 0.5),
    ("p75", 0.25),
    ("p90", 0.1),
    ("p95", 0.05),
    ("p97.5", 0.025),
    ("p99", 0.01),
    ("p99.5", 0.005),
    ("p99.9", 0.001),
    ("Maximum", 0.0),
];
/// The bounds between which requests are told lie so far apart.
const STEP: f64 = 1.05;
/// One call may ask for so many.
const QUERIES: usize = 500;

pub struct Groups {
    aws: Aws,
    balancer: String,
    baseline: Vec<String>,
    canary: Vec<String>,
    /// Whether the response times are asked for: each costs nine metrics a group.
    timed: bool,
    counted: Option<i64>,
}

/// Which groups are asked for, and how.
pub struct Asked {
    pub region: String,
    /// Another endpoint than AWS' own.
    pub endpoint: Option<String>,
    /// `app/NAME/ID`, and the target groups of each side, `targetgroup/NAME/ID`.
    pub balancer: String,
    pub baseline: Vec<String>,
    pub canary: Vec<String>,
    pub timed: bool,
}

/// What was told, by minute and by the name of the question.
type Minutes<'a> = BTreeMap<(i64, &'a str), f64>;

impl Groups {
    pub fn new(asked: Asked) -> Result<Self, String> {
        let aws = Aws::open(Some(&asked.region), asked.endpoint.as_deref()).map_err(|e| e.to_string())?;
        let Asked { balancer, baseline, canary, timed, .. } = asked;
        let each = if timed { 2 + TIMES.len() } else { 2 };
        let most = QUERIES / each;
        if baseline.len() + canary.len() > most {
            return Err(format!("CloudWatch tells at most {most} target groups at once"));
        }
        Ok(Self { aws, balancer, baseline, canary, timed, counted: None })
    }

    /// Counts the minutes after this one, in Unix seconds, instead of those from now on.
    #[must_use]
    pub fn after(mut self, minute: i64) -> Self {
        self.counted = Some(minute);
        self
    }

    fn question(&self, from: i64, to: i64) -> Value {
        let groups = self.baseline.iter().map(|g| ("b", g)).chain(self.canary.iter().map(|g| ("c", g)));
        let mut queries = Vec::new();
        for (i, (side, group)) in groups.enumerate() {
            let mut ask = |what: String, name: &str, stat: &str| {
                queries.push(json!({"Id": format!("{side}{i}{what}"), "ReturnData": true, "MetricStat": {
                    "Period": 60, "Stat": stat, "Metric": {"Namespace": "AWS/ApplicationELB", "MetricName": name,
                    "Dimensions": [{"Name": "LoadBalancer", "Value": self.balancer},
                                   {"Name": "TargetGroup", "Value": group}]}}}));
            };
            ask("all".to_owned(), "RequestCount", "Sum");
            ask("bad".to_owned(), "HTTPCode_Target_5XX_Count", "Sum");
            for (t, (stat, _)) in TIMES.iter().enumerate().filter(|_| self.timed) {
                ask(format!("t{t}"), "TargetResponseTime", stat);
            }
        }
        json!({"MetricDataQueries": queries, "StartTime": from, "EndTime": to, "ScanBy": "TimestampAscending"})
    }

    /// Takes the minutes that are newer than the last one counted.
    fn taken(&mut self, answer: &Value, to: i64) -> Result<Taken, String> {
        let told = told(answer, self.counted.unwrap_or(i64::MIN), to)?;
        let minutes: BTreeSet<i64> = told.keys().map(|(at, _)| *at).collect();
        let Some(newest) = minutes.last() else { return Err("CloudWatch has no whole minute that is new".to_owned()) };
        self.counted = Some(*newest);
        let old = self.baseline.len();
        let all = |at: i64| {
            let old = (0..old).map(|i| side(&told, at, "b", i)).collect::<Vec<_>>();
            let new = (old.len()..old.len() + self.canary.len()).map(|i| side(&told, at, "c", i));
            let new = sum(&new.collect::<Vec<_>>());
            (old, new)
        };
        let each: Vec<_> = minutes.iter().map(|at| all(*at)).collect();
        // Sides are compared within the same minutes; where there is none, what is missing is told as missing.
        let whole = |(old, new): &(Vec<Option<Side>>, Option<Side>)| new.is_some() && sum(old).is_some();
        let some_whole = each.iter().any(whole);
        let mut slices = vec![None; old];
        let mut canary = None;
        for (old, new) in each.iter().filter(|minute| !some_whole || whole(minute)) {
            slices.iter_mut().zip(old).for_each(|(sum, one)| *sum = both(sum.take(), one.as_ref()));
            canary = both(canary, new.as_ref());
        }
        let interval = Interval { baseline: sum(&slices), canary, slices, ..Interval::default() };
        Ok(Taken { interval, viewers: None })
    }
}

/// Reads an answer: every datapoint after `counted` and before `to`.
fn told(answer: &Value, counted: i64, to: i64) -> Result<Minutes<'_>, String> {
    let odd = || format!("GetMetricData answers what it should not: {answer}");
    let mut told = Minutes::new();
    for result in answer["MetricDataResults"].as_array().ok_or_else(odd)? {
        let id = result["Id"].as_str().ok_or_else(odd)?;
        // Part of an answer read as all of it would be numbers that nobody measured.
        if let Some(state) = result["StatusCode"].as_str().filter(|s| *s != "Complete") {
            return Err(format!("CloudWatch tells {id} as {state}, not as complete"));
        }
        let times = result["Timestamps"].as_array().into_iter().flatten().filter_map(Value::as_f64);
        let values = result["Values"].as_array().into_iter().flatten().filter_map(Value::as_f64);
        for (at, value) in times.zip(values).filter(|(at, _)| (*at as i64) > counted && (*at as i64) < to) {
            *told.entry((at as i64, id)).or_default() += value;
        }
    }
    Ok(told)
}

/// Returns what one group did in one minute; `None` where it has no datapoint.
fn side(told: &Minutes<'_>, at: i64, side: &str, i: usize) -> Option<Side> {
    let get = |what: &str| told.get(&(at, format!("{side}{i}{what}").as_str())).copied();
    let requests = get("all")?;
    // No failure has no datapoint.
    let errors = get("bad").unwrap_or(0.0).min(requests);
    let times = TIMES.iter().enumerate().map(|(t, (_, above))| Some((1000.0 * get(&format!("t{t}"))?, *above)));
    // Times that came later than the counts are no times at all.
    let latency_ms = times.collect::<Option<Vec<_>>>().map_or_else(Vec::new, |times| spread(requests, &times));
    Some(Side { requests, errors, latency_ms, ..Side::default() })
}

/// Spreads requests over bounds that every side has, by percentiles in milliseconds with the share above each.
fn spread(requests: f64, times: &[(f64, f64)]) -> Vec<Bucket> {
    // Above the longest lies nobody; half a request stands for "nobody seen".
    let least = (0.5 / requests.max(1.0)).min(0.0005);
    let points: Vec<(f64, f64)> = times.iter().map(|(ms, above)| (ms.max(0.01), above.max(least))).collect();
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return Vec::new() };
    let above = |x: f64| {
        let upper = points.partition_point(|(ms, _)| *ms <= x);
        let Some(high) = points.get(upper) else { return 0.0 };
        let low = if upper == 0 { (first.0 / 4.0, 1.0) } else { points[upper - 1] };
        let way = ((x / low.0).ln() / (high.0 / low.0).ln()).clamp(0.0, 1.0);
        (low.1.ln() + way * (high.1 / low.1).ln()).exp()
    };
    let bound = |i: i32| STEP.powi(i);
    let at = |ms: f64| (ms.ln() / STEP.ln()).floor() as i32;
    let mut left = 1.0;
    let each = (at(first.0 / 4.0)..=at(last.0) + 1).map(|i| {
        let more = above(bound(i));
        let count = requests * (left - more);
        left = more;
        Bucket(bound(i), count)
    });
    each.filter(|b| b.1 > 0.0).collect()
}

fn both(sum: Option<Side>, one: Option<&Side>) -> Option<Side> {
    match (sum, one) {
        (Some(sum), Some(one)) => Some(sum.and(one)),
        (sum, one) => sum.or_else(|| one.cloned()),
    }
}

fn sum(all: &[Option<Side>]) -> Option<Side> {
    all.iter().fold(None, |sum, one| both(sum, one.as_ref()))
}

impl Source for Groups {
    fn name(&self) -> String {
        format!("CloudWatch of {}", self.balancer)
    }

    fn take(&mut self) -> Result<Taken, String> {
        let to = (jiff::Timestamp::now().as_second() - LATE_S) / 60 * 60;
        if self.counted.is_some_and(|last| last > to + BACK_S) {
            self.counted = Some(to);
            return Err("the clock was set back: minutes are counted anew from here".to_owned());
        }
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

    fn groups(timed: bool) -> Groups {
        let own = |n: &str| vec![format!("targetgroup/{n}/1")];
        let (region, endpoint) = ("eu-west-3".to_owned(), Some("http://127.0.0.1:1".to_owned()));
        let (baseline, canary) = (own("old"), own("new"));
        Groups::new(Asked { region, endpoint, balancer: "app/x/1".to_owned(), baseline, canary, timed }).expect("opens")
    }

    fn answer(text: &str) -> Value {
        serde_json::from_str::<Value>(text).expect("JSON")
    }

    #[test]
    fn each_minute_is_counted_once_and_a_partial_one_not_at_all() {
        let mut groups = groups(false);
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

    #[test]
    fn sides_are_compared_within_the_same_minutes() {
        let late = answer(
            r#"{"MetricDataResults":[{"Id":"b0all","Timestamps":[60,120],"Values":[900,1000],"StatusCode":"Complete"},
                {"Id":"c1all","Timestamps":[60],"Values":[100],"StatusCode":"Complete"}]}"#,
        );
        let taken = groups(false).taken(&late, 180).expect("a minute").interval;
        assert_eq!(taken.baseline.map(|b| b.requests), Some(900.0), "the canary's second minute has not come yet");
        let partial = answer(r#"{"MetricDataResults":[{"Id":"b0all","StatusCode":"PartialData"}]}"#);
        assert!(groups(false).taken(&partial, 180).is_err_and(|e| e.contains("PartialData")));
    }

    /// Percentiles of a lognormal with this median, as CloudWatch tells them.
    fn percentiles(median: f64) -> Vec<(f64, f64)> {
        let z = [0.0, 0.674, 1.282, 1.645, 1.960, 2.326, 2.576, 3.090, 3.6];
        TIMES.iter().zip(z).map(|((_, above), z)| (median * f64::exp(0.6 * z), *above)).collect()
    }

    #[test]
    fn percentiles_become_shares_of_slow_requests() {
        let slower = |median: f64, limit: f64| {
            let side = Side { latency_ms: spread(6000.0, &percentiles(median)), ..Side::default() };
            assert!((side.timed() - 6000.0).abs() < 1e-6, "nobody is lost: {}", side.timed());
            side.slower_than(limit) / 6000.0
        };
        // The true shares above a bound of 60.2 ms, of lognormals with medians of 20 and 22 ms.
        for (median, truth) in [(20.0, 0.0330), (22.0, 0.0466)] {
            let seen = slower(median, STEP.powi(84));
            assert!((seen / truth - 1.0).abs() < 0.05, "{seen} and not {truth}");
        }
        // A hair slower is a hair more, not a whole step between two percentiles.
        assert!((slower(20.02, 53.0) / slower(20.0, 53.0) - 1.0).abs() < 0.1);
        assert!(spread(10.0, &percentiles(0.0)).iter().all(|b| b.0.is_finite() && b.1 >= 0.0));
    }

    #[test]
    fn a_minute_whose_times_are_late_has_none() {
        let asked = groups(true).question(60, 120);
        assert_eq!(asked["MetricDataQueries"].as_array().map(Vec::len), Some(22));
        let mut results = vec![json!({"Id": "b0all", "Timestamps": [60], "Values": [100]})];
        results.push(json!({"Id": "c1all", "Timestamps": [60], "Values": [100]}));
        for t in 0..TIMES.len() {
            results.push(json!({"Id": format!("b0t{t}"), "Timestamps": [60], "Values": [0.02 + 0.01 * t as f64]}));
        }
        let taken = groups(true).taken(&json!({"MetricDataResults": results}), 120).expect("a minute").interval;
        assert!((taken.baseline.expect("told").timed() - 100.0).abs() < 1e-9);
        assert_eq!(taken.canary.map(|c| c.timed()), Some(0.0), "no time is not a quick time");
    }
}
