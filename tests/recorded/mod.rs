//! A made-up evening for the faces' tests: seeded, the same every time; judged by the real fold.

#![allow(dead_code)]

use std::collections::BTreeMap;

use serin::judge::objective::Objective;
use serin::load::fold::{Ending, Fold};
use serin::load::tick::{EndpointTick, GeneratorTick, LoadPlan, StagePlan, Tick};
use serin::run::event::{Began, Event, Happened};
use serin::run::summary::Summary;
use serin::stats::progress::Progress;

pub const OBJECTIVES: [&str; 3] = ["p99 < 120ms", "errors < 1%", "in time > 99%"];

/// The same numbers on every machine and in every version of every crate.
struct Dice(u64);

impl Dice {
    fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A latency in microseconds: most near `typical`, some far above.
    fn latency(&mut self, typical: f64) -> u64 {
        let normal: f64 = (0..6).map(|_| self.share()).sum::<f64>() - 3.0;
        (typical * (normal * 0.9).exp()) as u64
    }
}

/// An evening of `seconds`, whose answers slow down past the objective when it is a bad one.
pub fn evening(seconds: u32, bad: bool) -> Vec<Event> {
    let plan = LoadPlan {
        shard: String::new(),
        scenario: "evening short".to_owned(),
        target: "local".to_owned(),
        seed: 7,
        duration_s: f64::from(seconds),
        endpoints: vec!["recommendations".to_owned(), "similar".to_owned()],
        stages: vec![StagePlan {
            name: "peak".to_owned(),
            begins_s: 0.0,
            ends_s: f64::from(seconds),
            peak_rate: 500.0,
        }],
        objectives: OBJECTIVES.map(str::to_owned).to_vec(),
        model: "open".to_owned(),
        connections: 32,
        ..LoadPlan::default()
    };
    let mut events = vec![Event::Began(Began {
        kind: "evening".to_owned(),
        title: "evening short → local".to_owned(),
        command: "serin".to_owned(),
        at: "2026-11-23T20:25:00Z".to_owned(),
        version: "0.1.0".to_owned(),
        host: "box".to_owned(),
    })];
    for (task, total, unit, note) in [
        ("making viewers", 400_000.0, "viewings", ""),
        ("training", 15.0, "iterations", "loss 1.284e6"),
        ("publishing", 20_000.0, "lists", ""),
    ] {
        events.push(Event::phase(task));
        for part in [0.4, 1.0] {
            events.push(Event::Progress(Progress {
                task: task.to_owned(),
                done: total * part,
                total: Some(total),
                unit: unit.to_owned(),
                left_s: (part < 1.0).then_some(4.0),
                note: note.to_owned(),
            }));
        }
    }
    events.push(happened("2026-11-23T20:25:09Z", "stack", "the API answers on 127.0.0.1:7070", Some(true)));
    events.push(Event::phase("evening"));
    events.push(Event::LoadPlan(plan.clone()));
    let objectives = OBJECTIVES.iter().map(|o| Objective::parse(o).expect("an objective")).collect();
    let mut fold = Fold::new(plan, objectives);
    let mut dice = Dice(7);
    for second in 0..seconds {
        let tick = tick(second, seconds, bad, &mut dice);
        fold.add(&tick);
        events.push(Event::Tick(Box::new(tick)));
        if bad && second == seconds / 2 {
            events.push(happened("2026-11-23T20:25:39Z", "store", "reads are throttled", Some(false)));
        }
    }
    let load = fold.summary(Ending::default());
    events.push(Event::Ended(Box::new(Summary {
        title: "evening short → local".to_owned(),
        verdict: Some(load.verdict),
        reason: load.reason.clone(),
        lines: Fold::lines(&load),
        document: serde_json::to_value(&load).expect("a document"),
        stopped: false,
    })));
    events
}

fn tick(second: u32, seconds: u32, bad: bool, dice: &mut Dice) -> Tick {
    let slow = bad && second >= seconds / 2;
    let mut endpoints = vec![EndpointTick::default(), EndpointTick::default()];
    let mut tick = Tick { second, ends_s: f64::from(second + 1), due: 500, sent: 500, ..Tick::default() };
    let mut generator = GeneratorTick { cpu_share: 0.21, ..GeneratorTick::default() };
    for n in 0..500_u32 {
        let endpoint = &mut endpoints[usize::from(n % 5 == 0)];
        let us = dice.latency(if slow { 60_000.0 } else { 3_000.0 });
        generator.late.record_us(20 + u64::from(n % 50));
        endpoint.latency.record_us(us + 40);
        endpoint.service.record_us(us);
        endpoint.ended += 1;
        if slow && n % 60 == 0 {
            endpoint.errors += 1;
            *tick.errors.entry("timeout".to_owned()).or_default() += 1;
            tick.examples
                .entry("timeout".to_owned())
                .or_insert("no answer within 10 s from <127.0.0.1:7070>".to_owned());
        } else {
            endpoint.answered += 1;
            tick.answered += 1;
        }
    }
    tick.statuses = BTreeMap::from([(200, tick.answered)]);
    tick.in_flight = if slow { 31 } else { 2 };
    tick.endpoints = endpoints;
    tick.generator = generator;
    tick
}

fn happened(at: &str, source: &str, text: &str, good: Option<bool>) -> Event {
    Event::Happened(Happened { at: at.to_owned(), source: source.to_owned(), text: text.to_owned(), good })
}
