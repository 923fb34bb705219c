//! A canary walk as sections of a page: its stages, the evidence of its last look, both sides' latency, the way back.

use std::time::Duration;

use super::page::{Block, Lines, Section, Series, Table, Tone, Unit};
use super::record::Record;
use crate::canary::told::{StageDone, WayBack};
use crate::judge::panel::{GO, ROLL_BACK};
use crate::judge::sequential::{Exhibit, Sample};
use crate::judge::usual::percent;
use crate::run::jobs::canary_walk::SCHEMA;
use crate::run::walked::Walked;
use crate::stats::units::{Millis, Share, clock, grouped};

/// Returns the line under the verdict and the sections, of a run that was a walk; also of one that was cut off.
pub fn sections(record: &Record) -> Option<(String, Vec<Section>)> {
    let told = record.story.canary.as_ref();
    let document = Some(&record.document).filter(|d| d["schema"] == SCHEMA);
    if told.is_none() && document.is_none() {
        return None;
    }
    let stages: Vec<StageDone> =
        document.and_then(|d| serde_json::from_value(d["stages"].clone()).ok()).unwrap_or_default();
    let back: Option<WayBack> = document.and_then(|d| serde_json::from_value(d["rollback"].clone()).ok()).flatten();
    let findings = document.and_then(|d| d["findings"].as_array()).into_iter().flatten();
    let findings: Vec<String> = findings.filter_map(|f| f.as_str().map(str::to_owned)).collect();
    let share = document.and_then(|d| d["share"].as_f64());
    let stands = share.map_or("where the canary stands now was not read".to_owned(), |s| {
        format!("the canary stands at {}", Share(s))
    });
    let planned = told.map_or(stages.len(), |t| t.road.stages.len());
    let gist = format!("{} of {planned} stages were held; {stands}.", stages.len());
    let mut found = vec![road(&stages, back, &findings)];
    if let Some(told) = told {
        found.extend(evidence(&told.evidence));
        found.extend(latency(told));
    }
    Some((gist, found))
}

fn road(stages: &[StageDone], back: Option<WayBack>, findings: &[String]) -> Section {
    let head = ["stage", "share#", "seen#", "of requests#", "held#", "canary#", "baseline#", "verdict", "why"];
    let mut table = Table::new("Each stage: the share, what was seen of it, and how it was left", &head);
    let seen = |share: Option<f64>| share.map_or("?".to_owned(), |s| Share(s).to_string());
    for stage in stages {
        let (tone, word) = match stage.verdict.as_str() {
            "go" => (Tone::Good, "✓ go"),
            "rollback" => (Tone::Bad, "✗ roll back"),
            _ => (Tone::Unknown, "‖ hold"),
        };
        let held = Duration::try_from_secs_f64(stage.held_s.max(0.0)).unwrap_or_default();
        table.row(
            tone,
            [
                stage.stage.to_string(),
                Share(stage.share).to_string(),
                seen(stage.measured_share),
                seen(stage.requests_share.or(stage.measured_share)),
                clock(held),
                grouped(stage.canary_requests as u64),
                grouped(stage.baseline_requests as u64),
                word.to_owned(),
                stage.reason.clone(),
            ],
        );
    }
    let mut blocks = vec![Block::Table(table)];
    if let Some(back) = back {
        let seen = match back.requests_at_zero {
            Some(0) => "and no request reached the canary any more".to_owned(),
            Some(n) => format!("but {n} requests still reached the canary in the last look"),
            None => "requests cannot be counted there".to_owned(),
        };
        let read = if back.verified { "read back" } else { "not read back" };
        blocks.push(Block::Text(format!(
            "Rolled back: zero was {read} {:.1} s after the decision; {seen}.",
            back.took_s
        )));
    }
    blocks.extend(findings.iter().map(|f| Block::Text(format!("Finding: {f}."))));
    Section { title: "The road".to_owned(), first: true, blocks }
}

fn rate(sample: Sample) -> String {
    if sample.of > 0.0 { percent(sample.counted / sample.of) } else { "?".to_owned() }
}

fn evidence(all: &[Exhibit]) -> Option<Section> {
    if all.is_empty() {
        return None;
    }
    let odds = |v: f64| if v >= 1e4 { "over 10 000".to_owned() } else { format!("{v:.1}") };
    let caption = format!(
        "Each guard since its stage began; {ROLL_BACK:.0} to 1 for harm rolls back, {GO:.0} to 1 for health goes on"
    );
    let head = ["guard", "baseline#", "canary#", "requests#", "harm, to 1#", "health, to 1#", "groups differ by#"];
    let mut table = Table::new(caption, &head);
    for e in all {
        let tone = match e.health {
            _ if e.is_bad() => Tone::Bad,
            health if health >= GO => Tone::Good,
            _ => Tone::Plain,
        };
        table.row(
            tone,
            [
                e.label(),
                rate(e.baseline),
                rate(e.canary),
                grouped(e.canary.of as u64),
                odds(e.harm),
                odds(e.health),
                e.noise.map_or("assumed".to_owned(), percent),
            ],
        );
    }
    Some(Section { title: "The evidence at the last look".to_owned(), first: true, blocks: vec![Block::Table(table)] })
}

fn latency(told: &Walked) -> Option<Section> {
    let timed = |pick: fn(&(f64, Option<f64>, Option<f64>)) -> Option<f64>| -> Vec<Option<f64>> {
        told.p99.iter().map(|p| pick(p).filter(|v| v.is_finite())).collect()
    };
    let (canary, baseline) = (timed(|p| p.1), timed(|p| p.2));
    let worst = canary.iter().flatten().copied().reduce(f64::max)?;
    // Looks come in one rhythm, also where some of them were thinned out.
    let span = told.p99.last()?.0 - told.p99.first()?.0;
    let each_s = (span / (told.p99.len().max(2) - 1) as f64).round().max(1.0) as u32;
    let lines = Lines {
        caption: "p99 of each look, both sides".to_owned(),
        told: format!("The canary's highest p99 of {} looks was {}.", told.p99.len(), Millis(worst)),
        each_s,
        series: vec![
            Series { name: "canary".to_owned(), values: canary },
            Series { name: "baseline".to_owned(), values: baseline },
        ],
        limit: None,
        unit: Unit::Millis,
    };
    Some(Section { title: "Latency".to_owned(), first: false, blocks: vec![Block::Lines(lines)] })
}
