//! Recorded numbers, a line an interval, each judged as of its time.

use std::io::{self, BufRead};

use crate::judge::interval::Interval;
use crate::judge::sequential::{Call, Judge, Look, Terms};

#[derive(Debug, thiserror::Error)]
pub enum SeriesError {
    #[error("{name}:{line}: {what}")]
    Line { name: String, line: usize, what: String },
    #[error("{name} cannot be read: {source}")]
    Read { name: String, source: io::Error },
}

/// Judges every line of `from`, handing each judgement and what it was made of on as it is made; returns the last one.
///
/// A last line that was cut off in the middle is an interval without numbers, as its writer may still be at work.
pub fn judge(
    name: &str,
    mut from: impl BufRead,
    terms: Terms,
    mut hear: impl FnMut(&Look, Option<&Interval>),
) -> Result<Option<Look>, SeriesError> {
    let mut judge = Judge::new(terms);
    let mut last: Option<Look> = None;
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        let read = from.read_until(b'\n', &mut bytes);
        if read.map_err(|source| SeriesError::Read { name: name.to_owned(), source })? == 0 {
            break;
        }
        let refuse = |what: String| SeriesError::Line { name: name.to_owned(), line, what };
        let text = std::str::from_utf8(&bytes).map_err(|_| refuse("is not UTF-8 text".to_owned()))?;
        if text.trim().is_empty() {
            continue;
        }
        let (look, interval) = match Interval::parse(text.trim()) {
            Ok(interval) => (judge.look(&interval).map_err(refuse)?, Some(interval)),
            Err(_) if !text.ends_with('\n') && is_cut(text) => (cut_off(line, last.as_ref()), None),
            Err(what) => return Err(refuse(what)),
        };
        hear(&look, interval.as_ref());
        last = Some(look);
    }
    Ok(last)
}

/// Whether JSON simply ends too early.
fn is_cut(text: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(text.trim()).is_err_and(|e| e.is_eof())
}

fn cut_off(line: usize, last: Option<&Look>) -> Look {
    let reason = format!("line {line} is cut off in the middle: an interval without numbers");
    let t = last.map_or(0.0, |l| l.t);
    match last {
        Some(look) if look.verdict == Call::Rollback => Look { evidence: Vec::new(), ..look.clone() },
        _ => Look { t, verdict: Call::CannotTell, reason, evidence: Vec::new() },
    }
}
