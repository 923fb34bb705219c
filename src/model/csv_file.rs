//! A small CSV file (items, users, held-out rows), read whole through the `csv` crate with errors that name file and line.

use std::path::{Path, PathBuf};

use super::error::{ModelError, shown};

const LONGEST_FIELD: usize = 64 << 10;

#[derive(Debug)]
pub struct CsvFile {
    pub path: PathBuf,
    /// In upper case, as Personalize writes them.
    pub columns: Vec<String>,
    /// The line each row begins on, and its fields.
    pub rows: Vec<(u64, csv::StringRecord)>,
}

impl CsvFile {
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let bytes = std::fs::read(path).map_err(ModelError::reading(path))?;
        let text = utf8(path, &bytes)?;
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
        let columns = reader.headers().map_err(|e| unreadable(path, &e))?;
        let columns = columns.iter().map(str::to_ascii_uppercase).collect();
        let mut rows = Vec::new();
        for record in reader.into_records() {
            let record = record.map_err(|e| unreadable(path, &e))?;
            let line = record.position().map_or(0, csv::Position::line);
            if let Some(long) = record.iter().find(|f| f.len() > LONGEST_FIELD) {
                let what = format!("a field of {} bytes ({})", long.len(), shown(long.as_bytes()));
                let hint = "a field holds at most 64 KiB; a missing quotation mark looks like this".to_owned();
                return Err(ModelError::Line { path: path.to_owned(), line, what, hint });
            }
            rows.push((line, record));
        }
        Ok(Self { path: path.to_owned(), columns, rows })
    }

    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| c == name)
    }

    /// Returns the place of a column that must be there.
    pub fn needed(&self, name: &str) -> Result<usize, ModelError> {
        self.column(name).ok_or_else(|| missing_column(&self.path, name, &self.columns.join(",")))
    }

    pub fn wrong(&self, line: u64, what: String, hint: &str) -> ModelError {
        ModelError::Line { path: self.path.clone(), line, what, hint: hint.to_owned() }
    }
}

pub fn missing_column(path: &Path, name: &str, header: &str) -> ModelError {
    let other = [';', '\t', '|'].into_iter().find(|c| header.contains(*c));
    let hint = match other {
        Some(c) if !header.contains(',') => {
            format!("columns are separated by commas here; this file seems to use {c:?}")
        }
        _ => format!("the first line names the columns, and one of them must be {name} (any order, any case)"),
    };
    ModelError::Line {
        path: path.to_owned(),
        line: 1,
        what: format!("column {name} is missing; found {}", shown(header.as_bytes())),
        hint,
    }
}

fn unreadable(path: &Path, error: &csv::Error) -> ModelError {
    let line = error.position().map_or(1, csv::Position::line);
    let what = match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("{len} fields, but the first line names {expected_len} columns")
        }
        _ => error.to_string(),
    };
    ModelError::Line { path: path.to_owned(), line, what, hint: "mend the line, or leave it out".to_owned() }
}

/// Returns the text without a byte order mark, or says where it is not UTF-8.
pub fn utf8<'a>(path: &Path, bytes: &'a [u8]) -> Result<&'a str, ModelError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.strip_prefix('\u{feff}').unwrap_or(text)),
        Err(e) => {
            let line = lines_in(&bytes[..e.valid_up_to()]) + 1;
            Err(not_utf8(path, line, bytes, e.valid_up_to()))
        }
    }
}

/// Returns the number of line ends.
#[allow(clippy::naive_bytecount, reason = "the compiler's own loop is fast enough for a package less")]
pub fn lines_in(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|b| **b == b'\n').count() as u64
}

/// `at` is the first byte of `bytes` that is no UTF-8, on `line` of the file.
pub fn not_utf8(path: &Path, line: u64, bytes: &[u8], at: usize) -> ModelError {
    let wide = line == 1 && (bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]));
    let encoding = if wide { "UTF-16" } else { "ISO-8859-1" };
    let what = format!("byte 0x{:02X} is not UTF-8", bytes.get(at).copied().unwrap_or_default());
    let hint =
        format!("convert the file first, for example: iconv -f {encoding} -t UTF-8 {} > utf8.csv", path.display());
    ModelError::Line { path: path.to_owned(), line, what, hint }
}

/// Returns a field as a CSV file holds it: in quotation marks where it needs them.
pub fn quoted(field: &str) -> String {
    if field.contains(['"', ',', '\n', '\r']) || field.trim() != field {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}
