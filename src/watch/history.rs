//! What a target said in the past: one small file a target, fine for an hour, coarser the older, gone after five weeks.

use std::fs;
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};

use super::error::WatchError;
use super::sample::Sample;

/// Up to an age, how far apart samples are kept.
pub struct Tier {
    pub until_s: f64,
    pub step_s: f64,
}

/// A quarter of an hour as it came, an hour by ten seconds, a day by minutes, four days by five minutes (a burn rate looks
/// back three), eight by quarters of an hour (what is usual is a week old), five weeks by hours.
pub const TIERS: [Tier; 6] = [
    Tier { until_s: 900.0, step_s: 2.0 },
    Tier { until_s: 3600.0, step_s: 10.0 },
    Tier { until_s: 86_400.0, step_s: 60.0 },
    Tier { until_s: 4.0 * 86_400.0, step_s: 300.0 },
    Tier { until_s: 8.0 * 86_400.0, step_s: 900.0 },
    Tier { until_s: 35.0 * 86_400.0, step_s: 3600.0 },
];

/// A file grown past this, and to twice what it was after it was thinned last, is thinned before the next line.
const THIN_AT: u64 = 12 << 20;

/// One byte of the mark stands for so many of the file.
const MARK: u64 = 4096;

/// The kept samples of one target.
#[derive(Clone, Debug)]
pub struct History {
    path: PathBuf,
}

impl History {
    /// The history of a target below the user's state.
    pub fn of(home: &Path, target: &str) -> Self {
        Self { path: place(home, target, "jsonl") }
    }

    /// Returns the samples at or after `from`; none where nobody has watched yet.
    pub fn read(&self, from: f64) -> Result<Vec<Sample>, WatchError> {
        let file = match fs::File::open(&self.path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(self.failed(&e)),
        };
        let mut out = Vec::new();
        // A line that another program garbled is left out; the rest is still the past.
        for sample in crate::journal::lines::<Sample>(BufReader::new(file)).flatten() {
            if sample.at >= from {
                out.push(sample);
            }
        }
        Ok(out)
    }

    /// Appends samples, thinning and pruning first when the file has grown.
    pub fn keep(&self, samples: &[Sample], now: f64) -> Result<(), WatchError> {
        let whole = || -> io::Result<()> {
            fs::create_dir_all(self.path.parent().unwrap_or(Path::new(".")))?;
            let mut lines = Vec::new();
            for sample in samples {
                serde_json::to_writer(&mut lines, sample)?;
                lines.push(b'\n');
            }
            let least = fs::metadata(self.path.with_extension("thinned")).map_or(0, |m| m.len() * MARK);
            if fs::metadata(&self.path).is_ok_and(|m| m.len() > THIN_AT.max(least * 2)) {
                self.thin(now)?;
            }
            // One write a call: two writers never tear each other's lines.
            fs::OpenOptions::new().create(true).append(true).open(&self.path)?.write_all(&lines)
        };
        whole().map_err(|e| self.failed(&e))
    }

    fn thin(&self, now: f64) -> io::Result<()> {
        let all: Vec<Sample> = crate::journal::lines(BufReader::new(fs::File::open(&self.path)?)).flatten().collect();
        let temporary = self.path.with_extension(format!("{}.new", std::process::id()));
        let mut out = io::BufWriter::new(fs::File::create(&temporary)?);
        for sample in thinned(all, now) {
            serde_json::to_writer(&mut out, &sample)?;
            out.write_all(b"\n")?;
        }
        let file = out.into_inner()?;
        file.sync_all()?;
        // How large it is now, as the length of a file beside it.
        fs::File::create(self.path.with_extension("thinned"))?.set_len(file.metadata()?.len() / MARK)?;
        fs::rename(temporary, &self.path)
    }

    fn failed(&self, error: &io::Error) -> WatchError {
        WatchError::File { path: self.path.clone(), why: error.to_string() }
    }
}

/// Where something is kept of a target; the name is made safe for a file.
pub fn place(home: &Path, target: &str, what: &str) -> PathBuf {
    let safe = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let name: String = target.chars().map(safe).take(80).collect();
    home.join("history").join(format!("{name}.{what}"))
}

/// Keeps one sample an instance and step; the newest of each step, so that counters lose nothing.
fn thinned(mut samples: Vec<Sample>, now: f64) -> Vec<Sample> {
    samples.sort_by(|a, b| b.at.total_cmp(&a.at));
    let mut kept = std::collections::BTreeSet::new();
    samples.retain(|s| {
        let Some((tier, step)) =
            TIERS.iter().enumerate().find(|(_, t)| now - s.at < t.until_s).map(|(i, t)| (i, t.step_s))
        else {
            return false;
        };
        kept.insert((s.instance.clone(), tier, (s.at / step) as i64))
    });
    samples.reverse();
    samples
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::sample::Signal;
    use crate::watch::series::Series;

    fn sample(at: f64, value: f64) -> Sample {
        let mut sample = Sample::new(at, "a");
        sample.set(Signal::Requests, value);
        sample
    }

    #[test]
    fn what_is_kept_is_read_back_and_a_torn_line_is_no_error() {
        let dir = tempfile::tempdir().expect("a folder");
        let history = History::of(dir.path(), "../local");
        assert!(history.read(0.0).expect("empty").is_empty());
        history.keep(&[sample(1.0, 1.0), sample(2.0, 2.0)], 2.0).expect("kept");
        let mut file = fs::OpenOptions::new().append(true).open(&history.path).expect("there");
        file.write_all(b"{\"at\":3").expect("torn");
        assert_eq!(history.read(2.0).expect("reads"), [sample(2.0, 2.0)]);
        assert!(history.path.starts_with(dir.path()));
    }

    #[test]
    fn five_weeks_shrink_to_few_samples_and_lose_no_count() {
        let now = 40.0 * 86_400.0;
        let all: Vec<_> = (0..40 * 1440).map(|i| f64::from(i) * 60.0).map(|at| sample(at, at)).collect();
        let kept = thinned(all, now);
        assert!(kept.len() < 4000, "{}", kept.len());
        let series = Series::new(kept);
        let growth = series.growth(Signal::Requests, now - 30.0 * 86_400.0, now).expect("known");
        assert!((growth.amount / (30.0 * 86_400.0) - 1.0).abs() < 0.01, "{growth:?}");
    }
}
