//! AWS Signature Version 4, checked and made: who signed, what was signed, and when.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, crypto};
use sha2::{Digest, Sha256};

/// Seconds that the caller's clock may differ.
const SKEW: i64 = 300;
const SCHEME: &str = "AWS4-HMAC-SHA256";

/// Why a signature is not good, in AWS' own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Incomplete,
    UnknownKey,
    Skewed,
    Mismatch,
}

/// What was sent, as far as the signature covers it.
pub struct Signed<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub query: &'a str,
    /// Names in lower case.
    pub headers: &'a [(String, String)],
    pub body: &'a [u8],
}

/// Checks the `Authorization` header of a request; `secret` finds the secret of an access key of this service.
pub fn check(
    authorization: &str,
    request: &Signed<'_>,
    service: &str,
    secret: impl Fn(&str) -> Option<String>,
    now: i64,
) -> Result<(), Fault> {
    let parts = authorization.strip_prefix(SCHEME).ok_or(Fault::Incomplete)?;
    let field = |name: &str| {
        parts.split(',').find_map(|p| p.trim().strip_prefix(name)?.strip_prefix('=')).ok_or(Fault::Incomplete)
    };
    let (credential, names, signature) = (field("Credential")?, field("SignedHeaders")?, field("Signature")?);
    let scope: Vec<&str> = credential.split('/').collect();
    let [key, day, region, named, "aws4_request"] = scope[..] else { return Err(Fault::Incomplete) };
    if named != service {
        return Err(Fault::Incomplete);
    }
    let header = |name: &str| request.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.trim());
    let at = header("x-amz-date").ok_or(Fault::Incomplete)?;
    let signed: Vec<&str> = names.split(';').collect();
    if !signed.contains(&"host") || !signed.contains(&"x-amz-date") || !signed.is_sorted() {
        return Err(Fault::Incomplete);
    }
    let secret = secret(key).ok_or(Fault::UnknownKey)?;
    let time = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", at).map_err(|_| Fault::Incomplete)?;
    let time = jiff::tz::TimeZone::UTC.to_timestamp(time).map_err(|_| Fault::Incomplete)?.as_second();
    if (time - now).abs() > SKEW || !at.starts_with(day) {
        return Err(Fault::Skewed);
    }
    let mut canonical = format!("{}\n{}\n{}\n", request.method, request.path, sorted(request.query));
    for name in signed {
        let values: Vec<String> = request.headers.iter().filter(|(n, _)| n == name).map(|(_, v)| collapse(v)).collect();
        if values.is_empty() {
            return Err(Fault::Incomplete);
        }
        let _ = writeln!(canonical, "{name}:{}", values.join(","));
    }
    let _ = write!(canonical, "\n{names}\n{}", hex(&Sha256::digest(request.body)));
    let message = message(at, &scope[1..].join("/"), &canonical);
    let key = signing_key(&secret, day, region, service).ok_or(Fault::Mismatch)?;
    let signature = unhex(signature).ok_or(Fault::Mismatch)?;
    // The tokens' own comparison: constant in time.
    let good = crypto::verify(&B64.encode(signature), message.as_bytes(), &DecodingKey::from_secret(&key), ALGORITHM);
    if good.unwrap_or(false) { Ok(()) } else { Err(Fault::Mismatch) }
}

const ALGORITHM: Algorithm = Algorithm::HS256;

/// Whose key signs a call to a service.
pub struct Signer<'a> {
    pub key: &'a str,
    pub secret: &'a str,
    /// Of keys that expire.
    pub session: Option<&'a str>,
    pub region: &'a str,
    pub service: &'a str,
}

impl Signer<'_> {
    /// Returns the headers that make a request (without a query) signed; `headers` are further ones to be covered,
    /// their names in lower case. `None` where the secret cannot be used as a key.
    pub fn sign(&self, request: &Signed<'_>, now: i64) -> Option<Vec<(String, String)>> {
        let at = jiff::Timestamp::from_second(now).ok()?.strftime("%Y%m%dT%H%M%SZ").to_string();
        let day = &at[..8];
        let mut made = vec![("x-amz-date".to_owned(), at.clone())];
        made.extend(self.session.map(|token| ("x-amz-security-token".to_owned(), token.to_owned())));
        let mut covered: Vec<(&str, String)> =
            request.headers.iter().chain(&made).map(|(n, v)| (n.as_str(), collapse(v))).collect();
        covered.sort();
        let names = covered.iter().map(|(n, _)| *n).collect::<Vec<_>>().join(";");
        let lines: String = covered.iter().map(|(n, v)| format!("{n}:{v}\n")).collect();
        let body = hex(&Sha256::digest(request.body));
        let query = sorted(request.query);
        let canonical = format!("{}\n{}\n{query}\n{lines}\n{names}\n{body}", request.method, request.path);
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let message = message(&at, &scope, &canonical);
        let signature = hex(&hmac(&signing_key(self.secret, day, self.region, self.service)?, message.as_bytes())?);
        let who = format!("{SCHEME} Credential={}/{scope}, SignedHeaders={names}, Signature={signature}", self.key);
        made.push(("authorization".to_owned(), who));
        Some(made)
    }
}

fn message(at: &str, scope: &str, canonical: &str) -> String {
    format!("{SCHEME}\n{at}\n{scope}\n{}", hex(&Sha256::digest(canonical)))
}

fn signing_key(secret: &str, day: &str, region: &str, service: &str) -> Option<Vec<u8>> {
    let first = format!("AWS4{secret}").into_bytes();
    [day, region, service, "aws4_request"].iter().try_fold(first, |key, part| hmac(&key, part.as_bytes()))
}

fn hmac(key: &[u8], message: &[u8]) -> Option<Vec<u8>> {
    B64.decode(crypto::sign(message, &EncodingKey::from_secret(key), ALGORITHM).ok()?).ok()
}

fn sorted(query: &str) -> String {
    let pairs: BTreeMap<&str, &str> =
        query.split('&').filter(|p| !p.is_empty()).map(|p| p.split_once('=').unwrap_or((p, ""))).collect();
    pairs.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join("&")
}

fn collapse(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, b| {
        let _ = write!(out, "{b:02x}");
        out
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    let whole = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    whole.then(|| pairs.filter_map(|p| u8::from_str_radix(std::str::from_utf8(p).ok()?, 16).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    // What botocore 1.43 signs for get_recommendations with these keys at this time; see `tests/serve.rs` for the live one.
    const NOW: i64 = 1_795_465_486;
    const BODY: &[u8] = br#"{"campaignArn":"arn:c","userId":"u1"}"#;

    fn headers(at: &str) -> Vec<(String, String)> {
        [("host", "127.0.0.1:7070"), ("content-type", "application/json"), ("x-amz-date", at)]
            .map(|(n, v)| (n.to_owned(), v.to_owned()))
            .to_vec()
    }

    /// With the header that a signer would make, but a time and a day of its own.
    fn authorize(secret: &str, at: &str, day: &str) -> String {
        let names = "content-type;host;x-amz-date";
        let canonical = format!(
            "POST\n/recommendations\n\ncontent-type:application/json\nhost:127.0.0.1:7070\nx-amz-date:{at}\n\n{names}\n{}",
            hex(&Sha256::digest(BODY))
        );
        let scope = format!("{day}/eu-west-1/personalize/aws4_request");
        let key = signing_key(secret, day, "eu-west-1", "personalize").expect("a key");
        let signature = hex(&hmac(&key, message(at, &scope, &canonical).as_bytes()).expect("signs"));
        format!("{SCHEME} Credential=AKID/{scope}, SignedHeaders={names}, Signature={signature}")
    }

    fn check_at(authorization: &str, at: &str, body: &[u8], now: i64) -> Result<(), Fault> {
        let headers = headers(at);
        let request = Signed { method: "POST", path: "/recommendations", query: "", headers: &headers, body };
        check(authorization, &request, "personalize", |key| (key == "AKID").then(|| "SECRET".to_owned()), now)
    }

    #[test]
    fn known_signing_key() {
        // The example of AWS' documentation.
        let key =
            signing_key("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "20120215", "us-east-1", "iam").expect("a key");
        assert_eq!(hex(&key), "f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d");
    }

    #[test]
    fn what_is_signed_here_is_good_here() {
        let given = headers("ignored")[..2].to_vec();
        let request = Signed { method: "POST", path: "/recommendations", query: "", headers: &given, body: BODY };
        let signer =
            Signer { key: "AKID", secret: "SECRET", session: Some("T"), region: "eu-west-1", service: "personalize" };
        let made = signer.sign(&request, NOW).expect("signs");
        let authorization = made.last().expect("an authorization").1.clone();
        let all = [given.clone(), made].concat();
        let request = Signed { headers: &all, ..request };
        let secret = |key: &str| (key == "AKID").then(|| "SECRET".to_owned());
        assert_eq!(check(&authorization, &request, "personalize", secret, NOW), Ok(()));
    }

    #[test]
    fn signatures_and_what_breaks_them() {
        let at = jiff::Timestamp::from_second(NOW).expect("a time").strftime("%Y%m%dT%H%M%SZ").to_string();
        let day = &at[..8];
        let good = authorize("SECRET", &at, day);
        assert_eq!(check_at(&good, &at, BODY, NOW), Ok(()));
        assert_eq!(check_at(&good, &at, BODY, NOW + SKEW), Ok(()));
        assert_eq!(check_at(&good, &at, BODY, NOW + SKEW + 1), Err(Fault::Skewed));
        assert_eq!(check_at(&good, &at, BODY, NOW - SKEW - 1), Err(Fault::Skewed));
        assert_eq!(check_at(&good, &at, b"{}", NOW), Err(Fault::Mismatch));
        assert_eq!(check_at(&authorize("OTHER", &at, day), &at, BODY, NOW), Err(Fault::Mismatch));
        assert_eq!(check_at(&good.replace("AKID", "AKIX"), &at, BODY, NOW), Err(Fault::UnknownKey));
        assert_eq!(check_at(&good.replace("eu-west-1", "us-east-1"), &at, BODY, NOW), Err(Fault::Mismatch));
        assert_eq!(check_at(&good.replace("personalize", "s3"), &at, BODY, NOW), Err(Fault::Incomplete));
        assert_eq!(check_at(&good.replace(";host", ""), &at, BODY, NOW), Err(Fault::Incomplete));
        assert_eq!(check_at(&good.replace(";x-amz-date", ""), &at, BODY, NOW), Err(Fault::Incomplete));
        assert_eq!(check_at(&good.replace("Signature=", "Sig="), &at, BODY, NOW), Err(Fault::Incomplete));
        assert_eq!(check_at(&good[..good.len() - 2], &at, BODY, NOW), Err(Fault::Mismatch));
        assert_eq!(check_at("AWS4-HMAC-SHA256", &at, BODY, NOW), Err(Fault::Incomplete));
        assert_eq!(check_at(&authorize("SECRET", &at, "20200101"), &at, BODY, NOW), Err(Fault::Skewed));
    }
}
