//! Recorded demand: `timestamp,reads_per_second[,writes_per_second]`, read and checked; gaps stay gaps.

use std::io::Read;
use std::path::Path;

use jiff::Timestamp;

use super::error::CostError;

/// So many changes of the time zone are told one by one.
const MOST_NOTES: usize = 4;

/// One sample: so much a second, from `from` until `until` (UNIX seconds).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    pub from: f64,
    pub until: f64,
    pub reads: f64,
    pub writes: Option<f64>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Demand {
    pub name: String,
    pub samples: Vec<Sample>,
    /// What a reader should know of the file and need not mend.
    pub notes: Vec<String>,
    /// Where the zone of its times changes, with the words for it: a step waits until a whole day is told one way.
    pub zones: Vec<(f64, String)>,
}

impl Demand {
    pub fn open(path: &Path) -> Result<Self, CostError> {
        let name = path.display().to_string();
        let file = std::fs::File::open(path).map_err(|e| CostError::trace(&name, 0, format!("cannot be read: {e}")))?;
        Self::read(&name, file)
    }

    pub fn read(name: &str, from: impl Read) -> Result<Self, CostError> {
        let mut rows = csv::ReaderBuilder::new().trim(csv::Trim::All).comment(Some(b'#')).from_reader(from);
        let bad = |line: u64, what: String| CostError::trace(name, line, what);
        let header = rows.headers().map_err(|e| bad(1, e.to_string()))?.clone();
        let column = |known: &str| header.iter().position(|h| h.trim_start_matches('\u{feff}') == known);
        let missing = |known: &str| {
            let found = header.iter().collect::<Vec<_>>().join(",");
            bad(
                1,
                format!(
                    "has no column `{known}` (found: {found}); wanted: timestamp,reads_per_second[,writes_per_second]"
                ),
            )
        };
        let at = column("timestamp").ok_or_else(|| missing("timestamp"))?;
        let reads = column("reads_per_second").ok_or_else(|| missing("reads_per_second"))?;
        let writes = column("writes_per_second");
        let mut demand = Self { name: name.to_owned(), ..Self::default() };
        let mut zone: Option<String> = None;
        let mut starts: Vec<(f64, f64, Option<f64>)> = Vec::new();
        for row in rows.records() {
            let row = row.map_err(|e| bad(e.position().map_or(0, csv::Position::line), e.to_string()))?;
            let line = row.position().map_or(0, csv::Position::line);
            let field = |i: usize| row.get(i).unwrap_or_default();
            let (time, offset) = moment(field(at)).map_err(|what| bad(line, what))?;
            let number = |i: usize, what: &str| rate(field(i), what).map_err(|what| bad(line, what));
            if let Some((before, ..)) = starts.last().filter(|(before, ..)| time <= *before) {
                let what = format!(
                    "time does not go on: {} comes after {} (a changed time zone, or rows twice or out of order)",
                    shown(time),
                    shown(*before)
                );
                return Err(bad(line, what));
            }
            if let Some(before) = zone.replace(offset.clone()).filter(|z| *z != offset) {
                let what = format!("the time zone of the trace changes from {before} to {offset}");
                if demand.zones.len() < MOST_NOTES {
                    let then = "instants are compared in UTC, and no step down is taken for a day";
                    demand.notes.push(format!("line {line}: {what}; {then}"));
                }
                demand.zones.push((time, what));
            }
            let writes =
                writes.filter(|i| !field(*i).is_empty()).map(|i| number(i, "writes_per_second")).transpose()?;
            starts.push((time, number(reads, "reads_per_second")?, writes));
        }
        if starts.len() < 2 {
            return Err(bad(0, format!("holds {} samples; a trace needs at least two", starts.len())));
        }
        if demand.zones.len() > MOST_NOTES {
            demand.notes.push(format!("and {} times more", demand.zones.len() - MOST_NOTES));
        }
        demand.samples = spans(&starts);
        Ok(demand)
    }

    pub fn from_samples(name: &str, samples: Vec<Sample>) -> Self {
        Self { name: name.to_owned(), samples, ..Self::default() }
    }
}

/// Gives each sample its end: the next one's beginning, or its own length where the next is missing.
///
/// The length is the median of the first few distances, so that it is known early and never learnt from the future.
fn spans(starts: &[(f64, f64, Option<f64>)]) -> Vec<Sample> {
    let mut steps: Vec<f64> = starts.windows(2).take(9).map(|w| w[1].0 - w[0].0).collect();
    steps.sort_by(f64::total_cmp);
    let length = steps[(steps.len() - 1) / 2];
    let next = starts[1..].iter().map(|s| s.0).chain([f64::INFINITY]);
    starts
        .iter()
        .zip(next)
        .map(|(&(from, reads, writes), next)| {
            let until = if next <= from + 1.5 * length { next } else { from + length };
            Sample { from, until, reads, writes }
        })
        .collect()
}

fn moment(text: &str) -> Result<(f64, String), String> {
    if let Ok(seconds) = text.parse::<f64>() {
        // 1e11 s is the year 5138: what is larger was meant in milliseconds.
        return match seconds {
            s if !s.is_finite() || s < 0.0 => Err(format!("`{text}` is not a time")),
            s if s > 1e11 => Err(format!("`{text}` looks like milliseconds; timestamps are UNIX seconds or RFC 3339")),
            s => Ok((s, "UNIX seconds".to_owned())),
        };
    }
    let at: Timestamp = text
        .parse()
        .map_err(|_| format!("`{text}` is neither UNIX seconds nor RFC 3339 with its zone (2026-11-23T20:00:00Z)"))?;
    let zone = text.find(['T', 't', ' ']).map_or("", |t| &text[t..]);
    let offset = zone.find(['+', '-', 'Z', 'z']).map_or("Z", |o| &zone[o..]);
    Ok((at.as_microsecond() as f64 / 1e6, offset.to_owned()))
}

fn rate(text: &str, what: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(v) if v.is_finite() && v >= 0.0 => Ok(v),
        _ => Err(format!("{what} is `{text}`; it must be a number from 0 on")),
    }
}

/// A moment for people and files: RFC 3339 in UTC.
pub fn shown(at: f64) -> String {
    Timestamp::from_second(at as i64).map_or_else(|_| format!("{at}"), |t| t.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Demand, String> {
        Demand::read("demand.csv", text.as_bytes()).map_err(|e| e.to_string())
    }

    #[test]
    fn reads_both_ways_of_telling_time() {
        let unix = read("timestamp,reads_per_second\n1700000000,5\n1700000060,7\n").expect("read");
        let rfc = read(
            "timestamp,reads_per_second,writes_per_second\n2023-11-14T23:13:20+01:00,5,1\n2023-11-14T22:14:20Z,7,\n",
        );
        let rfc = rfc.expect("read");
        assert_eq!(unix.samples[1].from, rfc.samples[1].from);
        assert_eq!((rfc.samples[0].writes, rfc.samples[1].writes), (Some(1.0), None));
        assert_eq!((rfc.notes.len(), rfc.zones.len()), (1, 1), "the zone changed: {:?}", rfc.notes);
    }

    #[test]
    fn a_missing_hour_is_a_gap_not_a_long_sample() {
        let d = read("timestamp,reads_per_second\n0,5\n60,5\n120,5\n3720,5\n3780,5\n").expect("read");
        let ends: Vec<f64> = d.samples.iter().map(|s| s.until).collect();
        assert_eq!(ends, [60.0, 120.0, 180.0, 3780.0, 3840.0]);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_line() {
        for (text, says) in [
            ("timestamp,reads_per_second\n0,5\n60,-1\n", "line 3: reads_per_second is `-1`"),
            ("timestamp,reads_per_second\n0,5\n60,nan\n", "line 3"),
            ("timestamp,reads_per_second\n60,5\n0,5\n", "line 3: time does not go on"),
            ("timestamp,reads_per_second\n2026-01-01T00:00:00,5\n", "with its zone"),
            ("timestamp,reads_per_second\n1700000000000,5\n", "milliseconds"),
            ("time,reads\n0,5\n", "no column `timestamp`"),
            ("timestamp,reads_per_second\n0,5\n", "at least two"),
            ("", "no column"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(says), "{text:?}: {error}");
        }
    }
}
