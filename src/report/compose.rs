//! A record to a page: the verdict and its sentence first, how to repeat it last.

use std::time::Duration;

use super::page::{Block, Heat, Lines, Page, Section, Series, Table, Tone, Unit};
use super::record::Record;
use super::{walk, way};
use crate::judge::verdict::Verdict;
use crate::load::summary::{Judged, LoadSummary, Quantiles};
use crate::run::bands;
use crate::run::columns::Column;
use crate::run::objectives;
use crate::run::story::LoadStory;
use crate::stats::units::{Millis, Rps, Share, clock, grouped};

/// Pictures have at most this many slices of time.
const SLICES: usize = 150;
const BANDS: usize = 14;

pub fn page(record: &Record) -> Page {
    let began = record.story.began.as_ref();
    let mut page = Page {
        title: began.map_or("a run".to_owned(), |b| format!("serin {} · {}", b.kind, b.title)),
        verdict: record.verdict(),
        reason: record.reason().to_owned(),
        again: began.map_or(String::new(), |b| b.command.clone()),
        ..Page::default()
    };
    if let Some((gist, sections)) = walk::sections(record) {
        page.gist = gist;
        page.sections.extend(sections);
    } else if let Some(load) = &record.load {
        page.gist = gist(load);
        page.sections.push(judged(load));
        page.sections.extend(compared(load));
        page.sections.push(generator(load));
        page.sections.push(latency(load, record.story.load.as_ref()));
        page.sections.extend(record.story.load.as_ref().map(over_time));
        page.sections.extend(errors(load, record.story.load.as_ref()));
    } else if let Some((gist, sections)) = way::sections(record) {
        page.gist = gist;
        page.sections.extend(sections);
    } else if let Some(ended) = &record.story.ended {
        let blocks = ended.lines.iter().map(|l| Block::Text(l.clone())).collect();
        page.sections.push(Section { title: "What came of it".to_owned(), first: true, blocks });
    }
    page.sections.extend(prepared(record));
    page.sections.extend(time_line(record));
    page.sections.push(repeat(record));
    page
}

fn gist(load: &LoadSummary) -> String {
    format!(
        "Asked {}, sent {}, answered {}; {} requests in {}, {} errors ({}).",
        Rps(load.rate.asked),
        Rps(load.rate.sent),
        Rps(load.rate.answered),
        grouped(load.requests),
        clock(Duration::try_from_secs_f64(load.duration_s).unwrap_or_default()),
        grouped(load.errors.total),
        Share(load.errors.share),
    )
}

fn tone(met: Option<bool>) -> Tone {
    match met {
        Some(true) => Tone::Good,
        Some(false) => Tone::Bad,
        None => Tone::Unknown,
    }
}

fn judged(load: &LoadSummary) -> Section {
    let mut table =
        Table::new("Each objective, its limit, and what was seen", &["objective", "limit#", "seen#", "met", "why"]);
    for one in &load.objectives {
        let (what, limit) = objectives::parts(&one.expression);
        let seen = objectives::shown(one);
        table.row(tone(one.met), [what.to_owned(), limit.to_owned(), seen, word(one).to_owned(), one.reason.clone()]);
    }
    let mut blocks = vec![Block::Table(table)];
    if load.implied {
        blocks.push(Block::Text("No objective was given; these are the implied ones.".to_owned()));
    }
    Section { title: "Objectives".to_owned(), first: true, blocks }
}

fn word(one: &Judged) -> &'static str {
    match one.met {
        Some(true) => "✓ met",
        Some(false) => "✗ missed",
        None => "? no data",
    }
}

fn compared(load: &LoadSummary) -> Option<Section> {
    let c = load.comparison.as_ref()?;
    let number = |v: Option<f64>| v.map_or("?".to_owned(), |v| format!("{v:.3}"));
    let c = serde_json::to_value(c).ok()?;
    let at = |key: &str| c.get(key).and_then(serde_json::Value::as_f64);
    let text = |key: &str| c.get(key).and_then(serde_json::Value::as_str).unwrap_or("?").to_owned();
    let mut table =
        Table::new("This run against its baseline", &["metric", "verdict", "ratio#", "from#", "to#", "pairs#"]);
    let tone = match text("verdict").as_str() {
        "slower" => Tone::Bad,
        "same" | "faster" => Tone::Good,
        _ => Tone::Unknown,
    };
    let pairs = at("pairs").map_or("?".to_owned(), |p| format!("{p:.0}"));
    table.row(
        tone,
        [text("metric"), text("verdict"), number(at("ratio")), number(at("low")), number(at("high")), pairs],
    );
    Some(Section { title: "Against the baseline".to_owned(), first: true, blocks: vec![Block::Table(table)] })
}

fn generator(load: &LoadSummary) -> Section {
    let g = &load.generator;
    let answer = match g.state.as_str() {
        "valid" => "No: the load generator kept its schedule.",
        "suspect" => "Perhaps: the load generator was near its limits.",
        _ => "Yes, or it is not known: this run cannot judge the target.",
    };
    let ms = |v: Option<f64>| v.map_or("not measured".to_owned(), |v| Millis(v).to_string());
    let mut table = Table::new("What the generator says of itself", &["figure", "value#"]);
    let state_tone = if g.state == "valid" { Tone::Good } else { Tone::Unknown };
    table.row(state_tone, ["state".to_owned(), g.state.clone()]);
    table.row(Tone::Plain, ["late, p50 (due to ready to send)".to_owned(), ms(g.late_p50_ms)]);
    table.row(Tone::Plain, ["late, p99".to_owned(), ms(g.late_p99_ms)]);
    table.row(Tone::Plain, ["CPU, share of one core".to_owned(), Share(g.cpu_share).to_string()]);
    table.row(Tone::Plain, ["dropped".to_owned(), grouped(g.dropped)]);
    let text = format!("{answer} {}", g.reason);
    let blocks = vec![Block::Text(text), Block::Table(table)];
    Section { title: "Was the generator the bottleneck?".to_owned(), first: false, blocks }
}

fn latency(load: &LoadSummary, story: Option<&LoadStory>) -> Section {
    let head = ["", "p50#", "p90#", "p95#", "p99#", "p99.9#", "max#"];
    let mut table = Table::new("Percentiles, from the moment a request was due", &head);
    let mut row = |name: &str, q: &Quantiles| {
        let ms = |v: Option<f64>| v.map_or("?".to_owned(), |v| Millis(v).to_string());
        let cells = [q.p50, q.p90, q.p95, q.p99, q.p999, q.max].map(ms);
        table.row(Tone::Plain, std::iter::once(name.to_owned()).chain(cells));
    };
    row("latency (from due)", &load.latency_ms);
    row("service (from sent)", &load.service_ms);
    row("waiting for a connection", &load.connection_wait_ms);
    for endpoint in load.endpoints.iter().filter(|_| load.endpoints.len() > 1) {
        row(&endpoint.name, &endpoint.latency_ms);
    }
    let mut blocks: Vec<Block> = story.map(|s| Block::Heat(heat(s))).into_iter().collect();
    blocks.push(Block::Table(table));
    if load.requests < 10_000 {
        let few =
            format!("p99.9 of {} requests rests on {} of them: a guess.", grouped(load.requests), load.requests / 1000);
        blocks.push(Block::Text(few));
    }
    Section { title: "Latency".to_owned(), first: false, blocks }
}

fn heat(story: &LoadStory) -> Heat {
    let limit = objectives::latency_limit(&story.plan);
    let bounds = bands::bounds(&story.columns, limit, BANDS);
    let (slices, each_s) = story.columns.slices(story.seconds(), SLICES);
    let share = |c: &Column| c.bands(&bounds).iter().map(|n| *n as f64 / c.answers().max(1) as f64).collect();
    let over = limit.map(|l| slices.iter().flatten().filter(|c| c.quantile(0.99).is_some_and(|p| p.0 > l.0)).count());
    let told = match (limit, over) {
        (Some(limit), Some(over)) => {
            format!("Of {} slices of {each_s} s, {over} had a p99 over {limit}.", slices.iter().flatten().count())
        }
        _ => format!("{} slices of {each_s} s; no objective limits latency.", slices.iter().flatten().count()),
    };
    Heat {
        caption: format!("Latency over time: a column is {each_s} s, darker is more of its answers"),
        told,
        each_s,
        slices: slices.iter().map(|s| s.as_ref().map(share)).collect(),
        bounds,
        limit,
    }
}

fn over_time(story: &LoadStory) -> Section {
    let (slices, each_s) = story.columns.slices(story.seconds(), SLICES);
    let series = |name: &str, pick: &dyn Fn(&Column) -> Option<f64>| Series {
        name: name.to_owned(),
        values: slices.iter().map(|s| s.as_ref().and_then(pick)).collect(),
    };
    let most = |values: &Series| values.values.iter().flatten().copied().reduce(f64::max);
    let p99 = series("p99", &|c| c.quantile(0.99).map(|m| m.0));
    let p50 = series("p50", &|c| c.quantile(0.5).map(|m| m.0));
    let asked = series("asked", &|c| Some(c.rate(c.due)));
    let answered = series("answered", &|c| Some(c.rate(c.answered)));
    let errors = series("errors", &|c| Some(c.rate(c.errors)));
    let limit = objectives::latency_limit(&story.plan).map(|l| l.0);
    let ms = |v: Option<f64>| v.map_or("?".to_owned(), |v| Millis(v).to_string());
    let rate = |v: Option<f64>| v.map_or("?".to_owned(), |v| Rps(v.round()).to_string());
    let latency = Lines {
        caption: "p50 and p99 over time".to_owned(),
        told: format!("The highest p99 of a slice was {}, the highest p50 {}.", ms(most(&p99)), ms(most(&p50))),
        each_s,
        series: vec![p99, p50],
        limit,
        unit: Unit::Millis,
    };
    let rates = Lines {
        caption: "Asked and answered, requests a second".to_owned(),
        told: format!("At most {} asked, {} answered.", rate(most(&asked)), rate(most(&answered))),
        each_s,
        series: vec![asked, answered],
        limit: None,
        unit: Unit::PerSecond,
    };
    let faults = Lines {
        caption: "Errors a second".to_owned(),
        told: format!("At most {} errors a second.", rate(most(&errors))),
        each_s,
        series: vec![errors],
        limit: None,
        unit: Unit::PerSecond,
    };
    let mut blocks = vec![Block::Lines(latency), Block::Lines(rates)];
    if story.errors.values().sum::<u64>() > 0 {
        blocks.push(Block::Lines(faults));
    }
    Section { title: "Over time".to_owned(), first: false, blocks }
}

fn errors(load: &LoadSummary, story: Option<&LoadStory>) -> Option<Section> {
    if load.errors.total == 0 {
        return None;
    }
    let mut kinds = Table::new("Errors by kind", &["kind", "count#", "share#", "first seen#", "one example"]);
    for (kind, n) in &load.errors.by_kind {
        let first = story
            .and_then(|s| s.first_seen.get(kind))
            .map_or("?".to_owned(), |s| clock(Duration::from_secs(u64::from(*s))));
        let share = Share(*n as f64 / load.requests.max(1) as f64).to_string();
        let example = load.errors.examples.get(kind).cloned().unwrap_or_default();
        kinds.row(Tone::Bad, [kind.clone(), grouped(*n), share, first, example]);
    }
    let mut blocks = vec![Block::Table(kinds)];
    if !load.errors.by_status.is_empty() {
        let mut statuses = Table::new("Answers that were no success, by status", &["status", "count#"]);
        for (status, n) in &load.errors.by_status {
            statuses.row(Tone::Plain, [status.to_string(), grouped(*n)]);
        }
        blocks.push(Block::Table(statuses));
    }
    Some(Section { title: "Errors".to_owned(), first: true, blocks })
}

fn prepared(record: &Record) -> Option<Section> {
    if record.story.tasks.is_empty() {
        return None;
    }
    let mut table = Table::new("What was done before and beside", &["task", "done#", "of#", "unit", "note"]);
    for task in &record.story.tasks {
        let whole = |v: f64| grouped(v.max(0.0) as u64);
        let of = task.total.map_or(String::new(), whole);
        table.row(Tone::Plain, [task.task.clone(), whole(task.done), of, task.unit.clone(), task.note.clone()]);
    }
    Some(Section { title: "Preparation".to_owned(), first: false, blocks: vec![Block::Table(table)] })
}

fn time_line(record: &Record) -> Option<Section> {
    if record.story.happened.is_empty() {
        return None;
    }
    let mut table = Table::new("What happened, oldest first", &["at", "who", "what", ""]);
    for h in &record.story.happened {
        let sign = h.good.map_or("", |good| objectives::sign(Some(good)));
        let tone = h.good.map_or(Tone::Plain, |good| tone(Some(good)));
        table.row(tone, [h.at.clone(), h.source.clone(), h.text.clone(), sign.to_owned()]);
    }
    Some(Section { title: "Time line".to_owned(), first: false, blocks: vec![Block::Table(table)] })
}

fn repeat(record: &Record) -> Section {
    let mut table = Table::new("What this run was", &["", "value"]);
    let mut row = |what: &str, value: String| table.row(Tone::Plain, [what.to_owned(), value]);
    if let Some(began) = &record.story.began {
        row("command", began.command.clone());
        row("began", began.at.clone());
        row("serin", began.version.clone());
        row("host", began.host.clone());
    }
    if let Some(load) = &record.load {
        row("scenario", load.scenario.clone());
        row("target", load.target.clone());
        row("seed", load.seed.to_string());
    }
    if let Some(plan) = record.story.load.as_ref().map(|l| &l.plan) {
        row("model", plan.model.clone());
        row("connections", plan.connections.to_string());
    }
    row("folder", record.folder.display().to_string());
    if record.verdict() == Some(Verdict::CannotTell) {
        row("exit code", "3".to_owned());
    }
    Section { title: "How to repeat it".to_owned(), first: false, blocks: vec![Block::Table(table)] }
}
