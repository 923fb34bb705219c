//! A line an event: for pipes, CI and screen readers; a bar where stderr is a terminal.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::Global;
use crate::canary::told::{Road, View};
use crate::cost;
use crate::load::tick::Tick;
use crate::run::event::Event;
use crate::stats::histogram::Histogram;
use crate::stats::progress::Progress;
use crate::stats::units::{Millis, Share, clock};

const EACH: Duration = Duration::from_secs(5);

/// Turns events into lines on stderr, at most one each five seconds for what repeats.
pub struct Plain {
    quiet: bool,
    /// Whole sentences, for a screen reader or a log.
    sentences: bool,
    bar: Option<ProgressBar>,
    live: bool,
    task: String,
    told: Instant,
    recent: Recent,
}

/// The load since the last line.
#[derive(Default)]
struct Recent {
    ticks: u32,
    /// What the ticks covered; a last moment in which nothing was due any more is no part of a rate.
    seconds: f64,
    due: u64,
    sent: u64,
    answered: u64,
    errors: u64,
    latency: Histogram,
}

impl Recent {
    fn add(&mut self, tick: &Tick) {
        if tick.due > 0 || tick.seconds() >= 1.0 {
            self.seconds += tick.seconds();
        }
        self.ticks += 1;
        self.due += tick.due;
        self.sent += tick.sent;
        self.answered += tick.answered;
        self.errors += tick.errors.values().sum::<u64>();
        tick.endpoints.iter().for_each(|e| self.latency.merge(&e.latency));
    }

    /// Returns so many as a rate, a second.
    fn each(&self, n: u64) -> f64 {
        n as f64 / if self.seconds > 0.0 { self.seconds } else { f64::from(self.ticks.max(1)) }
    }
}

impl Plain {
    pub fn new(global: &Global) -> Self {
        let live = std::io::stderr().is_terminal() && !global.plain && std::env::var_os("CI").is_none();
        Self {
            quiet: global.quiet,
            sentences: global.plain,
            bar: None,
            live,
            task: String::new(),
            told: Instant::now(),
            recent: Recent::default(),
        }
    }

    pub fn hear(&mut self, event: &Event) {
        if self.quiet {
            return;
        }
        match event {
            Event::Began(b) => self.line(&format!("serin {} · {}", b.kind, b.title)),
            Event::Phase { name } if self.sentences => self.line(&format!("Now: {name}.")),
            Event::Phase { name } => self.line(&format!("— {name}")),
            Event::Said { text } => self.line(text),
            Event::Happened(h) => self.line(&format!("{} · {}", h.source, h.text)),
            Event::LoadPlan(plan) => self.line(&format!(
                "load: {} → {}, {} over {} connections, seed {}",
                plan.scenario,
                plan.target,
                clock(Duration::from_secs_f64(plan.duration_s)),
                plan.connections,
                plan.seed
            )),
            Event::Progress(progress) => self.progress(progress),
            Event::Tick(tick) => self.tick(tick),
            Event::CanaryRoad(road) => self.line(&canary_road(road)),
            Event::CanaryView(view) => self.canary(view),
            // Its beginning is said as something that happened.
            Event::CostStep(_) | Event::CostRoad(_) | Event::Part { .. } => {}
            Event::CostView(view) => self.cost(view),
            Event::Ended(_) => self.done(),
        }
    }

    /// Ends what is drawn, so that the summary starts on a line of its own.
    pub fn done(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        if self.recent.ticks > 0 {
            self.load_line(None);
        }
    }

    pub fn line(&mut self, text: &str) {
        // A closed stderr is no reason to lose the run.
        let write = || drop(writeln!(io::stderr(), "{text}"));
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    fn progress(&mut self, p: &Progress) {
        let fresh = p.task != self.task;
        let ended = p.total.is_some_and(|t| p.done >= t);
        if fresh {
            self.task.clone_from(&p.task);
            self.bar.take().inspect(ProgressBar::finish_and_clear);
        }
        if self.live {
            let bar = self.bar.get_or_insert_with(|| new_bar(p.total));
            bar.set_message(p.task.clone());
            bar.set_position(p.done as u64);
            bar.set_prefix(left(p));
            if ended {
                bar.finish_and_clear();
                self.bar = None;
            }
        }
        let due = fresh || self.told.elapsed() >= EACH;
        if ended || !self.live && due {
            self.told = Instant::now();
            let of = p.total.map_or(String::new(), |t| format!(" of {t:.0}"));
            let stop = if self.sentences { "." } else { "" };
            self.line(&format!("{}: {:.0}{of} {}{}{stop}", p.task, p.done, p.unit, left(p)));
        }
    }

    fn tick(&mut self, tick: &Tick) {
        self.recent.add(tick);
        if self.recent.ticks >= 5 {
            self.load_line(Some(tick.ends_s));
        }
    }

    /// A look of a canary walk, at most one line each five seconds unless its verdict or phase is news.
    fn canary(&mut self, view: &View) {
        let verdict = view.verdict.map_or_else(String::new, |v| format!("{v:?}"));
        let task = format!("canary {} {} {verdict}", view.stage, view.phase);
        if task == self.task && self.told.elapsed() < EACH {
            return;
        }
        (self.task, self.told) = (task, Instant::now());
        let at = clock(Duration::from_secs_f64(view.t));
        let part = |share: Option<f64>, of: &str| share.map(|s| format!("{} of {of}", Share(s)));
        let parts: Vec<_> =
            [part(view.viewers, "viewers"), part(view.seen, "requests")].into_iter().flatten().collect();
        let seen = if parts.is_empty() { String::new() } else { format!(" (seen: {})", parts.join(", ")) };
        let share = Share(view.share);
        if self.sentences {
            return self
                .line(&format!("At {at}, stage {}, {share} of the viewers{seen}: {}.", view.stage, view.reason));
        }
        self.line(&format!("{at}  stage {}  {share}{seen}  {}  {}", view.stage, view.phase, view.reason));
    }

    /// Where a way down stands, at most one line each five seconds.
    fn cost(&mut self, view: &cost::told::View) {
        if self.told.elapsed() < EACH {
            return;
        }
        self.told = Instant::now();
        let p99 = view.p99_ms.map_or("?".to_owned(), |p| Millis(p).to_string());
        let at = view.at.get(..16).unwrap_or(&view.at);
        let (units, capacity, throttled) = (view.units, view.capacity, view.throttled.ceil());
        if self.sentences {
            let text =
                format!("At {at}, {units:.0} of {capacity} units are asked for; {throttled:.0} throttled so far.");
            return self.line(&text);
        }
        self.line(&format!("{at}  {units:.0} of {capacity} units  p99 {p99}  throttled {throttled:.0}"));
    }

    fn load_line(&mut self, ended: Option<f64>) {
        let r = std::mem::take(&mut self.recent);
        let at = ended.map_or(String::from("end  "), |s| clock(Duration::from_secs_f64(s)));
        let quantile = |q| r.latency.quantile(q).map_or("no data".to_owned(), |m| m.to_string());
        if self.sentences {
            return self.line(&format!(
                "At {}, in the last {:.0} seconds: {:.0} requests a second were asked for, {:.0} sent and {:.0} answered; half \
                 within {}, 99 of 100 within {}; {} errors.",
                at.trim_end(),
                r.seconds.max(1.0),
                r.each(r.due),
                r.each(r.sent),
                r.each(r.answered),
                quantile(0.5),
                quantile(0.99),
                r.errors
            ));
        }
        self.line(&format!(
            "{at}  asked {:.0}/s  sent {:.0}/s  answered {:.0}/s  p50 {}  p99 {}  errors {}",
            r.each(r.due),
            r.each(r.sent),
            r.each(r.answered),
            quantile(0.5),
            quantile(0.99),
            r.errors
        ));
    }
}

fn canary_road(road: &Road) -> String {
    let stages: Vec<_> = road.stages.iter().map(|s| Share(s.share).to_string()).collect();
    format!(
        "canary: {} by {}, numbers from {}, guards {}; {}",
        road.target,
        road.driver,
        road.numbers,
        road.guards.join(", "),
        stages.join(" → ")
    )
}

fn new_bar(total: Option<f64>) -> ProgressBar {
    let bar = ProgressBar::new(total.unwrap_or(0.0) as u64);
    let style = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len}{prefix}");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn left(p: &Progress) -> String {
    let mut text = String::new();
    if !p.note.is_empty() {
        text = format!(", {}", p.note);
    }
    if let Some(s) = p.left_s.filter(|s| *s >= 1.0) {
        text += &format!(", {} left", clock(Duration::from_secs_f64(s)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_moment_after_the_last_request_is_no_part_of_a_rate() {
        let tick = |second: u32, lasted, due| Tick {
            second,
            ends_s: f64::from(second) + lasted,
            due,
            sent: due,
            answered: 20_000,
            ..Tick::default()
        };
        let mut recent = Recent::default();
        (0..4).for_each(|second| recent.add(&tick(second, 1.0, 20_000)));
        recent.add(&tick(4, 0.004, 0));
        assert_eq!((recent.each(recent.due), recent.each(recent.answered)), (20_000.0, 25_000.0));
        // A second in which nothing fell due counts, and so does a last half in which something did.
        recent.add(&tick(5, 1.0, 0));
        recent.add(&tick(6, 0.5, 10_000));
        assert!((recent.each(recent.due) - 90_000.0 / 5.5).abs() < 1e-6);
    }
}
