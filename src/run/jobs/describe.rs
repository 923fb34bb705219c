//! Does a `serin data describe`: a data set at a glance.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::model_work::model_work;
use crate::model::describe::{self, Description, Spread};
use crate::run::error::RunError;
use crate::run::job::{Desk, Job};
use crate::run::summary::Summary;
use crate::stats::units::{Share, grouped};

#[derive(Debug)]
pub struct Describe {
    pub folder: PathBuf,
}

impl Job for Describe {
    fn kind(&self) -> &'static str {
        "describe"
    }

    fn title(&self) -> String {
        self.folder.display().to_string()
    }

    fn run(self: Box<Self>, desk: &Desk) -> Result<Summary, RunError> {
        let found = model_work(desk, 0, |tell| describe::describe(&self.folder, &desk.stop, tell))?;
        let mut document = serde_json::to_value(&found).map_err(RunError::cannot_tell)?;
        if let Value::Object(fields) = &mut document {
            fields.insert("schema".to_owned(), json!("serin.describe/1"));
        }
        let lines = lines(&found);
        Ok(Summary { title: self.title(), verdict: None, reason: String::new(), document, lines, stopped: false })
    }
}

fn lines(d: &Description) -> Vec<String> {
    let day = |s: u32| {
        jiff::Timestamp::from_second(i64::from(s))
            .map_or_else(|_| s.to_string(), |t| t.strftime("%Y-%m-%d").to_string())
    };
    let spread = |name: &str, s: &Spread| {
        let figure = |v: f64| if v.fract() == 0.0 { format!("{v:.0}") } else { format!("{v:.3}") };
        let [least, p10, median, mean, p90, most] = [s.least, s.p10, s.median, s.mean, s.p90, s.most].map(figure);
        format!("{name:24} {least:>9} {p10:>9} {median:>9} {mean:>9} {p90:>9} {most:>9}")
    };
    let days = f64::from(d.newest - d.oldest) / 86_400.0;
    let mut lines = vec![
        format!(
            "{} viewings ({} rows) of {} programmes by {} viewers",
            grouped(d.viewings),
            grouped(d.rows),
            grouped(d.programmes),
            grouped(d.viewers)
        ),
        format!("{} to {}, {days:.0} days; {} of all pairs", day(d.oldest), day(d.newest), Share(d.density)),
        format!("the most seen tenth of the programmes has {} of the viewings", Share(d.top_tenth)),
        String::new(),
        format!("{:24} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}", "", "least", "10 %", "median", "mean", "90 %", "most"),
        spread("viewings a viewer", &d.per_viewer),
        spread("viewings a programme", &d.per_programme),
        spread("value of a viewing", &d.value),
    ];
    if let Some(users) = d.users {
        let agreed = d.with_consent.map_or("no CONSENT column".to_owned(), |n| format!("{} with consent", grouped(n)));
        lines.push(format!("users.csv: {} users, {agreed}", grouped(users)));
    }
    if let (Some(items), Some(unseen)) = (d.items, d.unseen_items) {
        lines.push(format!("items.csv: {} programmes, {} of them without a viewing", grouped(items), grouped(unseen)));
    }
    if let Some(held) = d.heldout {
        lines.push(format!("heldout.csv: {} viewers", grouped(held)));
    }
    lines
}
