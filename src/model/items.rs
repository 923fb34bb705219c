//! The programmes' own file, as far as training needs it: how long each lasts.

use std::path::Path;

use super::csv_file::CsvFile;
use super::error::{ModelError, shown};
use super::names::Names;

/// DURATION_S of each programme; `None` where it is empty or zero.
#[derive(Clone, Debug, Default)]
pub struct Durations {
    programmes: Names,
    seconds: Vec<Option<f32>>,
}

impl Durations {
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        let file = CsvFile::open(path)?;
        let id = file.needed("ITEM_ID")?;
        let column = file.needed("DURATION_S")?;
        let mut durations = Self::default();
        for (line, row) in &file.rows {
            let text = &row[column];
            let seconds = match text.parse::<f32>() {
                _ if text.is_empty() => None,
                Ok(s) if s.is_finite() && s >= 0.0 => (s > 0.0).then_some(s),
                _ => {
                    let what = format!("DURATION_S {} is not a length in seconds", shown(text.as_bytes()));
                    return Err(file.wrong(*line, what, "write seconds, such as 2700, or leave the field empty"));
                }
            };
            if durations.programmes.add(&row[id]) as usize == durations.seconds.len() {
                durations.seconds.push(seconds);
            }
        }
        Ok(durations)
    }

    pub fn of(&self, programme: &str) -> Option<f32> {
        self.programmes.find(programme).and_then(|i| self.seconds[i as usize])
    }
}
