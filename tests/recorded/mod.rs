//! A made-up evening for the faces' tests: seeded, the same every time; judged by the real fold.

#![allow(dead_code)]

use std::collections::BTreeMap;

use serin::canary::told as canary;
use serin::cost::descent::Descent;
use serin::cost::plan::Plan;
use serin::cost::simulate;
use serin::cost::step::Step;
use serin::cost::tariff::PriceUsed;
use serin::cost::told::{Ahead, Road, View};
use serin::judge::interval::{Bucket, Interval, Side};
use serin::judge::objective::Objective;
use serin::judge::sequential::{Call, Judge, Terms};
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
        lines: load.lines(),
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

/// A way down of fourteen made days as far as day `day`; the last event is its end where all of it is told.
pub fn way(day: f64) -> Vec<Event> {
    let plan = Plan::built_in().expect("a plan");
    let demand = serin::cost::evening::demand(7, 14, 500.0);
    let price = PriceUsed {
        usd_per_unit_hour: Some(0.000_13),
        region: "us-east-1".to_owned(),
        from: "$ 0.00013 an hour for one rcu in us-east-1, prices of 2026-11-23, 2 days old".to_owned(),
        ..PriceUsed::default()
    };
    let mut steps: Vec<Step> = Vec::new();
    let walk = simulate::walk(&plan, &price, &demand, &mut |s| steps.push(s.clone())).expect("walks");
    let from = demand.samples[0].from;
    let until = demand.samples.last().expect("samples").until;
    let end = from + day * 86_400.0;
    let mut events = vec![
        Event::Began(Began {
            kind: "cost".to_owned(),
            title: "cost-descend: the way down".to_owned(),
            command: "serin cost descend".to_owned(),
            at: "2026-11-23T20:25:00Z".to_owned(),
            version: "0.1.0".to_owned(),
            host: "box".to_owned(),
        }),
        Event::CostRoad(Box::new(Road {
            plan: "cost-descend".to_owned(),
            knob: "the table of the local stack".to_owned(),
            unit: "rcu".to_owned(),
            start: 900,
            floor: 1,
            hold_s: 86_400.0,
            incidents: 3,
            p99_ms: Some(120.0),
            price: price.clone(),
            campaign_usd_per_hour: Some(18.35),
            from,
            until: Some(until),
            simulated: false,
            wishes: Some("reports/RUN/wishes.jsonl".into()),
            on_demand_usd: Some(0.000_000_062_5),
            prices: Vec::new(),
        })),
    ];
    let mut last: Option<Step> = None;
    for mut step in steps {
        let at: jiff::Timestamp = step.at.parse().expect("RFC 3339");
        if at.as_second() as f64 > end {
            break;
        }
        // What a simulation cannot tell, and real answers do.
        step.p99_ms = step.share_of_limit.map(|s| 8.0 + 40.0 * s);
        events.push(Event::CostStep(Box::new(step.clone())));
        last = Some(step);
    }
    let last = last.expect("a step");
    let began: jiff::Timestamp = last.at.parse().expect("RFC 3339");
    let sample = demand.samples.iter().rfind(|s| s.until <= end).expect("a sample");
    let highest = demand.samples.iter().filter(|s| s.until <= end).map(|s| s.reads * 0.5).fold(0.0, f64::max);
    events.push(Event::CostView(Box::new(View {
        at: serin::cost::demand::shown(end),
        t: end,
        capacity: last.capacity,
        units: sample.reads * 0.5,
        kept: 0.97,
        throttled: 0.0,
        p99_ms: Some(11.4),
        held_s: end - began.as_second() as f64,
        incidents: 0,
        needed: walk.needed,
        ahead: vec![Ahead {
            capacity: walk.final_capacity,
            share_of_limit: Some(highest / walk.final_capacity as f64),
        }],
        verdict: last.verdict,
        reason: last.reason.clone(),
        saved_usd: Some(7.21),
        paid_usd: Some(11.04),
        requests: 51_204_311.0,
        held_by_hand: false,
    })));
    if day >= 14.0 {
        let descent = Descent::of(&plan, "the table of the local stack", walk, price, None, Vec::new());
        events.push(Event::Ended(Box::new(Summary {
            title: "900 → the cheapest".to_owned(),
            verdict: Some(descent.verdict),
            reason: descent.reason.clone(),
            lines: descent.lines(),
            document: serde_json::to_value(&descent).expect("a document"),
            stopped: false,
        })));
    }
    events
}

/// A made-up canary walk at its second stage, judged by the real judge: `looks` looks in; a bad one fails from there on.
pub fn walk(looks: u32, bad: bool) -> Vec<Event> {
    let shares = [0.1, 0.2, 0.5];
    let stages =
        shares.map(|share| canary::RoadStage { share, hold_s: 300.0, longest_s: 1800.0, approval: share > 0.4 });
    let road = canary::Road {
        target: "local".to_owned(),
        driver: "the router of the local stack".to_owned(),
        numbers: "the router of the local stack".to_owned(),
        stages: stages.to_vec(),
        guards: ["errors", "p95", "p99"].map(str::to_owned).to_vec(),
        look_s: 10.0,
        name: "reports/RUN".to_owned(),
    };
    let began = Began {
        kind: "canary".to_owned(),
        title: "canary good → local".to_owned(),
        command: "serin canary walk canary-good".to_owned(),
        at: "2026-11-23T20:21:00Z".to_owned(),
        version: "0.1.0".to_owned(),
        host: "here".to_owned(),
    };
    let moment = |at: &str, text: &str, good| {
        let (at, source) = (format!("2026-11-23T{at}Z"), "canary".to_owned());
        Event::Happened(Happened { at, source, text: text.to_owned(), good })
    };
    let mut events = vec![
        Event::Began(began),
        Event::CanaryRoad(Box::new(road)),
        moment("20:21:00", "stage 1: 10.0 % of the viewers; the walk begins", None),
        moment(
            "20:26:10",
            "stage 2: 20.0 % of the viewers; harm is excluded over 15000 requests of the canary",
            Some(true),
        ),
    ];
    let mut judge = Judge::new(Terms::default());
    let mut dice = Dice(7);
    for look in 0..looks {
        let t = 10.0 * f64::from(look + 1);
        let stage = if look < 31 { 1 } else { 2 };
        let mut side = |scale: f64, fail: f64| {
            let requests = (450.0 * scale + 40.0 * dice.share()).floor();
            let errors = (0.001 * requests + dice.share() * 0.9 + fail * requests).floor();
            let mut latency_ms = Vec::new();
            let mut left = requests;
            for (upper, part) in [(20.0, 0.6), (40.0, 0.28), (60.0, 0.07), (90.0, 0.035), (150.0, 0.011)] {
                let count = (requests * part).floor();
                left -= count;
                latency_ms.push(Bucket(upper, count));
            }
            latency_ms.push(Bucket(400.0, left));
            Side { requests, errors, latency_ms, ..Side::default() }
        };
        let slices: Vec<Side> = (0..9).map(|_| side(1.0, 0.0)).collect();
        let fail = if bad && look + 10 > looks { 0.02 } else { 0.0 };
        let canary = side(f64::from(stage), fail);
        let baseline = slices.iter().fold(Side::default(), |sum, s| sum.and(s));
        let requests = (canary.requests, baseline.requests);
        let interval = Interval {
            t,
            stage: Some(stage),
            canary: Some(canary),
            baseline: Some(baseline),
            slices: slices.into_iter().map(Some).collect(),
        };
        let judged = judge.look(&interval).expect("time goes on");
        let back = judged.verdict == Call::Rollback;
        let view = canary::View {
            t,
            stage: stage as usize,
            phase: if back { "back" } else { "soaking" }.to_owned(),
            share: if back { 0.0 } else { shares[stage as usize - 1] },
            read: Some(shares[stage as usize - 1]),
            seen: Some(0.1 * f64::from(stage) + 0.013),
            viewers: Some(0.1 * f64::from(stage) + 0.001),
            held_s: if stage == 1 { t } else { t - 310.0 },
            verdict: Some(judged.verdict),
            reason: judged.reason,
            evidence: judged.evidence,
            requests,
            p99_ms: (Some(150.0 + 4.0 * f64::from(look % 7)), Some(150.0)),
            frozen: false,
        };
        events.push(Event::CanaryView(Box::new(view)));
    }
    events
}

/// A training under way and, where `whole`, judged and published.
pub fn training(whole: bool) -> Vec<Event> {
    let mut events = vec![Event::Began(Began {
        kind: "evening".to_owned(),
        title: "short evening → local".to_owned(),
        command: "serin".to_owned(),
        at: "2026-11-23T20:25:00Z".to_owned(),
        version: "0.1.0".to_owned(),
        host: "box".to_owned(),
    })];
    let losses = [1.284e6, 9.31e5, 8.02e5, 7.44e5, 7.15e5, 7.01e5, 6.93e5, 6.89e5, 6.87e5, 6.86e5];
    for (i, loss) in losses.iter().enumerate().take(if whole { 10 } else { 6 }) {
        events.push(Event::Progress(Progress {
            task: "training".to_owned(),
            done: i as f64 + 1.0,
            total: Some(10.0),
            unit: "iterations".to_owned(),
            left_s: Some(9.0 - i as f64),
            note: format!("loss {loss:.4e}"),
        }));
    }
    if whole {
        let places = |shares: [f64; 5]| {
            let bounds = [(1, Some(1)), (2, Some(3)), (4, Some(10)), (11, Some(20)), (21, None)];
            let rows = bounds.iter().zip(shares);
            rows.map(|((from, to), share)| serde_json::json!({"from": from, "to": to, "users": 1, "share": share}))
                .collect::<Vec<_>>()
        };
        let metrics = |ndcg: f64, shares| {
            serde_json::json!({"users": 18_204, "ndcg": ndcg, "recall": ndcg * 2.2, "hit_rate": ndcg * 2.2, "mrr": ndcg * 0.7,
                "coverage": if ndcg > 0.1 { 0.81 } else { 0.01 }, "places": places(shares)})
        };
        for document in [
            serde_json::json!({"schema": "serin.train/1", "id": "als-5d1e", "users": 19_001, "items": 2_000,
                "interactions": 571_334, "rank": 64, "regularization": 0.08, "alpha": 24.0, "convention": "spark",
                "iterations": 10, "loss": losses, "seconds_total": 3.41, "seconds_per_iteration": 0.22, "peak_rss_mb": 143.0}),
            {
                let mut found = metrics(0.214, [0.148, 0.151, 0.203, 0.111, 0.387]);
                found["schema"] = "serin.evaluate/1".into();
                found["model"] = "als-5d1e".into();
                found["k"] = 20.into();
                found["popular"] = metrics(0.0934, [0.05, 0.06, 0.10, 0.10, 0.69]);
                found
            },
            serde_json::json!({"schema": "serin.publish/1", "model": "als-5d1e", "lists": 18_990, "seconds": 1.7}),
        ] {
            events.push(Event::Part { document });
        }
    }
    events
}
