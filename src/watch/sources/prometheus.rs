//! A Prometheus that scrapes the target: ranges of the raw counters, folded like the target's own page.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::watch::error::WatchError;
use crate::watch::exposition::Reading;
use crate::watch::http::{Asker, shown};
use crate::watch::names;
use crate::watch::sample::Sample;
use crate::watch::source::{Answering, Source, Span};

/// Prometheus refuses more points a series than 11,000; we need far fewer.
const POINTS: f64 = 240.0;
const LONGEST_S: f64 = 3.0 * 86_400.0;

#[derive(Clone, Debug)]
pub struct Prometheus {
    pub asker: Asker,
    /// The root: `http://prometheus:9090`.
    pub url: String,
    /// A selector's inside that narrows to the target: `job="recs",env="staging"`.
    pub selector: String,
}

#[derive(Deserialize)]
struct Answer {
    status: String,
    #[serde(default)]
    error: String,
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(default)]
    result: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    metric: BTreeMap<String, String>,
    #[serde(default)]
    values: Vec<(f64, String)>,
    value: Option<(f64, String)>,
}

impl Prometheus {
    /// Asks for the span finely, and for the three days that a burn rate looks back coarsely.
    async fn samples(&self, span: Span) -> Result<Vec<Sample>, WatchError> {
        let fine = self.range(span);
        let coarse = self.range(Span { from: span.to - LONGEST_S, to: span.from });
        let newest = self.instant(span.to);
        let (fine, coarse, newest, scraped) = tokio::join!(fine, coarse, newest, self.scraped(span.to));
        let scraped = scraped?;
        // Prometheus repeats what it scraped last for five minutes: a number is as old as its scrape.
        let true_time = |s: &Sample| scraped.get(&s.instance).copied().unwrap_or(span.to);
        let mut newest = newest?;
        newest.iter_mut().for_each(|s| s.at = s.at.min(true_time(s)));
        let mut all = [coarse?, fine?].concat();
        all.retain(|s| s.at < true_time(s));
        all.extend(newest);
        if all.is_empty() {
            return Err(WatchError::Foreign { at: shown(&self.url) });
        }
        Ok(all)
    }

    /// When each instance was scraped last.
    async fn scraped(&self, at: f64) -> Result<BTreeMap<String, f64>, WatchError> {
        let query = format!("timestamp(serin_ready{{{}}})", self.selector);
        let data = self.asked("query", &query, &format!("time={at}")).await?;
        let one =
            |row: Row| Some((row.metric.get("instance").cloned().unwrap_or_default(), row.value?.1.parse().ok()?));
        Ok(data.result.into_iter().filter_map(one).collect())
    }

    /// An instant query: each series' newest value, with the moment that was asked about.
    async fn instant(&self, at: f64) -> Result<Vec<Sample>, WatchError> {
        self.query("query", &format!("time={at}")).await
    }

    async fn range(&self, span: Span) -> Result<Vec<Sample>, WatchError> {
        let step = ((span.to - span.from) / POINTS).max(5.0).ceil();
        self.query("query_range", &format!("start={}&end={}&step={step}", span.from, span.to)).await
    }

    async fn query(&self, kind: &str, when: &str) -> Result<Vec<Sample>, WatchError> {
        let comma = if self.selector.is_empty() { "" } else { "," };
        let query = format!("{{__name__=~\"serin_.+\"{comma}{}}}", self.selector);
        self.asked(kind, &query, when).await.map(folded)
    }

    async fn asked(&self, kind: &str, query: &str, when: &str) -> Result<Data, WatchError> {
        let url = format!("{}/api/v1/{kind}?query={}&{when}", self.url.trim_end_matches('/'), encoded(query));
        let heard = self.asker.wanted(&url, None, "Prometheus' JSON").await?;
        let malformed = |why: String| WatchError::Malformed { at: shown(&url), wanted: "Prometheus' JSON", why };
        let answer: Answer = serde_json::from_str(&heard.body).map_err(|e| malformed(e.to_string()))?;
        match answer.data {
            Some(data) if answer.status == "success" => Ok(data),
            _ => Err(malformed(format!("{} {}", answer.status, answer.error))),
        }
    }
}

/// Puts the series of each instance and moment together again, as one page each.
fn folded(data: Data) -> Vec<Sample> {
    let mut pages: BTreeMap<(String, i64), Vec<Reading>> = BTreeMap::new();
    for row in data.result {
        let instance = row.metric.get("instance").cloned().unwrap_or_default();
        let name = row.metric.get("__name__").cloned().unwrap_or_default();
        let labels: Vec<_> = row.metric.into_iter().collect();
        for (at, value) in row.values.into_iter().chain(row.value) {
            // A value that is no number is a gap.
            let Ok(value) = value.parse() else { continue };
            let reading = Reading { name: name.clone(), labels: labels.clone(), value };
            pages.entry((instance.clone(), (at * 1000.0) as i64)).or_default().push(reading);
        }
    }
    let folded =
        pages.iter().filter_map(|((instance, at), page)| names::sample(*at as f64 / 1000.0, instance, "", page));
    folded.collect()
}

fn encoded(text: &str) -> String {
    let one = |b: u8| match b {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => (b as char).to_string(),
        b => format!("%{b:02X}"),
    };
    text.bytes().map(one).collect()
}

impl Source for Prometheus {
    fn name(&self) -> String {
        format!("Prometheus at {}", shown(&self.url))
    }

    fn ask(&self, span: Span) -> Answering<'_> {
        Box::pin(self.samples(span))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::sample::Signal;

    #[test]
    fn a_matrix_becomes_samples_instance_by_instance() {
        let text = r#"{"status":"success","data":{"resultType":"matrix","result":[
            {"metric":{"__name__":"serin_requests_total","instance":"a:1","status":"200"},"values":[[10,"5"],[20,"9"]]},
            {"metric":{"__name__":"serin_requests_total","instance":"a:1","status":"503"},"values":[[20,"2"]]},
            {"metric":{"__name__":"serin_requests_total","instance":"b:1","status":"200"},"values":[[10,"NaN"]]}]}}"#;
        let answer: Answer = serde_json::from_str(text).expect("reads");
        let samples = folded(answer.data.expect("data"));
        let got: Vec<_> = samples
            .iter()
            .map(|s| (s.instance.as_str(), s.at, s.get(Signal::Requests), s.get(Signal::Errors)))
            .collect();
        assert_eq!(got[..2], [("a:1", 10.0, Some(5.0), None), ("a:1", 20.0, Some(11.0), Some(2.0))]);
        assert!(got.get(2).is_none_or(|b| b.2.is_none()), "{got:?}");
        assert_eq!(encoded("{a=\"b\"}"), "%7Ba%3D%22b%22%7D");
    }
}
