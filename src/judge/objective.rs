//! One SLO line: `p99 < 120ms`, `errors < 1%`, `in time > 99%`, `p99 < 120ms for 95% of 10s windows`.

use std::fmt;
use std::time::Duration;

use super::measure::{Measure, PARTS};
use crate::stats::histogram::Histogram;
use crate::stats::units::{Millis, Rps, Share, parse_duration, parse_share};

/// What is implied where nothing was asked.
pub const IMPLIED: [&str; 2] = ["errors < 1%", "in time > 99%"];

#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    /// As it was written.
    pub expression: String,
    pub metric: Metric,
    pub op: Op,
    /// Milliseconds, a share, or requests a second, as the metric is.
    pub limit: f64,
    pub endpoint: Option<String>,
    pub stage: Option<String>,
    pub windows: Option<Windows>,
    /// Whether the run ends as soon as this one is lost.
    pub abort: bool,
}

/// The objective must hold in this share of all windows of this length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Windows {
    pub share: f64,
    pub seconds: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Metric {
    Latency(Figure),
    Service(Figure),
    Part(&'static str, Figure),
    /// Errors of one kind, or all.
    Errors(Option<String>),
    Throttled,
    InTime,
    Rate,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Figure {
    Quantile(f64),
    Mean,
    Max,
    Min,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Less,
    AtMost,
    More,
    AtLeast,
    Equal,
}

impl Op {
    pub fn holds(self, seen: f64, limit: f64) -> bool {
        match self {
            Self::Less => seen < limit,
            Self::AtMost => seen <= limit,
            Self::More => seen > limit,
            Self::AtLeast => seen >= limit,
            Self::Equal => seen == limit,
        }
    }

    fn bounds_above(self, limit: f64) -> bool {
        matches!(self, Self::Less | Self::AtMost) || (self == Self::Equal && limit == 0.0)
    }
}

impl Objective {
    /// Reads one line; the error says what is not understood and how it is written.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expression = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let at = expression.find(['<', '>', '=']).ok_or_else(|| {
            format!("`{expression}` compares nothing; write for example `p99 < 120ms` or `errors < 1%`")
        })?;
        let (left, right) = expression.split_at(at);
        let signs = right.len() - right.trim_start_matches(['<', '>', '=']).len();
        let op = match &right[..signs] {
            "<" => Op::Less,
            "<=" => Op::AtMost,
            ">" => Op::More,
            ">=" => Op::AtLeast,
            "=" | "==" => Op::Equal,
            other => return Err(format!("`{other}` is not a comparison; use <, <=, >, >= or =")),
        };
        let metric = Metric::parse(left.trim())?;
        let mut words = right[signs..].split_whitespace().peekable();
        let mut value = words.next().unwrap_or_default().to_owned();
        if let Some(unit) = words.next_if(|w| !matches!(*w, "on" | "in" | "for")) {
            value += unit;
        }
        let limit = metric.limit(&value)?;
        let mut objective = Self {
            metric,
            op,
            limit,
            endpoint: None,
            stage: None,
            windows: None,
            abort: false,
            expression: expression.clone(),
        };
        while let Some(word) = words.next() {
            let mut name = |what: &str| {
                let mut parts = Vec::new();
                while let Some(part) = words.next_if(|w| !matches!(*w, "on" | "in" | "for")) {
                    parts.push(part);
                }
                let joined = parts.join(" ").trim_matches('"').to_owned();
                if joined.is_empty() { Err(format!("`{expression}` names no {what}")) } else { Ok(joined) }
            };
            match word {
                "on" => objective.endpoint = Some(name("endpoint")?),
                "in" => objective.stage = Some(name("stage")?),
                "for" => objective.windows = Some(Windows::parse(&name("windows")?)?),
                other => {
                    return Err(format!(
                        "`{other}` is not understood; after the limit may come `on ENDPOINT`, `in STAGE`, `for 95% of 10s windows`"
                    ));
                }
            }
        }
        objective.check()?;
        Ok(objective)
    }

    /// Refuses what has no meaning together; also to be called when the scope was set from elsewhere.
    pub fn check(&self) -> Result<(), String> {
        let whole_only = matches!(self.metric, Metric::InTime | Metric::Rate | Metric::Part(..));
        if whole_only && self.endpoint.is_some() {
            return Err(format!("`{}`: this is known of a run, not of one endpoint", self.expression));
        }
        if self.windows.is_some() && self.stage.is_some() {
            return Err(format!("`{}`: ask for a stage or for windows, not both", self.expression));
        }
        if matches!(self.metric, Metric::Part(..)) && self.stage.is_some() {
            return Err(format!("`{}`: the parts of the time are known of a run, not of one stage", self.expression));
        }
        Ok(())
    }

    /// Returns the number that this objective limits; `None` without data.
    pub fn observe(&self, m: &Measure) -> Option<f64> {
        let share = |n: u64| (m.ended > 0).then(|| n as f64 / m.ended as f64);
        match &self.metric {
            Metric::Latency(figure) => figure.of(&m.latency),
            Metric::Service(figure) => figure.of(&m.service),
            Metric::Part(part, figure) => m.parts.get(part).and_then(|h| figure.of(h)),
            Metric::Errors(None) => share(m.errors),
            Metric::Errors(Some(kind)) => share(m.by_kind.get(kind).copied().unwrap_or(0)),
            Metric::Throttled => share(m.throttled),
            Metric::InTime => m.in_time.filter(|(due, _)| *due > 0).map(|(due, sent)| sent as f64 / due as f64),
            Metric::Rate => m.rate,
        }
    }

    pub fn holds(&self, seen: f64) -> bool {
        self.op.holds(seen, self.limit)
    }

    /// Whether nothing that the rest of the `planned` requests of its scope do can still make them meet this objective.
    /// Where nobody knows how many will come, `u64::MAX` leaves only what a single one loses.
    pub fn is_lost(&self, m: &Measure, planned: u64) -> bool {
        if !self.op.bounds_above(self.limit) || self.windows.is_some() {
            return false;
        }
        let planned = planned.max(m.ended) as f64;
        let too_slow = |h: &Histogram, figure: &Figure| match figure {
            // One more than allowed, so that no rounding of a rank ends a run that could be won.
            Figure::Quantile(q) => h.count_above(Millis(self.limit)) as f64 > (1.0 - q) * planned + 1.0,
            Figure::Max => h.count_above(Millis(self.limit)) > 0,
            Figure::Mean | Figure::Min => false,
        };
        match &self.metric {
            Metric::Latency(figure) => too_slow(&m.latency, figure),
            Metric::Service(figure) => too_slow(&m.service, figure),
            Metric::Part(part, figure) => m.parts.get(part).is_some_and(|h| too_slow(h, figure)),
            Metric::Errors(None) => m.errors as f64 > self.limit * planned,
            Metric::Errors(Some(kind)) => m.by_kind.get(kind).copied().unwrap_or(0) as f64 > self.limit * planned,
            Metric::Throttled => m.throttled as f64 > self.limit * planned,
            Metric::InTime | Metric::Rate => false,
        }
    }

    /// Returns a value of this metric for a person.
    pub fn shown(&self, value: f64) -> String {
        match self.metric {
            Metric::Latency(_) | Metric::Service(_) | Metric::Part(..) => Millis(value).to_string(),
            Metric::Errors(_) | Metric::Throttled | Metric::InTime => Share(value).to_string(),
            Metric::Rate => Rps(value).to_string(),
        }
    }

    /// Whether a slow or late generator can be the cause when this is missed.
    pub fn can_blame_generator(&self) -> bool {
        !matches!(self.metric, Metric::Errors(_) | Metric::Throttled)
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.expression)?;
        match (&self.endpoint, &self.stage) {
            (Some(e), _) if !self.expression.contains(" on ") => write!(f, " on {e}"),
            (_, Some(s)) if !self.expression.contains(" in ") => write!(f, " in {s}"),
            _ => Ok(()),
        }
    }
}

impl Metric {
    fn parse(text: &str) -> Result<Self, String> {
        let (prefix, last) = text.rsplit_once(' ').unwrap_or(("", text));
        if let Some(figure) = Figure::parse(last) {
            return match prefix {
                "" | "latency" => Ok(Self::Latency(figure)),
                "service" => Ok(Self::Service(figure)),
                part => {
                    let found = PARTS.iter().find(|p| **p == part.replace('_', " "));
                    found.map(|p| Self::Part(p, figure)).ok_or_else(|| unknown(text))
                }
            };
        }
        match (prefix, last) {
            ("", "errors") => Ok(Self::Errors(None)),
            ("", "throttled") => Ok(Self::Throttled),
            ("in", "time") => Ok(Self::InTime),
            ("", "rate") => Ok(Self::Rate),
            ("errors", kind) | (kind, "errors") if !kind.is_empty() => Ok(Self::Errors(Some(kind.to_owned()))),
            _ => Err(unknown(text)),
        }
    }

    fn limit(&self, text: &str) -> Result<f64, String> {
        match self {
            Self::Latency(_) | Self::Service(_) | Self::Part(..) => {
                let limit = parse_duration(text)?;
                if limit.is_zero() {
                    Err("a time limit of zero is never met".to_owned())
                } else {
                    Ok(Millis::from(limit).0)
                }
            }
            Self::Errors(_) | Self::Throttled | Self::InTime => parse_share(text).map(|s| s.0),
            Self::Rate => {
                let number = text.trim_end_matches("/s");
                let rate: f64 = number.parse().map_err(|_| format!("`{text}` is not a rate; write for example 490"))?;
                if rate.is_finite() && rate > 0.0 {
                    Ok(rate)
                } else {
                    Err(format!("`{text}` is not a rate above zero"))
                }
            }
        }
    }
}

fn unknown(metric: &str) -> String {
    let known =
        ["p50", "p90", "p95", "p99", "p999", "max", "mean", "errors", "throttled", "in time", "rate", "service p99"];
    match crate::toml_file::nearest(metric, known) {
        Some(right) => format!("`{metric}` is not a figure that can be judged; did you mean `{right}`?"),
        None => format!("`{metric}` is not a figure that can be judged; known: {}", known.join(", ")),
    }
}

impl Figure {
    /// `p50`, `p99`, `p999` (99.9 %), `p99.9`, `max`, `mean`, `min`.
    fn parse(text: &str) -> Option<Self> {
        match text {
            "max" => return Some(Self::Max),
            "mean" => return Some(Self::Mean),
            "min" => return Some(Self::Min),
            _ => {}
        }
        let digits = text.strip_prefix('p')?;
        let whole = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        let q: f64 = match digits.len() {
            // p999 is 99.9 %, p9999 is 99.99 %.
            3.. if whole && digits.starts_with('9') => format!("0.{digits}").parse().ok()?,
            2 if whole => format!("0.{digits}").parse().ok()?,
            _ => digits.parse::<f64>().ok()? / 100.0,
        };
        (q > 0.0 && q < 1.0).then_some(Self::Quantile(q))
    }

    fn of(self, h: &Histogram) -> Option<f64> {
        match self {
            Self::Quantile(q) => h.quantile(q),
            Self::Mean => h.mean(),
            Self::Max => h.max(),
            Self::Min => h.min(),
        }
        .map(|m| m.0)
    }
}

impl Windows {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`for {text}` is not understood; write for example `for 95% of 10s windows`");
        let rest = text.strip_suffix(" windows").or_else(|| text.strip_suffix(" window")).ok_or_else(wrong)?;
        let (share, length) = rest.split_once(" of ").ok_or_else(wrong)?;
        let share = parse_share(share)?.0;
        let length = parse_duration(length.trim_start_matches("the ").trim_start_matches("all "))?;
        if length < Duration::from_secs(1) || length.subsec_nanos() != 0 || length > Duration::from_hours(1) {
            return Err("a window is a whole number of seconds, at least one and at most an hour".to_owned());
        }
        if share <= 0.0 {
            return Err("0% of windows asks for nothing".to_owned());
        }
        Ok(Self { share, seconds: length.as_secs() as u32 })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn measure(ms: impl IntoIterator<Item = u64>, errors: u64) -> Measure {
        let mut m = Measure { errors, ..Measure::default() };
        for v in ms {
            m.latency.record(Duration::from_millis(v));
            m.ended += 1;
        }
        m
    }

    #[test]
    fn lines_are_read() {
        let table = [
            ("p99 < 120ms", Metric::Latency(Figure::Quantile(0.99)), Op::Less, 120.0),
            ("p99<120ms", Metric::Latency(Figure::Quantile(0.99)), Op::Less, 120.0),
            ("p999 <= 1.5s", Metric::Latency(Figure::Quantile(0.999)), Op::AtMost, 1500.0),
            ("service max < 2s", Metric::Service(Figure::Max), Op::Less, 2000.0),
            ("first byte p50 < 9ms", Metric::Part("first byte", Figure::Quantile(0.5)), Op::Less, 9.0),
            ("errors < 1%", Metric::Errors(None), Op::Less, 0.01),
            ("errors < 1 %", Metric::Errors(None), Op::Less, 0.01),
            ("errors timeout < 0.1%", Metric::Errors(Some("timeout".to_owned())), Op::Less, 0.001),
            ("throttled = 0", Metric::Throttled, Op::Equal, 0.0),
            ("in time > 99%", Metric::InTime, Op::More, 0.99),
            ("rate >= 490", Metric::Rate, Op::AtLeast, 490.0),
        ];
        for (text, metric, op, limit) in table {
            let o = Objective::parse(text).expect(text);
            assert_eq!((o.metric, o.op), (metric, op), "{text}");
            assert!((o.limit - limit).abs() < 1e-9, "{text}: {}", o.limit);
        }
    }

    #[test]
    fn scopes_are_read() {
        let o = Objective::parse("p99 < 120ms for 95% of 10s windows").expect("read");
        assert_eq!(o.windows, Some(Windows { share: 0.95, seconds: 10 }));
        let o = Objective::parse("p95 < 40 ms on popular list in the peak").expect("read");
        assert_eq!((o.endpoint.as_deref(), o.stage.as_deref()), (Some("popular list"), Some("the peak")));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_a_proposal() {
        let table = [
            ("p99", "compares nothing"),
            ("p99 < 120", "has no unit"),
            ("p99 =< 1s", "not a comparison"),
            ("eror < 1%", "did you mean `errors`"),
            ("errors < 120%", "outside 0 % to 100 %"),
            ("p100 < 1s", "not a figure"),
            ("p99 < 0ms", "never met"),
            ("p99 < 1s for 95% of 0.5s windows", "whole number of seconds"),
            ("in time > 99% on popular", "not of one endpoint"),
            ("p99 < 1s sometimes", "is not a unit of time"),
        ];
        for (text, part) in table {
            let error = Objective::parse(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn without_data_there_is_no_number() {
        for text in ["p99 < 1s", "errors < 1%", "throttled = 0", "in time > 99%", "rate > 1", "tls p50 < 1s"] {
            assert_eq!(Objective::parse(text).expect(text).observe(&Measure::default()), None, "{text}");
        }
    }

    #[test]
    fn an_objective_is_lost_only_when_the_rest_cannot_save_it() {
        let p99 = Objective::parse("p99 < 100ms").expect("read");
        assert!(!p99.is_lost(&measure([200; 11], 0), 1000), "11 of 1000 may yet be rank 990");
        assert!(p99.is_lost(&measure([200; 12], 0), 1000));
        let errors = Objective::parse("errors < 1%").expect("read");
        assert!(!errors.is_lost(&measure([1; 20], 10), 1000));
        assert!(errors.is_lost(&measure([1; 20], 11), 1000));
        assert!(
            Objective::parse("throttled = 0").expect("read").is_lost(&Measure { throttled: 1, ..measure([1], 1) }, 10)
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in "[ -~]{0,40}") {
            let _ = Objective::parse(&text);
        }
    }
}
