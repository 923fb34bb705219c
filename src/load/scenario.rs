//! A scenario file, checked: what a person wrote, to the parts of a run; every mistake is named with its line and column.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::audience::Audience;
use super::dress::check_header;
use super::error::LoadError;
use super::question::{Check, Kind, Mix, Rows};
use super::rows;
use super::schedule::{Schedule, Shape, Stage, step_count};
use super::template::{Escape, Template};
use crate::judge::objective::Objective;
use crate::stats::units::parse_duration;
use crate::toml_file::{self, TomlError, nearest};

/// The highest rate that a scenario may ask for: what it writes must be meant.
const MOST_RATE: f64 = 10_000_000.0;
const LONGEST: Duration = Duration::from_hours(31 * 24);

/// A checked scenario.
#[derive(Clone)]
pub struct Scenario {
    pub name: String,
    pub seed: Option<u64>,
    pub timeout: Option<Duration>,
    pub connections: Option<u32>,
    pub schedule: Schedule,
    pub objectives: Vec<Objective>,
    pub headers: Vec<(String, String)>,
    pub kinds: Vec<Kind>,
    pub audience: Option<Arc<Audience>>,
    pub rows: Arc<Rows>,
}

impl Scenario {
    /// Returns what is asked, drawn with this seed.
    pub fn mix(&self, seed: u64) -> Mix {
        Mix::new(self.kinds.clone(), self.audience.clone(), Arc::clone(&self.rows), seed)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: Option<String>,
    #[serde(default)]
    seed: Option<u64>,
    timeout: Option<Spanned<String>>,
    connections: Option<Spanned<u32>>,
    #[serde(default)]
    headers: std::collections::BTreeMap<String, Spanned<String>>,
    viewers: Option<Spanned<Viewers>>,
    data: Option<Spanned<String>>,
    #[serde(default, rename = "stage")]
    stages: Vec<Spanned<StageFile>>,
    #[serde(default, rename = "request")]
    requests: Vec<Spanned<RequestFile>>,
    #[serde(default, rename = "objective")]
    objectives: Vec<ObjectiveFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Viewers {
    count: Option<u64>,
    prefix: Option<String>,
    file: Option<String>,
    zipf: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StageFile {
    name: Option<String>,
    shape: Spanned<String>,
    #[serde(rename = "for")]
    lasts: Option<Spanned<String>>,
    /// When it begins, where it does not follow the one before at once.
    start: Option<Spanned<String>>,
    rate: Option<Spanned<f64>>,
    from: Option<Spanned<f64>>,
    to: Option<Spanned<f64>>,
    by: Option<Spanned<f64>>,
    each: Option<Spanned<String>>,
    base: Option<Spanned<f64>>,
    peak: Option<Spanned<f64>>,
    at: Option<Spanned<String>>,
    lasting: Option<Spanned<String>>,
    low: Option<Spanned<f64>>,
    high: Option<Spanned<f64>>,
    period: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestFile {
    name: Option<String>,
    weight: Option<Spanned<f64>>,
    get: Option<Spanned<String>>,
    post: Option<Spanned<String>>,
    body: Option<Spanned<String>>,
    #[serde(default)]
    headers: std::collections::BTreeMap<String, Spanned<String>>,
    check: Option<CheckFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckFile {
    status: Option<u16>,
    has: Option<String>,
    list: Option<String>,
    at_least: Option<usize>,
    field: Option<String>,
    is: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ObjectiveFile {
    expression: Spanned<String>,
    endpoint: Option<String>,
    stage: Option<String>,
    #[serde(default)]
    abort: bool,
}

/// Reads a scenario file; files that it names lie beside it.
pub fn read(path: &Path) -> Result<Scenario, LoadError> {
    parse(&path.display().to_string(), &toml_file::text(path)?, path.parent())
}

/// Reads `text`; `name` is what errors call it, `folder` is where its data files are looked for.
pub fn parse(name: &str, text: &str, folder: Option<&Path>) -> Result<Scenario, LoadError> {
    let file: File = toml_file::parse(name, text)?;
    let page = Page { name, text };
    let schedule = Schedule::Stages(page.stages(&file.stages)?);
    let rows = match &file.data {
        Some(data) => Arc::new(rows::read(&beside(folder, data.get_ref())).map_err(|e| page.at(data, e))?),
        None => Arc::default(),
    };
    let kinds = page.kinds(&file.requests, &rows.columns)?;
    let audience = match &file.viewers {
        Some(viewers) => Some(Arc::new(page.audience(viewers, folder)?)),
        None if text.contains("{viewer}") => Some(Arc::new(Audience::numbered("v", 1000, 1.0)?)),
        None => None,
    };
    let headers = file.headers.iter().map(|(key, value)| {
        check_header(key, value.get_ref()).map_err(|e| page.at(value, e))?;
        Ok((key.clone(), value.get_ref().clone()))
    });
    let stem = || Path::new(name).file_stem().map_or(name.to_owned(), |s| s.to_string_lossy().into_owned());
    Ok(Scenario {
        headers: headers.collect::<Result<_, TomlError>>()?,
        objectives: page.objectives(&file.objectives, &kinds, &schedule)?,
        name: file.name.clone().unwrap_or_else(stem),
        seed: file.seed,
        timeout: file.timeout.as_ref().map(|t| page.duration("timeout", t)).transpose()?,
        connections: match &file.connections {
            Some(c) if *c.get_ref() == 0 => return Err(page.at(c, "a run needs at least one connection").into()),
            c => c.as_ref().map(|c| *c.get_ref()),
        },
        schedule,
        kinds,
        audience,
        rows,
    })
}

fn beside(folder: Option<&Path>, file: &str) -> std::path::PathBuf {
    folder.map_or_else(|| Path::new(file).to_owned(), |f| f.join(file))
}

/// The text being read, to say where in it a mistake is.
struct Page<'a> {
    name: &'a str,
    text: &'a str,
}

impl Page<'_> {
    fn at<T>(&self, place: &Spanned<T>, what: impl ToString) -> TomlError {
        TomlError::at(self.name, self.text, place.span().start, what.to_string())
    }

    fn duration(&self, key: &str, text: &Spanned<String>) -> Result<Duration, TomlError> {
        let read = parse_duration(text.get_ref()).map_err(|e| self.at(text, format!("`{key}`: {e}")))?;
        match read {
            d if d.is_zero() => Err(self.at(text, format!("`{key}` is zero"))),
            d if d > LONGEST => Err(self.at(text, format!("`{key}` is over 31 days"))),
            d => Ok(d),
        }
    }

    fn rate(&self, key: &str, rate: &Spanned<f64>, zero: bool) -> Result<f64, TomlError> {
        match *rate.get_ref() {
            r if !r.is_finite() || r < 0.0 => {
                Err(self.at(rate, format!("`{key}` = {r} is not a rate; requests a second")))
            }
            r if r == 0.0 && !zero => Err(self.at(rate, format!("`{key}` is zero: nothing would be sent"))),
            r if r > MOST_RATE => Err(self.at(rate, format!("`{key}` = {r} is over {MOST_RATE} requests a second"))),
            r => Ok(r),
        }
    }

    fn stages(&self, all: &[Spanned<StageFile>]) -> Result<Vec<Stage>, TomlError> {
        if all.is_empty() {
            return Err(TomlError::about(self.name, "holds no [[stage]]: nothing says how much to send"));
        }
        let mut stages: Vec<Stage> = Vec::new();
        for (number, spanned) in all.iter().enumerate() {
            let file = spanned.get_ref();
            let after = stages.last().map_or(Duration::ZERO, |s| s.begins + s.lasts);
            let begins = match &file.start {
                None => after,
                Some(start) => {
                    let begins =
                        parse_duration(start.get_ref()).map_err(|e| self.at(start, format!("`start`: {e}")))?;
                    if begins < after {
                        let what =
                            format!("this stage overlaps the one before it, which ends at {} s", after.as_secs_f64());
                        return Err(self.at(start, what));
                    }
                    begins
                }
            };
            let Some(lasts) = &file.lasts else {
                return Err(self.at(&file.shape, "a stage needs `for`, how long it lasts"));
            };
            let lasts = self.duration("for", lasts)?;
            if begins + lasts > LONGEST {
                return Err(self.at(spanned, "the stages together last over 31 days"));
            }
            let shape = self.shape(file, lasts)?;
            let name = file.name.clone().unwrap_or_else(|| format!("{} {}", number + 1, file.shape.get_ref()));
            stages.push(Stage { name, shape, begins, lasts });
        }
        Ok(stages)
    }

    fn shape(&self, file: &StageFile, lasts: Duration) -> Result<Shape, TomlError> {
        let shape = file.shape.get_ref().as_str();
        let (needed, allowed): (&[&str], &[&str]) = match shape {
            "constant" | "poisson" => (&["rate"], &[]),
            "ramp" => (&["from", "to"], &[]),
            "steps" => (&["from", "to", "by", "each"], &[]),
            "spike" => (&["base", "peak", "at"], &["lasting"]),
            "sine" => (&["low", "high", "period"], &[]),
            other => {
                let known = ["constant", "ramp", "steps", "spike", "sine", "poisson"];
                let hint = nearest(other, known)
                    .map_or(format!("known: {}", known.join(", ")), |n| format!("did you mean `{n}`?"));
                return Err(self.at(&file.shape, format!("there is no shape `{other}`; {hint}")));
            }
        };
        let numbers = [
            ("rate", &file.rate),
            ("from", &file.from),
            ("to", &file.to),
            ("by", &file.by),
            ("base", &file.base),
            ("peak", &file.peak),
            ("low", &file.low),
            ("high", &file.high),
        ];
        let times = [("each", &file.each), ("at", &file.at), ("lasting", &file.lasting), ("period", &file.period)];
        let given = numbers.iter().filter_map(|(k, v)| v.as_ref().map(|v| (*k, v.span())));
        let given = given.chain(times.iter().filter_map(|(k, v)| v.as_ref().map(|v| (*k, v.span()))));
        for (key, span) in given {
            if !needed.contains(&key) && !allowed.contains(&key) {
                let what = format!(
                    "`{key}` does not belong to a stage of the shape {shape}, which takes {}",
                    needed.join(", ")
                );
                return Err(TomlError::at(self.name, self.text, span.start, what));
            }
        }
        let missing = |key: &str| self.at(&file.shape, format!("a stage of the shape {shape} needs `{key}`"));
        let number = |key: &str, zero: bool| {
            let found = numbers.iter().find(|(k, _)| *k == key).and_then(|(_, v)| v.as_ref());
            self.rate(key, found.ok_or_else(|| missing(key))?, zero)
        };
        let time = |key: &str| {
            let found = times.iter().find(|(k, _)| *k == key).and_then(|(_, v)| v.as_ref());
            found.ok_or_else(|| missing(key))
        };
        let some = |a: f64, b: f64, key: &str| {
            if a.max(b) > 0.0 {
                Ok(())
            } else {
                Err(self.at(&file.shape, format!("`{key}` and its counterpart are both zero: nothing would be sent")))
            }
        };
        Ok(match shape {
            "constant" => Shape::Constant { rate: number("rate", false)? },
            "poisson" => Shape::Poisson { rate: number("rate", false)? },
            "ramp" => {
                let (from, to) = (number("from", true)?, number("to", true)?);
                some(from, to, "from")?;
                Shape::Ramp { from, to }
            }
            "steps" => {
                let (from, to, by) = (number("from", false)?, number("to", false)?, number("by", false)?);
                let each = self.duration("each", time("each")?)?;
                let count = step_count(from, to, by);
                if count > 10_000 {
                    return Err(
                        self.at(&file.shape, format!("{count} steps are more than anybody reads; make `by` larger"))
                    );
                }
                let needed = each.as_secs_f64() * count as f64;
                if needed > lasts.as_secs_f64() + 1e-9 {
                    let what =
                        format!("{count} steps of {} s need `for` to be {needed} s at least", each.as_secs_f64());
                    return Err(self.at(time("each")?, what));
                }
                Shape::Steps { from, to, by, each }
            }
            "spike" => {
                let (base, peak) = (number("base", true)?, number("peak", false)?);
                let place = time("at")?;
                let at = parse_duration(place.get_ref()).map_err(|e| self.at(place, format!("`at`: {e}")))?;
                if at >= lasts {
                    return Err(self.at(
                        place,
                        format!("the spike would come after the stage's end at {} s", lasts.as_secs_f64()),
                    ));
                }
                let wide = match &file.lasting {
                    Some(w) => self.duration("lasting", w)?,
                    None => (lasts / 10).min(lasts.saturating_sub(at)),
                };
                if at + wide > lasts {
                    return Err(
                        self.at(place, format!("the spike overlaps the stage's end at {} s", lasts.as_secs_f64()))
                    );
                }
                Shape::Spike { base, peak, at, lasts: wide }
            }
            _ => {
                let (low, high) = (number("low", true)?, number("high", false)?);
                if low > high {
                    return Err(self.at(&file.shape, "`low` is above `high`"));
                }
                Shape::Sine { low, high, period: self.duration("period", time("period")?)? }
            }
        })
    }

    fn kinds(&self, all: &[Spanned<RequestFile>], columns: &[String]) -> Result<Vec<Kind>, TomlError> {
        if all.is_empty() {
            return Err(TomlError::about(self.name, "holds no [[request]]: nothing says what to ask"));
        }
        let mut kinds: Vec<Kind> = Vec::new();
        for request in all {
            let file = request.get_ref();
            let (method, path) = match (&file.get, &file.post) {
                (Some(get), None) => ("GET", get),
                (None, Some(post)) => ("POST", post),
                (Some(_), Some(post)) => return Err(self.at(post, "a request is either `get` or `post`")),
                (None, None) => return Err(self.at(request, "a request needs `get` or `post`, with a path")),
            };
            if !path.get_ref().starts_with('/') {
                return Err(self.at(path, format!("`{}` is no path: it begins with /", path.get_ref())));
            }
            if path.get_ref().bytes().any(|b| b <= b' ' || b == 0x7f) {
                return Err(self.at(path, "a path holds no space or control character; write %20"));
            }
            if let (Some(body), "GET") = (&file.body, method) {
                return Err(self.at(body, "a `get` has no body; did you mean `post`?"));
            }
            let weight = match &file.weight {
                Some(w) if !w.get_ref().is_finite() || *w.get_ref() <= 0.0 => {
                    return Err(self.at(w, format!("`weight` = {} is not above zero", w.get_ref())));
                }
                w => w.as_ref().map_or(1.0, |w| *w.get_ref()),
            };
            let compile = |text: &Spanned<String>, escape| {
                Template::compile(text.get_ref(), escape, columns).map_err(|e| self.at(text, e))
            };
            let mut headers = Vec::new();
            for (key, value) in &file.headers {
                check_header(key, value.get_ref()).map_err(|e| self.at(value, e))?;
                headers.push((key.clone(), compile(value, Escape::Header)?));
            }
            let plain = path.get_ref().split('?').next().unwrap_or_default();
            let name = file.name.clone().unwrap_or_else(|| format!("{method} {plain}"));
            if kinds.iter().any(|k| k.name == name) {
                return Err(self.at(path, format!("two requests are called `{name}`; give them a `name`")));
            }
            kinds.push(Kind {
                name,
                weight,
                method,
                path: compile(path, Escape::Url)?,
                headers,
                body: file.body.as_ref().map(|b| compile(b, Escape::Json)).transpose()?,
                check: file.check.as_ref().map(|c| check(c).map_err(|e| self.at(request, e))).transpose()?,
            });
        }
        Ok(kinds)
    }

    fn audience(&self, spanned: &Spanned<Viewers>, folder: Option<&Path>) -> Result<Audience, TomlError> {
        let v = spanned.get_ref();
        let zipf = v.zipf.unwrap_or(1.0);
        if !zipf.is_finite() || !(0.0..=10.0).contains(&zipf) {
            return Err(self.at(spanned, format!("`zipf` = {zipf} is outside 0 (even) to 10")));
        }
        let made = match (&v.file, v.count) {
            (Some(_), Some(_)) => return Err(self.at(spanned, "viewers come from a `file` or are a `count`, not both")),
            (Some(file), None) => Audience::from_file(&beside(folder, file), zipf),
            (None, Some(0)) => return Err(self.at(spanned, "`count` is zero: there is no viewer to ask")),
            (None, count) => Audience::numbered(v.prefix.as_deref().unwrap_or("v"), count.unwrap_or(1000), zipf),
        };
        made.map_err(|e| self.at(spanned, e))
    }

    fn objectives(
        &self,
        all: &[ObjectiveFile],
        kinds: &[Kind],
        schedule: &Schedule,
    ) -> Result<Vec<Objective>, TomlError> {
        let stages = schedule.stages();
        let mut objectives = Vec::new();
        for file in all {
            let mut objective =
                Objective::parse(file.expression.get_ref()).map_err(|e| self.at(&file.expression, e))?;
            objective.endpoint = file.endpoint.clone().or(objective.endpoint);
            objective.stage = file.stage.clone().or(objective.stage);
            objective.abort = file.abort;
            objective.check().map_err(|e| self.at(&file.expression, e))?;
            let names: Vec<&str> = kinds.iter().map(|k| k.name.as_str()).collect();
            let parts: Vec<&str> = stages.iter().map(|s| s.name.as_str()).collect();
            for (what, name, known) in [("request", &objective.endpoint, names), ("stage", &objective.stage, parts)] {
                if let Some(name) = name.as_ref().filter(|n| !known.contains(&n.as_str())) {
                    let what = format!("there is no {what} called `{name}`; known: {}", known.join(", "));
                    return Err(self.at(&file.expression, what));
                }
            }
            objectives.push(objective);
        }
        Ok(objectives)
    }
}

fn check(file: &CheckFile) -> Result<Check, String> {
    let pointer = |p: &Option<String>| match p {
        Some(p) if !p.starts_with('/') => Err(format!("`{p}` is no JSON pointer: it begins with /")),
        p => Ok(p.clone()),
    };
    let list = pointer(&file.list)?;
    let needs_list = || "`at_least`, `field` and `is` speak of a `list`: name it".to_owned();
    let at_least = match (&list, file.at_least) {
        (Some(list), Some(n)) => Some((list.clone(), n)),
        (None, Some(_)) => return Err(needs_list()),
        (_, None) => None,
    };
    let every = match (&list, &file.field, &file.is) {
        (Some(list), Some(field), Some(is)) => Some((list.clone(), field.clone(), is.clone())),
        (_, None, None) => None,
        (None, ..) => return Err(needs_list()),
        _ => return Err("`field` and `is` belong together".to_owned()),
    };
    Ok(Check { status: file.status, has: pointer(&file.has)?, at_least, every })
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &str = "[[request]]\nget = \"/v1/popular\"\n";

    fn refused(stage: &str) -> String {
        let text = format!("{stage}\n{REQUEST}");
        parse("s.toml", &text, None).err().expect(stage).to_string()
    }

    #[test]
    fn every_mistake_is_named_with_its_place() {
        let table = [
            ("[[stage]]\nshape = \"constant\"\nrate = 0\nfor = \"1s\"", "s.toml:3:8: `rate` is zero"),
            ("[[stage]]\nshape = \"constant\"\nrate = -5\nfor = \"1s\"", "s.toml:3:8: `rate` = -5 is not a rate"),
            ("[[stage]]\nshape = \"constant\"\nrate = 5\nfor = \"-1s\"", "s.toml:4:7: `for`: `-1s` is outside"),
            ("[[stage]]\nshape = \"constant\"\nrate = 5", "s.toml:2:9: a stage needs `for`"),
            (
                "[[stage]]\nshape = \"constant\"\nrat = 5\nfor = \"1s\"",
                "s.toml:3:1: unknown key `rat`; did you mean `rate`?",
            ),
            ("[[stage]]\nshape = \"rampe\"\nfor = \"1s\"", "did you mean `ramp`?"),
            ("[[stage]]\nshape = \"ramp\"\nfrom = 1\nfor = \"1s\"", "s.toml:2:9: a stage of the shape ramp needs `to`"),
            ("[[stage]]\nshape = \"ramp\"\nfrom = 0\nto = 0\nfor = \"1s\"", "both zero"),
            (
                "[[stage]]\nshape = \"ramp\"\nfrom = 1\nto = 2\nrate = 3\nfor = \"1s\"",
                "s.toml:5:8: `rate` does not belong",
            ),
            (
                "[[stage]]\nshape = \"spike\"\nbase = 1\npeak = 9\nat = \"9s\"\nlasting = \"5s\"\nfor = \"10s\"",
                "overlaps",
            ),
            (
                "[[stage]]\nshape = \"spike\"\nbase = 1\npeak = 9\nat = \"19s\"\nfor = \"10s\"",
                "s.toml:5:6: the spike would come after",
            ),
            (
                "[[stage]]\nshape = \"steps\"\nfrom = 1\nto = 9\nby = 1\neach = \"2s\"\nfor = \"10s\"",
                "9 steps of 2 s need `for`",
            ),
            (
                "[[stage]]\nshape = \"constant\"\nrate = 5\nfor = \"10s\"\n[[stage]]\nshape = \"constant\"\nrate = 5\nstart = \"9s\"\nfor = \"1s\"",
                "s.toml:8:9: this stage overlaps",
            ),
            ("", "holds no [[stage]]"),
        ];
        for (stage, part) in table {
            let error = refused(stage);
            assert!(error.contains(part), "{stage}\n{error}");
        }
    }

    #[test]
    fn requests_and_objectives_are_checked_too() {
        let good = "[[stage]]\nshape = \"constant\"\nrate = 5\nfor = \"1s\"\n";
        let table = [
            ("[[request]]\nget = \"v1\"", "it begins with /"),
            ("[[request]]\nget = \"/{viwer}\"", "did you mean `{viewer}`?"),
            ("[[request]]\nget = \"/a\"\nweight = 0", "not above zero"),
            ("[[request]]\nget = \"/a\"\nbody = \"x\"", "did you mean `post`?"),
            ("[[request]]\nweight = 3", "needs `get` or `post`"),
            ("[[request]]\nget = \"/a\"\n[request.headers]\nX-A = \"a\\r\\nb\"", "line break"),
            ("[[request]]\nget = \"/a\"\n[[objective]]\nexpression = \"p99 < 120\"", "has no unit"),
            (
                "[[request]]\nget = \"/a\"\n[[objective]]\nexpression = \"p99 < 1s\"\nendpoint = \"b\"",
                "no request called `b`",
            ),
            ("[[request]]\nget = \"/a\"\n[request.check]\nat_least = 3", "speak of a `list`"),
            ("[[request]]\nget = \"/a\"\n[viewers]\ncount = 0", "no viewer"),
            ("", "holds no [[request]]"),
        ];
        for (rest, part) in table {
            let error = parse("s.toml", &format!("{good}{rest}"), None).err().expect(rest).to_string();
            assert!(error.contains(part), "{rest}\n{error}");
        }
    }

    #[test]
    fn silence_between_stages_is_meant_when_it_is_written() {
        let text = format!(
            "[[stage]]\nshape = \"constant\"\nrate = 5\nfor = \"1s\"\n[[stage]]\nshape = \"constant\"\nrate = 5\nstart = \"3s\"\nfor = \"1s\"\n{REQUEST}"
        );
        let scenario = parse("s.toml", &text, None).expect("read");
        assert_eq!(scenario.schedule.duration(), Duration::from_secs(4));
        assert_eq!(scenario.schedule.planned(), Some(10));
    }
}
