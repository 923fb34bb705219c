//! What went through by CloudWatch: whole minutes, two minutes late, asked once a minute; each minute counted once.

use serde_json::{Value, json};

use crate::cost::knob::Look;
use crate::serve::aws::{Aws, CLOUDWATCH};

/// The last minutes are not whole yet.
const LATE_S: i64 = 120;
/// How far back a first question, or one after a silence, looks.
const BACK_S: i64 = 600;

/// Two sums by the minute: what was used, and what was refused.
#[derive(Debug, Default)]
pub struct Metrics {
    pub namespace: &'static str,
    pub dimension: (&'static str, String),
    pub used: String,
    pub refused: String,
    /// Units that a refused request would have used; refusals are not among what was used.
    pub units_a_refusal: f64,
    /// The beginning of the newest minute that was counted.
    pub counted: i64,
    pub asked: i64,
    /// Units a second of that minute.
    pub units: Option<f64>,
}

impl Metrics {
    pub fn look(&mut self, aws: &mut Aws) -> Result<Look, String> {
        let now = jiff::Timestamp::now().as_second();
        let mut throttled = 0.0;
        if now - self.asked >= 60 {
            let to = (now - LATE_S) / 60 * 60;
            let from = self.counted.max(to - BACK_S - 60) + 60;
            if to > from {
                let answer = aws.call(&CLOUDWATCH, "GetMetricData", &self.question(from, to));
                throttled = self.take(&answer.map_err(|e| e.to_string())?)?;
            }
            self.asked = now;
        }
        // The newest whole minute is at least two minutes old; ten are too many to call it now.
        let units = self.units.filter(|_| now - self.counted <= BACK_S);
        let units = units.ok_or_else(|| format!("CloudWatch has no {} of the last ten minutes", self.used))?;
        Ok(Look { units, throttled, p99_ms: None, errors: None })
    }

    fn question(&self, from: i64, to: i64) -> Value {
        let query = |id: &str, name: &str| {
            json!({"Id": id, "MetricStat": {"Period": 60, "Stat": "Sum", "Metric": {
                "Namespace": self.namespace, "MetricName": name,
                "Dimensions": [{"Name": self.dimension.0, "Value": self.dimension.1}]}}})
        };
        let queries = [query("used", &self.used), query("refused", &self.refused)];
        json!({"MetricDataQueries": queries, "StartTime": from, "EndTime": to, "ScanBy": "TimestampAscending"})
    }

    /// Takes an answer; returns what was refused in its minutes.
    fn take(&mut self, answer: &Value) -> Result<f64, String> {
        let points = |id: &str| -> Result<Vec<(i64, f64)>, String> {
            let odd = || format!("GetMetricData answers no `{id}`: {answer}");
            let all = answer["MetricDataResults"].as_array().ok_or_else(odd)?;
            let one = all.iter().find(|r| r["Id"] == id).ok_or_else(odd)?;
            let (times, values) = (one["Timestamps"].as_array(), one["Values"].as_array());
            let times = times.into_iter().flatten().filter_map(|t| t.as_f64().map(|t| t as i64));
            Ok(times.zip(values.into_iter().flatten().filter_map(Value::as_f64)).collect())
        };
        // Nothing refused has no datapoint; a minute without use has none either, and is no zero.
        let refused: f64 = points("refused")?.iter().filter(|(at, _)| *at > self.counted).map(|(_, n)| n).sum();
        if let Some((at, used)) = points("used")?.into_iter().filter(|(at, _)| *at > self.counted).max_by_key(|p| p.0) {
            self.units = Some((used + refused * self.units_a_refusal) / 60.0);
            self.counted = at;
        }
        Ok(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_minute_is_counted_once_and_refusals_are_demand_too() {
        let mut seen = Metrics { units_a_refusal: 0.5, ..Metrics::default() };
        let answer = |used: &str, refused: &str| -> Value {
            let text = format!(
                r#"{{"MetricDataResults":[{{"Id":"used",{used}}},{{"Id":"refused",{refused}}}],"Messages":[]}}"#
            );
            serde_json::from_str(&text).expect("JSON")
        };
        let both = answer(r#""Timestamps":[60,120],"Values":[600,1200]"#, r#""Timestamps":[120],"Values":[24]"#);
        assert_eq!((seen.take(&both), seen.units, seen.counted), (Ok(24.0), Some(20.2), 120));
        assert_eq!((seen.take(&both), seen.units), (Ok(0.0), Some(20.2)), "the same minutes again say nothing new");
        let none = answer(r#""Timestamps":[],"Values":[]"#, r#""Timestamps":[],"Values":[]"#);
        assert_eq!((seen.take(&none), seen.counted), (Ok(0.0), 120));
        assert!(seen.take(&json!({})).is_err());
    }
}
