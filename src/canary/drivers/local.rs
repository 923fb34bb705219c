//! The local stack's own router: the share by POST, read back by GET; where no stack is up nobody is in its canary.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::canary::driver::{Driver, DriverError};
use crate::canary::http::Http;
use crate::canary::split::Counted;
use crate::serve::auth::{AUDIENCE, Mint};
use crate::serve::{router, secret, stack};

const PATIENCE: Duration = Duration::from_secs(3);

/// A router of this machine, and the token that it wants.
#[derive(Debug)]
pub struct At {
    home: PathBuf,
    http: Http,
}

impl At {
    pub fn new(home: &Path) -> Result<Self, String> {
        Ok(Self { home: home.to_owned(), http: Http::new(PATIENCE, None)? })
    }

    /// Returns the address of the router that is up; `None` where no stack is up.
    pub fn url(&self) -> Result<Option<String>, String> {
        let Some(state) = stack::running(&self.home).map_err(|e| e.to_string())? else { return Ok(None) };
        let part = state.parts.iter().find(|p| p.name == "router");
        let none = "the stack is up without a second version: `serin stack down`, or `serin stack up --canary`";
        part.map(|p| Some(format!("{}{}", p.url, router::PATH))).ok_or_else(|| none.to_owned())
    }

    /// Returns what stands in the `Authorization` header of whoever may ask this machine's stack.
    pub fn bearer(&self, good_s: i64) -> Result<String, String> {
        let secret = secret::ensure(&self.home).map_err(|e| e.to_string())?;
        let iat = jiff::Timestamp::now().as_second();
        let mint = Mint { sub: "serin".to_owned(), aud: AUDIENCE.to_owned(), iat, exp: iat + good_s, platform: None };
        Ok(format!("Bearer {}", mint.sign(secret.as_bytes()).map_err(|e| e.to_string())?))
    }

    pub fn ask(&self, post: bool, url: &str) -> Result<serde_json::Value, String> {
        let bearer = self.bearer(60)?;
        let headers = [("authorization", bearer.as_str())];
        let answer = if post { self.http.post(url, &headers, Vec::new()) } else { self.http.get(url, &headers) };
        let body = answer.and_then(crate::canary::http::Answer::good)?;
        serde_json::from_str(&body).map_err(|e| format!("answered `{body}`: {e}"))
    }
}

pub struct Local(At);

impl Local {
    pub fn new(home: &Path) -> Result<Self, String> {
        At::new(home).map(Self)
    }

    fn failed(why: String) -> DriverError {
        DriverError::new("the router of the local stack", why)
    }

    /// Asks the router; `None` where no stack is up.
    fn ask(&self, post: bool, query: &str) -> Result<Option<serde_json::Value>, DriverError> {
        let Some(url) = self.0.url().map_err(Self::failed)? else { return Ok(None) };
        self.0.ask(post, &format!("{url}?{query}")).map(Some).map_err(Self::failed)
    }
}

impl Driver for Local {
    fn name(&self) -> String {
        "the router of the local stack".to_owned()
    }

    fn read(&mut self) -> Result<f64, DriverError> {
        let Some(told) = self.ask(false, "share")? else { return Ok(0.0) };
        told["share"].as_f64().ok_or_else(|| Self::failed(format!("tells no share: {told}")))
    }

    fn set(&mut self, share: f64) -> Result<(), DriverError> {
        match self.ask(true, &format!("share={share}"))? {
            None if share > 0.0 => Err(Self::failed("no stack is up".to_owned())),
            _ => Ok(()),
        }
    }

    fn requests(&mut self) -> Result<Option<Counted>, DriverError> {
        let told = self.ask(false, "begun")?;
        let told = told.unwrap_or_else(|| serde_json::json!([0, 0]));
        let count = |i: usize| told[i].as_f64();
        Ok(count(0).zip(count(1)).map(|(canary, all)| Counted { canary, all }))
    }
}
