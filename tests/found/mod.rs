//! A stack of two replicas whose store began to throttle five minutes ago, as the console sees and checks it.

use serin::incident::change::Change;
use serin::incident::parts::parts;
use serin::incident::scene::{Heard, Kind, Limits, Scene};
use serin::incident::signals::signals;
use serin::incident::triage::triage;
use serin::run::jobs::check::Look;
use serin::run::jobs::eye::Seen;
use serin::watch::sample::{Sample, Signal, Timing};
use serin::watch::series::Series;

const NOW: f64 = 1_800_000_000.0;

fn series() -> Series {
    let mut samples = Vec::new();
    for instance in ["api", "api-2"] {
        let mut sample = Sample::new(0.0, instance);
        let mut at = NOW - 3600.0;
        while at <= NOW {
            sample.at = at;
            let throttled = if at > NOW - 300.0 { 300.0 } else { 0.0 };
            for (signal, grown) in [
                (Signal::Requests, 1500.0),
                (Signal::Errors, 0.0),
                (Signal::Throttled, 0.0),
                (Signal::Refused, 0.0),
                (Signal::Popular, throttled),
                (Signal::Degraded, throttled),
                (Signal::Empty, 0.0),
                (Signal::StoreReads, 1500.0),
                (Signal::StoreThrottled, throttled),
                (Signal::StoreUnits, 750.0),
            ] {
                sample.add(signal, grown);
            }
            for (signal, value) in [
                (Signal::Up, 1.0),
                (Signal::Clock, at),
                (Signal::StoreCapacity, 400.0),
                (Signal::CatalogueBuilt, NOW - 7200.0),
                (Signal::CatalogueItems, 2000.0),
                (Signal::ModelPublished, NOW - 7000.0),
                (Signal::Lists, 20_000.0),
            ] {
                sample.set(signal, value);
            }
            for (timing, seconds) in [(Timing::Request, 0.004), (Timing::Store, 0.0005)] {
                let bounds = || [0.0001, 0.001, 0.01, 0.1, 3600.0].iter().map(|b| (*b, 0.0)).collect();
                let buckets = sample.timings.entry(timing).or_insert_with(bounds);
                buckets.iter_mut().filter(|b| seconds <= b.0).for_each(|b| b.1 += 1500.0);
            }
            samples.push(sample.clone());
            at += 5.0;
        }
    }
    Series::new(samples)
}

pub fn seen() -> Seen {
    let limits = Limits::default();
    let series = series();
    let signals = signals("local", &series, &limits, NOW, Vec::new());
    Seen { target: "local".to_owned(), parts: parts(&series, &limits, NOW, 10.0), signals, limit_ms: limits.latency_ms }
}

pub fn look() -> Look {
    let heard = |name: &str, kind| Heard { name: name.to_owned(), kind, took_s: 0.002, said: Ok(()) };
    let scene = Scene {
        target: "local".to_owned(),
        now: NOW,
        from: NOW - 1800.0,
        began: NOW - 3.2,
        limits: Limits::default(),
        series: series(),
        heard: vec![heard("metrics of api", Kind::Metrics), heard("health of api", Kind::Health)],
        probed: None,
        changes: vec![
            Change { at: NOW - 320.0, source: "cost".to_owned(), text: "units 520 → 400".to_owned() },
            Change { at: NOW - 1500.0, source: "publish".to_owned(), text: "20,000 lists".to_owned() },
        ],
        spent: None,
        prices: serin::incident::scene::UnitPrices::default(),
        help: vec!["call recs-platform".to_owned()],
    };
    Look { triage: triage(&scene), scene, took_s: 3.3 }
}
