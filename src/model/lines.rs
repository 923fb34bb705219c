//! A large text file in pieces of whole lines: parsed on all threads, handed over in order, never whole in memory.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rayon::prelude::*;

use super::csv_file::{lines_in, not_utf8};
use super::error::{ModelError, shown};
use crate::stop::Stop;

const PIECE: usize = 2 << 20;
const LONGEST_LINE: usize = 1 << 20;

/// What is wrong with a line of a piece.
#[derive(Debug)]
pub struct BadLine {
    /// Counted from 0 within the piece.
    pub line: u64,
    pub what: String,
    pub hint: String,
}

/// Parses the lines of `path` piece by piece and hands what `parse` made of each to `take`, in the order of the file.
///
/// The first line of the file belongs to the first piece, too; `parse` is told by its second argument.
pub fn each_piece<T: Send>(
    path: &Path,
    stop: &Stop,
    parse: impl Fn(&str, bool) -> Result<T, BadLine> + Sync,
    mut take: impl FnMut(T, u64) -> Result<(), ModelError>,
) -> Result<(), ModelError> {
    let mut file = File::open(path).map_err(ModelError::reading(path))?;
    let at_once = rayon::current_num_threads().max(1) * 2;
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    let mut rest = Vec::new();
    let (mut line, mut read, mut first, mut ended) = (1_u64, 0_u64, true, false);
    while !ended {
        if stop.requested() {
            return Err(ModelError::Stopped);
        }
        pieces.clear();
        while pieces.len() < at_once && !ended {
            let mut piece = std::mem::replace(&mut rest, Vec::with_capacity(PIECE / 8));
            let wanted = PIECE as u64;
            let got = (&mut file).take(wanted).read_to_end(&mut piece).map_err(ModelError::reading(path))?;
            ended = (got as u64) < wanted;
            if !ended {
                let end = piece.iter().rposition(|b| *b == b'\n').map_or(0, |p| p + 1);
                rest.extend_from_slice(&piece[end..]);
                piece.truncate(end);
            }
            if !piece.is_empty() {
                pieces.push(piece);
            }
            if rest.len() > LONGEST_LINE {
                break;
            }
        }
        let parsed: Vec<_> = pieces
            .par_iter()
            .enumerate()
            .map(|(i, bytes)| {
                let lines = lines_in(bytes);
                (lines, bytes.len() as u64, piece(bytes, first && i == 0, &parse))
            })
            .collect();
        for (lines, length, result) in parsed {
            read += length;
            match result {
                Ok(made) => take(made, read)?,
                Err(Bad::Line(bad)) => {
                    return Err(ModelError::Line {
                        path: path.to_owned(),
                        line: line + bad.line,
                        what: bad.what,
                        hint: bad.hint,
                    });
                }
                Err(Bad::Encoding { at, line: within, start }) => {
                    return Err(not_utf8(path, line + within, &start, at));
                }
            }
            line += lines;
            first = false;
        }
        if rest.len() > LONGEST_LINE {
            let what = format!("a line of more than 1 MiB, beginning {}", shown(&rest));
            let hint = "a row is a line of some hundred bytes: is this a CSV file?".to_owned();
            return Err(ModelError::Line { path: path.to_owned(), line, what, hint });
        }
    }
    Ok(())
}

enum Bad {
    Line(BadLine),
    Encoding { at: usize, line: u64, start: Vec<u8> },
}

fn piece<T>(bytes: &[u8], first: bool, parse: &(impl Fn(&str, bool) -> Result<T, BadLine> + Sync)) -> Result<T, Bad> {
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let at = e.valid_up_to();
        let line = lines_in(&bytes[..at]);
        // Of the first piece, its beginning tells UTF-16; of others, the byte is enough.
        if line == 0 && first {
            Bad::Encoding { at, line, start: bytes[..bytes.len().min(at + 4)].to_vec() }
        } else {
            Bad::Encoding { at: 0, line, start: bytes[at..bytes.len().min(at + 4)].to_vec() }
        }
    })?;
    if let Some((i, long)) = text.split('\n').enumerate().find(|(_, l)| l.len() > LONGEST_LINE) {
        let what = format!("a line of {} bytes, beginning {}", long.len(), shown(long.as_bytes()));
        let hint = "a row is a line of some hundred bytes: is this a CSV file?".to_owned();
        return Err(Bad::Line(BadLine { line: i as u64, what, hint }));
    }
    let text = if first { text.strip_prefix('\u{feff}').unwrap_or(text) } else { text };
    parse(text, first).map_err(Bad::Line)
}
