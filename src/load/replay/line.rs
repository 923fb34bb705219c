//! One line of a log as a request, or why it is none.

use std::borrow::Cow;

use super::{alb, combined, jsonl};

/// What a log line says of a request; nothing else of it is kept, so no header or cookie can leak.
#[derive(Clone, Debug, PartialEq)]
pub struct Line<'a> {
    /// Nanoseconds since 1970.
    pub at_ns: i64,
    /// Whether the stamp has no fraction of a second.
    pub whole_second: bool,
    pub method: &'static str,
    /// Path and query, without a host.
    pub path: Cow<'a, str>,
    /// Who asked: a user's name, else the client's address.
    pub viewer: Cow<'a, str>,
    pub body: Option<Cow<'a, str>>,
}

/// Why a line is no request that can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spoiled {
    Cut,
    TooLong,
    NotText,
    Time,
    Request,
    /// A POST or the like: an access log does not hold what was sent.
    NoBody,
}

impl Spoiled {
    pub fn words(self) -> &'static str {
        match self {
            Self::Cut => "cut in the middle",
            Self::TooLong => "longer than 64 KiB",
            Self::NotText => "not text",
            Self::Time => "without a readable time",
            Self::Request => "without a readable request",
            Self::NoBody => "writing requests whose body is not in the log",
        }
    }
}

/// The layouts that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Apache's and nginx's combined (or common) access log.
    Combined,
    /// An AWS Application Load Balancer's access log.
    Alb,
    /// One JSON object a line.
    Jsonl,
}

impl Format {
    pub const ALL: [(&'static str, Self); 3] =
        [("combined", Self::Combined), ("alb", Self::Alb), ("jsonl", Self::Jsonl)];

    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, f)| *f == self).map_or("", |(word, _)| word)
    }

    pub fn parse(self, line: &str) -> Result<Line<'_>, Spoiled> {
        match self {
            Self::Combined => combined::parse(line),
            Self::Alb => alb::parse(line),
            Self::Jsonl => jsonl::parse(line),
        }
    }
}

/// Takes `GET http://host/path?q HTTP/1.1` apart.
pub fn request(text: &str) -> Result<(&'static str, &str), Spoiled> {
    let (method, rest) = text.split_once(' ').ok_or(Spoiled::Request)?;
    let target = match rest.rsplit_once(' ') {
        Some((target, version)) if version.starts_with("HTTP/") => target,
        _ => return Err(Spoiled::Request),
    };
    Ok((known_method(method)?, path_of(target)?))
}

/// Returns path and query of a target, whatever host it names.
pub fn path_of(target: &str) -> Result<&str, Spoiled> {
    let path = match target.split_once("://") {
        Some((scheme, rest)) if scheme.len() <= 5 && scheme.bytes().all(|b| b.is_ascii_alphabetic()) => {
            rest.find(['/', '?']).map_or("/", |at| &rest[at..])
        }
        _ => target,
    };
    let path = path.split('#').next().unwrap_or_default();
    let fair = path.starts_with('/') && path.bytes().all(|b| b > b' ' && b != 0x7f);
    fair.then_some(path).ok_or(Spoiled::Request)
}

pub fn known_method(word: &str) -> Result<&'static str, Spoiled> {
    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    known.into_iter().find(|k| *k == word).ok_or(Spoiled::Request)
}

/// Whether a request of this method is complete without a body and changes nothing.
pub fn only_reads(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn requests_lose_their_host() {
        let table = [
            ("GET /a?b=1 HTTP/1.1", Ok(("GET", "/a?b=1"))),
            ("GET https://www.example.org:443/a HTTP/2.0", Ok(("GET", "/a"))),
            ("GET http://user:pass@example.org HTTP/1.1", Ok(("GET", "/"))),
            ("GET http://example.org?x=1 HTTP/1.1", Err(Spoiled::Request)),
            ("GET /a", Err(Spoiled::Request)),
            ("- - -", Err(Spoiled::Request)),
            ("\\x16\\x03\\x01", Err(Spoiled::Request)),
            ("GET /a b HTTP/1.1", Err(Spoiled::Request)),
            ("GET a HTTP/1.1", Err(Spoiled::Request)),
            ("BREW /pot HTTP/1.1", Err(Spoiled::Request)),
        ];
        for (text, expected) in table {
            assert_eq!(request(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_refused_without_a_panic(text in "\\PC{0,200}", cut in 0_usize..400) {
            let near = format!("9.9.9.9 - ann [10/Oct/2025:13:55:36 -0700] \"GET /{text} HTTP/1.1\" 200 5 \"-\" \"-\"");
            let json = format!("{{\"time\": \"2025-10-10T13:55:36Z\", \"path\": {text:?}}}");
            for whole in [text, near, json] {
                let cut = whole.char_indices().map(|(at, _)| at).nth(cut).unwrap_or(whole.len());
                for (_, format) in Format::ALL {
                    if let Ok(line) = format.parse(&whole[..cut]) {
                        prop_assert!(line.path.starts_with('/') && !line.path.contains([' ', '\r', '\n']));
                    }
                }
            }
        }
    }
}
