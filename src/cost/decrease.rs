//! How often a DynamoDB table may be made smaller: 4 times in the first hour of a UTC day, then once an hour, 27 a day.

use serde::{Deserialize, Serialize};

const FIRST_HOUR: usize = 4;
const A_DAY: usize = 27;

/// The decreases of the present UTC day, by the hour they were made in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Decreases {
    day: i64,
    hours: Vec<i64>,
}

impl Decreases {
    /// Says why not, or nothing where one more decrease is allowed at `now`.
    pub fn refuse(&self, now: f64) -> Option<String> {
        let (day, hour) = day_and_hour(now);
        if day != self.day {
            return None;
        }
        if self.hours.len() >= A_DAY {
            return Some(format!("{A_DAY} decreases were made this UTC day, and no more are allowed"));
        }
        let this_hour = self.hours.iter().filter(|h| **h == hour).count();
        let allowed = if hour == 0 { FIRST_HOUR } else { 1 };
        (this_hour >= allowed)
            .then(|| format!("{this_hour} of {allowed} decreases allowed in this hour of the UTC day were made"))
    }

    /// Forgets the last one: it was meant and not made.
    pub fn withdraw(&mut self) {
        self.hours.pop();
    }

    pub fn note(&mut self, now: f64) {
        let (day, hour) = day_and_hour(now);
        if day != self.day {
            *self = Self { day, hours: Vec::new() };
        }
        self.hours.push(hour);
    }
}

/// Says why a table that tells of `made` decreases this day, the last at `last`, may not be made smaller at `now`.
pub fn of_others(made: u64, last: Option<f64>, now: f64) -> Option<String> {
    let ((day, hour), then) = (day_and_hour(now), last.map(day_and_hour));
    if then.is_some_and(|(d, _)| d != day) {
        return None;
    }
    if made >= A_DAY as u64 {
        return Some(format!("{made} decreases of the table were made this UTC day, {A_DAY} are allowed"));
    }
    let crowded = made >= FIRST_HOUR as u64 && then == Some((day, hour));
    crowded
        .then(|| format!("the table was made smaller in this hour already, {made} times today; one an hour is allowed"))
}

fn day_and_hour(now: f64) -> (i64, i64) {
    let hours = (now / 3_600.0).floor() as i64;
    (hours.div_euclid(24), hours.rem_euclid(24))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decreases_of_others_count_too() {
        let (noon, day) = (12.5 * 3_600.0, 86_400.0);
        assert_eq!(of_others(3, Some(noon - 60.0), noon), None);
        assert!(of_others(4, Some(noon - 60.0), noon).is_some());
        assert_eq!(of_others(4, Some(noon - 3_600.0), noon), None);
        assert!(of_others(27, Some(noon - 7_200.0), noon).is_some_and(|w| w.contains("27 are allowed")));
        assert_eq!(of_others(27, Some(noon), noon + day), None, "yesterday's do not count");
        assert_eq!(of_others(0, None, noon), None);
    }

    #[test]
    fn four_in_the_first_hour_then_one_an_hour_and_27_a_day() {
        let mut made = Decreases::default();
        let mut by_hour = [0; 48];
        for minute in 0..48 * 60 {
            let now = f64::from(minute) * 60.0;
            if made.refuse(now).is_none() {
                made.note(now);
                by_hour[minute as usize / 60] += 1;
            }
        }
        assert_eq!(by_hour[..24].iter().sum::<i32>(), 27);
        assert_eq!((by_hour[0], by_hour[24]), (4, 4));
        assert!(by_hour[1..24].iter().all(|n| *n == 1));
    }
}
