//! What changed lately, by our own journals and by the numbers themselves.

use serde::{Deserialize, Serialize};

use crate::watch::sample::Signal;
use crate::watch::series::Series;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Unix seconds.
    pub at: f64,
    /// Who: "canary", "cost", "publish", "store", ..
    pub source: String,
    pub text: String,
}

/// Returns the changes that the numbers show: a capacity that moved, another generation, another catalogue.
pub fn seen(series: &Series, from: f64, to: f64) -> Vec<Change> {
    let told: [(Signal, &str, fn(f64, f64) -> String); 5] = [
        (Signal::StoreCapacity, "store", |a, b| format!("capacity {a:.0} → {b:.0} read units")),
        (Signal::Quota, "quota", |a, b| format!("quota {a:.0} → {b:.0} requests a second")),
        (Signal::ModelPublished, "publish", |_, _| "another generation of lists is served".to_owned()),
        (Signal::KeysSince, "api", |_, _| "started again, or checks tokens with other keys".to_owned()),
        (Signal::CatalogueBuilt, "catalogue", |a, b| {
            if b < a { "an older catalogue is held".to_owned() } else { "a newer catalogue is held".to_owned() }
        }),
    ];
    let mut changes = Vec::new();
    for (signal, source, text) in told {
        for sample in series.each() {
            let values: Vec<_> = sample.iter().filter(|s| s.at >= from && s.at <= to).collect();
            let known: Vec<_> = values.iter().filter_map(|s| Some((s.at, s.get(signal)?))).collect();
            for pair in known.windows(2).filter(|p| p[0].1 != p[1].1) {
                let change = Change { at: pair[1].0, source: source.to_owned(), text: text(pair[0].1, pair[1].1) };
                let alike = |c: &Change| c.text == change.text && (c.at - change.at).abs() < 60.0;
                if !changes.iter().any(alike) {
                    changes.push(change);
                }
            }
        }
    }
    changes.sort_by(|a, b| b.at.total_cmp(&a.at));
    changes
}
