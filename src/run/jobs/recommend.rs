//! Does a `serin recommend`: each viewer's list as lines of a CSV file, whole or not at all.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::model_work::model_work;
use crate::model::csv_file::{CsvFile, quoted};
use crate::model::error::ModelError;
use crate::model::files::Model;
use crate::model::recommend;
use crate::run::error::RunError;
use crate::run::event::Event;
use crate::run::job::{Desk, Job};
use crate::run::summary::Summary;
use crate::stats::progress::Progress;
use crate::stats::units::grouped;

#[derive(Debug)]
pub struct Recommend {
    pub model: PathBuf,
    pub out: PathBuf,
    /// Only these viewers: a CSV file with USER_ID.
    pub users: Option<PathBuf>,
    pub top: usize,
    /// 0 is one a core.
    pub threads: usize,
}

impl Job for Recommend {
    fn kind(&self) -> &'static str {
        "recommend"
    }

    fn title(&self) -> String {
        format!("top {} of {} → {}", self.top, self.model.display(), self.out.display())
    }

    fn run(self: Box<Self>, desk: &Desk) -> Result<Summary, RunError> {
        let (lists, unknown, id) = model_work(desk, self.threads, |_| {
            let model = Model::open(&self.model)?;
            let (viewers, unknown) = match &self.users {
                Some(path) => wanted(&model, path)?,
                None => ((0..model.viewers() as u32).collect(), 0),
            };
            let temporary = self.out.with_extension(format!("csv.part.{}", std::process::id()));
            let written = self.write(&model, &viewers, &temporary, desk);
            if written.is_err() {
                let _ = fs::remove_file(&temporary);
            }
            Ok((written?, unknown, model.id().to_owned()))
        })?;
        let mut lines = vec![format!("{} lists of {id} in {}", grouped(lists), self.out.display())];
        if unknown > 0 {
            lines.push(format!("{} users are unknown to the model and have no list", grouped(unknown)));
        }
        Ok(Summary {
            title: self.title(),
            verdict: None,
            reason: String::new(),
            document: json!({
                "schema": "serin.recommend/1",
                "model": id,
                "out": self.out.display().to_string(),
                "top": self.top,
                "lists": lists,
                "unknown_users": unknown,
            }),
            lines,
            stopped: false,
        })
    }
}

impl Recommend {
    fn write(&self, model: &Model, viewers: &[u32], path: &Path, desk: &Desk) -> Result<u64, ModelError> {
        let file = File::create(path).map_err(ModelError::writing(&self.out))?;
        let mut out = BufWriter::with_capacity(1 << 20, file);
        let programmes: Vec<String> = (0..model.programmes() as u32).map(|p| quoted(model.programme_id(p))).collect();
        let (mut lists, mut failed) = (0_u64, writeln!(out, "user,rank,item,score").err());
        recommend::lists_of(model, viewers, self.top, &desk.stop, |viewer, list| {
            lists += 1;
            if failed.is_none() {
                let user = quoted(model.viewer_id(viewer));
                let lines = list.iter().enumerate().try_for_each(|(i, (programme, score))| {
                    writeln!(out, "{user},{},{},{score}", i + 1, programmes[*programme as usize])
                });
                failed = lines.err();
            }
            if lists.is_multiple_of(4096) || lists == viewers.len() as u64 {
                let total = viewers.len() as f64;
                let (task, unit, done) = ("making lists".to_owned(), "viewers".to_owned(), lists as f64);
                let note = String::new();
                desk.tell(Event::Progress(Progress { task, done, total: Some(total), unit, left_s: None, note }));
            }
        })?;
        let whole = match failed {
            Some(e) => Err(e),
            None => out.into_inner().map_err(std::io::IntoInnerError::into_error).and_then(|file| file.sync_all()),
        };
        whole.and_then(|()| fs::rename(path, &self.out)).map_err(ModelError::writing(&self.out))?;
        Ok(lists)
    }
}

/// Returns the viewers who are asked for, in the model's order, and how many are not known.
fn wanted(model: &Model, path: &Path) -> Result<(Vec<u32>, u64), ModelError> {
    let file = CsvFile::open(path)?;
    let id = file.needed("USER_ID")?;
    let found: Vec<Option<u32>> = file.rows.iter().map(|(_, row)| model.viewer_index(&row[id])).collect();
    let unknown = found.iter().filter(|v| v.is_none()).count() as u64;
    let mut viewers: Vec<u32> = found.into_iter().flatten().collect();
    viewers.sort_unstable();
    viewers.dedup();
    Ok((viewers, unknown))
}
