//! Who is asking: a JWT, its algorithm pinned by the key, every claim that decides checked; and tokens made for trying.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, crypto};
use serde::{Deserialize, Serialize};

/// The audience that tokens are made for where nobody says otherwise.
pub const AUDIENCE: &str = "serin";
/// A token longer than this is refused unread.
const LONGEST_TOKEN: usize = 8 * 1024;
/// Seconds that clocks may differ, where nobody says otherwise.
pub const LEEWAY: i64 = 5;
/// Tokens remembered as good; a server sees few at a time, and an attacker can make none.
const REMEMBERED: usize = 4096;

/// One key and the only algorithm that it answers to.
#[derive(Clone)]
pub struct Key {
    pub kid: Option<String>,
    pub algorithm: Algorithm,
    pub key: DecodingKey,
    /// A checksum of what the key is made of, to tell another key from the same read again.
    pub print: u32,
}

/// What makes a token good here.
#[derive(Clone)]
pub struct Gate {
    keys: Vec<Key>,
    audience: String,
    /// Whether a token without an audience is refused; so when the audience was chosen.
    audience_required: bool,
    issuer: Option<String>,
    platform: Option<String>,
    /// Seconds that clocks may differ.
    leeway: i64,
    /// Since when these keys are in force in this process, Unix seconds.
    pub since: i64,
}

/// Why a token is not good; the text goes to the caller and holds nothing of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("there is no bearer token; send `Authorization: Bearer ..`")]
    Missing,
    #[error("the token is not a JWT")]
    Malformed,
    #[error("the token's algorithm is not the one of the key")]
    Algorithm,
    #[error("the token names a key that is not known here")]
    UnknownKey,
    #[error("the token's header asks for an extension that is not known here")]
    Critical,
    #[error("the token's signature is wrong")]
    Signature,
    #[error("the token has no expiry")]
    NoExpiry,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYet,
    #[error("the token is for another audience")]
    Audience,
    #[error("the token is from another issuer")]
    Issuer,
    #[error("the token is for another platform")]
    Platform,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Claims {
    exp: Option<serde_json::Value>,
    nbf: Option<serde_json::Value>,
    aud: Option<Audience>,
    iss: Option<String>,
    platform: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// For how long a checked token is good, in Unix seconds, with the leeway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Term {
    from: i64,
    until: i64,
}

impl Gate {
    /// A gate with one shared secret, HS256.
    pub fn secret(secret: &[u8]) -> Self {
        let (key, print) = (DecodingKey::from_secret(secret), crc32fast::hash(secret));
        Self::keys(vec![Key { kid: None, algorithm: Algorithm::HS256, key, print }])
    }

    pub fn keys(keys: Vec<Key>) -> Self {
        Self {
            keys,
            audience: AUDIENCE.to_owned(),
            audience_required: false,
            issuer: None,
            platform: None,
            leeway: LEEWAY,
            since: jiff::Timestamp::now().as_second(),
        }
    }

    #[must_use]
    pub fn with_audience(mut self, audience: Option<String>) -> Self {
        self.audience_required = audience.is_some();
        self.audience = audience.unwrap_or(self.audience);
        self
    }

    #[must_use]
    pub fn with_issuer(mut self, issuer: Option<String>) -> Self {
        self.issuer = issuer;
        self
    }

    #[must_use]
    pub fn with_platform(mut self, platform: Option<String>) -> Self {
        self.platform = platform;
        self
    }

    #[must_use]
    pub fn with_leeway(mut self, seconds: i64) -> Self {
        self.leeway = seconds;
        self
    }

    /// The same gate with other keys; the same ones read again are as old as they were.
    #[must_use]
    pub fn with_keys(&self, keys: Vec<Key>) -> Self {
        let alike = |(a, b): (&Key, &Key)| a.print == b.print && a.kid == b.kid && a.algorithm == b.algorithm;
        let same = keys.len() == self.keys.len() && keys.iter().zip(&self.keys).all(alike);
        let since = if same { self.since } else { jiff::Timestamp::now().as_second() };
        Self { keys, since, ..self.clone() }
    }

    fn check(&self, token: &str, now: i64) -> Result<Term, Refusal> {
        if token.len() > LONGEST_TOKEN {
            return Err(Refusal::Malformed);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(Refusal::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(Refusal::Malformed)?;
        let header: Header = part(header)?;
        if header.crit.is_some() {
            return Err(Refusal::Critical);
        }
        let keys = self.keys_for(&header)?;
        if claims.contains('.') || B64.decode(signature).is_err() {
            return Err(Refusal::Malformed);
        }
        let good =
            |key: &&Key| matches!(crypto::verify(signature, message.as_bytes(), &key.key, key.algorithm), Ok(true));
        if !keys.iter().any(good) {
            return Err(Refusal::Signature);
        }
        let term = self.check_claims(&part(claims)?)?;
        term.check(now)?;
        Ok(term)
    }

    /// Returns the keys that may have signed: the one that is named, or those without a name.
    fn keys_for(&self, header: &Header) -> Result<Vec<&Key>, Refusal> {
        let mut keys: Vec<&Key> = self.keys.iter().collect();
        if let Some(kid) = &header.kid
            && keys.iter().any(|k| k.kid.is_some())
        {
            keys.retain(|k| k.kid.as_ref() == Some(kid));
            if keys.is_empty() {
                return Err(Refusal::UnknownKey);
            }
        }
        // The key decides the algorithm; what the header says must only agree.
        keys.retain(|k| format!("{:?}", k.algorithm) == header.alg);
        if keys.is_empty() { Err(Refusal::Algorithm) } else { Ok(keys) }
    }

    fn check_claims(&self, claims: &Claims) -> Result<Term, Refusal> {
        let until = seconds(claims.exp.as_ref().ok_or(Refusal::NoExpiry)?)?;
        let from = claims.nbf.as_ref().map_or(Ok(i64::MIN), seconds)?;
        let meant = match &claims.aud {
            None => !self.audience_required,
            Some(Audience::One(one)) => *one == self.audience,
            Some(Audience::Many(many)) => many.contains(&self.audience),
        };
        if !meant {
            return Err(Refusal::Audience);
        }
        if self.issuer.is_some() && self.issuer != claims.iss {
            return Err(Refusal::Issuer);
        }
        if self.platform.is_some() && self.platform != claims.platform {
            return Err(Refusal::Platform);
        }
        Ok(Term { from: from.saturating_sub(self.leeway), until: until.saturating_add(self.leeway) })
    }
}

impl Term {
    fn check(self, now: i64) -> Result<(), Refusal> {
        if now >= self.until {
            return Err(Refusal::Expired);
        }
        if now < self.from {
            return Err(Refusal::NotYet);
        }
        Ok(())
    }
}

fn part<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, Refusal> {
    let bytes = B64.decode(text).map_err(|_| Refusal::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| Refusal::Malformed)
}

/// A time of a claim: a number; a text or an object is no time.
fn seconds(value: &serde_json::Value) -> Result<i64, Refusal> {
    let number = value.as_f64().filter(|n| n.is_finite()).ok_or(Refusal::Malformed)?;
    Ok(number as i64)
}

/// The good tokens that one worker has seen: a token is verified once, and its term looked at each time.
#[derive(Default)]
pub struct Remembered(HashMap<Box<[u8]>, Term>);

impl Remembered {
    /// Checks the value of an `Authorization` header.
    pub fn check(&mut self, gate: &Gate, header: Option<&[u8]>, now: i64) -> Result<(), Refusal> {
        let header = header.ok_or(Refusal::Missing)?;
        let token = match header.split_at_checked(7) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => token,
            _ => return Err(Refusal::Missing),
        };
        if let Some(term) = self.0.get(token) {
            return term.check(now);
        }
        let text = std::str::from_utf8(token).map_err(|_| Refusal::Malformed)?;
        let term = gate.check(text.trim(), now)?;
        if self.0.len() >= REMEMBERED {
            self.0.clear();
        }
        self.0.insert(token.into(), term);
        Ok(())
    }

    /// Forgets all, as the keys have changed.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// What a token made here says.
#[derive(Clone, Debug, Serialize)]
pub struct Mint {
    pub sub: String,
    pub aud: String,
    pub iat: i64,
    pub exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
}

impl Mint {
    /// Signs with a shared secret, HS256.
    pub fn sign(&self, secret: &[u8]) -> Result<String, jsonwebtoken::errors::Error> {
        jsonwebtoken::encode(&jsonwebtoken::Header::default(), self, &EncodingKey::from_secret(secret))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
    const NOW: i64 = 1_800_000_000;

    fn signed(header: &Value, claims: &Value, secret: &[u8]) -> String {
        let message = format!("{}.{}", B64.encode(header.to_string()), B64.encode(claims.to_string()));
        let key = EncodingKey::from_secret(secret);
        format!("{message}.{}", crypto::sign(message.as_bytes(), &key, Algorithm::HS256).expect("signs"))
    }

    fn check(token: &str) -> Result<(), Refusal> {
        Remembered::default().check(&Gate::secret(SECRET), Some(format!("Bearer {token}").as_bytes()), NOW)
    }

    fn with(claims: Value) -> Result<(), Refusal> {
        check(&signed(&json!({"alg": "HS256", "typ": "JWT"}), &claims, SECRET))
    }

    #[test]
    fn claims_that_decide() {
        let exp = NOW + 60;
        let cases = [
            (json!({"exp": exp}), Ok(())),
            (json!({"exp": exp as f64 + 0.5, "sub": "s"}), Ok(())),
            (json!({"exp": exp, "nbf": NOW - 1, "aud": "serin"}), Ok(())),
            (json!({"exp": exp, "aud": ["x", "serin"]}), Ok(())),
            (json!({"sub": "s"}), Err(Refusal::NoExpiry)),
            (json!({"exp": null}), Err(Refusal::NoExpiry)),
            (json!({"exp": NOW - 60}), Err(Refusal::Expired)),
            (json!({"exp": NOW - LEEWAY}), Err(Refusal::Expired)),
            (json!({"exp": 0}), Err(Refusal::Expired)),
            (json!({"exp": -1e300}), Err(Refusal::Expired)),
            (json!({"exp": "9999999999"}), Err(Refusal::Malformed)),
            (json!({"exp": [exp]}), Err(Refusal::Malformed)),
            (json!({"exp": exp, "nbf": NOW + 60}), Err(Refusal::NotYet)),
            (json!({"exp": exp, "nbf": "now"}), Err(Refusal::Malformed)),
            (json!({"exp": exp, "aud": "other"}), Err(Refusal::Audience)),
            (json!({"exp": exp, "aud": []}), Err(Refusal::Audience)),
            (json!({"exp": exp, "aud": ["other", "serin2"]}), Err(Refusal::Audience)),
            (json!({"exp": exp, "aud": {"serin": 1}}), Err(Refusal::Malformed)),
            (json!([exp]), Err(Refusal::Malformed)),
            (json!("exp"), Err(Refusal::Malformed)),
        ];
        for (claims, expected) in cases {
            assert_eq!(with(claims.clone()), expected, "{claims}");
        }
    }

    #[test]
    fn headers_that_attack() {
        let claims = json!({"exp": NOW + 60});
        let cases = [
            (json!({"alg": "none"}), Refusal::Algorithm),
            (json!({"alg": "None"}), Refusal::Algorithm),
            (json!({"alg": "nOnE"}), Refusal::Algorithm),
            (json!({"alg": ""}), Refusal::Algorithm),
            (json!({"alg": "HS384"}), Refusal::Algorithm),
            (json!({"alg": "HS512"}), Refusal::Algorithm),
            (json!({"alg": "RS256"}), Refusal::Algorithm),
            (json!({"alg": "hs256"}), Refusal::Algorithm),
            (json!({"typ": "JWT"}), Refusal::Malformed),
            (json!({"alg": ["HS256"]}), Refusal::Malformed),
            (json!({"alg": "HS256", "crit": ["exp"]}), Refusal::Critical),
            (json!({"alg": "HS256", "crit": []}), Refusal::Critical),
            (json!({"alg": "HS256", "crit": ["b64"], "b64": false}), Refusal::Critical),
        ];
        for (header, expected) in cases {
            assert_eq!(check(&signed(&header, &claims, SECRET)), Err(expected), "{header}");
        }
        // What a header offers to fetch or to use as a key is never looked at.
        for extra in ["jwk", "jku", "x5u", "x5c", "kid"] {
            let value = if extra == "kid" { json!("../../../../dev/null") } else { json!({"kty": "oct", "k": "AA"}) };
            let header = json!({"alg": "HS256", extra: value});
            assert_eq!(check(&signed(&header, &claims, b"attacker")), Err(Refusal::Signature), "{extra}");
            assert_eq!(check(&signed(&header, &claims, b"")), Err(Refusal::Signature), "{extra}");
        }
    }

    #[test]
    fn broken_tokens() {
        let good = signed(&json!({"alg": "HS256"}), &json!({"exp": NOW + 60}), SECRET);
        assert_eq!(check(&good), Ok(()));
        let (message, signature) = good.rsplit_once('.').expect("three parts");
        let (header, claims) = message.split_once('.').expect("three parts");
        let unsigned = format!("{message}.");
        let other = signed(&json!({"alg": "HS256"}), &json!({"exp": NOW + 60}), b"another key, as long as the first");
        let swapped = format!("{header}.{}.{signature}", B64.encode(json!({"exp": NOW + 9999}).to_string()));
        let huge = signed(&json!({"alg": "HS256"}), &json!({"exp": NOW + 60, "x": "y".repeat(9000)}), SECRET);
        let cases = [
            (String::new(), Refusal::Malformed),
            (".".to_owned(), Refusal::Malformed),
            ("..".to_owned(), Refusal::Malformed),
            ("a.b.c".to_owned(), Refusal::Malformed),
            (message.to_owned(), Refusal::Malformed),
            (format!("{good}.{signature}"), Refusal::Malformed),
            (format!("{good}="), Refusal::Malformed),
            (format!("{good}\0"), Refusal::Malformed),
            (format!("{good}é"), Refusal::Malformed),
            (huge, Refusal::Malformed),
            (unsigned, Refusal::Signature),
            (other, Refusal::Signature),
            (swapped, Refusal::Signature),
            (format!("{header}.{claims}.{}", &signature[..signature.len() - 4]), Refusal::Signature),
        ];
        for (token, expected) in cases {
            assert_eq!(check(&token), Err(expected), "{token:.80}");
        }
    }

    #[test]
    fn only_bearer_is_a_scheme() {
        let gate = Gate::secret(SECRET);
        for header in
            [None, Some(&b""[..]), Some(b"Basic dTpw"), Some(b"Bearer"), Some(b"eyJ.eyJ.x"), Some(b"\xff\xfe")]
        {
            assert_eq!(Remembered::default().check(&gate, header, NOW), Err(Refusal::Missing), "{header:?}");
        }
        let good = signed(&json!({"alg": "HS256"}), &json!({"exp": NOW + 60}), SECRET);
        assert_eq!(Remembered::default().check(&gate, Some(format!("bEARER {good}").as_bytes()), NOW), Ok(()));
    }

    #[test]
    fn a_remembered_token_still_expires() {
        let gate = Gate::secret(SECRET);
        let mut seen = Remembered::default();
        let token = signed(&json!({"alg": "HS256"}), &json!({"exp": NOW + 60, "nbf": NOW}), SECRET);
        let header = format!("Bearer {token}");
        let mut at = |now| seen.check(&gate, Some(header.as_bytes()), now);
        assert_eq!((at(NOW), at(NOW + 60 + LEEWAY - 1)), (Ok(()), Ok(())));
        assert_eq!(at(NOW + 60 + LEEWAY), Err(Refusal::Expired));
        assert_eq!(at(NOW - 60), Err(Refusal::NotYet));
    }

    #[test]
    fn a_platform_never_reads_another() {
        let gate = |g: Gate| g.with_platform(Some("sixplay".to_owned())).with_issuer(Some("us".to_owned()));
        let cases = [
            (json!({"exp": NOW + 60, "platform": "sixplay", "iss": "us"}), Ok(())),
            (json!({"exp": NOW + 60, "platform": "videoland", "iss": "us"}), Err(Refusal::Platform)),
            (json!({"exp": NOW + 60, "iss": "us"}), Err(Refusal::Platform)),
            (json!({"exp": NOW + 60, "platform": ["sixplay"], "iss": "us"}), Err(Refusal::Malformed)),
            (json!({"exp": NOW + 60, "platform": "sixplay", "iss": "them"}), Err(Refusal::Issuer)),
            (json!({"exp": NOW + 60, "platform": "sixplay"}), Err(Refusal::Issuer)),
        ];
        for (claims, expected) in cases {
            let token = format!("Bearer {}", signed(&json!({"alg": "HS256"}), &claims, SECRET));
            let found = Remembered::default().check(&gate(Gate::secret(SECRET)), Some(token.as_bytes()), NOW);
            assert_eq!(found, expected, "{claims}");
        }
    }

    #[test]
    fn a_chosen_audience_is_required() {
        let gate = || Gate::secret(SECRET).with_audience(Some("tv".to_owned()));
        for (claims, expected) in [
            (json!({"exp": NOW + 60, "aud": "tv"}), Ok(())),
            (json!({"exp": NOW + 60}), Err(Refusal::Audience)),
            (json!({"exp": NOW + 60, "aud": "serin"}), Err(Refusal::Audience)),
        ] {
            let token = format!("Bearer {}", signed(&json!({"alg": "HS256"}), &claims, SECRET));
            assert_eq!(Remembered::default().check(&gate(), Some(token.as_bytes()), NOW), expected, "{claims}");
        }
    }

    #[test]
    fn what_is_minted_is_let_in() {
        let mint = Mint { sub: "me".into(), aud: AUDIENCE.into(), iat: NOW, exp: NOW + 60, platform: None };
        assert_eq!(check(&mint.sign(SECRET).expect("signs")), Ok(()));
    }

    /// A private key of each kind, and what checks it.
    fn asymmetric() -> Vec<(Algorithm, EncodingKey, DecodingKey, Vec<u8>)> {
        let of = |kind| rcgen::KeyPair::generate_for(kind).expect("a key");
        let rsa = of(&rcgen::PKCS_RSA_SHA256);
        let ec = of(&rcgen::PKCS_ECDSA_P256_SHA256);
        let ed = of(&rcgen::PKCS_ED25519);
        let public = |key: &rcgen::KeyPair| key.public_key_pem().into_bytes();
        let private = |key: &rcgen::KeyPair| key.serialize_pem().into_bytes();
        vec![
            (
                Algorithm::RS256,
                EncodingKey::from_rsa_pem(&private(&rsa)).expect("a key"),
                DecodingKey::from_rsa_pem(&public(&rsa)).expect("a key"),
                public(&rsa),
            ),
            (
                Algorithm::ES256,
                EncodingKey::from_ec_pem(&private(&ec)).expect("a key"),
                DecodingKey::from_ec_pem(&public(&ec)).expect("a key"),
                public(&ec),
            ),
            (
                Algorithm::EdDSA,
                EncodingKey::from_ed_pem(&private(&ed)).expect("a key"),
                DecodingKey::from_ed_pem(&public(&ed)).expect("a key"),
                public(&ed),
            ),
        ]
    }

    #[test]
    fn each_algorithm_and_no_key_answers_to_another_one() {
        let all = asymmetric();
        let names = ["r", "e", "d"];
        let keys = all.iter().zip(names);
        let keys: Vec<Key> = keys
            .map(|((algorithm, _, key, _), kid)| Key {
                kid: Some(kid.to_owned()),
                algorithm: *algorithm,
                key: key.clone(),
                print: 0,
            })
            .collect();
        let gate = Gate::keys(keys);
        let check = |header: Value, key: &EncodingKey, algorithm: Algorithm| {
            let message =
                format!("{}.{}", B64.encode(header.to_string()), B64.encode(json!({"exp": NOW + 60}).to_string()));
            let token = format!("{message}.{}", crypto::sign(message.as_bytes(), key, algorithm).expect("signs"));
            gate.check(&token, NOW).map(|_| ())
        };
        for ((algorithm, key, _, public), kid) in all.iter().zip(names) {
            let name = format!("{algorithm:?}");
            assert_eq!(check(json!({"alg": name, "kid": kid}), key, *algorithm), Ok(()), "{name}");
            assert_eq!(check(json!({"alg": name}), key, *algorithm), Ok(()), "{name} without a name");
            assert_eq!(
                check(json!({"alg": name, "kid": "../../etc/passwd"}), key, *algorithm),
                Err(Refusal::UnknownKey)
            );
            assert_eq!(check(json!({"alg": name, "kid": "' OR 1=1 --"}), key, *algorithm), Err(Refusal::UnknownKey));
            // The public key as a shared secret: everybody has it.
            for secret in [&public[..], public.trim_ascii_end(), b""] {
                let secret = EncodingKey::from_secret(secret);
                assert_eq!(
                    check(json!({"alg": "HS256", "kid": kid}), &secret, Algorithm::HS256),
                    Err(Refusal::Algorithm)
                );
                assert_eq!(check(json!({"alg": "HS256"}), &secret, Algorithm::HS256), Err(Refusal::Algorithm));
                assert_eq!(check(json!({"alg": name, "kid": kid}), &secret, Algorithm::HS256), Err(Refusal::Signature));
            }
            for other in names.iter().filter(|n| **n != kid) {
                let refused = check(json!({"alg": name, "kid": other}), key, *algorithm);
                assert_eq!(refused, Err(Refusal::Algorithm), "{name} with the key {other}");
            }
            assert_eq!(check(json!({"alg": "none", "kid": kid}), key, *algorithm), Err(Refusal::Algorithm));
        }
        // An ES256 signature of zeros was good in a well-known library.
        let message = format!("{}.{}", B64.encode(r#"{"alg":"ES256","kid":"e"}"#), B64.encode(r#"{"exp":1900000000}"#));
        let zeros = format!("{message}.{}", B64.encode([0; 64]));
        assert_eq!(gate.check(&zeros, NOW).map(|_| ()), Err(Refusal::Signature));
    }

    #[test]
    fn rotated_keys_end_the_old_ones_tokens_and_leeway_is_as_said() {
        let token = signed(&json!({"alg": "HS256"}), &json!({"exp": NOW - 30}), SECRET);
        let gate = Gate::secret(SECRET).with_leeway(60);
        assert_eq!(gate.check(&token, NOW).map(|_| ()), Ok(()));
        assert_eq!(gate.check(&token, NOW + 30).map(|_| ()), Err(Refusal::Expired));
        let other = Key {
            kid: None,
            algorithm: Algorithm::HS256,
            key: DecodingKey::from_secret(b"another secret of thirty-two byte"),
            print: 7,
        };
        let mut gate = gate;
        gate.since = NOW;
        let again = gate.with_keys(gate.keys.clone());
        assert!(again.since == NOW && gate.with_keys(vec![other.clone()]).since != NOW, "read again is no rotation");
        let rotated = gate.with_platform(None).with_keys(vec![other]);
        assert_eq!(rotated.check(&token, NOW).map(|_| ()), Err(Refusal::Signature));
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_is_sent_breaks_the_gate(token in ".{0,200}", parts in proptest::collection::vec("[A-Za-z0-9_=-]{0,40}", 0..5)) {
            let gate = Gate::secret(SECRET);
            proptest::prop_assert!(gate.check(&token, NOW).is_err());
            proptest::prop_assert!(gate.check(&parts.join("."), NOW).is_err());
        }
    }
}
