//! What filters may know of viewers: columns of the users file that some filter looks at, and no others.

use std::collections::HashMap;
use std::path::Path;

use super::error::ServeError;
use crate::model::csv_file::CsvFile;

/// A value by column, in upper case, and viewer.
#[derive(Debug, Default)]
pub struct Viewers(HashMap<String, HashMap<Box<str>, Box<str>>>);

impl Viewers {
    /// Reads the columns that are asked for, in upper case; each must be there.
    pub fn read(path: &Path, columns: &[String]) -> Result<Self, ServeError> {
        let wrong = |e: crate::model::error::ModelError| ServeError::Setting(e.to_string());
        let file = CsvFile::open(path).map_err(wrong)?;
        let id = file.needed("USER_ID").map_err(wrong)?;
        let mut held = HashMap::new();
        for name in columns {
            let column = file.needed(name).map_err(wrong)?;
            let rows = file.rows.iter().filter(|(_, row)| !row[column].is_empty());
            held.insert(name.clone(), rows.map(|(_, row)| (Box::from(&row[id]), Box::from(&row[column]))).collect());
        }
        Ok(Self(held))
    }

    pub fn value(&self, viewer: &str, column: &str) -> Option<&str> {
        self.0.get(&column.to_uppercase())?.get(viewer).map(|v| &**v)
    }
}
