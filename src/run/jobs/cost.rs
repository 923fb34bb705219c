//! The way down as a job: a plan and recorded demand in, steps told as they come, the descent as its summary.

use std::cell::RefCell;
use std::time::Duration;

use super::{canary_walk, evening};
use crate::cost::demand::Demand;
use crate::cost::descent::Descent;
use crate::cost::drive::Drive;
use crate::cost::error::CostError;
use crate::cost::knob::{Knob, KnobError};
use crate::cost::knobs::local::{self, Local};
use crate::cost::plan::{KnobKind, Plan};
use crate::cost::prices::Price;
use crate::cost::record::Place;
use crate::cost::step::{Step, StepVerdict};
use crate::cost::tariff::PriceUsed;
use crate::cost::told::{self, Road, View};
use crate::cost::{self, knobs, rule, simulate};
use crate::judge::verdict::Verdict;
use crate::load::dress::Tokens;
use crate::program;
use crate::run::error::RunError;
use crate::run::event::{Event, Happened};
use crate::run::job::{Desk, Job};
use crate::run::past;
use crate::run::summary::Summary;
use crate::serve::{secret, stack};

/// The longest that a program may take to say whether there is an incident.
const ANSWER: Duration = Duration::from_secs(20);
/// A check that found something forbids steps down for so long, unless a later one found nothing.
const INCIDENT_S: i64 = 3_600;

/// Walks recorded demand behind the limiter's model.
#[derive(Debug)]
pub struct Simulate {
    pub plan: Plan,
    pub demand: Demand,
    pub price: PriceUsed,
    pub market: Market,
    /// Spreads the walk over this much time, for somebody who watches.
    pub play: Option<Duration>,
}

impl Job for Simulate {
    fn kind(&self) -> &'static str {
        "cost"
    }

    fn title(&self) -> String {
        format!("{}: the way down, simulated", stem(&self.plan))
    }

    fn keeps_folder(&self) -> bool {
        true
    }

    fn run(self: Box<Self>, desk: &Desk) -> Result<Summary, RunError> {
        let samples = &self.demand.samples;
        desk.tell(Event::CostRoad(Box::new(Road {
            from: samples.first().map_or(0.0, |s| s.from),
            until: samples.last().map(|s| s.until),
            simulated: true,
            ..road(&self.plan, &self.price, &self.market)
        })));
        let seen: RefCell<Vec<Seen>> = RefCell::default();
        let mut step = |s: &Step| seen.borrow_mut().push(Seen::Step(s.clone()));
        let mut view = |v: View| seen.borrow_mut().push(Seen::View(Box::new(v)));
        let show: Option<&mut dyn FnMut(View)> = if self.play.is_some() { Some(&mut view) } else { None };
        let walk = simulate::walk_shown(&self.plan, &self.price, &self.demand, &mut step, show);
        let walk = walk.map_err(RunError::misuse)?;
        let by_rule = rule::walk(&self.plan, &self.demand).map_err(RunError::misuse)?;
        let stopped = tell(desk, &seen.into_inner(), &self.plan.unit.name, self.play);
        let descent = Descent::of(&self.plan, &self.demand.name, walk, self.price, Some(by_rule), self.demand.notes);
        summary(&descent, stopped)
    }
}

/// Steps down for real: a table of AWS, replicas, a program's knob, or the table of the local stack on played demand.
pub struct Descend {
    pub plan: Plan,
    /// Recorded demand: up to now, for the planner to begin with; with the local stack, what is played on it.
    pub demand: Option<Demand>,
    pub price: PriceUsed,
    pub market: Market,
}

/// What else the same demand would cost, and by which prices.
#[derive(Clone, Debug, Default)]
pub struct Market {
    /// By a campaign, dollars an hour.
    pub campaign_usd_per_hour: Option<f64>,
    /// A request to a table that is paid on demand.
    pub on_demand_usd: Option<f64>,
    pub prices: Vec<Price>,
}

impl Job for Descend {
    fn kind(&self) -> &'static str {
        "cost"
    }

    fn title(&self) -> String {
        format!("{}: the way down", stem(&self.plan))
    }

    fn keeps_folder(&self) -> bool {
        true
    }

    fn run(self: Box<Self>, desk: &Desk) -> Result<Summary, RunError> {
        if self.plan.is_local() {
            return self.local(desk);
        }
        let knob = knobs::open(&self.plan).map_err(RunError::misuse)?;
        let place = Place::of(&desk.home, &self.plan);
        let history = self.demand.clone();
        self.walk(desk, knob, place, history, Vec::new())
    }
}

impl Descend {
    /// On this machine: the platform is made where there is none, the stack started where none is up.
    fn local(&self, desk: &Desk) -> Result<Summary, RunError> {
        let running = stack::running(&desk.home)?;
        let own = match &running {
            Some(_) => None,
            None => {
                let platform = evening::ready(desk)?;
                desk.tell(Event::phase("starting the stack"));
                Some(evening::start(&platform, desk)?)
            }
        };
        let url = own.as_ref().map(|up| up.state.api_url.clone()).or(running.map(|r| r.api_url)).unwrap_or_default();
        desk.say(format!("the stack is up at {url}"));
        let walked = self.play(desk, url);
        if let Some(up) = own {
            up.down()?;
        }
        walked
    }

    fn play(&self, desk: &Desk, url: String) -> Result<Summary, RunError> {
        let demand = self.demand.clone().unwrap_or_else(|| {
            let made = &self.plan.local;
            cost::evening::demand(made.seed, made.days, made.peak)
        });
        let tokens = Tokens::hs256(secret::ensure(&desk.home)?.as_bytes());
        let (each, start, play) = (self.plan.unit.units_a_request(), self.plan.start, self.plan.local.play);
        desk.tell(Event::phase("playing the days"));
        let replicas = (self.plan.knob == KnobKind::Replicas).then(|| stack::spec(&desk.home)).transpose()?;
        let zones = demand.zones.clone();
        let knob = Local::open(local::Place { url, tokens, replicas }, demand, each, start, play);
        let knob = knob.map_err(RunError::cannot_tell)?;
        // A played time has no second life: its journal belongs to its run.
        let folder = desk.folder.clone().unwrap_or_else(|| desk.home.join("cost"));
        let place = Place { journal: folder.join("way.journal"), lock: desk.home.join("cost/local.lock") };
        self.walk(desk, Box::new(knob), place, None, zones)
    }

    fn walk(
        &self,
        desk: &Desk,
        knob: Box<dyn Knob>,
        place: Place,
        history: Option<Demand>,
        doubts: Vec<(f64, String)>,
    ) -> Result<Summary, RunError> {
        let (plan, unit) = (&self.plan, self.plan.unit.name.clone());
        let mut name = knob.name();
        let wishes = desk.folder.as_ref().map(|f| f.join(told::WISHES));
        let road = Road {
            from: knob.now(),
            until: knob.rhythm().until,
            knob: name.clone(),
            wishes: wishes.clone(),
            ..road(plan, &self.price, &self.market)
        };
        desk.tell(Event::CostRoad(Box::new(road)));
        if let Some(history) = &history {
            name = format!("{name}, after {}", history.name);
        }
        let mut notes = history.as_ref().map_or_else(Vec::new, |h| h.notes.clone());
        notes.push(format!("journal: {}", place.journal.display()));
        let incident = plan.incident.clone();
        let drive = Drive {
            knob,
            place,
            history,
            price: self.price.clone(),
            stop: desk.stop.clone(),
            tell: &mut |step| step_told(desk, step, &unit),
            say: &mut |text| desk.say(text),
            show: &mut |view| desk.tell(Event::CostView(Box::new(view))),
            busy: &mut || busy(desk, incident.as_deref()),
            wishes,
            doubts,
            plan: plan.clone(),
        };
        let walk = drive.run().map_err(error)?;
        let descent = Descent::of(plan, &name, walk, self.price.clone(), None, notes);
        summary(&descent, desk.stop.requested())
    }
}

fn road(plan: &Plan, price: &PriceUsed, market: &Market) -> Road {
    Road {
        plan: stem(plan),
        knob: plan.knob.name().to_owned(),
        unit: plan.unit.name.clone(),
        start: plan.start,
        floor: plan.floor,
        hold_s: plan.hold_s,
        incidents: plan.incidents,
        p99_ms: plan.p99_ms,
        price: price.clone(),
        campaign_usd_per_hour: market.campaign_usd_per_hour,
        on_demand_usd: market.on_demand_usd,
        prices: market.prices.clone(),
        ..Road::default()
    }
}

/// What else goes on that forbids a step down: a canary that is being walked, an incident.
fn busy(desk: &Desk, incident: Option<&[String]>) -> Option<String> {
    if let Some(holder) = canary_walk::any_walked(&desk.home) {
        return Some(format!("a canary is being walked ({holder})"));
    }
    if let Some(words) = incident
        && let Err(why) = program::run(words, &[], ANSWER)
    {
        return Some(format!("there is an incident, or nobody can tell: {} {why}", words.join(" ")));
    }
    let reports = desk.folder.as_deref()?.parent()?;
    let last = past::list(reports).ok()?.into_iter().find(|run| run.began.kind == "check")?;
    let at: jiff::Timestamp = last.began.at.parse().ok()?;
    let recent = jiff::Timestamp::now().as_second() - at.as_second() < INCIDENT_S;
    (recent && last.verdict == Some(Verdict::No)).then(|| format!("the check of {at} found something: {}", last.reason))
}

fn error(e: CostError) -> RunError {
    match e {
        CostError::Knob(KnobError::Failed { .. }) | CostError::Journal { .. } => RunError::cannot_tell(e),
        CostError::Held(_) => RunError::cannot_tell(e).hint("one way down a knob; the other one goes on"),
        _ => RunError::misuse(e),
    }
}

fn stem(plan: &Plan) -> String {
    std::path::Path::new(&plan.name).file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned())
}

fn summary(descent: &Descent, stopped: bool) -> Result<Summary, RunError> {
    Ok(Summary {
        title: format!("{} → {} {}", descent.start_capacity, descent.final_capacity, descent.unit),
        verdict: Some(descent.verdict),
        reason: descent.reason.clone(),
        lines: descent.lines(),
        document: serde_json::to_value(descent).map_err(RunError::cannot_tell)?,
        stopped,
    })
}

/// Tells a step as data, and its beginning as something that happened.
fn step_told(desk: &Desk, step: &Step, unit: &str) {
    desk.tell(Event::CostStep(Box::new(step.clone())));
    if step.share_of_limit.is_none() {
        let text = format!("{} {unit}: {}", step.capacity, step.reason);
        let good = match step.verdict {
            StepVerdict::Go => Some(true),
            StepVerdict::Hold => None,
            StepVerdict::Up => Some(false),
        };
        desk.tell(Event::Happened(Happened { at: step.at.clone(), source: "cost".to_owned(), text, good }));
    }
}

/// What a simulated way down tells, in its order.
enum Seen {
    Step(Step),
    View(Box<View>),
}

/// Tells it, spread over `play`; returns whether somebody stopped it.
fn tell(desk: &Desk, seen: &[Seen], unit: &str, play: Option<Duration>) -> bool {
    let views = seen.iter().filter(|s| matches!(s, Seen::View(_))).count();
    for told in seen {
        let pause = match told {
            Seen::Step(step) => {
                step_told(desk, step, unit);
                continue;
            }
            Seen::View(view) => {
                desk.tell(Event::CostView(view.clone()));
                play.map_or(Duration::ZERO, |all| all / (views.max(1) as u32))
            }
        };
        let end = std::time::Instant::now() + pause;
        while std::time::Instant::now() < end {
            if desk.stop.requested() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20).min(pause));
        }
    }
    false
}
