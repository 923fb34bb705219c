//! The walk: its road of stages, both sides' numbers, what would make it go on or roll back, and the keys to say so.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};

use super::load::verdict_of;
use crate::canary::order::Wish;
use crate::canary::told::RoadStage;
use crate::console::glyphs;
use crate::console::keys::Action;
use crate::console::look::Look;
use crate::console::screen::{Effect, Screen, World};
use crate::console::theme::Tone;
use crate::console::widgets::frame::{cut, lines, panel, wrap};
use crate::console::widgets::spark::gauge;
use crate::judge::panel::{GO, ROLL_BACK};
use crate::judge::sequential::{Call, Exhibit, Sample};
use crate::judge::usual::percent;
use crate::judge::verdict::Verdict;
use crate::run::walked::Walked;
use crate::stats::units::{Millis, Share, clock, grouped};

/// One column of the road.
const STAGE: usize = 11;

#[derive(Debug, Default)]
pub struct Canary;

impl Screen for Canary {
    fn act(&mut self, action: Action, world: &World) -> Option<Effect> {
        let view = world.story.canary.as_ref()?.view.as_ref();
        let frozen = view.is_some_and(|v| v.frozen);
        let wish = match action {
            Action::RollBack => Wish::RollBack,
            Action::Approve => Wish::Approve,
            Action::GoNow => Wish::Go,
            Action::Hold if frozen => Wish::Thaw,
            Action::Hold => Wish::Freeze,
            _ => return None,
        };
        Some(Effect::Wish(wish))
    }

    fn copy(&self, world: &World) -> Option<String> {
        let walk = world.story.canary.as_ref()?;
        let (sign, _, reason) = says(world, walk);
        let mut text = format!("**{sign}** {}: {reason}\n\n", walk.road.target);
        text.push_str("| guard | baseline | canary | evidence of harm | of health |\n|---|---:|---:|---:|---:|\n");
        for e in &walk.evidence {
            let (old, new) = (share(e.baseline), share(e.canary));
            text.push_str(&format!("| {} | {old} | {new} | {} | {} |\n", e.label(), odds(e.harm), odds(e.health)));
        }
        Some(text)
    }

    fn draw(&self, frame: &mut Frame, area: Rect, world: &World) {
        let Some(walk) = &world.story.canary else {
            return lines(frame, area, Line::from(world.look.span("no canary is walked", Tone::Dim)));
        };
        if area.width < 76 || area.height < 19 {
            return small(frame, area, world, walk);
        }
        let rows = (walk.evidence.len() as u16 + 5).clamp(9, 13);
        let [top, middle, below] =
            Layout::vertical([Constraint::Length(6), Constraint::Length(rows), Constraint::Min(3)]).areas(area);
        let [left, right] = Layout::horizontal([Constraint::Fill(1), Constraint::Length(36)]).areas(middle);
        road(frame, top, world, walk);
        evidence(frame, left, world, walk);
        says_panel(frame, right, world, walk);
        let picture = if below.height >= 8 { 4 } else { 0 };
        let [latency, past] = Layout::vertical([Constraint::Length(picture), Constraint::Min(3)]).areas(below);
        if picture > 0 {
            both_sides(frame, latency, world, walk);
        }
        happened(frame, past, world);
    }
}

/// Says what a wish would do and where, before it is done.
pub fn question(world: &World, wish: Wish) -> String {
    let Some(walk) = &world.story.canary else { return "No walk is under way.".to_owned() };
    let (target, stage) = (&walk.road.target, walk.view.as_ref().map_or(1, |v| v.stage));
    let share = walk.view.as_ref().map_or(0.0, |v| v.share);
    let next = walk.road.stages.get(stage).map_or("its end".to_owned(), |s| Share(s.share).to_string());
    match wish {
        Wish::RollBack => format!("Roll {target} back from {} to nobody in the canary, now?", Share(share)),
        Wish::Approve => format!("Approve stage {stage} of {target}? It goes on to {next} when the evidence says so."),
        Wish::Go => format!("Go on to {next} of {target} now, whatever the evidence says?"),
        Wish::Freeze => format!("Hold {target} at {}? It still rolls back when the canary is bad.", Share(share)),
        Wish::Thaw => format!("Let {target} go on by the evidence?"),
    }
}

fn time(seconds: f64) -> String {
    clock(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default())
}

fn share(sample: Sample) -> String {
    if sample.of > 0.0 { percent(sample.counted / sample.of) } else { "?".to_owned() }
}

fn odds(value: f64) -> String {
    match value {
        v if v >= 1e4 => "over 10000".to_owned(),
        v if v >= 10.0 => format!("{v:.0}"),
        v => format!("{v:.1}"),
    }
}

/// Returns sign, tone and sentence of the walk as it stands.
fn says(world: &World, walk: &Walked) -> (&'static str, Tone, String) {
    let view = walk.view.as_ref();
    if !world.live() {
        let (verdict, reason) = verdict_of(world);
        return (verdict.map_or("ended", Verdict::sign), verdict.map_or(Tone::Plain, Tone::from), reason);
    }
    let reason = view.map_or_else(|| "begins".to_owned(), |v| v.reason.clone());
    match view.map(|v| (v.phase.as_str(), v.verdict, v.frozen)) {
        Some(("back", ..)) => ("✗ ROLL BACK", Tone::Bad, reason),
        Some(("soaking", Some(Call::Go), false)) => ("✓ GO", Tone::Good, reason),
        Some(("soaking", Some(Call::Rollback), _)) => ("✗ ROLL BACK", Tone::Bad, reason),
        Some(("soaking", Some(Call::CannotTell), _)) => ("? CANNOT TELL", Tone::Warn, reason),
        Some((.., true)) => ("‖ HOLD", Tone::Warn, reason),
        _ => ("‖ WAIT", Tone::Plain, reason),
    }
}

fn road(frame: &mut Frame, area: Rect, world: &World, walk: &Walked) {
    let look = &world.look;
    let note = format!("{} · looks every {}", walk.road.driver, time(walk.road.look_s));
    let inside = panel(frame, area, look, &format!("canary of {}", walk.road.target), &note);
    let room = usize::from(inside.width);
    let shown = ((room.saturating_sub(9)) / STAGE).max(1);
    let now = walk.view.as_ref().map_or(0, |v| v.stage.saturating_sub(1));
    // A long road shows the part that is being walked.
    let first = now.saturating_sub(shown.saturating_sub(2)).min(walk.road.stages.len().saturating_sub(shown));
    let stages: Vec<(usize, &RoadStage)> = walk.road.stages.iter().enumerate().skip(first).take(shown).collect();
    let mut rows: Vec<Vec<Span>> =
        ["share", "held", "verdict"].iter().map(|h| vec![look.span(format!("{h:<9}"), Tone::Dim)]).collect();
    for (i, stage) in stages {
        let share = Share(stage.share).to_string();
        let here = i == now;
        let share = if here { format!("[{share}]") } else { format!(" {share} ") };
        rows[0].push(look.span(format!("{share:<STAGE$}"), if here { Tone::Strong } else { Tone::Plain }));
        let held = walk.stages.get(i).copied().unwrap_or_default();
        let text = if held.seconds > 0.0 { time(held.seconds) } else { "·".to_owned() };
        rows[1].push(look.span(format!(" {text:<w$}", w = STAGE - 1), Tone::Plain));
        let (word, tone) = match (i.cmp(&now), world.live()) {
            (std::cmp::Ordering::Less, _) => ("✓ go", Tone::Good),
            (std::cmp::Ordering::Equal, _) => {
                let (sign, tone, _) = says(world, walk);
                (short(sign), tone)
            }
            (std::cmp::Ordering::Greater, _) if stage.approval => ("· asks", Tone::Dim),
            (std::cmp::Ordering::Greater, _) => ("·", Tone::Dim),
        };
        rows[2].push(look.span(format!(" {word:<w$}", w = STAGE - 1), tone));
    }
    let done = progress(walk);
    let (full, empty) = gauge(done, room.saturating_sub(10));
    rows.push(vec![look.span(" ".repeat(9), Tone::Dim), look.span(full, Tone::Good), look.span(empty, Tone::Dim)]);
    lines(frame, inside, rows.into_iter().map(Line::from).collect::<Vec<_>>());
}

/// Returns the column's own short form of a sign.
fn short(sign: &'static str) -> &'static str {
    match sign {
        "? CANNOT TELL" => "? unsure",
        "✗ ROLL BACK" => "✗ back",
        other => other,
    }
}

/// How far the walk has come, in shares of the shortest holds.
fn progress(walk: &Walked) -> f64 {
    let whole: f64 = walk.road.stages.iter().map(|s| s.hold_s).sum();
    let now = walk.view.as_ref().map_or(0, |v| v.stage.saturating_sub(1));
    let done = walk
        .road
        .stages
        .iter()
        .zip(&walk.stages)
        .enumerate()
        .map(|(i, (stage, held))| if i < now { stage.hold_s } else { held.seconds.min(stage.hold_s) });
    if whole > 0.0 { done.sum::<f64>() / whole } else { 0.0 }
}

fn evidence(frame: &mut Frame, area: Rect, world: &World, walk: &Walked) {
    let look = &world.look;
    let view = walk.view.as_ref();
    let note = match (view.and_then(|v| v.viewers), view.and_then(|v| v.seen)) {
        (Some(viewers), Some(seen)) => format!("seen: {} of viewers, {} of requests", Share(viewers), Share(seen)),
        (None, Some(seen)) => format!("seen: {} of requests", Share(seen)),
        _ => String::new(),
    };
    let inside = panel(frame, area, look, "side by side", &note);
    let head =
        format!("{:<9}{:>9}{:>9}  {:<8}{:>6}{:>8}{:>8}", "", "baseline", "canary", "", "ratio", "harm", "health");
    let mut rows = vec![Line::from(look.span(head, Tone::Dim))];
    rows.extend(walk.evidence.iter().map(|e| row(look, e)));
    if walk.evidence.is_empty() {
        rows.push(Line::from(look.span("no numbers from both sides yet", Tone::Dim)));
    }
    rows.push(Line::default());
    if let Some(view) = &walk.view {
        let all = |pick: fn(&Exhibit) -> Sample| walk.evidence.iter().map(|e| pick(e).of).fold(0.0, f64::max) as u64;
        let (old, new) = (grouped(all(|e| e.baseline)), grouped(all(|e| e.canary)));
        rows.push(Line::from(look.span(format!("{:<9}{old:>9}{new:>9}  requests this stage", "sample"), Tone::Plain)));
        let read = view.read.map_or("not read".to_owned(), |r| Share(r).to_string());
        let tone = if view.read.is_some_and(|r| (r - view.share).abs() > 0.006) { Tone::Warn } else { Tone::Plain };
        let text = format!("{:<9}{:>9}{read:>9}  asked, read back", "share", Share(view.share).to_string());
        rows.push(Line::from(look.span(text, tone)));
    }
    lines(frame, inside, rows);
}

fn row(look: &Look, e: &Exhibit) -> Line<'static> {
    let rate = |s: Sample| if s.of > 0.0 { s.counted / s.of } else { 0.0 };
    let (old, new) = (rate(e.baseline), rate(e.canary));
    let ratio = if old > 0.0 { format!("x{:.2}", new / old) } else { "-".to_owned() };
    let (sign, tone) = match (e.harm, e.health) {
        _ if e.is_bad() => ("✗ bad", Tone::Bad),
        (harm, _) if harm >= 10.0 => ("! doubt", Tone::Warn),
        (_, health) if health >= GO => ("✓ well", Tone::Good),
        _ => ("‖ wait", Tone::Plain),
    };
    let numbers = format!("{:<9}{:>9}{:>9}  ", cut(&e.label(), 9), share(e.baseline), share(e.canary));
    Line::from(vec![
        look.span(numbers, Tone::Plain),
        look.span(format!("{sign:<8}"), tone),
        look.span(format!("{ratio:>6}{:>8}{:>8}", odds_cell(e.harm), odds_cell(e.health)), Tone::Plain),
    ])
}

fn odds_cell(value: f64) -> String {
    if value >= 1e4 { ">9999".to_owned() } else { odds(value) }
}

fn says_panel(frame: &mut Frame, area: Rect, world: &World, walk: &Walked) {
    let look = &world.look;
    let inside = panel(frame, area, look, "what it says", "");
    let width = usize::from(inside.width);
    let (sign, tone, reason) = says(world, walk);
    let mut rows = vec![Line::from(look.span(sign, tone))];
    let conditions = if world.live() { conditions(walk) } else { Vec::new() };
    let wanted: usize = conditions.iter().map(|(_, text)| wrap(text, width).len()).sum();
    let room = usize::from(inside.height).saturating_sub(1 + wanted).max(2);
    rows.extend(wrap(&reason, width).into_iter().take(room).map(|l| Line::from(look.span(l, Tone::Plain))));
    for (tone, text) in conditions {
        rows.extend(wrap(&text, width).into_iter().map(|l| Line::from(look.span(l, tone))));
    }
    lines(frame, inside, rows);
}

/// Returns what would make the walk go on, and what would make it roll back.
fn conditions(walk: &Walked) -> Vec<(Tone, String)> {
    let Some(view) = walk.view.as_ref().filter(|v| v.phase == "soaking") else { return Vec::new() };
    let Some(stage) = walk.road.stages.get(view.stage.saturating_sub(1)) else { return Vec::new() };
    let left = stage.hold_s - view.held_s;
    let behind: Vec<&str> = walk.evidence.iter().filter(|e| e.health < GO).map(|e| e.guard.as_str()).collect();
    let mut needs = Vec::new();
    if left > 0.0 {
        needs.push(format!("held {} more", time(left)));
    }
    if !behind.is_empty() || walk.evidence.is_empty() {
        let who = if behind.is_empty() { "every guard".to_owned() } else { behind.join(", ") };
        needs.push(format!("health of {who} {GO:.0} to 1"));
    }
    if stage.approval {
        needs.push("approved (A)".to_owned());
    }
    if view.frozen {
        needs.push("no longer held (H)".to_owned());
    }
    let go = if needs.is_empty() { "at the next look".to_owned() } else { needs.join("; ") };
    let worst = walk.evidence.iter().max_by(|a, b| a.harm.total_cmp(&b.harm));
    let worst = worst.map_or(String::new(), |e| {
        let storm = if e.may_be_a_storm() { ", or a storm: if it goes on" } else { "" };
        format!(" ({} {} now{storm})", e.guard, odds(e.harm))
    });
    vec![
        (Tone::Good, format!("GO ON when: {go}")),
        (Tone::Bad, format!("ROLL BACK when: evidence of harm {ROLL_BACK:.0} to 1{worst}")),
    ]
}

/// Both sides' p99 on one scale.
fn both_sides(frame: &mut Frame, area: Rect, world: &World, walk: &Walked) {
    let look = &world.look;
    let inside = panel(frame, area, look, "p99 of each look", "newest right");
    let room = usize::from(inside.width).saturating_sub(22);
    let recent = &walk.p99[walk.p99.len().saturating_sub(room)..];
    let most = recent.iter().flat_map(|p| [p.1, p.2]).flatten().filter(|v| v.is_finite()).fold(0.0, f64::max);
    let line = |name: &str, pick: fn(&(f64, Option<f64>, Option<f64>)) -> Option<f64>| {
        let cell = |v: Option<f64>| match v {
            None => " ",
            Some(v) if most > 0.0 => glyphs::height((v / most).min(1.0)),
            Some(_) => glyphs::HEIGHTS[0],
        };
        let picture: String = recent.iter().map(|p| cell(pick(p))).collect();
        let last = recent.last().and_then(pick).map_or("?".to_owned(), |v| Millis(v).to_string());
        Line::from(vec![
            look.span(format!("{name:<9}{last:>10}  "), Tone::Plain),
            look.span(picture, if name == "canary" { Tone::Strong } else { Tone::Good }),
        ])
    };
    lines(frame, inside, vec![line("baseline", |p| p.2), line("canary", |p| p.1)]);
}

fn happened(frame: &mut Frame, area: Rect, world: &World) {
    let look = &world.look;
    let inside = panel(frame, area, look, "what happened", "newest first");
    let width = usize::from(inside.width);
    let moments = world.story.happened.iter().rev().map(|h| {
        let (sign, tone) = match h.good {
            Some(true) => ("✓ ", Tone::Good),
            Some(false) => ("✗ ", Tone::Bad),
            None => ("  ", Tone::Plain),
        };
        let at = format!("{}  ", h.at.get(11..19).unwrap_or(&h.at));
        let text = look.span(cut(&h.text, width.saturating_sub(12)), Tone::Plain);
        Line::from(vec![look.span(at, Tone::Dim), look.span(sign, tone), text])
    });
    lines(frame, inside, moments.take(usize::from(inside.height)).collect::<Vec<_>>());
}

/// The same without boxes: stage, verdict, each guard's numbers.
fn small(frame: &mut Frame, area: Rect, world: &World, walk: &Walked) {
    let look = &world.look;
    let width = usize::from(area.width);
    let (sign, tone, reason) = says(world, walk);
    let mut rows = Vec::new();
    if let Some(view) = &walk.view {
        let of = walk.road.stages.len();
        let text = format!("stage {} of {of}  {}  held {}", view.stage, Share(view.share), time(view.held_s));
        rows.push(Line::from(look.span(cut(&text, width), Tone::Strong)));
    }
    rows.push(Line::from(look.span(sign, tone)));
    let text = wrap(&reason, width);
    rows.extend(text.into_iter().take(3).map(|l| Line::from(look.span(l, Tone::Plain))));
    rows.extend(walk.evidence.iter().map(|e| {
        let text = format!(
            "{:<8} {} → {}  harm {}  health {}",
            cut(&e.label(), 8),
            share(e.baseline),
            share(e.canary),
            odds(e.harm),
            odds(e.health)
        );
        Line::from(look.span(cut(&text, width), Tone::Plain))
    }));
    rows.extend(conditions(walk).into_iter().map(|(tone, text)| Line::from(look.span(cut(&text, width), tone))));
    lines(frame, area, rows);
}
