//! Prometheus' HTTP API as text: the address of a question, and its answer read back as pages of counters.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::exposition::{Reading, is_page};

/// One series: its labels, and what it was at each moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub labels: BTreeMap<String, String>,
    pub values: Vec<(f64, String)>,
}

#[derive(Deserialize)]
struct Answer {
    status: String,
    #[serde(default)]
    error: String,
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(default)]
    result: Vec<Told>,
}

#[derive(Deserialize)]
struct Told {
    metric: BTreeMap<String, String>,
    #[serde(default)]
    values: Vec<(f64, String)>,
    value: Option<(f64, String)>,
}

/// Returns the address of a range query; times are Unix seconds.
pub fn range(root: &str, query: &str, (from, to): (f64, f64), step: f64) -> String {
    address(root, "query_range", query, &format!("start={from}&end={to}&step={step}"))
}

/// Returns the address of an instant query.
pub fn instant(root: &str, query: &str, at: f64) -> String {
    address(root, "query", query, &format!("time={at}"))
}

fn address(root: &str, kind: &str, query: &str, when: &str) -> String {
    format!("{}/api/v1/{kind}?query={}&{when}", root.trim_end_matches('/'), encoded(query))
}

fn encoded(text: &str) -> String {
    let one = |b: u8| match b {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => (b as char).to_string(),
        b => format!("%{b:02X}"),
    };
    text.bytes().map(one).collect()
}

/// Reads an answer of either kind; an error says in a person's words what it is instead.
pub fn rows(body: &str) -> Result<Vec<Row>, String> {
    if is_page(body) {
        return Err("it is a web page: is a login or another service in front of it?".to_owned());
    }
    let answer: Answer = serde_json::from_str(body).map_err(|e| e.to_string())?;
    match answer.data {
        Some(data) if answer.status == "success" => {
            let row =
                |told: Told| Row { labels: told.metric, values: told.values.into_iter().chain(told.value).collect() };
            Ok(data.result.into_iter().map(row).collect())
        }
        _ => Err(format!("{} {}", answer.status, answer.error).trim().to_owned()),
    }
}

/// Puts the series of each instance and moment (Unix milliseconds) together again, as one page each.
pub fn pages(rows: Vec<Row>) -> BTreeMap<(String, i64), Vec<Reading>> {
    let mut pages: BTreeMap<(String, i64), Vec<Reading>> = BTreeMap::new();
    for row in rows {
        let instance = row.labels.get("instance").cloned().unwrap_or_default();
        let name = row.labels.get("__name__").cloned().unwrap_or_default();
        let labels: Vec<_> = row.labels.into_iter().collect();
        for (at, value) in row.values {
            // A value that is no number is a gap.
            let Ok(value) = value.parse() else { continue };
            let reading = Reading { name: name.clone(), labels: labels.clone(), value };
            pages.entry((instance.clone(), (at * 1000.0) as i64)).or_default().push(reading);
        }
    }
    pages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_has_its_query_encoded() {
        let asked = range("http://p:9090/", "{a=\"b\"}", (1.0, 2.5), 5.0);
        assert_eq!(asked, "http://p:9090/api/v1/query_range?query=%7Ba%3D%22b%22%7D&start=1&end=2.5&step=5");
        assert_eq!(instant("http://p:9090", "up", 7.0), "http://p:9090/api/v1/query?query=up&time=7");
    }

    #[test]
    fn an_answer_is_read_and_what_is_none_says_what_it_is() {
        let vector = r#"{"status":"success","data":{"resultType":"vector","result":[
            {"metric":{"__name__":"up","instance":"a:1"},"value":[10.5,"1"]}]}}"#;
        let pages = pages(rows(vector).expect("reads"));
        let page = &pages[&("a:1".to_owned(), 10_500)];
        assert_eq!((page[0].name.as_str(), page[0].value, page[0].label("instance")), ("up", 1.0, Some("a:1")));
        for (bad, expected) in [
            ("<!DOCTYPE html><title>Sign in</title>", "web page"),
            (r#"{"status":"error","errorType":"bad_data","error":"parse error"}"#, "parse error"),
            ("{", "EOF"),
            (r#"{"status":"success"}"#, "success"),
        ] {
            let said = rows(bad).expect_err(bad);
            assert!(said.contains(expected), "{bad}: {said}");
        }
    }
}
