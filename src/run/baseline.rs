//! Which past run each load is compared with: kept by hand in the console, used by `serin gate --baseline kept`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::error::RunError;
use super::past::Entry;
use crate::durable;

/// Below `SERIN_HOME`: the title of a load to the folder of its run.
const FILE: &str = "baselines.json";

fn read(home: &Path) -> io::Result<BTreeMap<String, PathBuf>> {
    match fs::read(home.join(FILE)) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::other),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(e) => Err(e),
    }
}

/// Keeps a run as the baseline of all loads of its scenario and target, instead of the one before.
pub fn keep(home: &Path, run: &Entry) -> io::Result<()> {
    let mut kept = read(home)?;
    kept.insert(run.began.title.clone(), fs::canonicalize(&run.folder)?);
    fs::create_dir_all(home)?;
    durable::write(&home.join(FILE), &serde_json::to_vec_pretty(&kept).map_err(io::Error::other)?)
}

/// Returns the baseline that was kept for a load, by its title.
pub fn find(home: &Path, title: &str) -> Result<PathBuf, RunError> {
    let kept = read(home).map_err(|e| RunError::misuse(format!("{}: {e}", home.join(FILE).display())))?;
    kept.get(title).cloned().ok_or_else(|| {
        let cause = format!("no baseline is kept for {title}");
        RunError::misuse(cause).hint("press b on the Runs screen, or name a run: --baseline RUN")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::event::Began;

    #[test]
    fn the_last_one_kept_is_found_and_nothing_else() {
        let home = tempfile::tempdir().expect("a folder");
        let run = |name: &str| {
            let folder = home.path().join(name);
            fs::create_dir_all(&folder).expect("made");
            let word = || "load".to_owned();
            let title = "evening → staging".to_owned();
            let began = Began { kind: word(), title, command: word(), at: word(), version: word(), host: word() };
            let (verdict, reason, p99_ms) = (None, String::new(), None);
            Entry { name: name.to_owned(), folder, began, verdict, reason, p99_ms, ended: true }
        };
        let none = find(home.path(), "evening → staging").expect_err("nothing was kept");
        assert!(none.to_string().contains("no baseline is kept for evening → staging"), "{none}");
        keep(home.path(), &run("one")).expect("kept");
        keep(home.path(), &run("two")).expect("kept");
        let found = find(home.path(), "evening → staging").expect("kept");
        assert_eq!(found.file_name().and_then(|n| n.to_str()), Some("two"));
        assert!(find(home.path(), "evening → production").is_err());
        fs::write(home.path().join(FILE), "{").expect("written");
        assert!(find(home.path(), "evening → staging").is_err());
    }
}
