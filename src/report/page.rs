//! A page before it has a form: verdict first, then sections of sentences, tables and pictures.

use crate::judge::verdict::Verdict;
use crate::stats::units::Millis;

#[derive(Clone, Debug, Default)]
pub struct Page {
    pub title: String,
    pub verdict: Option<Verdict>,
    pub reason: String,
    /// One line under the verdict: asked, sent, answered.
    pub gist: String,
    pub sections: Vec<Section>,
    /// The line that repeats the run.
    pub again: String,
}

#[derive(Clone, Debug, Default)]
pub struct Section {
    pub title: String,
    /// Whether a short form shows it at once; others are folded away there.
    pub first: bool,
    pub blocks: Vec<Block>,
}

#[derive(Clone, Debug)]
pub enum Block {
    Text(String),
    Table(Table),
    Heat(Heat),
    Lines(Lines),
    Curve(Curve),
}

#[derive(Clone, Debug, Default)]
pub struct Table {
    pub caption: String,
    pub head: Vec<Column>,
    pub rows: Vec<Row>,
}

#[derive(Clone, Debug)]
pub struct Column {
    pub title: String,
    /// Numbers stand at the right.
    pub number: bool,
}

#[derive(Clone, Debug)]
pub struct Row {
    pub cells: Vec<String>,
    pub tone: Tone,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    #[default]
    Plain,
    Good,
    Bad,
    Unknown,
}

/// Latency over time: a column a slice of time, a row a band.
#[derive(Clone, Debug)]
pub struct Heat {
    pub caption: String,
    /// The same, told in words.
    pub told: String,
    pub each_s: u32,
    /// Upper bounds, ascending; one more band lies above the last.
    pub bounds: Vec<Millis>,
    pub limit: Option<Millis>,
    /// For each slice the share of its answers in each band; `None` is a gap.
    pub slices: Vec<Option<Vec<f64>>>,
}

/// Values over time, with the objective's line drawn through.
#[derive(Clone, Debug)]
pub struct Lines {
    pub caption: String,
    pub told: String,
    pub each_s: u32,
    pub series: Vec<Series>,
    pub limit: Option<f64>,
    /// How a value is written at the axis.
    pub unit: Unit,
}

/// One value against another, the seen and the guessed apart.
#[derive(Clone, Debug)]
pub struct Curve {
    pub caption: String,
    pub told: String,
    /// What is counted along the bottom; the highest stands at the left.
    pub along: String,
    pub points: Vec<Point>,
    pub limit: Option<f64>,
    pub unit: Unit,
}

#[derive(Clone, Copy, Debug)]
pub struct Point {
    pub x: f64,
    pub y: f64,
    pub guess: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Millis,
    PerSecond,
    Share,
}

#[derive(Clone, Debug)]
pub struct Series {
    pub name: String,
    pub values: Vec<Option<f64>>,
}

impl Table {
    /// Begins a table; a title that ends in `#` is a column of numbers.
    pub fn new(caption: impl Into<String>, head: &[&str]) -> Self {
        let column = |t: &&str| Column { title: t.trim_end_matches('#').to_owned(), number: t.ends_with('#') };
        Self { caption: caption.into(), head: head.iter().map(column).collect(), rows: Vec::new() }
    }

    pub fn row(&mut self, tone: Tone, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.rows.push(Row { cells: cells.into_iter().map(Into::into).collect(), tone });
    }
}
