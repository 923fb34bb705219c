//! Made worlds of three weeks: the way down against brute force in the limiter's own model, and the rule beside it.

use std::ops::Range;
use std::time::Instant;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serin::cost::demand::{Demand, Sample};
use serin::cost::plan::Plan;
use serin::cost::simulate::{Walk, walk};
use serin::cost::tariff::PriceUsed;
use serin::cost::{evening, rule};
use serin::serve::limiter::Limiter;

const DAY: f64 = 86_400.0;
const WEEKS: f64 = 3.0;

/// How wild a world may be.
struct Kind {
    weekend: Range<f64>,
    growth: Range<f64>,
    noise: Range<f64>,
    premiere: Range<f64>,
    bursts: Range<u32>,
    burst: Range<f64>,
}

const ORDINARY: Kind = Kind {
    weekend: 1.0..1.35,
    growth: -0.02..0.06,
    noise: 0.005..0.05,
    premiere: 0.15..0.9,
    bursts: 5..60,
    burst: 0.2..1.5,
};
const WILD: Kind = Kind {
    weekend: 0.8..1.6,
    growth: -0.05..0.15,
    noise: 0.0..0.15,
    premiere: 0.3..2.0,
    bursts: 5..100,
    burst: 0.2..3.0,
};

/// Evenings, weekends, growth, premieres, bursts and noise from a seed: reads a second.
fn world(seed: u64, kind: &Kind, resolution: f64) -> Vec<f64> {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let mut pick = |range: &Range<f64>| rng.random_range(range.clone());
    let span = WEEKS * 7.0 * DAY;
    let base = 10f64.powf(pick(&(1.5..4.0)));
    let (night, top, width) = (pick(&(0.05..0.4)), pick(&(0.0..24.0)), pick(&(1.2..4.0)));
    let (weekend, growth, noise) = (pick(&kind.weekend), pick(&kind.growth), pick(&kind.noise));
    let began = pick(&(0.0..7.0)).floor();
    let premieres: Vec<[f64; 4]> = (0..pick(&(0.0..6.0)) as u32)
        .map(|_| {
            let from = pick(&(0.0..WEEKS * 7.0)).floor() * DAY + (top + pick(&(-1.5..1.0))) * 3_600.0;
            [from, pick(&(0.5..3.0)) * 3_600.0, pick(&kind.premiere), pick(&(1.0..900.0))]
        })
        .collect();
    let many = pick(&(f64::from(kind.bursts.start)..f64::from(kind.bursts.end))) as u32;
    let bursts: Vec<[f64; 3]> =
        (0..many).map(|_| [pick(&(0.0..span)), pick(&(10.0..600.0)), pick(&kind.burst)]).collect();
    let rate = |i: u32| {
        let t = f64::from(i) * resolution;
        let apart = (t / 3_600.0 % 24.0 - top + 36.0).rem_euclid(24.0) - 12.0;
        let evening = night + (1.0 - night) * (-(apart / width).powi(2) / 2.0).exp();
        let week = if ((t / DAY).floor() + began).rem_euclid(7.0) >= 5.0 { weekend } else { 1.0 };
        let opened = |p: &[f64; 4]| p[2] * ((t - p[0]) / p[3]).min((p[0] + p[1] - t) / p[3]).clamp(0.0, 1.0);
        let burst: f64 = bursts.iter().filter(|b| t >= b[0] && t < b[0] + b[1]).map(|b| b[2]).sum();
        let premiere: f64 = premieres.iter().map(opened).sum();
        let shake = 1.0 + noise * (pick(&(-1.0..1.0)) + pick(&(-1.0..1.0)));
        base * (1.0 + growth).powf(t / DAY / 7.0) * week * evening * (1.0 + burst) * (1.0 + premiere) * shake
    };
    (0..(span / resolution) as u32).map(rate).collect()
}

fn trace(rates: &[f64], resolution: f64) -> Demand {
    let began = 1_790_000_040.0;
    let sample = |(i, reads): (usize, &f64)| {
        let from = began + i as f64 * resolution;
        Sample { from, until: from + resolution, reads: *reads, writes: None }
    };
    Demand::from_samples("world", rates.iter().enumerate().map(sample).collect())
}

fn holds(capacity: u64, rates: &[f64], resolution: f64) -> bool {
    let mut table = Limiter::table(capacity as f64, 0.0);
    rates.iter().enumerate().all(|(i, reads)| table.flow(reads * 0.5, (i as f64 + 1.0) * resolution) == 0.0)
}

/// Whole units, 300 s of burst, one constant capacity: the cheapest that never throttles.
fn cheapest(rates: &[f64], resolution: f64) -> u64 {
    let (mut low, mut high) = (0, 1_000_000);
    while high - low > 1 {
        let middle = u64::midpoint(low, high);
        if holds(middle, rates, resolution) { high = middle } else { low = middle }
    }
    high
}

fn plan(start: u64) -> Plan {
    let text = format!("[descend]\nknob = \"dynamodb\"\nunit = \"rcu\"\nstart = {start}\nfloor = 1\nhold = \"24h\"\n");
    Plan::parse("plan.toml", &text).expect("a plan")
}

/// Sums over all worlds, of the way down or of the rule.
#[derive(Default)]
struct Totals {
    throttled: u64,
    /// Worlds in which anything was.
    broken: u64,
    unit_hours: f64,
    /// How far from the cheapest it ended, at worst.
    farthest: f64,
}

impl Totals {
    fn add(&mut self, throttled: u64, unit_hours: f64, ratio: f64) {
        self.throttled += throttled;
        self.broken += u64::from(throttled > 0);
        self.unit_hours += unit_hours;
        self.farthest = if (ratio - 1.0).abs() > (self.farthest - 1.0).abs() { ratio } else { self.farthest };
    }

    fn line(&self, name: &str, seconds: &str) -> String {
        format!(
            "{name:24} ends at worst at {:.3} of the cheapest, {:9} requests throttled, in {:2} worlds, {seconds}, {:.0} unit-hours",
            self.farthest, self.throttled, self.broken, self.unit_hours
        )
    }
}

/// Walks twenty worlds (`SERIN_WORLDS` for more); starts are far above, above, at and below what is needed.
fn twenty(kind: &Kind, resolution: f64) {
    let worlds: u64 = std::env::var("SERIN_WORLDS").ok().and_then(|s| s.parse().ok()).unwrap_or(20);
    let (mut clean, mut far) = (0, Vec::new());
    let mut ways = [Totals { farthest: 1.0, ..Totals::default() }, Totals { farthest: 1.0, ..Totals::default() }];
    let (mut longest, mut hours_broken) = (0.0_f64, 0);
    for seed in 0..worlds {
        let rates = world(seed, kind, resolution);
        let best = cheapest(&rates, resolution);
        let plan = plan(([best * 2, best * 5, best * 20, best, best / 2][seed as usize % 5]).max(1));
        let demand = trace(&rates, resolution);
        let down: Walk = walk(&plan, &PriceUsed::default(), &demand, &mut |_| {}).expect("walks");
        let beside = rule::walk(&plan, &demand).expect("walks");
        let ratio = down.final_capacity as f64 / best as f64;
        println!(
            "world {seed:3} start {:6} cheapest {best:5} final {:5} ratio {ratio:.3} steps {:2} throttled {} longest {:.0} s | rule: final {} throttled {} in {} h",
            plan.start,
            down.final_capacity,
            down.steps.len(),
            down.throttled,
            down.longest_breach_s,
            beside.final_capacity,
            beside.throttled,
            beside.hours_broken
        );
        assert_eq!(down.needed, best, "the need that is kept up is what brute force finds");
        assert!(down.longest_breach_s <= 60.0);
        ways[0].add(down.throttled, down.unit_hours, ratio);
        ways[1].add(beside.throttled, beside.unit_hours, beside.final_capacity as f64 / best as f64);
        longest = longest.max(down.longest_breach_s);
        hours_broken += beside.hours_broken;
        clean += u64::from(down.throttled == 0);
        if !(1.0..=1.1).contains(&ratio) {
            far.push((seed, ratio));
        }
    }
    println!("{}", ways[0].line("the way down", &format!("at most {longest:.0} s at once")));
    println!("{}", ways[1].line("a quarter less an hour", &format!("in {hours_broken} hours")));
    assert!(far.len() as u64 * 100 <= worlds, "ended elsewhere: {far:?}");
    assert!(clean * 20 >= worlds * 19, "{clean} of {worlds} without a throttle");
    assert!(ways[0].throttled * 10 <= ways[1].throttled, "the rule throttles ten times as much at least");
}

#[test]
fn twenty_ordinary_worlds_end_near_the_cheapest_that_holds() {
    twenty(&ORDINARY, 60.0);
}

#[test]
fn twenty_wild_worlds_end_near_the_cheapest_that_holds() {
    twenty(&WILD, 60.0);
}

#[test]
fn hours_are_enough_to_go_down_by() {
    twenty(&ORDINARY, 3_600.0);
}

#[test]
fn a_year_of_hours_is_planned_in_under_a_second() {
    let minutes = evening::demand(1, 365, 800.0).samples;
    let hours: Vec<f64> = minutes.chunks(60).map(|h| h.iter().map(|s| s.reads).sum::<f64>() / 60.0).collect();
    let demand = trace(&hours, 3_600.0);
    let began = Instant::now();
    let down = walk(&plan(5_000), &PriceUsed::default(), &demand, &mut |_| {}).expect("walks");
    let took = began.elapsed();
    println!("a year of hours: {took:?}, {} steps, {} → {}", down.steps.len(), 5_000, down.final_capacity);
    assert!(took.as_secs_f64() < 1.0, "{took:?}");
    assert_eq!(down.throttled, 0);
}
