//! Simulated viewers who live on two versions of the local stack: what they get is real, what they do with it is drawn.
//!
//! A viewer has a taste (what the demo platform's viewings say of them), a habit (how much they watch), and patience. The
//! version that answers, the list, and the time it took come from the running stack; which group a viewer was in is what
//! the router said. So a version with worse lists or slower answers shows in time to play and in viewing time, by as much
//! as viewers mind.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, LogNormal};
use rand_pcg::Pcg64Mcg;
use serde_json::json;

use crate::canary::driver::Driver as _;
use crate::canary::drivers::local::{At, Local};
use crate::canary::http::Http;
use crate::durable::Draft;
use crate::run::error::RunError;
use crate::run::event::Event;
use crate::run::job::{Desk, Job};
use crate::run::summary::Summary;
use crate::stats::progress::Progress;

const PATIENCE: Duration = Duration::from_secs(10);
const ROWS: usize = 20;
/// The chance that a viewer opens the strip on an evening.
const OPENS: f64 = 0.6;
/// Seconds that a viewer looks at one programme, and what finding one elsewhere takes.
const GLANCE_S: f64 = 1.3;
const ELSEWHERE_S: f64 = 40.0;
/// The chance that a programme is played: whatever it is, and when it is all to the viewer's taste.
const ANY: f64 = 0.02;
const TASTE: f64 = 0.35;

#[derive(Debug)]
pub struct Live {
    pub out: PathBuf,
    pub viewers: usize,
    pub days: usize,
    pub share: f64,
    pub seed: u64,
}

/// What viewers like: each one's genres by weight, and each programme's genre.
#[derive(Default)]
struct Tastes {
    genre: HashMap<String, String>,
    watched: HashMap<String, HashMap<String, f64>>,
}

impl Job for Live {
    fn kind(&self) -> &'static str {
        "live"
    }

    fn title(&self) -> String {
        format!("{} viewers for {} days on the local stack", self.viewers, self.days)
    }

    fn run(self: Box<Self>, desk: &Desk) -> Result<Summary, RunError> {
        let broken = |why: String| RunError::cannot_tell(why);
        let at = At::new(&desk.home).map_err(broken)?;
        let url = at.url().map_err(RunError::misuse)?;
        let url = url.ok_or_else(|| RunError::misuse("no stack is up").hint("serin stack up --canary"))?;
        let url = url.trim_end_matches(crate::serve::router::PATH).to_owned();
        let mut driver = Local::new(&desk.home).map_err(broken)?;
        let stood = driver.read().map_err(RunError::cannot_tell)?;
        driver.set(self.share).map_err(RunError::cannot_tell)?;
        let tastes = Tastes::read(&desk.home.join("demo/data"));
        let http = Http::new(PATIENCE, None).map_err(broken)?;
        let io = |e: std::io::Error| RunError::misuse(format!("{}: {e}", self.out.display()));
        let draft = Draft::create(&self.out).map_err(io)?;
        let mut out = std::io::BufWriter::new(draft.file());
        writeln!(out, "viewer,group,day,viewing_minutes,time_to_play_s,pre_viewing_minutes").map_err(io)?;
        let mut dice = Pcg64Mcg::seed_from_u64(self.seed);
        let people: Vec<(String, f64)> = (1..=self.viewers).map(|i| (format!("u{i}"), habit(&mut dice))).collect();
        let before: Vec<f64> = people.iter().map(|p| minutes(p.1, &mut dice) * self.days as f64 * OPENS).collect();
        let (mut rows, mut failed, mut groups) = (0_u64, 0_u64, [0_u64; 2]);
        for day in 1..=self.days {
            let bearer = at.bearer(3600).map_err(broken)?;
            for ((viewer, habit), before) in people.iter().zip(&before) {
                if desk.stop.requested() {
                    return Err(RunError::Stopped);
                }
                if !dice.random_bool(OPENS) {
                    continue;
                }
                let asked = Instant::now();
                let ask = format!("{url}/v1/recommendations/{viewer}?limit={ROWS}");
                let answer = http.get(&ask, &[("authorization", &bearer)]);
                let waited = asked.elapsed().as_secs_f64();
                // Who got no answer was exposed to it all the same, where the router still said by whom.
                let (side, list) = match answer {
                    Ok(a) => (a.side.clone(), if a.is_good() { programmes(&a.body) } else { Vec::new() }),
                    Err(_) => (None, Vec::new()),
                };
                let Some(side) = side else {
                    failed += 1;
                    continue;
                };
                let (looked, found) = tastes.choose(viewer, &list, &mut dice);
                let to_play = waited + looked;
                let watched = minutes(*habit, &mut dice) * if found { 1.0 } else { 0.8 } * mind(to_play);
                writeln!(out, "{viewer},{side},{day},{watched:.2},{to_play:.3},{before:.2}").map_err(io)?;
                rows += 1;
                groups[usize::from(side == "baseline")] += 1;
            }
            desk.tell(Event::Progress(Progress {
                task: "days".to_owned(),
                done: day as f64,
                total: Some(self.days as f64),
                unit: "days".to_owned(),
                left_s: None,
                note: format!("{rows} evenings"),
            }));
        }
        // Afterwards it stands where it stood: a walk begins from nobody.
        driver.set(stood).map_err(RunError::cannot_tell)?;
        out.flush().map_err(io)?;
        drop(out);
        draft.commit().map_err(io)?;
        let line = format!("{rows} evenings of {} viewers in {}", self.viewers, self.out.display());
        let unanswered = (failed > 0).then(|| format!("{failed} evenings had no answer at all and are left out"));
        Ok(Summary {
            title: self.title(),
            verdict: None,
            reason: String::new(),
            document: json!({"schema": "serin.live/1", "rows": rows, "unanswered": failed, "canary": groups[0],
                "baseline": groups[1], "share": self.share, "seed": self.seed, "out": self.out}),
            lines: std::iter::once(line).chain(unanswered).collect(),
            stopped: false,
        })
    }
}

/// How many minutes a viewer watches on an evening, usually.
fn habit(dice: &mut Pcg64Mcg) -> f64 {
    LogNormal::new(3.4, 0.8).map_or(30.0, |d| d.sample(dice))
}

/// One evening of a habit.
fn minutes(habit: f64, dice: &mut Pcg64Mcg) -> f64 {
    LogNormal::new(-0.08, 0.4).map_or(habit, |d| habit * d.sample(dice))
}

/// What is left of an evening after so long a search.
fn mind(to_play_s: f64) -> f64 {
    (1.0 - to_play_s / 600.0).clamp(0.3, 1.0)
}

fn programmes(body: &str) -> Vec<String> {
    let body: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    let items = body["items"].as_array().into_iter().flatten();
    items.filter_map(|i| i["itemId"].as_str().map(str::to_owned)).collect()
}

impl Tastes {
    /// Reads the demo platform's own viewings; a platform without them has viewers who like everything alike.
    fn read(data: &Path) -> Self {
        let mut tastes = Self::default();
        for (id, genre) in column(&data.join("items.csv"), "ITEM_ID", "GENRE") {
            tastes.genre.insert(id, genre);
        }
        for (viewer, item) in column(&data.join("interactions.csv"), "USER_ID", "ITEM_ID") {
            if let Some(genre) = tastes.genre.get(&item) {
                *tastes.watched.entry(viewer).or_default().entry(genre.clone()).or_default() += 1.0;
            }
        }
        tastes
    }

    /// Returns how long a viewer looked, and whether they found something in the list.
    fn choose(&self, viewer: &str, list: &[String], dice: &mut Pcg64Mcg) -> (f64, bool) {
        let liked = self.watched.get(viewer);
        let all: f64 = liked.map_or(0.0, |l| l.values().sum());
        let mut looked = 0.0;
        for programme in list {
            looked += GLANCE_S * (0.5 + dice.random::<f64>());
            let taste = self.genre.get(programme).and_then(|g| liked?.get(g)).map_or(0.0, |n| n / all);
            if dice.random_bool((ANY + TASTE * taste).min(1.0)) {
                return (looked, true);
            }
        }
        (looked + ELSEWHERE_S * (0.5 + dice.random::<f64>()), false)
    }
}

/// Two columns of a plain CSV of ours; none where it cannot be read.
fn column(path: &Path, first: &str, second: &str) -> Vec<(String, String)> {
    let Ok(file) = File::open(path) else { return Vec::new() };
    let mut lines = BufReader::new(file).lines().map_while(Result::ok);
    let Some(head) = lines.next() else { return Vec::new() };
    let find = |name: &str| head.split(',').position(|h| h == name);
    let Some((a, b)) = find(first).zip(find(second)) else { return Vec::new() };
    let pick = |line: String| {
        let cells: Vec<&str> = line.split(',').collect();
        Some(((*cells.get(a)?).to_owned(), (*cells.get(b)?).to_owned()))
    };
    lines.filter_map(pick).collect()
}
