//! The programme file, held in memory and indexed: each value of each column to the programmes that carry it.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::path::Path;

use super::bits::Bits;
use super::error::ServeError;
use crate::durable;

const MAGIC: &str = "serin-catalogue/1";
const ID: &str = "item_id";
/// The longest row that a programme may have; a file without line ends is refused instead of read whole.
const LONGEST_ROW: usize = 1 << 20;
const LONGEST_ID: usize = 256;

/// All programmes, by index in the file's order.
#[derive(Debug)]
pub struct Catalogue {
    ids: Vec<Box<str>>,
    by_id: HashMap<Box<str>, u32>,
    columns: Vec<Column>,
    /// `{"itemId":"..","score":` of each programme, ready to be sent.
    fragments: Vec<Box<str>>,
    /// Unix seconds when the file was built or, for a CSV, last changed.
    pub built_at: i64,
}

#[derive(Debug)]
struct Column {
    /// In lower case, as a filter names it.
    name: String,
    values: HashMap<Box<str>, Carriers>,
}

/// Who carries a value: few as a list, many as bits, so that a column of unique titles costs no more than its text.
#[derive(Debug)]
enum Carriers {
    Few(Vec<u32>),
    Many(Bits),
}

impl Catalogue {
    /// Reads an items CSV or a built catalogue file, told apart by the first bytes.
    pub fn open(path: &Path) -> Result<Self, ServeError> {
        let mut file = std::fs::File::open(path).map_err(ServeError::io(path))?;
        let meta = file.metadata().map_err(ServeError::io(path))?;
        let changed = meta.modified().ok().and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(ServeError::io(path))?;
        if bytes.starts_with(MAGIC.as_bytes()) {
            let (built_at, csv) = unpack(path, &bytes)?;
            Self::parse(path, &csv, built_at)
        } else {
            Self::parse(path, &bytes, changed.map_or(0, |d| d.as_secs() as i64))
        }
    }

    /// Reads CSV text; `path` is what its errors call it.
    pub fn parse(path: &Path, text: &[u8], built_at: i64) -> Result<Self, ServeError> {
        refuse_long_rows(path, text)?;
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text);
        let header = reader.headers().map_err(|e| explain(path, &e))?.clone();
        let names: Vec<String> = header.iter().map(str::to_lowercase).collect();
        let Some(id_at) = names.iter().position(|n| n == ID) else {
            let found = header.iter().collect::<Vec<_>>().join(", ");
            return Err(ServeError::line(path, 1, format!("there is no column ITEM_ID; found: {found}")));
        };
        if let Some(twice) = names.iter().enumerate().find_map(|(i, n)| names[..i].contains(n).then_some(n)) {
            return Err(ServeError::line(path, 1, format!("the column {} stands there twice", twice.to_uppercase())));
        }
        let mut ids: Vec<Box<str>> = Vec::new();
        let mut by_id = HashMap::new();
        let mut postings: Vec<HashMap<Box<str>, Vec<u32>>> = vec![HashMap::new(); names.len()];
        for row in reader.records() {
            let row = row.map_err(|e| explain(path, &e))?;
            let line = row.position().map_or(0, csv::Position::line);
            let id = &row[id_at];
            if id.is_empty() || id.len() > LONGEST_ID {
                let what = format!("ITEM_ID must have 1 to {LONGEST_ID} bytes, it has {}", id.len());
                return Err(ServeError::line(path, line, what));
            }
            let number = ids.len() as u32;
            if by_id.insert(Box::from(id), number).is_some() {
                return Err(ServeError::line(path, line, format!("ITEM_ID {id} stands in the file twice")));
            }
            ids.push(id.into());
            for (column, field) in row.iter().enumerate() {
                for value in field.split('|').map(str::trim).filter(|v| !v.is_empty()) {
                    let list = postings[column].entry(value.into()).or_default();
                    if list.last() != Some(&number) {
                        list.push(number);
                    }
                }
            }
        }
        if ids.is_empty() {
            return Err(ServeError::input(path, "there is not one programme in it"));
        }
        let total = ids.len();
        let columns = names.into_iter().zip(postings).map(|(name, values)| {
            let values = values.into_iter().map(|(v, list)| (v, Carriers::new(list, total))).collect();
            Column { name, values }
        });
        let columns = columns.collect();
        let fragments = ids.iter().map(|id| fragment(id)).collect();
        Ok(Self { ids, by_id, columns, fragments, built_at })
    }

    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    pub fn id(&self, index: u32) -> &str {
        &self.ids[index as usize]
    }

    pub fn index(&self, id: &str) -> Option<u32> {
        self.by_id.get(id).copied()
    }

    #[inline]
    pub fn fragment(&self, index: u32) -> &str {
        &self.fragments[index as usize]
    }

    /// Names of the columns, in lower case, in the file's order.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|c| c.name.as_str())
    }

    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name == name)
    }

    /// Adds to `into` who carries `value` in a column; a value nobody carries adds nobody.
    pub fn add_carriers(&self, column: usize, value: &str, into: &mut Bits) {
        if let Some(carriers) = self.columns[column].values.get(value) {
            carriers.add_to(into);
        }
    }

    /// Returns for each programme the numbers of its values in a column.
    pub fn groups(&self, column: usize) -> Vec<Box<[u32]>> {
        let mut groups = vec![Vec::new(); self.len()];
        for (number, carriers) in (0..).zip(self.columns[column].values.values()) {
            carriers.each(self.len(), |i| groups[i as usize].push(number));
        }
        groups.into_iter().map(Vec::into_boxed_slice).collect()
    }

    /// Returns the moment that a column gives for each programme, Unix seconds, where it gives one.
    pub fn moments(&self, column: usize) -> HashMap<u32, i64> {
        let mut moments = HashMap::new();
        for (value, carriers) in &self.columns[column].values {
            if let Some(at) = moment(value) {
                carriers.each(self.len(), |i| {
                    moments.insert(i, at);
                });
            }
        }
        moments
    }

    /// Adds to `into` who carries a value that passes.
    pub fn add_carriers_where(&self, column: usize, passes: impl Fn(&str) -> bool, into: &mut Bits) {
        let values = self.columns[column].values.iter();
        values.filter(|(value, _)| passes(value)).for_each(|(_, carriers)| carriers.add_to(into));
    }
}

impl Carriers {
    fn each(&self, total: usize, mut see: impl FnMut(u32)) {
        match self {
            Self::Few(list) => list.iter().for_each(|&i| see(i)),
            Self::Many(bits) => (0..total as u32).filter(|i| bits.has(*i as usize)).for_each(see),
        }
    }

    fn add_to(&self, into: &mut Bits) {
        match self {
            Self::Few(list) => list.iter().for_each(|&i| into.set(i as usize)),
            Self::Many(bits) => into.or(bits),
        }
    }

    fn new(list: Vec<u32>, total: usize) -> Self {
        if list.len() * 32 < total {
            return Self::Few(list);
        }
        let mut bits = Bits::none(total);
        list.iter().for_each(|&i| bits.set(i as usize));
        Self::Many(bits)
    }
}

/// Reads Unix seconds, a date (its beginning in UTC), or a whole timestamp.
pub fn moment(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse::<i64>() {
        // A year alone is not a moment.
        return (seconds > 100_000).then_some(seconds);
    }
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Some(at.as_second());
    }
    let day: jiff::civil::Date = text.parse().ok()?;
    Some(jiff::tz::TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0)).ok()?.as_second())
}

/// Checks an items CSV and writes it as one compact, checksummed file; returns what it holds.
pub fn build(items: &Path, out: &Path, now: i64) -> Result<Catalogue, ServeError> {
    let text = std::fs::read(items).map_err(ServeError::io(items))?;
    if text.starts_with(MAGIC.as_bytes()) {
        return Err(ServeError::input(items, "is a built catalogue already"));
    }
    let catalogue = Catalogue::parse(items, &text, now)?;
    pack(&text, out, now)?;
    Ok(catalogue)
}

/// Writes a catalogue, built or not, as if it had been built at another time.
pub fn rebuild(items: &Path, out: &Path, built_at: i64) -> Result<(), ServeError> {
    let bytes = std::fs::read(items).map_err(ServeError::io(items))?;
    let built = bytes.starts_with(MAGIC.as_bytes());
    let text = if built { unpack(items, &bytes)?.1 } else { bytes };
    pack(&text, out, built_at)
}

fn pack(text: &[u8], out: &Path, now: i64) -> Result<(), ServeError> {
    let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    let packed = packed.write_all(text).and_then(|()| packed.finish()).map_err(ServeError::io(out))?;
    let crc = crc32fast::hash(&packed);
    let head = format!("{MAGIC} crc={crc:08x} bytes={} packed={} built={now}\n", text.len(), packed.len());
    durable::write(out, &[head.as_bytes(), &packed].concat()).map_err(ServeError::io(out))
}

/// Returns when the file was built, and its CSV.
fn unpack(path: &Path, bytes: &[u8]) -> Result<(i64, Vec<u8>), ServeError> {
    let damaged = |what: &str| ServeError::DamagedCatalogue { path: path.to_owned(), what: what.to_owned() };
    let end = bytes.iter().take(256).position(|b| *b == b'\n').ok_or_else(|| damaged("its head has no end"))?;
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| damaged("its head is not text"))?;
    let field = |name: &str| head.split(' ').find_map(|w| w.strip_prefix(name)?.strip_prefix('='));
    let number = |name: &str| field(name).and_then(|v| v.parse::<i64>().ok()).ok_or_else(|| damaged("its head"));
    let (built_at, length, packed_length) = (number("built")?, number("bytes")?, number("packed")?);
    let crc = field("crc").and_then(|v| u32::from_str_radix(v, 16).ok()).ok_or_else(|| damaged("its head"))?;
    let packed = &bytes[end + 1..];
    if packed.len() as i64 != packed_length {
        return Err(damaged("it was cut off or added to"));
    }
    if crc32fast::hash(packed) != crc {
        return Err(damaged("its checksum does not fit"));
    }
    let mut text = Vec::new();
    let mut unpacked = flate2::read::ZlibDecoder::new(packed).take(length as u64 + 1);
    unpacked.read_to_end(&mut text).map_err(|e| damaged(&e.to_string()))?;
    if text.len() as i64 != length {
        return Err(damaged("it holds less or more than its head says"));
    }
    Ok((built_at, text))
}

fn refuse_long_rows(path: &Path, text: &[u8]) -> Result<(), ServeError> {
    let long = text.split(|b| *b == b'\n').position(|row| row.len() > LONGEST_ROW);
    long.map_or(Ok(()), |at| {
        Err(ServeError::line(path, at as u64 + 1, "the line is over 1 MiB; is this an items CSV with line ends?"))
    })
}

fn explain(path: &Path, error: &csv::Error) -> ServeError {
    let line = error.position().map_or(1, csv::Position::line);
    let what = match error.kind() {
        csv::ErrorKind::Utf8 { err, .. } => format!("field {} is not UTF-8; save the file as UTF-8", err.field() + 1),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("the row has {len} fields, the header has {expected_len}")
        }
        _ => error.to_string(),
    };
    ServeError::line(path, line, what)
}

fn fragment(id: &str) -> Box<str> {
    let quoted = serde_json::Value::from(id).to_string();
    format!("{{\"itemId\":{quoted},\"score\":").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ITEMS: &str = "ITEM_ID,TITLE,DEVICES\np1,One,tv|web\np2,\"Two, or \"\"2\"\"\",web\np3,Three,\n";

    fn parse(text: &[u8]) -> Result<Catalogue, ServeError> {
        Catalogue::parse(Path::new("items.csv"), text, 0)
    }

    #[test]
    fn values_between_bars_are_each_found() {
        let catalogue = parse(ITEMS.as_bytes()).expect("good");
        let devices = catalogue.column("devices").expect("there");
        let of = |value: &str| {
            let mut bits = Bits::none(3);
            catalogue.add_carriers(devices, value, &mut bits);
            (0..3).filter(|i| bits.has(*i)).collect::<Vec<_>>()
        };
        assert_eq!((of("tv"), of("web"), of("radio")), (vec![0], vec![0, 1], vec![]));
        assert_eq!(catalogue.fragment(0), r#"{"itemId":"p1","score":"#);
    }

    #[test]
    fn bad_files_are_refused_with_their_place() {
        let long = [&b"ITEM_ID\np1\n"[..], &vec![b'x'; 10 << 20]].concat();
        let cases: [(&[u8], &str); 8] = [
            (b"TITLE\nx\n", "items.csv:1: there is no column ITEM_ID; found: TITLE"),
            (b"ITEM_ID,A,a\np,1,2\n", "items.csv:1: the column A stands there twice"),
            (b"ITEM_ID\n\"\"\n", "items.csv:2: ITEM_ID must have 1 to 256 bytes, it has 0"),
            (b"ITEM_ID\np1\np1\n", "items.csv:3: ITEM_ID p1 stands in the file twice"),
            (b"ITEM_ID,T\np1,\xff\xfe\n", "items.csv:2: field 2 is not UTF-8; save the file as UTF-8"),
            (b"ITEM_ID,T\np1\n", "items.csv:2: the row has 1 fields, the header has 2"),
            (b"ITEM_ID\n", "items.csv: there is not one programme in it"),
            (&long, "items.csv:3: the line is over 1 MiB; is this an items CSV with line ends?"),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text).expect_err("refused").to_string(), expected);
        }
    }

    #[test]
    fn a_built_file_reads_as_its_csv_and_any_flipped_byte_is_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        let (items, out) = (dir.path().join("items.csv"), dir.path().join("items.cat"));
        std::fs::write(&items, ITEMS).expect("written");
        build(&items, &out, 77).expect("built");
        let read = Catalogue::open(&out).expect("reads");
        assert_eq!((read.len(), read.built_at, read.index("p2")), (3, 77, Some(1)));
        let good = std::fs::read(&out).expect("bytes");
        let packed = good.iter().position(|b| *b == b'\n').expect("a head") + 1;
        for at in packed..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            std::fs::write(&out, bad).expect("written");
            let error = Catalogue::open(&out).expect_err("refused").to_string();
            assert!(error.contains("damaged"), "{error}");
        }
        std::fs::write(&out, &good[..good.len() - 3]).expect("written");
        assert!(Catalogue::open(&out).is_err());
    }
}
