//! Reads Prometheus' text exposition: bounded, and a line that is none refuses the whole page.

/// The most series that one page may hold.
const MOST: usize = 50_000;

/// One series of a page: its name, its labels, its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    pub name: String,
    pub labels: Vec<(String, String)>,
    pub value: f64,
}

impl Reading {
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// Whether a body is a web page, which a proxy or a login likes to answer in somebody's place.
pub fn is_page(body: &str) -> bool {
    body.trim_start().starts_with('<')
}

/// Returns every series of a page, or the number of the first bad line and what is wrong with it.
pub fn parse(text: &str) -> Result<Vec<Reading>, String> {
    let mut out = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if out.len() == MOST {
            return Err(format!("it has more than {MOST} series"));
        }
        out.push(reading(line).ok_or_else(|| {
            let shown: String = line.chars().take(60).collect();
            format!("line {} is `{shown}`", at + 1)
        })?);
    }
    Ok(out)
}

fn reading(line: &str) -> Option<Reading> {
    let end = line.find(|c: char| c == '{' || c.is_whitespace())?;
    let (name, rest) = line.split_at(end);
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    if name.is_empty() || !name.chars().all(fits) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inside) => labels(inside)?,
        None => (Vec::new(), rest),
    };
    // A value, then perhaps a timestamp, then perhaps an exemplar after `#`.
    let mut words = rest.split_whitespace();
    let value = number(words.next()?)?;
    match words.next() {
        None => {}
        Some(word) if word.starts_with('#') || word.parse::<f64>().is_ok() => {}
        Some(_) => return None,
    }
    Some(Reading { name: name.to_owned(), labels, value })
}

/// Reads `a="b",c="d"} rest`; returns the labels and the rest.
fn labels(mut text: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut out = Vec::new();
    loop {
        text = text.trim_start_matches([',', ' ']);
        if let Some(rest) = text.strip_prefix('}') {
            return Some((out, rest));
        }
        let (name, rest) = text.split_once('=')?;
        let rest = rest.trim_start().strip_prefix('"')?;
        let mut value = String::new();
        let mut chars = rest.char_indices();
        let end = loop {
            match chars.next()? {
                (at, '"') => break at,
                (_, '\\') => value.push(match chars.next()?.1 {
                    'n' => '\n',
                    other => other,
                }),
                (_, c) => value.push(c),
            }
        };
        out.push((name.trim().to_owned(), value));
        text = &rest[end + 1..];
    }
}

fn number(word: &str) -> Option<f64> {
    match word {
        "+Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        word => word.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_prometheus_documents() {
        let page = "# HELP x y\n# TYPE x counter\nx_total{code=\"200\",path=\"/a\\\"b\\\\c\\n\",} 1027 1395066363000\n\
                    x_bucket{le=\"+Inf\"} 3 # {trace=\"1\"} 0.5\nup 1\nnothing NaN\n";
        let read = parse(page).expect("reads");
        assert_eq!(read.len(), 4);
        assert_eq!((read[0].label("path"), read[0].value), (Some("/a\"b\\c\n"), 1027.0));
        assert_eq!(read[1].label("le"), Some("+Inf"));
        assert!(read[3].value.is_nan());
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        assert_eq!(parse("up 1\nwhat is this\n"), Err("line 2 is `what is this`".to_owned()));
        for bad in ["x{a=\"b} 1", "x{a} 1", "x", "9x 1", "x one", "{a=\"b\"} 1"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(is_page("\n<!DOCTYPE html>") && !is_page("up 1"));
    }

    proptest! {
        #[test]
        fn no_page_breaks_it(text in "[a-z{}=\"\\\\, 0-9#\n.+é-]{0,200}") {
            let _ = parse(&text);
        }

        #[test]
        fn what_is_written_is_read_back(name in "[a-z_]{1,12}", label in "[a-z]{1,6}", value in ".{0,20}", number in -1e12..1e12f64) {
            let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            prop_assume!(!value.contains(['\r', '\u{85}', '\u{2028}', '\u{2029}']));
            let read = parse(&format!("{name}{{{label}=\"{escaped}\"}} {number}\n")).expect("reads");
            prop_assert_eq!(&read[0], &Reading { name, labels: vec![(label, value)], value: number });
        }
    }
}
