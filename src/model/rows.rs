//! One row of viewings: which column is what, and the text of a piece into numbers.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::csv_file::{missing_column, not_utf8};
use super::error::{ModelError, shown};
use super::event_value::EventValue;
use super::lines::BadLine;
use super::names::Names;

/// Whose layout a file of viewings has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// USER_ID, ITEM_ID, TIMESTAMP, EVENT_VALUE in any order, among others.
    Personalize,
    /// `user::item::rating::timestamp`, or commas with a header, or tabs.
    Movielens,
}

/// What is wrong with a line, and what to do about it.
type Wrong = (String, String);
/// A field, and what follows it.
type Split<'t> = (Cow<'t, str>, Option<&'t str>);

/// Where the fields of a row stand.
#[derive(Clone, Debug)]
pub struct Layout {
    separator: &'static str,
    header: bool,
    columns: usize,
    viewer: usize,
    programme: usize,
    at: usize,
    value: Option<usize>,
    names: [&'static str; 4],
    event: EventValue,
}

/// The rows of a piece; ids are interned within it.
#[derive(Debug, Default)]
pub struct Rows {
    pub viewers: Names,
    pub programmes: Names,
    pub rows: Vec<Row>,
    /// Rows without a value; they count 1.
    pub without_value: u64,
    /// Rows with a negative value, which were left out.
    pub negative: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    pub viewer: u32,
    pub programme: u32,
    /// NaN where the row has none.
    pub value: f32,
    pub at: u32,
}

impl Layout {
    /// Reads the first line of a file and finds the columns.
    pub fn detect(path: &Path, format: Format, event: EventValue) -> Result<Self, ModelError> {
        let mut head = Vec::new();
        let file = File::open(path).map_err(ModelError::reading(path))?;
        file.take(64 << 10).read_to_end(&mut head).map_err(ModelError::reading(path))?;
        let line = head.split(|b| *b == b'\n').next().unwrap_or_default();
        let line = std::str::from_utf8(line).map_err(|e| not_utf8(path, 1, line, e.valid_up_to()))?;
        let line = line.trim_start_matches('\u{feff}').trim_end();
        if line.is_empty() {
            return Err(ModelError::file(
                path,
                "is empty, or begins with an empty line",
                "the first line names the columns",
            ));
        }
        match format {
            Format::Personalize => Self::personalize(path, line, event),
            Format::Movielens => Self::movielens(path, line, event),
        }
    }

    fn personalize(path: &Path, line: &str, event: EventValue) -> Result<Self, ModelError> {
        let columns: Vec<String> = line.split(',').map(|c| c.trim().trim_matches('"').to_ascii_uppercase()).collect();
        let find = |name: &str| columns.iter().position(|c| c == name);
        let needed = |name: &'static str| find(name).ok_or_else(|| missing_column(path, name, line));
        let value = match event {
            EventValue::None => None,
            EventValue::Completion => find("EVENT_VALUE"),
            _ => Some(needed("EVENT_VALUE")?),
        };
        Ok(Self {
            separator: ",",
            header: true,
            columns: columns.len(),
            viewer: needed("USER_ID")?,
            programme: needed("ITEM_ID")?,
            at: needed("TIMESTAMP")?,
            value,
            names: ["USER_ID", "ITEM_ID", "TIMESTAMP", "EVENT_VALUE"],
            event,
        })
    }

    fn movielens(path: &Path, line: &str, event: EventValue) -> Result<Self, ModelError> {
        let separator = ["::", "\t", ","].into_iter().find(|s| line.contains(s));
        let Some(separator) = separator else {
            let hint = "MovieLens files hold user::item::rating::timestamp, or the same with commas or tabs";
            return Err(ModelError::file(path, format!("its first line, {}, is no row", shown(line.as_bytes())), hint));
        };
        let fields: Vec<String> =
            line.split(separator).map(|c| c.trim().trim_matches('"').to_ascii_lowercase()).collect();
        let find = |names: &[&str]| fields.iter().position(|c| names.contains(&c.as_str()));
        let names = ["user", "item", "rating", "timestamp"];
        let header = fields.first().is_some_and(|f| f.starts_with("user"));
        let missing = |name| missing_column(path, name, line);
        let [viewer, programme, value, at] = if header {
            [
                find(&["userid", "user_id", "user"]).ok_or_else(|| missing("userId"))?,
                find(&["movieid", "movie_id", "itemid", "item_id", "item", "movie"])
                    .ok_or_else(|| missing("movieId"))?,
                find(&["rating", "stars"]).ok_or_else(|| missing("rating"))?,
                find(&["timestamp"]).ok_or_else(|| missing("timestamp"))?,
            ]
        } else if fields.len() < 4 {
            return Err(missing("timestamp"));
        } else {
            [0, 1, 2, 3]
        };
        let value = (event != EventValue::None).then_some(value);
        Ok(Self {
            separator,
            header,
            columns: fields.len(),
            viewer,
            programme,
            at,
            value,
            names: [names[0], names[1], names[3], names[2]],
            event,
        })
    }

    /// Whether rows have a value to read.
    pub fn has_value(&self) -> bool {
        self.value.is_some()
    }

    /// Parses the lines of a piece; `first` says that it begins the file.
    pub fn parse(&self, text: &str, first: bool) -> Result<Rows, BadLine> {
        let mut rows = Rows { rows: Vec::with_capacity(text.len() / 32), ..Rows::default() };
        let mut last = (String::new(), 0_u32);
        let skip = usize::from(first && self.header);
        for (i, line) in text.split('\n').enumerate().skip(skip) {
            let line = line.strip_suffix('\r').unwrap_or(line);
            if line.is_empty() {
                continue;
            }
            self.line(line, &mut rows, &mut last).map_err(|(what, hint)| BadLine { line: i as u64, what, hint })?;
        }
        Ok(rows)
    }

    fn line(&self, line: &str, rows: &mut Rows, last: &mut (String, u32)) -> Result<(), Wrong> {
        let (mut viewer, mut programme, mut at, mut value) = (Cow::Borrowed(""), Cow::Borrowed(""), "", "");
        let mut rest = Some(line);
        let mut count = 0;
        while let Some(text) = rest {
            let (field, after) = self.field(text)?;
            if count == self.viewer {
                viewer = field;
            } else if count == self.programme {
                programme = field;
            } else if let Cow::Borrowed(plain) = field {
                if count == self.at {
                    at = plain;
                } else if Some(count) == self.value {
                    value = plain;
                }
            }
            count += 1;
            rest = after;
        }
        if count != self.columns {
            let what = format!("{count} fields, but the first line has {}", self.columns);
            return Err((what, "mend the line, or leave it out".to_owned()));
        }
        for (id, name) in [(&viewer, self.names[0]), (&programme, self.names[1])] {
            if id.is_empty() {
                return Err((format!("{name} is empty"), "give the row an id, or leave it out".to_owned()));
            }
        }
        let at = self.time(at)?;
        let value = self.value(value, rows)?;
        let Some(value) = value else { return Ok(()) };
        if last.0 != viewer || rows.rows.is_empty() {
            viewer.as_ref().clone_into(&mut last.0);
            last.1 = rows.viewers.add(&viewer);
        }
        let programme = rows.programmes.add(&programme);
        rows.rows.push(Row { viewer: last.1, programme, value, at });
        Ok(())
    }

    /// Splits the first field off; a quoted one may hold separators, and doubled quotation marks.
    fn field<'t>(&self, text: &'t str) -> Result<Split<'t>, Wrong> {
        let Some(quoted) = text.strip_prefix('"') else {
            return Ok(match text.as_bytes().iter().position(|b| *b == self.separator.as_bytes()[0]) {
                Some(at) if self.separator.len() == 1 => (Cow::Borrowed(text[..at].trim()), Some(&text[at + 1..])),
                None => (Cow::Borrowed(text.trim()), None),
                Some(_) => match text.split_once(self.separator) {
                    Some((field, rest)) => (Cow::Borrowed(field.trim()), Some(rest)),
                    None => (Cow::Borrowed(text.trim()), None),
                },
            });
        };
        let mut from = 0;
        loop {
            let Some(end) = quoted[from..].find('"').map(|p| p + from) else {
                let hint = "close it on the same line; a field of viewings holds no line break".to_owned();
                return Err((format!("a quotation mark is not closed: {}", shown(text.as_bytes())), hint));
            };
            let after = &quoted[end + 1..];
            if after.starts_with('"') {
                from = end + 2;
                continue;
            }
            let field = &quoted[..end];
            let field = if from > 0 { Cow::Owned(field.replace("\"\"", "\"")) } else { Cow::Borrowed(field) };
            if after.is_empty() {
                return Ok((field, None));
            }
            return match after.strip_prefix(self.separator) {
                Some(rest) => Ok((field, Some(rest))),
                None => Err((
                    format!("text follows a closing quotation mark: {}", shown(after.as_bytes())),
                    "double a quotation mark that belongs to the field".to_owned(),
                )),
            };
        }
    }

    fn time(&self, text: &str) -> Result<u32, Wrong> {
        let name = self.names[2];
        let hint = || "write whole Unix seconds, such as 1750000000".to_owned();
        let whole = text.strip_suffix(".0").unwrap_or(text);
        let seconds: i64 =
            whole.parse().map_err(|_| (format!("{name} {} is not a time", shown(text.as_bytes())), hint()))?;
        u32::try_from(seconds).map_err(|_| {
            let hint = if seconds > 100_000_000_000 {
                "it looks like milliseconds: divide by 1000".to_owned()
            } else {
                hint()
            };
            (format!("{name} {seconds} is outside 1970 to 2106"), hint)
        })
    }

    /// Returns the value as it stands, 1 for none (NaN until the largest is known), or nothing for a row to leave out.
    fn value(&self, text: &str, rows: &mut Rows) -> Result<Option<f32>, Wrong> {
        if self.value.is_none() || text.is_empty() {
            rows.without_value += 1;
            return Ok(Some(f32::NAN));
        }
        let name = self.names[3];
        let said = || format!("{name} {}", shown(text.as_bytes()));
        let hint = || "write a number, or nothing at all (a row without a value counts 1)".to_owned();
        let value: f32 = text.parse().map_err(|_| (format!("{} is not a number", said()), hint()))?;
        if !value.is_finite() {
            return Err((format!("{} is not a finite number", said()), hint()));
        }
        if self.event == EventValue::Completion && !(0.0..=1.0).contains(&value) {
            let what = if value < 0.0 { "negative" } else { "over 1" };
            let hint = "a completion lies in 0..1; if the column holds something else, say so with \
                        --event-value seconds, count, stars or none";
            return Err((format!("{} is {what}", said()), hint.to_owned()));
        }
        if value < 0.0 {
            rows.negative += 1;
            return Ok(None);
        }
        Ok(Some(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(header: &str, event: EventValue) -> Layout {
        Layout::personalize(Path::new("f.csv"), header, event).expect("columns")
    }

    #[test]
    fn columns_stand_in_any_order() {
        let l = layout("EVENT_VALUE,timestamp,\"ITEM_ID\",X,USER_ID", EventValue::Completion);
        let rows = l.parse("head\n0.5,12,p1,,u1\r\n,13,\"p,\"\"2\",x,u1\n", true).expect("rows");
        assert_eq!(rows.rows[0], Row { viewer: 0, programme: 0, value: 0.5, at: 12 });
        assert_eq!(rows.programmes.get(1), "p,\"2");
        assert!(rows.rows[1].value.is_nan());
        assert_eq!(rows.without_value, 1);
    }

    #[test]
    fn each_bad_value_is_named_with_its_column() {
        let l = layout("USER_ID,ITEM_ID,TIMESTAMP,EVENT_VALUE", EventValue::Completion);
        for (line, expected) in [
            ("u,p,1,NaN", "EVENT_VALUE NaN is not a finite number"),
            ("u,p,1,-0.1", "EVENT_VALUE -0.1 is negative"),
            ("u,p,1,1.5", "EVENT_VALUE 1.5 is over 1"),
            ("u,p,1,much", "EVENT_VALUE much is not a number"),
            ("u,p,soon,1", "TIMESTAMP soon is not a time"),
            ("u,p,1750000000000,1", "TIMESTAMP 1750000000000 is outside 1970 to 2106"),
            (",p,1,1", "USER_ID is empty"),
            ("u,,1,1", "ITEM_ID is empty"),
            ("u,p,1", "3 fields, but the first line has 4"),
            ("u,p,1,1,1", "5 fields, but the first line has 4"),
            ("\"u,p,1,1", "a quotation mark is not closed: \\\"u,p,1,1"),
        ] {
            let bad = l.parse(&format!("a,b,1,1\n{line}\n"), false).expect_err(line);
            assert_eq!((bad.line, bad.what.as_str()), (1, expected), "{line}");
        }
        let counts = layout("USER_ID,ITEM_ID,TIMESTAMP,EVENT_VALUE", EventValue::Count);
        let rows = counts.parse("u,p,1,7\nu,p,1,-7\n", false).expect("no error but under completion");
        assert_eq!((rows.rows.len(), rows.negative), (1, 1));
    }

    #[test]
    fn movielens_comes_with_colons_commas_and_tabs() {
        for (first, row, header) in [
            ("3::9::4.5::1424380312", "3::9::4.5::1424380312", false),
            ("userId,movieId,rating,timestamp", "3,9,4.5,1424380312", true),
            ("3\t9\t4.5\t1424380312", "3\t9\t4.5\t1424380312", false),
        ] {
            let l = Layout::movielens(Path::new("r.dat"), first, EventValue::Stars).expect("columns");
            assert_eq!(l.header, header);
            let rows = l.parse(row, false).expect("a row");
            assert_eq!(rows.rows, [Row { viewer: 0, programme: 0, value: 4.5, at: 1_424_380_312 }]);
        }
    }

    #[test]
    fn a_missing_column_is_named() {
        let missing = Layout::personalize(Path::new("f.csv"), "USER_ID;ITEM_ID;TIMESTAMP", EventValue::Completion);
        let error = missing.expect_err("semicolons");
        assert!(error.to_string().contains("column USER_ID is missing"), "{error}");
        assert!(error.hint().expect("hint").contains("';'"));
    }
}
