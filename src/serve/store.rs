//! What a store of lists holds: for each viewer programme numbers and scores, and the table that names the numbers.

use std::collections::HashMap;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Bytes of one entry: four of programme number, two of score.
pub const ENTRY: usize = 6;

/// Where lists are kept, as `--store` says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreAt {
    Embedded(PathBuf),
    DynamoDb {
        table: String,
        /// Where it answers, when that is not AWS.
        endpoint: Option<String>,
    },
}

impl StoreAt {
    /// The same store, asked at another address: a local server, or the limiter before it.
    #[must_use]
    pub fn at(self, url: Option<&str>) -> Self {
        match self {
            Self::DynamoDb { table, endpoint } => {
                Self::DynamoDb { table, endpoint: url.map(str::to_owned).or(endpoint) }
            }
            embedded @ Self::Embedded(_) => embedded,
        }
    }
}

impl std::fmt::Display for StoreAt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Embedded(path) => write!(f, "embedded:{}", path.display()),
            Self::DynamoDb { table, .. } => write!(f, "dynamodb:{table}"),
        }
    }
}

impl FromStr for StoreAt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("embedded", path)) if !path.is_empty() => Ok(Self::Embedded(path.into())),
            Some(("dynamodb", table)) if is_table(table) => {
                Ok(Self::DynamoDb { table: table.to_owned(), endpoint: None })
            }
            _ => Err(format!("`{text}` is not a store; write embedded:PATH or dynamodb:TABLE")),
        }
    }
}

/// Whether DynamoDB would take it as a table's name.
fn is_table(name: &str) -> bool {
    (3..=255).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

/// Returns the key under which a programme's most similar ones lie; no viewer's id begins like it.
pub fn similar_key(item: &str) -> String {
    format!("{SIMILAR}{item}")
}

/// What such a key begins with: a control character, which no id may have.
pub const SIMILAR: char = '\u{1}';

/// What travels with every generation of lists, so that old lists never name another programme.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    pub model: String,
    /// Unix seconds.
    pub trained_at: i64,
    pub published_at: i64,
    pub lists: u64,
    pub entries: u64,
    /// Number to item id; a number is never given to another item.
    pub table: Vec<String>,
    /// What a viewer without a list gets, best first.
    pub popular: Vec<(u32, f32)>,
}

/// Numbers of items, growing as new items come.
#[derive(Debug, Default)]
pub struct Numbers {
    ids: Vec<String>,
    by_id: HashMap<String, u32>,
}

impl Numbers {
    pub fn known(ids: Vec<String>) -> Self {
        let by_id = ids.iter().cloned().zip(0..).collect();
        Self { ids, by_id }
    }

    pub fn number(&mut self, id: &str) -> u32 {
        if let Some(&number) = self.by_id.get(id) {
            return number;
        }
        let number = self.ids.len() as u32;
        self.ids.push(id.to_owned());
        self.by_id.insert(id.to_owned(), number);
        number
    }

    pub fn into_table(self) -> Vec<String> {
        self.ids
    }
}

/// One viewer's list as it lies in the store, best first.
#[derive(Clone, Copy, Debug)]
pub struct List<'a> {
    low: f32,
    step: f32,
    entries: &'a [u8],
}

impl<'a> List<'a> {
    pub fn new(low: f32, high: f32, entries: &'a [u8]) -> Self {
        Self { low, step: (high - low) / f32::from(u16::MAX), entries }
    }

    /// Reads a list as `pack` made it: its lowest and highest score, then the entries.
    pub fn packed(bytes: &'a [u8]) -> Option<Self> {
        let (head, entries) = bytes.split_at_checked(PACK_HEAD)?;
        let score = |i: usize| f32::from_le_bytes([head[i], head[i + 1], head[i + 2], head[i + 3]]);
        let whole =
            head[0] == PACKED && entries.len().is_multiple_of(ENTRY) && score(1).is_finite() && score(5).is_finite();
        whole.then(|| Self::new(score(1), score(5), entries))
    }

    #[inline]
    pub fn iter(self) -> impl Iterator<Item = (u32, f32)> + 'a {
        self.entries.chunks_exact(ENTRY).map(move |e| {
            let number = u32::from_le_bytes([e[0], e[1], e[2], e[3]]);
            (number, self.low + f32::from(u16::from_le_bytes([e[4], e[5]])) * self.step)
        })
    }
}

/// The form of a packed list: a later one can tell it from its own.
const PACKED: u8 = 1;
const PACK_HEAD: usize = 9;

/// Makes one binary value of a list: nine bytes, and six for each entry.
pub fn pack(list: &[(u32, f32)]) -> Vec<u8> {
    let mut bytes = vec![0; PACK_HEAD];
    let (low, high) = encode(list, &mut bytes);
    bytes[0] = PACKED;
    bytes[1..5].copy_from_slice(&low.to_le_bytes());
    bytes[5..9].copy_from_slice(&high.to_le_bytes());
    bytes
}

/// Appends entries; returns the lowest and the highest score, which `List::new` wants back.
pub fn encode(list: &[(u32, f32)], into: &mut Vec<u8>) -> (f32, f32) {
    let (low, high) = list.iter().fold((f32::MAX, f32::MIN), |(l, h), (_, s)| (l.min(*s), h.max(*s)));
    let (low, high) = if list.is_empty() { (0.0, 0.0) } else { (low, high) };
    let scale = if high > low { f32::from(u16::MAX) / (high - low) } else { 0.0 };
    for (number, score) in list {
        into.extend_from_slice(&number.to_le_bytes());
        into.extend_from_slice(&(((score - low) * scale + 0.5) as u16).to_le_bytes());
    }
    (low, high)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_list_reads_back_in_its_order_and_close_to_its_scores(scores in prop::collection::vec(-9f32..9.0, 0..120)) {
            let mut list: Vec<_> = (0..).zip(scores).collect();
            list.sort_by(|a, b| b.1.total_cmp(&a.1));
            let mut bytes = Vec::new();
            let (low, high) = encode(&list, &mut bytes);
            let back: Vec<_> = List::new(low, high, &bytes).iter().collect();
            prop_assert_eq!(back.len(), list.len());
            for (was, is) in list.iter().zip(&back) {
                prop_assert_eq!(was.0, is.0);
                prop_assert!((was.1 - is.1).abs() <= (high - low) / 60_000.0, "{:?} {:?}", was, is);
            }
            prop_assert!(back.windows(2).all(|w| w[0].1 >= w[1].1));
            let packed = pack(&list);
            prop_assert_eq!(packed.len(), PACK_HEAD + list.len() * ENTRY);
            let unpacked: Vec<_> = List::packed(&packed).expect("reads").iter().collect();
            prop_assert_eq!(unpacked, back);
            prop_assert!(List::packed(&packed[..packed.len() - 1]).is_none());
        }

        #[test]
        fn nothing_that_lies_in_a_table_breaks_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = List::packed(&bytes).map(|l| l.iter().count());
        }
    }

    #[test]
    fn a_number_is_never_given_twice() {
        let mut numbers = Numbers::known(vec!["gone".to_owned(), "b".to_owned()]);
        assert_eq!((numbers.number("b"), numbers.number("new"), numbers.number("new")), (1, 2, 2));
        assert_eq!(numbers.into_table(), ["gone", "b", "new"]);
    }

    #[test]
    fn stores_are_named_by_kind_and_place() {
        assert_eq!("embedded:/a/b".parse(), Ok(StoreAt::Embedded("/a/b".into())));
        let table = StoreAt::DynamoDb { table: "lists".to_owned(), endpoint: None };
        assert_eq!(("dynamodb:lists".parse(), table.to_string()), (Ok(table.clone()), "dynamodb:lists".to_owned()));
        assert_ne!(table.clone().at(Some("http://127.0.0.1:1")), table);
        for bad in ["/a/b", "embedded:", "redis:x", "dynamodb:", "dynamodb:a/b", "dynamodb:ab"] {
            assert!(bad.parse::<StoreAt>().is_err(), "{bad}");
        }
    }
}
