//! Lists of a model to the store that serves: made, written, checked, read back in part, then switched to by one pointer.

use std::path::Path;

use super::catalogue::Catalogue;
use super::error::ServeError;
use super::store::Meta;
use super::stores::embedded::{Published, Writer};
use crate::model::error::ModelError;
use crate::model::files::Model;
use crate::model::recommend::top_lists;
use crate::stats::progress::{Progress, Tell};
use crate::stop::Stop;

/// What is published, and how much of it.
pub struct Order<'a> {
    pub model: &'a Model,
    pub catalogue: &'a Catalogue,
    pub store: &'a Path,
    pub top: usize,
    pub threads: usize,
}

/// What a publish did, and what it left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub published: Published,
    /// Programmes of the model that the catalogue does not hold: they are in no list.
    pub unknown: usize,
}

/// Publishes; until the last moment the generation before serves on, and an error leaves it serving.
pub fn publish(order: &Order<'_>, stop: &Stop, tell: Tell<'_>) -> Result<Outcome, ServeError> {
    ignore_file_size_signal();
    let model = order.model;
    let mut writer = Writer::begin(order.store)?;
    let all = 0..model.programmes() as u32;
    let numbers: Vec<Option<u32>> = all
        .map(|p| {
            let id = model.programme_id(p);
            order.catalogue.index(id).map(|_| writer.numbers.number(id))
        })
        .collect();
    let numbered = |list: &[(u32, f32)], into: &mut Vec<(u32, f32)>| {
        into.clear();
        into.extend(list.iter().filter_map(|(p, s)| Some((numbers[*p as usize]?, *s))));
    };
    let mut popular = Vec::new();
    numbered(model.popular(), &mut popular);
    let (total, mut done) = (model.viewers() as f64, 0_u64);
    let (mut list, mut failed) = (Vec::new(), None);
    // A list that cannot be written ends the work, not only itself.
    let halt = Stop::default();
    let (sender, lists) = std::sync::mpsc::sync_channel::<Vec<(u32, Vec<(u32, f32)>)>>(4);
    let made = std::thread::scope(|scope| {
        let maker = scope.spawn(|| {
            let mut batch = Vec::with_capacity(BATCH);
            let made = top_lists(model, order.top, order.threads, &halt, |viewer, list| {
                batch.push((viewer, list.to_vec()));
                if batch.len() == BATCH && sender.send(std::mem::take(&mut batch)).is_err() {
                    halt.request();
                }
            });
            let _ = sender.send(batch);
            drop(sender);
            made
        });
        while let Ok(batch) = lists.recv() {
            for (viewer, scored) in batch {
                numbered(&scored, &mut list);
                if failed.is_none()
                    && let Err(error) = writer.list(model.viewer_id(viewer), &list)
                {
                    failed = Some(error);
                    halt.request();
                }
                done += 1;
            }
            if stop.requested() {
                halt.request();
            }
            tell(progress(done as f64, total));
        }
        maker.join()
    });
    if let Some(error) = failed {
        return Err(writer.failed(error));
    }
    match made {
        Ok(Ok(())) if !stop.requested() => {}
        Ok(Err(ModelError::Stopped) | Ok(())) => return Err(ServeError::Stopped),
        Ok(Err(error)) => return Err(ServeError::Setting(error.to_string())),
        Err(_) => return Err(ServeError::Setting("making the lists broke down; this is a defect of serin".to_owned())),
    }
    let meta = Meta {
        model: model.id().to_owned(),
        trained_at: trained_at(model),
        published_at: jiff::Timestamp::now().as_second(),
        popular,
        ..Meta::default()
    };
    let published = writer.finish(meta)?;
    Ok(Outcome { published, unknown: numbers.iter().filter(|n| n.is_none()).count() })
}

/// Lists that are handed over at once.
const BATCH: usize = 1024;

fn progress(done: f64, total: f64) -> Progress {
    let task = "publishing".to_owned();
    Progress { task, done, total: Some(total), unit: "lists".to_owned(), left_s: None, note: String::new() }
}

/// Returns when a model was trained, Unix seconds.
pub fn trained_at(model: &Model) -> i64 {
    model.trained_at().parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_second)
}

/// A file over the process's limit shall be an error as a full disk is, not the end of the process.
fn ignore_file_size_signal() {
    // SAFETY: ignoring a signal touches no memory of ours.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}
