//! One folder a run, under `reports/`: made unique, written atomically, read back by name.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub const SUMMARY: &str = "summary.json";
pub const JOURNAL: &str = "events.jsonl.gz";

/// Makes `reports/2026-11-23T2025Z-load-evening-peak`, with `-2`, `-3`.. when that name is taken.
pub fn make(reports: &Path, now: jiff::Timestamp, kind: &str, title: &str) -> io::Result<PathBuf> {
    fs::create_dir_all(reports)?;
    let stamp = now.strftime("%Y-%m-%dT%H%MZ");
    let base = format!("{stamp}-{kind}-{}", slug(title));
    for n in 1..10_000 {
        let name = if n == 1 { base.clone() } else { format!("{base}-{n}") };
        let path = reports.join(name);
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
    Err(io::Error::other(format!("{} holds ten thousand runs of this minute", reports.display())))
}

/// Lower-case words joined by dashes, at most 40 characters.
fn slug(title: &str) -> String {
    let mut out = String::new();
    for c in title.chars().take(80) {
        if c.is_ascii_alphanumeric() {
            out.push(c.to_ascii_lowercase());
        } else if !out.is_empty() && !out.ends_with('-') {
            out.push('-');
        }
    }
    out.truncate(40);
    out.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_runs_of_one_minute_get_two_folders() {
        let dir = tempfile::tempdir().expect("a folder");
        let now: jiff::Timestamp = "2026-11-23T20:25:10Z".parse().expect("a time");
        let names: Vec<_> = (0..2)
            .map(|_| make(dir.path(), now, "load", "Evening peak → local").expect("made"))
            .map(|p| p.file_name().expect("named").to_string_lossy().into_owned())
            .collect();
        assert_eq!(names, ["2026-11-23T2025Z-load-evening-peak-local", "2026-11-23T2025Z-load-evening-peak-local-2"]);
    }
}
