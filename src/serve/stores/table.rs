//! What lies in a key-value table under which key: lists by generation, what travels with them, the pointer, who publishes.
//!
//! `7/u42` is the list of viewer u42 in generation 7; a switch is one item, so no answer mixes two generations, and a roll
//! back waits for nothing. No id begins with `#`, as every list's key begins with a number.

use std::io::{Read as _, Write as _};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::serve::store::Meta;

/// The attributes besides the table's own key: the value, and the second after which the table may drop the item.
pub const VALUE: &str = "l";
pub const EXPIRES: &str = "x";
pub const CURRENT: &str = "#current";
pub const PUBLISH: &str = "#publish";
/// One write unit holds so many bytes.
const UNIT: usize = 1024;
/// Generations that the pointer remembers.
const KEPT: usize = 10;
/// What is read back after a publish: lists spread over all of them.
const SAMPLE: usize = 500;

/// One item on its way to the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    pub key: String,
    pub value: Vec<u8>,
}

impl Put {
    /// Its size as DynamoDB counts it: names and values; the number of the expiry takes six bytes.
    pub fn bytes(&self, key_name: &str) -> usize {
        key_name.len() + self.key.len() + VALUE.len() + self.value.len() + EXPIRES.len() + 6
    }

    pub fn units(&self, key_name: &str) -> f64 {
        self.bytes(key_name).div_ceil(UNIT).max(1) as f64
    }
}

/// Which generation serves, and which could again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pointer {
    pub generation: u64,
    /// Newest first.
    pub kept: Vec<Kept>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    pub generation: u64,
    pub model: String,
    pub published_at: i64,
    pub lists: u64,
    /// Unix seconds from which on the table drops its items.
    pub expires_at: i64,
}

impl Pointer {
    pub fn current(&self) -> Option<&Kept> {
        self.kept.iter().find(|k| k.generation == self.generation)
    }

    pub fn next_number(&self) -> u64 {
        self.kept.iter().map(|k| k.generation).max().unwrap_or(0).max(self.generation) + 1
    }

    /// The same with a new generation that serves; what has expired is no longer remembered.
    #[must_use]
    pub fn with(&self, new: Kept, now: i64) -> Self {
        let generation = new.generation;
        let old = self.kept.iter().filter(|k| k.expires_at > now && k.generation != generation).cloned();
        Self { generation, kept: std::iter::once(new).chain(old).take(KEPT).collect() }
    }

    /// The same, pointing to the generation before the one that serves.
    pub fn back(&self, now: i64) -> Result<Self, String> {
        let before = self.kept.iter().filter(|k| k.generation < self.generation).max_by_key(|k| k.generation);
        match before {
            Some(kept) if kept.expires_at > now => Ok(Self { generation: kept.generation, ..self.clone() }),
            Some(kept) => Err(format!("generation {} has expired: its lists are dropped", kept.generation)),
            None => Err(format!("there is no generation before {}", self.generation)),
        }
    }
}

/// How far a publish has come; the next one goes on from there when it publishes the same.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    pub generation: u64,
    pub fingerprint: String,
    /// So many lists, in the order in which they are made, are in the table.
    pub done: u64,
    pub finished: bool,
}

impl Progress {
    /// Returns the generation to write and the lists to pass over.
    pub fn resume(&self, pointer: &Pointer, fingerprint: &str) -> (u64, u64) {
        let unfinished = !self.finished && self.generation > pointer.generation;
        if unfinished && self.fingerprint == fingerprint {
            return (self.generation, self.done);
        }
        // The number of an abandoned generation is not used again: some of its lists lie in the table.
        (pointer.next_number().max(self.generation + 1), 0)
    }
}

/// What must be equal for two publishes to make the same lists in the same order with the same numbers.
pub fn fingerprint(model: &str, top: usize, numbers: &[Option<u32>], viewers: &[u32]) -> String {
    let mut sum = Sha256::new();
    sum.update(format!("{model}\0{top}\0{}\0", numbers.len()));
    numbers.iter().for_each(|n| sum.update(n.unwrap_or(u32::MAX).to_le_bytes()));
    viewers.iter().for_each(|v| sum.update(v.to_le_bytes()));
    sum.finalize()[..16].iter().fold(String::new(), |mut hex, byte| {
        use std::fmt::Write as _;
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

pub fn list_key(generation: u64, key: &str) -> String {
    format!("{generation}/{key}")
}

pub fn meta_key(generation: u64, piece: usize) -> String {
    format!("#meta/{generation}/{piece}")
}

/// Cuts what travels with the lists into items of at most `most` bytes each; the first byte pair of each says how many.
pub fn meta_items(generation: u64, meta: &Meta, most: usize) -> std::io::Result<Vec<Put>> {
    let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(&serde_json::to_vec(meta)?)?;
    let packed = packed.finish()?;
    let pieces: Vec<&[u8]> = packed.chunks(most.max(64)).collect();
    let count =
        u16::try_from(pieces.len()).map_err(|_| std::io::Error::other("the table of programmes is too large"))?;
    let item = |(at, piece): (usize, &&[u8])| Put {
        key: meta_key(generation, at),
        value: [&count.to_le_bytes(), *piece].concat(),
    };
    Ok(pieces.iter().enumerate().map(item).collect())
}

/// Tells how many items there are in all, from the first of them.
pub fn meta_pieces(first: &[u8]) -> Option<usize> {
    Some(usize::from(u16::from_le_bytes(first.get(..2)?.try_into().ok()?)))
}

/// Puts the items of `meta_items` together again.
pub fn meta(pieces: &[Vec<u8>]) -> Option<Meta> {
    let packed: Vec<u8> = pieces.iter().flat_map(|p| p.iter().skip(2).copied()).collect();
    let mut text = Vec::new();
    flate2::read::ZlibDecoder::new(&packed[..]).take(1 << 30).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Lists that are read back: each power of two, and some of the others by their key's hash.
#[derive(Debug, Default)]
pub struct Sample {
    seen: u64,
    pub held: Vec<Put>,
}

impl Sample {
    pub fn see(&mut self, put: &Put) {
        self.seen += 1;
        let taken = self.seen.is_power_of_two() || crc32fast::hash(put.key.as_bytes()).is_multiple_of(256);
        if !taken {
            return;
        }
        if self.held.len() < SAMPLE {
            self.held.push(put.clone());
        } else {
            // Later lists take the places of earlier ones, so that the end is looked at too.
            let place = (self.seen % SAMPLE as u64) as usize;
            self.held[place] = put.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::store::pack;

    fn kept(generation: u64, expires_at: i64) -> Kept {
        Kept { generation, expires_at, ..Kept::default() }
    }

    #[test]
    fn a_hundred_entries_fit_one_unit_with_names_and_all() {
        let list: Vec<_> = (0..100).map(|n| (u32::MAX - n, 1.0 - n as f32 / 100.0)).collect();
        // The longest id that fits: far longer than any id in use.
        for (viewer, units) in [("u42".to_owned(), 1.0), ("x".repeat(256), 1.0), ("x".repeat(500), 2.0)] {
            let put = Put { key: list_key(99_999, &viewer), value: pack(&list) };
            assert_eq!(put.units("k"), units, "{} bytes", put.bytes("k"));
        }
        let usual = Put { key: list_key(365, "7d8f0c1e-9d0a-4f4c-8a55-2f3b8f1f2a10"), value: pack(&list) };
        assert!(usual.bytes("k") <= 700, "{}", usual.bytes("k"));
    }

    #[test]
    fn a_switch_and_the_way_back() {
        let first = Pointer::default().with(kept(1, 100), 0);
        let second = first.with(kept(2, 200), 50);
        assert_eq!((second.generation, second.kept.len(), second.next_number()), (2, 2, 3));
        let back = second.back(50).expect("there is one");
        assert_eq!((back.generation, back.next_number()), (1, 3), "the newest number stays used");
        assert_eq!(back.back(50), Err("there is no generation before 1".to_owned()));
        assert_eq!(second.back(150), Err("generation 1 has expired: its lists are dropped".to_owned()));
        assert_eq!(second.with(kept(3, 300), 150).kept.len(), 2, "what expired is forgotten");
    }

    #[test]
    fn only_the_same_publish_goes_on_where_it_was_killed() {
        let pointer = Pointer::default().with(kept(4, 100), 0);
        let killed = Progress { generation: 5, fingerprint: "f".to_owned(), done: 75, finished: false };
        assert_eq!(killed.resume(&pointer, "f"), (5, 75));
        assert_eq!(killed.resume(&pointer, "other"), (6, 0));
        assert_eq!(Progress { finished: true, ..killed.clone() }.resume(&pointer, "f"), (6, 0));
        assert_eq!(Progress::default().resume(&Pointer::default(), "f"), (1, 0));
        let same = |numbers: &[Option<u32>], viewers: &[u32]| fingerprint("m", 20, numbers, viewers);
        assert_eq!(same(&[Some(1), None], &[0, 1]), same(&[Some(1), None], &[0, 1]));
        assert_ne!(same(&[Some(1), None], &[0, 1]), same(&[Some(2), None], &[0, 1]));
        assert_ne!(same(&[Some(1), None], &[0, 1]), same(&[Some(1), None], &[0]));
    }

    #[test]
    fn what_travels_with_the_lists_reads_back_in_pieces_of_any_size() {
        let table = (0..5000).map(|i| format!("programme-{}", i * 7919 % 5000)).collect();
        let whole = Meta { model: "m".to_owned(), lists: 9, table, popular: vec![(3, 0.5)], ..Meta::default() };
        for most in [64, 1000, 1 << 20] {
            let items = meta_items(7, &whole, most).expect("packed");
            assert_eq!(meta_pieces(&items[0].value), Some(items.len()));
            let pieces: Vec<Vec<u8>> = items.into_iter().map(|i| i.value).collect();
            assert_eq!(meta(&pieces), Some(whole.clone()), "{most}");
            assert_eq!(meta(&pieces[..pieces.len() - 1]), None);
        }
    }

    #[test]
    fn the_sample_reaches_from_the_first_to_the_last() {
        let mut sample = Sample::default();
        (0..300_000).for_each(|i| sample.see(&Put { key: format!("1/u{i}"), value: Vec::new() }));
        assert_eq!(sample.held.len(), SAMPLE);
        let latest = sample.held.iter().filter_map(|p| p.key.strip_prefix("1/u")?.parse::<u32>().ok()).max();
        assert!(latest.is_some_and(|l| l > 200_000), "{latest:?}");
    }
}
