//! Exposures and outcomes from a CSV: who saw what, and what they did; each viewer once, in one group.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;

#[derive(Debug, thiserror::Error)]
pub enum ExposureError {
    #[error("{name}:{line}: {what}")]
    Line { name: String, line: u64, what: String },
    #[error("{name}: {what}")]
    File { name: String, what: String },
}

/// Which columns are read.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// `viewing_minutes`, or a ratio such as `viewing_minutes/sessions`.
    pub metric: String,
    /// The group without the change; guessed from its name otherwise.
    pub control: Option<String>,
}

/// One experiment, read.
#[derive(Clone, Debug, Default)]
pub struct Exposures {
    pub groups: [String; 2],
    pub viewers: Vec<Viewer>,
    /// Viewer, day, what was measured (and out of what), in the order of the days.
    pub rows: Vec<Row>,
    /// Sorted as the file writes them; a file without days has one.
    pub days: Vec<String>,
    /// Whether the metric is a ratio of sums over viewers.
    pub ratio: bool,
    /// Whether every viewer has what it did before.
    pub has_before: bool,
    pub segments: Vec<Segment>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Viewer {
    /// 0 is the control.
    pub group: u8,
    /// The same metric before the experiment.
    pub before: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    pub viewer: u32,
    pub day: u32,
    pub value: f64,
    pub of: f64,
}

/// A column that cuts the viewers: its values, and which one each viewer has (by index).
#[derive(Clone, Debug, Default)]
pub struct Segment {
    pub name: String,
    pub values: Vec<String>,
    pub of: Vec<u16>,
}

/// A column with more values than this is no segment.
const MOST_VALUES: usize = 50;
/// Names that groups without the change go by.
const CONTROLS: [&str; 10] = ["control", "without", "off", "a", "baseline", "0", "none", "old", "holdout", "false"];
/// Other names for the columns that are always looked for.
const VIEWER: [&str; 5] = ["viewer", "viewer_id", "user", "user_id", "id"];
const GROUP: [&str; 5] = ["group", "variant", "arm", "side", "bucket"];
const DAY: [&str; 3] = ["day", "date", "at"];

/// Whether a metric is a time, by its name: less of it is better, and it is averaged, not summed.
pub fn is_time(metric: &str) -> bool {
    metric.starts_with("time_to") || metric.ends_with("_s") || metric.ends_with("_ms")
}

struct Columns {
    viewer: usize,
    group: usize,
    day: Option<usize>,
    value: usize,
    of: Of,
    before: Option<usize>,
    segments: Vec<usize>,
}

/// What a row's value is out of.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Of {
    Viewer,
    Rows,
    Column(usize),
}

impl Exposures {
    /// Reads it; columns may come in any order. A time (`is_time`) is averaged over the rows that have it; any other metric is summed for each viewer.
    pub fn read(name: &str, from: impl Read, wanted: &Wanted) -> Result<Self, ExposureError> {
        let file = |what: String| ExposureError::File { name: name.to_owned(), what };
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(from);
        let header = reader.headers().map_err(|e| file(e.to_string()))?.clone();
        let columns = Columns::find(&header, wanted).map_err(file)?;
        let mut read =
            Self { ratio: columns.of != Of::Viewer, has_before: columns.before.is_some(), ..Self::default() };
        read.segments =
            columns.segments.iter().map(|i| Segment { name: header[*i].to_owned(), ..Segment::default() }).collect();
        let mut known: HashMap<Box<[u8]>, u32> = HashMap::new();
        let mut days: BTreeMap<String, u32> = BTreeMap::new();
        let mut names: Vec<String> = Vec::new();
        let mut record = csv::ByteRecord::new();
        loop {
            let line = reader.position().line();
            let refuse = |what: String| ExposureError::Line { name: name.to_owned(), line, what };
            if !reader.read_byte_record(&mut record).map_err(|e| file(e.to_string()))? {
                break;
            }
            let text = |i: usize| String::from_utf8_lossy(&record[i]);
            let number = |i: usize| -> Result<Option<f64>, ExposureError> {
                let field = std::str::from_utf8(&record[i]).unwrap_or("?");
                if field.is_empty() {
                    return Ok(None);
                }
                match field.parse::<f64>() {
                    Ok(n) if n.is_finite() => Ok(Some(n)),
                    _ => Err(refuse(format!("`{field}` in column {} is not a number", &header[i]))),
                }
            };
            if record[columns.viewer].is_empty() {
                return Err(refuse("the viewer is empty".to_owned()));
            }
            let group = text(columns.group);
            let group = match names.iter().position(|n| *n == group) {
                Some(i) => i as u8,
                None if group.is_empty() => return Err(refuse("the group is empty".to_owned())),
                None if names.len() == 2 => {
                    return Err(refuse(format!("`{group}` is a third group beside {} and {}", names[0], names[1])));
                }
                None => {
                    names.push(group.into_owned());
                    names.len() as u8 - 1
                }
            };
            let fresh = read.viewers.len() as u32;
            let id = &record[columns.viewer];
            let viewer = known.get(id).copied().unwrap_or_else(|| {
                known.insert(id.into(), fresh);
                fresh
            });
            if viewer == fresh {
                let before = match columns.before {
                    Some(i) => number(i)?,
                    None => None,
                };
                // One viewer without a past and the past cannot be used at all: absence may depend on the group.
                read.has_before &= before.is_some();
                read.viewers.push(Viewer { group, before: before.unwrap_or(0.0) });
                for (segment, i) in read.segments.iter_mut().zip(&columns.segments) {
                    segment.keep(&text(*i));
                }
            } else if read.viewers[viewer as usize].group != group {
                let (id, was) = (text(columns.viewer), &names[usize::from(1 - group)]);
                return Err(refuse(format!("viewer {id} is in {} and was in {was} before", names[usize::from(group)])));
            }
            let next = days.len() as u32;
            let day = match columns.day {
                Some(i) => match days.get(text(i).as_ref()) {
                    Some(d) => *d,
                    None => *days.entry(text(i).into_owned()).or_insert(next),
                },
                None => *days.entry(String::new()).or_insert(0),
            };
            let value = number(columns.value)?;
            let of = match columns.of {
                Of::Viewer => Some(1.0),
                Of::Rows => value.map(|_| 1.0),
                Of::Column(i) => number(i)?,
            };
            read.rows.push(Row { viewer, day, value: value.unwrap_or(0.0), of: of.unwrap_or(0.0) });
        }
        read.settle(names, days, wanted).map_err(file)
    }

    /// Puts the control first and the days in order.
    fn settle(mut self, names: Vec<String>, days: BTreeMap<String, u32>, wanted: &Wanted) -> Result<Self, String> {
        let [first, second] = <[String; 2]>::try_from(names).map_err(|n| match n.as_slice() {
            [] => "holds no exposures".to_owned(),
            [only] => format!("every viewer is in group {only}; there is nothing to compare with"),
            _ => "more than two groups".to_owned(),
        })?;
        let rank = |n: &str| CONTROLS.iter().position(|c| *c == n.to_lowercase()).unwrap_or(CONTROLS.len());
        let swap = match &wanted.control {
            Some(c) if *c == first => false,
            Some(c) if *c == second => true,
            Some(c) => return Err(format!("no group is called {c}; there are {first} and {second}")),
            None => (rank(&second), &second) < (rank(&first), &first),
        };
        if swap {
            self.viewers.iter_mut().for_each(|v| v.group = 1 - v.group);
        }
        self.groups = if swap { [second, first] } else { [first, second] };
        let mut order = vec![0; days.len()];
        // Whole numbers sort as numbers, dates as they are written.
        let mut sorted: Vec<(String, u32)> = days.into_iter().collect();
        if sorted.iter().all(|(d, _)| d.parse::<i64>().is_ok()) {
            sorted.sort_by_key(|(d, _)| d.parse::<i64>().unwrap_or(0));
        }
        for (place, (_, at)) in sorted.iter().enumerate() {
            order[*at as usize] = place as u32;
        }
        self.days = sorted.into_iter().map(|(d, _)| d).collect();
        self.rows.iter_mut().for_each(|r| r.day = order[r.day as usize]);
        self.rows.sort_by_key(|r| r.day);
        self.segments.retain(|s| (2..=MOST_VALUES).contains(&s.values.len()));
        Ok(self)
    }
}

impl Segment {
    fn keep(&mut self, value: &str) {
        if self.values.len() > MOST_VALUES {
            return;
        }
        let at = self.values.iter().position(|v| v == value).unwrap_or_else(|| {
            self.values.push(value.to_owned());
            self.values.len() - 1
        });
        self.of.push(at as u16);
    }
}

impl Columns {
    fn find(header: &csv::StringRecord, wanted: &Wanted) -> Result<Self, String> {
        let named =
            |name: &str| header.iter().position(|h| h.trim_start_matches('\u{feff}').eq_ignore_ascii_case(name));
        let first = |names: &[&str]| names.iter().find_map(|n| named(n));
        let missing = |what: &str| {
            let there = header.iter().collect::<Vec<_>>().join(", ");
            let near = crate::toml_file::nearest(what, header.iter());
            let near = near.map_or(String::new(), |n| format!("; did you mean `{n}`?"));
            format!("has no column `{what}` (columns: {there}){near}")
        };
        let need = |name: &str| named(name).ok_or_else(|| missing(name));
        let (value, of) = match wanted.metric.split_once('/') {
            Some((value, of)) => (need(value.trim())?, Of::Column(need(of.trim())?)),
            None => (need(&wanted.metric)?, if is_time(&wanted.metric) { Of::Rows } else { Of::Viewer }),
        };
        let viewer = first(&VIEWER).ok_or_else(|| missing("viewer"))?;
        let group = first(&GROUP).ok_or_else(|| missing("group"))?;
        let day = first(&DAY);
        let before = ["pre_", "before_"].iter().find_map(|p| named(&format!("{p}{}", wanted.metric)));
        let before = before.filter(|_| of == Of::Viewer);
        let taken = |i: usize| [Some(viewer), Some(group), day, Some(value), before].contains(&Some(i));
        // Numbers are outcomes, not segments.
        let measure = |h: &str| {
            let h = h.to_lowercase();
            let words = ["pre_", "before_", "viewing_", "time_to_", "sessions", "plays", "clicks", "starts"];
            h.ends_with("_s") || h.ends_with("_ms") || words.iter().any(|p| h.starts_with(p))
        };
        let segments =
            (0..header.len()).filter(|i| !taken(*i) && of != Of::Column(*i) && !measure(&header[*i])).collect();
        Ok(Self { viewer, group, day, value, of, before, segments })
    }
}
