//! Other layouts into serin's CSV files: viewings cleaned and settled, items and users carried over.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::consent::{Answer, Consent};
use super::csv_file::{CsvFile, quoted, utf8};
use super::dataset::{Dataset, Source};
use super::error::ModelError;
use super::event_value::EventValue;
use super::rows::Format;

/// Writes a settled data set, with its items and users, into a folder; all files or none.
pub fn write(folder: &Path, data: &Dataset, source: &Source) -> Result<(), ModelError> {
    fs::create_dir_all(folder).map_err(ModelError::writing(folder))?;
    let mut parts = Parts { folder, names: Vec::new() };
    let items = match (&source.items, source.format) {
        (Some(path), Format::Personalize) => carried(path, "ITEM_ID", |_| true)?,
        (Some(path), Format::Movielens) => movies(path)?,
        (None, _) => std::iter::once("ITEM_ID\n".to_owned())
            .chain(data.programmes.iter().map(|id| format!("{}\n", quoted(id))))
            .collect(),
    };
    parts.write("items.csv", |out| out.write_all(items.as_bytes()))?;
    if let Some(path) = &source.users {
        let consent = Consent::read(path)?;
        let users = carried(path, "USER_ID", |id| consent.of(id) == Answer::Yes)?;
        parts.write("users.csv", |out| out.write_all(users.as_bytes()))?;
    }
    let kind = if source.event == EventValue::Stars { "rating" } else { "watch" };
    parts.write("interactions.csv", |out| {
        writeln!(out, "USER_ID,ITEM_ID,TIMESTAMP,EVENT_TYPE,EVENT_VALUE")?;
        let programmes: Vec<String> = data.programmes.iter().map(quoted).collect();
        for viewer in 0..data.viewers.len() {
            let id = quoted(data.viewers.get(viewer as u32));
            for i in data.rows(viewer) {
                let programme = &programmes[data.programme[i] as usize];
                writeln!(out, "{id},{programme},{},{kind},{}", data.at[i], data.value[i])?;
            }
        }
        Ok(())
    })?;
    parts.in_place()
}

/// The files while they are written.
struct Parts<'a> {
    folder: &'a Path,
    names: Vec<&'static str>,
}

impl Parts<'_> {
    fn part(&self, name: &str) -> PathBuf {
        self.folder.join(format!(".{name}.part"))
    }

    fn write(
        &mut self,
        name: &'static str,
        fill: impl FnOnce(&mut BufWriter<fs::File>) -> io::Result<()>,
    ) -> Result<(), ModelError> {
        let path = self.part(name);
        self.names.push(name);
        let made = fs::File::create(&path).and_then(|file| {
            let mut out = BufWriter::with_capacity(1 << 20, file);
            fill(&mut out)?;
            out.flush()
        });
        made.map_err(ModelError::writing(&path))
    }

    fn in_place(mut self) -> Result<(), ModelError> {
        for name in std::mem::take(&mut self.names) {
            let path = self.folder.join(name);
            fs::rename(self.part(name), &path).map_err(ModelError::writing(&path))?;
        }
        Ok(())
    }
}

impl Drop for Parts<'_> {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = fs::remove_file(self.part(name));
        }
    }
}

/// Copies a Personalize file, its columns in upper case, with the rows whose id `keep` wants.
fn carried(path: &Path, id: &str, keep: impl Fn(&str) -> bool) -> Result<String, ModelError> {
    let file = CsvFile::open(path)?;
    let column = file.needed(id)?;
    let mut out = joined(file.columns.iter().map(String::as_str));
    for (_, row) in file.rows.iter().filter(|(_, row)| keep(&row[column])) {
        out += &joined(row.iter());
    }
    Ok(out)
}

/// Reads MovieLens titles: `movieId,title,genres` with a header, or `id::title::genres` without.
fn movies(path: &Path) -> Result<String, ModelError> {
    let bytes = fs::read(path).map_err(ModelError::reading(path))?;
    let mut out = "ITEM_ID,TITLE,GENRE\n".to_owned();
    let text = utf8(path, &bytes)?;
    if !text.lines().next().unwrap_or_default().contains("::") {
        let file = CsvFile::open(path)?;
        let [id, title, genres] = ["MOVIEID", "TITLE", "GENRES"].map(|name| file.needed(name));
        let (id, title, genres) = (id?, title?, genres?);
        file.rows.iter().for_each(|(_, row)| out += &joined([&row[id], &row[title], &row[genres]].into_iter()));
        return Ok(out);
    }
    for (i, line) in text.lines().enumerate().filter(|(_, l)| !l.is_empty()) {
        let fields: Vec<&str> = line.split("::").collect();
        if fields.len() != 3 {
            let what = format!("{} fields, not id::title::genres", fields.len());
            let hint = "mend the line, or leave it out".to_owned();
            return Err(ModelError::Line { path: path.to_owned(), line: i as u64 + 1, what, hint });
        }
        out += &joined(fields.into_iter());
    }
    Ok(out)
}

fn joined<'a>(fields: impl Iterator<Item = &'a str>) -> String {
    let fields: Vec<String> = fields.map(quoted).collect();
    fields.join(",") + "\n"
}
