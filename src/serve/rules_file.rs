//! The file of a platform's rules: read, checked against the catalogue, and compiled; what is wrong in it is said.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::catalogue::{Catalogue, moment};
use super::error::ServeError;
use super::expression::Expression;
use super::rules::{Boost, Cap, Freshness, Period, Places, Promotion, Rules};
use crate::stats::units::{parse_duration, parse_share};
use crate::toml_file::{self, nearest};

const MOST_RULES: usize = 64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    boost: Vec<BoostText>,
    #[serde(default)]
    promotion: Vec<PromotionText>,
    #[serde(default)]
    cap: Vec<CapText>,
    freshness: Option<FreshnessText>,
    exploration: Option<ExplorationText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BoostText {
    name: String,
    filter: String,
    factor: f32,
    from: Option<String>,
    until: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PromotionText {
    name: String,
    filter: String,
    /// Places, from 1.
    slots: Option<Vec<usize>>,
    /// A share of the places, spread evenly.
    share: Option<String>,
    from: Option<String>,
    until: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CapText {
    column: String,
    most: usize,
    /// Among so many first places; all, where it is not said.
    within: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FreshnessText {
    /// The column that says when a programme came: Unix seconds, or a date.
    column: String,
    half_life: String,
    /// What a programme of now gains, as a share of the best score.
    gain: f32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExplorationText {
    share: String,
}

impl Rules {
    pub fn open(path: &Path, catalogue: &Catalogue) -> Result<Self, ServeError> {
        let text = toml_file::text(path).map_err(|e| ServeError::Setting(e.to_string()))?;
        Self::parse(&path.display().to_string(), &text, catalogue).map_err(ServeError::Setting)
    }

    /// Reads rules; `name` is what errors call the file.
    pub fn parse(name: &str, text: &str, catalogue: &Catalogue) -> Result<Self, String> {
        let file: File = toml_file::parse(name, text).map_err(|e| e.to_string())?;
        let many = file.boost.len() + file.promotion.len() + file.cap.len();
        if many > MOST_RULES {
            return Err(format!("{name}: there are {many} rules; at most {MOST_RULES} are taken"));
        }
        let about = |rule: &str, what: String| format!("{name}: {rule}: {what}");
        let bits = |rule: &str, text: &str| {
            let compiled = Expression::parse(text).and_then(|e| {
                if e.viewer_fields().next().is_some() {
                    return Err("rules are the same for every viewer: CurrentUser has no place here".to_owned());
                }
                e.compile(catalogue, &BTreeMap::new())
            });
            match compiled {
                Ok(bits) if bits.count() == 0 => {
                    Err(about(rule, "its filter lets no programme of the catalogue through".to_owned()))
                }
                told => told.map_err(|what| about(rule, what)),
            }
        };
        let mut rules = Self::default();
        for text in file.boost {
            let rule = format!("the boost `{}`", text.name);
            if !(text.factor > 0.0 && text.factor <= 1000.0) {
                return Err(about(&rule, format!("its factor must be above 0 and at most 1000, not {}", text.factor)));
            }
            let programmes = bits(&rule, &text.filter)?;
            let period = period(text.from.as_deref(), text.until.as_deref()).map_err(|what| about(&rule, what))?;
            rules.boosts.push(Boost { name: text.name, programmes, factor: text.factor, period });
        }
        for text in file.promotion {
            let rule = format!("the promotion `{}`", text.name);
            let places = match (text.slots, text.share) {
                (Some(slots), None) if !slots.is_empty() && slots.iter().all(|s| (1..=500).contains(s)) => {
                    Places::Slots(slots)
                }
                (None, Some(share)) => Places::Share(parse_share(&share).map_err(|what| about(&rule, what))?.0),
                _ => {
                    return Err(about(
                        &rule,
                        "it needs `slots = [1, 5]`, places from 1, or `share = \"20%\"`".to_owned(),
                    ));
                }
            };
            let programmes = bits(&rule, &text.filter)?;
            let period = period(text.from.as_deref(), text.until.as_deref()).map_err(|what| about(&rule, what))?;
            rules.promotions.push(Promotion { name: text.name, programmes, places, period });
        }
        for text in file.cap {
            let rule = format!("the cap on {}", text.column);
            let column = column(catalogue, &text.column).map_err(|what| about(&rule, what))?;
            if text.most == 0 || text.within == Some(0) {
                return Err(about(&rule, "`most` and `within` are from 1 on".to_owned()));
            }
            let groups = catalogue.groups(column);
            rules.caps.push(Cap { most: text.most, within: text.within.unwrap_or(usize::MAX), groups });
        }
        if let Some(text) = file.freshness {
            let rule = "freshness";
            let column = column(catalogue, &text.column).map_err(|what| about(rule, what))?;
            let half_life = parse_duration(&text.half_life).map_err(|what| about(rule, what))?;
            if half_life.is_zero() || !(0.0..=10.0).contains(&text.gain) {
                return Err(about(rule, "`half_life` is above zero and `gain` from 0 to 10".to_owned()));
            }
            let came = catalogue.moments(column);
            if came.is_empty() {
                return Err(about(
                    rule,
                    format!("no value of {} is Unix seconds or a date like 2026-11-25", text.column),
                ));
            }
            rules.freshness = Some(Freshness { came, half_life_s: half_life.as_secs_f64(), gain: text.gain });
        }
        if let Some(text) = file.exploration {
            rules.exploration = parse_share(&text.share).map_err(|what| about("exploration", what))?.0;
        }
        Ok(rules)
    }
}

fn column(catalogue: &Catalogue, name: &str) -> Result<usize, String> {
    let low = name.to_lowercase();
    catalogue.column(&low).ok_or_else(|| {
        let near = nearest(&low, catalogue.columns()).map_or(String::new(), |n| format!("; did you mean {n}?"));
        format!("the catalogue has no column {name}{near}")
    })
}

fn period(from: Option<&str>, until: Option<&str>) -> Result<Period, String> {
    let moment = |text: Option<&str>, otherwise: i64| match text {
        None => Ok(otherwise),
        Some(text) => {
            moment(text).ok_or_else(|| format!("`{text}` is no moment; write 2026-11-25 or 2026-11-25T20:00:00Z"))
        }
    };
    let period = Period { from: moment(from, i64::MIN)?, until: moment(until, i64::MAX)? };
    if period.from < period.until { Ok(period) } else { Err("it ends before it begins".to_owned()) }
}
