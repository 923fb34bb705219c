//! Short questions over HTTP from a thread of the walk's own: each within its patience, never asked twice by itself.

use std::path::Path;
use std::time::Duration;

use reqwest::{Certificate, Client, Method};
use tokio::runtime::Runtime;

use crate::serve::router::SIDE;

/// The most of an answer that is read.
const LONGEST: usize = 32 << 20;

#[derive(Debug)]
pub struct Http {
    client: Client,
    runtime: Runtime,
}

/// A whole answer, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// Which of two versions answered, where serin's own router says so.
    pub side: Option<String>,
    pub body: String,
}

impl Answer {
    pub fn is_good(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Returns the body of a good answer; the error has the first words of a bad one.
    pub fn good(self) -> Result<String, String> {
        if self.is_good() {
            return Ok(self.body);
        }
        // A problem document, a Kubernetes status, and the like say it in a field.
        let said = serde_json::from_str::<serde_json::Value>(&self.body).ok();
        let said = said.and_then(|v| {
            let field = ["detail", "message", "error"].iter().find_map(|k| v[*k].as_str().map(str::to_owned));
            field.filter(|text| !text.is_empty())
        });
        let words: String = said.as_deref().unwrap_or(self.body.trim()).chars().take(160).collect();
        Err(format!("status {}: {words}", self.status))
    }
}

impl Http {
    /// `authority` is a PEM file of authorities to trust beside the usual ones.
    pub fn new(patience: Duration, authority: Option<&Path>) -> Result<Self, String> {
        let mut client = Client::builder().timeout(patience).no_proxy().redirect(reqwest::redirect::Policy::none());
        if let Some(path) = authority {
            let named = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
            let pem = std::fs::read(path).map_err(|e| named(&e))?;
            for one in Certificate::from_pem_bundle(&pem).map_err(|e| named(&e))? {
                client = client.add_root_certificate(one);
            }
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Ok(Self { client: client.build().map_err(|e| cause(&e))?, runtime: runtime.map_err(|e| e.to_string())? })
    }

    pub fn get(&self, url: &str, headers: &[(&str, &str)]) -> Result<Answer, String> {
        self.ask(Method::GET, url, headers, Vec::new())
    }

    pub fn post(&self, url: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Result<Answer, String> {
        self.ask(Method::POST, url, headers, body)
    }

    pub fn ask(&self, method: Method, url: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Result<Answer, String> {
        let mut request = self.client.request(method, url).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.runtime.block_on(async {
            let mut answer = request.send().await.map_err(|e| cause(&e))?;
            let mut body = Vec::new();
            while let Some(piece) = answer.chunk().await.map_err(|e| cause(&e))? {
                if body.len() + piece.len() > LONGEST {
                    return Err("the answer does not end".to_owned());
                }
                body.extend_from_slice(&piece);
            }
            let side = answer.headers().get(SIDE).and_then(|v| v.to_str().ok()).map(str::to_owned);
            let body = String::from_utf8_lossy(&body).into_owned();
            Ok(Answer { status: answer.status().as_u16(), side, body })
        })
    }
}

/// The innermost reason: "connection refused" says more than "error sending request".
fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it does not answer in time".to_owned();
    }
    let mut inner: &dyn std::error::Error = error;
    while let Some(next) = inner.source() {
        inner = next;
    }
    inner.to_string()
}
