//! When each request is due: fixed before the run begins, from the stages alone, and never shifted afterwards.

use std::sync::Arc;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::evening::Crowd;
use super::tick::StagePlan;

/// How the rate moves within one stage; requests a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    Constant { rate: f64 },
    Ramp { from: f64, to: f64 },
    Steps { from: f64, to: f64, by: f64, each: Duration },
    Spike { base: f64, peak: f64, at: Duration, lasts: Duration },
    Sine { low: f64, high: f64, period: Duration },
    Poisson { rate: f64 },
}

#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    pub name: String,
    pub shape: Shape,
    /// From the beginning of the run.
    pub begins: Duration,
    pub lasts: Duration,
}

/// What decides the due times of a run.
#[derive(Clone, Debug)]
pub enum Schedule {
    /// Open: stages, one after the other.
    Stages(Vec<Stage>),
    /// Open: due times that were recorded elsewhere, ascending, from the beginning of the run.
    Recorded(Arc<[Duration]>),
    /// Closed: every connection asks again as soon as it is answered.
    Max(Duration),
    /// Closed: viewers who think between their requests.
    Users(Crowd),
}

/// One part of several that together send the whole schedule: the requests whose index leaves `part` when divided by `of`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    pub part: u64,
    pub of: u64,
}

impl Default for Shard {
    fn default() -> Self {
        Self { part: 0, of: 1 }
    }
}

impl Shard {
    /// Returns the `worker`-th of `workers` parts of this part.
    #[must_use]
    pub fn split(self, worker: u64, workers: u64) -> Self {
        Self { part: self.part + self.of * worker, of: self.of * workers }
    }
}

impl Schedule {
    pub fn constant(rate: f64, lasts: Duration) -> Self {
        let stage = Stage { name: String::new(), shape: Shape::Constant { rate }, begins: Duration::ZERO, lasts };
        Self::Stages(vec![stage])
    }

    /// Whether the target decides how fast it is asked.
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Max(_) | Self::Users(_))
    }

    /// Returns the word for what decides when a request is sent.
    pub fn model(&self) -> &'static str {
        match self {
            Self::Stages(_) | Self::Recorded(_) => "open",
            Self::Max(_) => "closed",
            Self::Users(_) => "users",
        }
    }

    /// Returns how long requests keep falling due.
    pub fn duration(&self) -> Duration {
        match self {
            Self::Stages(stages) => stages.last().map_or(Duration::ZERO, |s| s.begins + s.lasts),
            Self::Recorded(dues) => dues.last().map_or(Duration::ZERO, |d| *d + Duration::from_millis(1)),
            Self::Max(lasts) => *lasts,
            Self::Users(crowd) => crowd.lasts,
        }
    }

    /// Returns how many requests the whole schedule holds; `None` where only the target decides.
    pub fn planned(&self) -> Option<u64> {
        match self {
            Self::Stages(_) => Some(self.arrivals(0, Shard::default()).count() as u64),
            Self::Recorded(dues) => Some(dues.len() as u64),
            Self::Max(_) | Self::Users(_) => None,
        }
    }

    /// Returns how many requests each stage holds; empty where only the target decides.
    pub fn planned_by_stage(&self) -> Vec<u64> {
        let mut counts = vec![0; self.stages().len()];
        match self {
            Self::Stages(_) => {
                self.arrivals(0, Shard::default()).for_each(|due| counts[usize::from(due.stage)] += 1);
            }
            Self::Recorded(dues) => counts[0] = dues.len() as u64,
            Self::Max(_) | Self::Users(_) => counts.clear(),
        }
        counts
    }

    /// Returns the highest rate of any moment.
    pub fn peak(&self) -> f64 {
        match self {
            Self::Stages(stages) => stages.iter().map(|s| s.shape.peak()).fold(0.0, f64::max),
            Self::Recorded(dues) => {
                let busiest = dues.chunk_by(|a, b| a.as_secs() == b.as_secs()).map(<[_]>::len).max();
                busiest.unwrap_or(0) as f64
            }
            Self::Max(_) => f64::INFINITY,
            Self::Users(crowd) => crowd.peak(),
        }
    }

    pub fn stages(&self) -> Vec<StagePlan> {
        let plan = |name: &str, begins: Duration, ends: Duration, peak_rate| StagePlan {
            name: name.to_owned(),
            begins_s: begins.as_secs_f64(),
            ends_s: ends.as_secs_f64(),
            peak_rate,
        };
        match self {
            Self::Stages(stages) => {
                stages.iter().map(|s| plan(&s.name, s.begins, s.begins + s.lasts, s.shape.peak())).collect()
            }
            Self::Recorded(_) => vec![plan("recorded", Duration::ZERO, self.duration(), self.peak())],
            Self::Max(lasts) => vec![plan("max", Duration::ZERO, *lasts, 0.0)],
            Self::Users(crowd) => vec![plan("users", Duration::ZERO, crowd.lasts, 0.0)],
        }
    }

    /// Returns the due times of one shard, ascending; the same seed gives the same ones in every process.
    pub fn arrivals(&self, seed: u64, shard: Shard) -> Arrivals {
        let kind = match self {
            Self::Stages(stages) => {
                Kind::Stages(Walk { segments: segments(stages).into(), at: 0, done: 0.0, gap: None, seed })
            }
            Self::Recorded(dues) => Kind::Recorded(Arc::clone(dues)),
            Self::Max(_) | Self::Users(_) => Kind::None,
        };
        Arrivals { kind, index: 0, shard }
    }
}

impl Shape {
    fn peak(&self) -> f64 {
        match *self {
            Self::Constant { rate } | Self::Poisson { rate } => rate,
            Self::Ramp { from, to } | Self::Steps { from, to, .. } => from.max(to),
            Self::Spike { base, peak, .. } => base.max(peak),
            Self::Sine { low, high, .. } => low.max(high),
        }
    }
}

/// One request of the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Its place in the whole schedule, whatever the shard.
    pub index: u64,
    /// Nanoseconds from the beginning of the run.
    pub at_ns: u64,
    pub stage: u16,
}

/// Walks a schedule without ever holding it.
#[derive(Clone, Debug)]
pub struct Arrivals {
    kind: Kind,
    index: u64,
    shard: Shard,
}

#[derive(Clone, Debug)]
enum Kind {
    Stages(Walk),
    Recorded(Arc<[Duration]>),
    None,
}

impl Iterator for Arrivals {
    type Item = Due;

    fn next(&mut self) -> Option<Due> {
        if let Kind::Recorded(dues) = &self.kind {
            let index = if self.index == 0 { self.shard.part } else { self.index };
            let at_ns = dues.get(index as usize)?.as_nanos() as u64;
            self.index = index + self.shard.of;
            return Some(Due { index, at_ns, stage: 0 });
        }
        let Kind::Stages(walk) = &mut self.kind else { return None };
        loop {
            let (stage, seconds) = walk.next(self.index)?;
            let index = self.index;
            self.index += 1;
            if index % self.shard.of == self.shard.part {
                return Some(Due { index, at_ns: (seconds * 1e9).round() as u64, stage });
            }
        }
    }
}

/// A piece of time in which the rate follows one formula; `from..to` are requests a second at its ends.
#[derive(Clone, Copy, Debug)]
struct Segment {
    stage: u16,
    begins: f64,
    lasts: f64,
    curve: Curve,
}

#[derive(Clone, Copy, Debug)]
enum Curve {
    Line { from: f64, to: f64 },
    Sine { low: f64, high: f64, period: f64 },
    Poisson { rate: f64 },
}

fn segments(stages: &[Stage]) -> Vec<Segment> {
    let mut all = Vec::new();
    for (number, stage) in stages.iter().enumerate() {
        let (begins, lasts) = (stage.begins.as_secs_f64(), stage.lasts.as_secs_f64());
        let mut add = |after: f64, lasts: f64, curve| {
            if lasts > 0.0 {
                all.push(Segment { stage: number as u16, begins: begins + after, lasts, curve });
            }
        };
        let flat = |rate| Curve::Line { from: rate, to: rate };
        match stage.shape {
            Shape::Constant { rate } => add(0.0, lasts, flat(rate)),
            Shape::Ramp { from, to } => add(0.0, lasts, Curve::Line { from, to }),
            Shape::Poisson { rate } => add(0.0, lasts, Curve::Poisson { rate }),
            Shape::Sine { low, high, period } => {
                add(0.0, lasts, Curve::Sine { low, high, period: period.as_secs_f64() });
            }
            Shape::Spike { base, peak, at, lasts: wide } => {
                let (at, wide) = (at.as_secs_f64(), wide.as_secs_f64());
                add(0.0, at, flat(base));
                add(at, wide, flat(peak));
                add(at + wide, lasts - at - wide, flat(base));
            }
            Shape::Steps { from, to, by, each } => {
                let each = each.as_secs_f64();
                let count = step_count(from, to, by);
                for step in 0..count {
                    let after = step as f64 * each;
                    // The last step holds until the stage ends.
                    let length = if step + 1 == count { lasts - after } else { each };
                    let rate = if step + 1 == count { to } else { from + (to - from).signum() * by * step as f64 };
                    add(after, length, flat(rate));
                }
            }
        }
    }
    all
}

/// Returns how many rates lie on the way from `from` to `to`, both included.
pub fn step_count(from: f64, to: f64, by: f64) -> u64 {
    ((to - from).abs() / by - 1e-9).ceil() as u64 + 1
}

/// Finds request after request: the k-th is due where the area under the rate reaches k.
#[derive(Clone, Debug)]
struct Walk {
    segments: Arc<[Segment]>,
    at: usize,
    /// Area under the segments before `at`.
    done: f64,
    /// Only in a Poisson segment: where its last arrival was, and what draws the next gap.
    gap: Option<(f64, Pcg64Mcg)>,
    seed: u64,
}

/// What rounding may add up to over a long run, in requests.
const SLACK: f64 = 1e-6;

impl Walk {
    fn next(&mut self, index: u64) -> Option<(u16, f64)> {
        loop {
            let segment = *self.segments.get(self.at)?;
            if let Curve::Poisson { rate } = segment.curve {
                let seed = self.seed ^ (self.at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let (last, rng) = self.gap.get_or_insert_with(|| (0.0, Pcg64Mcg::seed_from_u64(seed)));
                let uniform: f64 = rng.random();
                *last -= (1.0 - uniform).ln() / rate;
                if *last < segment.lasts {
                    return Some((segment.stage, segment.begins + *last));
                }
                self.gap = None;
                // Chance decided how many came; the next segment starts its area with the next request.
                self.done = index as f64;
            } else {
                let area = segment.area(segment.lasts);
                let wanted = index as f64 - self.done;
                if wanted < area - SLACK {
                    return Some((segment.stage, segment.begins + segment.when(wanted.max(0.0))));
                }
                self.done += area;
            }
            self.at += 1;
        }
    }
}

impl Segment {
    /// Returns how many requests fall due in the first `t` seconds.
    fn area(&self, t: f64) -> f64 {
        match self.curve {
            Curve::Line { from, to } => from * t + (to - from) * t * t / (2.0 * self.lasts),
            Curve::Sine { low, high, period } => {
                let turn = std::f64::consts::TAU / period;
                // Starts low, as an evening does.
                f64::midpoint(low, high) * t - (high - low) / 2.0 * (turn * t).sin() / turn
            }
            Curve::Poisson { rate } => rate * t,
        }
    }

    /// Returns the time at which the area reaches `wanted`.
    fn when(&self, wanted: f64) -> f64 {
        match self.curve {
            Curve::Poisson { rate } => wanted / rate,
            Curve::Line { from, to } if (to - from).abs() < 1e-12 => wanted / from,
            Curve::Line { from, to } => {
                // The stable form of the quadratic's root: no difference of near-equal numbers.
                let slope = (to - from) / self.lasts;
                let root = (from * from + 2.0 * slope * wanted).max(0.0).sqrt();
                if wanted == 0.0 { 0.0 } else { 2.0 * wanted / (from + root) }
            }
            Curve::Sine { .. } => {
                let (mut low, mut high) = (0.0, self.lasts);
                for _ in 0..60 {
                    let middle = f64::midpoint(low, high);
                    if self.area(middle) < wanted { low = middle } else { high = middle }
                }
                high
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stage(shape: Shape, begins: f64, lasts: f64) -> Stage {
        let seconds = Duration::from_secs_f64;
        Stage { name: "s".to_owned(), shape, begins: seconds(begins), lasts: seconds(lasts) }
    }

    fn dues(stages: Vec<Stage>) -> Vec<Due> {
        Schedule::Stages(stages).arrivals(7, Shard::default()).collect()
    }

    #[test]
    fn a_constant_rate_is_due_on_the_dot_and_exactly_as_often_as_asked() {
        let all = dues(vec![stage(Shape::Constant { rate: 500.0 }, 0.0, 30.0)]);
        assert_eq!(all.len(), 15_000);
        assert_eq!((all[0].at_ns, all[1].at_ns, all[14_999].at_ns), (0, 2_000_000, 29_998_000_000));
    }

    #[test]
    fn shapes_send_the_area_under_their_rate() {
        let seconds = Duration::from_secs_f64;
        let table = [
            (Shape::Ramp { from: 100.0, to: 800.0 }, 120.0, 54_000),
            (Shape::Ramp { from: 0.0, to: 10.0 }, 10.0, 50),
            (Shape::Steps { from: 100.0, to: 300.0, by: 100.0, each: seconds(10.0) }, 30.0, 6_000),
            (Shape::Spike { base: 100.0, peak: 1000.0, at: seconds(5.0), lasts: seconds(2.0) }, 10.0, 2_800),
            (Shape::Sine { low: 0.0, high: 100.0, period: seconds(10.0) }, 10.0, 500),
        ];
        for (shape, lasts, count) in table {
            assert_eq!(dues(vec![stage(shape, 0.0, lasts)]).len(), count, "{shape:?}");
        }
    }

    #[test]
    fn a_poisson_stage_has_about_its_rate_and_uneven_gaps() {
        let all = dues(vec![stage(Shape::Poisson { rate: 1000.0 }, 0.0, 20.0)]);
        assert!((19_500..20_500).contains(&all.len()), "{}", all.len());
        let gaps: Vec<f64> = all.windows(2).map(|w| (w[1].at_ns - w[0].at_ns) as f64 / 1e6).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.05, "an exponential's deviation is its mean");
    }

    #[test]
    fn a_stage_after_chance_keeps_its_own_count() {
        let stages =
            vec![stage(Shape::Poisson { rate: 50.0 }, 0.0, 2.0), stage(Shape::Constant { rate: 10.0 }, 3.0, 2.0)];
        let all = dues(stages);
        let after: Vec<_> = all.iter().filter(|d| d.stage == 1).collect();
        assert_eq!(after.len(), 20);
        assert_eq!(after[0].at_ns, 3_000_000_000);
    }

    proptest! {
        #[test]
        fn due_times_ascend_stay_within_their_stage_and_shards_make_the_whole(
            from in 0.0..900.0_f64, to in 1.0..900.0_f64, low in 0.0..50.0_f64, lasts in 0.5..8.0_f64, of in 1_u64..6,
        ) {
            let stages = vec![
                stage(Shape::Ramp { from, to }, 0.0, lasts),
                stage(Shape::Sine { low, high: low + to, period: Duration::from_secs_f64(1.5) }, lasts, lasts),
                stage(Shape::Poisson { rate: to }, 2.0 * lasts, 1.0),
            ];
            let schedule = Schedule::Stages(stages.clone());
            let whole: Vec<Due> = schedule.arrivals(3, Shard::default()).collect();
            for pair in whole.windows(2) {
                prop_assert!(pair[0].at_ns <= pair[1].at_ns && pair[0].index + 1 == pair[1].index);
            }
            for due in &whole {
                let own = &stages[due.stage as usize];
                let at = due.at_ns as f64 / 1e9;
                prop_assert!(at >= own.begins.as_secs_f64() - 1e-6 && at <= (own.begins + own.lasts).as_secs_f64() + 1e-6);
            }
            let mut parts: Vec<Due> =
                (0..of).flat_map(|part| schedule.arrivals(3, Shard { part, of }).collect::<Vec<_>>()).collect();
            parts.sort_by_key(|d| d.index);
            prop_assert_eq!(parts, whole);
        }
    }
}
