//! The plan of a way down: which knob, from where, how fast, and what must not be touched; read from TOML and checked.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::capacity::Unit;
use super::error::CostError;
use super::proof::{self, Proof};
use crate::stats::units::{parse_duration, parse_share};
use crate::toml_file::{self, TomlError};

/// The largest capacity anybody means; what is above is a slip of the finger.
const MOST: u64 = 10_000_000;

/// The plans that are part of this program; the first is meant where none is named.
const BUILT_IN: [(&str, &str); 2] = [
    ("cost-descend", include_str!("../../scenarios/cost-descend.toml")),
    ("cost-replicas", include_str!("../../scenarios/cost-replicas.toml")),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KnobKind {
    Dynamodb,
    Personalize,
    Replicas,
    Command,
    /// The table of the local stack, behind its limiter, on played demand.
    Local,
}

impl KnobKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Dynamodb => "dynamodb",
            Self::Personalize => "personalize",
            Self::Replicas => "replicas",
            Self::Command => "command",
            Self::Local => "local",
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    descend: Descend,
    #[serde(default)]
    peak: Vec<PeakRow>,
    command: Option<Command>,
    meter: Option<MeterRow>,
    proof: Option<proof::Row>,
    guard: Option<GuardRow>,
    local: Option<LocalRow>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GuardRow {
    /// A program that ends with 0 while there is no incident.
    incident: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LocalRow {
    play: Option<String>,
    days: Option<u32>,
    peak: Option<f64>,
    seed: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MeterRow {
    /// The `/metrics` of every instance of `serin serve`.
    pages: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Descend {
    knob: KnobKind,
    unit: Option<String>,
    start: u64,
    #[serde(default = "one")]
    floor: u64,
    ceiling: Option<u64>,
    hold: String,
    settle: Option<String>,
    lookback: Option<String>,
    headroom: Option<String>,
    growth: Option<String>,
    largest_step: Option<String>,
    incidents: Option<u32>,
    region: Option<String>,
    table: Option<String>,
    campaign: Option<String>,
    deployment: Option<String>,
    token_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    endpoint_url: Option<String>,
    item_kb: Option<f64>,
    consistent: Option<bool>,
    per_unit: Option<f64>,
    usd_per_unit_hour: Option<f64>,
    p99_ms: Option<f64>,
    errors: Option<String>,
    broken: Option<String>,
}

fn one() -> u64 {
    1
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PeakRow {
    name: String,
    from: String,
    until: String,
    reads_per_second: Option<f64>,
}

/// The user's own programs: the capacity stands in `SERIN_CAPACITY`, the old one in `SERIN_CAPACITY_BEFORE`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// Sets the capacity.
    pub set: Vec<String>,
    /// Prints the capacity that is in force, a whole number.
    pub read: Vec<String>,
    /// Prints `{"reads_per_second": .., "throttled": .., "p99_ms": ..}` for the time since it was asked last.
    pub meter: Vec<String>,
}

/// Where a deployment's scale is set.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    pub deployment: String,
    pub token_file: Option<PathBuf>,
    pub ca_file: Option<PathBuf>,
}

/// The demand that is played on the local stack, where no trace is given.
#[derive(Clone, Debug, PartialEq)]
pub struct Played {
    /// How long the whole of it takes at least.
    pub play: Duration,
    pub days: u32,
    /// Reads a second of an ordinary evening.
    pub peak: f64,
    pub seed: u64,
}

/// An announced evening: no step down before or in it, and up in time where its demand is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Peak {
    pub name: String,
    pub from: f64,
    pub until: f64,
    /// Expected demand in units.
    pub units: Option<f64>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub name: String,
    pub knob: KnobKind,
    pub unit: Unit,
    pub start: u64,
    pub floor: u64,
    pub ceiling: u64,
    /// Seconds of unused capacity that the limiter keeps.
    pub burst_s: f64,
    pub hold_s: f64,
    pub settle_s: f64,
    pub lookback_days: i64,
    /// Room above what was needed; learnt from the demand's own variation where the plan does not say.
    pub headroom: Option<f64>,
    /// Growth a week; learnt where the plan does not say.
    pub growth: Option<f64>,
    /// The largest part of the capacity that one step takes away.
    pub largest_step: f64,
    /// Throttled evenings after which no further step down is tried.
    pub incidents: u32,
    pub region: Option<String>,
    pub usd_per_unit_hour: Option<f64>,
    pub p99_ms: Option<f64>,
    /// The share of requests that may fail.
    pub errors: Option<f64>,
    /// An objective that is missed for so many seconds is broken.
    pub broken_s: f64,
    pub peaks: Vec<Peak>,
    pub command: Option<Command>,
    /// The table whose throughput is turned; without one the local stack's.
    pub table: Option<String>,
    pub campaign: Option<String>,
    pub cluster: Option<Cluster>,
    /// Of a server that speaks like AWS.
    pub endpoint_url: Option<String>,
    /// Pages that count demand in the place of the knob's own meter.
    pub meter: Vec<String>,
    /// What proves a step before it is taken.
    pub proof: Option<Proof>,
    /// A program that ends with 0 while there is no incident.
    pub incident: Option<Vec<String>>,
    pub local: Played,
    /// Whether the plan has a `[local]` table.
    pub plays: bool,
}

impl Plan {
    /// Opens a file if there is one of this name, else the plan that is built in.
    pub fn open(path: &Path) -> Result<Self, CostError> {
        let asked = path.to_string_lossy();
        let asked = asked.trim_start_matches("scenarios/").trim_end_matches(".toml");
        if let Some((name, text)) = BUILT_IN.iter().find(|(name, _)| *name == asked && !path.is_file()) {
            return Self::parse(&format!("scenarios/{name}.toml"), text);
        }
        Self::parse(&path.display().to_string(), &toml_file::text(path)?)
    }

    pub fn built_in() -> Result<Self, CostError> {
        let [(name, text), ..] = BUILT_IN;
        Self::parse(&format!("scenarios/{name}.toml"), text)
    }

    /// Whether it turns the local stack, on played demand.
    pub fn is_local(&self) -> bool {
        self.knob == KnobKind::Local || self.knob == KnobKind::Replicas && self.plays
    }

    pub fn parse(name: &str, text: &str) -> Result<Self, CostError> {
        let file: File = toml_file::parse(name, text)?;
        let bad = |what: String| CostError::File(TomlError::about(name, what));
        let d = file.descend;
        let unit = Unit::of(d.knob, d.unit.as_deref(), d.item_kb, d.consistent, d.per_unit).map_err(&bad)?;
        let ceiling = d.ceiling.unwrap_or(MOST);
        if d.floor < 1 || d.floor > d.start || d.start > ceiling || ceiling > MOST {
            let what =
                format!("wanted: 1 <= floor <= start <= ceiling <= {MOST}; here {} {} {ceiling}", d.floor, d.start);
            return Err(bad(what));
        }
        let time = |key: &str, text: &Option<String>, usual: f64, least: f64| -> Result<f64, CostError> {
            let Some(text) = text else { return Ok(usual) };
            let seconds = parse_duration(text).map_err(|e| bad(format!("{key}: {e}")))?.as_secs_f64();
            if seconds < least { Err(bad(format!("{key} is `{text}`; at least {least} s"))) } else { Ok(seconds) }
        };
        let share = |key: &str, text: &Option<String>| -> Result<Option<f64>, CostError> {
            text.as_ref().map(|t| parse_share(t).map(|s| s.0).map_err(|e| bad(format!("{key}: {e}")))).transpose()
        };
        let largest_step = share("largest_step", &d.largest_step)?.unwrap_or(0.5);
        if !(0.01..=0.95).contains(&largest_step) {
            return Err(bad("largest_step is outside 1% to 95%".to_owned()));
        }
        for (key, value) in [("usd_per_unit_hour", d.usd_per_unit_hour), ("p99_ms", d.p99_ms)] {
            if value.is_some_and(|v| !v.is_finite() || v < 0.0) {
                return Err(bad(format!("{key} must be a number from 0 on")));
            }
        }
        if d.knob == KnobKind::Command && file.command.is_none() {
            return Err(bad("knob = \"command\" needs a [command] table with set, read and meter".to_owned()));
        }
        let (failing, by_share) = (share("errors", &d.errors)?, d.knob == KnobKind::Replicas);
        let plan = Self {
            name: name.to_owned(),
            knob: d.knob,
            start: d.start,
            floor: d.floor,
            ceiling,
            burst_s: unit.burst_s(),
            hold_s: time("hold", &Some(d.hold), 0.0, 1.0)?,
            settle_s: time("settle", &d.settle, 3_600.0, 1.0)?,
            lookback_days: (time("lookback", &d.lookback, 35.0 * 86_400.0, 86_400.0)? / 86_400.0).ceil() as i64,
            headroom: share("headroom", &d.headroom)?,
            growth: share("growth", &d.growth)?,
            largest_step,
            incidents: d.incidents.unwrap_or(3),
            region: d.region,
            usd_per_unit_hour: d.usd_per_unit_hour,
            p99_ms: d.p99_ms,
            errors: failing,
            broken_s: time("broken", &d.broken, 30.0, 1.0)?,
            peaks: file.peak.iter().map(|p| peak(p, &unit)).collect::<Result<_, _>>().map_err(&bad)?,
            unit,
            command: file.command,
            table: d.table,
            campaign: d.campaign,
            cluster: d.deployment.map(|deployment| Cluster {
                deployment,
                token_file: d.token_file,
                ca_file: d.ca_file,
            }),
            endpoint_url: d.endpoint_url,
            meter: file.meter.map(|m| m.pages).unwrap_or_default(),
            proof: file.proof.map(|row| Proof::of(row, d.p99_ms, failing, by_share)).transpose().map_err(&bad)?,
            incident: program("guard", "incident", file.guard.map(|g| g.incident)).map_err(&bad)?,
            plays: file.local.is_some(),
            local: played(&file.local.unwrap_or_default()).map_err(&bad)?,
        };
        Ok(plan)
    }
}

fn program(table: &str, key: &str, words: Option<Vec<String>>) -> Result<Option<Vec<String>>, String> {
    match words {
        Some(words) if words.is_empty() => Err(format!("[{table}] {key} is empty; it names a program and its words")),
        words => Ok(words),
    }
}

fn played(row: &LocalRow) -> Result<Played, String> {
    let play = row.play.as_deref().unwrap_or("110s");
    let played = Played {
        play: parse_duration(play).map_err(|e| format!("[local] play: {e}"))?,
        days: row.days.unwrap_or(14),
        peak: row.peak.unwrap_or(500.0),
        seed: row.seed.unwrap_or(7),
    };
    if !(1..=366).contains(&played.days) {
        return Err(format!("[local] days is {}; from 1 to 366", played.days));
    }
    if !(played.peak > 0.0 && played.peak <= 100_000.0) {
        return Err(format!("[local] peak is {}; reads a second above 0, at most 100000", played.peak));
    }
    Ok(played)
}

fn peak(row: &PeakRow, unit: &Unit) -> Result<Peak, String> {
    let time = |key: &str, text: &str| -> Result<f64, String> {
        let at: Timestamp = text.parse().map_err(|_| {
            format!("peak `{}`: {key} = `{text}` is not RFC 3339 with its zone (2026-12-24T19:00:00+01:00)", row.name)
        })?;
        Ok(at.as_second() as f64)
    };
    let (from, until) = (time("from", &row.from)?, time("until", &row.until)?);
    if until <= from {
        return Err(format!("peak `{}` ends before it begins", row.name));
    }
    if row.reads_per_second.is_some_and(|r| !r.is_finite() || r < 0.0) {
        return Err(format!("peak `{}`: reads_per_second must be a number from 0 on", row.name));
    }
    Ok(Peak { name: row.name.clone(), from, until, units: row.reads_per_second.map(|r| r * unit.units_a_request()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "[descend]\nknob = \"dynamodb\"\nunit = \"rcu\"\nstart = 900\nfloor = 1\nhold = \"24h\"\n";

    #[test]
    fn the_plans_that_are_built_in_read_and_open_by_either_name() {
        for (name, _) in BUILT_IN {
            let one = Plan::open(Path::new(name)).expect("opens");
            assert_eq!(one, Plan::open(Path::new(&format!("scenarios/{name}.toml"))).expect("opens"));
            assert!(one.is_local(), "{name} is seen on this machine");
        }
        assert!(Plan::open(Path::new("scenarios/cost-nothing.toml")).is_err());
    }

    #[test]
    fn the_shortest_plan_reads() {
        let plan = Plan::parse("p.toml", SMALL).expect("reads");
        assert_eq!((plan.start, plan.floor, plan.hold_s), (900, 1, 86_400.0));
        assert_eq!(plan.unit.units_a_request(), 0.5);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (text, says) in [
            (SMALL.replace("900", "0"), "floor <= start"),
            (SMALL.replace("24h", "24"), "hold: `24` has no unit"),
            (SMALL.replace("rcu", "tps"), "rcu or wcu"),
            (SMALL.replace("hold", "hodl"), "did you mean `hold`?"),
            (format!("{SMALL}usd_per_unit_hour = -1\n"), "usd_per_unit_hour"),
            (SMALL.replace("dynamodb", "command"), "[command]"),
            (
                format!("{SMALL}[[peak]]\nname='x'\nfrom='2026-01-01T00:00:00Z'\nuntil='2025-01-01T00:00:00Z'\n"),
                "ends before",
            ),
        ] {
            let error = Plan::parse("p.toml", &text).expect_err(&text).to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
