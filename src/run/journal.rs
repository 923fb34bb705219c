//! The events of a run on disk, and back: gzip members, one a flush, so that a kill loses at most the last second.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::Path;

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::event::Event;
use super::folder::JOURNAL;

/// Appends events; each `append` is a whole gzip member, readable by `zcat` whenever the process dies.
#[derive(Debug)]
pub struct RunJournal(File);

impl RunJournal {
    pub fn create(folder: &Path) -> io::Result<Self> {
        File::create_new(folder.join(JOURNAL)).map(Self)
    }

    pub fn append(&mut self, events: &[Event]) -> io::Result<()> {
        let mut member = GzEncoder::new(Vec::new(), Compression::fast());
        for event in events {
            serde_json::to_writer(&mut member, event).map_err(io::Error::other)?;
            member.write_all(b"\n")?;
        }
        self.0.write_all(&member.finish()?)
    }
}

/// Returns the events of a run's folder, oldest first; what a kill tore off is left out.
pub fn read(folder: &Path) -> io::Result<Vec<Event>> {
    events(folder)?.collect()
}

/// Returns the same events one by one: an hour of ticks is gigabytes when held at once.
pub fn events(folder: &Path) -> io::Result<impl Iterator<Item = io::Result<Event>> + use<>> {
    let file = File::open(folder.join(JOURNAL))?;
    Ok(crate::journal::lines(BufReader::new(MultiGzDecoder::new(BufReader::new(file)))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_torn_at_any_byte_reads_back_its_whole_records() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut journal = RunJournal::create(dir.path()).expect("created");
        let events: Vec<_> = (0..4).map(|i| Event::said(format!("sentence {i}"))).collect();
        events.iter().for_each(|e| journal.append(std::slice::from_ref(e)).expect("appended"));
        let path = dir.path().join(JOURNAL);
        let whole = std::fs::read(&path).expect("bytes");
        assert_eq!(read(dir.path()).expect("whole"), events);
        for cut in 1..whole.len() {
            std::fs::write(&path, &whole[..cut]).expect("cut");
            let back = read(dir.path()).expect("still readable");
            assert!(events.starts_with(&back), "cut at {cut}");
        }
    }
}
