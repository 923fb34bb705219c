//! The wire of Amazon Personalize's runtime, so that a client of it only changes its endpoint.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::{Method, Request, StatusCode};
use serde::Deserialize;

use super::answer;
use super::api::{Worker, json, now_s};
use super::front::Sent;
use super::meter::Route;
use super::problem::{Problem, Reply};
use super::store::similar_key;
use super::stores::remote::Fetched;
use super::wish::{MOST_ITEMS, Wish, check_id};
use super::world::World;
use crate::sigv4::{self, Fault, Signed};

/// The longest body that is read; the largest honest one has 500 ids.
pub const LONGEST_BODY: usize = 256 * 1024;
/// How long a body may take to come.
const BODY_TIME: Duration = Duration::from_secs(5);
const RESULTS: usize = 25;

static ANSWERED: AtomicU64 = AtomicU64::new(0);

/// Secrets of access keys.
#[derive(Default)]
pub struct Keys(HashMap<String, String>);

impl Keys {
    /// Reads `AKID:SECRET` pairs, parted by commas or line ends.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut keys = HashMap::new();
        for (at, pair) in text.split([',', '\n']).map(str::trim).enumerate().filter(|(_, p)| !p.is_empty()) {
            // The pair itself is never shown: it may be a secret.
            let pair = pair.split_once(':').filter(|(k, s)| !k.is_empty() && !s.is_empty());
            let (key, secret) = pair.ok_or_else(|| format!("access key {} is not KEY:SECRET", at + 1))?;
            keys.insert(key.to_owned(), secret.to_owned());
        }
        Ok(Self(keys))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    campaign_arn: Option<String>,
    recommender_arn: Option<String>,
    user_id: Option<String>,
    item_id: Option<String>,
    /// JSON knows no integers: 20.0 is one too.
    num_results: Option<f64>,
    filter_arn: Option<String>,
    filter_values: Option<BTreeMap<String, String>>,
    input_list: Option<Vec<String>>,
}

/// An error in AWS' shape.
struct Refused(StatusCode, &'static str, String);

impl Refused {
    fn input(message: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, "InvalidInputException", message.into())
    }

    fn reply(self) -> Reply {
        let mut reply = json(serde_json::json!({"__type": self.1, "message": self.2}).to_string().into_bytes());
        *reply.status_mut() = self.0;
        reply.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static(self.1));
        reply
    }
}

/// Answers `POST /recommendations` and `POST /personalize-ranking`.
pub async fn answer(worker: &Worker, route: Route, request: Request<Incoming>) -> Reply {
    if request.method() != Method::POST {
        return Problem::wrong_method("POST");
    }
    let (head, body) = request.into_parts();
    let body = match read_body(body).await {
        Ok(body) => body,
        Err(problem) => return problem.reply(),
    };
    let request = Request::from_parts(head, ());
    let asked = let_in(worker, &request, &body).and_then(|()| {
        if !worker.api.within_quota() {
            return Err(Refused(StatusCode::TOO_MANY_REQUESTS, "ThrottlingException", "Rate exceeded".to_owned()));
        }
        serde_json::from_slice::<Asked>(&body).map_err(|e| Refused::input(format!("the body is no request: {e}")))
    });
    let asked = match asked {
        Ok(asked) => asked,
        Err(refused) => return refused.reply(),
    };
    let world = worker.api.world.load_full();
    let fetched = match (asked.user(), asked.item()) {
        (_, Some(item)) if route == Route::Campaign => worker.fetch(&world, &similar_key(item)).await,
        (Ok(user), _) => worker.fetch_for(&world, user).await,
        _ => None,
    };
    let done = if route == Route::Campaign {
        recommend(worker, &world, &asked, fetched.as_ref())
    } else {
        rank(worker, &world, &asked, fetched.as_ref())
    };
    done.unwrap_or_else(Refused::reply)
}

/// Reads a body of bounded length within bounded time.
pub async fn read_body(body: Incoming) -> Result<Bytes, Problem> {
    match tokio::time::timeout(BODY_TIME, Limited::new(body, LONGEST_BODY).collect()).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(e)) if e.is::<http_body_util::LengthLimitError>() => {
            let detail = format!("a body has at most {LONGEST_BODY} bytes");
            Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-long", detail))
        }
        Ok(Err(_)) => Err(Problem::bad_request("body-broken", "the body ended before its end")),
        Err(_) => Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "body-too-slow", "the body did not come in 5 s")),
    }
}

fn let_in(worker: &Worker, request: &Request<()>, body: &[u8]) -> Result<(), Refused> {
    let authorization = request.headers().get(AUTHORIZATION).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let forbidden = |kind, text: &str| Err(Refused(StatusCode::FORBIDDEN, kind, text.to_owned()));
    if !authorization.starts_with("AWS4-") {
        let denied = |p: Problem| Refused(StatusCode::FORBIDDEN, "AccessDeniedException", p.detail);
        return worker.let_in(request).map_err(denied);
    }
    let text = |v: &HeaderValue| v.to_str().unwrap_or_default().to_owned();
    let headers: Vec<_> = request.headers().iter().map(|(n, v)| (n.as_str().to_owned(), text(v))).collect();
    let signed = Signed {
        method: request.method().as_str(),
        path: request.extensions().get::<Sent>().map_or(request.uri().path(), |sent| &sent.0),
        query: request.uri().query().unwrap_or_default(),
        headers: &headers,
        body,
    };
    match sigv4::check(
        authorization,
        &signed,
        "personalize",
        |key| worker.api.keys.0.get(key).cloned(),
        worker.api.now_s(),
    ) {
        Ok(()) => Ok(()),
        Err(Fault::UnknownKey) => forbidden("UnrecognizedClientException", "The security token is invalid."),
        Err(Fault::Incomplete) => forbidden("IncompleteSignatureException", "The signature lacks a part."),
        Err(Fault::Skewed) => forbidden("InvalidSignatureException", "Signature expired or from the future."),
        Err(Fault::Mismatch) => {
            forbidden("InvalidSignatureException", "The signature does not match the one calculated here.")
        }
    }
}

impl Asked {
    /// The item whose most similar ones are asked for: a request that names an item and no viewer.
    fn item(&self) -> Option<&str> {
        self.item_id.as_deref().filter(|i| self.user_id.is_none() && check_id(i).is_ok())
    }

    fn campaign(&self) -> Result<(), Refused> {
        for (name, id) in [("userId", &self.user_id), ("itemId", &self.item_id)] {
            if let Some(Err(why)) = id.as_deref().map(check_id) {
                return Err(Refused::input(format!("{name}: {why}")));
            }
        }
        if self.campaign_arn.is_none() && self.recommender_arn.is_none() {
            return Err(Refused::input("campaignArn is missing"));
        }
        Ok(())
    }

    fn user(&self) -> Result<&str, Refused> {
        self.campaign()?;
        self.user_id.as_deref().ok_or_else(|| Refused::input("userId is missing"))
    }
}

impl Asked {
    /// Returns how many are wanted, and which: the named filter with its values, from the worker's memory where it was
    /// asked for before.
    fn wish(&self, worker: &Worker, world: &World, limit: usize) -> Result<Rc<Wish>, Refused> {
        let none = BTreeMap::new();
        let values = self.filter_values.as_ref().unwrap_or(&none);
        let Some(arn) = &self.filter_arn else { return Ok(Rc::new(Wish::new(limit, None))) };
        let expression = world.filters.get(arn).ok_or_else(|| {
            let message = format!("Filter {} does not exist.", arn.chars().take(256).collect::<String>());
            Refused(StatusCode::NOT_FOUND, "ResourceNotFoundException", message)
        })?;
        let mut key = format!("{limit}\0{arn}");
        for (name, value) in values {
            let _ = write!(key, "\0{name}\0{value}");
        }
        let user = self.user_id.as_deref().unwrap_or_default();
        let who = |field: &str| world.viewers.value(user, field).map(str::to_owned);
        for field in expression.viewer_fields() {
            let _ = write!(key, "\0{}", who(field).unwrap_or_default());
        }
        let made = || expression.compile_for(&world.catalogue, values, &who).map(|bits| Wish::new(limit, Some(bits)));
        worker.remembered(world, &key, made).map_err(Refused::input)
    }
}

fn recommend(worker: &Worker, world: &World, asked: &Asked, fetched: Option<&Fetched>) -> Result<Reply, Refused> {
    asked.campaign()?;
    let whole = |n: f64| (n.fract() == 0.0 && (0.0..=MOST_ITEMS as f64).contains(&n)).then_some(n as usize);
    let limit = asked.num_results.map_or(Some(RESULTS), whole);
    let limit = limit.ok_or_else(|| Refused::input(format!("numResults must be 0 to {MOST_ITEMS}")))?;
    // Personalize takes 0 as its default.
    let wish = asked.wish(worker, world, if limit == 0 { RESULTS } else { limit })?;
    let mut body = Vec::with_capacity(2048);
    body.extend_from_slice(b"{\"itemList\":[");
    let answer = match asked.item() {
        // A programme that is not known has no similar ones: everybody's are given, as Personalize does.
        Some(item) => worker.pick_similar(world, item, &wish, fetched, &mut body),
        None => worker.pick(world, asked.user()?, &wish, fetched, &mut body),
    };
    Ok(close(body, answer.degraded))
}

fn rank(worker: &Worker, world: &World, asked: &Asked, fetched: Option<&Fetched>) -> Result<Reply, Refused> {
    let user = asked.user()?;
    let items = asked.input_list.as_ref().ok_or_else(|| Refused::input("inputList is missing"))?;
    if items.is_empty() || items.len() > MOST_ITEMS {
        return Err(Refused::input(format!("inputList must have 1 to {MOST_ITEMS} items")));
    }
    let mut body = Vec::with_capacity(2048);
    body.extend_from_slice(b"{\"personalizedRanking\":[");
    let wish = asked.wish(worker, world, items.len())?;
    let mut ranked = worker.rank(world, user, items, fetched);
    ranked
        .items
        .retain(|(item, _)| wish.filter.is_none() || world.catalogue.index(item).is_some_and(|i| wish.wants(i)));
    answer::write_ranked(&ranked.items, &mut body);
    Ok(close(body, ranked.degraded))
}

/// Ends an answer; a degraded one says so in a header, as AWS' shape has no place for it.
fn close(mut body: Vec<u8>, degraded: bool) -> Reply {
    let number = ANSWERED.fetch_add(1, Relaxed);
    body.extend_from_slice(format!("],\"recommendationId\":\"RID-{:x}-{number:x}\"}}", now_s()).as_bytes());
    let mut reply = json(body);
    if degraded {
        reply.headers_mut().insert("x-serin-degraded", HeaderValue::from_static("true"));
    }
    reply
}
