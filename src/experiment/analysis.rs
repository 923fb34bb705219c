//! What an experiment says: first whether it can be trusted, then the difference, by methods that check one another.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde::Serialize;

use super::chance::{chi_squared_p, normal_at, student_at, student_p};
use super::exposures::{Exposures, Segment};
use super::moments::{Done, Mean, Moments, cuped};
use super::peek::{self, Peek};
use crate::judge::verdict::Verdict;

/// Below this the groups are not the sizes they were meant to be, and nothing else counts.
const MISMATCH: f64 = 0.001;
/// Values above this quantile are taken down to it in the winsorised mean.
const WINSOR: f64 = 0.995;
/// Resamples of the bootstrap, and the packs of viewers that it draws.
const RESAMPLES: usize = 1000;
const PACKS: usize = 1000;
/// The chance of noticing that "could have noticed" means.
const POWER: f64 = 0.8;

/// How it is to be read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Asked {
    pub alpha: f64,
    /// The share of viewers that was meant for the group with the change.
    pub split: f64,
    pub lower_is_better: bool,
    /// This is the end that was planned beforehand: the fixed-size interval decides, not the one for peeking.
    pub planned_end: bool,
}

/// The difference by one method.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Estimate {
    pub method: &'static str,
    pub control: f64,
    pub treatment: f64,
    pub difference: f64,
    /// Of the control's mean; `None` where that is zero.
    pub relative: Option<f64>,
    pub low: f64,
    pub high: f64,
    pub p: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupSize {
    pub name: String,
    pub viewers: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SegmentEffect {
    pub segment: String,
    pub value: String,
    pub viewers: u64,
    pub difference: f64,
    pub relative: Option<f64>,
    pub p: f64,
    /// Corrected for the number of segments looked at (Holm).
    pub p_corrected: f64,
    pub significant: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Findings {
    pub verdict: Verdict,
    pub reason: String,
    pub groups: [GroupSize; 2],
    /// The chance of such a split, were the assignment as planned.
    pub sample_ratio_p: f64,
    pub estimates: Vec<Estimate>,
    /// Between before and during, where CUPED was possible; its interval is `sqrt(1 - r^2)` of the plain one.
    pub correlation: Option<f64>,
    /// The smallest true difference that would have been noticed in four of five such experiments.
    pub noticeable: f64,
    pub noticeable_relative: Option<f64>,
    /// Day by day, valid at whichever day one stops.
    pub days: Vec<Peek>,
    pub segments: Vec<SegmentEffect>,
}

/// Analyses; both groups have to hold at least two viewers.
pub fn analyse(read: &Exposures, asked: Asked) -> Result<Findings, String> {
    let mut done: Vec<Done> = read.viewers.iter().map(|v| Done { before: v.before, ..Done::default() }).collect();
    for row in &read.rows {
        let viewer = &mut done[row.viewer as usize];
        viewer.value += row.value;
        viewer.of += row.of;
    }
    let groups = moments(read, &done, |_| true);
    let sizes = groups.map(|g| g.viewers);
    if let Some(small) = (0..2).find(|i| sizes[*i] < 2.0) {
        return Err(format!("group {} has {} viewers; at least 2 are needed", read.groups[small], sizes[small]));
    }
    let sample_ratio_p = sample_ratio(sizes, asked.split);
    let mut estimates =
        vec![welch(if read.ratio { "delta method" } else { "welch" }, means(read, &groups), sizes, asked.alpha)];
    let mut correlation = None;
    if !read.ratio {
        estimates.push(winsorised(read, &done, sizes, asked.alpha));
    }
    estimates.push(bootstrap(read, &done, asked.alpha));
    if read.has_before {
        let (adjusted, r) = cuped(&groups);
        correlation = Some(r);
        estimates.push(welch("cuped", adjusted, sizes, asked.alpha));
    }
    // The last word is CUPED's where viewers have a past: the same mean, a narrower interval.
    let main = if read.has_before { estimates.len() - 1 } else { 0 };
    let days = peek::peek(read, asked.alpha);
    let noticeable = noticeable(&estimates[main], asked.alpha);
    let segments = segments(read, &done, asked.alpha);
    let (verdict, reason) = conclude(read, asked, sample_ratio_p, &estimates[main], &days, noticeable);
    let sized = |i: usize| GroupSize { name: read.groups[i].clone(), viewers: sizes[i] as u64 };
    Ok(Findings {
        verdict,
        reason,
        groups: [sized(0), sized(1)],
        sample_ratio_p,
        noticeable_relative: relative(noticeable, estimates[main].control),
        estimates,
        correlation,
        noticeable,
        days,
        segments,
    })
}

fn conclude(
    read: &Exposures,
    asked: Asked,
    sample_ratio_p: f64,
    main: &Estimate,
    days: &[Peek],
    noticeable: f64,
) -> (Verdict, String) {
    if sample_ratio_p < MISMATCH {
        let reason = format!(
            "the groups are not the sizes that were planned (p = {sample_ratio_p:.1e}): viewers were lost or added on one \
             side, so no difference can be trusted; find out where before reading on"
        );
        return (Verdict::CannotTell, reason);
    }
    let peeked = days.len() > 1 && !asked.planned_end;
    let crossed = days.iter().find(|d| d.p < asked.alpha);
    let (difference, p, how) = match (peeked, crossed) {
        (true, Some(day)) => (day.difference, day.p, format!("valid at any look, on day {}", day.day)),
        (true, None) => (main.difference, days.last().map_or(1.0, |d| d.p), "valid at any look".to_owned()),
        (false, _) => (main.difference, main.p, main.method.to_owned()),
    };
    let shown =
        |d: f64| relative(d, main.control).map_or_else(|| format!("{d:+.4}"), |r| format!("{:+.2} %", r * 100.0));
    let [control, treatment] = &read.groups;
    if p >= asked.alpha || p.is_nan() {
        let could = shown(noticeable).replace('+', "");
        let reason = format!(
            "no difference shown between {treatment} and {control}: {} (p = {p:.3}, {how}); {could} or more would have \
             been noticed in four of five such experiments",
            shown(main.difference)
        );
        return (Verdict::CannotTell, reason);
    }
    let better = (difference > 0.0) != asked.lower_is_better;
    let word = if better { "better" } else { "worse" };
    let reason = format!("{treatment} is {word} than {control}: {} (p = {p:.2e}, {how})", shown(difference));
    (if better { Verdict::Go } else { Verdict::No }, reason)
}

/// Sums each group over the viewers that `takes_part`.
fn moments(read: &Exposures, done: &[Done], takes_part: impl Fn(usize) -> bool) -> [Moments; 2] {
    let mut groups = [Moments::default(); 2];
    for (i, (viewer, done)) in read.viewers.iter().zip(done).enumerate() {
        if takes_part(i) {
            groups[usize::from(viewer.group)].add(done, 1.0);
        }
    }
    groups
}

fn means(read: &Exposures, groups: &[Moments; 2]) -> [Mean; 2] {
    groups.map(|g| if read.ratio { g.ratio() } else { g.plain() })
}

/// Returns the chance that groups meant to be split so come out as uneven as these.
fn sample_ratio(sizes: [f64; 2], split: f64) -> f64 {
    let all = sizes[0] + sizes[1];
    let meant = [all * (1.0 - split), all * split];
    chi_squared_p(sizes.iter().zip(meant).map(|(n, m)| (n - m) * (n - m) / m).sum())
}

fn relative(difference: f64, control: f64) -> Option<f64> {
    (control != 0.0).then(|| difference / control.abs())
}

fn welch(method: &'static str, [control, treatment]: [Mean; 2], sizes: [f64; 2], alpha: f64) -> Estimate {
    let variance = control.variance + treatment.variance;
    let part = |m: Mean, n: f64| m.variance * m.variance / (n - 1.0);
    let df = variance * variance / (part(control, sizes[0]) + part(treatment, sizes[1]));
    let difference = treatment.mean - control.mean;
    let error = variance.sqrt();
    let (p, half) = match () {
        // No spread at all: equal means differ by nothing, unequal ones surely.
        () if error == 0.0 => (if difference == 0.0 { 1.0 } else { 0.0 }, 0.0),
        () => (student_p(difference / error, df), student_at(alpha, df) * error),
    };
    Estimate {
        method,
        control: control.mean,
        treatment: treatment.mean,
        difference,
        relative: relative(difference, control.mean),
        low: difference - half,
        high: difference + half,
        p,
    }
}

/// Takes the largest values down to a common ceiling, so that one sleeper before a running screen decides nothing.
fn winsorised(read: &Exposures, done: &[Done], sizes: [f64; 2], alpha: f64) -> Estimate {
    let mut values: Vec<f64> = done.iter().map(|d| d.value).collect();
    let at = ((values.len() - 1) as f64 * WINSOR) as usize;
    let ceiling = *values.select_nth_unstable_by(at, f64::total_cmp).1;
    let cut: Vec<Done> = done.iter().map(|d| Done { value: d.value.min(ceiling), ..*d }).collect();
    let groups = moments(read, &cut, |_| true);
    welch("winsorised", groups.map(|g| g.plain()), sizes, alpha)
}

/// Draws viewers anew a thousand times, in packs where there are many; no distribution is assumed.
fn bootstrap(read: &Exposures, done: &[Done], alpha: f64) -> Estimate {
    let mut packs: [Vec<(f64, f64)>; 2] = [Vec::new(), Vec::new()];
    let mut placed = [0; 2];
    for (viewer, done) in read.viewers.iter().zip(done) {
        let group = usize::from(viewer.group);
        let of = if read.ratio { done.of } else { 1.0 };
        if packs[group].len() < PACKS {
            packs[group].push((done.value, of));
        } else {
            let pack = &mut packs[group][placed[group] % PACKS];
            *pack = (pack.0 + done.value, pack.1 + of);
            placed[group] += 1;
        }
    }
    let ratio = |(value, of): (f64, f64)| value / of;
    let sum = |packs: &[(f64, f64)]| packs.iter().fold((0.0, 0.0), |(v, o), p| (v + p.0, o + p.1));
    let [control, treatment] = [0, 1].map(|g| ratio(sum(&packs[g])));
    let mut dice = Pcg64Mcg::seed_from_u64(7);
    let mut drawn = |packs: &[(f64, f64)]| {
        let each = (0..packs.len()).map(|_| packs[dice.random_range(0..packs.len())]);
        ratio(each.fold((0.0, 0.0), |(v, o), p| (v + p.0, o + p.1)))
    };
    let mut differences: Vec<f64> = (0..RESAMPLES).map(|_| drawn(&packs[1]) - drawn(&packs[0])).collect();
    differences.retain(|d| d.is_finite());
    differences.sort_by(f64::total_cmp);
    let at = |q: f64| differences.get(((differences.len() as f64 - 1.0) * q) as usize).copied().unwrap_or(f64::NAN);
    let below = differences.iter().filter(|d| **d < 0.0).count() as f64;
    let above = differences.iter().filter(|d| **d > 0.0).count() as f64;
    let rarer = (below.min(above) + 1.0) / (differences.len() as f64 + 1.0);
    Estimate {
        method: "bootstrap",
        control,
        treatment,
        difference: treatment - control,
        relative: relative(treatment - control, control),
        low: at(alpha / 2.0),
        high: at(1.0 - alpha / 2.0),
        p: (2.0 * rarer).min(1.0),
    }
}

fn noticeable(main: &Estimate, alpha: f64) -> f64 {
    let beyond = normal_at(1.0 - alpha / 2.0);
    (main.high - main.low) / 2.0 / beyond * (beyond + normal_at(POWER))
}

/// Compares within every value of every segment; the more are looked at, the more each has to show.
fn segments(read: &Exposures, done: &[Done], alpha: f64) -> Vec<SegmentEffect> {
    let mut found: Vec<SegmentEffect> = read.segments.iter().flat_map(|s| segment(read, done, s, alpha)).collect();
    found.sort_by(|a, b| a.p.total_cmp(&b.p));
    let (count, mut least) = (found.len(), 0.0_f64);
    for (i, effect) in found.iter_mut().enumerate() {
        least = least.max(effect.p * (count - i) as f64).min(1.0);
        effect.p_corrected = least;
        effect.significant = least < alpha;
    }
    found
}

fn segment(read: &Exposures, done: &[Done], segment: &Segment, alpha: f64) -> Vec<SegmentEffect> {
    let mut each = vec![[Moments::default(); 2]; segment.values.len()];
    for ((viewer, done), value) in read.viewers.iter().zip(done).zip(&segment.of) {
        each[usize::from(*value)][usize::from(viewer.group)].add(done, 1.0);
    }
    let effect = |(groups, value): (&[Moments; 2], &String)| {
        let sizes = groups.map(|g| g.viewers);
        (sizes[0] >= 2.0 && sizes[1] >= 2.0).then(|| {
            let estimate = welch("welch", means(read, groups), sizes, alpha);
            SegmentEffect {
                segment: segment.name.clone(),
                value: value.clone(),
                viewers: (sizes[0] + sizes[1]) as u64,
                difference: estimate.difference,
                relative: estimate.relative,
                p: estimate.p,
                p_corrected: 1.0,
                significant: false,
            }
        })
    };
    each.iter().zip(&segment.values).filter_map(effect).collect()
}
