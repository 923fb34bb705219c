//! Does a `serin evaluate`: how well a model finds what viewers watched last, beside the most popular programmes.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::model_work::model_work;
use crate::model::evaluate::{self, Evaluation, Place};
use crate::model::files::Model;
use crate::run::error::RunError;
use crate::run::job::{Desk, Job};
use crate::run::summary::Summary;
use crate::stats::units::{Share, grouped};

#[derive(Debug)]
pub struct Evaluate {
    pub model: PathBuf,
    pub heldout: PathBuf,
    pub k: usize,
    /// 0 is one a core.
    pub threads: usize,
}

impl Job for Evaluate {
    fn kind(&self) -> &'static str {
        "evaluate"
    }

    fn title(&self) -> String {
        format!("{} on {}", self.model.display(), self.heldout.display())
    }

    fn run(self: Box<Self>, desk: &Desk) -> Result<Summary, RunError> {
        let (found, id) = model_work(desk, self.threads, |_| {
            let model = Model::open(&self.model)?;
            let found = evaluate::evaluate(&model, &self.heldout, self.k, &desk.stop)?;
            Ok((found, model.id().to_owned()))
        })?;
        let mut document = serde_json::to_value(&found).map_err(RunError::cannot_tell)?;
        if let Value::Object(fields) = &mut document {
            fields.insert("schema".to_owned(), json!("serin.evaluate/1"));
            fields.insert("model".to_owned(), json!(id));
        }
        let lines = lines(&found, &id);
        Ok(Summary { title: self.title(), verdict: None, reason: String::new(), document, lines, stopped: false })
    }
}

fn lines(e: &Evaluation, id: &str) -> Vec<String> {
    let k = e.k;
    let row = |name: &str, a: f64, b: f64| format!("{name:22} {a:>12.4} {b:>14.4}");
    let (m, p) = (&e.model, &e.popular);
    let mut lines = vec![
        format!("{:22} {:>12} {:>14}", format!("{} viewers", grouped(m.users)), "this model", "most popular"),
        row(&format!("NDCG@{k}"), m.ndcg, p.ndcg),
        row(&format!("recall@{k}"), m.recall, p.recall),
        row(&format!("hit rate@{k}"), m.hit_rate, p.hit_rate),
        row(&format!("MRR@{k}"), m.mrr, p.mrr),
        row("coverage", m.coverage, p.coverage),
        String::new(),
        format!("where the last watched programme stands ({id})"),
    ];
    for (own, popular) in m.places.iter().zip(&p.places) {
        let bar = "▰".repeat((own.share * 40.0).round() as usize);
        let shares = (Share(own.share).to_string(), Share(popular.share).to_string());
        lines.push(format!("  {:10} {:>9} {:>14}   {bar}", named(own), shares.0, shares.1));
    }
    lines.push(String::new());
    lines.push("programmes already seen are left out of every list".to_owned());
    if e.unknown_users > 0 {
        lines.push(format!(
            "{} held-out viewers are unknown to the model (no consent, or no viewing in its data): they count as misses; \
             among the {} it knows NDCG@{k} is {:.4}, recall {:.4}",
            grouped(e.unknown_users),
            grouped(e.known.users),
            e.known.ndcg,
            e.known.recall
        ));
    }
    if e.unknown_items > 0 {
        lines.push(format!("{} held-out programmes are unknown to the model: misses", grouped(e.unknown_items)));
    }
    if e.already_seen > 0 {
        let n = grouped(e.already_seen);
        lines.push(format!("{n} held-out programmes were seen before by the same viewer, so no list has them: misses"));
    }
    lines
}

fn named(place: &Place) -> String {
    match place.to {
        Some(to) if to == place.from => format!("place {to}"),
        Some(to) => format!("{}-{to}", place.from),
        None => "below".to_owned(),
    }
}
