//! Which viewer asks next: drawn by Zipf or evenly, from a numbered crowd or a file; the same index gives the same viewer.

use std::path::Path;

use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Zipf};
use rand_pcg::Pcg64Mcg;

use super::error::LoadError;

/// Larger lists belong into a numbered crowd.
const MOST_BYTES: u64 = 1 << 30;

#[derive(Clone, Debug)]
pub struct Audience {
    names: Names,
    /// `None` draws evenly.
    zipf: Option<Zipf<f64>>,
}

#[derive(Clone, Debug)]
enum Names {
    /// `prefix` and a number from zero on.
    Numbered { prefix: String, count: u64 },
    /// One text, and where each name ends in it.
    Listed { text: String, ends: Vec<u32> },
}

impl Audience {
    /// `count` viewers called `prefix0`, `prefix1`, ..; `exponent` 0 draws evenly.
    pub fn numbered(prefix: &str, count: u64, exponent: f64) -> Result<Self, LoadError> {
        Ok(Self { names: Names::Numbered { prefix: prefix.to_owned(), count }, zipf: zipf(count, exponent)? })
    }

    /// The viewers of a file, most active first: the column USER_ID of a CSV file, or one a line.
    pub fn from_file(path: &Path, exponent: f64) -> Result<Self, LoadError> {
        let name = path.display().to_string();
        let failed = |why: String| LoadError::File { name: name.clone(), why };
        let size = std::fs::metadata(path).map_err(|e| failed(e.to_string()))?.len();
        if size > MOST_BYTES {
            return Err(failed("it is over 1 GiB; number the viewers with `prefix` and `count`".to_owned()));
        }
        let file = std::fs::File::open(path).map_err(|e| failed(e.to_string()))?;
        let mut rows = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(file);
        let (mut text, mut ends, mut column) = (String::new(), Vec::new(), 0);
        for (number, row) in rows.records().enumerate() {
            let row = row.map_err(|e| failed(e.to_string()))?;
            let header = row.iter().position(|c| c.eq_ignore_ascii_case("USER_ID"));
            if let (0, Some(found)) = (number, header) {
                column = found;
                continue;
            }
            if let Some(viewer) = row.get(column).map(str::trim).filter(|v| !v.is_empty()) {
                text.push_str(viewer);
                ends.push(text.len() as u32);
            }
        }
        if ends.is_empty() {
            return Err(failed("it names no viewer".to_owned()));
        }
        let zipf = zipf(ends.len() as u64, exponent)?;
        Ok(Self { names: Names::Listed { text, ends }, zipf })
    }

    /// The viewers given by name.
    pub fn listed(names: impl IntoIterator<Item = String>, exponent: f64) -> Result<Self, LoadError> {
        let (mut text, mut ends) = (String::new(), Vec::new());
        for name in names {
            text.push_str(&name);
            ends.push(text.len() as u32);
        }
        let zipf = zipf(ends.len() as u64, exponent)?;
        Ok(Self { names: Names::Listed { text, ends }, zipf })
    }

    pub fn count(&self) -> u64 {
        match &self.names {
            Names::Numbered { count, .. } => *count,
            Names::Listed { ends, .. } => ends.len() as u64,
        }
    }

    /// Draws the viewer of one request and writes the name into `out`.
    pub fn draw(&self, rng: &mut Pcg64Mcg, out: &mut String) {
        let count = self.count();
        let rank = match &self.zipf {
            Some(zipf) => (zipf.sample(rng) as u64).clamp(1, count) - 1,
            None => rng.random_range(0..count),
        };
        out.clear();
        match &self.names {
            Names::Numbered { prefix, .. } => {
                use std::fmt::Write;
                let _ = write!(out, "{prefix}{rank}");
            }
            Names::Listed { text, ends } => {
                let rank = rank as usize;
                let begin = if rank == 0 { 0 } else { ends[rank - 1] as usize };
                out.push_str(&text[begin..ends[rank] as usize]);
            }
        }
    }
}

fn zipf(count: u64, exponent: f64) -> Result<Option<Zipf<f64>>, LoadError> {
    if count == 0 {
        return Err(LoadError::Asked("an audience needs at least one viewer".to_owned()));
    }
    if exponent == 0.0 {
        return Ok(None);
    }
    let made = Zipf::new(count as f64, exponent);
    made.map(Some).map_err(|_| LoadError::Asked(format!("zipf = {exponent} is not an exponent; write for example 1.0")))
}

/// Returns the chance of one request: the same in every worker, shard and process.
pub fn chance(seed: u64, index: u64) -> Pcg64Mcg {
    Pcg64Mcg::seed_from_u64(seed ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zipf_audience_has_a_busy_head_and_repeats_itself() {
        let audience = Audience::numbered("v", 1000, 1.0).expect("made");
        let draw = |index| {
            let mut name = String::new();
            audience.draw(&mut chance(7, index), &mut name);
            name
        };
        let first = (0..10_000).filter(|i| draw(*i) == "v0").count();
        // 1 / H(1000) = 13.4 %.
        assert!((1_240..1_440).contains(&first), "{first}");
        assert_eq!(draw(42), draw(42));
    }

    #[test]
    fn a_file_gives_its_user_id_column_or_its_lines() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("users.csv");
        for text in ["AGE,USER_ID\n3,ann\n4,bob\n", "ann\nbob\n"] {
            std::fs::write(&path, text).expect("written");
            let audience = Audience::from_file(&path, 0.0).expect("read");
            assert_eq!(audience.count(), 2);
            let mut name = String::new();
            (0..20).for_each(|i| {
                audience.draw(&mut chance(1, i), &mut name);
                assert!(["ann", "bob"].contains(&name.as_str()), "{name}");
            });
        }
        std::fs::write(&path, "USER_ID\n").expect("written");
        assert!(Audience::from_file(&path, 0.0).is_err());
    }
}
