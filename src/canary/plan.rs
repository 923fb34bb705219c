//! A walk as a person writes it (TOML), checked: stages, guards, and what each stage can show at this traffic.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::wiring::{self, Wiring};
use crate::judge::guard::{Counted, Guard};
use crate::judge::panel::GO;
use crate::judge::sequential::Terms;
use crate::stats::units::{Rps, Share, parse_duration, parse_share};
use crate::toml_file::{self, TomlError, nearest};

pub const DRIVERS: [&str; 6] = ["local", "haproxy", "envoy", "alb", "httproute", "command"];
/// Counts that sides carry under a name of their own, beside errors and latency.
const NAMED: [&str; 4] = ["empty", "degraded", "throttled", "timeout"];
const QUANTILES: [(&str, f64); 5] = [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999)];
/// The evidence, in natural logarithms, that a harm has gathered in the median walk when it is rolled back (simulated).
const TO_NOTICE: f64 = 10.0;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    canary: Head,
    #[serde(default, rename = "stage")]
    stages: Vec<WrittenStage>,
    #[serde(default, rename = "guard")]
    guards: Vec<WrittenGuard>,
    #[serde(default, rename = "quiet")]
    quiet: Vec<WrittenQuiet>,
    local: Option<wiring::Local>,
    command: Option<wiring::Command>,
    haproxy: Option<wiring::Haproxy>,
    envoy: Option<wiring::Envoy>,
    alb: Option<wiring::Alb>,
    httproute: Option<wiring::HttpRoute>,
    numbers: Option<wiring::Numbers>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    target: String,
    driver: String,
    /// What is expected of the whole target: requests a second, failing share, viewers.
    rate: Option<f64>,
    errors: Option<String>,
    viewers: Option<u64>,
    /// The baseline itself is ill from this share of errors on.
    ill: Option<String>,
    /// How often the numbers are looked at.
    look: Option<String>,
    /// How long the baseline is listened to before the first stage, so that its own noise is known.
    warm_up: Option<String>,
    /// What viewers are dealt by; another salt deals them anew.
    salt: Option<String>,
    /// What to do without numbers: `hold`, or `roll back after 10m`.
    blind: Option<String>,
    /// What to do when a stage's longest time ends undecided: `hold`, `roll back` or `go`.
    undecided: Option<String>,
    /// Roll back stage by stage, with this much time between, where nothing burns.
    graceful: Option<String>,
}

/// A time in which no share rises: the final, a holiday.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenQuiet {
    name: String,
    from: String,
    until: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenStage {
    share: String,
    hold: String,
    longest: Option<String>,
    #[serde(default)]
    approval: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenGuard {
    metric: String,
    tolerated: Option<String>,
    harm: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub target: String,
    pub driver: String,
    pub rate: Option<Rps>,
    pub errors: Option<Share>,
    pub viewers: Option<u64>,
    pub ill: Option<Share>,
    pub look: Duration,
    pub warm_up: Duration,
    pub salt: String,
    pub policies: Policies,
    pub quiet: Vec<Quiet>,
    pub stages: Vec<Stage>,
    pub guards: Vec<Guard>,
    pub wiring: Wiring,
}

/// What is done where the numbers do not decide.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Policies {
    /// Without numbers for so long: roll back. Else hold, however long it takes.
    pub blind: Option<Duration>,
    pub undecided: Undecided,
    pub graceful: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Undecided {
    #[default]
    Hold,
    RollBack,
    Go,
}

/// Unix seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Quiet {
    pub name: String,
    pub from: f64,
    pub until: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stage {
    pub share: Share,
    pub hold: Duration,
    pub longest: Duration,
    pub approval: bool,
}

/// What one stage is expected to show.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outlook {
    pub stage: usize,
    pub share: f64,
    pub hold_s: f64,
    pub longest_s: f64,
    pub approval: bool,
    pub begins_s: f64,
    pub viewers: Option<u64>,
    /// Requests a second in the canary.
    pub rate: Option<f64>,
    /// The smallest rise of errors that the median walk notices within the shortest hold, as a ratio.
    pub notices_errors: Option<f64>,
    /// The same for the share of answers slower than the baseline's quantile of the strictest guard on latency.
    pub notices_slow: Option<f64>,
    /// That quantile.
    pub slow_beyond: Option<f64>,
    /// Until a healthy canary goes on: the shortest hold, or what its evidence takes.
    pub expected_s: Option<f64>,
    /// Why the stage may not decide, if it may not.
    pub warning: Option<String>,
}

impl Plan {
    pub fn parse(name: &str, text: &str) -> Result<Self, TomlError> {
        let written: Written = toml_file::parse(name, text)?;
        Self::check(written).map_err(|what| TomlError::about(name, what))
    }

    fn check(w: Written) -> Result<Self, String> {
        if !DRIVERS.contains(&w.canary.driver.as_str()) {
            let near = nearest(&w.canary.driver, DRIVERS).map_or(String::new(), |n| format!("; did you mean `{n}`?"));
            let known = DRIVERS.join(", ");
            return Err(format!("`{}` is not a driver ({known}){near}", w.canary.driver));
        }
        if w.canary.rate.is_some_and(|r| !(r > 0.0 && r < 1e9)) {
            return Err("rate has to be above 0 requests a second".to_owned());
        }
        let stages: Vec<Stage> = w.stages.iter().enumerate().map(|(i, s)| stage(i + 1, s)).collect::<Result<_, _>>()?;
        if stages.is_empty() {
            return Err("has no [[stage]]: where should the canary walk to?".to_owned());
        }
        if let Some(i) = (1..stages.len()).find(|i| stages[*i].share.0 <= stages[i - 1].share.0) {
            let (from, to) = (stages[i - 1].share, stages[i].share);
            return Err(format!("stage {}: the share goes from {from} to {to}; shares have to rise", i + 1));
        }
        let share = |text: &Option<String>| text.as_ref().map(|t| parse_share(t)).transpose();
        let wiring = Wiring {
            local: w.local,
            command: w.command,
            haproxy: w.haproxy,
            envoy: w.envoy,
            alb: w.alb,
            httproute: w.httproute,
            numbers: w.numbers,
        };
        wiring.check(&w.canary.driver)?;
        Ok(Self {
            look: look(w.canary.look.as_deref(), &stages)?,
            warm_up: w
                .canary
                .warm_up
                .as_deref()
                .map_or(Ok(Duration::ZERO), parse_duration)
                .map_err(|e| format!("warm_up: {e}"))?,
            salt: w.canary.salt.clone().unwrap_or_else(|| w.canary.target.clone()),
            policies: policies(&w.canary)?,
            quiet: w.quiet.iter().map(quiet).collect::<Result<_, _>>()?,
            wiring,
            target: w.canary.target,
            driver: w.canary.driver,
            rate: w.canary.rate.map(Rps),
            errors: share(&w.canary.errors)?,
            viewers: w.canary.viewers,
            ill: share(&w.canary.ill)?,
            stages,
            guards: guards(&w.guards)?,
        })
    }

    /// Returns what the judge is asked by this plan.
    pub fn terms(&self) -> Terms {
        let usual = Terms::default();
        Terms {
            guards: self.guards.clone(),
            walk_s: self.stages.iter().map(|s| s.hold.as_secs_f64()).sum(),
            soak_s: self.stages.iter().map(|s| s.hold.as_secs_f64()).fold(usual.soak_s, f64::min),
            ill_errors: self.ill.map_or(usual.ill_errors, |s| s.0),
        }
    }

    /// Returns what each stage is expected to show, for a target with this rate and share of errors.
    pub fn outlook(&self) -> Vec<Outlook> {
        let errors = self.errors.map_or(0.001, |e| e.0);
        let mut begins_s = self.warm_up.as_secs_f64();
        let each = self.stages.iter().enumerate().map(|(i, stage)| {
            let one = self.stage_outlook(i + 1, stage, errors, begins_s);
            begins_s += one.expected_s.unwrap_or(one.hold_s).min(one.longest_s);
            one
        });
        each.collect()
    }

    fn stage_outlook(&self, number: usize, stage: &Stage, errors: f64, begins_s: f64) -> Outlook {
        let (hold_s, longest_s) = (stage.hold.as_secs_f64(), stage.longest.as_secs_f64());
        let rate = self.rate.map(|r| r.0 * stage.share.0);
        let (whole, soak_s) = (stage.share.0 >= 1.0, self.terms().soak_s);
        let counted = rate.filter(|_| !whole).map(|r| r * errors);
        let noticed = |c: f64| ratio_of(TO_NOTICE / (c * hold_s));
        let notices_errors = counted.and_then(noticed);
        let slow_beyond = self.guards.iter().filter_map(|g| match g.counts {
            Counted::Slower { quantile } => Some(quantile),
            _ => None,
        });
        let slow_beyond = slow_beyond.max_by(f64::total_cmp);
        let notices_slow =
            rate.filter(|_| !whole).zip(slow_beyond).and_then(|(r, quantile)| noticed(r * (1.0 - quantile)));
        let needed = self.guards.iter().filter(|g| g.counts == Counted::Errors).map(|g| {
            let harm = g.harm.max(1.0 + g.harm_points / errors);
            (GO.ln() + 1.0) / (harm - 1.0 - harm.ln())
        });
        let needed = needed.fold(0.0, f64::max);
        let expected_s = counted.map(|c| (needed / c).max(soak_s).max(hold_s));
        let warning = match (whole, rate, expected_s) {
            (true, ..) => Some("no baseline is left to compare with: only what it shows alone".to_owned()),
            (_, None, _) => {
                Some("give `rate` (requests a second of the whole target) to see what it can show".to_owned())
            }
            (_, _, Some(s)) if s > longest_s => {
                let minutes = (s / 60.0).ceil();
                Some(format!(
                    "go needs about {minutes:.0} min: longer than it is held; a bigger share, a longer stage or a looser harm"
                ))
            }
            _ => None,
        };
        Outlook {
            stage: number,
            share: stage.share.0,
            hold_s,
            longest_s,
            approval: stage.approval,
            begins_s,
            viewers: self.viewers.map(|v| (v as f64 * stage.share.0) as u64),
            rate,
            notices_errors,
            notices_slow,
            slow_beyond,
            expected_s,
            warning,
        }
    }
}

/// Returns the ratio r for which `r ln r - r + 1`, the evidence of one expected count, is `each`.
fn ratio_of(each: f64) -> Option<f64> {
    let (mut low, mut high) = (1.0_f64, 1e6);
    for _ in 0..200 {
        let middle = (low * high).sqrt();
        if middle * middle.ln() - middle + 1.0 < each {
            low = middle;
        } else {
            high = middle;
        }
    }
    (low < 1e5).then_some(low)
}

fn stage(number: usize, written: &WrittenStage) -> Result<Stage, String> {
    let named = |e: String| format!("stage {number}: {e}");
    let share = parse_share(&written.share).map_err(named)?;
    if share.0 <= 0.0 {
        return Err(named("a share of nobody is no stage".to_owned()));
    }
    let hold = parse_duration(&written.hold).map_err(named)?;
    if hold.is_zero() {
        return Err(named("a hold of no time shows nothing".to_owned()));
    }
    let longest = match &written.longest {
        Some(text) => parse_duration(text).map_err(named)?,
        None => hold * 4,
    };
    if longest < hold {
        return Err(named(format!(
            "longest {} is below hold {}",
            written.longest.as_deref().unwrap_or(""),
            written.hold
        )));
    }
    Ok(Stage { share, hold, longest, approval: written.approval })
}

/// The usual time between two looks; a short stage is looked at more often.
const LOOK: Duration = Duration::from_secs(10);

fn look(written: Option<&str>, stages: &[Stage]) -> Result<Duration, String> {
    let shortest = stages.iter().map(|s| s.hold).min().unwrap_or(LOOK);
    let Some(text) = written else { return Ok(LOOK.min(shortest / 4).max(Duration::from_millis(200))) };
    let look = parse_duration(text).map_err(|e| format!("look: {e}"))?;
    if look < Duration::from_millis(200) || look > shortest {
        return Err(format!("look {text}: at least 200ms, and no longer than a stage is held"));
    }
    Ok(look)
}

fn policies(head: &Head) -> Result<Policies, String> {
    let blind = match head.blind.as_deref().map(str::trim) {
        None | Some("hold") => None,
        Some(text) => {
            let after = text
                .strip_prefix("roll back after ")
                .ok_or_else(|| format!("blind = \"{text}\": write `hold`, or `roll back after 10m`"))?;
            Some(parse_duration(after).map_err(|e| format!("blind: {e}"))?)
        }
    };
    let undecided = match head.undecided.as_deref().map(str::trim) {
        None | Some("hold") => Undecided::Hold,
        Some("roll back") => Undecided::RollBack,
        Some("go") => Undecided::Go,
        Some(text) => return Err(format!("undecided = \"{text}\": write `hold`, `roll back` or `go`")),
    };
    let graceful = head.graceful.as_deref().map(parse_duration).transpose().map_err(|e| format!("graceful: {e}"))?;
    Ok(Policies { blind, undecided, graceful })
}

fn quiet(written: &WrittenQuiet) -> Result<Quiet, String> {
    let time = |key: &str, text: &str| {
        let wrong = |_| format!("quiet `{}`: {key} = `{text}` is not RFC 3339 with its zone", written.name);
        text.parse::<jiff::Timestamp>().map(|t| t.as_second() as f64).map_err(wrong)
    };
    let (from, until) = (time("from", &written.from)?, time("until", &written.until)?);
    if until <= from {
        return Err(format!("quiet `{}` ends before it begins", written.name));
    }
    Ok(Quiet { name: written.name.clone(), from, until })
}

fn guards(written: &[WrittenGuard]) -> Result<Vec<Guard>, String> {
    if written.is_empty() {
        return Ok(Guard::usual());
    }
    let mut guards: Vec<Guard> = written.iter().map(guard).collect::<Result<_, _>>()?;
    if let Some(twice) = (1..guards.len()).find(|i| guards[..*i].iter().any(|g| g.counts == guards[*i].counts)) {
        return Err(format!("guard {} is there twice", guards[twice].name));
    }
    // Errors carry most of the evidence, as they are what viewers see; the others share the rest.
    let errors = guards.iter().any(|g| g.counts == Counted::Errors);
    let others = guards.len() - usize::from(errors);
    let main = if others == 0 { 1.0 } else { 0.6 };
    for guard in &mut guards {
        guard.weight = match (errors, guard.counts == Counted::Errors) {
            (true, true) => main,
            (true, false) => (1.0 - main) / others as f64,
            _ => 1.0 / others as f64,
        };
    }
    Ok(guards)
}

fn guard(written: &WrittenGuard) -> Result<Guard, String> {
    let metric = written.metric.as_str();
    let named = |e: String| format!("guard {metric}: {e}");
    let quantile = QUANTILES.iter().find(|(name, _)| *name == metric);
    let mut guard = match (metric, quantile) {
        ("errors", _) => Guard::errors(),
        (_, Some((_, q))) => Guard::slower(*q),
        (name, None) => {
            let count = name.strip_prefix("count:").or(NAMED.contains(&name).then_some(name)).ok_or_else(|| {
                let known = ["errors"].into_iter().chain(QUANTILES.map(|q| q.0)).chain(NAMED);
                let known: Vec<_> = known.collect();
                let near =
                    nearest(name, known.iter().copied()).map_or(String::new(), |n| format!(" did you mean `{n}`?"));
                named(format!(
                    "no such metric;{near} known: {}, or count:NAME for a count of your own",
                    known.join(", ")
                ))
            })?;
            Guard { name: count.to_owned(), counts: Counted::Named(count.to_owned()), ..Guard::errors() }
        }
    };
    if let Some(text) = &written.tolerated {
        (guard.tolerated, guard.tolerated_ms) = tolerated(text).map_err(named)?;
    }
    if let Some(text) = &written.harm {
        (guard.harm, guard.harm_points) = harm(text).map_err(named)?;
    }
    if !guard.counts.is_latency() && guard.tolerated_ms > 0.0 {
        return Err(named("only of a latency can milliseconds be tolerated".to_owned()));
    }
    if guard.counts.is_latency() && guard.harm_points > 0.0 {
        return Err(named("harm of a latency is a ratio, such as x1.1".to_owned()));
    }
    if guard.harm_points == 0.0 && guard.harm <= guard.tolerated {
        return Err(named(format!("harm x{} has to be above what is tolerated, x{}", guard.harm, guard.tolerated)));
    }
    Ok(guard)
}

fn ratio(text: &str) -> Result<f64, String> {
    let number = text.trim().strip_prefix('x').and_then(|n| n.trim().parse::<f64>().ok());
    number
        .filter(|n| (1.0..=1000.0).contains(n))
        .ok_or_else(|| format!("`{text}` is not a ratio from x1 on, such as x1.5"))
}

/// Reads `x1.1`, `+5ms`, or `x1.1 or +5ms`, whichever allows more.
fn tolerated(text: &str) -> Result<(f64, f64), String> {
    let mut read = (1.0, 0.0);
    for part in text.split(" or ") {
        match part.trim().strip_prefix('+') {
            Some(time) => read.1 = parse_duration(time)?.as_secs_f64() * 1000.0,
            None => read.0 = ratio(part)?,
        }
    }
    Ok(read)
}

/// Reads `x1.5`, `+0.1%` (of all requests), or `x1.5 or +0.1%`, whichever allows more.
fn harm(text: &str) -> Result<(f64, f64), String> {
    let mut read = (1.0, 0.0);
    for part in text.split(" or ") {
        match part.trim().strip_prefix('+') {
            Some(points) => read.1 = parse_share(points)?.0,
            None => read.0 = ratio(part)?,
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = include_str!("../../scenarios/canary-good.toml");

    #[test]
    fn the_good_plan_is_read_and_says_what_it_can_show() {
        let plan = Plan::parse("canary-good.toml", GOOD).expect("reads");
        let outlook = plan.outlook();
        assert_eq!(outlook.len(), plan.stages.len());
        assert!(outlook.windows(2).all(|w| w[0].notices_errors >= w[1].notices_errors), "more traffic shows more");
        let weights: f64 = plan.guards.iter().map(|g| g.weight).sum();
        assert!((weights - 1.0).abs() < 1e-9);
    }

    #[test]
    fn the_outlook_agrees_with_the_simulation() {
        // 50/s in the canary, 0.1 %: x3 is found in about 2.3 minutes by the median walk.
        let text = "[canary]\ntarget = \"t\"\ndriver = \"command\"\nrate = 500\nerrors = \"0.1%\"\n[[stage]]\nshare = \"10%\"\nhold = \"150s\"";
        let outlook = Plan::parse("p", text).expect("reads").outlook();
        let ratio = outlook[0].notices_errors.expect("known");
        assert!((2.5..3.5).contains(&ratio), "{ratio}");
        // Without guards of its own a plan has the usual ones, p99 among them: 75 slow answers are expected here.
        let slow = outlook[0].notices_slow.expect("known");
        assert!((1.2..1.8).contains(&slow), "{slow}");
        assert_eq!(outlook[0].slow_beyond, Some(0.99));
        // Healthy at +0.1 points: go after about 4.5 minutes.
        let expected = outlook[0].expected_s.expect("known") / 60.0;
        assert!((3.5..6.0).contains(&expected), "{expected}");
    }

    #[test]
    fn a_plan_that_cannot_be_meant_is_refused_with_its_reason() {
        let head = "[canary]\ntarget = \"local\"\ndriver = \"local\"\n";
        let stage = |share: &str, hold: &str| format!("[[stage]]\nshare = \"{share}\"\nhold = \"{hold}\"\n");
        let one = stage("10%", "5m");
        for (text, why) in [
            (head.to_owned(), "has no [[stage]]"),
            (head.to_owned() + &stage("20%", "5m") + &one, "stage 2: the share goes from 20.0 % to 10.0 %"),
            (head.to_owned() + &stage("10%", "0s"), "stage 1: a hold of no time"),
            (head.to_owned() + &stage("0%", "5m"), "a share of nobody"),
            (head.to_owned() + &stage("10%", "5"), "has no unit"),
            (head.to_owned() + &one + "longest = \"1m\"\n", "longest 1m is below hold 5m"),
            (head.to_owned() + &one + "[[guard]]\nmetric = \"erors\"\n", "did you mean `errors`?"),
            (head.to_owned() + &one + "[[guard]]\nmetric = \"errors\"\nharm = \"1.5\"\n", "not a ratio"),
            (head.to_owned() + &one + "[[guard]]\nmetric = \"p99\"\ntolerated = \"x2\"\n", "has to be above"),
            (head.to_owned() + &one + "[[guard]]\nmetric = \"errors\"\ntolerated = \"+5ms\"\n", "only of a latency"),
            (head.to_owned() + &one + "[local]\ntrouble = { erors = 0.1 }\n", "erors"),
            (head.to_owned() + &one + "[[guard]]\nmetric = \"p99\"\n[[guard]]\nmetric = \"p99\"\n", "there twice"),
            (head.replace("\"local\"\n", "\"haproxi\"\n") + &one, "did you mean `haproxy`?"),
            (head.to_owned() + "blind = \"go\"\n" + &one, "write `hold`"),
            (head.to_owned() + "undecided = \"maybe\"\n" + &one, "write `hold`, `roll back` or `go`"),
            (head.to_owned() + "look = \"10m\"\n" + &one, "no longer than a stage"),
            (head.to_owned() + &one + "[[quiet]]\nname=\"final\"\nfrom=\"x\"\nuntil=\"y\"\n", "not RFC 3339"),
            (head.to_owned() + &one + "[numbers]\nfrom = \"prometeus\"\n", "did you mean `prometheus`?"),
            (head.to_owned() + &one + "holds = \"1m\"\n", "unknown key `holds`; did you mean `hold`?"),
        ] {
            let error = Plan::parse("plan.toml", &text).expect_err(why).to_string();
            assert!(error.contains(why), "{text}\n{error}");
        }
    }
}
