//! How a step down is proved before it is taken: a load at the coming peak by this very program, or a program of the user's.

use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use serde::Deserialize;

use super::descend::Order;
use crate::program;
use crate::stats::units::parse_duration;
use crate::stop::Stop;

/// The longest that a user's program may take.
const LONGEST: Duration = Duration::from_secs(2 * 3_600);
/// What a load takes besides its own time: to begin, to end, to write its report.
const AROUND: Duration = Duration::from_secs(120);
/// The least that is asked for: what is slower finds nothing out.
const LEAST_RATE: f64 = 1.0;

/// The `[proof]` table as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    run: Option<Vec<String>>,
    target: Option<String>,
    url: Option<String>,
    scenario: Option<String>,
    #[serde(rename = "for")]
    lasts: Option<String>,
    objective: Option<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Proof {
    /// Ends with 0 when the step may be taken.
    Program(Vec<String>),
    Load(Load),
}

/// A load on top of what is asked for anyway, so that both together are the coming peak.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// `--target NAME` or `--url URL`.
    at: [String; 2],
    scenario: Option<String>,
    lasts: Duration,
    objectives: Vec<String>,
    /// Where every unit carries its own share, each carries during the load what it will after the step.
    pub by_share: bool,
}

impl Proof {
    /// Reads the table; the plan's own objectives hold where it names none.
    pub fn of(row: Row, p99_ms: Option<f64>, errors: Option<f64>, by_share: bool) -> Result<Self, String> {
        let bad = |what: &str| Err(format!("[proof] {what}"));
        let at = match (row.run, row.target, row.url) {
            (Some(words), None, None) if words.is_empty() => {
                return bad("run is empty; it names a program and its words");
            }
            (Some(words), None, None) if row.scenario.is_none() && row.lasts.is_none() && row.objective.is_none() => {
                return Ok(Self::Program(words));
            }
            (Some(_), None, None) => {
                return bad("run stands alone; scenario, for and objective belong to target or url");
            }
            (None, Some(target), None) => ["--target".to_owned(), target],
            (None, None, Some(url)) => ["--url".to_owned(), url],
            _ => return bad("needs one of run = [\"PROGRAM\", ..], target = \"NAME\" and url = \"http://..\""),
        };
        let lasts = parse_duration(row.lasts.as_deref().unwrap_or("60s")).map_err(|e| format!("[proof] for: {e}"))?;
        if lasts < Duration::from_secs(1) || lasts > Duration::from_secs(3_600) {
            return bad("for is from 1s to 1h");
        }
        let objectives = row.objective.unwrap_or_else(|| {
            let mut usual = vec!["throttled = 0".to_owned()];
            usual.push(format!("errors < {}%", errors.unwrap_or(0.01) * 100.0));
            usual.extend(p99_ms.map(|ms| format!("p99 < {ms}ms")));
            usual
        });
        if objectives.is_empty() {
            return bad("objective is empty: a load that nothing is asked of proves nothing");
        }
        for objective in &objectives {
            crate::judge::objective::Objective::parse(objective).map_err(|e| format!("[proof] objective: {e}"))?;
        }
        Ok(Self::Load(Load { at, scenario: row.scenario, lasts, objectives, by_share }))
    }
}

impl Load {
    fn words(&self, rate: f64) -> Result<Vec<String>, String> {
        let program = std::env::current_exe().map_err(|e| format!("this program cannot be found: {e}"))?;
        let mut words = vec![program.display().to_string(), "load".to_owned()];
        words.extend(self.scenario.clone());
        words.extend(self.at.clone());
        let lasts = format!("{}s", self.lasts.as_secs_f64());
        words.extend(["--rate".to_owned(), format!("{rate:.1}"), "--duration".to_owned(), lasts, "--quiet".to_owned()]);
        words.extend(self.objectives.iter().flat_map(|o| ["--objective".to_owned(), o.clone()]));
        Ok(words)
    }
}

/// A proof under way. Dropped, it is given up: its load ends.
pub struct Proving {
    pub order: Order,
    /// Requests a second of a load, on top of what is asked for anyway.
    pub rate: f64,
    how: String,
    result: Receiver<Result<String, String>>,
    stop: Stop,
}

impl Proving {
    /// Begins; `coming` and `now` are requests a second, of the peak that is expected and of this moment.
    pub fn start(proof: &Proof, order: Order, from: u64, coming: f64, now: f64) -> Result<Self, String> {
        let (words, rate, longest, how) = match proof {
            Proof::Program(words) => (words.clone(), 0.0, LONGEST, "proved by a load".to_owned()),
            Proof::Load(load) => {
                let scale = if load.by_share { from as f64 / order.to.max(1) as f64 } else { 1.0 };
                let rate = (coming * scale - now).max(LEAST_RATE);
                let share = if load.by_share { ", what each of them will carry" } else { "" };
                let how = format!(
                    "proved by a load of {rate:.0}/s on top of {now:.0}/s for {} s, the coming peak{share}",
                    load.lasts.as_secs()
                );
                (load.words(rate)?, rate, load.lasts + AROUND, how)
            }
        };
        let environment = [
            ("SERIN_CAPACITY", order.to.to_string()),
            ("SERIN_CAPACITY_BEFORE", from.to_string()),
            ("SERIN_COMING_PEAK", format!("{coming:.1}")),
        ];
        let (done, result) = mpsc::channel();
        let stop = Stop::default();
        let given_up = stop.clone();
        std::thread::spawn(move || {
            done.send(program::run_until(&words, &environment, longest, &|| given_up.requested()))
        });
        Ok(Self { order, rate, how, result, stop })
    }

    /// What came of it, once it has ended: how it was proved, or why it was not.
    pub fn ended(&self) -> Option<Result<String, String>> {
        match self.result.try_recv() {
            Ok(told) => Some(told.map(|_| self.how.clone())),
            Err(mpsc::TryRecvError::Empty) => None,
            Err(mpsc::TryRecvError::Disconnected) => Some(Err("it ended without a word".to_owned())),
        }
    }

    /// What is being done, for a person.
    pub fn how(&self) -> &str {
        &self.how
    }
}

impl Drop for Proving {
    fn drop(&mut self) {
        self.stop.request();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Proof, String> {
        Proof::of(toml::from_str(text).map_err(|e| e.to_string())?, Some(120.0), None, false)
    }

    #[test]
    fn a_load_has_the_plans_objectives_unless_it_names_its_own() {
        let Ok(Proof::Load(load)) = read("target = 'staging'\nfor = '20s'") else { panic!("a load") };
        assert_eq!(load.objectives, ["throttled = 0", "errors < 1%", "p99 < 120ms"]);
        let words = load.words(512.34).expect("words");
        assert_eq!(words[1..8], ["load", "--target", "staging", "--rate", "512.3", "--duration", "20s"]);
        let Ok(Proof::Load(own)) = read("url = 'http://127.0.0.1:1/'\nobjective = ['p50 < 5ms']") else {
            panic!("one")
        };
        assert_eq!(own.objectives, ["p50 < 5ms"]);
    }

    #[test]
    fn what_proves_nothing_is_refused() {
        for (text, says) in [
            ("", "needs one of"),
            ("run = []", "run is empty"),
            ("run = ['a']\ntarget = 'b'", "needs one of"),
            ("run = ['a']\nfor = '1s'", "run stands alone"),
            ("target = 'a'\nfor = '5h'", "from 1s to 1h"),
            ("target = 'a'\nobjective = []", "proves nothing"),
            ("target = 'a'\nobjective = ['p99 is good']", "objective"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
