//! A scenario file, checked: what a person wrote, to the parts of a run; every mistake is named with its line and column.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use self::requests::{RequestFile, StepFile, Viewers};
use self::stages::StageFile;
use self::tokens::TokenFile;
use super::audience::Audience;
use super::dress::{Tokens, check_header};
use super::error::LoadError;
use super::evening::Evening;
use super::question::{Kind, Mix, Rows};
use super::rows;
use super::schedule::Schedule;
use super::wire::{MOST_STREAMS, STREAMS, Wire};
use crate::judge::objective::Objective;
use crate::stats::units::parse_duration;
use crate::toml_file::{self, TomlError};

mod requests;
mod stages;
mod tokens;

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
    /// What `--users` live through.
    pub evening: Option<Evening>,
    pub wire: Wire,
    /// How its requests prove who they are, instead of what the target's configuration says.
    pub tokens: Option<Tokens>,
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
    #[serde(default, rename = "step")]
    steps: Vec<StepFile>,
    requests_per_connection: Option<Spanned<u32>>,
    #[serde(default)]
    http2: bool,
    streams: Option<Spanned<u32>>,
    resolve: Option<Spanned<String>>,
    token: Option<Spanned<TokenFile>>,
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
        evening: page.evening(&file.steps, &kinds)?,
        wire: page.wire(&file)?,
        tokens: file.token.as_ref().map(|t| page.tokens(t, folder)).transpose()?,
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

    fn wire(&self, file: &File) -> Result<Wire, TomlError> {
        let mut wire = Wire::default();
        if let Some(most) = &file.requests_per_connection {
            if *most.get_ref() == 0 {
                return Err(self.at(most, "a connection answers at least one request"));
            }
            wire.per_connection = Some(*most.get_ref());
        }
        match &file.streams {
            Some(streams) if !(1..=MOST_STREAMS).contains(streams.get_ref()) => {
                return Err(self.at(streams, format!("`streams` is 1 to {MOST_STREAMS}")));
            }
            Some(streams) if !file.http2 => {
                return Err(self.at(streams, "`streams` speak HTTP/2: write `http2 = true`"));
            }
            streams if file.http2 => wire.streams = Some(streams.as_ref().map_or(STREAMS, |s| *s.get_ref())),
            _ => {}
        }
        if let Some(every) = &file.resolve {
            wire.resolve = self.duration("resolve", every)?.max(Duration::from_secs(1));
        }
        Ok(wire)
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
            ("[[request]]\nget = \"/a\"\npost = \"/b\"", "s.toml:7:8: a request is either `get` or `post`"),
            ("[[request]]\nget = \"/a b\"", "s.toml:6:7: a path holds no space"),
            ("[[request]]\nget = \"/a\"\n[[request]]\nget = \"/a\"", "s.toml:8:7: two requests are called `GET /a`"),
            ("[[request]]\nget = \"/a\"\ncheck = { has = \"items\" }", "`items` is no JSON pointer"),
            ("[[request]]\nget = \"/a\"\ncheck = { list = \"/i\", field = \"f\" }", "belong together"),
            ("[[request]]\nget = \"/a\"\ncheck = { stats = 200 }", "unknown key `stats`; did you mean `status`?"),
            ("[[request]]\nget = \"/{channel}\"", "s.toml:6:7: nothing fills `{channel}`"),
            (
                "[[request]]\nget = \"/a\"\n[viewers]\ncount = 3\nfile = \"x\"",
                "s.toml:7:1: viewers come from a `file` or",
            ),
            ("[[request]]\nget = \"/a\"\n[viewers]\nzipf = 99.0", "s.toml:7:1: `zipf` = 99 is outside"),
            (
                "[[request]]\nget = \"/a\"\n[[step]]\nrequest = \"GET /b\"",
                "s.toml:8:11: no [[request]] is called `GET /b`; did you mean `GET /a`?",
            ),
            ("[[request]]\nget = \"/a\"\n[[step]]\nshare = \"0%\"", "s.toml:8:9: `share` is zero"),
            ("[[request]]\nget = \"/a\"\n[[step]]\ntimes = 0", "s.toml:8:9: `times` = 0 is outside 1 to 1000"),
            ("[[request]]\nget = \"/a\"\n[[step]]\nthink = \"-1s\"", "s.toml:8:9: `think`: "),
            ("[headers]\nHost2 = \"a\\nb\"\n[[request]]\nget = \"/a\"", "s.toml:6:9: the value of the header Host2"),
        ];
        for (rest, part) in table {
            let error = parse("s.toml", &format!("{good}{rest}"), None).err().expect(rest).to_string();
            assert!(error.contains(part), "{rest}\n{error}");
        }
    }

    #[test]
    fn keys_of_the_whole_run_are_checked_with_their_place() {
        let rest = format!("[[stage]]\nshape = \"constant\"\nrate = 5\nfor = \"1s\"\n{REQUEST}");
        let table = [
            ("timeout = \"0s\"", "s.toml:1:11: `timeout` is zero"),
            ("timeout = \"99d\"", "s.toml:1:11: `timeout` is over 31 days"),
            ("connections = 0", "s.toml:1:15: a run needs at least one connection"),
            ("connections = -3", "s.toml:1:15: "),
            ("requests_per_connection = 0", "s.toml:1:27: a connection answers at least one request"),
            ("resolve = \"often\"", "s.toml:1:11: `resolve`: "),
            ("data = \"gone.csv\"", "s.toml:1:8: "),
            ("seed = \"seven\"", "s.toml:1:8: "),
            ("conections = 3", "s.toml:1:1: unknown key `conections`; did you mean `connections`?"),
            ("name = \"x", "s.toml:1:"),
        ];
        for (line, part) in table {
            let error = parse("s.toml", &format!("{line}\n{rest}"), None).err().expect(line).to_string();
            assert!(error.contains(part), "{line}\n{error}");
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
