//! Answers whose places were partly left to chance, noted with their chances: what off-policy evaluation needs.
//!
//! `exposures-2026-11-25.jsonl` holds one answer a line, `{"at": .., "answer": {..}}`. Noting never waits: what the disk
//! cannot keep up with is dropped and counted.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use bytes::Bytes;

/// Answers on their way to the disk.
const WAITING: usize = 10_000;

pub struct Exposures {
    hand: SyncSender<(i64, Bytes)>,
    lost: Arc<AtomicU64>,
}

impl Exposures {
    /// Starts the thread that writes below `folder`; no file is made until something is noted.
    pub fn open(folder: PathBuf) -> std::io::Result<Self> {
        let (hand, notes) = sync_channel::<(i64, Bytes)>(WAITING);
        let lost = Arc::new(AtomicU64::new(0));
        let missed = Arc::clone(&lost);
        thread::Builder::new().name("exposures".to_owned()).spawn(move || {
            let mut open: Option<(PathBuf, File)> = None;
            while let Ok((at, answer)) = notes.recv() {
                let path = folder.join(format!("exposures-{}.jsonl", day(at)));
                if open.as_ref().is_none_or(|(is, _)| *is != path) {
                    open = OpenOptions::new().create(true).append(true).open(&path).ok().map(|file| (path, file));
                }
                let line = [format!("{{\"at\":{at},\"answer\":").as_bytes(), &answer, b"}\n"].concat();
                if open.as_mut().is_none_or(|(_, file)| file.write_all(&line).is_err()) {
                    missed.fetch_add(1, Relaxed);
                }
            }
        })?;
        Ok(Self { hand, lost })
    }

    /// Notes an answer.
    pub fn note(&self, at: i64, answer: &Bytes) {
        if self.hand.try_send((at, answer.clone())).is_err() {
            self.lost.fetch_add(1, Relaxed);
        }
    }

    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }
}

fn day(at: i64) -> String {
    jiff::Timestamp::from_second(at).map_or_else(|_| "unknown".to_owned(), |t| t.strftime("%Y-%m-%d").to_string())
}
