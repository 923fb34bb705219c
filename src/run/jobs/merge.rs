//! Several shards of one load as one run: their seconds added, bucket by bucket, and judged again.

use std::iter::Peekable;
use std::path::Path;

use super::load::summarise;
use crate::judge::objective::Objective;
use crate::load::fold::{Ending, Fold};
use crate::load::tick::{LoadPlan, Tick};
use crate::run::error::RunError;
use crate::run::event::Event;
use crate::run::job::{Desk, Job};
use crate::run::journal;
use crate::run::past::PastLoad;
use crate::run::summary::Summary;

pub struct Merge {
    shards: Vec<PastLoad>,
    plan: LoadPlan,
    /// Parts of the schedule that nobody brought.
    missing: Vec<String>,
}

impl Merge {
    /// Refuses runs that are not parts of the same load.
    pub fn new(shards: Vec<PastLoad>) -> Result<Self, RunError> {
        let Some(first) = shards.first() else { return Err(RunError::misuse("there is no run to merge")) };
        let mut plan = first.plan.clone();
        for (at, other) in shards.iter().enumerate().skip(1) {
            let refuse = |what: &str| {
                let (a, b) = (first.folder.display(), other.folder.display());
                Err(RunError::misuse(format!("{a} and {b} are no parts of one load: {what}")))
            };
            if let Some(what) = difference(&first.plan, &other.plan) {
                return refuse(what);
            }
            if let Some(twice) = shards[..at].iter().find(|s| s.plan.shard == other.plan.shard) {
                let (a, b) = (twice.folder.display(), other.folder.display());
                let part = if other.plan.shard.is_empty() { "the whole of it" } else { &other.plan.shard };
                return Err(RunError::misuse(format!("{a} and {b} are the same part of the load, {part}")));
            }
            plan.connections += other.plan.connections;
            plan.workers += other.plan.workers;
        }
        let missing = missing(&shards);
        plan.shard.clear();
        Ok(Self { shards, plan, missing })
    }
}

fn difference(a: &LoadPlan, b: &LoadPlan) -> Option<&'static str> {
    let parts = |p: &LoadPlan| p.shard.split_once('/').map(|(_, of)| of.to_owned());
    let checks = [
        (a.scenario != b.scenario, "their scenarios differ"),
        (a.target != b.target, "their targets differ"),
        (a.seed != b.seed, "their seeds differ"),
        (a.stages != b.stages || a.model != b.model, "their stages differ"),
        (a.endpoints != b.endpoints, "their requests differ"),
        (a.objectives != b.objectives, "their objectives differ"),
        (parts(a) != parts(b), "they were cut into different numbers of shards"),
    ];
    checks.into_iter().find(|(differs, _)| *differs).map(|(_, what)| what)
}

/// Shards that begin within this are one load.
const TOGETHER_S: f64 = 1.0;

/// Returns how many seconds lie between the first and the last beginning; `None` where a shard noted none.
fn apart(shards: &[PastLoad]) -> Option<f64> {
    let began: Vec<i64> = shards.iter().map(|s| s.plan.began_ms).filter(|ms| *ms > 0).collect();
    let whole = began.len() == shards.len();
    began.iter().max().zip(began.iter().min()).filter(|_| whole).map(|(last, first)| (last - first) as f64 / 1000.0)
}

fn missing(shards: &[PastLoad]) -> Vec<String> {
    let of = shards.first().and_then(|s| s.plan.shard.split_once('/')).and_then(|(_, of)| of.parse::<u64>().ok());
    let all = (1..=of.unwrap_or(0)).map(|part| format!("{part}/{}", of.unwrap_or(0)));
    all.filter(|part| shards.iter().all(|s| s.plan.shard != *part)).collect()
}

impl Job for Merge {
    fn kind(&self) -> &'static str {
        "merge"
    }

    fn title(&self) -> String {
        format!("{} → {}", self.plan.scenario, self.plan.target)
    }

    fn keeps_folder(&self) -> bool {
        true
    }

    fn run(self: Box<Self>, desk: &Desk) -> Result<Summary, RunError> {
        let objectives = self.plan.objectives.iter().map(|text| Objective::parse(text)).collect::<Result<_, _>>();
        let objectives = objectives.map_err(|e| RunError::misuse(format!("an objective of the shards: {e}")))?;
        desk.tell(Event::LoadPlan(self.plan.clone()));
        let mut fold = Fold::new(self.plan.clone(), objectives);
        let opened = self.shards.iter().map(|s| ticks(&s.folder)).collect::<Result<Vec<_>, _>>()?;
        merge(opened, &mut |tick| {
            fold.add(&tick);
            desk.tell(Event::Tick(Box::new(tick)));
        })?;
        let cut = self.shards.iter().find(|s| s.summary.is_none());
        let unsure = self.shards.iter().filter_map(|s| s.summary.as_ref()).find(|s| s.generator.saturated);
        let broken = match (&self.missing[..], cut, unsure) {
            ([], None, None) => None,
            ([], None, Some(s)) => Some(format!("one generator was saturated: {}", s.generator.reason)),
            ([], Some(cut), _) => Some(format!("{} was cut off before its end", cut.folder.display())),
            (missing, ..) => Some(format!("a part of the load is missing: shard {}", missing.join(", "))),
        };
        let stopped = self.shards.iter().filter_map(|s| s.summary.as_ref()).any(|s| s.stopped);
        let run = desk.folder.as_ref().map(|f| f.display().to_string());
        let load = fold.summary(Ending { stopped, broken, lost: None, run });
        let mut summary = summarise(self.title(), &load)?;
        let names: Vec<String> = self.shards.iter().map(|s| s.folder.display().to_string()).collect();
        summary.lines.push(format!("merged from {} runs", names.len()));
        summary.document["merged"] = names.into();
        if let Some(apart) = apart(&self.shards).filter(|seconds| *seconds > TOGETHER_S) {
            summary.lines.push(format!(
                "the shards began {apart:.1} s apart: what met the target at once was less than their sum; --at begins them as one"
            ));
            summary.document["began_apart_s"] = apart.into();
        }
        // That a shard was stopped is its story; the merge itself came to its end.
        summary.stopped = false;
        Ok(summary)
    }
}

fn ticks(folder: &Path) -> Result<Peekable<impl Iterator<Item = Result<Tick, RunError>> + use<>>, RunError> {
    let name = folder.display().to_string();
    let failed = move |e: std::io::Error| RunError::cannot_tell(format!("{name}: {e}"));
    let events = journal::events(folder).map_err(failed.clone())?;
    let ticks = events.filter_map(move |event| match event {
        Ok(Event::Tick(tick)) => Some(Ok(*tick)),
        Ok(_) => None,
        Err(e) => Some(Err(failed(e))),
    });
    Ok(ticks.peekable())
}

/// Adds the same second of all shards, in order, holding one second at a time.
fn merge(
    mut shards: Vec<Peekable<impl Iterator<Item = Result<Tick, RunError>>>>,
    each: &mut dyn FnMut(Tick),
) -> Result<(), RunError> {
    loop {
        let mut second = None;
        for shard in &mut shards {
            match shard.peek() {
                Some(Ok(tick)) => second = Some(second.map_or(tick.second, |s: u32| s.min(tick.second))),
                Some(Err(_)) => return shard.next().map_or(Ok(()), |r| r.map(drop)),
                None => {}
            }
        }
        let Some(second) = second else { return Ok(()) };
        let mut whole: Option<Tick> = None;
        for shard in &mut shards {
            while let Some(Ok(tick)) = shard.next_if(|t| t.as_ref().is_ok_and(|t| t.second == second)) {
                match &mut whole {
                    Some(whole) => whole.merge(&tick),
                    None => whole = Some(tick),
                }
            }
        }
        whole.into_iter().for_each(&mut *each);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::recorder::{Recorder, Times};
    use crate::load::schedule::Shard;

    /// Plays the same recorded stream through one recorder, or through one a shard.
    fn record(shard: Shard) -> Vec<Tick> {
        let mut recorder = Recorder::new(2, 1);
        let mut ticks = Vec::new();
        for second in 0..5_u64 {
            for n in (0..300_u64).filter(|n| (second * 300 + n) % shard.of == shard.part) {
                let due = second * 1_000_000_000 + n * 3_000_000;
                let took = 200_000 + (n * n * 7919 + second * 104_729) % 90_000_000;
                recorder.due(0, n * 10);
                recorder.sent(0);
                let times =
                    Times { due, ready: due, sent: Some(due + 1000), first: Some(due + took / 2), last: due + took };
                recorder.status(200, false);
                recorder.ended((n % 2) as u16, 0, times, None, true);
            }
            ticks.push(*recorder.turn(0, 0));
        }
        ticks
    }

    #[test]
    fn merged_shards_equal_one_process_bucket_by_bucket() {
        let whole = record(Shard::default());
        let shards = (0..3).map(|part| record(Shard { part, of: 3 }).into_iter().map(Ok).peekable());
        let mut merged = Vec::new();
        merge(shards.collect(), &mut |tick| merged.push(tick)).expect("merged");
        assert_eq!(merged, whole);
        assert_eq!(merged.iter().flat_map(|t| &t.endpoints).map(|e| e.latency.count()).sum::<u64>(), 1500);
    }

    #[test]
    fn a_shard_that_ended_sooner_holds_nobody_up() {
        let long = record(Shard { part: 0, of: 2 });
        let short = record(Shard { part: 1, of: 2 }).into_iter().take(2);
        let mut seconds = Vec::new();
        let both = vec![
            long.into_iter().map(Ok).collect::<Vec<_>>().into_iter().peekable(),
            short.map(Ok).collect::<Vec<_>>().into_iter().peekable(),
        ];
        merge(both, &mut |tick| seconds.push(tick.due)).expect("merged");
        assert_eq!(seconds, [300, 300, 150, 150, 150]);
    }
}
