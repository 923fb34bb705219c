//! Plain signed calls to AWS, or to a server that speaks like it: keys, region, endpoint, and a few patient tries.
//!
//! One small client for every service that is asked seldom: an SDK each would double the first build for a dozen calls.

use std::time::{Duration, SystemTime};

use reqwest::Client;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::sigv4::{Signed, Signer};

const PATIENCE: Duration = Duration::from_secs(10);
const TRIES: u32 = 3;
/// Keys that end sooner are fetched anew.
const FRESH: Duration = Duration::from_secs(300);

/// How a service is addressed.
#[derive(Debug)]
pub struct Service {
    /// The first part of its host, and the name in a signature.
    pub host: &'static str,
    pub name: &'static str,
    /// What stands before the action in `x-amz-target`.
    pub target: &'static str,
    pub json: &'static str,
}

pub const DYNAMODB: Service = Service { host: "dynamodb", name: "dynamodb", target: "DynamoDB_20120810", json: "1.0" };
pub const PERSONALIZE: Service =
    Service { host: "personalize", name: "personalize", target: "AmazonPersonalize", json: "1.1" };
pub const CLOUDWATCH: Service =
    Service { host: "monitoring", name: "monitoring", target: "GraniteServiceVersion20100801", json: "1.0" };
pub const PRICING: Service =
    Service { host: "api.pricing", name: "pricing", target: "AWSPriceListService", json: "1.1" };

/// Load balancers, which speak the Query protocol only.
pub const ELB: Service = Service { host: "elasticloadbalancing", name: "elasticloadbalancing", target: "", json: "" };

#[derive(Debug, thiserror::Error)]
pub enum AwsError {
    #[error("no AWS keys: {0}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile")]
    Keys(String),
    #[error("{at} does not answer: {why}")]
    Unreachable { at: String, why: String },
    /// The service's own words.
    #[error("{action}: {kind}: {message}")]
    Refused { action: String, kind: String, message: String },
    #[error("{action}: the answer is not as documented: {why}")]
    Odd { action: String, why: String },
}

impl AwsError {
    pub fn is(&self, wanted: &str) -> bool {
        matches!(self, Self::Refused { kind, .. } if kind == wanted)
    }
}

/// Whose keys sign.
pub struct Keys {
    pub key: String,
    pub secret: String,
    pub session: Option<String>,
    /// When they end.
    pub until: Option<SystemTime>,
}

pub struct Aws {
    pub region: String,
    endpoint: Option<String>,
    keys: Option<Keys>,
    client: Client,
    runtime: Runtime,
}

impl Aws {
    /// Everything but the keys, which are looked for with the first call.
    pub fn open(region: Option<&str>, endpoint: Option<&str>) -> Result<Self, AwsError> {
        let broken = |why: String| AwsError::Unreachable { at: "AWS".to_owned(), why };
        let from_env = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
        let region = region.map(str::to_owned);
        let region = region.or_else(|| from_env("AWS_REGION")).or_else(|| from_env("AWS_DEFAULT_REGION"));
        let endpoint = endpoint.map(str::to_owned).or_else(|| from_env("AWS_ENDPOINT_URL"));
        Ok(Self {
            region: region.unwrap_or_else(|| "us-east-1".to_owned()),
            endpoint: endpoint.map(|e| e.trim_end_matches('/').to_owned()),
            keys: None,
            client: Client::builder().timeout(PATIENCE).build().map_err(|e| broken(e.to_string()))?,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|e| broken(e.to_string()))?,
        })
    }

    /// Asks for one action; what is only busy is asked again.
    pub fn call(&mut self, service: &Service, action: &str, body: &Value) -> Result<Value, AwsError> {
        let content = format!("application/x-amz-json-{}", service.json);
        let target = format!("{}.{action}", service.target);
        let headers = [("content-type", content), ("x-amz-target", target)];
        self.patiently(|aws| {
            let (status, text, url) = aws.once(service, &headers, body.to_string().into_bytes())?;
            json_answer(action, status, &text, url)
        })
    }

    /// Asks for one action of a service that still speaks the Query protocol: a form in, XML out.
    pub fn query(
        &mut self,
        service: &Service,
        action: &str,
        version: &str,
        fields: &[(String, String)],
    ) -> Result<String, AwsError> {
        let mut form = format!("Action={action}&Version={version}");
        for (name, value) in fields {
            form.push_str(&format!("&{name}={}", encoded(value)));
        }
        let headers = [("content-type", "application/x-www-form-urlencoded".to_owned())];
        self.patiently(|aws| {
            let (status, text, url) = aws.once(service, &headers, form.clone().into_bytes())?;
            xml_answer(action, status, text, url)
        })
    }

    fn patiently<T>(&mut self, ask: impl Fn(&Self) -> Result<T, AwsError>) -> Result<T, AwsError> {
        self.refresh()?;
        let mut tried = 0;
        loop {
            tried += 1;
            let answer = ask(self);
            let again = match &answer {
                Err(AwsError::Refused { kind, .. }) => {
                    kind.contains("Throttling")
                        || kind.contains("InternalServer")
                        || kind.contains("ServiceUnavailable")
                }
                Err(AwsError::Unreachable { .. }) => true,
                _ => false,
            };
            if !again || tried == TRIES {
                return answer;
            }
            std::thread::sleep(Duration::from_millis(200) * 3u32.pow(tried - 1));
        }
    }

    /// One signed POST; returns the status, the answer's text, and the address.
    fn once(
        &self,
        service: &Service,
        headers: &[(&str, String)],
        body: Vec<u8>,
    ) -> Result<(u16, String, String), AwsError> {
        let url = match &self.endpoint {
            Some(endpoint) => format!("{endpoint}/"),
            None => format!("https://{}.{}.amazonaws.com/", service.host, self.region),
        };
        let host = url.split("://").nth(1).and_then(|r| r.split('/').next()).unwrap_or_default().to_owned();
        let mut headers: Vec<(String, String)> = headers.iter().map(|(n, v)| ((*n).to_owned(), v.clone())).collect();
        headers.push(("host".to_owned(), host));
        let keys = self.keys.as_ref().ok_or_else(|| AwsError::Keys("none".to_owned()))?;
        let signer = Signer {
            key: &keys.key,
            secret: &keys.secret,
            session: keys.session.as_deref(),
            region: &self.region,
            service: service.name,
        };
        let signed = Signed { method: "POST", path: "/", query: "", headers: &headers, body: &body };
        let now = jiff::Timestamp::now().as_second();
        let made = signer.sign(&signed, now).ok_or_else(|| AwsError::Keys("the secret is no key".to_owned()))?;
        let mut request = self.client.post(&url);
        for (name, value) in headers.iter().filter(|(n, _)| n != "host").chain(&made) {
            request = request.header(name, value);
        }
        let heard = self.runtime.block_on(async {
            let answer = request.body(body).send().await?;
            Ok((answer.status().as_u16(), answer.text().await?))
        });
        let unreachable = |e: reqwest::Error| AwsError::Unreachable { at: url.clone(), why: cause(&e) };
        let (status, text) = heard.map_err(unreachable)?;
        Ok((status, text, url))
    }

    fn refresh(&mut self) -> Result<(), AwsError> {
        let soon = SystemTime::now() + FRESH;
        if self.keys.as_ref().is_some_and(|k| k.until.is_none_or(|until| until > soon)) {
            return Ok(());
        }
        self.keys = Some(match of_environment() {
            Some(keys) => keys,
            None => self.runtime.block_on(found())?,
        });
        Ok(())
    }
}

/// Returns the keys of this machine: the environment's, else a profile's, a sign-on's or the machine's role.
pub fn keys() -> Result<Keys, AwsError> {
    if let Some(keys) = of_environment() {
        return Ok(keys);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|e| AwsError::Keys(e.to_string()))?.block_on(found())
}

fn of_environment() -> Option<Keys> {
    let set = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
    let (key, secret) = set("AWS_ACCESS_KEY_ID").zip(set("AWS_SECRET_ACCESS_KEY"))?;
    Some(Keys { key, secret, session: set("AWS_SESSION_TOKEN"), until: None })
}

fn json_answer(action: &str, status: u16, text: &str, url: String) -> Result<Value, AwsError> {
    let good = (200..=299).contains(&status);
    let answer: Value = serde_json::from_str(text).map_err(|e| {
        if good { AwsError::Odd { action: action.to_owned(), why: e.to_string() } } else { strange(status, text, url) }
    })?;
    if good {
        return Ok(answer);
    }
    let text = |key: &str| answer.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let message = [text("message"), text("Message")].concat();
    Err(refused(action, status, &text("__type"), message))
}

fn xml_answer(action: &str, status: u16, text: String, url: String) -> Result<String, AwsError> {
    if (200..=299).contains(&status) {
        return Ok(text);
    }
    let part = |name: &str| {
        let rest = text.split_once(&format!("<{name}>"))?.1;
        Some(rest.split_once(&format!("</{name}>"))?.0.trim().to_owned())
    };
    match part("Code") {
        Some(kind) => Err(refused(action, status, &kind, part("Message").unwrap_or_default())),
        None => Err(strange(status, &text, url)),
    }
}

fn refused(action: &str, status: u16, kind: &str, message: String) -> AwsError {
    AwsError::Refused {
        action: action.to_owned(),
        kind: kind.rsplit('#').next().unwrap_or(kind).to_owned(),
        message: if message.is_empty() { format!("status {status}") } else { message },
    }
}

/// An answer that no such service gives.
fn strange(status: u16, text: &str, at: String) -> AwsError {
    AwsError::Unreachable { at, why: format!("status {status}: {}", text.chars().take(120).collect::<String>()) }
}

fn encoded(text: &str) -> String {
    let one = |b: u8| match b {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => (b as char).to_string(),
        b => format!("%{b:02X}"),
    };
    text.bytes().map(one).collect()
}

/// Keys from a profile, a sign-on or the machine's role.
#[cfg(feature = "aws")]
async fn found() -> Result<Keys, AwsError> {
    use aws_credential_types::provider::ProvideCredentials as _;
    let config = aws_config::defaults(aws_config::BehaviorVersion::latest()).load().await;
    let provider = config.credentials_provider().ok_or_else(|| AwsError::Keys("no provider".to_owned()))?;
    let keys = provider.provide_credentials().await.map_err(|e| AwsError::Keys(cause(&e)))?;
    Ok(Keys {
        key: keys.access_key_id().to_owned(),
        secret: keys.secret_access_key().to_owned(),
        session: keys.session_token().map(str::to_owned),
        until: keys.expiry(),
    })
}

#[cfg(not(feature = "aws"))]
async fn found() -> Result<Keys, AwsError> {
    Err(AwsError::Keys("this build knows only those of the environment".to_owned()))
}

/// The innermost reason.
pub fn cause(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(next) = inner.source() {
        inner = next;
    }
    inner.to_string()
}
