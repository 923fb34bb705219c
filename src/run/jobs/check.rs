//! Does a check: a few seconds of looking at everything at once, then the likeliest cause first.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::durable;
use crate::incident::change::Change;
use crate::incident::forms;
use crate::incident::gather::{self, Deployment};
use crate::incident::scene::{Heard, Scene};
use crate::incident::triage::{Triage, triage};
use crate::run::error::RunError;
use crate::run::event::Event;
use crate::run::job::{Desk, Job};
use crate::run::summary::Summary;
use crate::run::{journal, past};
use crate::stop::Stop;

/// The longest that a check may take, whatever hangs.
const LONGEST: Duration = Duration::from_secs(55);
/// Runs whose journals are read for what changed.
const RUNS: usize = 30;

#[derive(Clone, Debug)]
pub struct Check {
    pub deployment: Deployment,
    pub since: Duration,
}

/// One look, judged, and how long it took.
pub struct Look {
    pub scene: Scene,
    pub triage: Triage,
    pub took_s: f64,
}

impl Check {
    /// Looks once; `reports` is where the runs lie whose journals tell what changed.
    pub fn look(&self, home: &Path, reports: &Path, stop: &Stop) -> Result<Look, RunError> {
        let began = Instant::now();
        let changes = happened(reports);
        let mut deployment = self.deployment.clone();
        deployment.limits.rate = deployment.limits.rate.or_else(|| known_rate(reports, &deployment.name));
        let scene = wait(stop, LONGEST, gather::gather(&deployment, home, self.since, changes))?;
        let scene = scene.map_err(RunError::cannot_tell)?;
        let triage = triage(&scene);
        Ok(Look { scene, triage, took_s: began.elapsed().as_secs_f64() })
    }
}

/// Asks each source whether it can be reached, and nothing else.
pub fn reach(deployment: &Deployment, home: &Path, stop: &Stop) -> Result<Vec<Heard>, RunError> {
    wait(stop, LONGEST, gather::reach(deployment, home))?.map_err(RunError::cannot_tell)
}

/// Waits for what is asked, but never longer than the time given, nor than anybody wishes.
fn wait<T>(stop: &Stop, longest: Duration, asked: impl Future<Output = T>) -> Result<T, RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| RunError::cannot_tell(format!("cannot start to ask: {e}")))?;
    let stopped = async {
        while !stop.requested() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let result = runtime.block_on(async {
        tokio::select! {
            answer = asked => Ok(answer),
            () = stopped => Err(RunError::Stopped),
            () = tokio::time::sleep(longest) => Err(RunError::cannot_tell(format!("no answer within {} s", longest.as_secs()))),
        }
    });
    // A name that hangs in the resolver must not hold the verdict.
    runtime.shutdown_background();
    result
}

/// The rate that the newest `serin limit` of this target found.
pub fn known_rate(reports: &Path, target: &str) -> Option<f64> {
    let runs = past::list(reports).ok()?;
    let documents = runs.iter().filter(|r| r.began.kind == "limit").filter_map(|r| past::summary(&r.folder).ok());
    documents.filter(|d| d["target"] == target).find_map(|d| d["limit_rate"].as_f64())
}

/// What the journals of past runs say happened, newest runs first.
fn happened(reports: &Path) -> Vec<Change> {
    let runs = past::list(reports).unwrap_or_default();
    let told = runs.iter().take(RUNS).filter_map(|run| journal::events(&run.folder).ok());
    let told = told.flat_map(|events| events.map_while(Result::ok).take(200_000)).filter_map(|event| match event {
        Event::Happened(h) => {
            let at: jiff::Timestamp = h.at.parse().ok()?;
            Some(Change { at: at.as_second() as f64, source: h.source, text: h.text })
        }
        _ => None,
    });
    told.collect()
}

impl Job for Check {
    fn kind(&self) -> &'static str {
        "check"
    }

    fn title(&self) -> String {
        self.deployment.name.clone()
    }

    fn keeps_folder(&self) -> bool {
        true
    }

    fn run(self: Box<Self>, desk: &Desk) -> Result<Summary, RunError> {
        desk.say(format!("asking {} and its sources", self.deployment.url));
        let reports = desk.folder.as_deref().and_then(Path::parent).unwrap_or(Path::new("reports"));
        let Look { scene, triage, took_s } = self.look(&desk.home, reports, &desk.stop)?;
        if let Some(kept) = &desk.folder {
            let page = kept.join("incident.md");
            if let Err(e) = durable::write(&page, forms::markdown(&scene, &triage).as_bytes()) {
                desk.say(format!("{} could not be written: {e}", page.display()));
            }
        }
        Ok(Summary {
            title: format!("check of {}", scene.target),
            verdict: Some(triage.verdict),
            reason: triage.reason.clone(),
            document: forms::document(&scene, &triage, took_s),
            lines: forms::lines(&triage),
            stopped: false,
        })
    }
}
