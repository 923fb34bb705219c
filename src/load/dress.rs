//! What every request to a target carries: host, headers of the user's own, and a token that is renewed before it expires.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;

use super::error::LoadError;
use super::question::Question;
use super::sign::Signing;
use super::target::Address;

/// How the tokens of a target are made.
#[derive(Clone)]
pub struct Tokens {
    key: EncodingKey,
    algorithm: Algorithm,
    pub audience: Option<String>,
    pub issuer: Option<String>,
    /// Whether each viewer has an own one, with the viewer as subject.
    pub per_viewer: bool,
    pub ttl_s: u64,
    /// Further claims, such as the platform.
    pub claims: serde_json::Map<String, serde_json::Value>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokens({:?}, secret hidden)", self.algorithm)
    }
}

impl Tokens {
    /// Tokens signed by what a secret's place held: a private key in PEM, or a shared secret.
    pub fn of_secret(secret: &[u8]) -> Result<Self, LoadError> {
        let secret = secret.trim_ascii_end();
        if secret.starts_with(b"-----BEGIN") { Self::rs256(secret) } else { Ok(Self::hs256(secret)) }
    }

    pub fn hs256(secret: &[u8]) -> Self {
        Self::with(EncodingKey::from_secret(secret), Algorithm::HS256)
    }

    /// Tokens signed by the private key of a PEM file.
    pub fn rs256(pem: &[u8]) -> Result<Self, LoadError> {
        let key = EncodingKey::from_rsa_pem(pem);
        let key = key.map_err(|e| LoadError::Asked(format!("the key for the tokens is no RSA key in PEM: {e}")))?;
        Ok(Self::with(key, Algorithm::RS256))
    }

    fn with(key: EncodingKey, algorithm: Algorithm) -> Self {
        let claims = serde_json::Map::new();
        Self { key, algorithm, audience: None, issuer: None, per_viewer: false, ttl_s: 900, claims }
    }

    /// Makes one token.
    pub fn mint(&self, subject: &str, now_s: u64) -> Result<String, LoadError> {
        #[derive(Serialize)]
        struct Claims<'a> {
            sub: &'a str,
            iat: u64,
            exp: u64,
            #[serde(skip_serializing_if = "Option::is_none")]
            aud: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            iss: Option<&'a str>,
            #[serde(flatten)]
            more: &'a serde_json::Map<String, serde_json::Value>,
        }
        let (aud, iss) = (self.audience.as_deref(), self.issuer.as_deref());
        let claims = Claims { sub: subject, iat: now_s, exp: now_s + self.ttl_s, aud, iss, more: &self.claims };
        let token = jsonwebtoken::encode(&Header::new(self.algorithm), &claims, &self.key);
        token.map_err(|e| LoadError::Asked(format!("no token can be made: {e}")))
    }
}

/// The part of a request that does not depend on what is asked; each worker holds its own.
#[derive(Clone, Debug)]
pub struct Dress {
    /// Path that comes before every question's own.
    base: String,
    /// Host, agent and the user's headers, as whole lines.
    fixed: Vec<u8>,
    tokens: Option<Tokens>,
    shared: Option<(String, u64)>,
    /// How AWS wants its requests, and the host that is signed.
    signing: Option<(Signing, String)>,
    scratch: Vec<u8>,
}

impl Dress {
    pub fn new(to: &Address, headers: &[(String, String)], tokens: Option<Tokens>) -> Result<Self, LoadError> {
        let own = |name: &str| headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
        let mut fixed = Vec::new();
        if !own("host") {
            fixed.extend_from_slice(format!("Host: {}\r\n", to.authority()).as_bytes());
        }
        if !own("user-agent") {
            fixed.extend_from_slice(concat!("User-Agent: serin/", env!("CARGO_PKG_VERSION"), "\r\n").as_bytes());
        }
        for (name, value) in headers {
            check_header(name, value)?;
            fixed.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        let tokens = tokens.filter(|_| !own("authorization"));
        if let Some(tokens) = &tokens {
            // A secret that cannot sign is found before the run, not in it.
            tokens.mint("serin", 0)?;
        }
        let base = to.path.split('?').next().unwrap_or_default().trim_end_matches('/').to_owned();
        Ok(Self { base, fixed, tokens, shared: None, signing: None, scratch: Vec::new() })
    }

    /// Signs every request, instead of giving it a token.
    #[must_use]
    pub fn signed(self, signing: Option<Signing>, to: &Address) -> Self {
        let tokens = self.tokens.filter(|_| signing.is_none());
        Self { signing: signing.map(|s| (s, to.authority())), tokens, ..self }
    }

    /// Writes the whole request as HTTP/1.1 has it.
    pub fn write(&mut self, question: &Question, out: &mut Vec<u8>) {
        out.extend_from_slice(question.method.as_bytes());
        out.push(b' ');
        out.extend_from_slice(self.base.as_bytes());
        out.extend_from_slice(&question.path);
        out.extend_from_slice(b" HTTP/1.1\r\n");
        out.extend_from_slice(&self.fixed);
        out.extend_from_slice(&question.headers);
        if self.tokens.is_some() {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
            self.token(&question.viewer, now, out);
        }
        if let Some((signing, host)) = &self.signing {
            signing.write(question, &self.base, host, out);
        }
        if !question.body.is_empty() || question.method == "POST" {
            out.extend_from_slice(format!("Content-Length: {}\r\n", question.body.len()).as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&question.body);
    }

    /// Returns the lines that a request has beside its first one, in pairs, the host among them.
    pub fn headers(&mut self, question: &Question) -> Vec<(String, String)> {
        let mut out = std::mem::take(&mut self.scratch);
        out.clear();
        self.write(question, &mut out);
        let head = out.len() - question.body.len();
        let text = String::from_utf8_lossy(&out[..head]);
        let pair = |line: &str| line.split_once(": ").map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned()));
        let headers = text.split("\r\n").skip(1).filter_map(pair).collect();
        self.scratch = out;
        headers
    }

    /// Returns the whole path of a question.
    pub fn path(&self, question: &Question) -> Vec<u8> {
        [self.base.as_bytes(), &question.path].concat()
    }

    fn token(&mut self, viewer: &str, now: u64, out: &mut Vec<u8>) {
        let Some(tokens) = &self.tokens else { return };
        let line = |token: &str, out: &mut Vec<u8>| {
            out.extend_from_slice(b"Authorization: Bearer ");
            out.extend_from_slice(token.as_bytes());
            out.extend_from_slice(b"\r\n");
        };
        if tokens.per_viewer && !viewer.is_empty() {
            if let Ok(token) = tokens.mint(viewer, now) {
                line(&token, out);
            }
            return;
        }
        // Renewed when a third of its life is left; also when the clock was set back.
        let fresh = self.shared.as_ref().is_some_and(|(_, at)| now >= *at && now - at < tokens.ttl_s * 2 / 3);
        if !fresh {
            self.shared = tokens.mint("serin", now).ok().map(|token| (token, now));
        }
        if let Some((token, _)) = &self.shared {
            line(token, out);
        }
    }
}

/// Refuses a header that would break out of its line.
pub fn check_header(name: &str, value: &str) -> Result<(), LoadError> {
    let fair = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(fair) {
        return Err(LoadError::Asked(format!("`{name}` is not a header's name")));
    }
    if value.bytes().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
        return Err(LoadError::Asked(format!("the value of the header {name} holds a line break")));
    }
    if ["content-length", "transfer-encoding", "connection"].iter().any(|n| name.eq_ignore_ascii_case(n)) {
        return Err(LoadError::Asked(format!("the header {name} is set by serin itself")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(dress: &mut Dress, question: &Question) -> String {
        let mut out = Vec::new();
        dress.write(question, &mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_request_is_written_whole() {
        let to = Address::parse("http://127.0.0.1:7070/base/").expect("good");
        let headers = [("X-A".to_owned(), "b".to_owned())];
        let mut dress = Dress::new(&to, &headers, None).expect("dressed");
        let mut question = Question { method: "POST", path: b"/rank?x=1".to_vec(), ..Question::default() };
        question.body = b"{}".to_vec();
        let text = written(&mut dress, &question);
        assert!(text.starts_with("POST /base/rank?x=1 HTTP/1.1\r\nHost: 127.0.0.1:7070\r\n"), "{text}");
        assert!(text.ends_with("X-A: b\r\nContent-Length: 2\r\n\r\n{}"), "{text}");
    }

    #[test]
    fn tokens_are_shared_or_of_each_viewer_and_never_shown() {
        let to = Address::parse("http://127.0.0.1:7070").expect("good");
        let mut tokens = Tokens::hs256(b"a secret of thirty-two bytes....");
        let question = Question { method: "GET", path: b"/".to_vec(), viewer: "v7".to_owned(), ..Question::default() };
        let mut dress = Dress::new(&to, &[], Some(tokens.clone())).expect("dressed");
        let first = written(&mut dress, &question);
        assert!(first.contains("Authorization: Bearer eyJ"));
        assert_eq!(first, written(&mut dress, &question));
        tokens.per_viewer = true;
        let mut dress = Dress::new(&to, &[], Some(tokens)).expect("dressed");
        assert_ne!(first, written(&mut dress, &question));
        assert!(!format!("{dress:?}").contains("thirty-two"));
    }

    #[test]
    fn a_token_is_renewed_before_it_expires_and_after_the_clock_was_set_back() {
        let to = Address::parse("http://127.0.0.1:7070").expect("good");
        let tokens = Tokens::hs256(b"a secret of thirty-two bytes....");
        let mut dress = Dress::new(&to, &[], Some(tokens)).expect("dressed");
        let mut at = |now| {
            let mut out = Vec::new();
            dress.token("", now, &mut out);
            out
        };
        let first = at(1_000_000);
        assert_eq!(first, at(1_000_599), "two thirds of its 900 s");
        let second = at(1_000_600);
        assert_ne!(first, second);
        assert_eq!(at(900_000), at(900_001), "an earlier clock has a token of its own");
        assert_ne!(at(900_001), second);
    }

    #[test]
    fn a_header_cannot_break_out_of_its_line() {
        assert!(check_header("X-A", "b\r\nX: y").is_err());
        assert!(check_header("X A", "b").is_err());
        assert!(check_header("Content-Length", "3").is_err());
    }
}
