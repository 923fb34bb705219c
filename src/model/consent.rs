//! Who agreed: users.csv, and which viewers may enter a model.

use std::path::Path;

use super::csv_file::CsvFile;
use super::error::{ModelError, shown};
use super::names::Names;

/// Every known user with the consent they gave; without a CONSENT column nothing is known and everybody stays.
#[derive(Clone, Debug, Default)]
pub struct Consent {
    users: Names,
    agreed: Vec<bool>,
    asked: bool,
}

/// What a users file says of a viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Yes,
    No,
    /// Not in the users file, which does hold consents.
    Unknown,
}

impl Consent {
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        let file = CsvFile::open(path)?;
        let id = file.needed("USER_ID")?;
        let Some(column) = file.column("CONSENT") else { return Ok(Self::default()) };
        let mut consent = Self { asked: true, ..Self::default() };
        for (line, row) in &file.rows {
            let agreed = match row[column].to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" => true,
                "false" | "0" | "no" | "" => false,
                other => {
                    let what = format!("CONSENT {} is neither true nor false", shown(other.as_bytes()));
                    return Err(file.wrong(*line, what, "write true or false; an empty one is no consent"));
                }
            };
            let index = consent.users.add(&row[id]) as usize;
            if index == consent.agreed.len() {
                consent.agreed.push(agreed);
            } else {
                // Told twice: only who agreed each time has agreed.
                consent.agreed[index] &= agreed;
            }
        }
        Ok(consent)
    }

    /// Whether consent is known at all.
    pub fn asked(&self) -> bool {
        self.asked
    }

    pub fn of(&self, viewer: &str) -> Answer {
        if !self.asked {
            return Answer::Yes;
        }
        match self.users.find(viewer) {
            Some(i) if self.agreed[i as usize] => Answer::Yes,
            Some(_) => Answer::No,
            None => Answer::Unknown,
        }
    }
}
