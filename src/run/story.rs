//! The events of a run, folded into what every face shows; it grows with what happens, not with time.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

use super::columns::Columns;
use super::event::{Began, Event, Happened};
use super::summary::Summary;
use super::walked::Walked;
use crate::cost::step::Step;
use crate::cost::told::{Road, View};
use crate::judge::objective::Objective;
use crate::load::fold::{Ending, Fold};
use crate::load::summary::LoadSummary;
use crate::load::tick::{LoadPlan, Tick};
use crate::stats::progress::Progress;

/// How many moments and sentences are kept; older ones stay in the journal.
const MOST: usize = 200;

#[derive(Clone, Debug, Default)]
pub struct Story {
    pub began: Option<Began>,
    pub phases: Vec<String>,
    /// The latest word on each task, in order of their beginning.
    pub tasks: Vec<Progress>,
    /// Sentences, oldest first.
    pub said: VecDeque<String>,
    /// The time line, oldest first.
    pub happened: VecDeque<Happened>,
    pub load: Option<LoadStory>,
    pub cost: Option<CostStory>,
    pub canary: Option<Walked>,
    pub model: ModelStory,
    /// `None` while it runs, and for ever when it was killed.
    pub ended: Option<Summary>,
}

/// What the run tells of its model: the documents of its parts, as they come.
#[derive(Clone, Debug, Default)]
pub struct ModelStory {
    /// After each iteration.
    pub losses: Vec<f64>,
    pub trained: Option<Value>,
    pub evaluated: Option<Value>,
    pub published: Option<Value>,
}

impl ModelStory {
    pub fn is_empty(&self) -> bool {
        self.losses.is_empty() && [&self.trained, &self.evaluated, &self.published].iter().all(|d| d.is_none())
    }

    fn part(&mut self, document: &Value) {
        let place = match document["schema"].as_str() {
            Some("serin.train/1") => &mut self.trained,
            Some("serin.evaluate/1") => &mut self.evaluated,
            Some("serin.publish/1") => &mut self.published,
            _ => return,
        };
        *place = Some(document.clone());
        if let Some(losses) = document["loss"].as_array() {
            self.losses = losses.iter().filter_map(Value::as_f64).collect();
        }
    }

    fn progress(&mut self, told: &Progress) {
        let whole = told.task == "training" && told.done.fract() == 0.0;
        let loss = told.note.strip_prefix("loss ").and_then(|l| l.parse().ok());
        if let Some(loss) = loss.filter(|_| whole && self.losses.len() < MOST) {
            self.losses.push(loss);
        }
    }
}

/// A way down as far as it has come.
#[derive(Clone, Debug, Default)]
pub struct CostStory {
    pub road: Road,
    pub steps: Vec<Step>,
    pub view: Option<View>,
}

impl CostStory {
    /// Takes a step when it begins, and in its place when it has ended.
    fn step(&mut self, step: &Step) {
        match self.steps.last_mut().filter(|s| s.at == step.at && s.capacity == step.capacity) {
            Some(last) => last.clone_from(step),
            None => self.steps.push(step.clone()),
        }
    }
}

#[derive(Clone, Debug)]
pub struct LoadStory {
    pub plan: LoadPlan,
    pub columns: Columns,
    /// What the summary is made of, and so what is judged live; `None` where an objective cannot be read, as a
    /// judgement by the others alone would be a wrong one.
    fold: Option<Fold>,
    pub answered: u64,
    pub statuses: BTreeMap<u16, u64>,
    pub errors: BTreeMap<String, u64>,
    /// The second in which each kind of error was first seen.
    pub first_seen: BTreeMap<String, u32>,
}

impl Story {
    /// Folds one event in.
    pub fn hear(&mut self, event: &Event) {
        match event {
            Event::Began(began) => self.began = Some(began.clone()),
            Event::Phase { name } => self.phases.push(name.clone()),
            Event::Progress(progress) => {
                self.model.progress(progress);
                match self.tasks.iter_mut().find(|t| t.task == progress.task) {
                    Some(task) => task.clone_from(progress),
                    None => self.tasks.push(progress.clone()),
                }
            }
            Event::Said { text } => keep(&mut self.said, text.clone()),
            Event::Happened(happened) => keep(&mut self.happened, happened.clone()),
            Event::LoadPlan(plan) => self.load = Some(LoadStory::new(plan)),
            Event::Tick(tick) => self.load.get_or_insert_with(|| LoadStory::new(&LoadPlan::default())).hear(tick),
            Event::CostStep(step) => self.cost.get_or_insert_default().step(step),
            Event::CostRoad(road) => self.cost.get_or_insert_default().road = (**road).clone(),
            Event::CostView(view) => self.cost.get_or_insert_default().view = Some((**view).clone()),
            Event::CanaryRoad(road) => self.canary = Some(Walked::new(road)),
            Event::CanaryView(view) => {
                if let Some(canary) = &mut self.canary {
                    canary.hear(view);
                }
            }
            Event::Part { document } => self.model.part(document),
            Event::Ended(summary) => {
                self.model.part(&summary.document);
                self.ended = Some((**summary).clone());
            }
        }
    }

    /// Returns the load in one page: as it was judged at the end, or as far as it is known by now.
    pub fn load_summary(&self) -> Option<LoadSummary> {
        match &self.ended {
            Some(summary) => load_document(&summary.document),
            None => self.load.as_ref().filter(|l| !l.columns.is_empty()).and_then(LoadStory::summary),
        }
    }

    /// Returns the task that is being worked on.
    pub fn task(&self) -> Option<&Progress> {
        self.tasks.iter().rev().find(|t| t.total.is_none_or(|total| t.done < total))
    }
}

impl LoadStory {
    fn new(plan: &LoadPlan) -> Self {
        let objectives: Result<Vec<_>, _> = plan.objectives.iter().map(|o| Objective::parse(o)).collect();
        Self {
            plan: plan.clone(),
            columns: Columns::default(),
            fold: objectives.ok().map(|o| Fold::new(plan.clone(), o)),
            answered: 0,
            statuses: BTreeMap::new(),
            errors: BTreeMap::new(),
            first_seen: BTreeMap::new(),
        }
    }

    /// Returns the load in one page as far as it is known by now.
    fn summary(&self) -> Option<LoadSummary> {
        self.fold.as_ref().map(|f| f.summary(Ending::default()))
    }

    fn hear(&mut self, tick: &Tick) {
        self.columns.push(tick);
        if let Some(fold) = &mut self.fold {
            fold.add(tick);
        }
        self.answered += tick.answered;
        for (status, n) in &tick.statuses {
            *self.statuses.entry(*status).or_default() += n;
        }
        for (kind, n) in tick.errors.iter().filter(|(_, n)| **n > 0) {
            *self.errors.entry(kind.clone()).or_default() += n;
            self.first_seen.entry(kind.clone()).or_insert(tick.second);
        }
    }

    /// Returns the length of the whole load in seconds: as planned, or as long as it has lasted.
    pub fn seconds(&self) -> u32 {
        (self.plan.duration_s.ceil() as u32).max(self.columns.end())
    }
}

/// Finds the load's page in a run's document: the document itself, or the one it holds as `load`.
pub fn load_document(document: &Value) -> Option<LoadSummary> {
    [Some(document), document.get("load")].into_iter().flatten().find_map(|d| serde_json::from_value(d.clone()).ok())
}

fn keep<T>(list: &mut VecDeque<T>, item: T) {
    if list.len() >= MOST {
        list.pop_front();
    }
    list.push_back(item);
}
