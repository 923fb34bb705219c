//! What must not be sent or shown again: tokens in a recorded path go, and an endpoint's name holds nobody's id.

use std::borrow::Cow;

/// A query parameter whose name holds one of these carries a secret.
const SECRETS: [&str; 14] = [
    "token",
    "secret",
    "passw",
    "pwd",
    "apikey",
    "api_key",
    "api-key",
    "signature",
    "x-amz-",
    "auth",
    "session",
    "jwt",
    "credential",
    "cookie",
];
/// Names that are secret only when they are the whole name.
const SECRET_WORDS: [&str; 5] = ["key", "sig", "code", "sid", "otp"];

/// Returns the path without its secrets; borrowed when it had none.
pub fn without_secrets(path: &str) -> Cow<'_, str> {
    let (bare, query) = path.split_once('?').map_or((path, None), |(p, q)| (p, Some(q)));
    let bad_segment = bare.split('/').any(|s| is_token(s) || s.contains(';'));
    let kept =
        |query: &str| -> Vec<String> { query.split('&').filter(|pair| !is_secret(pair)).map(str::to_owned).collect() };
    let spoiled = query.is_some_and(|q| q.split('&').any(is_secret));
    if !bad_segment && !spoiled {
        return Cow::Borrowed(path);
    }
    // `/x;jsessionid=..` and a token as a segment: the place stays, so that the route is the same.
    let segments = bare.split('/').map(|s| {
        let s = s.split(';').next().unwrap_or_default();
        if is_token(s) { "removed" } else { s }
    });
    let mut clean = segments.collect::<Vec<_>>().join("/");
    if let Some(query) = query.map(kept).filter(|q| !q.is_empty()) {
        clean.push('?');
        clean.push_str(&query.join("&"));
    }
    Cow::Owned(clean)
}

fn is_secret(pair: &str) -> bool {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    let name = decoded(name).to_ascii_lowercase();
    SECRETS.iter().any(|s| name.contains(s)) || SECRET_WORDS.contains(&name.as_str()) || is_token(&decoded(value))
}

/// Whether a text looks like a JWT, a bearer value or an AWS key, whatever it is called.
fn is_token(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    text.starts_with("eyJ") || text.starts_with("AKIA") || text.starts_with("ASIA") || lower.starts_with("bearer")
}

/// Undoes %XX, so that `%74oken` is found too.
fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match hex.and_then(|h| u8::from_str_radix(h, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

/// Returns the route of a path: `/v1/recommendations/{}`; segments with a digit, and long ones, are somebody's.
pub fn endpoint(method: &str, path: &str) -> String {
    let bare = path.split('?').next().unwrap_or_default();
    let mut name = format!("{method} ");
    for segment in bare.split('/').skip(1).take(12) {
        name.push('/');
        let version = segment.len() <= 3 && segment.starts_with('v');
        let own = segment.bytes().any(|b| b.is_ascii_digit() || b == b'%' || b == b'@') || segment.len() > 24;
        name.push_str(if own && !version { "{}" } else { segment });
    }
    name
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn secrets_leave_and_the_rest_stays() {
        let table = [
            ("/v1/popular?limit=20", "/v1/popular?limit=20"),
            ("/v1/popular?access_token=abc&limit=20", "/v1/popular?limit=20"),
            ("/v1/popular?limit=20&X-Amz-Signature=abc", "/v1/popular?limit=20"),
            ("/v1/popular?token=abc", "/v1/popular"),
            ("/v1/popular?%74oken=abc&key=1&monkey=2", "/v1/popular?monkey=2"),
            ("/v1/popular?x=eyJhbGciOiJIUzI1NiJ9.e30.s", "/v1/popular"),
            ("/v1/eyJhbGciOiJIUzI1NiJ9.e30.s/list", "/v1/removed/list"),
            ("/a;jsessionid=77/b", "/a/b"),
        ];
        for (path, clean) in table {
            assert_eq!(without_secrets(path), clean);
        }
    }

    #[test]
    fn endpoints_hold_no_ids() {
        let table = [
            ("/v1/recommendations/u1234?limit=20", "GET /v1/recommendations/{}"),
            ("/v1/popular", "GET /v1/popular"),
            ("/", "GET /"),
            ("/users/ann@example.org", "GET /users/{}"),
        ];
        for (path, name) in table {
            assert_eq!(endpoint("GET", path), name);
        }
    }

    proptest! {
        #[test]
        fn a_secret_never_survives(
            before in "[a-z]{0,5}", place in 0_usize..3, name in "(access_|)(token|TOKEN|secret|password|api_key|jwt)(|_x)",
        ) {
            let secret = "S3cr3tV4lue";
            let mut pairs = vec![format!("a={before}"), "b=2".to_owned()];
            pairs.insert(place, format!("{name}={secret}"));
            let path = format!("/{before}?{}", pairs.join("&"));
            let clean = without_secrets(&path).into_owned();
            prop_assert!(!clean.contains(secret) && clean.contains("b=2"), "{}", clean);
        }
    }
}
