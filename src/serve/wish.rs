//! What a request asks for, read from its path and query: whose list, how many, which programmes.

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

use super::bits::Bits;
use super::catalogue::Catalogue;
use super::filter;
use super::problem::Problem;

/// The longest id of a viewer or a programme, in characters.
pub const LONGEST_ID: usize = 256;
pub const MOST_ITEMS: usize = 500;
const ITEMS: usize = 20;

/// How many, and which of all programmes (`None`: any).
#[derive(Debug)]
pub struct Wish {
    pub limit: usize,
    pub filter: Option<Bits>,
    /// Whether each programme says because of what it is there.
    pub explain: bool,
    /// The filter in the order of one shelf, by the shelf's number.
    ordered: RefCell<Option<(u64, Rc<Bits>)>>,
}

impl Wish {
    pub fn new(limit: usize, filter: Option<Bits>) -> Self {
        Self { limit, filter, explain: false, ordered: RefCell::default() }
    }

    /// Returns the filter in a shelf's order, made where this wish was not yet asked there.
    pub fn remembered(&self, shelf: u64, make: impl FnOnce() -> Bits) -> Rc<Bits> {
        let mut ordered = self.ordered.borrow_mut();
        if let Some((known, bits)) = &*ordered
            && *known == shelf
        {
            return Rc::clone(bits);
        }
        let bits = Rc::new(make());
        *ordered = Some((shelf, Rc::clone(&bits)));
        bits
    }

    /// A wish that no programme fulfils.
    pub fn nothing(catalogue: &Catalogue) -> Self {
        Self::new(1, Some(Bits::none(catalogue.len())))
    }

    /// Reads a query such as `limit=20&channel=ch-nine&devices=-tv`.
    pub fn read(catalogue: &Catalogue, query: &str) -> Result<Self, Problem> {
        let (mut limit, mut explain) = (ITEMS, false);
        let mut pairs = Vec::new();
        for pair in query.split('&').filter(|p| !p.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (key, value) = (decode(key, true)?, decode(value, true)?);
            if key == "limit" {
                limit = read_limit(&value)?;
            } else if key == "explain" {
                explain = match &*value {
                    "true" => true,
                    "false" => false,
                    _ => return Err(Problem::bad_request("bad-explain", "explain is `true` or `false`")),
                };
            } else {
                pairs.push((key.into_owned(), value.into_owned()));
            }
        }
        let filter = filter::compile(catalogue, &pairs).map_err(|e| match e {
            filter::FilterError::UnknownKey { .. } => Problem::bad_request("unknown-filter", e.to_string()),
            _ => Problem::bad_request("bad-filter", e.to_string()),
        })?;
        Ok(Self { explain, ..Self::new(limit, filter) })
    }

    #[inline]
    pub fn wants(&self, programme: u32) -> bool {
        self.filter.as_ref().is_none_or(|f| f.has(programme as usize))
    }
}

fn read_limit(value: &str) -> Result<usize, Problem> {
    let limit = value.parse().ok().filter(|n| (1..=MOST_ITEMS).contains(n));
    limit.ok_or_else(|| {
        Problem::bad_request("bad-limit", format!("limit must be 1 to {MOST_ITEMS}, not `{}`", shorten(value)))
    })
}

/// Reads the id at the end of a path.
pub fn read_id(raw: &str) -> Result<Cow<'_, str>, Problem> {
    let id = decode(raw, false)?;
    check_id(&id).map_err(|detail| Problem::bad_request("bad-id", detail))?;
    Ok(id)
}

/// Whether something can be an id at all.
pub fn check_id(id: &str) -> Result<(), String> {
    let long = id.chars().take(LONGEST_ID + 1).count();
    if !(1..=LONGEST_ID).contains(&long) {
        let this = if long == 0 { "none".to_owned() } else { "more".to_owned() };
        return Err(format!("an id has 1 to {LONGEST_ID} characters, this one has {this}"));
    }
    if id.chars().any(char::is_control) {
        return Err("an id has no control characters".to_owned());
    }
    Ok(())
}

/// Undoes percent encoding; what is then no UTF-8 is refused.
fn decode(text: &str, plus_is_space: bool) -> Result<Cow<'_, str>, Problem> {
    if !text.bytes().any(|b| b == b'%' || (plus_is_space && b == b'+')) {
        return Ok(Cow::Borrowed(text));
    }
    let bad = || Problem::bad_request("bad-encoding", format!("`{}` is not percent-encoded UTF-8", shorten(text)));
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16)).ok_or_else(bad);
                (digit(bytes.next())? * 16 + digit(bytes.next())?) as u8
            }
            b'+' if plus_is_space => b' ',
            plain => plain,
        });
    }
    String::from_utf8(out).map(Cow::Owned).map_err(|_| bad())
}

fn shorten(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    const ITEMS_CSV: &[u8] = b"ITEM_ID,CHANNEL\na,ch nine\nb,six&seven\n";

    fn read(query: &str) -> Result<Wish, Problem> {
        Wish::read(&Catalogue::parse(Path::new("items.csv"), ITEMS_CSV, 0).expect("good"), query)
    }

    #[test]
    fn queries_and_what_is_wrong_with_them() {
        let plain = read("").expect("good");
        assert_eq!((plain.limit, plain.filter), (20, None));
        assert_eq!(read("limit=500").expect("good").limit, 500);
        let wish = read("channel=ch+nine,six%26seven&limit=3").expect("good");
        assert!(wish.wants(0) && wish.wants(1) && wish.limit == 3);
        for (query, kind) in [
            ("limit=0", "bad-limit"),
            ("limit=501", "bad-limit"),
            ("limit=-1", "bad-limit"),
            ("limit=", "bad-limit"),
            ("limit=99999999999999999999", "bad-limit"),
            ("channel=%ff", "bad-encoding"),
            ("channel=%4", "bad-encoding"),
            ("channel=%zz", "bad-encoding"),
            ("chanel=six", "unknown-filter"),
            ("channel", "bad-filter"),
            ("=x", "unknown-filter"),
        ] {
            assert_eq!(read(query).expect_err("refused").kind, kind, "{query}");
        }
    }

    #[test]
    fn ids_are_decoded_once_and_bounded() {
        assert_eq!(read_id("a%2Fb+c").expect("good"), "a/b+c");
        assert_eq!(read_id("%2541").expect("good"), "%41");
        for (raw, kind) in [
            ("", "bad-id"),
            ("%01p1", "bad-id"),
            ("a%0Ab", "bad-id"),
            (&"x".repeat(10_240), "bad-id"),
            ("%c3%28", "bad-encoding"),
        ] {
            assert_eq!(read_id(raw).expect_err("refused").kind, kind);
        }
    }

    proptest! {
        #[test]
        fn nothing_a_caller_writes_breaks_the_reader(query in ".{0,200}", id in ".{0,300}") {
            let _ = (read(&query), read_id(&id).map(Cow::into_owned));
        }
    }
}
