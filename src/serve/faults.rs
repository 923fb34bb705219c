//! The twelve faults to practise on: what each does to the parts of the local stack, really and until it is mended.
//!
//! Only this room knows which faults are set. What the parts suffer is written down by its effect, a file a part, and
//! nobody who checks the stack reads either.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::api::now_s;
use super::catalogue;
use super::error::ServeError;
use super::stack::{self, PartState, folder};
use super::trouble::Trouble;
use crate::durable;
use crate::toml_file::nearest;
use crate::watch::error::WatchError;
use crate::watch::http::Asker;
use crate::watch::sample::{Sample, Signal};
use crate::watch::series::{Growth, Series};
use crate::watch::source::{Source as _, Span};
use crate::watch::sources::metrics::Metrics;

/// How long the traffic is looked at before a fault is made as strong as it needs.
const LOOK: Duration = Duration::from_millis(1500);
const PATIENCE: Duration = Duration::from_secs(2);

/// A fault that somebody can set.
#[derive(Debug)]
pub struct Fault {
    pub name: &'static str,
    /// What it does, for a person.
    pub does: &'static str,
    /// What its strength counts; empty where there is only one.
    pub unit: &'static str,
    /// How strong it is where nobody says, by the traffic of the part.
    usual: fn(Felt) -> f64,
    whom: Whom,
    hurt: fn(&mut Trouble, f64, &Path),
}

/// Who suffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whom {
    All,
    OneReplica,
    Canary,
    /// Nobody directly: clients storm.
    Clients,
}

/// What one part was asked in the last moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Felt {
    /// Requests a second.
    rate: f64,
    /// Read units a second.
    units: f64,
}

/// A fault that is set, and how strongly on each part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Broken {
    pub fault: String,
    pub strength: BTreeMap<String, f64>,
}

pub static FAULTS: [Fault; 12] = [
    Fault {
        name: "store-throttled",
        does: "the key-value store throttles a share of its reads, within an unchanged capacity",
        unit: "share of reads",
        usual: |_| 0.3,
        whom: Whom::All,
        hurt: |t, at, _| t.store_throttled = at,
    },
    Fault {
        name: "store-slow",
        does: "each read of the key-value store takes longer",
        unit: "ms",
        usual: |_| 150.0,
        whom: Whom::All,
        hurt: |t, at, _| t.store_delay_ms = at,
    },
    Fault {
        name: "replica-dead",
        does: "one replica of the API is killed and stays down",
        unit: "",
        usual: |_| 1.0,
        whom: Whom::OneReplica,
        hurt: |t, _, _| t.dead = true,
    },
    Fault {
        name: "catalogue-stale",
        does: "the catalogue that is held was built days ago",
        unit: "hours",
        usual: |_| 72.0,
        whom: Whom::All,
        hurt: |t, _, old| t.items = Some(old.to_owned()),
    },
    Fault {
        name: "key-rotated",
        does: "the API checks tokens with a key that nobody signs with",
        unit: "",
        usual: |_| 1.0,
        whom: Whom::All,
        hurt: |t, _, _| t.foreign_key = true,
    },
    Fault {
        name: "bad-model",
        does: "a share of the answers hold no programme",
        unit: "share of answers",
        usual: |_| 0.6,
        whom: Whom::All,
        hurt: |t, at, _| t.empty = at,
    },
    Fault {
        name: "quota-reached",
        does: "each replica lets in fewer requests than come",
        unit: "requests a second",
        usual: |felt| (felt.rate * 0.6).max(2.0),
        whom: Whom::All,
        hurt: |t, at, _| t.quota = Some(at),
    },
    Fault {
        name: "clock-skew",
        does: "the clock of the API is ahead",
        unit: "seconds",
        usual: |_| 7200.0,
        whom: Whom::All,
        hurt: |t, at, _| t.clock_s = at as i64,
    },
    Fault {
        name: "metrics-dead",
        does: "/metrics answers 500",
        unit: "",
        usual: |_| 1.0,
        whom: Whom::All,
        hurt: |t, _, _| t.mute = true,
    },
    Fault {
        name: "retry-storm",
        does: "clients repeat what was answered already, again and again",
        unit: "requests a second",
        usual: |felt| (felt.rate * 2.0).clamp(50.0, 1000.0),
        whom: Whom::Clients,
        hurt: |_, _, _| {},
    },
    Fault {
        name: "capacity-cut",
        does: "the table is provisioned with fewer read units than are used",
        unit: "read units a second",
        usual: |felt| (felt.units * 0.4).max(1.0),
        whom: Whom::All,
        hurt: |t, at, _| t.store_units = Some(at),
    },
    Fault {
        name: "canary-bad",
        does: "the canary answers a share of its requests with 500",
        unit: "share of requests",
        usual: |_| 0.3,
        whom: Whom::Canary,
        hurt: |t, at, _| t.errors = at,
    },
];

impl Whom {
    /// Returns which of the parts suffer.
    fn of(self, parts: &[String]) -> Result<Vec<&str>, ServeError> {
        let (canary, stable): (Vec<&str>, Vec<&str>) = parts.iter().map(String::as_str).partition(|p| is_canary(p));
        match self {
            Self::All => Ok(parts.iter().map(String::as_str).collect()),
            Self::Clients => Ok(Vec::new()),
            Self::OneReplica => match stable.as_slice() {
                [_, .., last] => Ok(vec![last]),
                _ => Err(ServeError::Setting(
                    "this stack has one replica and would be gone whole; start it with `serin stack up --replicas 2`"
                        .to_owned(),
                )),
            },
            Self::Canary if canary.is_empty() => Err(ServeError::Setting(
                "no canary is up in this stack; start it with `serin stack up --canary`".to_owned(),
            )),
            Self::Canary => Ok(canary),
        }
    }
}

pub fn is_canary(part: &str) -> bool {
    part.contains("canary")
}

/// Whether a part answers viewers, and so can suffer.
pub fn can_suffer(part: &str) -> bool {
    part.starts_with("api") || is_canary(part)
}

/// Returns the fault of that name.
pub fn named(name: &str) -> Result<&'static Fault, ServeError> {
    FAULTS.iter().find(|f| f.name == name).ok_or_else(|| {
        let near = nearest(name, FAULTS.iter().map(|f| f.name));
        let hint = near.map_or("see `serin stack break --list`".to_owned(), |n| format!("did you mean `{n}`?"));
        ServeError::Setting(format!("there is no fault `{name}`; {hint}"))
    })
}

/// What a part suffers is written here.
pub fn trouble_file(home: &Path, part: &str) -> PathBuf {
    folder(home).join(format!("{part}.trouble.json"))
}

/// How often a second clients repeat themselves, while they do.
pub fn storm_file(home: &Path) -> PathBuf {
    folder(home).join("storm.json")
}

fn broken_file(home: &Path) -> PathBuf {
    folder(home).join("broken.json")
}

/// Returns what is set.
pub fn broken(home: &Path) -> Result<Vec<Broken>, ServeError> {
    let path = broken_file(home);
    match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| ServeError::input(&path, e.to_string())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(ServeError::io(path)(e)),
    }
}

/// Sets a fault, as strongly as asked or as the traffic needs; returns it as it is set.
pub fn set(home: &Path, fault: &Fault, at: Option<f64>) -> Result<Broken, ServeError> {
    if at.is_some_and(|at| !at.is_finite() || at < 0.0) {
        return Err(ServeError::Setting("a strength is a number from 0 on".to_owned()));
    }
    let parts = parts(home)?;
    let felt = if at.is_some() || fault.unit.is_empty() { BTreeMap::new() } else { traffic(&parts)? };
    let usual = |part: &PartState| round((fault.usual)(felt.get(&part.name).copied().unwrap_or_default()));
    let strength = parts.iter().map(|p| (p.name.clone(), at.unwrap_or_else(|| usual(p)))).collect();
    let set = Broken { fault: fault.name.to_owned(), strength };
    let mut all = broken(home)?;
    all.retain(|b| b.fault != fault.name);
    all.push(set.clone());
    suffer(home, &parts, &all)?;
    Ok(set)
}

/// Why nobody will feel a fault as the stack stands now; `None` where somebody will.
pub fn unfelt(home: &Path, fault: &Fault) -> Option<String> {
    if fault.whom != Whom::Canary || stack::share(home) > 0.0 {
        return None;
    }
    let how = "give it some with `serin stack share 30%`, or walk it with `serin canary walk`";
    Some(format!("nobody is in the canary now, so nobody feels it: {how}"))
}

/// Mends one fault, or all; returns how many were mended.
pub fn mend(home: &Path, fault: Option<&Fault>) -> Result<usize, ServeError> {
    let parts = parts(home)?;
    let all = broken(home)?;
    let left: Vec<_> = all.iter().filter(|b| fault.is_some_and(|f| f.name != b.fault)).cloned().collect();
    suffer(home, &parts, &left)?;
    Ok(all.len() - left.len())
}

/// Takes away what an earlier stack suffered.
pub fn forget(home: &Path) {
    let left = std::fs::read_dir(folder(home)).into_iter().flatten().flatten().map(|e| e.path());
    let troubles = left.filter(|p| p.to_string_lossy().ends_with(".trouble.json"));
    for file in troubles.chain([storm_file(home), broken_file(home)]) {
        let _ = std::fs::remove_file(file);
    }
}

fn parts(home: &Path) -> Result<Vec<PartState>, ServeError> {
    let up = stack::running(home)?;
    let up = up.ok_or_else(|| ServeError::Setting("no stack is up; start it with `serin stack up`".to_owned()))?;
    Ok(up.parts.into_iter().filter(|p| can_suffer(&p.name)).collect())
}

/// Two digits are as much as a strength of its own needs.
fn round(value: f64) -> f64 {
    let digits = 10_f64.powf(1.0 - value.abs().max(1e-9).log10().floor());
    (value * digits).round() / digits
}

/// Writes down what each part suffers from all that is set.
fn suffer(home: &Path, parts: &[PartState], all: &[Broken]) -> Result<(), ServeError> {
    let place = folder(home);
    let names: Vec<_> = parts.iter().map(|p| p.name.clone()).collect();
    let old = place.join("old.catalogue");
    // What the canary was made to suffer from the start stays beside what is broken now.
    let given = stack::spec(home)?.canary.map(|c| c.trouble).unwrap_or_default();
    let born = |name: &str| if name == stack::CANARY { given.clone() } else { Trouble::default() };
    let mut troubles: BTreeMap<&str, Trouble> = names.iter().map(|n| (n.as_str(), born(n))).collect();
    let mut storm = None;
    for one in all {
        let fault = named(&one.fault)?;
        let at = |part: &str| one.strength.get(part).copied().unwrap_or_else(|| (fault.usual)(Felt::default()));
        for part in fault.whom.of(&names)? {
            (fault.hurt)(troubles.entry(part).or_default(), at(part), &old);
        }
        if fault.whom == Whom::Clients {
            storm = Some(one.strength.values().sum::<f64>());
        }
        if fault.name == "catalogue-stale" {
            let hours = one.strength.values().copied().fold(0.0, f64::max);
            catalogue::rebuild(&stack::spec(home)?.items, &old, now_s() - (hours * 3600.0) as i64)?;
        }
    }
    for (part, trouble) in &troubles {
        trouble.write(&trouble_file(home, part))?;
    }
    put(&storm_file(home), storm.map(|rate| serde_json::json!(rate)))?;
    put(&broken_file(home), (!all.is_empty()).then(|| serde_json::json!(all)))
}

/// Writes a small document, or takes it away.
fn put(path: &Path, document: Option<serde_json::Value>) -> Result<(), ServeError> {
    match document {
        Some(document) => durable::write(path, document.to_string().as_bytes()).map_err(ServeError::io(path)),
        None => match std::fs::remove_file(path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(ServeError::io(path)(e)),
            _ => Ok(()),
        },
    }
}

/// Looks for a moment at what each part is asked; one that tells nothing felt nothing.
fn traffic(parts: &[PartState]) -> Result<BTreeMap<String, Felt>, ServeError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| ServeError::Stack(format!("cannot start to ask: {e}")))?;
    let asker = Asker::new(PATIENCE).map_err(|e: WatchError| ServeError::Stack(e.to_string()))?;
    let sources = parts.iter().map(|p| Metrics {
        asker: asker.clone(),
        url: format!("{}/metrics", p.url),
        instance: p.name.clone(),
        arm: String::new(),
    });
    let sources: Vec<_> = sources.collect();
    let mut samples: Vec<Sample> = Vec::new();
    runtime.block_on(async {
        for round in 0..2 {
            if round > 0 {
                tokio::time::sleep(LOOK).await;
            }
            for source in &sources {
                samples.extend(source.ask(Span { from: 0.0, to: 0.0 }).await.unwrap_or_default());
            }
        }
    });
    let felt = |part: &PartState| {
        let own = Series::new(samples.iter().filter(|s| s.instance == part.name).cloned());
        let rate = |s| own.growth(s, 0.0, f64::MAX).filter(|g| g.seconds > 0.0).map_or(0.0, Growth::per_second);
        (part.name.clone(), Felt { rate: rate(Signal::Requests), units: rate(Signal::StoreUnits) })
    };
    Ok(parts.iter().map(felt).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_hurts_somebody_and_only_by_its_own_effect() {
        let parts = ["api", "api-2", "api-canary"].map(str::to_owned);
        let mut all = Trouble::default();
        for fault in &FAULTS {
            let whom = fault.whom.of(&parts).expect("somebody");
            let at = (fault.usual)(Felt::default());
            assert!(at > 0.0 && !fault.does.is_empty(), "{}", fault.name);
            let mut trouble = Trouble::default();
            (fault.hurt)(&mut trouble, at, Path::new("old"));
            assert_eq!(whom.is_empty(), trouble == Trouble::default(), "{}", fault.name);
            let before = all.clone();
            (fault.hurt)(&mut all, at, Path::new("old"));
            assert_eq!(whom.is_empty(), all == before, "{} and another share an effect", fault.name);
        }
        assert_eq!(Whom::OneReplica.of(&parts).expect("a replica"), ["api-2"]);
        assert!(Whom::OneReplica.of(&parts[..1]).is_err() && Whom::Canary.of(&parts[..2]).is_err());
    }

    #[test]
    fn a_strength_has_two_digits_and_a_wrong_name_its_nearest() {
        for (value, expected) in [(0.3, 0.3), (123.4, 120.0), (7200.0, 7200.0), (0.0123, 0.012), (1.0, 1.0)] {
            assert!((round(value) - expected).abs() < 1e-9, "{value}: {}", round(value));
        }
        let error = named("store-slwo").expect_err("unknown").to_string();
        assert!(error.contains("did you mean `store-slow`?"), "{error}");
    }
}
