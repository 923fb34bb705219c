//! Asks over HTTP as a watcher must: with patience, within bounds, and never twice.

use std::time::{Duration, Instant};

use super::error::WatchError;
use super::exposition::is_page;

/// The most of an answer that is read.
const MOST_MIB: usize = 16;

/// A client for short questions.
#[derive(Clone, Debug)]
pub struct Asker {
    client: reqwest::Client,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Heard {
    pub status: u16,
    /// The answerer's own clock (header `date`), Unix seconds.
    pub clock: Option<f64>,
    pub body: String,
    pub took: Duration,
}

impl Asker {
    /// `patience` bounds each question, from the connection to the last byte.
    pub fn new(patience: Duration) -> Result<Self, WatchError> {
        let client = reqwest::Client::builder()
            .timeout(patience)
            // Numbers of this machine are not a proxy's business, and a check must not depend on one.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("serin/", env!("CARGO_PKG_VERSION")))
            .build();
        client.map(|client| Self { client }).map_err(|e| WatchError::Recipe(format!("no HTTP client: {e}")))
    }

    /// Asks for `url`; any status is an answer.
    pub async fn get(&self, url: &str, bearer: Option<&str>) -> Result<Heard, WatchError> {
        let at = shown(url);
        let began = Instant::now();
        let failed = |e: reqwest::Error| {
            if e.is_timeout() {
                WatchError::Late { at: at.clone(), after: began.elapsed() }
            } else {
                WatchError::Unreachable { at: at.clone(), why: cause(&e) }
            }
        };
        let mut request = self.client.get(url);
        if let Some(token) = bearer {
            request = request.bearer_auth(token);
        }
        let mut answer = request.send().await.map_err(failed)?;
        let status = answer.status().as_u16();
        let date = answer.headers().get("date").and_then(|d| d.to_str().ok()).and_then(clock);
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(failed)? {
            if body.len() + piece.len() > MOST_MIB << 20 {
                return Err(WatchError::TooLong { at, most: MOST_MIB });
            }
            body.extend_from_slice(&piece);
        }
        let body = String::from_utf8_lossy(&body).into_owned();
        Ok(Heard { status, clock: date, body, took: began.elapsed() })
    }

    /// Posts a document; only a good status is a success.
    pub async fn post(&self, url: &str, document: &serde_json::Value) -> Result<(), WatchError> {
        let at = shown(url);
        let began = Instant::now();
        let sent = self.client.post(url).json(document).send().await;
        let answer = sent.map_err(|e| {
            if e.is_timeout() {
                WatchError::Late { at: at.clone(), after: began.elapsed() }
            } else {
                WatchError::Unreachable { at: at.clone(), why: cause(&e) }
            }
        })?;
        match answer.status().as_u16() {
            200..=299 => Ok(()),
            status => Err(WatchError::Refused { at, status, said: String::new() }),
        }
    }

    /// Asks for what must be a good answer and no web page.
    pub async fn wanted(&self, url: &str, bearer: Option<&str>, wanted: &'static str) -> Result<Heard, WatchError> {
        let heard = self.get(url, bearer).await?;
        let at = shown(url);
        match heard.status {
            _ if is_page(&heard.body) => Err(WatchError::Page { at, wanted }),
            200..=299 => Ok(heard),
            status => Err(WatchError::Refused { at, status, said: heard.body }),
        }
    }
}

/// The address without what may be secret or long: no query, no user.
pub fn shown(url: &str) -> String {
    let bare = url.split(['?', '#']).next().unwrap_or(url);
    match (bare.find("://"), bare.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => format!("{}{}", &bare[..scheme + 3], &bare[at + 1..]),
        _ => bare.to_owned(),
    }
}

fn clock(date: &str) -> Option<f64> {
    let time = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date).ok()?;
    Some(time.as_second() as f64)
}

/// The innermost reason: "connection refused" says more than "error sending request".
fn cause(error: &reqwest::Error) -> String {
    let mut inner: &dyn std::error::Error = error;
    while let Some(next) = inner.source() {
        inner = next;
    }
    inner.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_secrets() {
        assert_eq!(shown("http://me:pass@host:9090/api?token=x"), "http://host:9090/api");
        assert_eq!(shown("http://host/a"), "http://host/a");
    }

    #[test]
    fn a_date_header_is_a_clock() {
        assert_eq!(clock("Mon, 23 Nov 2026 20:25:10 GMT"), Some(1_795_465_510.0));
        assert_eq!(clock("yesterday"), None);
    }
}
