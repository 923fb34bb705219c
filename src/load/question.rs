//! What is asked: one request, and the weighted mix that the requests of a run are drawn from.

use std::sync::Arc;

use rand::RngExt;
use rand_pcg::Pcg64Mcg;

use super::audience::{Audience, chance};
use super::template::{Filling, Template};

/// One request before it has a host, a token and a wire; reused from request to request.
#[derive(Clone, Debug, Default)]
pub struct Question {
    pub endpoint: u16,
    pub method: &'static str,
    /// Path and query.
    pub path: Vec<u8>,
    /// Whole lines, `Name: value\r\n`.
    pub headers: Vec<u8>,
    pub body: Vec<u8>,
    pub viewer: String,
}

impl Question {
    pub fn clear(&mut self) {
        self.path.clear();
        self.headers.clear();
        self.body.clear();
        self.viewer.clear();
    }

    /// Returns `GET /path`, for an example of what failed.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, String::from_utf8_lossy(&self.path))
    }
}

/// Whoever knows the requests of a run: a scenario's mix, or a recorded log.
pub trait Asker: Send + Sync {
    /// Names of the endpoints; questions refer to them by index.
    fn endpoints(&self) -> Vec<String>;

    /// Writes the question of one place in the schedule: always the same one.
    fn ask(&self, index: u64, question: &mut Question);

    /// Writes the question of one viewer: the `viewer`-th of the crowd asks for this kind, or for one drawn by weight.
    fn ask_as(&self, index: u64, _viewer: u64, _kind: Option<u16>, question: &mut Question) {
        self.ask(index, question);
    }

    /// What an answer of this endpoint must also be, beyond a good status.
    fn check(&self, _endpoint: u16) -> Option<&Check> {
        None
    }
}

/// What a good answer holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Check {
    /// The only status that counts as good.
    pub status: Option<u16>,
    /// A JSON pointer that must be there: `/items/0/id`.
    pub has: Option<String>,
    /// A JSON pointer to a list, and the least it must hold.
    pub at_least: Option<(String, usize)>,
    /// A JSON pointer to a list, a field of its members, and the value that each of them must have.
    pub every: Option<(String, String, String)>,
}

impl Check {
    pub fn reads_body(&self) -> bool {
        self.has.is_some() || self.at_least.is_some() || self.every.is_some()
    }

    /// Returns what is wrong with an answer, if anything is.
    pub fn fault(&self, status: u16, body: &[u8]) -> Option<String> {
        if let Some(wanted) = self.status.filter(|s| *s != status) {
            return Some(format!("status {status} where {wanted} was wanted"));
        }
        if !self.reads_body() {
            return None;
        }
        let json: serde_json::Value = match serde_json::from_slice(body) {
            Ok(json) => json,
            Err(e) => return Some(format!("the body is no JSON: {e}")),
        };
        if let Some(pointer) = self.has.as_ref().filter(|p| json.pointer(p).is_none_or(serde_json::Value::is_null)) {
            return Some(format!("the body has no {pointer}"));
        }
        let list = |pointer: &str| json.pointer(pointer).and_then(serde_json::Value::as_array);
        if let Some((pointer, least)) = &self.at_least {
            let seen = list(pointer).map_or(0, Vec::len);
            if seen < *least {
                return Some(format!("{pointer} holds {seen} where at least {least} were wanted"));
            }
        }
        if let Some((pointer, field, value)) = &self.every {
            let Some(all) = list(pointer) else {
                return Some(format!("the body has no list {pointer}, whose {field} was to be {value}"));
            };
            let wrong = all.iter().find(|item| !holds(item.get(field), value));
            if let Some(item) = wrong {
                let seen = item.get(field).map_or("nothing".to_owned(), ToString::to_string);
                return Some(format!("{pointer} holds one whose {field} is {seen}, not {value}"));
            }
        }
        None
    }
}

/// Whether a field is the value, or a list or `a|b` text that holds it.
fn holds(field: Option<&serde_json::Value>, value: &str) -> bool {
    match field {
        Some(serde_json::Value::String(s)) => s.split('|').any(|part| part == value),
        Some(serde_json::Value::Array(all)) => all.iter().any(|one| holds(Some(one), value)),
        Some(other) => format!("{other}") == value,
        None => false,
    }
}

/// Rows that fill holes: a CSV or JSONL file, held whole.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

/// One kind of request of a mix.
#[derive(Clone, Debug)]
pub struct Kind {
    pub name: String,
    pub weight: f64,
    pub method: &'static str,
    pub path: Template,
    pub headers: Vec<(String, Template)>,
    pub body: Option<Template>,
    pub check: Option<Check>,
}

impl Kind {
    fn templates(&mut self) -> impl Iterator<Item = &mut Template> {
        let headers = self.headers.iter_mut().map(|(_, t)| t);
        std::iter::once(&mut self.path).chain(headers).chain(&mut self.body)
    }

    pub fn asks_campaign(&mut self) -> bool {
        self.templates().any(|t| t.asks_campaign())
    }

    /// Fills in the target's campaign.
    pub fn settle(&mut self, campaign: &str) {
        self.templates().for_each(|t| t.settle(campaign));
    }
}

/// A weighted choice of requests, viewers and data rows: a pure function of seed and index.
#[derive(Clone)]
pub struct Mix {
    kinds: Vec<Kind>,
    /// Running sums of the weights.
    sums: Vec<f64>,
    audience: Option<Arc<Audience>>,
    rows: Arc<Rows>,
    seed: u64,
    /// Whether every request is the very same text.
    plain: bool,
}

impl Mix {
    pub fn new(kinds: Vec<Kind>, audience: Option<Arc<Audience>>, rows: Arc<Rows>, seed: u64) -> Self {
        let sums = kinds.iter().scan(0.0, |sum, k| {
            *sum += k.weight;
            Some(*sum)
        });
        let fixed = |k: &Kind| {
            k.path.is_plain()
                && k.headers.iter().all(|(_, t)| t.is_plain())
                && k.body.as_ref().is_none_or(Template::is_plain)
        };
        let plain = kinds.len() == 1 && kinds.iter().all(fixed) && audience.is_none();
        Self { sums: sums.collect(), kinds, audience, rows, seed, plain }
    }
}

impl Asker for Mix {
    fn endpoints(&self) -> Vec<String> {
        self.kinds.iter().map(|k| k.name.clone()).collect()
    }

    fn ask(&self, index: u64, question: &mut Question) {
        question.clear();
        let mut chosen = 0;
        let mut row: &[String] = &[];
        if !self.plain {
            let mut rng = chance(self.seed, index);
            chosen = self.choose(&mut rng);
            if let Some(audience) = &self.audience {
                audience.draw(&mut rng, &mut question.viewer);
            }
            row = self.row(&mut rng);
        }
        self.fill(chosen, index, row, question);
    }

    fn ask_as(&self, index: u64, viewer: u64, kind: Option<u16>, question: &mut Question) {
        question.clear();
        if let Some(audience) = &self.audience {
            audience.draw(&mut chance(!self.seed, viewer), &mut question.viewer);
        }
        let mut rng = chance(self.seed, index);
        let chosen = kind.map_or_else(|| self.choose(&mut rng), usize::from);
        self.fill(chosen, index, self.row(&mut rng), question);
    }

    fn check(&self, endpoint: u16) -> Option<&Check> {
        self.kinds.get(usize::from(endpoint)).and_then(|k| k.check.as_ref())
    }
}

impl Mix {
    fn choose(&self, rng: &mut Pcg64Mcg) -> usize {
        let at = rng.random::<f64>() * self.sums.last().copied().unwrap_or(0.0);
        self.sums.partition_point(|sum| *sum <= at).min(self.kinds.len() - 1)
    }

    fn row(&self, rng: &mut Pcg64Mcg) -> &[String] {
        let rows = &self.rows.rows;
        if rows.is_empty() { &[] } else { &rows[rng.random_range(0..rows.len())] }
    }

    fn fill(&self, chosen: usize, index: u64, row: &[String], question: &mut Question) {
        let kind = &self.kinds[chosen];
        let viewer = std::mem::take(&mut question.viewer);
        let filling = Filling { viewer: &viewer, index, row };
        question.endpoint = chosen as u16;
        question.method = kind.method;
        kind.path.fill(filling, &mut question.path);
        for (name, value) in &kind.headers {
            question.headers.extend_from_slice(name.as_bytes());
            question.headers.extend_from_slice(b": ");
            value.fill(filling, &mut question.headers);
            question.headers.extend_from_slice(b"\r\n");
        }
        if let Some(body) = &kind.body {
            body.fill(filling, &mut question.body);
        }
        question.viewer = viewer;
    }
}

#[cfg(test)]
mod tests {
    use super::super::template::Escape;
    use super::*;

    fn kind(name: &str, weight: f64) -> Kind {
        let path = Template::compile(&format!("/{name}/{{viewer}}"), Escape::Url, &[]).expect("compiles");
        Kind { name: name.to_owned(), weight, method: "GET", path, headers: Vec::new(), body: None, check: None }
    }

    #[test]
    fn a_mix_keeps_its_weights_and_repeats_itself() {
        let audience = Arc::new(Audience::numbered("v", 10, 0.0).expect("made"));
        let mix = Mix::new(vec![kind("a", 80.0), kind("b", 20.0)], Some(audience), Arc::default(), 7);
        let mut question = Question::default();
        let mut seen = [0; 2];
        for index in 0..10_000 {
            mix.ask(index, &mut question);
            seen[usize::from(question.endpoint)] += 1;
        }
        assert!((7_850..8_150).contains(&seen[0]), "{seen:?}");
        mix.ask(5, &mut question);
        let first = question.line();
        mix.ask(6, &mut question);
        mix.ask(5, &mut question);
        assert_eq!(question.line(), first);
    }

    #[test]
    fn a_viewer_stays_who_they_are_through_the_evening() {
        let audience = Arc::new(Audience::numbered("v", 1000, 0.0).expect("made"));
        let mix = Mix::new(vec![kind("a", 1.0), kind("b", 1.0)], Some(audience), Arc::default(), 7);
        let mut question = Question::default();
        let mut asked = |index, viewer, kind| {
            mix.ask_as(index, viewer, kind, &mut question);
            (question.endpoint, question.viewer.clone())
        };
        let (first, second, other) = (asked(1, 5, Some(0)), asked(2, 5, Some(1)), asked(3, 6, Some(1)));
        assert_eq!((first.0, second.0), (0, 1));
        assert_eq!(first.1, second.1);
        assert_ne!(second.1, other.1);
    }

    #[test]
    fn checks_say_what_is_wrong() {
        let body = br#"{"items": [{"id": "p1", "channel": "ch-nine"}, {"id": "p2", "channel": "ch-one|ch-nine"}]}"#;
        let good = Check {
            status: Some(200),
            has: Some("/items/0/id".to_owned()),
            at_least: Some(("/items".to_owned(), 2)),
            every: Some(("/items".to_owned(), "channel".to_owned(), "ch-nine".to_owned())),
        };
        assert_eq!(good.fault(200, body), None);
        assert!(good.fault(204, body).expect("wrong").contains("status 204"));
        let more = Check { at_least: Some(("/items".to_owned(), 3)), ..Check::default() };
        assert_eq!(more.fault(200, body).expect("wrong"), "/items holds 2 where at least 3 were wanted");
        let every =
            Check { every: Some(("/items".to_owned(), "channel".to_owned(), "ch-one".to_owned())), ..Check::default() };
        assert!(every.fault(200, body).expect("wrong").contains("not ch-one"));
        let absent = every.fault(200, b"{}").expect("wrong");
        assert_eq!(absent, "the body has no list /items, whose channel was to be ch-one", "no list honours no filter");
        assert!(more.fault(200, b"<html>").expect("wrong").contains("no JSON"));
    }
}
