//! Lists on this disk: one immutable, checksummed file a generation, and a pointer to the one that serves.
//!
//! `PATH/gen-00000007.lists` holds records, then what travels with them, then an index, then a footer that says where
//! these lie. `PATH/current` names one file. Records carry a checksum of their own, for the disk that fails later.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::durable::{self, Draft};
use crate::lock::{Lock, LockError};
use crate::serve::error::ServeError;
use crate::serve::store::{ENTRY, List, Meta, Numbers, SIMILAR, encode};

const MAGIC: u64 = u64::from_le_bytes(*b"SERINLS1");
const FOOTER: usize = 64;
/// Bytes of a record before its key: checksum, key length, entries, lowest and highest score.
const HEAD: usize = 16;
/// One read takes a whole record of a hundred entries with a usual key.
const FIRST_READ: usize = 1024;
/// Up to this size a file is read whole before it serves; a larger one is checked record by record.
const WHOLE_CHECK: u64 = 2 << 30;
/// Generations kept for a roll back.
const KEPT: usize = 3;
/// The index keeps 40 bits of place and 24 bits of hash.
const PLACE_BITS: u32 = 40;
const PLACE: u64 = (1 << PLACE_BITS) - 1;
const LONGEST_KEY: usize = u16::MAX as usize;

/// One generation, open for reading.
#[derive(Debug)]
pub struct Generation {
    file: File,
    pub name: String,
    pub meta: Meta,
    index: Vec<u64>,
    records_end: u64,
}

/// Returns the name of the generation that serves, if any was published.
pub fn current(store: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(store.join("current")) {
        Ok(name) => Ok(Some(name.trim().to_owned())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Opens the generation that serves, checked.
pub fn open(store: &Path) -> Result<Generation, ServeError> {
    let name = current(store).map_err(ServeError::io(store.join("current")))?;
    let name = name.ok_or_else(|| ServeError::NothingPublished { path: store.to_owned() })?;
    Generation::open(store, &name)
}

/// Returns the newest generation before the one that should serve, of those that are whole: what is left of a store
/// that is damaged. Newer ones were rolled back from, or never switched to.
pub fn whole_before(store: &Path) -> Option<Generation> {
    let now = current(store).ok().flatten().filter(|name| number_of(name).is_some())?;
    let before = generations(store).ok()?.into_iter().rev().filter(|name| *name < now);
    before.into_iter().find_map(|name| Generation::open(store, &name).ok())
}

impl Generation {
    pub fn open(store: &Path, name: &str) -> Result<Self, ServeError> {
        let path = store.join(name);
        let damaged = |what: &str| ServeError::DamagedStore { path: path.clone(), what: what.to_owned() };
        if name.contains('/') || !name.starts_with("gen-") {
            return Err(damaged("the pointer names no generation"));
        }
        let file = File::open(&path).map_err(ServeError::io(&path))?;
        let length = file.metadata().map_err(ServeError::io(&path))?.len();
        let at = length.checked_sub(FOOTER as u64).ok_or_else(|| damaged("it was cut off"))?;
        let mut footer = [0; FOOTER];
        file.read_exact_at(&mut footer, at).map_err(ServeError::io(&path))?;
        let word = |i: usize| u64::from_le_bytes(footer[i * 8..i * 8 + 8].try_into().expect("eight bytes"));
        if word(0) != MAGIC || word(7) != u64::from(crc32fast::hash(&footer[..56])) {
            return Err(damaged("its end is missing or changed"));
        }
        let (meta_at, index_at, slots) = (word(1), word(2), word(3));
        let fits = slots.is_power_of_two() && meta_at <= index_at && slots.checked_mul(8) == at.checked_sub(index_at);
        if !fits {
            return Err(damaged("its parts do not add up"));
        }
        if length <= WHOLE_CHECK && u64::from(checksum(&file, at).map_err(ServeError::io(&path))?) != word(6) {
            return Err(damaged("its checksum does not fit"));
        }
        let part = |from: u64, to: u64, crc: u64, what: &str| {
            let mut bytes = vec![0; (to - from) as usize];
            file.read_exact_at(&mut bytes, from).map_err(ServeError::io(&path))?;
            let good = u64::from(crc32fast::hash(&bytes)) == crc;
            if good { Ok(bytes) } else { Err(damaged(what)) }
        };
        let meta = part(meta_at, index_at, word(4), "its table of programmes has changed")?;
        let meta = serde_json::from_slice(&meta).map_err(|e| damaged(&e.to_string()))?;
        let index = part(index_at, at, word(5), "its index has changed")?;
        let index = index.chunks_exact(8).map(|b| u64::from_le_bytes(b.try_into().expect("eight bytes"))).collect();
        Ok(Self { file, name: name.to_owned(), meta, index, records_end: meta_at })
    }

    pub fn number(&self) -> Option<u64> {
        number_of(&self.name)
    }

    /// Finds a viewer's list; `buffer` is reused from call to call. An error is a disk that fails or has changed.
    pub fn find<'b>(&self, viewer: &str, buffer: &'b mut Vec<u8>) -> io::Result<Option<List<'b>>> {
        let hash = hash(viewer);
        let mask = self.index.len() - 1;
        let mut slot = hash as usize & mask;
        for _ in 0..self.index.len() {
            let entry = self.index[slot];
            if entry == 0 {
                return Ok(None);
            }
            if entry >> PLACE_BITS == hash >> PLACE_BITS {
                let end = self.read((entry & PLACE) - 1, buffer)?;
                let keys = usize::from(u16::from_le_bytes([buffer[4], buffer[5]]));
                if &buffer[HEAD..HEAD + keys] == viewer.as_bytes() {
                    let score = |i: usize| f32::from_le_bytes(buffer[i..i + 4].try_into().expect("four bytes"));
                    return Ok(Some(List::new(score(8), score(12), &buffer[HEAD + keys..end])));
                }
            }
            slot = (slot + 1) & mask;
        }
        Ok(None)
    }

    /// Returns a few viewers who have a list, always the same ones: somebody to ask for.
    pub fn some_viewers(&self, most: usize) -> io::Result<Vec<String>> {
        let mut buffer = Vec::new();
        let key = |at| {
            self.read(at, &mut buffer)?;
            let keys = usize::from(u16::from_le_bytes([buffer[4], buffer[5]]));
            Ok(String::from_utf8_lossy(&buffer[HEAD..HEAD + keys]).into_owned())
        };
        let keys = self.index.iter().filter(|e| **e != 0).map(|e| (e & PLACE) - 1).map(key);
        keys.filter(|k| k.as_ref().map_or(true, |k| !k.starts_with(SIMILAR))).take(most).collect()
    }

    /// Reads the record at `at` and returns where it ends in `buffer`.
    fn read(&self, at: u64, buffer: &mut Vec<u8>) -> io::Result<usize> {
        let bad = || io::Error::new(io::ErrorKind::InvalidData, format!("{}: the list at {at} has changed", self.name));
        let left = self.records_end.checked_sub(at).ok_or_else(bad)? as usize;
        let first = left.min(FIRST_READ);
        if buffer.len() < first {
            buffer.resize(first, 0);
        }
        if first < HEAD {
            return Err(bad());
        }
        self.file.read_exact_at(&mut buffer[..first], at)?;
        let half = |i: usize| usize::from(u16::from_le_bytes([buffer[i], buffer[i + 1]]));
        let end = HEAD + half(4) + half(6) * ENTRY;
        if end > left {
            return Err(bad());
        }
        if end > first {
            buffer.resize(buffer.len().max(end), 0);
            self.file.read_exact_at(&mut buffer[first..end], at + first as u64)?;
        }
        let crc = u32::from_le_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]);
        if crc32fast::hash(&buffer[4..end]) == crc { Ok(end) } else { Err(bad()) }
    }
}

/// FNV-1a with a final mix: the same on every machine, as it lies in files.
fn hash(key: &str) -> u64 {
    let mut h = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    h = (h ^ (h >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    h = (h ^ (h >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    h ^ (h >> 33)
}

fn checksum(file: &File, to: u64) -> io::Result<u32> {
    let mut crc = crc32fast::Hasher::new();
    let mut block = vec![0; 1 << 20];
    let mut at = 0;
    while at < to {
        let size = (to - at).min(block.len() as u64) as usize;
        file.read_exact_at(&mut block[..size], at)?;
        crc.update(&block[..size]);
        at += size as u64;
    }
    Ok(crc.finalize())
}

/// Counts and sums what passes to the file.
struct Counted<W> {
    inner: W,
    at: u64,
    crc: crc32fast::Hasher,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.crc.update(&bytes[..written]);
        self.at += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A generation being written. Dropped before `finish`, it leaves nothing and the old one serves on.
pub struct Writer {
    store: PathBuf,
    name: String,
    before: Option<String>,
    draft: Draft,
    out: BufWriter<Counted<File>>,
    places: Vec<(u64, u64)>,
    at: u64,
    record: Vec<u8>,
    lists: u64,
    entries: u64,
    sample: Vec<(String, Vec<(u32, f32)>)>,
    pub numbers: Numbers,
    _lock: Lock,
}

impl Writer {
    /// Begins the next generation, with the numbers that items have already.
    pub fn begin(store: &Path) -> Result<Self, ServeError> {
        fs::create_dir_all(store).map_err(ServeError::io(store))?;
        let lock = Lock::take(&store.join("publish.lock"), &format!("a publish (process {})", std::process::id()));
        let lock = lock.map_err(|e| match e {
            LockError::Io { path, source } => ServeError::Io { path, source },
            held @ LockError::Held { .. } => ServeError::Setting(held.to_string()),
        })?;
        sweep_drafts(store).map_err(ServeError::io(store))?;
        let before = current(store).map_err(ServeError::io(store))?;
        let table = match &before {
            // Who publishes over a damaged store mends it: each generation has a table of its own.
            Some(name) => match Generation::open(store, name) {
                Ok(generation) => generation.meta.table,
                Err(_) => whole_before(store).map(|g| g.meta.table).unwrap_or_default(),
            },
            None => Vec::new(),
        };
        let newest = generations(store).map_err(ServeError::io(store))?.last().and_then(|n| number_of(n));
        let name = format!("gen-{:08}.lists", newest.unwrap_or(0) + 1);
        let draft = Draft::create(&store.join(&name)).map_err(ServeError::io(store.join(&name)))?;
        let file = draft.file().try_clone().map_err(ServeError::io(store.join(&name)))?;
        let counted = Counted { inner: file, at: 0, crc: crc32fast::Hasher::new() };
        Ok(Self {
            store: store.to_owned(),
            name,
            before,
            draft,
            out: BufWriter::with_capacity(1 << 20, counted),
            places: Vec::new(),
            at: 0,
            record: Vec::new(),
            lists: 0,
            entries: 0,
            sample: Vec::new(),
            numbers: Numbers::known(table),
            _lock: lock,
        })
    }

    /// Adds one viewer's list of `(number, score)`, best first.
    pub fn list(&mut self, viewer: &str, list: &[(u32, f32)]) -> io::Result<()> {
        let bad = |what: &str| Err(io::Error::new(io::ErrorKind::InvalidData, format!("viewer {viewer:.64}: {what}")));
        if viewer.is_empty() || viewer.len() > LONGEST_KEY || list.len() > usize::from(u16::MAX) {
            return bad("the id or the list is too long, or the id is empty");
        }
        if list.iter().any(|(_, score)| !score.is_finite()) {
            return bad("a score is not a number");
        }
        self.record.clear();
        self.record.resize(HEAD, 0);
        self.record.extend_from_slice(viewer.as_bytes());
        let (low, high) = encode(list, &mut self.record);
        self.record[4..6].copy_from_slice(&(viewer.len() as u16).to_le_bytes());
        self.record[6..8].copy_from_slice(&(list.len() as u16).to_le_bytes());
        self.record[8..12].copy_from_slice(&low.to_le_bytes());
        self.record[12..16].copy_from_slice(&high.to_le_bytes());
        let crc = crc32fast::hash(&self.record[4..]);
        self.record[..4].copy_from_slice(&crc.to_le_bytes());
        self.out.write_all(&self.record)?;
        // Each power of two: the sample stays small whatever the number of viewers, and reaches to the end.
        if self.places.len().is_power_of_two() {
            self.sample.push((viewer.to_owned(), list.to_vec()));
        }
        self.places.push((hash(viewer), self.at));
        self.at += self.record.len() as u64;
        if !viewer.starts_with(SIMILAR) {
            self.lists += 1;
            self.entries += list.len() as u64;
        }
        Ok(())
    }

    /// Words an error of writing: what failed, and what serves on.
    pub fn failed(&self, source: io::Error) -> ServeError {
        ServeError::Publish { path: self.store.join(&self.name), source, kept: self.kept() }
    }

    fn kept(&self) -> String {
        match &self.before {
            Some(name) => format!("{name} serves on"),
            None => "nothing was published before, and nothing is now".to_owned(),
        }
    }

    /// Writes the rest, checks the whole file, reads a sample back, and only then moves the pointer.
    pub fn finish(self, meta: Meta) -> Result<Published, ServeError> {
        self.finish_after(meta, |_, _| Ok(()))
    }

    /// The same, with something to do when the file is whole and checked, and before the pointer moves.
    pub fn finish_after(
        self,
        mut meta: Meta,
        first: impl FnOnce(&Path, &Generation) -> Result<(), ServeError>,
    ) -> Result<Published, ServeError> {
        let path = self.store.join(&self.name);
        let kept = self.kept();
        let failed = |source| ServeError::Publish { path: path.clone(), source, kept: kept.clone() };
        let (sample, written) = (self.sample.clone(), self.places.len());
        let (store, name) = (self.store.clone(), self.name.clone());
        meta.lists = self.lists;
        meta.entries = self.entries;
        let bytes = self.seal(meta).map_err(failed)?;
        let checked = Generation::open(&store, &name).map_err(|e| failed(io::Error::other(e.to_string())))?;
        verify(&checked, written, &sample).map_err(|e| {
            let _ = fs::remove_file(&path);
            failed(e)
        })?;
        first(&path, &checked).inspect_err(|_| {
            let _ = fs::remove_file(&path);
        })?;
        durable::write(&store.join("current"), name.as_bytes()).map_err(failed)?;
        let removed = sweep_old(&store, &name).map_err(ServeError::io(&store))?;
        let Meta { lists, entries, .. } = checked.meta;
        Ok(Published { generation: name, lists, entries, bytes, removed, read_back: sample.len() })
    }

    fn seal(mut self, mut meta: Meta) -> io::Result<u64> {
        meta.table = self.numbers.into_table();
        let meta = serde_json::to_vec(&meta)?;
        let index = index_of(&self.places)?;
        self.out.write_all(&meta)?;
        self.out.write_all(&index)?;
        self.out.flush()?;
        let counted = self.out.get_ref();
        let slots = index.len() as u64 / 8;
        let crcs = [crc32fast::hash(&meta), crc32fast::hash(&index), counted.crc.clone().finalize()].map(u64::from);
        let words = [MAGIC, self.at, self.at + meta.len() as u64, slots, crcs[0], crcs[1], crcs[2]];
        let mut footer: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        footer.extend_from_slice(&u64::from(crc32fast::hash(&footer)).to_le_bytes());
        let bytes = counted.at + footer.len() as u64;
        self.out.write_all(&footer)?;
        self.out.flush()?;
        self.draft.commit()?;
        Ok(bytes)
    }
}

/// Open addressing at most two thirds full: a slot holds the hash's upper bits and the place plus one.
fn index_of(places: &[(u64, u64)]) -> io::Result<Vec<u8>> {
    let slots = (places.len() * 3 / 2 + 1).next_power_of_two();
    let mut index = vec![0_u64; slots];
    for &(hash, at) in places {
        if at >= PLACE {
            return Err(io::Error::other("the lists are over one terabyte"));
        }
        let mut slot = hash as usize & (slots - 1);
        while index[slot] != 0 {
            slot = (slot + 1) & (slots - 1);
        }
        index[slot] = (hash >> PLACE_BITS) << PLACE_BITS | (at + 1);
    }
    Ok(index.iter().flat_map(|w| w.to_le_bytes()).collect())
}

/// Counts what can be found, and reads a sample back.
fn verify(generation: &Generation, written: usize, sample: &[(String, Vec<(u32, f32)>)]) -> io::Result<()> {
    let found = generation.index.iter().filter(|slot| **slot != 0).count();
    if found != written {
        return Err(io::Error::other(format!("{written} lists were written and {found} can be found")));
    }
    let mut buffer = Vec::new();
    for (viewer, list) in sample {
        let found = generation.find(viewer, &mut buffer)?;
        let same = found.is_some_and(|found| found.iter().map(|e| e.0).eq(list.iter().map(|e| e.0)));
        if !same {
            return Err(io::Error::other(format!("the list of viewer {viewer} reads back as another one")));
        }
    }
    Ok(())
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    pub generation: String,
    pub lists: u64,
    pub entries: u64,
    pub bytes: u64,
    /// Old generations that went.
    pub removed: usize,
    /// Lists that were read back and compared, after all of them were counted.
    pub read_back: usize,
}

/// Points back to the generation before the one that serves; returns both names, old and new.
pub fn roll_back(store: &Path) -> Result<(String, String), ServeError> {
    let now = current(store).map_err(ServeError::io(store))?;
    let now = now.ok_or_else(|| ServeError::NothingPublished { path: store.to_owned() })?;
    let all = generations(store).map_err(ServeError::io(store))?;
    let before = all.iter().rev().find(|n| **n < now);
    let before = before.ok_or_else(|| ServeError::Setting(format!("there is no generation before {now}")))?;
    Generation::open(store, before)?;
    durable::write(&store.join("current"), before.as_bytes()).map_err(ServeError::io(store))?;
    Ok((now, before.clone()))
}

fn number_of(name: &str) -> Option<u64> {
    name.strip_prefix("gen-")?.strip_suffix(".lists")?.parse().ok()
}

/// Names of all generations, oldest first.
fn generations(store: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(store)? {
        names.extend(entry?.file_name().into_string().ok().filter(|n| number_of(n).is_some()));
    }
    names.sort();
    Ok(names)
}

fn sweep_old(store: &Path, current: &str) -> io::Result<usize> {
    let all = generations(store)?;
    let old = all.len().saturating_sub(KEPT);
    let mut removed = 0;
    for name in all.iter().take(old).filter(|n| *n != current) {
        fs::remove_file(store.join(name))?;
        removed += 1;
    }
    Ok(removed)
}

/// Removes what a killed publish left; the lock says that nobody writes now.
fn sweep_drafts(store: &Path) -> io::Result<()> {
    for entry in fs::read_dir(store)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(".gen-") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(store: &Path, viewers: &[(&str, &[(&str, f32)])]) -> Published {
        let mut writer = Writer::begin(store).expect("begins");
        for (viewer, list) in viewers {
            let list: Vec<_> = list.iter().map(|(item, score)| (writer.numbers.number(item), *score)).collect();
            writer.list(viewer, &list).expect("written");
        }
        writer.finish(Meta { model: "m".to_owned(), ..Meta::default() }).expect("published")
    }

    fn items(generation: &Generation, viewer: &str) -> Option<Vec<String>> {
        let mut buffer = Vec::new();
        let list = generation.find(viewer, &mut buffer).expect("reads")?;
        Some(list.iter().map(|(n, _)| generation.meta.table[n as usize].clone()).collect())
    }

    #[test]
    fn every_viewer_is_found_and_nobody_else() {
        let dir = tempfile::tempdir().expect("a folder");
        let names: Vec<String> = (0..5000).map(|i| format!("viewer-{i}")).collect();
        let mut writer = Writer::begin(dir.path()).expect("begins");
        for (i, name) in names.iter().enumerate() {
            // Lists from none to more than one read takes.
            let list: Vec<_> = (0..(i % 400) as u32).map(|n| (n + i as u32, 1.0 - n as f32 / 400.0)).collect();
            writer.list(name, &list).expect("written");
        }
        let published = writer.finish(Meta::default()).expect("published");
        assert_eq!(published.lists, 5000);
        let generation = open(dir.path()).expect("opens");
        let mut buffer = Vec::new();
        for (i, name) in names.iter().enumerate() {
            let list = generation.find(name, &mut buffer).expect("reads").expect("there");
            assert!(list.iter().map(|e| e.0).eq((0..(i % 400) as u32).map(|n| n + i as u32)), "{name}");
        }
        assert!(generation.find("viewer-5000", &mut buffer).expect("reads").is_none());
    }

    #[test]
    fn a_new_generation_keeps_numbers_and_a_roll_back_is_one_pointer() {
        let dir = tempfile::tempdir().expect("a folder");
        publish(dir.path(), &[("u", &[("a", 0.9), ("b", 0.5)])]);
        let first = open(dir.path()).expect("opens");
        publish(dir.path(), &[("u", &[("c", 0.9), ("b", 0.5)])]);
        let second = open(dir.path()).expect("opens");
        assert_eq!(second.meta.table, ["a", "b", "c"]);
        assert_eq!(items(&first, "u"), Some(vec!["a".to_owned(), "b".to_owned()]), "the open one reads on");
        assert_eq!(items(&second, "u"), Some(vec!["c".to_owned(), "b".to_owned()]));
        roll_back(dir.path()).expect("rolled back");
        assert_eq!(items(&open(dir.path()).expect("opens"), "u"), items(&first, "u"));
        assert!(roll_back(dir.path()).is_err(), "there is nothing before the first");
        for _ in 0..4 {
            publish(dir.path(), &[("u", &[("d", 1.0)])]);
        }
        assert_eq!(generations(dir.path()).expect("listed").len(), KEPT);
    }

    #[test]
    fn any_flipped_byte_and_any_cut_is_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        let published = publish(dir.path(), &[("u", &[("a", 0.9), ("b", 0.5)]), ("v", &[("b", 0.1)])]);
        let path = dir.path().join(&published.generation);
        let good = fs::read(&path).expect("bytes");
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, bad).expect("written");
            let error = open(dir.path()).expect_err("refused").to_string();
            assert!(error.contains("is damaged"), "byte {at}: {error}");
            fs::write(&path, &good[..at]).expect("written");
            assert!(open(dir.path()).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_disk_that_fails_later_is_an_error_and_not_another_list() {
        let dir = tempfile::tempdir().expect("a folder");
        let published = publish(dir.path(), &[("u", &[("a", 0.9), ("b", 0.5)])]);
        let path = dir.path().join(&published.generation);
        let open = open(dir.path()).expect("opens");
        let mut bytes = fs::read(&path).expect("bytes");
        bytes[HEAD + 2] ^= 1;
        fs::write(&path, &bytes).expect("written");
        assert!(open.find("u", &mut Vec::new()).is_err());
        fs::write(&path, b"").expect("written");
        assert!(open.find("u", &mut Vec::new()).is_err());
    }

    #[test]
    fn an_abandoned_publish_leaves_the_old_one_serving() {
        let dir = tempfile::tempdir().expect("a folder");
        publish(dir.path(), &[("u", &[("a", 0.9)])]);
        let mut writer = Writer::begin(dir.path()).expect("begins");
        writer.list("u", &[(7, 0.1)]).expect("written");
        assert!(Writer::begin(dir.path()).is_err_and(|e| e.to_string().contains("a publish")), "one writer at a time");
        drop(writer);
        assert_eq!(items(&open(dir.path()).expect("opens"), "u"), Some(vec!["a".to_owned()]));
        assert_eq!(generations(dir.path()).expect("listed").len(), 1);
    }
}
