//! What a scenario file asks: requests, whose they are, what a good answer holds, and the steps of an evening.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::{LONGEST, Page, beside};
use crate::load::audience::Audience;
use crate::load::dress::check_header;
use crate::load::evening::{Evening, Step, THINK};
use crate::load::question::{Check, Kind};
use crate::load::template::{Escape, Template};
use crate::stats::units::{parse_duration, parse_share};
use crate::toml_file::{TomlError, nearest};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Viewers {
    pub count: Option<u64>,
    pub prefix: Option<String>,
    pub file: Option<String>,
    pub zipf: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestFile {
    pub name: Option<String>,
    pub weight: Option<Spanned<f64>>,
    pub get: Option<Spanned<String>>,
    pub post: Option<Spanned<String>>,
    pub body: Option<Spanned<String>>,
    #[serde(default)]
    pub headers: std::collections::BTreeMap<String, Spanned<String>>,
    pub check: Option<CheckFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckFile {
    status: Option<u16>,
    has: Option<String>,
    list: Option<String>,
    at_least: Option<usize>,
    field: Option<String>,
    is: Option<String>,
}

/// One thing that a viewer does in an evening.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepFile {
    /// The name of a request; without it, one is drawn by weight.
    request: Option<Spanned<String>>,
    think: Option<Spanned<String>>,
    share: Option<Spanned<String>>,
    times: Option<Spanned<u32>>,
}

impl Page<'_> {
    pub fn kinds(&self, all: &[Spanned<RequestFile>], columns: &[String]) -> Result<Vec<Kind>, TomlError> {
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

    pub fn audience(&self, spanned: &Spanned<Viewers>, folder: Option<&Path>) -> Result<Audience, TomlError> {
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

    /// Reads the evening that `--users` live; `None` where the file tells of none.
    pub fn evening(&self, all: &[StepFile], kinds: &[Kind]) -> Result<Option<Evening>, TomlError> {
        let step = |file: &StepFile| {
            let kind = file.request.as_ref().map(|asked| {
                let found = kinds.iter().position(|k| k.name == *asked.get_ref());
                found.map(|n| n as u16).ok_or_else(|| {
                    let near = nearest(asked.get_ref(), kinds.iter().map(|k| k.name.as_str()));
                    let hint = near.map_or(String::new(), |n| format!("; did you mean `{n}`?"));
                    self.at(asked, format!("no [[request]] is called `{}`{hint}", asked.get_ref()))
                })
            });
            let think = file.think.as_ref().map_or(Ok(THINK), |think| {
                let read = parse_duration(think.get_ref()).map_err(|e| self.at(think, format!("`think`: {e}")))?;
                if read > LONGEST { Err(self.at(think, "`think` is over 31 days")) } else { Ok(read) }
            })?;
            let share = file.share.as_ref().map_or(Ok(1.0), |share| {
                let read = parse_share(share.get_ref()).map_err(|e| self.at(share, format!("`share`: {e}")))?.0;
                if read > 0.0 { Ok(read) } else { Err(self.at(share, "`share` is zero: nobody would do it")) }
            })?;
            let times = match &file.times {
                Some(times) if !(1..=1000).contains(times.get_ref()) => {
                    return Err(self.at(times, format!("`times` = {} is outside 1 to 1000", times.get_ref())));
                }
                times => times.as_ref().map_or(1, |t| *t.get_ref()),
            };
            Ok(Step { kind: kind.transpose()?, think, share, times })
        };
        let steps = all.iter().map(step).collect::<Result<Vec<_>, _>>()?;
        let evening = Evening { steps };
        if !all.is_empty() && evening.mean_think() < Duration::from_millis(1) && all.iter().any(|s| s.think.is_some()) {
            return Err(TomlError::about(self.name, "the steps leave no time to think; for that use --rate max"));
        }
        Ok((!all.is_empty()).then_some(evening))
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
