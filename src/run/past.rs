//! Past runs: listed, found by name, read back from their folders alone.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::error::RunError;
use super::event::{Began, Event};
use super::folder::{JOURNAL, SUMMARY};
use super::journal;
use crate::judge::verdict::Verdict;
use crate::load::summary::{LoadSummary, SCHEMA};
use crate::load::tick::{LoadPlan, Tick};
use crate::toml_file::nearest;

/// One run, as a list shows it.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    pub name: String,
    pub folder: PathBuf,
    pub began: Began,
    /// `None` for work without a judgement, and for a run that never ended.
    pub verdict: Option<Verdict>,
    pub reason: String,
    /// Of a run that sent load and was answered.
    pub p99_ms: Option<f64>,
    /// Whether the run wrote its summary; a killed one did not.
    pub ended: bool,
}

/// Returns the runs in a folder, newest first; folders that hold no run are passed over.
pub fn list(reports: &Path) -> io::Result<Vec<Entry>> {
    let folders = match fs::read_dir(reports) {
        Ok(folders) => folders,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut runs: Vec<_> = folders.flatten().filter_map(|f| entry(&f.path())).collect();
    runs.sort_by(|a, b| (&b.began.at, &b.name).cmp(&(&a.began.at, &a.name)));
    Ok(runs)
}

/// Returns what a folder says of its run, or `None` when it holds none.
pub fn entry(folder: &Path) -> Option<Entry> {
    let Ok(Event::Began(began)) = journal::events(folder).ok()?.next()? else { return None };
    let document = summary(folder).ok();
    let text = |key: &str| document.as_ref().and_then(|d| d.get(key)).and_then(|v| v.as_str()).map(str::to_owned);
    Some(Entry {
        name: folder.file_name()?.to_string_lossy().into_owned(),
        folder: folder.to_owned(),
        began,
        verdict: text("verdict").and_then(|v| serde_json::from_value(v.into()).ok()),
        reason: text("reason").unwrap_or_default(),
        p99_ms: document.as_ref().and_then(|d| d.pointer("/latency_ms/p99").and_then(serde_json::Value::as_f64)),
        ended: document.is_some(),
    })
}

/// Returns the document of a run that ended.
pub fn summary(folder: &Path) -> io::Result<serde_json::Value> {
    serde_json::from_slice(&fs::read(folder.join(SUMMARY))?).map_err(io::Error::other)
}

/// Finds a run by its folder, its name, a part of its name that no other run has, or `latest`.
pub fn find(reports: &Path, asked: &str) -> Result<PathBuf, RunError> {
    let direct = [PathBuf::from(asked), reports.join(asked)];
    if let Some(folder) = direct.into_iter().find(|f| f.join(JOURNAL).is_file()) {
        return Ok(folder);
    }
    let runs = list(reports).map_err(|e| RunError::misuse(format!("{}: {e}", reports.display())))?;
    if asked == "latest" {
        let newest = runs.into_iter().next().map(|r| r.folder);
        return newest.ok_or_else(|| RunError::misuse(format!("there is no run in {} yet", reports.display())));
    }
    let alike: Vec<_> = runs.iter().filter(|r| r.name.contains(asked)).collect();
    match alike.as_slice() {
        [one] => Ok(one.folder.clone()),
        [] => {
            let cause = format!("there is no run `{asked}` in {}", reports.display());
            Err(RunError::misuse(cause).hint(match nearest(asked, runs.iter().map(|r| r.name.as_str())) {
                Some(name) => format!("the nearest name is {name}"),
                None => "`serin report list` shows the runs; --out DIR names another folder".to_owned(),
            }))
        }
        [first, second, ..] => {
            let cause = format!("`{asked}` names {} runs, {} and {} among them", alike.len(), first.name, second.name);
            Err(RunError::misuse(cause).hint("write more of the name"))
        }
    }
}

/// A past load, gate or replay: what was planned and, when it ended, what came of it.
#[derive(Clone, Debug)]
pub struct PastLoad {
    pub folder: PathBuf,
    pub began: Began,
    pub plan: LoadPlan,
    /// `None` for a run that was killed before its summary.
    pub summary: Option<LoadSummary>,
}

impl PastLoad {
    pub fn open(folder: &Path) -> Result<Self, RunError> {
        let not = |what: String| RunError::misuse(format!("{}: {what}", folder.display()));
        let began = entry(folder).ok_or_else(|| not("holds no readable run".to_owned()))?.began;
        let mut plan = None;
        for event in journal::events(folder).map_err(|e| not(e.to_string()))? {
            match event.map_err(|e| not(e.to_string()))? {
                Event::LoadPlan(found) => plan = Some(found),
                Event::Tick(_) | Event::Ended(_) => break,
                _ => {}
            }
        }
        let plan = plan.ok_or_else(|| not(format!("is a {} run and sent no load", began.kind)))?;
        let document = summary(folder).ok().filter(|d| d["schema"] == SCHEMA);
        let summary = document.map(serde_json::from_value).transpose();
        let summary = summary.map_err(|e| not(format!("{SUMMARY} is not a {SCHEMA} document: {e}")))?;
        Ok(Self { folder: folder.to_owned(), began, plan, summary })
    }

    /// Hands on each second of the run, in order, one at a time.
    pub fn each_tick(&self, mut take: impl FnMut(Tick)) -> Result<(), RunError> {
        let failed = |e: io::Error| RunError::cannot_tell(format!("{}: {e}", self.folder.join(JOURNAL).display()));
        for event in journal::events(&self.folder).map_err(failed)? {
            if let Event::Tick(tick) = event.map_err(failed)? {
                take(*tick);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable;
    use crate::run::journal::RunJournal;

    fn run(reports: &Path, name: &str, at: &str, document: Option<&str>) -> PathBuf {
        let folder = reports.join(name);
        fs::create_dir_all(&folder).expect("a folder");
        let began = Began {
            kind: "load".to_owned(),
            title: "evening".to_owned(),
            command: "serin load".to_owned(),
            at: at.to_owned(),
            version: String::new(),
            host: String::new(),
        };
        let mut journal = RunJournal::create(&folder).expect("a journal");
        journal.append(&[Event::Began(began), Event::LoadPlan(LoadPlan::default())]).expect("appended");
        journal.append(&[Event::Tick(Box::new(Tick { due: 7, ..Tick::default() }))]).expect("appended");
        if let Some(text) = document {
            durable::write(&folder.join(SUMMARY), text.as_bytes()).expect("written");
        }
        folder
    }

    #[test]
    fn runs_are_listed_newest_first_and_a_killed_one_is_told_apart() {
        let dir = tempfile::tempdir().expect("a folder");
        assert!(list(&dir.path().join("none")).expect("empty").is_empty());
        run(dir.path(), "b-old", "2026-11-22T20:25:10Z", Some(r#"{"verdict":"go","reason":"all met"}"#));
        run(dir.path(), "a-new", "2026-11-23T20:25:10Z", None);
        fs::create_dir(dir.path().join("no run at all")).expect("a folder");
        let seen: Vec<_> =
            list(dir.path()).expect("listed").into_iter().map(|r| (r.name, r.verdict, r.ended)).collect();
        assert_eq!(seen, [("a-new".to_owned(), None, false), ("b-old".to_owned(), Some(Verdict::Go), true)]);
    }

    #[test]
    fn a_run_is_found_by_any_part_of_its_name_that_is_its_own() {
        let dir = tempfile::tempdir().expect("a folder");
        let first = run(dir.path(), "2026-11-23T2025Z-load-evening", "2026-11-23T20:25:10Z", None);
        let second = run(dir.path(), "2026-11-23T2030Z-load-evening", "2026-11-23T20:30:10Z", None);
        let found = |asked: &str| find(dir.path(), asked);
        assert_eq!(found("2025Z").expect("found"), first);
        assert_eq!(found("latest").expect("found"), second);
        assert_eq!(found(&first.display().to_string()).expect("found"), first);
        let both = found("evening").expect_err("two").to_string();
        assert!(both.starts_with("`evening` names 2 runs"), "{both}");
        assert!(found("2026-11-23T2025Z-load-evning").is_err());
    }

    #[test]
    fn ticks_come_back_one_by_one_also_from_a_killed_run() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = run(dir.path(), "killed", "2026-11-23T20:25:10Z", None);
        let past = PastLoad::open(&folder).expect("opens");
        let mut due = 0;
        past.each_tick(|t| due += t.due).expect("reads");
        assert_eq!((due, past.summary.is_none()), (7, true));
    }
}
