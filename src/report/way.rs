//! A way down as sections of a page: the table of steps, the curve against capacity, and the money; guesses marked.

use serde_json::Value;

use super::page::{Block, Curve, Point, Section, Table, Tone, Unit};
use super::record::Record;
use crate::cost::descent::SCHEMA;
use crate::cost::step::{Step, StepVerdict};
use crate::cost::tariff::PriceUsed;
use crate::cost::told::Ahead;
use crate::stats::units::{Millis, Share, Usd, grouped};

/// Returns the line under the verdict and the sections, of a run that was a way down; also of one that was cut off.
pub fn sections(record: &Record) -> Option<(String, Vec<Section>)> {
    let told = record.story.cost.as_ref();
    let document = Some(&record.document).filter(|d| d["schema"] == SCHEMA);
    let steps: Vec<Step> = match document {
        Some(document) => serde_json::from_value(document["steps"].clone()).ok()?,
        None => told?.steps.clone(),
    };
    let unit = document.and_then(|d| d["unit"].as_str()).or(told.map(|t| t.road.unit.as_str())).unwrap_or("units");
    let ahead: Vec<Ahead> = match document {
        Some(document) => serde_json::from_value(document["ahead"].clone()).unwrap_or_default(),
        None => told.and_then(|t| t.view.as_ref()).map_or_else(Vec::new, |v| v.ahead.clone()),
    };
    let price = document.and_then(|d| serde_json::from_value::<PriceUsed>(d["price"].clone()).ok());
    let price = price.or(told.map(|t| t.road.price.clone())).unwrap_or_default();
    let limit = document.and_then(|d| d["p99_ms"].as_f64()).or(told.and_then(|t| t.road.p99_ms));
    let mut found = vec![table(&steps, &ahead, unit, &price), picture(&steps, &ahead, unit, limit)];
    found.extend(document.map(money));
    let first = steps.first().map_or("?".to_owned(), |s| s.capacity.to_string());
    let last = steps.last().map_or("?".to_owned(), |s| s.capacity.to_string());
    let throttled: u64 = steps.iter().map(|s| s.throttled).sum();
    let gist = format!(
        "{first} → {last} {unit} in {} steps, {} requests throttled.",
        steps.len().saturating_sub(1),
        grouped(throttled)
    );
    Some((gist, found))
}

fn unknown() -> String {
    "?".to_owned()
}

fn table(steps: &[Step], ahead: &[Ahead], unit: &str, price: &PriceUsed) -> Section {
    let units = format!("{unit}#");
    let head = ["at", &units, "$ an hour#", "$ a million#", "p99#", "throttled#", "of its limit#", "verdict", "why"];
    let mut table = Table::new("Each step: what it cost, what it held, and why it was taken", &head);
    for step in steps {
        let tone = match (step.throttled, step.verdict) {
            (n, _) if n > 0 => Tone::Bad,
            (_, StepVerdict::Up) => Tone::Bad,
            (_, StepVerdict::Hold) => Tone::Plain,
            (_, StepVerdict::Go) => Tone::Good,
        };
        table.row(
            tone,
            [
                step.at.clone(),
                step.capacity.to_string(),
                step.usd_per_hour.map_or_else(unknown, |u| format!("{u:.4}")),
                step.usd_per_million.map_or_else(unknown, |u| format!("{u:.4}")),
                step.p99_ms.map_or_else(unknown, |p| Millis(p).to_string()),
                grouped(step.throttled),
                step.share_of_limit.map_or_else(unknown, |s| Share(s).to_string()),
                step.verdict.sign().to_owned(),
                step.reason.clone(),
            ],
        );
    }
    for guess in ahead {
        let usd = price.per_hour(guess.capacity as f64).map_or_else(unknown, |usd| format!("{usd:.4}"));
        let share = guess.share_of_limit.map_or_else(unknown, |s| format!("~{}", Share(s)));
        let why = "a guess: the highest demand seen, at this capacity".to_owned();
        let units = guess.capacity.to_string();
        let [million, p99, throttled] = [unknown(), unknown(), unknown()];
        table.row(
            Tone::Unknown,
            ["not taken".to_owned(), units, usd, million, p99, throttled, share, "~".to_owned(), why],
        );
    }
    Section { title: "The way down".to_owned(), first: true, blocks: vec![Block::Table(table)] }
}

/// p99 against capacity where it was measured, and the share of the limit in any case.
fn picture(steps: &[Step], ahead: &[Ahead], unit: &str, limit: Option<f64>) -> Section {
    let points = |pick: &dyn Fn(&Step) -> Option<f64>| -> Vec<Point> {
        steps.iter().filter_map(|s| Some(Point { x: s.capacity as f64, y: pick(s)?, guess: false })).collect()
    };
    let mut blocks = Vec::new();
    let timed = points(&|s| s.p99_ms);
    let worst = timed.iter().map(|p| p.y).reduce(f64::max);
    if let Some(worst) = worst {
        blocks.push(Block::Curve(Curve {
            caption: format!("p99 against {unit}"),
            told: format!("The highest p99 of {} steps was {}.", timed.len(), Millis(worst)),
            along: unit.to_owned(),
            points: timed,
            limit,
            unit: Unit::Millis,
        }));
    } else {
        blocks.push(Block::Text("p99 against capacity: not measured, this meter tells no latency.".to_owned()));
    }
    let mut shares = points(&|s| s.share_of_limit);
    let most = shares.iter().map(|p| p.y).reduce(f64::max);
    let guess = |a: &Ahead| Some(Point { x: a.capacity as f64, y: a.share_of_limit?, guess: true });
    shares.extend(ahead.iter().filter_map(guess));
    if let Some(most) = most {
        blocks.push(Block::Curve(Curve {
            caption: format!("The highest demand of each step, in shares of its {unit}"),
            told: format!(
                "At most {} of a step's capacity was asked for; above 100 % it came out of the burst bucket.",
                Share(most)
            ),
            along: unit.to_owned(),
            points: shares,
            limit: Some(1.0),
            unit: Unit::Share,
        }));
    }
    Section { title: "What each capacity held".to_owned(), first: false, blocks }
}

fn money(document: &Value) -> Section {
    let usd = |key: &str| document[key].as_f64().map_or("unknown".to_owned(), |u| Usd(u).to_string());
    let mut table = Table::new("Money, US dollars without tax and discounts", &["", "value#"]);
    let (tone, mark) =
        if document["price"]["guess"] == true { (Tone::Unknown, ", a guess") } else { (Tone::Plain, "") };
    for (what, key) in [
        ("saved so far", "saved_so_far"),
        ("saved a month from here", "saved_per_month"),
        ("saved a year from here", "saved_per_year"),
        ("a million requests", "usd_per_million"),
    ] {
        table.row(tone, [format!("{what}{mark}"), usd(key)]);
    }
    let from = document["price"]["from"].as_str().unwrap_or("unknown").to_owned();
    let mut blocks = vec![Block::Table(table), Block::Text(format!("Price: {from}."))];
    if let Some(floor) = document["floor"].as_object() {
        let text =
            |key: &str| floor.get(key).map_or(String::new(), |v| v.as_str().map_or(v.to_string(), str::to_owned));
        blocks.push(Block::Text(format!("Floor: {} on {}: {}", text("capacity"), text("at"), text("reason"))));
    }
    Section { title: "Money".to_owned(), first: true, blocks }
}
