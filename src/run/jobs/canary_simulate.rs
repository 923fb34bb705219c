//! Does a `serin canary simulate`: walks every kind of evening and tells what the judge did.

use serde_json::json;

use crate::canary::night::Way;
use crate::canary::simulate::{self, Outcome, Target};
use crate::run::error::RunError;
use crate::run::event::Event;
use crate::run::job::{Desk, Job};
use crate::run::summary::Summary;
use crate::stats::progress::Progress;
use crate::stats::units::Share;

#[derive(Debug)]
pub struct Simulate {
    pub walks: usize,
    pub seed: u64,
    /// Requests a second of a tenth of the viewers.
    pub rate: f64,
    pub errors: f64,
    pub way: Way,
    /// Also the evenings on which the judge is known to be weak.
    pub weak: bool,
    /// Only kinds whose name contains this.
    pub kind: Option<String>,
}

impl Job for Simulate {
    fn kind(&self) -> &'static str {
        "canary-simulate"
    }

    fn title(&self) -> String {
        format!("{} walks of each kind, {}/s in a tenth of the viewers", self.walks, self.rate)
    }

    fn run(self: Box<Self>, desk: &Desk) -> Result<Summary, RunError> {
        let wanted = |name: &str| match &self.kind {
            Some(text) => name.contains(text.as_str()),
            None => self.weak || !name.starts_with("weak spot"),
        };
        let kinds: Vec<_> = simulate::kinds(self.rate, self.errors).into_iter().filter(|k| wanted(k.name)).collect();
        if kinds.is_empty() {
            let known: Vec<_> = simulate::kinds(self.rate, self.errors).iter().map(|k| k.name).collect();
            return Err(RunError::misuse("no kind of evening has such a name").hint(known.join("; ")));
        }
        let mut outcomes = Vec::new();
        // Targets were set for this traffic only.
        let held = (self.rate - 50.0).abs() < 1e-9 && (self.errors - 0.001).abs() < 1e-12;
        for (i, kind) in kinds.iter().enumerate() {
            let Some(outcome) = simulate::walk_many(kind, self.way, self.walks, self.seed, &desk.stop) else {
                break;
            };
            desk.tell(Event::Progress(Progress {
                task: "evenings".to_owned(),
                done: (i + 1) as f64,
                total: Some(kinds.len() as f64),
                unit: "kinds".to_owned(),
                left_s: None,
                note: kind.name.to_owned(),
            }));
            let target = held.then(|| Target::of(kind.name)).flatten();
            outcomes.push(outcome.held_to(target));
        }
        if outcomes.is_empty() {
            return Err(RunError::Stopped);
        }
        Ok(Summary {
            title: self.title(),
            verdict: None,
            reason: String::new(),
            document: json!({
                "schema": "serin.canary-simulate/1",
                "walks": self.walks,
                "seed": self.seed,
                "rate": self.rate,
                "errors": self.errors,
                "shares": self.way.groups.map(|g| g as f64 / 10.0),
                "warm_up_s": self.way.warm_up_s,
                "kinds": outcomes,
            }),
            lines: lines(&outcomes),
            stopped: outcomes.len() < kinds.len(),
        })
    }
}

fn lines(outcomes: &[Outcome]) -> Vec<String> {
    let minutes = |s: Option<f64>| s.map_or("-".to_owned(), |s| format!("{:.1} min", s / 60.0));
    let [back, go, after, recipe, target] = ["rolled back", "go in 30'", "go after", "recipe's", "target"];
    let mut lines = vec![format!("{:58} {back:>11} {go:>9} {after:>9} {recipe:>9}  {target}", "healthy walks")];
    for o in outcomes.iter().filter(|o| o.healthy) {
        let (back, go) = (Share(o.share).to_string(), Share(o.go).to_string());
        let (after, recipe) = (minutes(o.go_median_s), o.recipe);
        lines.push(format!("{:58} {back:>11} {go:>9} {after:>9} {recipe:>9}  {}", o.kind, target_of(o)));
        if let Some(blind) = o.blind {
            let then = blind.then_on_s.map_or(String::new(), |s| format!("; went on {s:.0} s after the first numbers"));
            lines.push(format!(
                "  while nobody told it any: rolled back {}, went on {}{then}",
                Share(blind.rolled_back),
                Share(blind.went_on)
            ));
        }
    }
    let titles = ["within", "found", "after", "90 % after", "harmed", "wrong go"];
    let [within, found, after, p90, harmed, wrong] = titles;
    lines.push(String::new());
    lines.push(format!(
        "{:42} {within:>7} {found:>7} {after:>9} {p90:>10} {harmed:>8} {wrong:>9}  {recipe:>17}  {target}",
        "harmed walks"
    ));
    for o in outcomes.iter().filter(|o| !o.healthy) {
        let (found, wrong) = (Share(o.share).to_string(), Share(o.go).to_string());
        let harmed = o.harmed.map_or("-".to_owned(), |h| format!("{h:.0}"));
        let within = format!("{:.0}'", o.horizon_s / 60.0);
        lines.push(format!(
            "{:42} {within:>7} {found:>7} {:>9} {:>10} {harmed:>8} {wrong:>9}  {:>17}  {}",
            o.kind,
            minutes(o.median_s),
            minutes(o.p90_s),
            o.recipe,
            target_of(o)
        ));
    }
    if outcomes.iter().any(|o| !o.recipe.is_empty()) {
        lines.push(String::new());
        lines.push(
            "recipe's: what the recipe that this judge began from was measured at by its own simulation, one canary of 10 % \
             in all stages (--flat), cold; w: after 10 minutes of warm-up (--warm-up 10m)"
                .to_owned(),
        );
    }
    lines
}

fn target_of(o: &Outcome) -> String {
    let Some((target, met)) = o.target.zip(o.met) else { return String::new() };
    let asked = match target {
        Target::RolledBackAtMost(most) => format!("at most {}", Share(most)),
        Target::FoundAtLeast(least) => format!("at least {}", Share(least)),
        Target::MedianWithin(s) => format!("half within {s:.0} s"),
    };
    format!("{} {asked}", if met { "✓" } else { "✗" })
}
