//! Runs in an object store, so that generators which never meet bring their shards to one place: a folder or a bucket.

use std::fs;
use std::path::{Path, PathBuf};

use object_store::path::Path as Place;
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload, parse_url_opts};
use tokio::runtime::Runtime;

use super::error::RunError;
use super::folder::{JOURNAL, SUMMARY};

/// The most that one file of a run may hold.
const MOST_BYTES: u64 = 1 << 30;

pub struct Depot {
    url: String,
    store: Box<dyn ObjectStore>,
    below: Place,
    runtime: Runtime,
}

impl Depot {
    /// Whether a word names a depot, and not a run.
    pub fn is_named_by(word: &str) -> bool {
        word.contains("://")
    }

    /// Opens `s3://bucket/prefix` or `file:///folder`; keys, region and endpoint come from the environment's `AWS_..` or
    /// the machine's role.
    pub fn open(url: &str) -> Result<Self, RunError> {
        let wrong = |what: String| {
            RunError::misuse(format!("{url} is no place for runs: {what}"))
                .hint("write s3://bucket/prefix or file:///folder")
        };
        let parsed = reqwest::Url::parse(url).map_err(|e| wrong(e.to_string()))?;
        if !["file", "s3"].contains(&parsed.scheme()) {
            return Err(wrong(format!("`{}` is not spoken", parsed.scheme())));
        }
        if let Some(folder) = parsed.to_file_path().ok().filter(|_| parsed.scheme() == "file") {
            fs::create_dir_all(folder).map_err(|e| wrong(e.to_string()))?;
        }
        let own = std::env::vars().filter(|(name, _)| name.starts_with("AWS_"));
        let mut options: Vec<(String, String)> = own.map(|(n, v)| (n.to_lowercase(), v)).collect();
        if options.iter().any(|(n, v)| n.starts_with("aws_endpoint") && v.starts_with("http://")) {
            options.push(("aws_allow_http".to_owned(), "true".to_owned()));
        }
        let (store, below) = parse_url_opts(&parsed, options).map_err(|e| wrong(e.to_string()))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Ok(Self { url: url.to_owned(), store, below, runtime: runtime.map_err(|e| wrong(e.to_string()))? })
    }

    fn failed(&self, what: impl ToString) -> RunError {
        RunError::cannot_tell(format!("{}: {}", self.url, what.to_string()))
    }

    /// Brings a run there under a name; its summary comes last, so a run that has one is whole.
    pub fn keep(&self, folder: &Path, name: &str) -> Result<(), RunError> {
        let mut files: Vec<PathBuf> = fs::read_dir(folder)
            .map_err(|e| self.failed(e))?
            .flatten()
            .map(|f| f.path())
            .filter(|p| p.is_file())
            .collect();
        files.sort_by_key(|path| (path.ends_with(SUMMARY), path.clone()));
        for path in files {
            let file = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            if file.starts_with('.') {
                continue;
            }
            let bytes = fs::read(&path).map_err(|e| self.failed(e))?;
            let place = self.below.clone().join(name).join(file);
            self.runtime.block_on(self.store.put(&place, PutPayload::from(bytes))).map_err(|e| self.failed(e))?;
        }
        Ok(())
    }

    /// Brings every whole run from there into folders below `into`; one that is there already is not fetched again.
    pub fn fetch(&self, into: &Path) -> Result<Vec<PathBuf>, RunError> {
        let listed =
            self.runtime.block_on(self.store.list_with_delimiter(Some(&self.below))).map_err(|e| self.failed(e))?;
        let mut runs = Vec::new();
        for run in listed.common_prefixes {
            let within =
                self.runtime.block_on(self.store.list_with_delimiter(Some(&run))).map_err(|e| self.failed(e))?;
            let named = |file: &str| within.objects.iter().any(|o| o.location.filename() == Some(file));
            let Some(name) = run.filename().filter(|_| named(SUMMARY) && named(JOURNAL)) else { continue };
            let folder = into.join(name);
            if !folder.join(SUMMARY).is_file() {
                self.fetch_run(&within.objects, &folder)?;
            }
            runs.push(folder);
        }
        if runs.is_empty() { Err(self.failed("holds no whole run")) } else { Ok(runs) }
    }

    fn fetch_run(&self, objects: &[object_store::ObjectMeta], folder: &Path) -> Result<(), RunError> {
        fs::create_dir_all(folder).map_err(|e| self.failed(e))?;
        let mut objects: Vec<_> = objects.iter().collect();
        objects.sort_by_key(|o| o.location.filename() == Some(SUMMARY));
        for object in objects {
            let Some(file) = object.location.filename() else { continue };
            if object.size > MOST_BYTES {
                return Err(self.failed(format!("{} is over 1 GiB", object.location)));
            }
            let bytes = self.runtime.block_on(async { self.store.get(&object.location).await?.bytes().await });
            let bytes = bytes.map_err(|e| self.failed(e))?;
            crate::durable::write(&folder.join(file), &bytes).map_err(|e| self.failed(e))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_comes_back_as_it_went_and_a_torn_one_is_left_where_it_is() {
        let dir = tempfile::tempdir().expect("a folder");
        let run = dir.path().join("run");
        fs::create_dir_all(&run).expect("made");
        for (file, text) in [(SUMMARY, "{}"), (JOURNAL, "events"), ("report.md", "# go")] {
            fs::write(run.join(file), text).expect("written");
        }
        let url = format!("file://{}", dir.path().join("depot").display());
        let depot = Depot::open(&url).expect("opens");
        assert!(depot.fetch(dir.path()).is_err(), "nothing there yet");
        depot.keep(&run, "a-1-of-2").expect("kept");
        fs::remove_file(run.join(SUMMARY)).expect("torn");
        depot.keep(&run, "b-2-of-2").expect("kept");
        let into = dir.path().join("back");
        let runs = depot.fetch(&into).expect("fetched");
        assert_eq!(runs, [into.join("a-1-of-2")]);
        assert_eq!(fs::read(runs[0].join("report.md")).expect("there"), b"# go");
        assert_eq!(depot.fetch(&into).expect("again").len(), 1);
        for bad in ["http://x/y", "ftp://x", "s3:///"] {
            assert!(Depot::open(bad).is_err(), "{bad}");
        }
    }
}
