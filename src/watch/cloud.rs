//! CloudWatch's numbers as ours: what to ask of a table, a load balancer, a campaign, and minutes folded into samples.
//!
//! CloudWatch tells what happened in each minute; samples count from the beginning, so the minutes are added up. A minute
//! without a datapoint is a gap, not a zero, unless the resource told something else of that minute. The last two
//! minutes are not whole yet: they are marked, and no rate is read from them.

use std::collections::BTreeMap;

use super::sample::{Sample, Signal};

/// The last minutes are not whole yet.
pub const LATE_S: f64 = 120.0;
/// What one metric of one question costs.
pub const USD_A_METRIC: f64 = 0.01 / 1000.0;
/// The most queries that one call takes.
pub const BATCH: usize = 500;

/// How a number of one minute is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// So many in that minute: added up.
    Count,
    /// What held in that minute.
    Gauge,
    /// Seconds, told as milliseconds.
    Seconds,
}

/// One metric, with what it is to us.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    pub resource: String,
    pub namespace: &'static str,
    pub metric: &'static str,
    pub dimensions: Vec<(&'static str, String)>,
    pub stat: String,
    pub signal: Signal,
    pub meaning: Meaning,
    /// Whether a resource that lives tells it every minute that it is used.
    pub main: bool,
}

impl Query {
    /// How a person finds it again.
    pub fn name(&self) -> String {
        let dimensions: Vec<_> = self.dimensions.iter().map(|(n, v)| format!("{n}={v}")).collect();
        format!("{} {} {}", self.namespace, self.metric, dimensions.join(","))
    }
}

/// What to look at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resources {
    pub table: Option<String>,
    /// As its dimension is written: `app/recs/0123456789abcdef`.
    pub balancer: Option<String>,
    /// The ARN of a Personalize campaign.
    pub campaign: Option<String>,
}

impl Resources {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns every metric worth its price; `quantile` is the one that the objective limits.
    pub fn queries(&self, quantile: f64) -> Vec<Query> {
        use Meaning::{Count, Gauge, Seconds};
        let mut all = Vec::new();
        if let Some(table) = &self.table {
            let own = vec![("TableName", table.clone())];
            let get = vec![("TableName", table.clone()), ("Operation", "GetItem".to_owned())];
            let rows: [(&str, &Vec<(&str, String)>, &str, Signal, Meaning, bool); 6] = [
                ("ConsumedReadCapacityUnits", &own, "Sum", Signal::TableUnits, Count, true),
                ("ReadThrottleEvents", &own, "Sum", Signal::TableThrottled, Count, false),
                ("ProvisionedReadCapacityUnits", &own, "Maximum", Signal::StoreCapacity, Gauge, false),
                ("SuccessfulRequestLatency", &get, "SampleCount", Signal::TableReads, Count, false),
                ("SuccessfulRequestLatency", &get, "Average", Signal::TableLatencyMs, Gauge, false),
                ("SystemErrors", &get, "Sum", Signal::TableErrors, Count, false),
            ];
            all.extend(rows.map(|row| query(format!("table {table}"), "AWS/DynamoDB", row)));
        }
        if let Some(balancer) = &self.balancer {
            let own = vec![("LoadBalancer", balancer.clone())];
            let p = format!("p{}", (quantile * 1e4).round() / 100.0);
            let rows: [(&str, &Vec<(&str, String)>, &str, Signal, Meaning, bool); 4] = [
                ("RequestCount", &own, "Sum", Signal::FrontRequests, Count, true),
                ("HTTPCode_Target_5XX_Count", &own, "Sum", Signal::FrontErrors, Count, false),
                ("HTTPCode_ELB_5XX_Count", &own, "Sum", Signal::FrontErrors, Count, false),
                ("TargetResponseTime", &own, &p, Signal::FrontLatencyMs, Seconds, false),
            ];
            all.extend(rows.map(|row| query(format!("balancer {balancer}"), "AWS/ApplicationELB", row)));
        }
        if let Some(campaign) = &self.campaign {
            let own = vec![("CampaignArn", campaign.clone())];
            let rows: [(&str, &Vec<(&str, String)>, &str, Signal, Meaning, bool); 4] = [
                ("GetRecommendations", &own, "Sum", Signal::CampaignRequests, Count, true),
                ("GetRecommendations4xxErrors", &own, "Sum", Signal::CampaignRefused, Count, false),
                ("GetRecommendations5xxErrors", &own, "Sum", Signal::CampaignErrors, Count, false),
                ("GetRecommendationsLatency", &own, "Average", Signal::CampaignLatencyMs, Gauge, false),
            ];
            let name = campaign.rsplit('/').next().unwrap_or(campaign);
            all.extend(rows.map(|row| query(format!("campaign {name}"), "AWS/Personalize", row)));
        }
        all
    }
}

fn query(
    resource: String,
    namespace: &'static str,
    (metric, dimensions, stat, signal, meaning, main): (
        &'static str,
        &Vec<(&'static str, String)>,
        &str,
        Signal,
        Meaning,
        bool,
    ),
) -> Query {
    let dimensions = dimensions.clone();
    Query { resource, namespace, metric, dimensions, stat: stat.to_owned(), signal, meaning, main }
}

/// Everything that was told so far, minute by minute.
#[derive(Clone, Debug, Default)]
pub struct Minutes {
    /// Beginning of the minute (or of five) and its length, to the number of each query.
    told: BTreeMap<i64, (i64, BTreeMap<usize, f64>)>,
}

impl Minutes {
    /// Takes what one query told: the beginning of each period, and its number.
    pub fn take(&mut self, query: usize, period_s: i64, points: impl IntoIterator<Item = (i64, f64)>) {
        for (at, value) in points.into_iter().filter(|(_, v)| v.is_finite()) {
            let (_, minute) = self.told.entry(at).or_insert_with(|| (period_s, BTreeMap::new()));
            minute.insert(query, value);
        }
    }

    /// Returns the newest beginning of a whole minute.
    pub fn newest(&self, now: f64) -> Option<i64> {
        self.told.keys().rev().find(|at| (**at + 60) as f64 <= now - LATE_S).copied()
    }

    /// Forgets what nobody looks back at any more.
    pub fn prune(&mut self, before: i64) {
        self.told = self.told.split_off(&before);
    }

    /// Returns the main metrics that told nothing in all this time: renamed, or of something that is not there.
    pub fn silent<'q>(&self, queries: &'q [Query]) -> Vec<&'q Query> {
        let told = |at: usize| self.told.values().any(|(_, minute)| minute.contains_key(&at));
        queries.iter().enumerate().filter(|(at, q)| q.main && !told(*at)).map(|(_, q)| q).collect()
    }

    /// Returns samples, a resource an instance, counting from the first minute on.
    pub fn samples(&self, queries: &[Query], now: f64) -> Vec<Sample> {
        let mut out = Vec::new();
        let resources: std::collections::BTreeSet<_> = queries.iter().map(|q| &q.resource).collect();
        for resource in resources {
            let own: Vec<_> = queries.iter().enumerate().filter(|(_, q)| &q.resource == resource).collect();
            let mut sums: BTreeMap<Signal, f64> =
                own.iter().filter(|(_, q)| q.meaning == Meaning::Count).map(|(_, q)| (q.signal, 0.0)).collect();
            // What a first minute grew by is only seen against a moment before it.
            let mut before: Option<f64> = None;
            for (at, (period, minute)) in &self.told {
                if !own.iter().any(|(i, _)| minute.contains_key(i)) {
                    continue;
                }
                let (begin, end) = (*at as f64, (at + period) as f64);
                if before.is_none_or(|b| begin - b > 1.0) {
                    out.push(sample(resource, begin, &sums));
                }
                for (i, query) in &own {
                    if let (Some(value), Meaning::Count) = (minute.get(i), query.meaning) {
                        *sums.entry(query.signal).or_default() += value;
                    }
                }
                let mut one = sample(resource, end, &sums);
                for (i, query) in &own {
                    match (minute.get(i), query.meaning) {
                        (Some(value), Meaning::Gauge) => one.set(query.signal, *value),
                        (Some(value), Meaning::Seconds) => one.set(query.signal, value * 1000.0),
                        _ => {}
                    }
                }
                one.partial = end > now - LATE_S;
                out.push(one);
                before = Some(end);
            }
        }
        // A throttled read is a read too.
        for sample in &mut out {
            if let (Some(reads), Some(throttled)) = (sample.get(Signal::TableReads), sample.get(Signal::TableThrottled))
            {
                sample.set(Signal::TableReads, reads + throttled);
            }
        }
        out
    }
}

fn sample(resource: &str, at: f64, sums: &BTreeMap<Signal, f64>) -> Sample {
    Sample { numbers: sums.clone(), ..Sample::new(at, resource) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::series::Series;

    fn balancer() -> Vec<Query> {
        Resources { balancer: Some("app/recs/1".to_owned()), ..Resources::default() }.queries(0.99)
    }

    #[test]
    fn minutes_become_counters_a_gap_stays_one_and_a_partial_minute_is_marked() {
        let queries = balancer();
        let mut minutes = Minutes::default();
        minutes.take(0, 60, [(0, 600.0), (60, 600.0), (240, 1200.0), (300, 5.0)]);
        minutes.take(1, 60, [(60, 6.0)]);
        minutes.take(2, 60, [(60, 6.0)]);
        minutes.take(3, 60, [(0, 0.08), (60, 0.2)]);
        let now = 430.0;
        let series = Series::new(minutes.samples(&queries, now));
        let grown = |s, from, to| series.growth(s, from, to);
        let whole = grown(Signal::FrontRequests, 0.0, now).expect("known");
        assert_eq!(
            (whole.amount, whole.seconds),
            (2400.0, 180.0),
            "two gaps of a minute are not in it, nor what is partial"
        );
        assert_eq!(grown(Signal::FrontErrors, 0.0, 130.0).map(|g| g.amount), Some(12.0), "both kinds of 5xx");
        assert_eq!(series.values(Signal::FrontLatencyMs, 0.0, now), [(60.0, 80.0), (120.0, 200.0)]);
        assert_eq!(minutes.newest(now), Some(240));
        assert_eq!(grown(Signal::FrontRequests, 125.0, 235.0), None);
    }

    #[test]
    fn a_metric_that_never_tells_is_named() {
        let queries = balancer();
        let mut minutes = Minutes::default();
        minutes.take(1, 60, [(60, 6.0)]);
        let silent: Vec<_> = minutes.silent(&queries).into_iter().map(Query::name).collect();
        assert_eq!(silent, ["AWS/ApplicationELB RequestCount LoadBalancer=app/recs/1"]);
        minutes.prune(120);
        assert!(minutes.samples(&queries, 999.0).is_empty());
    }

    #[test]
    fn each_resource_asks_for_what_its_namespace_has() {
        let all = Resources {
            table: Some("lists".to_owned()),
            balancer: Some("app/x/1".to_owned()),
            campaign: Some("arn:aws:personalize:eu-west-1:1:campaign/strip".to_owned()),
        };
        let queries = all.queries(0.999);
        assert_eq!(queries.len(), 14);
        assert!(queries.iter().any(|q| q.stat == "p99.9") && queries.iter().any(|q| q.resource == "campaign strip"));
        assert_eq!(queries.iter().filter(|q| q.main).count(), 3);
    }
}
