//! A log, line by line: bounded, unpacked when gzipped, and whatever is no request counted by kind.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::line::{Format, Line, Spoiled};

const LONGEST: usize = 64 << 10;
/// So many lines are looked at to tell which layout a log has.
const SAMPLE: usize = 20;

/// What became of the lines.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    pub lines: u64,
    pub requests: u64,
    pub spoiled: BTreeMap<Spoiled, u64>,
}

/// Opens a log, gzipped or not.
pub fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    let mut file = BufReader::with_capacity(1 << 16, File::open(path)?);
    if file.fill_buf()?.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(file))));
    }
    Ok(Box::new(file))
}

/// Returns the layout in which most of the first lines can be read; `None` where none can.
pub fn guess(path: &Path) -> io::Result<Option<Format>> {
    let mut sample = Vec::new();
    let mut from = open(path)?.take((LONGEST * SAMPLE) as u64);
    let mut buffer = Vec::new();
    while sample.len() < SAMPLE && next(&mut from, &mut buffer)? != Next::End {
        sample.push(String::from_utf8_lossy(&buffer).into_owned());
    }
    let good = |f: Format| sample.iter().filter(|l| matches!(f.parse(l), Ok(_) | Err(Spoiled::NoBody))).count();
    let best = Format::ALL.map(|(_, f)| (good(f), f)).into_iter().max_by_key(|(n, _)| *n);
    Ok(best.filter(|(n, _)| *n > 0).map(|(_, f)| f))
}

/// Hands on each request of a log, in the order of its lines; the error of `take` ends the reading.
pub fn each<E: From<io::Error>>(
    mut from: impl BufRead,
    format: Format,
    mut take: impl FnMut(Line<'_>) -> Result<(), E>,
) -> Result<Counts, E> {
    let mut counts = Counts::default();
    let mut buffer = Vec::new();
    loop {
        let seen = match next(&mut from, &mut buffer) {
            Ok(Next::End) => return Ok(counts),
            Ok(Next::TooLong) => Err(Spoiled::TooLong),
            Ok(Next::Line) if buffer.iter().all(u8::is_ascii_whitespace) => continue,
            Ok(Next::Line) => std::str::from_utf8(&buffer).map_err(|_| Spoiled::NotText).and_then(|l| format.parse(l)),
            // A gzip stream that ends too early: what came before stands.
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                counts.lines += 1;
                *counts.spoiled.entry(Spoiled::Cut).or_default() += 1;
                return Ok(counts);
            }
            Err(e) => return Err(e.into()),
        };
        counts.lines += 1;
        match seen {
            Ok(line) => {
                counts.requests += 1;
                take(line)?;
            }
            Err(why) => *counts.spoiled.entry(why).or_default() += 1,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Line,
    TooLong,
    End,
}

/// Reads one line without its end; of one that is too long, only that it was.
fn next(from: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Next> {
    line.clear();
    let mut seen = 0;
    loop {
        let chunk = from.fill_buf()?;
        if chunk.is_empty() {
            return Ok(if seen == 0 { Next::End } else { end(line, seen) });
        }
        let newline = chunk.iter().position(|b| *b == b'\n');
        let taken = newline.unwrap_or(chunk.len());
        let room = LONGEST.saturating_sub(line.len()).min(taken);
        line.extend_from_slice(&chunk[..room]);
        seen += taken + usize::from(newline.is_some());
        from.consume(taken + usize::from(newline.is_some()));
        if newline.is_some() {
            return Ok(end(line, seen - 1));
        }
    }
}

fn end(line: &mut Vec<u8>, seen: usize) -> Next {
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    if seen > LONGEST { Next::TooLong } else { Next::Line }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> (Counts, Vec<String>) {
        let mut paths = Vec::new();
        let counts = each::<io::Error>(bytes, Format::Jsonl, |line| {
            paths.push(line.path.into_owned());
            Ok(())
        });
        (counts.expect("read"), paths)
    }

    #[test]
    fn lines_are_counted_by_what_became_of_them() {
        let mut log = b"{\"t\": 1, \"path\": \"/a\"}\r\n\n{\"t\": 2, \"pa\n\xff\xfe\n".to_vec();
        log.extend(vec![b'x'; LONGEST + 1]);
        log.extend(b"\n{\"t\": 3, \"path\": \"/b\"}");
        let (counts, paths) = read(&log);
        assert_eq!(paths, ["/a", "/b"]);
        assert_eq!((counts.lines, counts.requests), (5, 2));
        let spoiled: Vec<_> = counts.spoiled.into_iter().collect();
        assert_eq!(spoiled, [(Spoiled::Cut, 1), (Spoiled::TooLong, 1), (Spoiled::NotText, 1)]);
    }

    #[test]
    fn gzipped_logs_are_read_also_when_torn() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("log.gz");
        let mut pack = GzEncoder::new(Vec::new(), Compression::fast());
        (0..2000).for_each(|i| writeln!(pack, "{{\"t\": {i}, \"path\": \"/{i}\"}}").expect("packed"));
        let whole = pack.finish().expect("packed");
        for (cut, least) in [(whole.len(), 2000), (whole.len() / 2, 200)] {
            std::fs::write(&path, &whole[..cut]).expect("written");
            assert_eq!(guess(&path).expect("opened"), Some(Format::Jsonl));
            let mut seen = 0;
            let counts = each::<io::Error>(open(&path).expect("opened"), Format::Jsonl, |_| {
                seen += 1;
                Ok(())
            });
            let counts = counts.expect("read");
            assert!(seen >= least && counts.requests == seen, "{seen}");
            assert_eq!(counts.spoiled.len(), usize::from(cut < whole.len()));
        }
    }

    #[test]
    fn the_layout_is_told_by_its_first_lines() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("log");
        let combined = "junk\n1.1.1.1 - - [10/Oct/2025:13:55:36 -0700] \"POST / HTTP/1.1\" 200 5 \"-\" \"-\"\n";
        for (text, expected) in [(combined, Some(Format::Combined)), ("hello\nworld\n", None), ("", None)] {
            std::fs::write(&path, text).expect("written");
            assert_eq!(guess(&path).expect("opened"), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_counted_whole(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let (counts, paths) = read(&bytes);
            prop_assert_eq!(counts.requests, paths.len() as u64);
            prop_assert_eq!(counts.lines, counts.requests + counts.spoiled.values().sum::<u64>());
        }
    }
}
