//! CloudWatch through its SDK: one batched call a tick, polite when throttled, its own cost counted and capped.

use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::ProvideCredentials as _;
use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Dimension, Metric, MetricDataQuery, MetricStat, ScanBy};

use crate::watch::cloud::{BATCH, Minutes, Query, USD_A_METRIC};
use crate::watch::error::WatchError;
use crate::watch::purse::Purse;
use crate::watch::sample::Sample;
use crate::watch::source::{Answering, Source, Span};

const DAY_S: i64 = 86_400;
const WEEK_S: i64 = 7 * DAY_S;
/// Minutes that are asked for again: late numbers still come to them.
const AGAIN_S: i64 = 240;
/// How long keys may take to be found, and a whole call.
const KEYS: Duration = Duration::from_millis(2500);
const CALL: Duration = Duration::from_millis(4500);
/// Pages that one question may have.
const PAGES: usize = 20;
/// How long nothing is asked after a throttled call, doubled each time up to the longest.
const FIRST_PAUSE_S: f64 = 60.0;
const LONGEST_PAUSE_S: f64 = 900.0;

/// Returns what every AWS client here starts from; fails in time when there are no keys.
pub async fn shared(region: &str, endpoint: Option<&str>) -> Result<SdkConfig, WatchError> {
    let timeouts = TimeoutConfig::builder().connect_timeout(Duration::from_secs(2)).operation_timeout(CALL).build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).region(Region::new(region.to_owned()));
    loader =
        loader.timeout_config(timeouts).retry_config(aws_config::retry::RetryConfig::standard().with_max_attempts(2));
    if let Some(endpoint) = endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    let config = loader.load().await;
    let provider = config.credentials_provider().ok_or_else(|| WatchError::Keys("none are configured".to_owned()))?;
    match tokio::time::timeout(KEYS, provider.provide_credentials()).await {
        Ok(Ok(_)) => Ok(config),
        Ok(Err(e)) => Err(WatchError::Keys(format!("{}; set a profile, a role or AWS_ACCESS_KEY_ID", innermost(&e)))),
        Err(_) => Err(WatchError::Keys(format!("none were found in {} ms", KEYS.as_millis()))),
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(next) = inner.source() {
        inner = next;
    }
    inner.to_string()
}

/// Says in a person's words why an AWS call failed, naming the action that a policy must allow.
pub fn explain<E>(error: &SdkError<E>, at: &str, action: &str, region: &str) -> WatchError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let unreachable = |why: String| WatchError::Unreachable { at: at.to_owned(), why };
    match error {
        SdkError::TimeoutError(_) => WatchError::Late { at: at.to_owned(), after: CALL },
        SdkError::DispatchFailure(_) => {
            unreachable(format!("{}; does the region `{region}` have this service?", innermost(error)))
        }
        SdkError::ServiceError(_) => {
            let code = error.code().unwrap_or("an error without a name");
            let message = error.message().unwrap_or_default();
            let said = match code {
                c if c.contains("AccessDenied") || c == "NotAuthorized" => {
                    format!("the policy does not allow {action}: {message}")
                }
                c if c.contains("ResourceNotFound") => format!(
                    "it is not in `{region}` for these credentials (another account's, or another region?): {message}"
                ),
                c if c.contains("Expired") => format!("the credentials have expired: {message}"),
                "RequestTimeTooSkewed" | "RequestInTheFuture" => {
                    format!("this machine's clock is off: {message}")
                }
                "SignatureDoesNotMatch" => format!("the secret key is wrong, or this machine's clock: {message}"),
                c if c.contains("InvalidClientTokenId") || c.contains("UnrecognizedClient") => {
                    format!("the access key is not known to this account: {message}")
                }
                c => format!("{c}: {message}"),
            };
            let status = error.raw_response().map_or(400, |r| r.status().as_u16());
            WatchError::Refused { at: at.to_owned(), status, said }
        }
        other => WatchError::Malformed {
            at: at.to_owned(),
            wanted: "an answer of AWS",
            why: DisplayErrorContext(other).to_string().chars().take(200).collect(),
        },
    }
}

/// What is watched in one region.
pub struct CloudWatch {
    region: String,
    endpoint: Option<String>,
    queries: Vec<Query>,
    purse: Purse,
    state: Mutex<State>,
    client: tokio::sync::OnceCell<Client>,
}

#[derive(Default)]
struct State {
    minutes: Minutes,
    asked_at: f64,
    /// Nothing is asked before; and how long the pause was.
    not_before: f64,
    pause_s: f64,
    refused: Option<WatchError>,
}

/// One call's worth: from, to, and the length of its periods.
#[derive(Clone, Copy)]
struct Piece {
    from: i64,
    to: i64,
    period: i64,
}

impl CloudWatch {
    pub fn new(region: String, endpoint: Option<String>, queries: Vec<Query>, purse: Purse) -> Self {
        let client = tokio::sync::OnceCell::new();
        Self { region, endpoint, queries, purse, state: Mutex::default(), client }
    }

    /// Metrics that were asked for and never told: renamed, or of something that is not there.
    pub fn silent(&self) -> Vec<String> {
        let state = self.state();
        if state.asked_at == 0.0 {
            return Vec::new();
        }
        let silent = state.minutes.silent(&self.queries).into_iter();
        silent
            .map(|q| {
                let why = "renamed, not there, or with the credentials of another account?";
                format!("CloudWatch has no number of {} in all the time asked for: {why}", q.name())
            })
            .collect()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Tells what is known at the end of the span, which is now.
    async fn samples(&self, span: Span) -> Result<Vec<Sample>, WatchError> {
        let at = span.to;
        {
            let mut state = self.state();
            if at < state.not_before {
                return state.refused.clone().map_or_else(|| Ok(state.minutes.samples(&self.queries, at)), Err);
            }
            // Minutes do not come faster by asking: once in each of them, so that a day costs what a day's minutes cost.
            if minute(at) == minute(state.asked_at) && state.refused.is_none() {
                return Ok(state.minutes.samples(&self.queries, at));
            }
            state.refused = None;
        }
        let asked = self.fetch(span, at).await;
        let mut state = self.state();
        if let Err(error) = asked {
            let throttled = matches!(&error, WatchError::Refused { said, .. } if said.starts_with("Throttl"));
            let capped = matches!(error, WatchError::Cap { .. });
            if throttled || capped {
                state.pause_s = (state.pause_s * 2.0).clamp(FIRST_PAUSE_S, LONGEST_PAUSE_S);
                state.not_before = at + state.pause_s;
                state.refused = Some(error.clone());
            }
            return Err(error);
        }
        (state.asked_at, state.pause_s) = (at, 0.0);
        state.minutes.prune(at as i64 - WEEK_S - 2 * 3600);
        Ok(state.minutes.samples(&self.queries, at))
    }

    async fn fetch(&self, span: Span, at: f64) -> Result<(), WatchError> {
        let client = self.client.get_or_try_init(|| async {
            Ok::<_, WatchError>(Client::new(&shared(&self.region, self.endpoint.as_deref()).await?))
        });
        let client = client.await?;
        let pieces = pieces(self.state().minutes.newest(at), span, at);
        for piece in pieces {
            for (batch, queries) in self.queries.chunks(BATCH).enumerate() {
                self.purse.pay(queries.len() as u64, USD_A_METRIC, at)?;
                self.call(client, piece, batch * BATCH, queries).await?;
            }
        }
        Ok(())
    }

    async fn call(&self, client: &Client, piece: Piece, first: usize, queries: &[Query]) -> Result<(), WatchError> {
        let moment = |s: i64| DateTime::from(SystemTime::UNIX_EPOCH + Duration::from_secs(s.max(0).unsigned_abs()));
        let asked = queries.iter().enumerate().map(|(at, q)| wire(first + at, q, piece.period)).collect();
        let mut request = client.get_metric_data().set_metric_data_queries(Some(asked));
        request = request.start_time(moment(piece.from)).end_time(moment(piece.to)).scan_by(ScanBy::TimestampAscending);
        let mut token = None;
        for _ in 0..PAGES {
            let answer = request.clone().set_next_token(token).send().await;
            let answer = answer.map_err(|e| explain(&e, &self.name(), "cloudwatch:GetMetricData", &self.region))?;
            let mut state = self.state();
            for result in answer.metric_data_results() {
                let Some(number) = result.id().and_then(|id| id.strip_prefix('q')?.parse::<usize>().ok()) else {
                    continue;
                };
                if number >= self.queries.len() {
                    continue;
                }
                let times = result.timestamps().iter().map(DateTime::secs);
                state.minutes.take(number, piece.period, times.zip(result.values().iter().copied()));
            }
            token = answer.next_token().map(str::to_owned);
            if token.is_none() {
                return Ok(());
            }
        }
        let why = format!("it goes on for over {PAGES} pages");
        Err(WatchError::Malformed { at: self.name(), wanted: "an answer of AWS", why })
    }
}

fn minute(at: f64) -> i64 {
    (at / 60.0).floor() as i64
}

/// What is not known yet: since the last whole minute; at first the span, the days before coarsely, and the same time last week.
fn pieces(newest: Option<i64>, span: Span, at: f64) -> Vec<Piece> {
    let to = (at / 60.0).ceil() as i64 * 60;
    let minute = |s: f64| minute(s) * 60;
    if let Some(newest) = newest {
        return vec![Piece { from: newest - AGAIN_S, to, period: 60 }];
    }
    // A day by minutes, as history is kept; what is older by five.
    let from = minute(span.from).min(to - DAY_S - 3600);
    let five = |s: i64| s / 300 * 300;
    vec![
        Piece { from, to, period: 60 },
        Piece { from: five(to - 3 * DAY_S - 6 * 3600), to: five(from), period: 300 },
        Piece { from: minute(span.from) - WEEK_S, to: to - WEEK_S, period: 60 },
    ]
}

fn wire(number: usize, query: &Query, period: i64) -> MetricDataQuery {
    let dimensions = query.dimensions.iter().map(|(n, v)| Dimension::builder().name(*n).value(v).build());
    let metric = Metric::builder().namespace(query.namespace).metric_name(query.metric);
    let metric = metric.set_dimensions(Some(dimensions.collect())).build();
    let stat = MetricStat::builder().metric(metric).period(period as i32).stat(&query.stat).build();
    MetricDataQuery::builder().id(format!("q{number}")).metric_stat(stat).build()
}

impl Source for CloudWatch {
    fn name(&self) -> String {
        format!("CloudWatch in {}", self.region)
    }

    fn ask(&self, span: Span) -> Answering<'_> {
        Box::pin(self.samples(span))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_question_looks_back_and_a_later_one_only_asks_for_what_is_new() {
        let span = Span { from: 1_000_000.0 - 1800.0, to: 1_000_000.0 };
        let first = pieces(None, span, span.to);
        assert_eq!(first.iter().map(|p| p.period).collect::<Vec<_>>(), [60, 300, 60]);
        assert!(first[0].from <= 998_200 && first[0].to >= 1_000_000 && first[1].to <= first[0].from);
        // 100,800 points are the most of a page: sixty metrics of each piece fit.
        assert!(first.iter().all(|p| (p.to - p.from) / p.period < 1600), "fits");
        let later = pieces(Some(999_840), span, span.to);
        assert_eq!((later.len(), later[0].from), (1, 999_600));
    }
}
