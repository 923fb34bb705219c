//! A data set at a glance: how much, how wide, how even, from when.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::csv_file::CsvFile;
use super::dataset::{Dataset, Source};
use super::error::ModelError;
use super::event_value::EventValue;
use super::rows::Format;
use crate::stats::progress::Tell;
use crate::stop::Stop;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description {
    pub rows: u64,
    pub viewings: u64,
    pub viewers: u64,
    pub programmes: u64,
    /// The share of all pairs that have a viewing.
    pub density: f64,
    /// Unix seconds.
    pub oldest: u32,
    pub newest: u32,
    pub per_viewer: Spread,
    pub per_programme: Spread,
    pub value: Spread,
    /// The share of all viewings that the most seen tenth of the programmes has.
    pub top_tenth: f64,
    /// Viewers of the users file, and how many of them agreed; `None` without one, or without a CONSENT column.
    pub users: Option<u64>,
    pub with_consent: Option<u64>,
    /// Programmes of the items file, and how many of them nobody watched.
    pub items: Option<u64>,
    pub unseen_items: Option<u64>,
    pub heldout: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    pub least: f64,
    pub p10: f64,
    pub median: f64,
    pub mean: f64,
    pub p90: f64,
    pub most: f64,
}

impl Spread {
    /// Returns the spread of values that are not empty.
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        Self { least: at(0.0), p10: at(0.1), median: at(0.5), mean, p90: at(0.9), most: at(1.0) }
    }
}

/// Describes the CSV files of a folder; values may be of any kind, so none is out of range here.
pub fn describe(folder: &Path, stop: &Stop, tell: Tell) -> Result<Description, ModelError> {
    let interactions = folder.join("interactions.csv");
    if !interactions.is_file() {
        let hint = "make one with: serin data synth --out DIR, or serin data import FILE --out DIR";
        return Err(ModelError::file(folder, "holds no interactions.csv", hint));
    }
    let optional = |name: &str| Some(folder.join(name)).filter(|p| p.is_file());
    // Counts keep values as they stand; a file without the column is read as one viewing a row.
    let valued = super::rows::Layout::detect(&interactions, Format::Personalize, EventValue::Completion)?.has_value();
    let event = if valued { EventValue::Count } else { EventValue::None };
    let source = Source {
        interactions: vec![interactions],
        items: None,
        users: None,
        withdrawn: None,
        format: Format::Personalize,
        event,
        since: None,
    };
    let data = Dataset::read(&source, stop, tell)?;
    let mut seen = vec![0_u64; data.programmes.len()];
    data.programme.iter().for_each(|p| seen[*p as usize] += 1);
    let per_viewer = (0..data.viewers.len()).map(|v| data.rows(v).len() as f64).collect();
    let per_programme = seen.iter().map(|n| *n as f64).collect();
    seen.sort_unstable_by(|a, b| b.cmp(a));
    let top: u64 = seen[..seen.len().div_ceil(10)].iter().sum();
    let mut out = Description {
        rows: data.told.rows,
        viewings: data.len() as u64,
        viewers: data.viewers.len() as u64,
        programmes: data.programmes.len() as u64,
        density: data.len() as f64 / data.viewers.len() as f64 / data.programmes.len() as f64,
        oldest: data.at.iter().copied().min().unwrap_or(0),
        newest: data.newest,
        per_viewer: Spread::of(per_viewer),
        per_programme: Spread::of(per_programme),
        value: Spread::of(data.value.iter().map(|v| f64::from(*v)).collect()),
        top_tenth: top as f64 / data.len() as f64,
        users: None,
        with_consent: None,
        items: None,
        unseen_items: None,
        heldout: None,
    };
    if let Some(path) = optional("users.csv") {
        let consent = super::consent::Consent::read(&path)?;
        let file = CsvFile::open(&path)?;
        let id = file.needed("USER_ID")?;
        out.users = Some(file.rows.len() as u64);
        let agreed = file.rows.iter().filter(|(_, row)| consent.of(&row[id]) == super::consent::Answer::Yes).count();
        out.with_consent = consent.asked().then_some(agreed as u64);
    }
    if let Some(path) = optional("items.csv") {
        let file = CsvFile::open(&path)?;
        let id = file.needed("ITEM_ID")?;
        out.items = Some(file.rows.len() as u64);
        out.unseen_items =
            Some(file.rows.iter().filter(|(_, row)| data.programmes.find(&row[id]).is_none()).count() as u64);
    }
    if let Some(path) = optional("heldout.csv") {
        out.heldout = Some(CsvFile::open(&path)?.rows.len() as u64);
    }
    Ok(out)
}
