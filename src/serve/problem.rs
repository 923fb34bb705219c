//! What a caller did wrong, or we did, as an RFC 9457 problem document.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use serde_json::json;

use super::auth::Refusal;

pub type Reply = Response<Full<Bytes>>;

/// A problem on its way to the caller; `kind` is the stable word that programs may match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub status: StatusCode,
    pub kind: &'static str,
    pub detail: String,
}

impl Problem {
    pub fn new(status: StatusCode, kind: &'static str, detail: impl Into<String>) -> Self {
        Self { status, kind, detail: detail.into() }
    }

    pub fn bad_request(kind: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, kind, detail)
    }

    pub fn no_route(path: &str) -> Self {
        let path: String = path.chars().take(128).collect();
        Self::new(StatusCode::NOT_FOUND, "no-such-route", format!("there is no {path}; /openapi.json lists what is"))
    }

    pub fn overloaded() -> Self {
        let detail = "the process is behind its requests; ask again in a second";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail)
    }

    pub fn reply(&self) -> Reply {
        let body = json!({
            "type": format!("urn:serin:problem:{}", self.kind),
            "title": self.status.canonical_reason().unwrap_or("Problem"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let mut reply = Response::new(Full::new(Bytes::from(body.to_string())));
        *reply.status_mut() = self.status;
        let headers = reply.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match self.status {
            StatusCode::UNAUTHORIZED if self.kind == "token-missing" => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer error=\"invalid_token\""));
            }
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        reply
    }

    pub fn wrong_method(allowed: &'static str) -> Reply {
        let detail = format!("this route answers {allowed} only");
        let mut reply = Self::new(StatusCode::METHOD_NOT_ALLOWED, "wrong-method", detail).reply();
        reply.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
        reply
    }
}

impl From<Refusal> for Problem {
    fn from(why: Refusal) -> Self {
        let kind = match why {
            Refusal::Missing => "token-missing",
            Refusal::Expired => "token-expired",
            _ => "token-refused",
        };
        Self::new(StatusCode::UNAUTHORIZED, kind, why.to_string())
    }
}
