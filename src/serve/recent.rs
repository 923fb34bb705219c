//! What viewers watched and who withdrew since the lists were made: held in memory, kept in a folder that replicas share.
//!
//! `viewings-2026-11-24.jsonl` holds one viewing a line, a file a day; `forgotten.csv` holds who took consent back.
//! Every replica appends, and reads what the others appended; a line told twice changes nothing.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError, RwLock};

use serde::{Deserialize, Serialize};

const SHARDS: usize = 64;
/// Viewers held in a shard; beyond it one with viewings gives way, one who withdrew never does.
const MOST_VIEWERS: usize = 1 << 14;
/// Viewings held of one viewer: the newest.
const MOST_VIEWINGS: usize = 100;
const DAY: i64 = 86_400;
/// Days of viewings that are read back and kept; a model older than that is another incident.
const KEPT_DAYS: i64 = 7;
const HEAD: &str = "USER_ID,AT\n";

/// One viewing that came in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Viewing {
    pub user: String,
    pub item: String,
    /// Completion, 0 to 1.
    pub value: f32,
    /// Unix seconds at which it was received.
    pub at: i64,
}

/// What is known of one viewer beyond the lists.
#[derive(Debug, Default)]
pub struct Past {
    pub forgotten: bool,
    /// Item, completion and when, oldest first.
    pub viewings: Vec<(Box<str>, f32, i64)>,
    /// Factors with these viewings folded in, for one model; made when they are asked for.
    pub folded: Option<(String, Vec<f32>)>,
}

/// All of it; reading is a lock of one shard, and nothing at all while nobody did anything.
pub struct Recent {
    shards: Vec<RwLock<HashMap<Box<str>, Past>>>,
    held: AtomicUsize,
    folder: Option<PathBuf>,
    files: Mutex<Files>,
}

/// How far each file was read, and the handles that are appended to.
#[derive(Default)]
struct Files {
    read: HashMap<PathBuf, u64>,
    append: Option<(PathBuf, File)>,
}

/// Returns where the withdrawals of a folder lie.
pub fn withdrawals(folder: &Path) -> PathBuf {
    folder.join("forgotten.csv")
}

impl Past {
    fn see(&mut self, viewing: &Viewing) {
        if self.forgotten {
            return;
        }
        self.folded = None;
        match self.viewings.iter_mut().find(|v| *v.0 == *viewing.item) {
            Some(known) => (known.1, known.2) = (known.1.max(viewing.value), known.2.max(viewing.at)),
            None => self.viewings.push((viewing.item.as_str().into(), viewing.value, viewing.at)),
        }
        if self.viewings.len() > MOST_VIEWINGS {
            self.viewings.remove(0);
        }
    }
}

impl Recent {
    /// Without a folder everything is held in memory only.
    pub fn new(folder: Option<PathBuf>) -> Self {
        let shards = (0..SHARDS).map(|_| RwLock::default()).collect();
        Self { shards, held: AtomicUsize::new(0), folder, files: Mutex::default() }
    }

    /// Reads what the folder holds and is newer than `since`, Unix seconds.
    pub fn open(folder: PathBuf, since: i64, now: i64) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        let recent = Self::new(Some(folder));
        let days = (since / DAY).max(now / DAY - KEPT_DAYS)..=now / DAY;
        recent.read_days(days)?;
        recent.prune(since);
        Ok(recent)
    }

    /// Looks at one viewer's past; `None` where there is none.
    pub fn of<R>(&self, viewer: &str, look: impl FnOnce(&mut Past) -> R) -> Option<R> {
        if self.held.load(Relaxed) == 0 {
            return None;
        }
        let shard = self.shard(viewer);
        if !shard.read().unwrap_or_else(PoisonError::into_inner).contains_key(viewer) {
            return None;
        }
        shard.write().unwrap_or_else(PoisonError::into_inner).get_mut(viewer).map(look)
    }

    /// Takes viewings in, here and for the replicas; they hold here even when the folder fails.
    pub fn see(&self, viewings: &[Viewing], now: i64) -> io::Result<()> {
        let mut lines = Vec::new();
        for viewing in viewings {
            self.take(viewing);
            // What a kill tore off ends with the next line's own beginning.
            lines.push(b'\n');
            serde_json::to_writer(&mut lines, viewing)?;
            lines.push(b'\n');
        }
        let Some(folder) = &self.folder else { return Ok(()) };
        let path = day_file(folder, now / DAY);
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if files.append.as_ref().is_none_or(|(open, _)| *open != path) {
            let file = OpenOptions::new().create(true).append(true).open(&path)?;
            files.append = Some((path, file));
            sweep(folder, now / DAY)?;
        }
        match &mut files.append {
            Some((_, file)) => file.write_all(&lines),
            None => Ok(()),
        }
    }

    /// Takes a withdrawal in; returns when it is on the disk, as nobody may lose it.
    pub fn forget(&self, viewer: &str, now: i64) -> io::Result<()> {
        self.hold_back(viewer);
        let Some(folder) = &self.folder else { return Ok(()) };
        let _one_at_a_time = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = OpenOptions::new().create(true).append(true).open(withdrawals(folder))?;
        let mut row = if file.metadata()?.len() == 0 { HEAD.to_owned() } else { String::new() };
        row.push_str(&format!("\"{}\",{now}\n", viewer.replace('"', "\"\"")));
        file.write_all(row.as_bytes())?;
        file.sync_all()
    }

    /// Reads what other replicas appended since the last call.
    pub fn catch_up(&self, now: i64) -> io::Result<()> {
        self.read_days(now / DAY - 1..=now / DAY)
    }

    /// Drops viewings that a newer model was trained on, and factors of models before it.
    pub fn prune(&self, until: i64) {
        for shard in &self.shards {
            let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
            let before = shard.len();
            shard.retain(|_, past| {
                past.folded = None;
                past.viewings.retain(|v| v.2 > until);
                past.forgotten || !past.viewings.is_empty()
            });
            self.held.fetch_sub(before - shard.len(), Relaxed);
        }
    }

    fn read_days(&self, days: std::ops::RangeInclusive<i64>) -> io::Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        // Withdrawals first: no viewing of theirs is taken in.
        let piece = files.piece(&withdrawals(folder))?;
        let rows = piece.strip_prefix(HEAD.as_bytes()).unwrap_or(&piece);
        let mut rows = csv::ReaderBuilder::new().flexible(true).has_headers(false).from_reader(rows);
        for row in rows.records().flatten() {
            row.get(0).filter(|viewer| !viewer.is_empty()).into_iter().for_each(|viewer| self.hold_back(viewer));
        }
        for day in days {
            let piece = files.piece(&day_file(folder, day))?;
            for line in piece.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
                if let Ok(viewing) = serde_json::from_slice::<Viewing>(line) {
                    self.take(&viewing);
                }
            }
        }
        Ok(())
    }

    fn take(&self, viewing: &Viewing) {
        let mut shard = self.shard(&viewing.user).write().unwrap_or_else(PoisonError::into_inner);
        if !shard.contains_key(viewing.user.as_str()) {
            if shard.len() >= MOST_VIEWERS {
                let gives_way = shard.iter().find(|(_, past)| !past.forgotten).map(|(viewer, _)| viewer.clone());
                if let Some(viewer) = gives_way {
                    shard.remove(&viewer);
                    self.held.fetch_sub(1, Relaxed);
                }
            }
            self.held.fetch_add(1, Relaxed);
        }
        shard.entry(viewing.user.as_str().into()).or_default().see(viewing);
    }

    fn hold_back(&self, viewer: &str) {
        let mut shard = self.shard(viewer).write().unwrap_or_else(PoisonError::into_inner);
        let gone = Past { forgotten: true, ..Past::default() };
        if shard.insert(viewer.into(), gone).is_none() {
            self.held.fetch_add(1, Relaxed);
        }
    }

    fn shard(&self, viewer: &str) -> &RwLock<HashMap<Box<str>, Past>> {
        &self.shards[crc32fast::hash(viewer.as_bytes()) as usize % SHARDS]
    }
}

impl Files {
    /// Returns the whole lines that a file has beyond what was read.
    fn piece(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        let length = match fs::metadata(path) {
            Ok(meta) => meta.len(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e),
        };
        let read = self.read.entry(path.to_owned()).or_default();
        if length <= *read {
            // A file that shrank was made anew.
            *read = (*read).min(length);
            return Ok(Vec::new());
        }
        let mut piece = vec![0; (length - *read) as usize];
        File::open(path)?.read_exact_at(&mut piece, *read)?;
        piece.truncate(piece.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1));
        *read += piece.len() as u64;
        Ok(piece)
    }
}

fn day_file(folder: &Path, day: i64) -> PathBuf {
    let date = jiff::Timestamp::from_second(day * DAY)
        .map_or_else(|_| "unknown".to_owned(), |t| t.strftime("%Y-%m-%d").to_string());
    folder.join(format!("viewings-{date}.jsonl"))
}

fn sweep(folder: &Path, today: i64) -> io::Result<()> {
    let oldest = day_file(folder, today - KEPT_DAYS);
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        // Dates of this form sort as time does.
        if name.starts_with("viewings-") && path < oldest {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn viewing(user: &str, item: &str, value: f32, at: i64) -> Viewing {
        Viewing { user: user.to_owned(), item: item.to_owned(), value, at }
    }

    fn seen(recent: &Recent, user: &str) -> Option<Vec<String>> {
        recent.of(user, |past| past.viewings.iter().map(|v| v.0.to_string()).collect())
    }

    #[test]
    fn a_replica_reads_what_another_wrote_and_twice_is_once() {
        let dir = tempfile::tempdir().expect("a folder");
        let open = || Recent::open(dir.path().to_owned(), 0, NOW).expect("opens");
        let (one, other) = (open(), open());
        one.see(&[viewing("me", "a", 0.5, NOW), viewing("me", "b", 1.0, NOW)], NOW).expect("kept");
        one.see(&[viewing("me", "a", 0.9, NOW)], NOW).expect("kept");
        assert_eq!(seen(&other, "me"), None);
        for recent in [&one, &other, &one] {
            recent.catch_up(NOW).expect("reads");
        }
        for recent in [&one, &other, &open()] {
            assert_eq!(seen(recent, "me"), Some(vec!["a".to_owned(), "b".to_owned()]));
            assert_eq!(recent.of("me", |past| past.viewings[0].1), Some(0.9));
            assert_eq!(seen(recent, "you"), None);
        }
    }

    #[test]
    fn who_withdrew_is_held_back_everywhere_and_for_good() {
        let dir = tempfile::tempdir().expect("a folder");
        let open = || Recent::open(dir.path().to_owned(), 0, NOW).expect("opens");
        let (one, other) = (open(), open());
        let odd = "me, \"myself\"";
        one.see(&[viewing(odd, "a", 0.5, NOW)], NOW).expect("kept");
        one.forget(odd, NOW).expect("kept");
        one.see(&[viewing(odd, "b", 0.5, NOW)], NOW).expect("kept");
        other.catch_up(NOW).expect("reads");
        for recent in [one, other, open()] {
            recent.prune(NOW + 1);
            assert_eq!(recent.of(odd, |past| (past.forgotten, past.viewings.len())), Some((true, 0)));
        }
        let mut consent = crate::model::consent::Consent::default();
        assert_eq!(consent.withdraw(&withdrawals(dir.path())).expect("reads"), 1);
        assert_eq!(consent.of(odd), crate::model::consent::Answer::No);
    }

    #[test]
    fn a_newer_model_takes_the_place_of_what_it_was_trained_on() {
        let recent = Recent::new(None);
        recent.see(&[viewing("me", "a", 1.0, NOW), viewing("me", "b", 1.0, NOW + 9)], NOW).expect("held");
        recent.prune(NOW + 5);
        assert_eq!(seen(&recent, "me"), Some(vec!["b".to_owned()]));
        recent.prune(NOW + 9);
        assert_eq!(seen(&recent, "me"), None);
    }

    #[test]
    fn a_torn_line_costs_that_line_only_and_old_days_go() {
        let dir = tempfile::tempdir().expect("a folder");
        let day = NOW / DAY;
        fs::write(day_file(dir.path(), day), "{\"user\":\"torn\",\"it").expect("written");
        for back in [KEPT_DAYS, KEPT_DAYS + 1] {
            fs::write(day_file(dir.path(), day - back), "").expect("written");
        }
        let recent = Recent::open(dir.path().to_owned(), 0, NOW).expect("opens");
        recent.see(&[viewing("me", "a", 1.0, NOW)], NOW).expect("kept");
        let again = Recent::open(dir.path().to_owned(), 0, NOW).expect("opens");
        assert_eq!((seen(&again, "me"), seen(&again, "torn")), (Some(vec!["a".to_owned()]), None));
        assert!(!day_file(dir.path(), day - KEPT_DAYS - 1).exists() && day_file(dir.path(), day - KEPT_DAYS).exists());
    }

    #[test]
    fn memory_is_bounded() {
        let recent = Recent::new(None);
        recent.forget("gone", NOW).expect("held");
        for i in 0..MOST_VIEWINGS * 2 {
            recent.take(&viewing("me", &format!("p{i}"), 1.0, NOW));
        }
        assert_eq!(seen(&recent, "me").map(|v| v.len()), Some(MOST_VIEWINGS));
    }
}
