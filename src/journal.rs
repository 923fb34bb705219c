//! Append, sync and read back JSON records, one a line; a torn last line is dropped, never an error.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// An append-only file of records for what must survive a kill: synced before the act it announces.
#[derive(Debug)]
pub struct Journal(File);

impl Journal {
    /// Opens or creates the file; what a kill tore off in mid-line is cut away first.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let whole = text.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
        if whole < text.len() {
            file.set_len(whole as u64)?;
        }
        file.seek(SeekFrom::End(0))?;
        Ok(Self(file))
    }

    /// Appends one record and returns only when it is on the disk.
    pub fn append<T: Serialize>(&mut self, record: &T) -> io::Result<()> {
        let mut line = serde_json::to_vec(record).map_err(io::Error::other)?;
        line.push(b'\n');
        self.0.write_all(&line)?;
        self.0.sync_data()
    }
}

/// Returns every whole record of a journal, oldest first.
pub fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Vec<T>> {
    read_lines(BufReader::new(File::open(path)?))
}

/// Returns every whole record of a reader: a last line that is cut off is dropped, a bad line before it is an error.
pub fn read_lines<T: DeserializeOwned>(from: impl BufRead) -> io::Result<Vec<T>> {
    lines(from).collect()
}

/// Returns the whole records one by one, so that a long journal need not fit in memory.
pub fn lines<T: DeserializeOwned>(mut from: impl BufRead) -> impl Iterator<Item = io::Result<T>> {
    let mut line = Vec::new();
    let mut number = 0;
    std::iter::from_fn(move || {
        line.clear();
        number += 1;
        match from.read_until(b'\n', &mut line) {
            Ok(0) => None,
            // A compressed stream whose end was never written: what came before stands.
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => None,
            Err(e) => Some(Err(e)),
            Ok(_) if line.last() != Some(&b'\n') => None,
            Ok(_) => {
                let record = serde_json::from_slice(&line);
                Some(record.map_err(|e| io::Error::other(format!("line {number}: {e}"))))
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_last_line_is_cut_and_appending_goes_on() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("journal");
        std::fs::write(&path, "1\n2\n{\"to").expect("writes");
        Journal::open(&path).expect("opens").append(&3).expect("appends");
        assert_eq!(read::<u32>(&path).expect("reads"), [1, 2, 3]);
    }

    #[test]
    fn a_bad_line_in_the_middle_is_an_error_with_its_number() {
        let error = read_lines::<u32>(&b"1\nx\n3\n"[..]).expect_err("refused");
        assert!(error.to_string().starts_with("line 2"), "{error}");
    }
}
