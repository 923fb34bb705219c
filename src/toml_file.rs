//! Reads a TOML file that people write: an error names file, line, column, and the nearest right key.

use std::path::Path;

use serde::de::DeserializeOwned;

/// The most that such a file may hold; a scenario is a page, not a book.
const MOST_BYTES: u64 = 1 << 20;

#[derive(Debug, thiserror::Error)]
#[error("{name}{place}: {what}")]
pub struct TomlError {
    name: String,
    place: String,
    what: String,
}

impl TomlError {
    /// An error about a whole file, or about a value that was read well but cannot be meant.
    pub fn about(name: &str, what: impl Into<String>) -> Self {
        Self { name: name.to_owned(), place: String::new(), what: what.into() }
    }

    /// An error at a byte of the text, shown as line and column; `toml::Spanned` carries such places.
    pub fn at(name: &str, text: &str, byte: usize, what: impl Into<String>) -> Self {
        let before = &text[..byte.min(text.len())];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |l| l.chars().count()) + 1;
        Self { name: name.to_owned(), place: format!(":{line}:{column}"), what: what.into() }
    }
}

/// Reads the file at `path`; types use `#[serde(deny_unknown_fields)]`.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T, TomlError> {
    parse(&path.display().to_string(), &text(path)?)
}

/// Returns the text of a file people write, bounded in size.
pub fn text(path: &Path) -> Result<String, TomlError> {
    let name = path.display().to_string();
    let failed = |e: std::io::Error| TomlError::about(&name, format!("cannot be read: {e}"));
    if std::fs::metadata(path).map_err(failed)?.len() > MOST_BYTES {
        return Err(TomlError::about(&name, "is over 1 MiB, which no file of this kind needs"));
    }
    std::fs::read_to_string(path).map_err(failed)
}

/// Reads `text`; `name` is what its errors call it.
pub fn parse<T: DeserializeOwned>(name: &str, text: &str) -> Result<T, TomlError> {
    toml::from_str(text).map_err(|e| {
        let what = with_nearest(e.message().trim());
        match e.span() {
            Some(span) => TomlError::at(name, text, span.start, what),
            None => TomlError::about(name, what),
        }
    })
}

/// Turns serde's "unknown field `rat`, expected one of `rate`, `for`" into one with a proposal.
fn with_nearest(message: &str) -> String {
    let Some(rest) = message.strip_prefix("unknown field `") else { return message.to_owned() };
    let mut quoted = rest.split('`');
    let wrong = quoted.next().unwrap_or_default();
    let known: Vec<&str> = quoted.skip(1).step_by(2).collect();
    match nearest(wrong, known.iter().copied()) {
        Some(right) => format!("unknown key `{wrong}`; did you mean `{right}`?"),
        None => format!("unknown key `{wrong}`; known here: {}", known.join(", ")),
    }
}

/// Returns the known word most like `wrong`, if any is like it at all.
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known.into_iter().map(|k| (strsim::jaro_winkler(&wrong.to_lowercase(), &k.to_lowercase()), k));
    scored.filter(|(score, _)| *score > 0.75).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, k)| k)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Stage {
        #[allow(dead_code)]
        rate: f64,
    }

    #[test]
    fn an_unknown_key_names_place_and_nearest() {
        let error = parse::<Stage>("evening.toml", "\n rat = 5").expect_err("refused").to_string();
        assert_eq!(error, "evening.toml:2:2: unknown key `rat`; did you mean `rate`?");
    }

    #[test]
    fn a_wrong_type_names_its_place() {
        let error = parse::<Stage>("evening.toml", "rate = 'much'").expect_err("refused").to_string();
        assert!(error.starts_with("evening.toml:1:8: invalid type"), "{error}");
    }
}
