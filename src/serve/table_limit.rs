//! A table's limits before a local server that has none: throttles as DynamoDB does, counts what AWS would bill, tells it as CloudWatch does.
//!
//! Requests go on to the server behind as they came, but for what the buckets do not hold: a single write is refused, of a
//! batch the rest comes back unprocessed. One pair of buckets holds for all tables, as practice has one. What a read costs
//! is known when it is answered; a bucket that is in debt refuses the next one.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};

use super::limiter::Limiter;

/// What DynamoDB takes of one request.
const LONGEST: usize = 17 << 20;
/// Minutes that are told.
const MINUTES: usize = 24 * 60;
const AMZ_JSON: &str = "application/x-amz-json-1.0";

/// What is kept of one minute, or of all time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counted {
    pub read_units: f64,
    pub write_units: f64,
    pub read_throttles: u64,
    pub write_throttles: u64,
    /// Requests that were throttled, a batch counted once.
    pub throttled_requests: u64,
    pub requests: u64,
}

/// The buckets, and what went through. Every call says what time it is.
#[derive(Debug)]
pub struct Limits {
    read: Limiter,
    write: Limiter,
    pub total: Counted,
    minutes: VecDeque<(i64, Counted)>,
    second: (i64, f64),
    /// The most write units that any one second took.
    pub peak_write: f64,
}

impl Limits {
    /// So many units a second, and `burst_s` seconds of unused ones kept; the buckets are full.
    pub fn new(read: f64, write: f64, burst_s: f64) -> Self {
        Self {
            read: Limiter::with_burst(read, burst_s, 0.0),
            write: Limiter::with_burst(write, burst_s, 0.0),
            total: Counted::default(),
            minutes: VecDeque::new(),
            second: (0, 0.0),
            peak_write: 0.0,
        }
    }

    fn count(&mut self, now: f64, count: impl Fn(&mut Counted)) {
        count(&mut self.total);
        let minute = (now / 60.0) as i64;
        if self.minutes.back().is_none_or(|(at, _)| *at != minute) {
            self.minutes.push_back((minute, Counted::default()));
            if self.minutes.len() > MINUTES {
                self.minutes.pop_front();
            }
        }
        self.minutes.back_mut().into_iter().for_each(|(_, counted)| count(counted));
    }

    /// Takes the units of one write, or says no.
    fn write(&mut self, units: f64, now: f64) -> bool {
        let passes = self.write.take(units, now);
        self.count(now, |c| if passes { c.write_units += units } else { c.write_throttles += 1 });
        if passes {
            let second = now as i64;
            self.second = if self.second.0 == second { (second, self.second.1 + units) } else { (second, units) };
            self.peak_write = self.peak_write.max(self.second.1);
        }
        passes
    }

    /// Whether a read may begin.
    fn may_read(&mut self, now: f64) -> bool {
        let passes = self.read.reserve(0.0, now) <= 0.0 && self.read.level() > 0.0;
        self.count(now, |c| c.read_throttles += u64::from(!passes));
        passes
    }

    /// Charges a read that was answered.
    fn has_read(&mut self, units: f64, now: f64) {
        self.read.reserve(units, now);
        self.count(now, |c| c.read_units += units);
    }

    fn provision(&mut self, read: f64, write: f64, now: f64) {
        self.read.set_capacity(read, now);
        self.write.set_capacity(write, now);
    }
}

/// The limiter, shared by its connections.
pub struct Front {
    upstream: String,
    limits: Mutex<Limits>,
    client: reqwest::Client,
    began: Instant,
    began_at: i64,
}

impl Front {
    pub fn new(upstream: &str, limits: Limits) -> Result<Self, String> {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).build().map_err(|e| e.to_string())?;
        let began_at = jiff::Timestamp::now().as_second();
        let upstream = upstream.trim_end_matches('/').to_owned();
        Ok(Self { upstream, limits: Mutex::new(limits), client, began: Instant::now(), began_at })
    }

    pub fn limits(&self) -> MutexGuard<'_, Limits> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    async fn handle(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if request.uri().path() == "/limits" {
            return answer(StatusCode::OK, "application/json", self.page().to_string().into());
        }
        let (head, body) = request.into_parts();
        let Ok(body) = Limited::new(body, LONGEST).collect().await else {
            return refused("RequestEntityTooLarge", "The request is over 16 MB.");
        };
        let body = body.to_bytes();
        let target = head.headers.get("x-amz-target").and_then(|t| t.to_str().ok()).unwrap_or_default().to_owned();
        let action = target.rsplit('.').next().unwrap_or_default();
        if target.starts_with("GraniteServiceVersion20100801") {
            let asked = serde_json::from_slice(&body).unwrap_or_default();
            return answer(StatusCode::OK, AMZ_JSON, self.metrics(&asked).to_string().into());
        }
        match self.limited(action, &body, &head).await {
            Ok(reply) => reply,
            Err(why) => answer(StatusCode::BAD_GATEWAY, "text/plain", why.into()),
        }
    }

    async fn limited(
        &self,
        action: &str,
        body: &Bytes,
        head: &hyper::http::request::Parts,
    ) -> Result<Response<Full<Bytes>>, String> {
        let asked: Value = serde_json::from_slice(body).unwrap_or_default();
        self.limits().count(self.now(), |c| c.requests += 1);
        match action {
            "PutItem" | "UpdateItem" | "DeleteItem" => {
                let size = size(&asked["Item"]).max(size(&asked["Key"]));
                self.one_write(units(size), body.clone(), head).await
            }
            "TransactWriteItems" => {
                let items = asked["TransactItems"].as_array().into_iter().flatten();
                let each = |item: &Value| 2.0 * units(size(&item["Put"]["Item"]));
                self.one_write(items.map(each).sum(), body.clone(), head).await
            }
            "BatchWriteItem" => self.batch(asked, head).await,
            "GetItem" | "BatchGetItem" | "Query" | "Scan" | "TransactGetItems" => {
                if !self.limits().may_read(self.now()) {
                    return Ok(self.throttle());
                }
                let (status, text) = self.pass(body.clone(), head).await?;
                if status.is_success() {
                    self.limits().has_read(read_units(&asked, &text), self.now());
                }
                Ok(answer(status, AMZ_JSON, text))
            }
            "UpdateTable" if asked["ProvisionedThroughput"].is_object() => {
                let unit = |name: &str| asked["ProvisionedThroughput"][name].as_f64().unwrap_or(1.0).max(1.0);
                self.limits().provision(unit("ReadCapacityUnits"), unit("WriteCapacityUnits"), self.now());
                self.described(&json!({"TableName": asked["TableName"]}), head, "TableDescription").await
            }
            "DescribeTable" => self.described(&asked, head, "Table").await,
            _ => self.pass(body.clone(), head).await.map(|(status, text)| answer(status, AMZ_JSON, text)),
        }
    }

    async fn one_write(
        &self,
        units: f64,
        body: Bytes,
        head: &hyper::http::request::Parts,
    ) -> Result<Response<Full<Bytes>>, String> {
        if !self.limits().write(units, self.now()) {
            return Ok(self.throttle());
        }
        self.pass(body, head).await.map(|(status, text)| answer(status, AMZ_JSON, text))
    }

    /// Lets of a batch through what the bucket holds; the rest comes back.
    async fn batch(
        &self,
        mut asked: Value,
        head: &hyper::http::request::Parts,
    ) -> Result<Response<Full<Bytes>>, String> {
        let (mut passed, mut left) = (0_usize, Map::new());
        let now = self.now();
        {
            let mut limits = self.limits();
            for (table, requests) in asked["RequestItems"].as_object_mut().into_iter().flatten() {
                let all = std::mem::take(requests).as_array().cloned().unwrap_or_default();
                let cost = |r: &Value| units(size(&r["PutRequest"]["Item"]));
                let (some, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|r| limits.write(cost(r), now));
                passed += some.len();
                *requests = some.into();
                if !others.is_empty() {
                    left.insert(table.clone(), others.into());
                }
            }
            if !left.is_empty() {
                limits.count(now, |c| c.throttled_requests += 1);
            }
        }
        if passed == 0 && !left.is_empty() {
            return Ok(refused(THROTTLED, OVER));
        }
        if let Some(tables) = asked["RequestItems"].as_object_mut() {
            tables.retain(|_, requests| requests.as_array().is_some_and(|r| !r.is_empty()));
        }
        let (status, text) = self.pass(asked.to_string().into(), head).await?;
        if left.is_empty() || !status.is_success() {
            return Ok(answer(status, AMZ_JSON, text));
        }
        let mut told: Value = serde_json::from_slice(&text).map_err(|e| e.to_string())?;
        told["UnprocessedItems"] = left.into();
        Ok(answer(status, AMZ_JSON, told.to_string().into()))
    }

    fn throttle(&self) -> Response<Full<Bytes>> {
        self.limits().count(self.now(), |c| c.throttled_requests += 1);
        refused(THROTTLED, OVER)
    }

    /// Describes a table as one that has these limits.
    async fn described(
        &self,
        asked: &Value,
        head: &hyper::http::request::Parts,
        under: &str,
    ) -> Result<Response<Full<Bytes>>, String> {
        let mut parts = head.clone();
        parts
            .headers
            .insert("x-amz-target", hyper::header::HeaderValue::from_static("DynamoDB_20120810.DescribeTable"));
        let (status, text) = self.pass(asked.to_string().into(), &parts).await?;
        let mut told: Value = serde_json::from_slice(&text).map_err(|e| e.to_string())?;
        let Some(mut table) = told.get_mut("Table").map(Value::take) else {
            return Ok(answer(status, AMZ_JSON, text));
        };
        let limits = self.limits();
        table["ProvisionedThroughput"] = json!({
            "ReadCapacityUnits": limits.read.capacity() as i64, "WriteCapacityUnits": limits.write.capacity() as i64,
            "NumberOfDecreasesToday": 0});
        if let Some(table) = table.as_object_mut() {
            table.remove("BillingModeSummary");
        }
        Ok(answer(status, AMZ_JSON, json!({under: table}).to_string().into()))
    }

    async fn pass(&self, body: Bytes, head: &hyper::http::request::Parts) -> Result<(StatusCode, Bytes), String> {
        let mut request = self.client.post(format!("{}/", self.upstream));
        for name in ["content-type", "x-amz-target", "authorization", "x-amz-date", "x-amz-security-token"] {
            if let Some(value) = head.headers.get(name) {
                request = request.header(name, value.as_bytes());
            }
        }
        let answer = request.body(body).send().await.map_err(|e| format!("{}: {e}", self.upstream))?;
        let status = answer.status();
        answer.bytes().await.map(|text| (status, text)).map_err(|e| e.to_string())
    }

    /// What went through, and what AWS would bill for it.
    fn page(&self) -> Value {
        let limits = self.limits();
        let (total, hours) = (limits.total, self.now() / 3600.0);
        json!({
            "schema": "serin.limits/1",
            "read": {"capacity": limits.read.capacity(), "units": total.read_units, "throttled": total.read_throttles},
            "write": {"capacity": limits.write.capacity(), "units": total.write_units, "throttled": total.write_throttles,
                      "peak_units_per_second": limits.peak_write},
            "requests": total.requests, "throttled_requests": total.throttled_requests,
            "billed": {"on_demand": {"read_request_units": total.read_units.ceil(), "write_request_units": total.write_units.ceil()},
                       "provisioned": {"rcu_hours": limits.read.capacity() * hours, "wcu_hours": limits.write.capacity() * hours}},
        })
    }

    /// Answers GetMetricData for `AWS/DynamoDB`, minute by minute; a minute without any has no datapoint.
    fn metrics(&self, asked: &Value) -> Value {
        let limits = self.limits();
        let second = |name: &str| match &asked[name] {
            Value::Number(n) => n.as_f64().map(|n| n as i64),
            Value::String(text) => text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second),
            _ => None,
        };
        let (from, to) = (second("StartTime").unwrap_or(0), second("EndTime").unwrap_or(i64::MAX));
        let results = asked["MetricDataQueries"].as_array().into_iter().flatten().map(|query| {
            let metric = query["MetricStat"]["Metric"]["MetricName"].as_str().unwrap_or_default();
            let (mut times, mut values) = (Vec::new(), Vec::new());
            for (minute, counted) in &limits.minutes {
                let at = (self.began_at / 60 + minute) * 60;
                let value = match metric {
                    "ConsumedReadCapacityUnits" => counted.read_units,
                    "ConsumedWriteCapacityUnits" => counted.write_units,
                    "ReadThrottleEvents" => counted.read_throttles as f64,
                    "WriteThrottleEvents" => counted.write_throttles as f64,
                    "ThrottledRequests" => counted.throttled_requests as f64,
                    "ProvisionedReadCapacityUnits" => limits.read.capacity(),
                    "ProvisionedWriteCapacityUnits" => limits.write.capacity(),
                    _ => 0.0,
                };
                if value > 0.0 && (from..to).contains(&at) {
                    times.push(at);
                    values.push(value);
                }
            }
            json!({"Id": query["Id"], "Label": metric, "Timestamps": times, "Values": values, "StatusCode": "Complete"})
        });
        json!({"MetricDataResults": results.collect::<Vec<_>>(), "Messages": []})
    }
}

const THROTTLED: &str = "ProvisionedThroughputExceededException";
const OVER: &str = "The level of configured provisioned throughput for the table was exceeded. Consider increasing your provisioning level with the UpdateTable API.";

fn refused(kind: &str, message: &str) -> Response<Full<Bytes>> {
    let text = json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{kind}"), "message": message}).to_string();
    answer(StatusCode::BAD_REQUEST, AMZ_JSON, text.into())
}

fn answer(status: StatusCode, kind: &'static str, text: Bytes) -> Response<Full<Bytes>> {
    let mut reply = Response::new(Full::new(text));
    *reply.status_mut() = status;
    reply.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static(kind));
    reply
}

/// Bytes of an item as DynamoDB counts them: names and values.
pub fn size(item: &Value) -> usize {
    item.as_object().into_iter().flatten().map(|(name, value)| name.len() + value_size(value)).sum()
}

fn value_size(value: &Value) -> usize {
    let Some((kind, held)) = value.as_object().and_then(|o| o.iter().next()) else { return 0 };
    let text = |v: &Value| v.as_str().map_or(0, str::len);
    // Base64: three bytes in four characters, less what fills the last four.
    let binary =
        |v: &Value| v.as_str().map_or(0, |t| t.len() / 4 * 3 - t.bytes().rev().take_while(|b| *b == b'=').count());
    let number = |v: &Value| {
        let digits = v.as_str().unwrap_or_default().trim_start_matches('-').bytes().filter(u8::is_ascii_digit).count();
        digits.div_ceil(2) + 1
    };
    let all = |each: &dyn Fn(&Value) -> usize| held.as_array().into_iter().flatten().map(each).sum::<usize>();
    match kind.as_str() {
        "S" => text(held),
        "N" => number(held),
        "B" => binary(held),
        "SS" => all(&text),
        "NS" => all(&number),
        "BS" => all(&binary),
        "L" => 3 + all(&|v| 1 + value_size(v)),
        "M" => 3 + held.as_object().into_iter().flatten().map(|(n, v)| 1 + n.len() + value_size(v)).sum::<usize>(),
        _ => 1,
    }
}

fn units(bytes: usize) -> f64 {
    bytes.div_ceil(1024).max(1) as f64
}

/// What a read cost: 4 KB a unit, half of it when it may be a moment old; a single miss costs the least.
fn read_units(asked: &Value, answered: &[u8]) -> f64 {
    let told: Value = serde_json::from_slice(answered).unwrap_or_default();
    let factor = |consistent: &Value| if consistent.as_bool() == Some(true) { 1.0 } else { 0.5 };
    let of = |bytes: usize| bytes.div_ceil(4096).max(1) as f64;
    if let Some(tables) = asked["RequestItems"].as_object() {
        let each = |(table, wish): (&String, &Value)| {
            let found = told["Responses"][table].as_array().map_or(&[][..], Vec::as_slice);
            let wanted = wish["Keys"].as_array().map_or(0, Vec::len);
            let missed = wanted.saturating_sub(found.len()) as f64;
            (found.iter().map(|item| of(size(item))).sum::<f64>() + missed) * factor(&wish["ConsistentRead"])
        };
        return tables.iter().map(each).sum();
    }
    // Who only counts is not sent what was read.
    if asked["Select"] == "COUNT"
        && let Some(units) = told["ConsumedCapacity"]["CapacityUnits"].as_f64()
    {
        return units;
    }
    let items = told["Items"].as_array().map(|items| items.iter().map(size).sum());
    of(items.unwrap_or_else(|| size(&told["Item"]))) * factor(&asked["ConsistentRead"])
}

/// Serves at `listen` until the future is dropped; tells the address first.
pub async fn serve(listen: SocketAddr, front: Arc<Front>, told: impl FnOnce(SocketAddr)) -> io::Result<()> {
    let listener = tokio::net::TcpListener::bind(listen).await?;
    told(listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        let front = Arc::clone(&front);
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let service = service_fn(move |request| {
                let front = Arc::clone(&front);
                async move { Ok::<_, std::convert::Infallible>(front.handle(request).await) }
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_that_are_billed() {
        for (item, bytes) in [
            (json!({"k": {"S": "7/u42"}}), 6),
            (json!({"k": {"S": "é"}, "n": {"N": "1800000000"}}), 3 + 1 + 6),
            (json!({"l": {"B": "AQIDBA=="}}), 1 + 4),
            (json!({"m": {"M": {"a": {"S": "xy"}}}, "b": {"BOOL": true}}), 1 + 3 + 1 + 1 + 2 + 1 + 1),
            (json!({}), 0),
        ] {
            assert_eq!(size(&item), bytes, "{item}");
        }
        assert_eq!((units(0), units(1024), units(1025)), (1.0, 1.0, 2.0));
        let item = json!({"Item": {"l": {"S": "x".repeat(5000)}}}).to_string();
        assert_eq!(read_units(&json!({"ConsistentRead": true}), item.as_bytes()), 2.0);
        assert_eq!(read_units(&json!({}), b"{}"), 0.5);
        let several = json!({"RequestItems": {"t": {"Keys": [{}, {}, {}]}}});
        assert_eq!(read_units(&several, br#"{"Responses":{"t":[{"l":{"S":"x"}}]}}"#), 1.5);
    }

    #[test]
    fn buckets_refuse_and_count() {
        let mut limits = Limits::new(10.0, 5.0, 1.0);
        let passed = (0..8).filter(|_| limits.write(1.0, 0.0)).count();
        assert_eq!((passed, limits.total.write_throttles, limits.peak_write), (5, 3, 5.0));
        assert!(limits.may_read(0.0));
        limits.has_read(25.0, 0.0);
        assert!(!limits.may_read(1.0), "in debt");
        assert!(limits.may_read(2.0));
        limits.provision(10.0, 50.0, 2.0);
        assert!(limits.write(5.0, 2.0) && !limits.write(50.0, 2.0));
        assert_eq!(limits.minutes.len(), 1);
        limits.write(1.0, 61.0);
        assert_eq!(limits.minutes.len(), 2);
    }
}
