//! A data file that fills holes: CSV with a header, or JSON objects one a line; held whole, so bounded.

use std::path::Path;

use super::question::Rows;

const MOST_BYTES: u64 = 256 << 20;

/// Reads the file by its name's end, `.jsonl` or CSV.
pub fn read(path: &Path) -> Result<Rows, String> {
    let name = path.display();
    let failed = |e: &dyn std::fmt::Display| format!("{name} cannot be read: {e}");
    let size = std::fs::metadata(path).map_err(|e| failed(&e))?.len();
    if size > MOST_BYTES {
        return Err(format!("{name} is over 256 MiB; sample it"));
    }
    let json = path.extension().is_some_and(|e| e == "jsonl" || e == "ndjson");
    let rows = if json {
        jsonl(&std::fs::read_to_string(path).map_err(|e| failed(&e))?).map_err(|e| format!("{name}: {e}"))?
    } else {
        let mut reader = csv::Reader::from_path(path).map_err(|e| failed(&e))?;
        let columns = reader.headers().map_err(|e| failed(&e))?.iter().map(str::to_owned).collect();
        let rows = reader.records().map(|r| r.map(|r| r.iter().map(str::to_owned).collect()));
        Rows { columns, rows: rows.collect::<Result<_, _>>().map_err(|e| failed(&e))? }
    };
    if rows.rows.is_empty() { Err(format!("{name} holds no row")) } else { Ok(rows) }
}

fn jsonl(text: &str) -> Result<Rows, String> {
    let mut rows = Rows::default();
    for (number, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(line).map_err(|e| format!("line {}: {e}", number + 1))?;
        if rows.columns.is_empty() {
            rows.columns = object.keys().cloned().collect();
        }
        let cell = |column: &String| match object.get(column) {
            Some(serde_json::Value::String(s)) => Ok(s.clone()),
            Some(other) => Ok(other.to_string()),
            None => Err(format!("line {} has no `{column}`, which the first line has", number + 1)),
        };
        rows.rows.push(rows.columns.iter().map(cell).collect::<Result<_, _>>()?);
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_give_the_same_rows() {
        let dir = tempfile::tempdir().expect("a folder");
        let (a, b) = (dir.path().join("a.csv"), dir.path().join("b.jsonl"));
        std::fs::write(&a, "channel,n\nch-nine,3\n").expect("written");
        std::fs::write(&b, "{\"channel\": \"ch-nine\", \"n\": 3}\n").expect("written");
        for path in [a, b] {
            let rows = read(&path).expect("read");
            assert_eq!(rows.columns, ["channel", "n"]);
            assert_eq!(rows.rows, [["ch-nine", "3"]]);
        }
    }
}
