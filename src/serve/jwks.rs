//! Public keys of who signs tokens, from a JWKS file or URL, and their rotation while serving.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;

use super::api::Api;
use super::auth::{Key, Refusal};
use super::error::ServeError;
use crate::stop::Stop;
use crate::watch::http::{Asker, shown};

const MOST_KEYS: usize = 64;
const MOST_BYTES: u64 = 256 * 1024;
/// RSA keys below 2,048 bits are broken in practice.
const SHORTEST_RSA: usize = 256;
/// How often a file is looked at, and a URL asked.
const LOOK: Duration = Duration::from_millis(200);
const EACH: Duration = Duration::from_secs(300);
/// A token that names an unknown key may mean that keys were rotated: the URL is asked again, but not more often.
const AT_MOST_EACH: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(5);

/// Where the keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeysAt {
    File(PathBuf),
    Url(String),
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    meant_for: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    k: Option<String>,
}

impl KeysAt {
    pub fn parse(text: &str) -> Self {
        if text.starts_with("https://") || text.starts_with("http://") {
            Self::Url(text.to_owned())
        } else {
            Self::File(text.into())
        }
    }

    /// Whether somebody between here and there could change the keys.
    pub fn is_in_the_open(&self) -> bool {
        let Self::Url(url) = self else { return false };
        let host = url.strip_prefix("http://").map(|rest| rest.split('/').next().unwrap_or_default());
        host.is_some_and(|host| !["127.", "localhost", "[::1]"].iter().any(|own| host.starts_with(own)))
    }

    /// Reads the keys; an error leaves the ones before in force.
    pub fn read(&self) -> Result<Vec<Key>, ServeError> {
        let wrong = |what: String| ServeError::Keys { at: self.told(), what };
        let text = match self {
            Self::File(path) => read_file(path).map_err(|e| wrong(e.to_string()))?,
            Self::Url(url) => ask(url).map_err(wrong)?,
        };
        // A shared secret has no place where everybody can read it.
        keys(&text, matches!(self, Self::File(_))).map_err(wrong)
    }

    fn told(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Url(url) => shown(url),
        }
    }
}

fn read_file(path: &Path) -> std::io::Result<String> {
    if std::fs::metadata(path)?.len() > MOST_BYTES {
        return Err(std::io::Error::other("is over 256 KiB; is this a JWKS file?"));
    }
    std::fs::read_to_string(path)
}

fn ask(url: &str) -> Result<String, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    let asker = Asker::new(PATIENCE).map_err(|e| e.to_string())?;
    let heard = runtime.block_on(asker.wanted(url, None, "keys")).map_err(|e| e.to_string())?;
    if heard.body.len() as u64 > MOST_BYTES { Err("the answer is over 256 KiB".to_owned()) } else { Ok(heard.body) }
}

/// Reads a key set; what cannot be used here is passed over, but one usable key there must be.
fn keys(text: &str, secrets: bool) -> Result<Vec<Key>, String> {
    let set: Set = serde_json::from_str(text).map_err(|e| format!("is no key set (`{{\"keys\": [..]}}`): {e}"))?;
    if set.keys.len() > MOST_KEYS {
        return Err(format!("holds {} keys; at most {MOST_KEYS} are read", set.keys.len()));
    }
    let mut keys: Vec<Key> = Vec::new();
    for jwk in set.keys {
        let Some(key) = jwk.key(secrets) else { continue };
        if key.kid.is_some() && keys.iter().any(|k| k.kid == key.kid) {
            return Err("names two keys alike (kid)".to_owned());
        }
        keys.push(key);
    }
    if keys.is_empty() {
        return Err("holds no key that can be used: RS256 from 2,048 bits, ES256 or EdDSA (Ed25519)".to_owned());
    }
    Ok(keys)
}

impl Jwk {
    /// Returns the key with the one algorithm that it answers to.
    fn key(self, secrets: bool) -> Option<Key> {
        let checks = self.meant_for.as_ref().is_none_or(|u| u == "sig");
        let verifies = self.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if !checks || !verifies {
            return None;
        }
        let parts = [&self.n, &self.e, &self.x, &self.y, &self.k].map(|p| p.as_deref().unwrap_or_default()).join(".");
        let print = crc32fast::hash(parts.as_bytes());
        let (algorithm, key) = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => {
                let (n, e) = (self.n?, self.e?);
                let long = B64.decode(&n).ok()?.iter().skip_while(|b| **b == 0).count() >= SHORTEST_RSA;
                (Algorithm::RS256, DecodingKey::from_rsa_components(&n, &e).ok().filter(|_| long)?)
            }
            ("EC", Some("P-256")) => (Algorithm::ES256, DecodingKey::from_ec_components(&self.x?, &self.y?).ok()?),
            ("OKP", Some("Ed25519")) => (Algorithm::EdDSA, DecodingKey::from_ed_components(&self.x?).ok()?),
            ("oct", _) if secrets => {
                let secret = B64.decode(self.k?).ok().filter(|s| s.len() >= 32)?;
                (Algorithm::HS256, DecodingKey::from_secret(&secret))
            }
            _ => return None,
        };
        let named = self.alg.is_none_or(|alg| alg == format!("{algorithm:?}"));
        named.then_some(Key { kid: self.kid, algorithm, key, print })
    }
}

/// Starts the thread that takes up rotated keys until `stop`.
pub fn keep_fresh(at: KeysAt, api: Arc<Api>, stop: Stop) -> std::io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name("keys".to_owned()).spawn(move || {
        let stamp = |at: &KeysAt| match at {
            KeysAt::File(path) => std::fs::metadata(path).ok().and_then(|m| Some((m.modified().ok()?, m.len()))),
            KeysAt::Url(_) => None,
        };
        let unknown = |api: &Api| api.meter.refusals(Refusal::UnknownKey);
        let (mut seen, mut asked, mut missed) = (stamp(&at), Instant::now(), unknown(&api));
        while !stop.requested() {
            thread::sleep(LOOK);
            let now = stamp(&at);
            let due = match &at {
                KeysAt::File(_) => now != seen,
                KeysAt::Url(_) => asked.elapsed() > EACH || (unknown(&api) != missed && asked.elapsed() > AT_MOST_EACH),
            };
            if !due {
                continue;
            }
            match at.read() {
                Ok(keys) => api.gate.store(Arc::new(api.gate.load().with_keys(keys))),
                Err(error) => {
                    api.meter.refreshes_failed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    tracing::warn!(%error, "the keys were not taken up; those before stay in force");
                }
            }
            (seen, asked, missed) = (now, Instant::now(), unknown(&api));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_can_be_used_and_others() {
        let ec = r#"{"kty":"EC","crv":"P-256","kid":"e","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
        let ed = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","alg":"EdDSA","use":"sig"}"#;
        let rsa = |n: usize| format!(r#"{{"kty":"RSA","kid":"r","n":"{}","e":"AQAB"}}"#, B64.encode(vec![0xc1; n]));
        let oct = format!(r#"{{"kty":"oct","k":"{}"}}"#, B64.encode([7; 32]));
        let set = |keys: &[&str]| format!(r#"{{"keys":[{}]}}"#, keys.join(","));
        let found =
            |text: &str, secrets| keys(text, secrets).map(|k| k.iter().map(|k| k.algorithm).collect::<Vec<_>>());
        assert_eq!(
            found(&set(&[ec, ed, &rsa(256)]), false),
            Ok(vec![Algorithm::ES256, Algorithm::EdDSA, Algorithm::RS256])
        );
        assert_eq!(found(&set(&[&oct]), true), Ok(vec![Algorithm::HS256]));
        for (text, says) in [
            (set(&[&oct]), "no key that can be used"),
            (set(&[&rsa(128)]), "no key that can be used"),
            (set(&[&ec.replace("P-256", "P-384")]), "no key that can be used"),
            (set(&[&ed.replace("\"sig\"", "\"enc\"")]), "no key that can be used"),
            (set(&[&ed.replace("EdDSA", "none")]), "no key that can be used"),
            (set(&[&ed.replace("EdDSA", "HS256")]), "no key that can be used"),
            (set(&[ec, ec]), "names two keys alike"),
            (set(&vec![ec; 65]), "at most 64"),
            ("[]".to_owned(), "is no key set"),
            ("<html>".to_owned(), "is no key set"),
        ] {
            let said = keys(&text, false).map(|k| k.len()).expect_err("refused");
            assert!(said.contains(says), "{text:.80}: {said}");
        }
    }

    #[test]
    fn keys_that_come_over_an_open_line_are_told() {
        for (text, open) in [
            ("keys.json", false),
            ("https://id.example/keys", false),
            ("http://127.0.0.1:9/keys", false),
            ("http://id.example/keys", true),
        ] {
            assert_eq!(KeysAt::parse(text).is_in_the_open(), open, "{text}");
        }
    }
}
