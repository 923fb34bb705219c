//! A Prometheus that scrapes the target: ranges of the raw counters, folded like the target's own page.

use std::collections::BTreeMap;

use crate::watch::error::WatchError;
use crate::watch::http::{Asker, shown};
use crate::watch::names;
use crate::watch::promql::{self, Row};
use crate::watch::sample::Sample;
use crate::watch::source::{Answering, Source, Span};

/// Prometheus refuses more points a series than 11,000; we need far fewer.
const POINTS: f64 = 240.0;
const LONGEST_S: f64 = 3.0 * 86_400.0;
const WANTED: &str = "Prometheus' JSON";

#[derive(Clone, Debug)]
pub struct Prometheus {
    pub asker: Asker,
    /// The root: `http://prometheus:9090`.
    pub url: String,
    /// A selector's inside that narrows to the target: `job="recs",env="staging"`.
    pub selector: String,
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
        let rows = self.asked(&promql::instant(&self.url, &query, at)).await?;
        let one = |row: Row| {
            let at = row.values.first()?.1.parse().ok()?;
            Some((row.labels.get("instance").cloned().unwrap_or_default(), at))
        };
        Ok(rows.into_iter().filter_map(one).collect())
    }

    /// An instant query: each series' newest value, with the moment that was asked about.
    async fn instant(&self, at: f64) -> Result<Vec<Sample>, WatchError> {
        self.asked(&promql::instant(&self.url, &self.all(), at)).await.map(folded)
    }

    async fn range(&self, span: Span) -> Result<Vec<Sample>, WatchError> {
        let step = ((span.to - span.from) / POINTS).max(5.0).ceil();
        self.asked(&promql::range(&self.url, &self.all(), (span.from, span.to), step)).await.map(folded)
    }

    /// The query for every number of ours.
    fn all(&self) -> String {
        let comma = if self.selector.is_empty() { "" } else { "," };
        format!("{{__name__=~\"serin_.+\"{comma}{}}}", self.selector)
    }

    async fn asked(&self, url: &str) -> Result<Vec<Row>, WatchError> {
        let heard = self.asker.wanted(url, None, WANTED).await?;
        promql::rows(&heard.body).map_err(|why| WatchError::Malformed { at: shown(url), wanted: WANTED, why })
    }
}

/// Each page as what an instance said of itself at that moment.
fn folded(rows: Vec<Row>) -> Vec<Sample> {
    let pages = promql::pages(rows);
    let sample =
        |((instance, at), page): (&(String, i64), &Vec<_>)| names::sample(*at as f64 / 1000.0, instance, "", page);
    pages.iter().filter_map(sample).collect()
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
        let samples = folded(promql::rows(text).expect("reads"));
        let got: Vec<_> = samples
            .iter()
            .map(|s| (s.instance.as_str(), s.at, s.get(Signal::Requests), s.get(Signal::Errors)))
            .collect();
        assert_eq!(got[..2], [("a:1", 10.0, Some(5.0), None), ("a:1", 20.0, Some(11.0), Some(2.0))]);
        assert!(got.get(2).is_none_or(|b| b.2.is_none()), "{got:?}");
    }
}
