//! Viewings read, cleaned and settled: one row a viewer and programme, and what was dropped on the way.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::consent::{Answer, Consent};
use super::error::ModelError;
use super::event_value::EventValue;
use super::items::Durations;
use super::lines::each_piece;
use super::names::Names;
use super::rows::{Format, Layout, Row, Rows};
use crate::stats::progress::{Progress, Tell};
use crate::stop::Stop;

/// Where viewings come from, and how they are to be read.
#[derive(Clone, Debug)]
pub struct Source {
    pub interactions: Vec<PathBuf>,
    pub items: Option<PathBuf>,
    pub users: Option<PathBuf>,
    /// Who took consent back, whatever the users file says.
    pub withdrawn: Option<PathBuf>,
    pub format: Format,
    pub event: EventValue,
    /// Leaves out what is older than this, counted back from the newest viewing.
    pub since: Option<Duration>,
}

/// Viewings by viewer; each viewer's programmes ascend.
#[derive(Debug, Default)]
pub struct Dataset {
    pub viewers: Names,
    pub programmes: Names,
    /// Where each viewer's rows begin; one more than there are viewers.
    pub starts: Vec<u32>,
    pub programme: Vec<u32>,
    pub value: Vec<f32>,
    pub at: Vec<u32>,
    pub newest: u32,
    pub told: Told,
}

/// What was read and what was dropped, for reports.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Told {
    pub rows: u64,
    pub kept: u64,
    pub dropped: Dropped,
    /// Rows that had no value and count 1.
    pub without_value: u64,
    /// How several rows of one viewer and programme became one.
    pub rule: String,
    /// What stars were divided by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub largest: Option<f32>,
    /// Whether a users file said who agreed.
    pub consent_known: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Dropped {
    pub without_consent: u64,
    pub not_in_users: u64,
    /// Another row of the same viewer and programme.
    pub same_viewing: u64,
    pub negative: u64,
    pub without_duration: u64,
    pub too_old: u64,
}

impl Told {
    /// Returns the sentences that a person reads.
    pub fn lines(&self) -> Vec<String> {
        let d = &self.dropped;
        let mut lines = vec![format!("{} rows read, {} viewings kept", self.rows, self.kept)];
        let reasons = [
            (d.without_consent, "of viewers without consent"),
            (d.not_in_users, "of viewers who are not in the users file, so their consent is not known"),
            (d.too_old, "older than the window"),
            (d.negative, "with a negative value"),
            (d.without_duration, "of programmes whose DURATION_S is not known"),
            (d.same_viewing, "joined with another row of the same viewer and programme"),
        ];
        for (n, why) in reasons.into_iter().filter(|(n, _)| *n > 0) {
            lines.push(format!("dropped {n}: {why}"));
        }
        if d.same_viewing > 0 {
            lines.push(format!("rule: {}", self.rule));
        }
        if self.without_value > 0 {
            lines.push(format!("{} rows have no value and count 1", self.without_value));
        }
        if let Some(largest) = self.largest {
            lines.push(format!("values divided by {largest}, the largest"));
        }
        if !self.consent_known {
            lines.push("consent is not known: no users file with a CONSENT column was given".to_owned());
        }
        lines
    }
}

impl Dataset {
    pub fn read(source: &Source, stop: &Stop, tell: Tell) -> Result<Self, ModelError> {
        let mut consent = source.users.as_deref().map(Consent::read).transpose()?.unwrap_or_default();
        source.withdrawn.as_deref().map(|path| consent.withdraw(path)).transpose()?;
        let durations = match (source.event, &source.items) {
            (EventValue::Seconds, Some(items)) => Some(Durations::read(items)?),
            (EventValue::Seconds, None) => {
                let hint = "give the file that has ITEM_ID and DURATION_S with --items FILE";
                return Err(ModelError::asked("seconds need the programmes' lengths", hint));
            }
            _ => None,
        };
        let mut gathered = Gathered { consent, ..Gathered::default() };
        gathered.told.consent_known = gathered.consent.asked();
        source.event.rule().clone_into(&mut gathered.told.rule);
        let sizes: Vec<u64> = source.interactions.iter().map(|p| p.metadata().map_or(0, |m| m.len())).collect();
        let total = sizes.iter().sum::<u64>() as f64 / 1e6;
        let mut before = 0.0;
        let began = std::time::Instant::now();
        for (path, size) in source.interactions.iter().zip(sizes) {
            let layout = Layout::detect(path, source.format, source.event)?;
            each_piece(
                path,
                stop,
                |text, first| layout.parse(text, first),
                |rows, read| {
                    gathered.take(rows);
                    let done = (before + read as f64 / 1e6).min(total);
                    let left_s = Some(began.elapsed().as_secs_f64() * (total - done) / done.max(0.01));
                    let note = String::new();
                    tell(Progress {
                        task: "reading viewings".into(),
                        done,
                        total: Some(total),
                        unit: "MB".into(),
                        left_s,
                        note,
                    });
                    Ok(())
                },
            )?;
            before += size as f64 / 1e6;
        }
        gathered.settle(source, durations.as_ref())
    }

    pub fn len(&self) -> usize {
        self.programme.len()
    }

    pub fn is_empty(&self) -> bool {
        self.programme.is_empty()
    }

    /// Returns the rows of a viewer, as a range of the columns.
    pub fn rows(&self, viewer: usize) -> std::ops::Range<usize> {
        self.starts[viewer] as usize..self.starts[viewer + 1] as usize
    }
}

/// Rows as they come, before they are put in order.
#[derive(Default)]
struct Gathered {
    consent: Consent,
    viewers: Names,
    programmes: Names,
    rows: Vec<Row>,
    told: Told,
}

impl Gathered {
    fn take(&mut self, piece: Rows) {
        const NOBODY: u32 = u32::MAX;
        let answers: Vec<Answer> = piece.viewers.iter().map(|id| self.consent.of(id)).collect();
        let agreed = piece.viewers.iter().zip(&answers);
        let viewers: Vec<u32> =
            agreed.map(|(id, answer)| if *answer == Answer::Yes { self.viewers.add(id) } else { NOBODY }).collect();
        // A programme that only people without consent watched is found out later, when rows are put in order.
        let programmes: Vec<u32> = piece.programmes.iter().map(|id| self.programmes.add(id)).collect();
        self.told.rows += piece.rows.len() as u64 + piece.negative;
        self.told.dropped.negative += piece.negative;
        self.told.without_value += piece.without_value;
        for row in piece.rows {
            match answers[row.viewer as usize] {
                Answer::Yes => {
                    let (viewer, programme) = (viewers[row.viewer as usize], programmes[row.programme as usize]);
                    self.rows.push(Row { viewer, programme, ..row });
                }
                Answer::No => self.told.dropped.without_consent += 1,
                Answer::Unknown => self.told.dropped.not_in_users += 1,
            }
        }
    }

    fn settle(mut self, source: &Source, durations: Option<&Durations>) -> Result<Dataset, ModelError> {
        let newest = self.rows.iter().map(|r| r.at).max().unwrap_or(0);
        if let Some(window) = source.since {
            let oldest = newest.saturating_sub(u32::try_from(window.as_secs()).unwrap_or(u32::MAX));
            let before = self.rows.len();
            self.rows.retain(|r| r.at >= oldest);
            self.told.dropped.too_old += (before - self.rows.len()) as u64;
        }
        if let Some(durations) = durations {
            let known: Vec<bool> = self.programmes.iter().map(|p| durations.of(p).is_some()).collect();
            let before = self.rows.len();
            self.rows.retain(|r| known[r.programme as usize]);
            self.told.dropped.without_duration += (before - self.rows.len()) as u64;
        }
        let largest = match source.event {
            EventValue::Stars => self.rows.iter().map(|r| r.value).fold(0.0, f32::max),
            _ => 1.0,
        };
        if source.event == EventValue::Stars {
            self.told.largest = Some(largest);
        }
        if self.rows.is_empty() {
            let path = source.interactions.first().cloned().unwrap_or_default();
            let hint = self.told.lines().join("; ");
            return Err(ModelError::file(&path, "holds no viewing that may be used", hint));
        }
        let full: Option<Vec<f32>> =
            durations.map(|d| self.programmes.iter().map(|p| d.of(p).unwrap_or(1.0)).collect());
        let whole = |programme: u32| full.as_ref().map_or(largest.max(f32::MIN_POSITIVE), |f| f[programme as usize]);
        // A row without a value counts 1 after the division.
        for row in &mut self.rows {
            if row.value.is_nan() {
                row.value = whole(row.programme);
            }
        }
        let mut out = self.in_order(source.event);
        let divided = matches!(source.event, EventValue::Seconds | EventValue::Stars);
        for i in 0..if divided { out.value.len() } else { 0 } {
            out.value[i] = (out.value[i] / whole(out.programme[i])).min(1.0);
        }
        out.newest = newest;
        self.told.kept = out.len() as u64;
        self.told.dropped.same_viewing = self.told.rows
            - self.told.kept
            - [
                self.told.dropped.without_consent,
                self.told.dropped.not_in_users,
                self.told.dropped.too_old,
                self.told.dropped.negative,
                self.told.dropped.without_duration,
            ]
            .iter()
            .sum::<u64>();
        out.told = self.told;
        Ok(drop_unused(out, self.viewers, self.programmes))
    }

    /// Sorts by viewer, then by programme, and joins rows of one viewing.
    fn in_order(&mut self, event: EventValue) -> Dataset {
        let mut rows = std::mem::take(&mut self.rows);
        let in_order = rows.is_sorted_by_key(|r| r.viewer);
        if !in_order {
            // Stable, so that of two rows of one second the later line counts as the later one.
            rows.sort_by_key(|r| r.viewer);
        }
        let mut out = Dataset {
            starts: Vec::with_capacity(self.viewers.len() + 1),
            programme: Vec::with_capacity(rows.len()),
            value: Vec::with_capacity(rows.len()),
            at: Vec::with_capacity(rows.len()),
            ..Dataset::default()
        };
        out.starts.push(0);
        let mut from = 0;
        for viewer in 0..self.viewers.len() as u32 {
            let to = from + rows[from..].partition_point(|r| r.viewer == viewer);
            let own = &mut rows[from..to];
            own.sort_by_key(|r| r.programme);
            let first = out.programme.len();
            for row in own {
                let last = out.programme.len();
                if last > first && out.programme[last - 1] == row.programme {
                    let later = row.at >= out.at[last - 1];
                    out.value[last - 1] = event.join(out.value[last - 1], row.value, later);
                    out.at[last - 1] = out.at[last - 1].max(row.at);
                } else {
                    out.programme.push(row.programme);
                    out.value.push(if event == EventValue::None { 1.0 } else { row.value });
                    out.at.push(row.at);
                }
            }
            out.starts.push(out.programme.len() as u32);
            from = to;
        }
        out
    }
}

/// Leaves out ids that no row uses any more, and numbers the others anew in their old order.
fn drop_unused(mut data: Dataset, viewers: Names, programmes: Names) -> Dataset {
    let mut used = vec![false; programmes.len()];
    data.programme.iter().for_each(|p| used[*p as usize] = true);
    if used.iter().all(|u| *u) {
        data.programmes = programmes;
    } else {
        let mut map = vec![0; programmes.len()];
        for (i, id) in programmes.iter().enumerate().filter(|(i, _)| used[*i]) {
            map[i] = data.programmes.add(id);
        }
        data.programme.iter_mut().for_each(|p| *p = map[*p as usize]);
    }
    let idle = data.starts.windows(2).any(|w| w[0] == w[1]);
    if idle {
        let mut starts = vec![0];
        for (i, id) in viewers.iter().enumerate().filter(|(i, _)| data.starts[*i] < data.starts[*i + 1]) {
            data.viewers.add(id);
            starts.push(data.starts[i + 1]);
        }
        data.starts = starts;
    } else {
        data.viewers = viewers;
    }
    data
}
