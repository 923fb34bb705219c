//! Walks the stages for real: looks, asks the walk, writes the journal, sets the share, reads it back. No opinions of its own.

use std::thread;
use std::time::{Duration, Instant};

use super::clock::{self, Clock};
use super::driver::Driver;
use super::error::CanaryError;
use super::order::{Ending, Order, Phase, Seen, Wish};
use super::plan::Plan;
use super::record::{Past, PastStep, Place, Record, now};
use super::solo::Solo;
use super::source::{Source, Taken};
use super::split::{Counted, wrong_requests, wrong_viewers};
use super::told::{Outcome, Road, RoadStage, StageDone, View, WayBack};
use super::walk::Walk;
use crate::journal::Journal;
use crate::judge::interval::{Interval, Side};
use crate::judge::sequential::{Call, Judge, Look};
use crate::judge::verdict::Verdict;
use crate::stats::units::Share;
use crate::stop::Stop;

/// Between two steps: quick while a share is being set, else often enough to hear a wish at once.
const QUICK: Duration = Duration::from_millis(50);
const CALM: Duration = Duration::from_millis(200);
/// Between two readings of a share that stands.
const READ_EACH: Duration = Duration::from_secs(1);
/// How long a wish to stop lets a way back go on.
const STOP_BACK: Duration = Duration::from_secs(10);

/// What a walk tells as it goes.
pub enum Told {
    Road(Road),
    View(Box<View>),
    /// Something worth keeping: a stage, a finding, the way back.
    Happened {
        text: String,
        good: Option<bool>,
    },
    /// A sentence for a person.
    Said(String),
}

/// Where records go: the journal on disk, or a test's.
pub type Write<'a> = Box<dyn FnMut(&Record) -> Result<(), CanaryError> + 'a>;

/// Everything that a walk needs besides its plan.
pub struct Drive<'a> {
    pub plan: &'a Plan,
    pub driver: Box<dyn Driver + 'a>,
    pub source: Box<dyn Source + 'a>,
    pub write: Write<'a>,
    /// Every wish so far, oldest first.
    pub wishes: Box<dyn FnMut() -> Vec<Wish> + 'a>,
    /// So many of them are older than this life of the walk.
    pub heard: usize,
    /// An earlier life, to go on from.
    pub past: Option<Past>,
    pub name: String,
    pub stop: Stop,
    pub tell: &'a mut dyn FnMut(Told),
}

/// Opens the journal of a place for appending.
pub fn journal(place: &Place) -> Result<Write<'static>, CanaryError> {
    let path = place.journal();
    let mut journal = Journal::open(&path).map_err(|e| CanaryError::journal(&path, &e))?;
    Ok(Box::new(move |record| journal.append(record).map_err(|e| CanaryError::journal(&path, &e))))
}

impl Drive<'_> {
    /// Walks until everybody is in the canary, nobody is, or nothing can be told.
    pub fn run(self) -> Result<Outcome, CanaryError> {
        let past = self.past.clone();
        let mut on = OnTheWay::new(self);
        on.road();
        match past {
            Some(past) => on.resume(&past)?,
            None => on.begin()?,
        }
        on.go_on()
    }
}

struct OnTheWay<'a> {
    drive: Drive<'a>,
    walk: Walk,
    /// Between two looks.
    look: Duration,
    judge: Judge,
    solo: Solo,
    began: Instant,
    clock: Clock,
    /// Wishes heard already.
    heard: usize,
    read: Option<f64>,
    read_at: Option<Instant>,
    looked_at: f64,
    stage: Totals,
    done: Vec<StageDone>,
    findings: Vec<String>,
    /// When the way back was decided, and the canary's count at the last look at zero.
    back: Option<(Instant, Option<f64>)>,
    /// What still reached the canary between the last two looks at zero; `None` when that was not counted.
    at_zero: Option<u64>,
    way_back: Option<WayBack>,
    stop_at: Option<Instant>,
    /// The last interval's requests and p99 of each side.
    figures: ((f64, f64), (Option<f64>, Option<f64>)),
}

/// Sums since the stage's share was read back.
#[derive(Default)]
struct Totals {
    number: usize,
    began: String,
    begun_at: f64,
    canary: f64,
    baseline: f64,
    viewers: Option<Counted>,
    told_split: bool,
}

impl<'a> OnTheWay<'a> {
    fn new(drive: Drive<'a>) -> Self {
        let terms = drive.plan.terms();
        let look = drive.plan.look.max(drive.source.every());
        Self {
            walk: Walk::new(drive.plan).looking_each(look),
            look,
            solo: Solo::new(terms.ill_errors),
            judge: Judge::new(terms),
            heard: drive.heard,
            drive,
            began: Instant::now(),
            clock: Clock::default(),
            read: None,
            read_at: None,
            looked_at: 0.0,
            stage: Totals::default(),
            done: Vec::new(),
            findings: Vec::new(),
            back: None,
            at_zero: None,
            way_back: None,
            stop_at: None,
            figures: ((0.0, 0.0), (None, None)),
        }
    }

    fn now(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    fn tell(&mut self, told: Told) {
        (self.drive.tell)(told);
    }

    fn happened(&mut self, text: String, good: Option<bool>) {
        self.tell(Told::Happened { text, good });
    }

    fn road(&mut self) {
        let plan = self.drive.plan;
        let stages = plan.stages.iter().map(|s| RoadStage {
            share: s.share.0,
            hold_s: s.hold.as_secs_f64(),
            longest_s: s.longest.as_secs_f64(),
            approval: s.approval,
        });
        let road = Road {
            target: plan.target.clone(),
            driver: self.drive.driver.name(),
            numbers: self.drive.source.name(),
            stages: stages.collect(),
            guards: plan.guards.iter().map(|g| g.name.clone()).collect(),
            look_s: self.look.as_secs_f64(),
            name: self.drive.name.clone(),
        };
        self.tell(Told::Road(road));
    }

    /// A new walk begins from nobody: a share that is set already is somebody's.
    fn begin(&mut self) -> Result<(), CanaryError> {
        let share = self.drive.driver.read()?;
        if share > 0.0 {
            let cause = format!(
                "{} of the viewers are in the canary of {} already: roll that back first, or resume its walk",
                Share(share),
                self.drive.plan.target
            );
            return Err(CanaryError::Held(cause));
        }
        // The first numbers count from here.
        let _ = self.drive.source.take();
        Ok(())
    }

    fn resume(&mut self, past: &Past) -> Result<(), CanaryError> {
        let share = self.drive.driver.read();
        let shown = match &share {
            Ok(share) => format!("the share reads {}", Share(*share)),
            Err(e) => format!("the share cannot be read yet: {e}"),
        };
        self.tell(Told::Said(format!("goes on from the journal of {}; {shown}", past.began)));
        let now = self.now();
        let order = match &past.step {
            PastStep::Nothing => return Ok(()),
            PastStep::Back { stage, ending } => self.walk.resume_back(*stage, ending.clone(), now),
            PastStep::At { stage } | PastStep::Ended { stage, .. } => {
                let stage = (*stage).min(self.drive.plan.stages.len() - 1);
                self.walk.resume(stage, past.approved == Some(stage + 1), now)
            }
        };
        // A wish to go back that its last life did not live to hear still counts.
        let waiting = (self.drive.wishes)();
        if waiting.iter().take(self.heard).any(|w| *w == Wish::RollBack) {
            self.heard = 0;
        }
        self.obey(order).map(|_| ())
    }

    fn go_on(mut self) -> Result<Outcome, CanaryError> {
        loop {
            if self.drive.stop.requested() {
                let since = *self.stop_at.get_or_insert_with(Instant::now);
                // Nobody leaves in the middle of a way back.
                if self.back.is_none() || since.elapsed() > STOP_BACK {
                    return Ok(self.stopped());
                }
            }
            let order = self.step();
            if let Some(outcome) = self.obey(order)? {
                return Ok(outcome);
            }
            let calm = matches!(self.walk.phase(), Phase::Soaking { .. } | Phase::Waiting);
            thread::sleep(if calm { CALM.min(self.look / 4) } else { QUICK });
        }
    }

    /// Sees what there is to see, and asks the walk.
    fn step(&mut self) -> Order {
        let all = (self.drive.wishes)();
        let fresh: Vec<Wish> = all.get(self.heard.min(all.len())..).unwrap_or_default().to_vec();
        self.heard = all.len();
        let share = self.read();
        let look = self.look();
        let after_zero = self.after_zero();
        self.at_zero = after_zero.filter(|n| *n < u64::MAX);
        let quiet = self.quiet();
        let now = self.now();
        self.mind_the_clock(now);
        for wish in &fresh {
            self.tell(Told::Said(format!("asked from outside: {}", wish.word())));
            if *wish == Wish::Approve {
                let stage = self.walk.stage() + 1;
                // An approval that is lost by a kill is asked for again: no reason to stop.
                let _ = (self.drive.write)(&Record::Approved { at: super::record::now(), stage });
            }
        }
        let seen = Seen { share, look: look.as_ref(), wishes: &fresh, quiet: quiet.as_deref(), after_zero };
        let order = self.walk.step(now, &seen);
        if look.is_some() || !matches!(order, Order::Wait) {
            self.view(look.as_ref(), quiet.as_deref());
        }
        order
    }

    /// A clock that was set in mid-walk changes nothing, and is a finding of its own.
    fn mind_the_clock(&mut self, now: f64) {
        let wall = jiff::Timestamp::now().as_duration().as_secs_f64();
        if let Some(jump) = self.clock.jumped(wall, now) {
            let told = clock::sentence(jump);
            self.findings.push(told.clone());
            self.happened(told, None);
        }
    }

    fn quiet(&self) -> Option<String> {
        let now = jiff::Timestamp::now().as_second() as f64;
        let quiet = self.drive.plan.quiet.iter().find(|q| (q.from..q.until).contains(&now))?;
        Some(quiet.name.clone())
    }

    /// Reads the share, seldom while it stands.
    fn read(&mut self) -> Option<Result<f64, String>> {
        let stands = matches!(self.walk.phase(), Phase::Soaking { .. });
        let due = self.read_at.is_none_or(|at| !stands || at.elapsed() >= READ_EACH);
        if !due || matches!(self.walk.phase(), Phase::Waiting | Phase::Ended(_)) {
            return None;
        }
        self.read_at = Some(Instant::now());
        let read = self.drive.driver.read().map_err(|e| e.to_string());
        self.read = read.as_ref().ok().copied();
        Some(read)
    }

    /// Judges the numbers since the last look, when one is due.
    fn look(&mut self) -> Option<Look> {
        let stage = match *self.walk.phase() {
            Phase::Soaking { stage, .. } => Some(stage),
            Phase::Waiting => None,
            _ => return None,
        };
        let t = self.now();
        if t - self.looked_at < self.look.as_secs_f64() {
            return None;
        }
        self.looked_at = t;
        let taken = self.drive.source.take();
        let Some(stage) = stage else {
            // Before the first stage only the baseline's own noise is learned.
            if let Ok(taken) = taken {
                let _ = self.judge.look(&Interval { t, canary: None, ..taken.interval });
            }
            return None;
        };
        let whole = self.drive.plan.stages[stage].share.0 >= 1.0;
        let look = match taken {
            Ok(taken) => self.judged(taken, t, stage, whole),
            Err(why) => {
                // A blind source is an interval without numbers: never zeros.
                let blind = Interval { t, stage: Some(stage as u32 + 1), ..Interval::default() };
                let look = if whole { self.solo.look(t, None) } else { self.judge.look(&blind).ok()? };
                self.figures = ((0.0, 0.0), (None, None));
                Look { reason: format!("the numbers are blind: {why}"), ..look }
            }
        };
        Some(look)
    }

    fn judged(&mut self, taken: Taken, t: f64, stage: usize, whole: bool) -> Look {
        let interval = Interval { t, stage: Some(stage as u32 + 1), ..taken.interval };
        let requests = |side: &Option<Side>| side.as_ref().map_or(0.0, |s| s.requests);
        let (canary, baseline) = (requests(&interval.canary), requests(&interval.baseline));
        self.stage.canary += canary;
        self.stage.baseline += baseline;
        self.stage.viewers = taken.viewers.or(self.stage.viewers);
        self.split(stage);
        let look = if whole {
            self.solo.look(t, interval.canary.as_ref())
        } else {
            let told = self.judge.look(&interval);
            told.unwrap_or_else(|reason| Look { t, verdict: Call::CannotTell, reason, evidence: Vec::new() })
        };
        self.seen(&interval);
        look
    }

    /// Keeps the interval's own figures for the next view.
    fn seen(&mut self, interval: &Interval) {
        let p99 = |side: &Option<Side>| side.as_ref().and_then(|s| quantile(s, 0.99));
        let requests = |side: &Option<Side>| side.as_ref().map_or(0.0, |s| s.requests);
        self.figures.0 = (requests(&interval.canary), requests(&interval.baseline));
        self.figures.1 = (p99(&interval.canary), p99(&interval.baseline));
    }

    /// Tells a wrong split once a stage, as a finding of its own.
    fn split(&mut self, stage: usize) {
        if self.stage.told_split {
            return;
        }
        let wanted = self.drive.plan.stages[stage].share.0;
        let requests = Counted { canary: self.stage.canary, all: self.stage.canary + self.stage.baseline };
        let wrong = match self.stage.viewers {
            Some(viewers) => wrong_viewers(viewers, wanted),
            None => wrong_requests(requests, wanted),
        };
        if let Some(wrong) = wrong {
            self.stage.told_split = true;
            self.findings.push(format!("stage {}: {wrong}", stage + 1));
            self.happened(wrong, Some(false));
        }
    }

    /// Counts what still reaches the canary since the last step at zero.
    fn after_zero(&mut self) -> Option<u64> {
        let Phase::Back { share, .. } = self.walk.phase() else { return None };
        if *share > 0.0 {
            return None;
        }
        let count = self.drive.driver.requests().ok().flatten()?.canary;
        let (_, last) = self.back.as_mut()?;
        let before = last.replace(count);
        // A counter that starts anew says nothing yet.
        let more = before.filter(|b| *b <= count).map_or(u64::MAX, |b| (count - b) as u64);
        Some(more)
    }

    /// Does what the walk ordered; returns the outcome when it has ended.
    fn obey(&mut self, order: Order) -> Result<Option<Outcome>, CanaryError> {
        match order {
            Order::Wait => {}
            Order::Set { stage, share, why } => self.set(stage, share, why)?,
            Order::Begun { stage } => self.begun(stage)?,
            Order::Back { share, reason } => self.take_back(share, &reason)?,
            Order::End(ending) => {
                let share = self.drive.driver.read().ok();
                if ending.rolled_back {
                    let began = self.back.map(|b| b.0.elapsed().as_secs_f64());
                    self.way_back = began.map(|took_s| WayBack {
                        took_s,
                        verified: share == Some(0.0),
                        requests_at_zero: self.at_zero,
                    });
                    if let Some(back) = self.way_back {
                        self.happened(format!("zero is verified {:.1} s after the decision", back.took_s), Some(true));
                    }
                }
                let word = match ending.verdict {
                    Verdict::Go => "go",
                    Verdict::No => "rollback",
                    Verdict::CannotTell => "hold",
                };
                self.leave(word, &ending.reason.clone());
                (self.drive.write)(&Record::Ended { at: now(), share, ending: ending.clone() })?;
                return Ok(Some(self.outcome(ending, share, false)));
            }
        }
        Ok(None)
    }

    fn set(&mut self, stage: usize, share: f64, why: String) -> Result<(), CanaryError> {
        let again = self.stage.number == stage + 1;
        if !again {
            self.leave("go", &why);
        }
        (self.drive.write)(&Record::Meant { at: now(), stage: stage + 1, share, why: why.clone() })?;
        let text = format!("stage {}: {} of the viewers; {why}", stage + 1, Share(share));
        self.happened(text, None);
        if let Err(e) = self.drive.driver.set(share) {
            self.tell(Told::Said(format!("the share could not be set: {e}; asked again while it is read")));
        }
        self.read_at = None;
        Ok(())
    }

    fn begun(&mut self, stage: usize) -> Result<(), CanaryError> {
        let share = self.drive.plan.stages[stage].share.0;
        (self.drive.write)(&Record::Verified { at: now(), stage: stage + 1, share })?;
        // What came while the share was moving belongs to no stage.
        self.drive.source.new_stage();
        let _ = self.drive.source.take();
        self.looked_at = self.now();
        self.stage = Totals { number: stage + 1, began: now(), begun_at: self.now(), ..Totals::default() };
        Ok(())
    }

    fn take_back(&mut self, share: f64, reason: &str) -> Result<(), CanaryError> {
        let Phase::Back { from, ending, .. } = self.walk.phase().clone() else { return Ok(()) };
        let first = self.back.is_none();
        if first {
            self.back = Some((Instant::now(), None));
        }
        (self.drive.write)(&Record::Back { at: now(), stage: from + 1, share, ending })?;
        let set = self.drive.driver.set(share);
        if first {
            self.happened(format!("roll back to {}: {reason}", Share(share)), Some(false));
        }
        if let Err(e) = set {
            self.tell(Told::Said(format!("the share could not be set: {e}; asked again")));
        }
        Ok(())
    }

    /// Writes down the stage that is left, if one was held.
    fn leave(&mut self, verdict: &str, reason: &str) {
        if self.stage.number == 0 {
            return;
        }
        let stage = std::mem::take(&mut self.stage);
        let counted = Counted { canary: stage.canary, all: stage.canary + stage.baseline };
        self.done.push(StageDone {
            stage: stage.number,
            share: self.drive.plan.stages[stage.number - 1].share.0,
            measured_share: stage.viewers.and_then(Counted::share).or_else(|| counted.share()),
            requests_share: counted.share(),
            began: stage.began,
            held_s: self.now() - stage.begun_at,
            verdict: verdict.to_owned(),
            reason: reason.to_owned(),
            canary_requests: stage.canary,
            baseline_requests: stage.baseline,
        });
    }

    fn view(&mut self, look: Option<&Look>, quiet: Option<&str>) {
        let now = self.now();
        let (phase, held_s) = match self.walk.phase() {
            Phase::Waiting => ("waiting", 0.0),
            Phase::Setting { since, .. } => ("setting", now - since),
            Phase::Soaking { since, .. } => ("soaking", now - since),
            Phase::Back { began, .. } => ("back", now - began),
            Phase::Ended(_) => ("ended", 0.0),
        };
        let requests = Counted { canary: self.stage.canary, all: self.stage.canary + self.stage.baseline };
        let view = View {
            t: now,
            stage: self.walk.stage() + 1,
            phase: phase.to_owned(),
            share: self.walk.wanted().unwrap_or(0.0),
            read: self.read,
            seen: requests.share(),
            viewers: self.stage.viewers.and_then(Counted::share),
            held_s,
            verdict: look.map(|l| l.verdict),
            reason: self.walk.waits_for(now, quiet),
            evidence: look.map_or_else(Vec::new, |l| l.evidence.clone()),
            requests: self.figures.0,
            p99_ms: self.figures.1,
            frozen: self.walk.frozen(),
        };
        self.tell(Told::View(Box::new(view)));
    }

    /// Somebody stopped it: the share stays where it was chosen, and the journal tells where.
    fn stopped(mut self) -> Outcome {
        let share = self.drive.driver.read().ok();
        let place = share.map_or("where it is".to_owned(), |s| format!("at {}", Share(s)));
        let reason = format!("stopped by somebody; the canary stays {place}");
        self.leave("hold", &reason);
        let ending = Ending { verdict: Verdict::CannotTell, reason, rolled_back: false };
        self.outcome(ending, share, true)
    }

    fn outcome(&mut self, ending: Ending, share: Option<f64>, stopped: bool) -> Outcome {
        Outcome {
            ending,
            share,
            stages: std::mem::take(&mut self.done),
            way_back: self.way_back,
            findings: std::mem::take(&mut self.findings),
            took_s: self.now(),
            stopped,
        }
    }
}

/// Returns a quantile by upper bounds.
fn quantile(side: &Side, q: f64) -> Option<f64> {
    let rank = q * side.timed();
    let mut below = 0.0;
    side.latency_ms.iter().filter(|_| rank > 0.0).find_map(|b| {
        below += b.1;
        (below >= rank).then_some(b.0)
    })
}
