//! Findings in order: what lasts before what ended, the surest cause first, and nothing bad left without a name.

use super::causes::{CAUSES, Suspect};
use super::check::{Check, State};
use super::checks;
use super::finding::Finding;
use super::scene::{Scene, stamp};
use crate::judge::verdict::Verdict;
use crate::watch::series::Spell;

/// A look at a target, judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Triage {
    pub verdict: Verdict,
    pub reason: String,
    pub findings: Vec<Finding>,
    pub checks: Vec<Check>,
}

pub fn triage(scene: &Scene) -> Triage {
    let checks = checks::all(scene);
    let mut suspects: Vec<Suspect> = CAUSES.iter().filter_map(|(_, tell)| tell(scene)).collect();
    if !suspects.iter().any(|s| s.spell.ended.is_none()) {
        suspects.extend(unexplained(scene, &checks));
    }
    suspects.sort_by_key(|s| (s.spell.ended.is_some(), std::cmp::Reverse(s.weight)));
    let findings: Vec<_> = suspects.iter().map(|s| finding(scene, s)).collect();
    let lasting: Vec<_> = findings.iter().filter(|f| f.lasts()).collect();
    let (verdict, reason) = match lasting.as_slice() {
        [first, rest @ ..] => {
            let more = if rest.is_empty() { String::new() } else { format!(" (and {} more)", rest.len()) };
            (Verdict::No, format!("{}: {}{more}", first.cause, first.because))
        }
        [] if !checks::anything_told(&checks) => {
            (Verdict::CannotTell, "neither probe, errors nor latency could be told".to_owned())
        }
        [] => (Verdict::Go, calm(&checks, findings.len())),
    };
    Triage { verdict, reason, findings, checks }
}

fn calm(checks: &[Check], ended: usize) -> String {
    let count = |state| checks.iter().filter(|c| c.state == state).count();
    let mut text = format!("{} of {} checks are well", count(State::Ok), checks.len());
    for (n, what) in [
        (count(State::Warn), "worth a look"),
        (count(State::Unknown), "could not be told"),
        (ended, "ended before now"),
    ] {
        if n > 0 {
            text += &format!(", {n} {what}");
        }
    }
    text
}

/// What is bad and has no known cause is told by its symptom: never left out for want of a name.
fn unexplained(scene: &Scene, checks: &[Check]) -> Vec<Suspect> {
    let symptoms = [
        ("user-errors", "errors", 40),
        ("user-latency", "latency", 38),
        ("probe", "probe", 36),
        ("freshness", "model-stale", 30),
    ];
    let bad = |name: &str| checks.iter().find(|c| c.name == name && c.state == State::Bad);
    let (from, _) = scene.recent();
    let told = symptoms.iter().filter_map(|(check, cause, weight)| {
        let because = format!("{}: {}; none of the known causes explains it", check, bad(check)?.seen);
        let began =
            match *cause {
                "errors" => scene
                    .spell(&scene.series, |f, t| Some(scene.error_share(&scene.series, f, t)? > scene.limits.errors)),
                "latency" => scene
                    .spell(&scene.series, |f, t| Some(scene.latency(&scene.series, f, t)? > scene.limits.latency_ms)),
                _ => None,
            };
        // A minute may still be bad in sum when its last seconds are well again: then it is told as ended.
        let spell = began.unwrap_or(Spell { began: from, ended: None });
        Some(Suspect { cause, weight: *weight, spell, because })
    });
    told.collect()
}

fn finding(scene: &Scene, suspect: &Suspect) -> Finding {
    let before = scene.changed_before(suspect.spell.began).take(3);
    let mut acts: Vec<String> = acts(suspect.cause).iter().map(|a| a.replace("TARGET", &scene.target)).collect();
    acts.extend(scene.help.iter().cloned());
    Finding {
        cause: suspect.cause.to_owned(),
        since: stamp(suspect.spell.began),
        ended: suspect.spell.ended.map(stamp),
        because: suspect.because.clone(),
        before: before.map(|c| format!("{} {}: {}", stamp(c.at), c.source, c.text)).collect(),
        acts,
    }
}

/// What to type now; TARGET stands for the target's name.
fn acts(cause: &str) -> &'static [&'static str] {
    match cause {
        "store-throttled" => {
            &["serin watch --target TARGET", "raise the table's read capacity, or stop who else reads it"]
        }
        "capacity-cut" => &["serin report list", "set the read capacity back to what it was"],
        "store-slow" => {
            &["serin watch --target TARGET", "look at the store's own health page; lower the deadline if viewers wait"]
        }
        "replica-dead" => &["serin stack status", "restart the replica and read its last log lines"],
        "catalogue-stale" => {
            &["serin catalogue build --items items.csv --out catalogue.json", "look why the nightly job did not run"]
        }
        "key-rotated" => &["serin token", "give the API the new key, or the clients the old one"],
        "clock-skew" => &["chronyc tracking", "put that machine's clock right, or take it out of the traffic"],
        "bad-model" => &["serin report list", "roll the lists back to the generation before"],
        "quota-reached" => &[
            "serin limit --target TARGET --objective 'throttled < 0.1%'",
            "ask for a higher quota, or shed what is least needed",
        ],
        "retry-storm" => {
            &["serin watch --target TARGET", "turn retries down, or make them back off, before adding capacity"]
        }
        "metrics-dead" => &["serin check --target TARGET --config-only", "restart what tells the metrics"],
        "canary-bad" => &["serin report list", "serin canary rollback RUN"],
        "model-stale" => &["serin daily --platform P", "look why the nightly training did not publish"],
        _ => &["serin watch --target TARGET"],
    }
}
