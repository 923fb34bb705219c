//! Takes a job, gives a stream of events; keeps the journal and the summary on the way.

use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::error::RunError;
use super::event::{Began, Event};
use super::folder::{self, SUMMARY};
use super::job::{Desk, Job};
use super::journal::RunJournal;
use super::summary::Summary;
use crate::durable;
use crate::stop::Stop;

/// Where a run leaves its things, and how it was asked for.
#[derive(Clone, Debug)]
pub struct Setting {
    pub home: PathBuf,
    /// The folder that holds the folders of runs.
    pub reports: PathBuf,
    /// The line that repeats this run.
    pub command: String,
}

/// A job under way.
pub struct Running {
    pub events: Receiver<Event>,
    pub folder: Option<PathBuf>,
    pub stop: Stop,
    worker: JoinHandle<Result<Summary, RunError>>,
}

impl Running {
    /// Waits for the end; events not yet received are lost, so drain them first.
    pub fn finish(self) -> Result<Summary, RunError> {
        drop(self.events);
        self.worker.join().unwrap_or_else(|_| {
            Err(RunError::cannot_tell("the job broke down; this is a defect of serin").hint("see the message above"))
        })
    }
}

/// Starts the job on a thread of its own.
pub fn start(job: Box<dyn Job>, setting: &Setting, stop: Stop) -> Result<Running, RunError> {
    let now = jiff::Timestamp::now();
    let folder = if job.keeps_folder() { Some(make_folder(&*job, setting, now)?) } else { None };
    let began = Event::Began(Began {
        kind: job.kind().to_owned(),
        title: job.title(),
        command: setting.command.clone(),
        at: now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        host: host(),
    });
    let journal = match &folder {
        Some(f) => Some(RunJournal::create(f).map_err(|e| RunError::cannot_tell(format!("{}: {e}", f.display())))?),
        None => None,
    };
    let (to_face, events) = mpsc::channel();
    let (to_clerk, from_job) = mpsc::channel();
    let desk = Desk::new(setting.home.clone(), folder.clone(), stop.clone(), to_clerk.clone());
    let kept = folder.clone();
    let worker = thread::Builder::new().name("director".to_owned()).spawn(move || {
        let clerk = thread::spawn(move || keep(journal, &from_job, &to_face));
        desk.tell(began);
        let result = thread::spawn({
            let desk = desk.clone();
            move || job.run(&desk)
        });
        let result = result.join().unwrap_or_else(|_| {
            Err(RunError::cannot_tell("the job broke down; this is a defect of serin").hint("its journal is kept"))
        });
        let result = result.map(|mut summary| {
            if let Some(folder) = &kept {
                name_run(&mut summary, folder);
                if let Err(e) = write_summary(&summary, folder) {
                    desk.say(format!("{} could not be written: {e}", folder.join(SUMMARY).display()));
                }
            }
            desk.tell(Event::Ended(Box::new(summary.clone())));
            summary
        });
        drop((desk, to_clerk));
        let _ = clerk.join();
        result
    });
    let worker = worker.map_err(|e| RunError::cannot_tell(format!("cannot start a thread: {e}")))?;
    Ok(Running { events, folder, stop, worker })
}

fn make_folder(job: &dyn Job, setting: &Setting, now: jiff::Timestamp) -> Result<PathBuf, RunError> {
    folder::make(&setting.reports, now, job.kind(), &job.title()).map_err(|e| {
        let cause = format!("cannot make a folder for the run in {}: {e}", setting.reports.display());
        RunError::misuse(cause).hint("choose another place with --out DIR")
    })
}

/// Writes events to the journal, then hands them on: what a face has seen is on disk already.
fn keep(mut journal: Option<RunJournal>, from_job: &Receiver<Event>, to_face: &mpsc::Sender<Event>) {
    while let Ok(first) = from_job.recv() {
        let mut batch = vec![first];
        // A burst of progress becomes one gzip member.
        while let Ok(next) = from_job.recv_timeout(Duration::from_millis(2)) {
            batch.push(next);
            if batch.len() >= 64 {
                break;
            }
        }
        if let Some(Err(e)) = journal.as_mut().map(|j| j.append(&batch)) {
            journal = None;
            let _ = to_face.send(Event::said(format!("the journal stopped here: {e}")));
        }
        for event in batch {
            let _ = to_face.send(event);
        }
    }
}

fn name_run(summary: &mut Summary, folder: &std::path::Path) {
    if let Some(document) = summary.document.as_object_mut() {
        document.insert("run".to_owned(), folder.display().to_string().into());
    }
}

fn write_summary(summary: &Summary, folder: &std::path::Path) -> std::io::Result<()> {
    let text = serde_json::to_vec_pretty(&summary.document)?;
    durable::write(&folder.join(SUMMARY), &text)
}

fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").map_or_else(|_| "unknown".to_owned(), |h| h.trim().to_owned())
}
