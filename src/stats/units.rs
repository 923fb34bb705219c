//! Milliseconds, rates, shares and money: parsed and printed, never rounded up.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

macro_rules! unit {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub f64);
    };
}

unit!(
    /// A duration in milliseconds.
    Millis
);
unit!(
    /// A rate per second.
    Rps
);
unit!(
    /// A share of one, 0..=1; shown in percent, truncated.
    Share
);
unit!(
    /// US dollars.
    Usd
);

impl From<Duration> for Millis {
    fn from(d: Duration) -> Self {
        Self(d.as_secs_f64() * 1000.0)
    }
}

impl From<Millis> for Duration {
    fn from(ms: Millis) -> Self {
        Duration::from_secs_f64((ms.0 / 1000.0).max(0.0))
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0 {
            v if v >= 10_000.0 => format!("{:.1} s", v / 1000.0),
            v if v >= 1_000.0 => format!("{:.2} s", v / 1000.0),
            v if v >= 100.0 => format!("{v:.0} ms"),
            v if v >= 10.0 => format!("{v:.1} ms"),
            v => format!("{v:.2} ms"),
        };
        f.pad(&text)
    }
}

impl fmt::Display for Rps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = if self.0.fract().abs() < 0.05 {
            format!("{}/s", grouped(self.0.round() as u64))
        } else {
            format!("{:.1}/s", self.0)
        };
        f.pad(&text)
    }
}

impl fmt::Display for Share {
    /// Truncated to the digits shown: 99.996 % is never 100 %, and something is never 0 %.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = self.0 * 100.0;
        let digits = if (10.0..99.0).contains(&percent) { 1 } else { 2 };
        let scale = 10f64.powi(digits);
        // 1e-9 forgives the binary representation of a value that is exactly on the step.
        let cut = (percent * scale + 1e-9).floor() / scale;
        let text = if cut == 0.0 && percent > 0.0 {
            "< 0.01 %".to_owned()
        } else if cut == 100.0 || cut == 0.0 {
            format!("{cut:.0} %")
        } else {
            format!("{cut:.*} %", digits as usize)
        };
        f.pad(&text)
    }
}

impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = if self.0.abs() >= 1000.0 {
            let sign = if self.0 < 0.0 { "-" } else { "" };
            format!("$ {sign}{}", grouped(self.0.abs() as u64))
        } else if self.0.abs() >= 0.01 || self.0 == 0.0 {
            format!("$ {:.2}", self.0)
        } else {
            format!("$ {:.5}", self.0)
        };
        f.pad(&text)
    }
}

/// Returns a whole number with a thin space each three digits: `1 234 567`.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(c);
    }
    out
}

/// Returns `mm:ss`, or `h:mm:ss` from one hour on.
pub fn clock(d: Duration) -> String {
    let s = d.as_secs();
    if s >= 3600 {
        format!("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
    } else {
        format!("{:02}:{:02}", s / 60, s % 60)
    }
}

/// Reads `250ms`, `30s`, `1.5m`, `2h`, `180d`; a bare number is refused, as its unit is a guess.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let split = text.find(|c: char| c.is_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let scale = match unit.trim() {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        "" => return Err(format!("`{text}` has no unit; write for example 30s, 2m or 1h")),
        other => return Err(format!("`{other}` is not a unit of time; use ms, s, m, h or d")),
    };
    let value: f64 = number.trim().parse().map_err(|_| format!("`{text}` is not a duration; write for example 30s"))?;
    let seconds = value * scale;
    if !seconds.is_finite() || !(0.0..=10.0 * 365.0 * 86_400.0).contains(&seconds) {
        return Err(format!("`{text}` is outside 0 to ten years"));
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// Reads `10%`, `0.5 %` or a bare share `0.1`.
pub fn parse_share(text: &str) -> Result<Share, String> {
    let text = text.trim();
    let (number, scale) = match text.strip_suffix('%') {
        Some(n) => (n.trim(), 100.0),
        None => (text, 1.0),
    };
    let value: f64 = number.parse().map_err(|_| format!("`{text}` is not a share; write for example 10%"))?;
    let share = value / scale;
    if !(0.0..=1.0).contains(&share) {
        return Err(format!("`{text}` is outside 0 % to 100 %"));
    }
    Ok(Share(share))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_truncated_never_rounded_up() {
        let shown = |v| Share(v).to_string();
        assert_eq!(shown(0.999_96), "99.99 %");
        assert_eq!(shown(1.0), "100 %");
        assert_eq!(shown(0.0), "0 %");
        assert_eq!(shown(0.000_000_1), "< 0.01 %");
        assert_eq!(shown(0.002), "0.20 %");
        assert_eq!(shown(0.512_9), "51.2 %");
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse_duration("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        for bad in ["30", "s", "-3s", "3 parsecs", "NaNs", "1e99h"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn shares_read_percent_or_fraction() {
        assert_eq!(parse_share("10%"), Ok(Share(0.1)));
        assert_eq!(parse_share("0.25"), Ok(Share(0.25)));
        assert!(parse_share("110%").is_err());
    }

    #[test]
    fn long_numbers_are_grouped() {
        assert_eq!(grouped(1_234_567), "1 234 567");
        assert_eq!(grouped(999), "999");
    }
}
