//! A canary walk as a job: a plan in, stages told as they come, its outcome as the summary; also resumed, or taken back.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::canary::drive::{self, Drive, Told};
use crate::canary::error::CanaryError;
use crate::canary::order::{Ending, Wish};
use crate::canary::plan::Plan;
use crate::canary::record::{Meeting, Past, PastStep, Place, Record, now};
use crate::canary::told::Outcome;
use crate::canary::{drivers, sources};
use crate::journal;
use crate::judge::verdict::Verdict;
use crate::lock::{Lock, LockError};
use crate::run::error::RunError;
use crate::run::event::{Event, Happened};
use crate::run::job::{Desk, Job};
use crate::run::jobs::canary_local;
use crate::run::past;
use crate::run::summary::Summary;
use crate::serve::stack;
use crate::stats::units::{Share, clock};

pub const SCHEMA: &str = "serin.canary-walk/1";

/// Walks a plan from its beginning.
pub struct CanaryWalk {
    pub plan: Plan,
    /// The plan as it was written, and the name of its file.
    pub text: String,
    pub name: String,
}

/// Goes on with a walk that was left, or takes it back.
pub struct CanaryResume {
    pub place: Place,
    pub past: Past,
    pub plan: Plan,
    /// Take it back instead of going on.
    pub back: bool,
}

impl Job for CanaryWalk {
    fn kind(&self) -> &'static str {
        "canary"
    }

    fn title(&self) -> String {
        title(&self.name, &self.plan)
    }

    fn keeps_folder(&self) -> bool {
        true
    }

    fn run(self: Box<Self>, desk: &Desk) -> Result<Summary, RunError> {
        let meeting = Meeting::of(&desk.home, &self.plan.target);
        let _lock = lock(&meeting, &self.plan.target, desk)?;
        // A stack of a walk's own ends with it: nobody is left in that canary.
        let gone = self.plan.driver == "local" && stack::running(&desk.home)?.is_none();
        if let Some(last) = meeting.last().filter(|_| !gone)
            && let Some(past) = Past::of(&last.read()?).filter(Past::is_open)
        {
            let name = last.folder.display();
            let cause = format!("the walk of {} that began {} was left on its way", self.plan.target, past.began);
            let hint = format!("`serin canary resume {name}` goes on, `serin canary rollback {name}` takes it back");
            return Err(RunError::misuse(cause).hint(hint));
        }
        let place = Place { folder: folder(desk)? };
        let began = Record::Began {
            at: now(),
            target: self.plan.target.clone(),
            plan: self.text.clone(),
            name: self.name.clone(),
        };
        // Pointed to before its first record: whoever is killed in between has set nothing and left nothing to find.
        meeting.point(&place).map_err(|e| RunError::cannot_tell(format!("{}: {e}", desk.home.display())))?;
        drive::journal(&place)?(&began)?;
        let world = world(&self.plan, desk)?;
        walk(&self.plan, &self.title(), &place, (None, 0), world.as_ref(), desk)
    }
}

impl Job for CanaryResume {
    fn kind(&self) -> &'static str {
        "canary"
    }

    fn title(&self) -> String {
        title(&self.past.name, &self.plan)
    }

    fn keeps_folder(&self) -> bool {
        true
    }

    fn run(self: Box<Self>, desk: &Desk) -> Result<Summary, RunError> {
        let meeting = Meeting::of(&desk.home, &self.plan.target);
        // Whoever asks for something from now on finds the lock taken, or is refused.
        let heard = self.place.asked().len();
        let _lock = lock(&meeting, &self.plan.target, desk)?;
        // What stood in the journal when the lock was free is what counts.
        let mut past = Past::of(&self.place.read()?).unwrap_or_else(|| self.past.clone());
        if self.back {
            let reason = "somebody asked to roll back".to_owned();
            let ending = Ending { verdict: Verdict::No, reason, rolled_back: true };
            past.step = PastStep::Back { stage: past.step.stage(), ending };
        }
        // Nobody needs a stack that is raised only to be at zero.
        let world = if self.back { None } else { world(&self.plan, desk)? };
        let (plan, title) = (&self.plan, self.title());
        let mut summary = walk(plan, &title, &self.place, (Some(past), heard), world.as_ref(), desk)?;
        if self.back && summary.document["rolled_back"] == true {
            // What was asked for is done: that is no failure.
            summary.verdict = None;
            summary.lines.push(summary.reason.clone());
        }
        Ok(summary)
    }
}

fn title(name: &str, plan: &Plan) -> String {
    let stem = Path::new(name).file_stem().map_or_else(|| "plan".to_owned(), |s| s.to_string_lossy().into_owned());
    format!("{stem} → {}", plan.target)
}

fn folder(desk: &Desk) -> Result<PathBuf, RunError> {
    let folder = desk.folder.as_ref().ok_or_else(|| RunError::cannot_tell("the run has no folder for its journal"))?;
    std::path::absolute(folder).map_err(|e| RunError::cannot_tell(format!("{}: {e}", folder.display())))
}

fn lock(meeting: &Meeting, target: &str, desk: &Desk) -> Result<Lock, RunError> {
    let folder = desk.folder.as_ref().map_or_else(String::new, |f| format!(" of {}", f.display()));
    let holder = format!("the walk{folder}, process {}", std::process::id());
    Lock::take(&meeting.lock(), &holder).map_err(|e| match &e {
        LockError::Held { holder, .. } => {
            RunError::misuse(format!("{target} is being walked already, by {holder}: one walk a target"))
                .hint("`serin canary rollback RUN` takes it back from here")
        }
        LockError::Io { .. } => RunError::cannot_tell(e),
    })
}

/// What the walk stands on, where that is not the user's own.
fn world(plan: &Plan, desk: &Desk) -> Result<Option<canary_local::World>, RunError> {
    (plan.driver == "local").then(|| canary_local::raise(plan, desk)).transpose()
}

fn walk(
    plan: &Plan,
    title: &str,
    place: &Place,
    (past, heard): (Option<Past>, usize),
    world: Option<&canary_local::World>,
    desk: &Desk,
) -> Result<Summary, RunError> {
    let name = place.folder.display().to_string();
    let mut tell = |told| match told {
        Told::Road(road) => desk.tell(Event::CanaryRoad(Box::new(road))),
        Told::View(view) => desk.tell(Event::CanaryView(view)),
        Told::Said(text) => desk.say(text),
        Told::Happened { text, good } => {
            desk.tell(Event::Happened(Happened { at: now(), source: "canary".to_owned(), text, good }));
        }
    };
    let drive = Drive {
        plan,
        driver: drivers::open(plan, &desk.home)?,
        source: sources::open(plan, &desk.home, world.and_then(|w| w.sent.clone()))?,
        write: drive::journal(place)?,
        wishes: Box::new(|| place.asked()),
        heard,
        past,
        name,
        stop: desk.stop.clone(),
        tell: &mut tell,
    };
    let outcome = drive.run()?;
    Ok(summary(plan, title, place, &outcome))
}

fn summary(plan: &Plan, title: &str, place: &Place, outcome: &Outcome) -> Summary {
    let ending = &outcome.ending;
    let mut lines: Vec<String> = outcome.stages.iter().map(stage_line).collect();
    lines.extend(outcome.findings.iter().map(|f| format!("finding: {f}")));
    if let Some(back) = outcome.way_back {
        let seen = if back.requests_at_zero == Some(0) { ", and no request reaches the canary any more" } else { "" };
        lines.push(format!("rolled back: zero reads back {:.1} s after the decision{seen}", back.took_s));
    }
    let left = !ending.rolled_back && ending.verdict == Verdict::CannotTell && outcome.share.is_none_or(|s| s > 0.0);
    if left {
        let name = place.folder.display();
        lines.push(format!("`serin canary resume {name}` goes on, `serin canary rollback {name}` takes it back"));
    }
    let document = json!({
        "schema": SCHEMA,
        "verdict": ending.verdict,
        "reason": ending.reason,
        "target": plan.target,
        "driver": plan.driver,
        "share": outcome.share,
        "rolled_back": ending.rolled_back,
        "rollback": outcome.way_back,
        "stages": outcome.stages,
        "findings": outcome.findings,
        "duration_s": outcome.took_s,
        "journal": place.journal(),
    });
    Summary {
        title: title.to_owned(),
        verdict: Some(ending.verdict),
        reason: ending.reason.clone(),
        document,
        lines,
        stopped: outcome.stopped,
    }
}

fn stage_line(stage: &crate::canary::told::StageDone) -> String {
    let seen = stage.measured_share.map_or("nobody seen".to_owned(), |s| format!("{} seen", Share(s)));
    let held = clock(std::time::Duration::from_secs_f64(stage.held_s.max(0.0)));
    format!("stage {}  {}  held {held}  {seen}  {}: {}", stage.stage, Share(stage.share), stage.verdict, stage.reason)
}

/// Finds a walk by its run's folder, a part of that name, or the name of its target.
pub fn find(home: &Path, reports: &Path, asked: &str) -> Result<(Place, Past), RunError> {
    let given = Place { folder: PathBuf::from(asked) };
    let place = if given.journal().is_file() {
        given
    } else if let Some(last) = Meeting::of(home, asked).last() {
        last
    } else {
        let folder = past::find(reports, asked)?;
        Place { folder }
    };
    if !place.journal().is_file() {
        return Err(RunError::misuse(format!("{} is not the run of a canary walk", place.folder.display())));
    }
    let records: Vec<Record> =
        journal::read(&place.journal()).map_err(|e| RunError::misuse(format!("{}: {e}", place.journal().display())))?;
    let past = Past::of(&records)
        .ok_or_else(|| RunError::misuse(format!("{} holds no whole record", place.journal().display())))?;
    Ok((place, past))
}

/// Returns who walks a canary at the moment, of whatever target.
pub fn any_walked(home: &Path) -> Option<String> {
    let locks = std::fs::read_dir(home.join("canary")).ok()?.flatten().map(|e| e.path());
    locks.filter(|path| path.extension().is_some_and(|e| e == "lock")).find_map(|path| {
        match Lock::take(&path, "a look") {
            Err(LockError::Held { holder, .. }) => Some(holder),
            _ => None,
        }
    })
}

/// Whether somebody walks this target at the moment.
pub fn is_walked(home: &Path, target: &str) -> Result<bool, RunError> {
    match Lock::take(&Meeting::of(home, target).lock(), "a look") {
        Ok(_) => Ok(false),
        Err(LockError::Held { .. }) => Ok(true),
        Err(e) => Err(RunError::cannot_tell(e)),
    }
}

/// Asks a walk that is alive for something; the error says that nobody is there to hear it.
pub fn ask(home: &Path, place: &Place, past: &Past, wish: Wish) -> Result<(), RunError> {
    if !is_walked(home, &past.target)? {
        let hint = format!("`serin canary resume {}` goes on with it", place.folder.display());
        return Err(RunError::misuse("that walk is not under way: nobody would hear it").hint(hint));
    }
    Ok(place.ask(wish)?)
}

impl From<CanaryError> for RunError {
    fn from(error: CanaryError) -> Self {
        match error {
            CanaryError::Plan(_) | CanaryError::Unfit(_) | CanaryError::Held(_) => Self::misuse(error),
            CanaryError::Driver(_) | CanaryError::Journal { .. } | CanaryError::World(_) => Self::cannot_tell(error),
        }
    }
}
