//! Lists of a model to the store that serves: made, written, checked, read back in part, then switched to by one pointer.

use std::path::Path;
use std::sync::mpsc::SyncSender;

use super::catalogue::Catalogue;
use super::error::ServeError;
use super::store::{Meta, Numbers, similar_key};
use super::stores::embedded::{Published, Writer};
use super::stores::objects::Objects;
use crate::model::consent::{Answer, Consent};
use crate::model::error::ModelError;
use crate::model::files::Model;
use crate::model::recommend::{lists_of, pool, similar_lists};
use crate::stats::progress::{Progress, Tell};
use crate::stop::Stop;

/// What is published, and how much of it.
pub struct Order<'a> {
    pub model: &'a Model,
    pub catalogue: &'a Catalogue,
    /// Who agreed; whoever did not has no list.
    pub consent: &'a Consent,
    pub top: usize,
    pub threads: usize,
    /// Where the lists go before they go to the store.
    pub objects: Option<&'a Objects>,
}

/// What a publish did, and what it left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub published: Published,
    /// Programmes of the model that the catalogue does not hold: they are in no list.
    pub unknown: usize,
    /// Viewers of the model who did not agree, or took it back: they have no list.
    pub without_consent: u64,
}

/// Publishes; until the last moment the generation before serves on, and an error leaves it serving.
pub fn publish(order: &Order<'_>, store: &Path, stop: &Stop, tell: Tell<'_>) -> Result<Outcome, ServeError> {
    ignore_file_size_signal();
    let mut writer = Writer::begin(store)?;
    let numbers = order.numbers(&mut writer.numbers);
    let mut failed = None;
    let made = each_list(order, &numbers, stop, tell, |key, list| {
        writer.list(key, list).map_err(|error| {
            failed = Some(error);
            ServeError::Stopped
        })
    });
    if let Some(error) = failed {
        return Err(writer.failed(error));
    }
    let without_consent = made?;
    let published = writer.finish_after(order.meta(&numbers), |path, generation| {
        let Some(objects) = order.objects else { return Ok(()) };
        objects.send(generation.name.trim_end_matches(".lists"), path, &generation.meta).map(|_| ())
    })?;
    Ok(Outcome { published, unknown: numbers.iter().filter(|n| n.is_none()).count(), without_consent })
}

impl Order<'_> {
    /// Returns the number of each programme of the model, as far as the catalogue holds it; new ones are given new numbers.
    pub fn numbers(&self, known: &mut Numbers) -> Vec<Option<u32>> {
        let all = 0..self.model.programmes() as u32;
        let number = |p| {
            let id = self.model.programme_id(p);
            self.catalogue.index(id).map(|_| known.number(id))
        };
        all.map(number).collect()
    }

    /// Returns the viewers who agreed, in the order in which their lists are made.
    pub fn viewers(&self) -> Vec<u32> {
        let agreed = |v: &u32| self.consent.of(self.model.viewer_id(*v)) == Answer::Yes;
        (0..self.model.viewers() as u32).filter(agreed).collect()
    }

    /// Returns what travels with the lists; the store adds the table and the counts.
    pub fn meta(&self, numbers: &[Option<u32>]) -> Meta {
        let popular = self.model.popular().iter();
        Meta {
            model: self.model.id().to_owned(),
            trained_at: trained_at(self.model),
            published_at: jiff::Timestamp::now().as_second(),
            popular: popular.filter_map(|(p, s)| Some((numbers[*p as usize]?, *s))).collect(),
            ..Meta::default()
        }
    }
}

/// Makes the list of every viewer who agreed and of every programme, and hands key and numbered list to `write`;
/// returns how many viewers did not agree.
pub fn each_list(
    order: &Order<'_>,
    numbers: &[Option<u32>],
    stop: &Stop,
    tell: Tell<'_>,
    mut write: impl FnMut(&str, &[(u32, f32)]) -> Result<(), ServeError>,
) -> Result<u64, ServeError> {
    let model = order.model;
    let viewers = order.viewers();
    let total = viewers.len() as f64;
    let (mut done, mut failed) = (0_u64, None);
    let mut numbered = Vec::new();
    // A list that cannot be written ends the work, not only itself.
    let halt = Stop::default();
    let (sender, lists) = std::sync::mpsc::sync_channel::<Vec<Made>>(4);
    let made = std::thread::scope(|scope| {
        let maker = scope.spawn(|| make(order, &viewers, &halt, sender));
        while let Ok(batch) = lists.recv() {
            for made in batch {
                numbered.clear();
                numbered.extend(made.list.iter().filter_map(|(p, s)| Some((numbers[*p as usize]?, *s))));
                let key = match made.of {
                    Of::Viewer(viewer) => model.viewer_id(viewer),
                    Of::Programme(p) if numbers[p as usize].is_none() => continue,
                    Of::Programme(programme) => &similar_key(model.programme_id(programme)),
                };
                if failed.is_none()
                    && let Err(error) = write(key, &numbered)
                {
                    failed = Some(error);
                    halt.request();
                }
                done += u64::from(matches!(made.of, Of::Viewer(_)));
            }
            if stop.requested() {
                halt.request();
            }
            tell(progress(done as f64, total));
        }
        maker.join()
    });
    if let Some(error) = failed {
        return Err(error);
    }
    match made {
        Ok(Ok(())) if !stop.requested() => Ok((model.viewers() - viewers.len()) as u64),
        Ok(Err(ModelError::Stopped) | Ok(())) => Err(ServeError::Stopped),
        Ok(Err(error)) => Err(ServeError::Setting(error.to_string())),
        Err(_) => Err(ServeError::Setting("making the lists broke down; this is a defect of serin".to_owned())),
    }
}

/// Whose list it is.
#[derive(Clone, Copy)]
enum Of {
    Viewer(u32),
    Programme(u32),
}

struct Made {
    of: Of,
    list: Vec<(u32, f32)>,
}

/// Lists that are handed over at once.
const BATCH: usize = 1024;

fn make(order: &Order<'_>, viewers: &[u32], halt: &Stop, to: SyncSender<Vec<Made>>) -> Result<(), ModelError> {
    let mut batch = Vec::with_capacity(BATCH);
    let mut hand_over = |of: Of, list: &[(u32, f32)]| {
        batch.push(Made { of, list: list.to_vec() });
        if batch.len() == BATCH && to.send(std::mem::take(&mut batch)).is_err() {
            halt.request();
        }
    };
    let lists = pool(order.threads)?
        .install(|| lists_of(order.model, viewers, order.top, halt, |v, list| hand_over(Of::Viewer(v), list)));
    let made = lists.and_then(|()| {
        similar_lists(order.model, order.top, order.threads, halt, |p, list| hand_over(Of::Programme(p), list))
    });
    let _ = to.send(batch);
    made
}

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
