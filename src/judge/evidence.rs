//! How strongly counts speak for harm or for health, with the noise between groups learned from slices of the baseline.
//!
//! The model: in a block of time a group's rate is `common(t) x its own Gamma(a) factor`, so the counts of the slices, given
//! their sum, are Dirichlet-multinomial. The slices tell how noisy groups are (`a`, on a grid), and given `a` the canary's
//! share of all counts tells its rate against the baseline's; bursts that both sides have cancel.

use super::storm::{self, Storms, Window};

/// Shapes of the Gamma factor: 0.5 is wild (140 % noise), 1e5 is none.
const SHAPES: [f64; 12] = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 1024.0, 1e5];
/// What "healthy" may mean when go is weighed, with weights that sum to one: as the baseline, or better. A canary that is
/// far better is as far from harm; were it not among them, wild noise alone would explain it, and noise excludes nothing.
const HEALTHY: [(f64, f64); 5] = [(1.0, 0.3), (0.8, 0.3), (0.6, 0.3), (0.2, 0.05), (0.03, 0.05)];
/// How far behind the likeliest, in logarithms, a shape is left out of a glance.
const FAR_BEHIND: f64 = 25.0;
/// The most alternatives a metric may have.
const MOST: usize = 4;

/// One interval's counts of one metric: `(counted, out of)` for each side and slice.
#[derive(Clone, Copy, Debug)]
pub struct Counts<'a> {
    pub canary: (f64, f64),
    pub baseline: (f64, f64),
    /// Empty where the baseline was not cut; `(0, 0)` for a slice without data.
    pub slices: &'a [(f64, f64)],
}

/// How the noise between groups is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Noise {
    /// From the slices, starting from a prior that leans to little noise by this much a step of the grid.
    Learned { lean: f64 },
    /// Nothing to learn from: assumed to be this shape for a group as large as the canary.
    Assumed { shape: f64 },
}

/// Ratios of the canary's rate to the baseline's that mean something.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Margin {
    /// No evidence of harm at or below it.
    pub tolerated: f64,
    /// Health is shown when this is excluded.
    pub harm: f64,
}

impl Default for Margin {
    fn default() -> Self {
        Self { tolerated: 1.0, harm: f64::INFINITY }
    }
}

/// The evidence of one metric in blocks of one length. All sums are natural logarithms.
#[derive(Clone, Debug)]
pub struct Scale {
    /// How many times worse than tolerated harm may be, with weights that sum to one.
    alternatives: &'static [(f64, f64)],
    noise: Noise,
    shapes: Vec<Shape>,
    open: Block,
    margin: Margin,
    began: bool,
    /// Only where blocks are short enough to mistake a storm for harm.
    storms: Option<Storms>,
}

/// What finished blocks said, for one shape.
#[derive(Clone, Debug)]
struct Shape {
    a: f64,
    /// Prior and slices of finished blocks.
    slices: f64,
    /// The canary at the tolerated ratio.
    tolerated: f64,
    /// Weighted starts of harm, an alternative each.
    harmed: [f64; MOST],
    /// Since the stage began: the canary at the ratio that is harm, and at healthy ones.
    at_harm: f64,
    at_healthy: [f64; HEALTHY.len()],
    /// Far behind the likeliest shape: left out of a glance.
    behind: bool,
    /// One, and the weighted ratios of every storm that may have been.
    stormy: f64,
}

/// Sums of the block that is still open.
#[derive(Clone, Debug, Default)]
struct Block {
    canary: (f64, f64),
    baseline: (f64, f64),
    slices: Vec<(f64, f64)>,
    /// Baseline exposure of the intervals that had slices.
    sliced: f64,
}

/// What the open block says, for one shape.
#[derive(Clone, Copy, Debug, Default)]
struct Terms {
    slices: f64,
    tolerated: f64,
    ratio: [f64; MOST],
    at_harm: f64,
    at_healthy: [f64; HEALTHY.len()],
}

/// Natural logarithms of the evidence for harm and for health.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weighed {
    pub bad: f64,
    /// Evidence for harm that goes on, where a storm is the other answer; no more than `bad`.
    pub lasting: f64,
    pub go: f64,
}

impl Scale {
    pub fn new(alternatives: &'static [(f64, f64)], noise: Noise) -> Self {
        let shape = |a, slices| Shape {
            a,
            slices,
            tolerated: 0.0,
            harmed: [f64::NEG_INFINITY; MOST],
            at_harm: 0.0,
            at_healthy: [0.0; HEALTHY.len()],
            behind: false,
            stormy: 0.0,
        };
        let shapes = match noise {
            Noise::Learned { lean } => {
                SHAPES.iter().enumerate().map(|(i, &a)| shape(a, lean * i as f64)).collect::<Vec<_>>()
            }
            Noise::Assumed { shape: a } => vec![shape(a, 0.0)],
        };
        let (open, margin) = (Block::default(), Margin::default());
        Self { alternatives, noise, shapes, open, margin, began: false, storms: None }
    }

    /// Lets health include one storm of a minute.
    #[must_use]
    pub fn with_storms(self, storms: Storms) -> Self {
        Self { storms: Some(storms), ..self }
    }

    /// Ends the open block; what it said stands from now on. `margin` holds for the next one.
    pub fn next_block(&mut self, margin: Margin) {
        if !self.open.is_empty() {
            let grounds = Grounds::of(&self.open, self.noise);
            for shape in &mut self.shapes {
                let terms = grounds.terms(shape.a, self.alternatives, self.margin, true);
                shape.slices += terms.slices;
                if self.began {
                    shape.tolerated += terms.tolerated;
                    shape.harmed.iter_mut().zip(terms.ratio).for_each(|(h, r)| *h += r);
                    shape.at_harm += terms.at_harm;
                    shape.at_healthy.iter_mut().zip(terms.at_healthy).for_each(|(h, t)| *h += t);
                }
            }
            self.open.clear();
            self.leave_behind();
        }
        self.margin = margin;
    }

    fn leave_behind(&mut self) {
        let top = |of: fn(&Shape) -> f64| self.shapes.iter().map(of).fold(f64::NEG_INFINITY, f64::max) - FAR_BEHIND;
        let (plain, harmed, health) = (top(Shape::plain), top(Shape::most_harmed), top(Shape::health));
        for shape in &mut self.shapes {
            shape.behind = shape.plain() < plain && shape.most_harmed() < harmed && shape.health() < health;
        }
    }

    /// Allows for harm that begins with this block, with this share of the whole suspicion.
    pub fn may_begin(&mut self, share: f64) {
        self.began = true;
        let start = share.ln();
        for shape in &mut self.shapes {
            shape.harmed.iter_mut().for_each(|h| *h = log_add(*h, start));
        }
    }

    /// Forgets the evidence of health: a new stage has to show it anew.
    pub fn new_stage(&mut self) {
        for shape in &mut self.shapes {
            shape.at_harm = 0.0;
            shape.at_healthy = [0.0; HEALTHY.len()];
        }
    }

    /// Adds one interval, that begins at `t`, to the open block. Without a canary (warm-up, or a gap) only the noise is learned.
    pub fn add(&mut self, t: f64, counts: &Counts<'_>, canary_seen: bool) {
        if canary_seen {
            self.watch_for_storms(t, counts);
        }
        let open = &mut self.open;
        if canary_seen {
            plus(&mut open.canary, counts.canary);
            plus(&mut open.baseline, counts.baseline);
        }
        if !counts.slices.is_empty() {
            if open.slices.len() < counts.slices.len() {
                open.slices.resize(counts.slices.len(), (0.0, 0.0));
            }
            open.slices.iter_mut().zip(counts.slices).for_each(|(sum, &s)| plus(sum, s));
            open.sliced += counts.baseline.1;
        }
    }

    fn watch_for_storms(&mut self, t: f64, counts: &Counts<'_>) {
        let Some(storms) = &mut self.storms else { return };
        while let Some(window) = storms.completed(t) {
            let Some(window) = window else { continue };
            let grounds = Grounds::of_window(&window, self.noise);
            for shape in self.shapes.iter_mut().filter(|s| !s.behind) {
                shape.stormy = log_add(shape.stormy, window.suspicion + grounds.storm(shape.a, self.margin));
            }
        }
        let slices = counts.slices.iter().filter(|s| s.1 > 0.0).count() as f64;
        storms.add(t, Window { canary: counts.canary, baseline: counts.baseline, slices, suspicion: 0.0 });
    }

    /// Returns the evidence as of the open block.
    pub fn weigh(&self) -> Weighed {
        let weighed = self.weigh_some(|_| true, true);
        Weighed { lasting: weighed.bad - self.stormy(), ..weighed }
    }

    /// Returns by how much a storm explains the numbers better than plain health does.
    fn stormy(&self) -> f64 {
        let Some(storms) = &self.storms else { return 0.0 };
        let grounds = Grounds::of(&self.open, self.noise);
        let open: Vec<_> = storms.open().map(|w| (w.suspicion, Grounds::of_window(&w, self.noise))).collect();
        let [mut plain, mut stormy] = [LogSum::default(); 2];
        for shape in &self.shapes {
            let terms = grounds.terms(shape.a, &[], self.margin, false);
            let both = shape.plain() + terms.slices + terms.tolerated;
            let mut sum = LogSum::default();
            sum.add(shape.stormy);
            open.iter().for_each(|(suspicion, window)| sum.add(suspicion + window.storm(shape.a, self.margin)));
            plain.add(both);
            stormy.add(both + sum.value());
        }
        stormy.value() - plain.value()
    }

    /// Returns nearly that, several times faster, from the shapes that were likely at the end of the last block; health
    /// only on request (else it is unknown: minus infinity).
    pub fn glance(&self, health: bool) -> Weighed {
        self.weigh_some(|shape| !shape.behind, health)
    }

    fn weigh_some(&self, takes_part: impl Fn(&Shape) -> bool, health: bool) -> Weighed {
        let grounds = Grounds::of(&self.open, self.noise);
        let [mut harmed, mut tolerated, mut healthy, mut at_harm] = [LogSum::default(); 4];
        for shape in self.shapes.iter().filter(|s| takes_part(s)) {
            let terms = grounds.terms(shape.a, self.alternatives, self.margin, health);
            let noise = shape.slices + terms.slices;
            let both = noise + shape.tolerated + terms.tolerated;
            tolerated.add(both);
            for (i, (_, weight)) in self.alternatives.iter().enumerate() {
                harmed.add(both + weight.ln() + shape.harmed[i] + terms.ratio[i]);
            }
            if health {
                at_harm.add(noise + shape.at_harm + terms.at_harm);
                for (i, (_, weight)) in HEALTHY.iter().enumerate() {
                    healthy.add(noise + shape.at_healthy[i] + terms.at_healthy[i] + weight.ln());
                }
            }
        }
        let go = if health { healthy.value() - at_harm.value() } else { f64::NEG_INFINITY };
        let bad = harmed.value() - tolerated.value();
        Weighed { bad, lasting: bad, go }
    }

    /// Returns the noise between groups that the slices show: the mean of `1/sqrt(a)`, so 0.1 is 10 %.
    pub fn spread(&self) -> f64 {
        let top = self.shapes.iter().map(|s| s.slices).fold(f64::NEG_INFINITY, f64::max);
        let weights = self.shapes.iter().map(|s| ((s.slices - top).exp(), s.a.sqrt().recip()));
        let (total, sum) = weights.fold((0.0, 0.0), |(t, m), (w, x)| (t + w, m + w * x));
        sum / total
    }
}

impl Shape {
    fn plain(&self) -> f64 {
        self.slices + self.tolerated
    }

    fn most_harmed(&self) -> f64 {
        self.plain() + self.harmed.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    fn health(&self) -> f64 {
        self.slices + self.at_healthy.iter().copied().fold(self.at_harm, f64::max)
    }
}

impl Block {
    fn is_empty(&self) -> bool {
        self.canary.1 == 0.0 && self.baseline.1 == 0.0 && self.sliced == 0.0
    }

    fn clear(&mut self) {
        self.canary = (0.0, 0.0);
        self.baseline = (0.0, 0.0);
        self.sliced = 0.0;
        self.slices.iter_mut().for_each(|s| *s = (0.0, 0.0));
    }
}

/// A block in the units of the model: sizes of groups as multiples of a mean slice (or of the canary, without slices).
struct Grounds<'a> {
    canary: f64,
    canary_size: f64,
    baseline: f64,
    baseline_size: f64,
    slices: &'a [(f64, f64)],
    slice_unit: f64,
    slices_sum: f64,
    slices_size: f64,
}

impl<'a> Grounds<'a> {
    fn of(block: &'a Block, noise: Noise) -> Self {
        let used = block.slices.iter().filter(|s| s.1 > 0.0).count() as f64;
        let (mut slices_sum, mut exposure) = (0.0, 0.0);
        block.slices.iter().for_each(|s| {
            slices_sum += s.0;
            exposure += s.1;
        });
        let learned = matches!(noise, Noise::Learned { .. }) && used > 0.0 && exposure > 0.0;
        let slice_unit = if learned { exposure / used } else { 1.0 };
        // Intervals of the block that came without slices still count for the sides.
        let unit = if learned && block.sliced > 0.0 && block.baseline.1 > 0.0 {
            slice_unit * block.baseline.1 / block.sliced
        } else {
            block.canary.1
        };
        let size = |n: f64| if unit > 0.0 { n / unit } else { 0.0 };
        Self {
            canary: block.canary.0,
            canary_size: size(block.canary.1),
            baseline: block.baseline.0,
            baseline_size: size(block.baseline.1),
            slices: if learned { &block.slices } else { &[] },
            slice_unit,
            slices_sum,
            slices_size: if learned { used } else { 0.0 },
        }
    }

    fn of_window(window: &Window, noise: Noise) -> Self {
        let learned = matches!(noise, Noise::Learned { .. }) && window.slices > 0.0;
        let unit = if learned { window.baseline.1 / window.slices } else { window.canary.1 };
        Self {
            canary: window.canary.0,
            canary_size: window.canary.1 / unit,
            baseline: window.baseline.0,
            baseline_size: window.baseline.1 / unit,
            slices: &[],
            slice_unit: 1.0,
            slices_sum: 0.0,
            slices_size: 0.0,
        }
    }

    /// Returns the ratio of a storm to plain health, for one shape.
    fn storm(&self, a: f64, margin: Margin) -> f64 {
        let terms = self.terms(a, &storm::RATIOS, margin, false);
        let mut sum = LogSum::default();
        storm::RATIOS.iter().zip(terms.ratio).for_each(|((_, weight), ratio)| sum.add(weight.ln() + ratio));
        sum.value()
    }

    fn terms(&self, a: f64, alternatives: &[(f64, f64)], margin: Margin, health: bool) -> Terms {
        let mut terms = Terms::default();
        if self.slices_sum > 0.0 && !self.slices.is_empty() {
            let scale = a / self.slice_unit;
            let each = self.slices.iter().map(|s| (scale * s.1, s.0));
            terms.slices = rise_all(each) - rise(a * self.slices_size, self.slices_sum);
        }
        let both = self.canary + self.baseline;
        if both == 0.0 || self.canary_size == 0.0 || self.baseline_size == 0.0 {
            return terms;
        }
        let canary = a * self.canary_size;
        let own = rise(canary, self.canary);
        let at = |ratio: f64| {
            let rest = a * self.baseline_size / ratio;
            own + rise(rest, self.baseline) - rise(canary + rest, both)
        };
        terms.tolerated = at(margin.tolerated);
        for (i, (ratio, _)) in alternatives.iter().enumerate() {
            terms.ratio[i] = at(margin.tolerated * ratio) - terms.tolerated;
        }
        if !health {
            return terms;
        }
        terms.at_harm = if margin.harm.is_finite() { at(margin.harm) } else { terms.tolerated };
        for (i, (ratio, _)) in HEALTHY.iter().enumerate() {
            let known = *ratio == margin.tolerated;
            terms.at_healthy[i] = if known { terms.tolerated } else { at(*ratio) };
        }
        terms
    }
}

fn plus(sum: &mut (f64, f64), more: (f64, f64)) {
    sum.0 += more.0;
    sum.1 += more.1;
}

/// Returns the evidence, with a fixed noise, that the canary's rate is `ratio` times the baseline's and not equal to it.
pub fn fixed(canary: (f64, f64), baseline: (f64, f64), shape: f64, ratio: f64) -> f64 {
    let block = Block { canary, baseline, slices: Vec::new(), sliced: 0.0 };
    Grounds::of(&block, Noise::Assumed { shape }).terms(shape, &[(ratio, 1.0)], Margin::default(), false).ratio[0]
}

/// Returns `ln(gamma(x + s) / gamma(x))`: the logarithm of the rising factorial, for x > 0 and s >= 0.
fn rise(x: f64, s: f64) -> f64 {
    if s == 0.0 || x <= 0.0 {
        return 0.0;
    }
    if s <= 8.0 && s.fract() == 0.0 {
        let (mut product, mut factor) = (x, x);
        for _ in 1..s as u32 {
            factor += 1.0;
            product *= factor;
        }
        return product.ln();
    }
    // Stirling's series is good to 1e-10 from 8 on; below it, steps of one lead there.
    let (mut low, mut product) = (x, 1.0);
    while low < 8.0 {
        product *= low;
        low += 1.0;
    }
    let (high, mut above) = lift(x + s);
    if product != 1.0 {
        above += product.ln();
    }
    stirling(high) - stirling(low) + above
}

/// Returns the sum of `rise` over all; few counts are multiplied up before one logarithm is taken of all of them.
fn rise_all(all: impl Iterator<Item = (f64, f64)>) -> f64 {
    let (mut sum, mut product) = (0.0, 1.0);
    for (x, s) in all {
        if s <= 8.0 && s.fract() == 0.0 && x > 0.0 {
            let mut factor = x;
            for _ in 0..s as u32 {
                product *= factor;
                factor += 1.0;
            }
            // Eight factors of at most 1e12 more than fit still; small ones may vanish likewise.
            if !(1e-150..1e150).contains(&product) {
                sum += f64::ln(product);
                product = 1.0;
            }
        } else {
            sum += rise(x, s);
        }
    }
    sum + product.ln()
}

/// Returns where Stirling's series may begin for `y`, and what the steps there take away.
fn lift(mut y: f64) -> (f64, f64) {
    if y >= 8.0 {
        return (y, 0.0);
    }
    let mut product = 1.0;
    while y < 8.0 {
        product *= y;
        y += 1.0;
    }
    (y, -product.ln())
}

/// Returns ln gamma(y) without its constant.
fn stirling(y: f64) -> f64 {
    let inverse = y.recip();
    let square = inverse * inverse;
    (y - 0.5) * y.ln() - y + inverse * (1.0 / 12.0 - square * (1.0 / 360.0 - square / 1260.0))
}

/// A sum of exponentials, kept as a logarithm.
#[derive(Clone, Copy, Debug)]
pub struct LogSum {
    top: f64,
    sum: f64,
}

impl Default for LogSum {
    fn default() -> Self {
        Self { top: f64::NEG_INFINITY, sum: 0.0 }
    }
}

impl LogSum {
    pub fn add(&mut self, x: f64) {
        if x <= self.top {
            if x > self.top - 40.0 {
                self.sum += (x - self.top).exp();
            }
        } else if x > f64::NEG_INFINITY {
            self.sum = self.sum * (self.top - x).exp() + 1.0;
            self.top = x;
        }
    }

    pub fn value(&self) -> f64 {
        if self.sum == 0.0 { f64::NEG_INFINITY } else { self.top + self.sum.ln() }
    }
}

fn log_add(a: f64, b: f64) -> f64 {
    let mut sum = LogSum::default();
    sum.add(a);
    sum.add(b);
    sum.value()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::guard::Counted;

    const X2: Margin = Margin { tolerated: 1.0, harm: 2.0 };

    fn scale(noise: Noise) -> Scale {
        let mut scale = Scale::new(&[(1.5, 0.5), (3.0, 0.5)], noise);
        scale.next_block(X2);
        scale.may_begin(1.0);
        scale
    }

    #[test]
    fn the_rising_factorial_is_the_ratio_of_gammas() {
        for x in [1e-3, 0.5, 3.7, 7.99, 8.0, 55.5, 1e5, 9e5] {
            for s in [0.0, 1.0, 2.0, 7.0, 8.0, 9.0, 33.0, 2.5, 1e4, 1e7] {
                let exact = libm::lgamma(x + s) - libm::lgamma(x);
                let close = (rise(x, s) - exact).abs() <= 1e-8 * exact.abs().max(1.0);
                assert!(close, "{x} {s}: {} {exact}", rise(x, s));
            }
        }
    }

    #[test]
    fn equal_rates_speak_for_health_and_a_tripled_one_for_harm() {
        let slices = [(50.0, 5e4); 9];
        for (canary, healthy) in [(50.0, true), (150.0, false)] {
            let mut scale = scale(Noise::Learned { lean: 0.1 });
            for _ in 0..10 {
                scale.add(0.0, &Counts { canary: (canary, 5e4), baseline: (450.0, 45e4), slices: &slices }, true);
                scale.next_block(X2);
            }
            let weighed = scale.weigh();
            assert_eq!(weighed.go > 20_f64.ln(), healthy, "{weighed:?}");
            assert_eq!(weighed.bad > 50_f64.ln(), !healthy, "{weighed:?}");
        }
    }

    #[test]
    fn a_canary_that_differs_no_more_than_slices_do_is_no_evidence() {
        // Slices between 20 and 180 in every block: a canary at 150 is one of them.
        let slices: Vec<_> = (0..9).map(|i| (20.0 + 20.0 * f64::from(i), 5e4)).collect();
        let mut scale = scale(Noise::Learned { lean: 0.1 });
        for _ in 0..5 {
            scale.add(0.0, &Counts { canary: (150.0, 5e4), baseline: (900.0, 45e4), slices: &slices }, true);
            scale.next_block(X2);
        }
        assert!(scale.weigh().bad < 10_f64.ln(), "{:?}", scale.weigh());
        assert!(scale.spread() > 0.3, "{}", scale.spread());
    }

    #[test]
    fn a_canary_that_is_far_better_is_as_far_from_harm() {
        // Seen on a walk: a fiftieth of the baseline's slow answers, and yet harm was not excluded after 180 000 requests.
        let slices: Vec<_> = (0..9).map(|i| (760.0 + 10.0 * f64::from(i), 68_000.0)).collect();
        let mut scale = scale(Noise::Learned { lean: 0.6 });
        scale.add(0.0, &Counts { canary: (48.0, 181_000.0), baseline: (7200.0, 612_000.0), slices: &slices }, true);
        assert!(scale.weigh().go > 20_f64.ln(), "{:?}", scale.weigh());
    }

    #[test]
    fn all_answers_slow_is_harm_also_on_a_wild_machine() {
        // Seen on a busy machine: every answer of the canary beyond the baseline's p95, and groups that differ much.
        let slow = Counted::Slower { quantile: 0.95 };
        let mut scale = Scale::new(slow.alternatives(), Noise::Learned { lean: 0.0 });
        scale.may_begin(0.4);
        let slices: Vec<_> = [1, 2, 9, 3, 1, 8, 3, 7, 3].iter().map(|&n| (f64::from(n), 55.0)).collect();
        scale.add(0.0, &Counts { canary: (240.0, 240.0), baseline: (37.0, 500.0), slices: &slices }, true);
        // Enough for a guard that has a fifth of the say.
        assert!(scale.weigh().bad > (70.0_f64 / 0.2).ln(), "{:?}", scale.weigh());
    }

    #[test]
    fn traffic_alone_is_no_harm() {
        // Twice the requests with twice the errors, and slices of unequal size at one rate.
        let slices: Vec<_> = (1..=9).map(|i| (10.0 * f64::from(i), 1e4 * f64::from(i))).collect();
        let mut scale = scale(Noise::Learned { lean: 0.1 });
        for _ in 0..20 {
            scale.add(0.0, &Counts { canary: (100.0, 1e5), baseline: (450.0, 45e4), slices: &slices }, true);
            scale.next_block(X2);
        }
        assert!(scale.weigh().bad < 0.0, "{:?}", scale.weigh());
        assert!(scale.spread() < 0.1, "{}", scale.spread());
    }

    #[test]
    fn nothing_counted_is_no_evidence_of_anything() {
        for noise in [Noise::Learned { lean: 0.3 }, Noise::Assumed { shape: 4.0 }] {
            let mut scale = scale(noise);
            scale.add(0.0, &Counts { canary: (0.0, 0.0), baseline: (0.0, 0.0), slices: &[(0.0, 0.0); 9] }, true);
            let weighed = scale.weigh();
            assert!(weighed.bad.abs() < 1e-9 && weighed.go.abs() < 1e-9, "{weighed:?}");
        }
    }

    #[test]
    fn a_block_told_in_pieces_says_the_same_as_told_at_once() {
        let slices = [(3.0, 900.0); 9];
        let mut pieces = scale(Noise::Learned { lean: 0.1 });
        let mut whole = pieces.clone();
        for _ in 0..6 {
            pieces.add(0.0, &Counts { canary: (4.0, 1000.0), baseline: (27.0, 8100.0), slices: &slices }, true);
        }
        let sums = [(18.0, 5400.0); 9];
        whole.add(0.0, &Counts { canary: (24.0, 6000.0), baseline: (162.0, 48600.0), slices: &sums }, true);
        let (a, b) = (pieces.weigh(), whole.weigh());
        assert!((a.bad - b.bad).abs() < 1e-9 && (a.go - b.go).abs() < 1e-9);
        pieces.next_block(X2);
        assert!((pieces.weigh().bad - a.bad).abs() < 1e-9, "closing a block changes nothing");
    }
}
