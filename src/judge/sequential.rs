//! The canary judge: one interval after the other in, wait, go, roll back or cannot tell out, each with its reason.
//!
//! It may be asked after every interval, however often: the evidence is sequential. A gap is never fed as zeros, an ill
//! baseline is never held against the canary, and go is withdrawn when the evidence turns.

use serde::{Deserialize, Serialize};

use super::evidence::{self, Counts, Margin};
use super::guard::{Counted, Guard};
use super::interval::{Interval, Side};
use super::panel::{DOUBT, GO, LEAST_SLICES, Panel, ROLL_BACK, Reading, SOAK_S, Weights};
use super::usual::{ILL_ERRORS, Usual, percent};

/// Noise assumed while both sides are ill (70 % between groups), how much worse the canary then has to be, and how surely.
const ILL_SHAPE: f64 = 2.0;
const ILL_RATIOS: [f64; 3] = [5.0, 12.0, 30.0];
const ILL_SURE: f64 = 100.0;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Call {
    Wait,
    Go,
    Rollback,
    CannotTell,
}

/// What is judged, and how strictly.
#[derive(Clone, Debug, PartialEq)]
pub struct Terms {
    pub guards: Vec<Guard>,
    /// The whole walk, seconds.
    pub walk_s: f64,
    /// Share of the baseline's own errors at which it is ill.
    pub ill_errors: f64,
    /// The shortest time of numbers before go, seconds.
    pub soak_s: f64,
}

impl Default for Terms {
    fn default() -> Self {
        Self { guards: Guard::usual(), walk_s: 9000.0, ill_errors: ILL_ERRORS, soak_s: SOAK_S }
    }
}

/// The judgement of one interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Look {
    pub t: f64,
    pub verdict: Call,
    pub reason: String,
    /// A guard each, where there was something to weigh.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Exhibit>,
}

/// One guard's numbers since the stage began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exhibit {
    pub guard: String,
    /// How many milliseconds slower the canary may be: its slow requests are those slower by more than that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerated_ms: Option<f64>,
    pub canary: Sample,
    pub baseline: Sample,
    /// Evidence, as odds to one: for harm (`ROLL_BACK` rolls back), and for health (`GO` is needed).
    pub harm: f64,
    pub health: f64,
    /// Of that for harm, what is left when a storm of a minute is the other answer; `None` in an older journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lasting: Option<f64>,
    /// How much groups of viewers differ among themselves, 0.1 being 10 %; `None` where that had to be assumed.
    pub noise: Option<f64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    pub counted: f64,
    pub of: f64,
}

#[derive(Clone, Debug)]
pub struct Judge {
    terms: Terms,
    usual: Usual,
    panel: Option<Panel>,
    /// Slices of the first measured baseline.
    slices: usize,
    last_t: Option<f64>,
    /// The shortest step of `t` so far.
    step_s: Option<f64>,
    stage: Option<u32>,
    /// Intervals with numbers from both sides since the stage began.
    measured: f64,
    totals: Vec<Total>,
    rolled_back: Option<String>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Total {
    canary: Sample,
    baseline: Sample,
    /// The absolute margin, where ratios say too little.
    points: Option<f64>,
}

/// One guard's counts in one interval, before they are weighed.
struct Tally {
    canary: (f64, f64),
    baseline: (f64, f64),
    slices: Vec<(f64, f64)>,
    margin: Margin,
    points: Option<f64>,
}

impl Tally {
    fn reading(&self) -> Reading<'_> {
        let counts = Counts { canary: self.canary, baseline: self.baseline, slices: &self.slices };
        Reading { counts, margin: self.margin }
    }
}

impl Judge {
    pub fn new(terms: Terms) -> Self {
        let totals = vec![Total::default(); terms.guards.len()];
        Self {
            terms,
            usual: Usual::default(),
            panel: None,
            slices: 0,
            last_t: None,
            step_s: None,
            stage: None,
            measured: 0.0,
            totals,
            rolled_back: None,
        }
    }

    /// Judges as of this interval; the error says why it cannot be one (time going backwards).
    pub fn look(&mut self, now: &Interval) -> Result<Look, String> {
        let t = now.t;
        if let Some(last) = self.last_t.filter(|last| t < *last) {
            return Err(format!("t goes back from {last} to {t}"));
        }
        let stale = self.last_t == Some(t);
        if let Some(step) = self.last_t.map(|last| t - last).filter(|s| *s > 0.0) {
            self.step_s = Some(self.step_s.map_or(step, |least: f64| least.min(step)));
        }
        self.last_t = Some(t);
        if let Some(reason) = &self.rolled_back {
            return Ok(told(t, Call::Rollback, format!("rolled back before: {reason}")));
        }
        if stale {
            let reason = format!("no new numbers: the source repeats t = {t}");
            return Ok(told(t, Call::CannotTell, reason));
        }
        let look = self.judge(now);
        if look.verdict == Call::Rollback {
            self.rolled_back = Some(look.reason.clone());
        }
        Ok(look)
    }

    fn judge(&mut self, now: &Interval) -> Look {
        let t = now.t;
        let Some(baseline) = now.baseline.as_ref().filter(|b| b.requests > 0.0) else {
            let both = now.canary.as_ref().is_none_or(|c| c.requests == 0.0);
            let who = if both { "neither side has" } else { "the baseline has no" };
            let what = if now.baseline.is_some() { "requests" } else { "numbers" };
            return told(t, Call::CannotTell, format!("{who} {what} in this interval: nothing to compare with"));
        };
        let ill = self.usual.illness(t, baseline, self.terms.ill_errors);
        let canary = now.canary.as_ref().filter(|c| c.requests > 0.0);
        let look = match (&ill, canary) {
            (Some(why), _) => both_bad(t, why, baseline, canary),
            (None, None) => {
                self.learn(now, baseline);
                let what = if now.canary.is_some() { "no requests" } else { "no numbers" };
                told(
                    t,
                    Call::CannotTell,
                    format!("the canary has {what} in this interval: its source is blind or no traffic reaches it"),
                )
            }
            (None, Some(canary)) => self.compare(now, baseline, canary),
        };
        self.usual.keep(t, baseline, ill.is_some());
        look
    }

    /// Learns the noise of the baseline from an interval without a canary.
    fn learn(&mut self, now: &Interval, baseline: &Side) {
        let counted = self.counted(now, baseline, &Side::default());
        self.feed(now, &counted, false);
    }

    fn compare(&mut self, now: &Interval, baseline: &Side, canary: &Side) -> Look {
        let counted = self.counted(now, baseline, canary);
        let blind: Vec<&str> =
            self.terms.guards.iter().zip(&counted).filter(|(_, c)| c.is_none()).map(|(g, _)| g.name.as_str()).collect();
        let blind = blind.join(", ");
        self.feed(now, &counted, true);
        let Some(panel) = &self.panel else { return told(now.t, Call::CannotTell, "nothing is guarded".to_owned()) };
        let weights = panel.weigh();
        let evidence = self.exhibits(panel, &weights);
        let (verdict, reason) = if weights.rolls_back() {
            (Call::Rollback, self.accusation(&weights, &evidence))
        } else if !blind.is_empty() {
            (Call::CannotTell, format!("{blind}: no numbers from both sides in this interval"))
        } else if let Some(reason) = self.unsure_of_latency(&weights, &evidence) {
            (Call::CannotTell, reason)
        } else {
            self.go_or_wait(&weights, &evidence)
        };
        Look { t: now.t, verdict, reason, evidence }
    }

    /// Takes each guard's counts from the sides; `None` where one side does not have them.
    fn counted(&self, now: &Interval, baseline: &Side, canary: &Side) -> Vec<Option<Tally>> {
        // The very first interval has nothing before it: its own baseline says what is usual.
        let mut own = Usual::default();
        let usual = if self.usual.is_empty() {
            own.keep(now.t, baseline, false);
            &own
        } else {
            &self.usual
        };
        let slices: Vec<Side> = now.slices.iter().map(|s| s.clone().unwrap_or_default()).collect();
        self.terms.guards.iter().map(|guard| count(guard, usual, baseline, canary, &slices)).collect()
    }

    fn feed(&mut self, now: &Interval, counted: &[Option<Tally>], canary_seen: bool) {
        let begins = now.stage.is_some() && self.stage.is_some() && now.stage != self.stage;
        self.stage = now.stage.or(self.stage);
        if begins {
            self.measured = 0.0;
            self.totals.iter_mut().for_each(|t| *t = Total::default());
        }
        let panel = self.panel.get_or_insert_with(|| {
            self.slices = now.slices.iter().flatten().filter(|s| s.requests > 0.0).count();
            Panel::new(&self.terms.guards, self.slices, self.terms.walk_s)
        });
        let readings: Vec<_> = counted.iter().map(|c| c.as_ref().map(Tally::reading)).collect();
        panel.feed(now.t, &readings, canary_seen, begins);
        if !canary_seen {
            return;
        }
        self.measured += 1.0;
        for (total, counted) in self.totals.iter_mut().zip(counted) {
            if let Some(c) = counted {
                total.canary.add(c.canary);
                total.baseline.add(c.baseline);
                total.points = c.points;
            }
        }
    }

    fn exhibits(&self, panel: &Panel, weights: &Weights) -> Vec<Exhibit> {
        let spreads: Vec<f64> = panel.spreads().collect();
        let each = self.terms.guards.iter().zip(&self.totals).zip(&weights.metrics).zip(spreads);
        each.map(|(((guard, total), weighed), spread)| Exhibit {
            guard: guard.name.clone(),
            tolerated_ms: (guard.tolerated_ms > 0.0).then_some(guard.tolerated_ms),
            canary: total.canary,
            baseline: total.baseline,
            harm: odds(weighed.bad),
            lasting: Some(odds(weighed.lasting)),
            health: odds(weighed.go.max(total.absolute())),
            noise: (self.slices > 1).then_some(spread),
        })
        .collect()
    }

    fn accusation(&self, weights: &Weights, evidence: &[Exhibit]) -> String {
        let guilty = |i: &usize| self.slices >= LEAST_SLICES || !self.terms.guards[*i].counts.is_latency();
        let ranked = (0..evidence.len()).filter(guilty);
        let most = ranked.max_by(|a, b| {
            let share = |i: usize| weights.metrics[i].lasting + self.terms.guards[i].weight.ln();
            share(*a).total_cmp(&share(*b))
        });
        let what = most.map_or(String::new(), |i| evidence[i].sentence());
        format!(
            "{what}; evidence of harm {} to 1, {ROLL_BACK:.0} roll back{}",
            short(odds(weights.lasting)),
            self.assumed()
        )
    }

    /// With too few slices latency cannot roll back; but when it looks bad, nobody should go on either.
    fn unsure_of_latency(&self, weights: &Weights, evidence: &[Exhibit]) -> Option<String> {
        if self.slices >= LEAST_SLICES {
            return None;
        }
        let worst = (0..evidence.len())
            .filter(|i| self.terms.guards[*i].counts.is_latency())
            .max_by(|a, b| weights.metrics[*a].bad.total_cmp(&weights.metrics[*b].bad))?;
        (weights.metrics[worst].bad >= ROLL_BACK.ln()).then(|| {
            let slices = self.slices;
            format!(
                "{}; that looks like harm, but with {slices} slices of the baseline (at least {LEAST_SLICES} are needed) \
                 it cannot be told from noise{}",
                evidence[worst].sentence(),
                self.assumed()
            )
        })
    }

    fn go_or_wait(&self, weights: &Weights, evidence: &[Exhibit]) -> (Call, String) {
        let healthy = evidence.iter().all(|e| e.health >= GO && e.harm < DOUBT) && weights.bad < DOUBT.ln();
        let seen_s = self.measured * self.step_s.unwrap_or(0.0);
        if healthy && seen_s >= self.terms.soak_s {
            let sample: f64 = evidence.iter().map(|e| e.canary.of).fold(0.0, f64::max);
            let each = evidence.iter().map(Exhibit::sentence).collect::<Vec<_>>().join("; ");
            return (
                Call::Go,
                format!("harm is excluded over {sample:.0} requests of the canary: {each}{}", self.assumed()),
            );
        }
        if healthy {
            let left = self.terms.soak_s - seen_s;
            return (
                Call::Wait,
                format!("healthy so far; {left:.0} more seconds of numbers before go{}", self.assumed()),
            );
        }
        if let Some(e) = evidence.iter().find(|e| e.harm >= DOUBT) {
            let odds = short(e.harm);
            let storm = if weights.may_be_a_storm() {
                "; a storm of a minute would look the same so far: rolled back if it goes on"
            } else {
                ""
            };
            let doubt = format!("{}; in doubt: evidence of harm {odds} to 1{storm}{}", e.sentence(), self.assumed());
            return (Call::Wait, doubt);
        }
        let slowest = evidence.iter().min_by(|a, b| a.health.total_cmp(&b.health));
        let reason = slowest.map_or(String::new(), |e| {
            let sample = e.canary.of;
            let so_far = format!("{}: harm not excluded yet after {sample:.0} requests", e.guard);
            match minutes_left(e.health, seen_s) {
                Some(minutes) => format!("{so_far}; needs about {minutes} more minutes at this traffic"),
                None => so_far,
            }
        });
        (Call::Wait, reason + &self.assumed())
    }

    /// The noise is a guess unless there are slices to learn it from; every verdict then says so.
    fn assumed(&self) -> String {
        if self.slices > 1 { String::new() } else { " (assumed noise: the baseline has no slices)".to_owned() }
    }
}

/// The baseline itself is ill: hold, unless the canary is far worse still in the very same interval.
fn both_bad(t: f64, why: &str, baseline: &Side, canary: Option<&Side>) -> Look {
    let Some(canary) = canary else {
        return told(t, Call::CannotTell, format!("{why}, and the canary has no numbers"));
    };
    let (own, rest) = ((canary.errors, canary.requests), (baseline.errors, baseline.requests));
    let each = ILL_RATIOS.iter().map(|r| evidence::fixed(own, rest, ILL_SHAPE, *r));
    let surest = each.fold(f64::NEG_INFINITY, f64::max);
    let share = percent(canary.errors / canary.requests);
    if surest >= ILL_SURE.ln() {
        return told(t, Call::Rollback, format!("{why}, but the canary is far worse: {share} of its requests fail"));
    }
    told(t, Call::CannotTell, format!("{why}: this is not the canary ({share} of its requests fail)"))
}

/// Evidence of health grows as an exponential of time, so its logarithm tells how much is missing.
fn minutes_left(health: f64, seen_s: f64) -> Option<u64> {
    let so_far = health.ln();
    (so_far > 0.1 && seen_s >= 30.0).then(|| {
        let missing = (GO.ln() - so_far).max(0.0) / so_far * seen_s;
        (missing / 60.0).ceil().max(1.0) as u64
    })
}

/// Takes `(counted, out of)` from a side.
type Take<'a> = Box<dyn Fn(&Side) -> (f64, f64) + 'a>;

fn count(guard: &Guard, usual: &Usual, baseline: &Side, canary: &Side, slices: &[Side]) -> Option<Tally> {
    // A canary that may be a few milliseconds slower is measured from a limit that lies so much higher.
    let mut own = None;
    let (of, margin, points): (Take<'_>, _, _) = match &guard.counts {
        Counted::Errors => {
            let (margin, points) = usual.margin(guard)?;
            (Box::new(|s: &Side| (s.errors, s.requests)), margin, points)
        }
        Counted::Named(name) => {
            let (margin, points) = usual.margin(guard)?;
            baseline.named(name)?;
            let seen = canary.requests == 0.0 || canary.named(name).is_some();
            seen.then_some(())?;
            // A slice that lacks the count has no part in it.
            let count = move |s: &Side| s.named(name).map_or((0.0, 0.0), |k| (k, s.requests.max(k)));
            (Box::new(count), margin, points)
        }
        Counted::Slower { quantile } => {
            let cut = usual.cut(*quantile, guard)?;
            let timed = move |s: &Side| (s.slower_than(cut.limit), s.timed());
            if timed(baseline).1 == 0.0 || canary.requests > 0.0 && timed(canary).1 == 0.0 {
                return None;
            }
            own = (guard.tolerated_ms > 0.0)
                .then(|| (canary.slower_than(cut.limit + guard.tolerated_ms), canary.timed()));
            (Box::new(timed), cut.margin, cut.points)
        }
    };
    let (own, rest) = (own.unwrap_or_else(|| of(canary)), of(baseline));
    Some(Tally { canary: own, baseline: rest, slices: slices.iter().map(&of).collect(), margin, points })
}

fn told(t: f64, verdict: Call, reason: String) -> Look {
    Look { t, verdict, reason, evidence: Vec::new() }
}

fn odds(ln: f64) -> f64 {
    ln.clamp(-700.0, 700.0).exp()
}

fn short(odds: f64) -> String {
    match odds {
        o if o >= 1e6 => "over a million".to_owned(),
        o if o >= 10.0 => format!("{o:.0}"),
        o => format!("{o:.1}"),
    }
}

impl Sample {
    fn add(&mut self, (counted, of): (f64, f64)) {
        self.counted += counted;
        self.of += of;
    }

    pub fn share(&self) -> f64 {
        if self.of > 0.0 { self.counted / self.of } else { 0.0 }
    }
}

impl Total {
    /// Evidence that the canary's share is as the baseline's and not that many points higher: for counts so rare that
    /// both sides may have none. Noise as assumed for errors, lasting.
    fn absolute(&self) -> f64 {
        let Some(points) = self.points else { return f64::NEG_INFINITY };
        let shape = Counted::Errors.assumed_shape();
        let usual = (self.baseline.counted + 0.5) / (self.baseline.of + 1.0);
        let (k, n) = (self.canary.counted, self.canary.of);
        let harm = usual + points;
        k * (usual / harm).ln() + (shape + k) * ((shape + n * harm) / (shape + n * usual)).ln()
    }
}

impl Exhibit {
    /// Whether it is enough to roll back for, had it the whole say.
    pub fn is_bad(&self) -> bool {
        self.harm >= ROLL_BACK && !self.may_be_a_storm()
    }

    /// Whether it looks like harm, but a storm of a minute would look the same so far.
    pub fn may_be_a_storm(&self) -> bool {
        self.harm >= ROLL_BACK && self.lasting.is_some_and(|l| l < ROLL_BACK)
    }

    /// "errors 0.31 % of 4512 against 0.10 %".
    pub fn sentence(&self) -> String {
        let (canary, baseline) = (percent(self.canary.share()), percent(self.baseline.share()));
        let of = self.canary.of;
        if let Some(ms) = self.tolerated_ms {
            let guard = &self.guard;
            return format!(
                "slower than the usual {guard} by over {ms} ms: {canary} of {of:.0}, {baseline} of the baseline by any time"
            );
        }
        let what = if self.guard.starts_with('p') && self.guard[1..].parse::<f64>().is_ok() {
            format!("slower than the usual {}:", self.guard)
        } else {
            self.guard.clone()
        };
        format!("{what} {canary} of {of:.0} against {baseline}")
    }

    /// Returns the guard's name, with the milliseconds that only the canary is allowed: `p95+5ms`.
    pub fn label(&self) -> String {
        self.tolerated_ms.map_or_else(|| self.guard.clone(), |ms| format!("{}+{ms}ms", self.guard))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canary_that_may_be_a_little_slower_is_told_from_its_own_limit() {
        let told = |tolerated_ms| {
            let counted = |counted| Sample { counted, of: 1000.0 };
            let (canary, baseline) = (counted(0.0), counted(28.0));
            let guard = "p95".to_owned();
            let e =
                Exhibit { guard, tolerated_ms, canary, baseline, harm: 0.1, health: 99.0, lasting: None, noise: None };
            (e.label(), e.sentence())
        };
        let usual = "slower than the usual p95: 0 % of 1000 against 2.80 %";
        assert_eq!(told(None), ("p95".to_owned(), usual.to_owned()));
        let wide = "slower than the usual p95 by over 5 ms: 0 % of 1000, 2.80 % of the baseline by any time";
        assert_eq!(told(Some(5.0)), ("p95+5ms".to_owned(), wide.to_owned()));
    }
}
