//! The stages of a scenario file: shapes, rates and times, each mistake with its place.

use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::{LONGEST, Page};
use crate::load::schedule::{Shape, Stage, step_count};
use crate::stats::units::parse_duration;
use crate::toml_file::{TomlError, nearest};

/// The highest rate that a scenario may ask for: what it writes must be meant.
const MOST_RATE: f64 = 10_000_000.0;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageFile {
    pub name: Option<String>,
    pub shape: Spanned<String>,
    #[serde(rename = "for")]
    pub lasts: Option<Spanned<String>>,
    /// When it begins, where it does not follow the one before at once.
    pub start: Option<Spanned<String>>,
    pub rate: Option<Spanned<f64>>,
    pub from: Option<Spanned<f64>>,
    pub to: Option<Spanned<f64>>,
    pub by: Option<Spanned<f64>>,
    pub each: Option<Spanned<String>>,
    pub base: Option<Spanned<f64>>,
    pub peak: Option<Spanned<f64>>,
    pub at: Option<Spanned<String>>,
    pub lasting: Option<Spanned<String>>,
    pub low: Option<Spanned<f64>>,
    pub high: Option<Spanned<f64>>,
    pub period: Option<Spanned<String>>,
}

impl Page<'_> {
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

    pub fn stages(&self, all: &[Spanned<StageFile>]) -> Result<Vec<Stage>, TomlError> {
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
}
