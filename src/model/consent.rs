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

    /// Takes consent back from everybody in the file of withdrawals that `serin serve` keeps; returns how many.
    pub fn withdraw(&mut self, path: &Path) -> Result<usize, ModelError> {
        let file = CsvFile::open(path)?;
        let id = file.needed("USER_ID")?;
        for (_, row) in &file.rows {
            self.withdraw_one(&row[id]);
        }
        Ok(file.rows.len())
    }

    fn withdraw_one(&mut self, viewer: &str) {
        let index = self.users.add(viewer) as usize;
        self.agreed.resize(self.users.len(), false);
        self.agreed[index] = false;
    }

    /// Whether consent is known at all.
    pub fn asked(&self) -> bool {
        self.asked
    }

    pub fn of(&self, viewer: &str) -> Answer {
        match self.users.find(viewer) {
            Some(i) if self.agreed[i as usize] => Answer::Yes,
            Some(_) => Answer::No,
            None if self.asked => Answer::Unknown,
            None => Answer::Yes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_withdrew_has_not_agreed_whatever_the_users_file_says() {
        let dir = tempfile::tempdir().expect("a folder");
        let (users, gone) = (dir.path().join("users.csv"), dir.path().join("forgotten.csv"));
        std::fs::write(&users, "USER_ID,CONSENT\na,true\nb,true\n").expect("written");
        std::fs::write(&gone, "USER_ID,AT\nb,1\nc,2\n").expect("written");
        let mut known = Consent::read(&users).expect("reads");
        let mut unknown = Consent::default();
        assert_eq!(known.withdraw(&gone).expect("reads"), 2);
        assert_eq!(unknown.withdraw(&gone).expect("reads"), 2);
        let of = |c: &Consent| ["a", "b", "c", "d"].map(|v| c.of(v));
        assert_eq!(of(&known), [Answer::Yes, Answer::No, Answer::No, Answer::Unknown]);
        assert_eq!(of(&unknown), [Answer::Yes, Answer::No, Answer::No, Answer::Yes]);
        assert!(!unknown.asked());
    }
}
