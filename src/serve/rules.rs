//! What a platform wants beside the model: boosts, promotions, caps, freshness and exploration, from a file, and why each programme is there.
//!
//! The order of things: scores are boosted and freshened, promotions take their places, the others follow best first as far
//! as caps let them, and exploration now and then takes a place with somebody by chance, whose chance is told.

use std::collections::HashMap;

use super::bits::Bits;
use super::wish::Wish;
use super::world::GONE;

/// Programmes that exploration chooses among, beside those a viewer would get.
const EXPLORED: usize = 500;

/// Rules, compiled for one catalogue.
#[derive(Debug, Default)]
pub struct Rules {
    pub(super) boosts: Vec<Boost>,
    pub(super) promotions: Vec<Promotion>,
    pub(super) caps: Vec<Cap>,
    pub(super) freshness: Option<Freshness>,
    /// The chance that a place is filled by chance.
    pub(super) exploration: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Period {
    pub from: i64,
    pub until: i64,
}

impl Period {
    fn holds(self, now: i64) -> bool {
        (self.from..self.until).contains(&now)
    }
}

#[derive(Debug)]
pub(super) struct Boost {
    pub name: String,
    pub programmes: Bits,
    pub factor: f32,
    pub period: Period,
}

#[derive(Debug)]
pub(super) enum Places {
    Slots(Vec<usize>),
    Share(f64),
}

#[derive(Debug)]
pub(super) struct Promotion {
    pub name: String,
    pub programmes: Bits,
    pub places: Places,
    pub period: Period,
}

#[derive(Debug)]
pub(super) struct Cap {
    pub most: usize,
    pub within: usize,
    /// The values of each programme, numbered.
    pub groups: Vec<Box<[u32]>>,
}

#[derive(Debug)]
pub(super) struct Freshness {
    pub came: HashMap<u32, i64>,
    pub half_life_s: f64,
    pub gain: f32,
}

/// Why a programme is where it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Why<'r> {
    /// What the answer was made from says it.
    Plain,
    Boost(&'r str),
    Fresh,
    Promotion(&'r str),
    Chance,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Placed<'r> {
    pub programme: u32,
    pub score: f32,
    pub why: Why<'r>,
    /// The chance that this programme came to this place; only where some is left to chance.
    pub propensity: Option<f32>,
}

/// What there is to choose from.
pub struct Choice<'a> {
    /// Best first; what the wish does not want may be among them.
    pub candidates: &'a [(u32, f32)],
    /// What everybody gets: fills promotions and is explored.
    pub popular: &'a [(u32, f32)],
    pub without: &'a [u32],
    pub wish: &'a Wish,
    /// Unix seconds.
    pub now: i64,
    /// Whether anything may depend on who asks; who did not agree is not explored with.
    pub personal: bool,
}

impl Rules {
    /// How many candidates are wanted, so that rules have something to choose from.
    pub fn wanted(&self, limit: usize) -> usize {
        limit.saturating_mul(4).max(200)
    }

    pub fn explores(&self) -> bool {
        self.exploration > 0.0
    }

    /// Puts programmes in their places; `chance` gives numbers from 0 to below 1.
    pub fn arrange<'r>(&'r self, choice: &Choice<'_>, mut chance: impl FnMut() -> f64) -> Vec<Placed<'r>> {
        let wanted = |p: u32| p != GONE && choice.wish.wants(p) && !choice.without.contains(&p);
        let mut pool = self.scored(choice, &wanted);
        pool.sort_by(|a, b| b.score.total_cmp(&a.score));
        let limit = choice.wish.limit;
        let promoted = self.promoted(choice, &pool, limit, &wanted);
        let is_promoted = |p: u32| promoted.iter().any(|(_, placed)| placed.programme == p);
        pool.retain(|placed| !is_promoted(placed.programme));
        let explored: Vec<(u32, f32)> = if choice.personal && self.explores() {
            let others = choice.popular.iter().filter(|(p, _)| wanted(*p) && !is_promoted(*p)).take(EXPLORED);
            others.copied().collect()
        } else {
            Vec::new()
        };
        let mut held = Held::new(&self.caps);
        let mut out: Vec<Placed<'r>> = Vec::with_capacity(limit);
        while out.len() < limit {
            let place = out.len();
            let is_out = |p: u32| out.iter().any(|o| o.programme == p);
            // One that moved up is not placed again.
            let due = promoted.iter().find(|(slot, placed)| *slot == place && !is_out(placed.programme));
            if let Some((_, placed)) = due {
                held.take(placed.programme);
                out.push(*placed);
                continue;
            }
            let Some(best) = pool.iter().position(|placed| held.lets(placed.programme, place)) else {
                // Only promotions that come later are left: they move up.
                let later = promoted.iter().find(|(slot, placed)| *slot > place && !is_out(placed.programme));
                let Some((_, next)) = later else { break };
                held.take(next.programme);
                out.push(*next);
                continue;
            };
            let choices =
                explored.iter().filter(|(p, _)| held.lets(*p, place) && out.iter().all(|o| o.programme != *p));
            let choices: Vec<(u32, f32)> = choices.copied().collect();
            let placed = if choices.is_empty() {
                let best = pool.remove(best);
                Placed { propensity: (choice.personal && self.explores()).then_some(1.0), ..best }
            } else {
                self.by_chance(&mut pool, best, &choices, &mut chance)
            };
            held.take(placed.programme);
            out.push(placed);
        }
        out
    }

    /// Takes the best one, or any of the choices; each is told with its chance.
    fn by_chance<'r>(
        &self,
        pool: &mut Vec<Placed<'r>>,
        best: usize,
        choices: &[(u32, f32)],
        chance: &mut impl FnMut() -> f64,
    ) -> Placed<'r> {
        let by_chance = chance() < self.exploration;
        let each = self.exploration / choices.len() as f64;
        let propensity = |p: u32, is_best: bool| {
            let own = if is_best { 1.0 - self.exploration } else { 0.0 };
            let drawn = if choices.iter().any(|(c, _)| *c == p) { each } else { 0.0 };
            Some((own + drawn) as f32)
        };
        let first = pool[best].programme;
        if !by_chance {
            let placed = pool.remove(best);
            return Placed { propensity: propensity(placed.programme, true), ..placed };
        }
        let (programme, score) = choices[((chance() * choices.len() as f64) as usize).min(choices.len() - 1)];
        let known = pool.iter().position(|placed| placed.programme == programme).map(|at| pool.remove(at));
        let score = known.map_or(score, |k| k.score);
        Placed { programme, score, why: Why::Chance, propensity: propensity(programme, programme == first) }
    }

    fn scored<'r>(&'r self, choice: &Choice<'_>, wanted: &impl Fn(u32) -> bool) -> Vec<Placed<'r>> {
        let best = choice.candidates.iter().map(|c| c.1.abs()).fold(0.0_f32, f32::max);
        let each = |(programme, score): &(u32, f32)| {
            let mut placed = Placed { programme: *programme, score: *score, why: Why::Plain, propensity: None };
            for boost in self.boosts.iter().filter(|b| b.period.holds(choice.now)) {
                if boost.programmes.has(*programme as usize) {
                    // Also below zero a larger factor means further ahead.
                    placed.score += (boost.factor - 1.0) * placed.score.abs();
                    placed.why = Why::Boost(&boost.name);
                }
            }
            let came = self.freshness.as_ref().and_then(|f| Some((f, f.came.get(programme)?)));
            if let Some((fresh, came)) = came.filter(|(_, came)| **came <= choice.now) {
                let age = (choice.now - came) as f64;
                let gain = fresh.gain * best * 0.5_f64.powf(age / fresh.half_life_s) as f32;
                placed.score += gain;
                if gain > 0.05 * best && placed.why == Why::Plain {
                    placed.why = Why::Fresh;
                }
            }
            placed
        };
        choice.candidates.iter().filter(|c| wanted(c.0)).map(each).collect()
    }

    /// Chooses for each place of each promotion the best of its programmes that is left.
    fn promoted<'r>(
        &'r self,
        choice: &Choice<'_>,
        pool: &[Placed<'r>],
        limit: usize,
        wanted: &impl Fn(u32) -> bool,
    ) -> Vec<(usize, Placed<'r>)> {
        let mut promoted: Vec<(usize, Placed<'r>)> = Vec::new();
        for promotion in self.promotions.iter().filter(|p| p.period.holds(choice.now)) {
            let slots = match &promotion.places {
                Places::Slots(slots) => slots.iter().map(|s| s - 1).collect(),
                Places::Share(share) => spread(*share, limit),
            };
            let own = pool.iter().map(|p| (p.programme, p.score));
            let all = own.chain(choice.popular.iter().copied()).filter(|(p, _)| promotion.programmes.has(*p as usize));
            let mut all = all.filter(|(p, _)| wanted(*p));
            for slot in slots.into_iter().filter(|s| *s < limit) {
                // Who comes first in the file has the place.
                if promoted.iter().any(|(taken, _)| *taken == slot) {
                    continue;
                }
                let next = all.find(|(p, _)| promoted.iter().all(|(_, other)| other.programme != *p));
                let Some((programme, score)) = next else { break };
                let why = Why::Promotion(&promotion.name);
                promoted.push((slot, Placed { programme, score, why, propensity: None }));
            }
        }
        promoted.sort_by_key(|(slot, _)| *slot);
        promoted
    }
}

/// Places for a share of `limit`, from the first on and evenly apart; a share above zero has at least one.
fn spread(share: f64, limit: usize) -> Vec<usize> {
    let count = ((share * limit as f64).round() as usize).clamp(usize::from(share > 0.0), limit);
    (0..count).map(|i| i * limit / count).collect()
}

/// How many of each value are placed.
struct Held<'c> {
    caps: &'c [Cap],
    counts: Vec<HashMap<u32, usize>>,
}

impl<'c> Held<'c> {
    fn new(caps: &'c [Cap]) -> Self {
        Self { caps, counts: vec![HashMap::new(); caps.len()] }
    }

    fn lets(&self, programme: u32, place: usize) -> bool {
        self.caps.iter().zip(&self.counts).all(|(cap, counts)| {
            place >= cap.within
                || cap.groups[programme as usize].iter().all(|g| counts.get(g).is_none_or(|n| *n < cap.most))
        })
    }

    fn take(&mut self, programme: u32) {
        for (cap, counts) in self.caps.iter().zip(&mut self.counts) {
            cap.groups[programme as usize].iter().for_each(|g| *counts.entry(*g).or_default() += 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::serve::catalogue::Catalogue;

    const ITEMS: &[u8] = b"ITEM_ID,CHANNEL,GENRE,RELEASED\n\
        a,nine,comedy,2026-01-01\nb,nine,news,2026-11-20\nc,nine,comedy|drama,\nd,six,drama,\ne,six,news,\nf,six,comedy,\n";
    const NOW: i64 = 1_795_700_000;

    fn catalogue() -> Catalogue {
        Catalogue::parse(Path::new("items.csv"), ITEMS, 0).expect("good")
    }

    /// Six programmes, from 0.9 down, through these rules.
    fn arranged(text: &str, limit: usize, chance: impl FnMut() -> f64) -> Vec<(String, String, Option<f32>)> {
        let catalogue = catalogue();
        let rules = Rules::parse("rules.toml", text, &catalogue).expect("good");
        let candidates: Vec<_> = (0..6).map(|i| (i, 0.9 - i as f32 * 0.1)).collect();
        let wish = Wish::new(limit, None);
        let choice = Choice {
            candidates: &candidates,
            popular: &candidates,
            without: &[],
            wish: &wish,
            now: NOW,
            personal: true,
        };
        let placed = rules.arrange(&choice, chance);
        placed
            .into_iter()
            .map(|p| (catalogue.id(p.programme).to_owned(), format!("{:?}", p.why), p.propensity))
            .collect()
    }

    fn order(text: &str, limit: usize) -> String {
        arranged(text, limit, || 0.99).into_iter().map(|p| p.0).collect()
    }

    #[test]
    fn each_rule_does_what_it_says() {
        let promotion = |places: &str| {
            format!(
                "[[promotion]]\nname='six week'\nfilter='INCLUDE ItemID WHERE Items.CHANNEL IN (\"six\")'\n{places}"
            )
        };
        for (text, limit, expected) in [
            (String::new(), 6, "abcdef"),
            (
                "[[boost]]\nname='news'\nfilter='INCLUDE ItemID WHERE Items.GENRE IN (\"news\")'\nfactor=2.0"
                    .to_owned(),
                4,
                "beac",
            ),
            (
                "[[boost]]\nname='less news'\nfilter='INCLUDE ItemID WHERE Items.GENRE IN (\"news\")'\nfactor=0.1"
                    .to_owned(),
                6,
                "acdfbe",
            ),
            (promotion("slots=[1, 3]"), 4, "daeb"),
            (promotion("share='50%'"), 4, "daeb"),
            (promotion("slots=[1]\nuntil='2020-01-01'"), 4, "abcd"),
            (promotion("slots=[1]\nfrom='2026-01-01'\nuntil='2100-01-01T00:00:00Z'"), 4, "dabc"),
            ("[[cap]]\ncolumn='CHANNEL'\nmost=1".to_owned(), 6, "ad"),
            ("[[cap]]\ncolumn='channel'\nmost=1\nwithin=2".to_owned(), 6, "adbcef"),
            ("[[cap]]\ncolumn='GENRE'\nmost=1".to_owned(), 6, "abd"),
            ("[freshness]\ncolumn='RELEASED'\nhalf_life='7d'\ngain=0.5".to_owned(), 3, "bac"),
        ] {
            assert_eq!(order(&text, limit), expected, "{text}");
        }
        let told = arranged(&promotion("slots=[2]"), 2, || 0.99);
        assert_eq!(told[1].1, "Promotion(\"six week\")");
    }

    #[test]
    fn what_a_rule_gets_wrong_is_said() {
        let bad = |text: &str| Rules::parse("rules.toml", text, &catalogue()).expect_err(text);
        for (text, says) in [
            ("[[boosts]]\nname='x'", "boost"),
            (
                "[[boost]]\nname='x'\nfilter='INCLUDE ItemID WHERE Items.GENER IN (\"a\")'\nfactor=2.0",
                "the boost `x`: the catalogue has no column GENER",
            ),
            (
                "[[boost]]\nname='x'\nfilter='INCLUDE ItemID WHERE Items.GENRE IN (\"opera\")'\nfactor=2.0",
                "lets no programme",
            ),
            ("[[boost]]\nname='x'\nfilter='INCLUDE ItemID WHERE Items.GENRE IN (\"news\")'\nfactor=-1.0", "above 0"),
            ("[[promotion]]\nname='p'\nfilter='INCLUDE ItemID WHERE Items.GENRE IN (\"news\")'", "it needs `slots"),
            (
                "[[promotion]]\nname='p'\nfilter='INCLUDE ItemID WHERE Items.GENRE IN (\"news\")'\nslots=[0]",
                "it needs `slots",
            ),
            (
                "[[promotion]]\nname='p'\nfilter='INCLUDE ItemID WHERE Items.GENRE IN (\"news\")'\nslots=[1]\nfrom='soon'",
                "is no moment",
            ),
            (
                "[[promotion]]\nname='p'\nfilter='INCLUDE ItemID WHERE Items.GENRE IN (\"news\")'\nslots=[1]\nfrom='2026-02-01'\nuntil='2026-01-01'",
                "ends before it begins",
            ),
            ("[[cap]]\ncolumn='CHANEL'\nmost=1", "did you mean channel?"),
            ("[[cap]]\ncolumn='CHANNEL'\nmost=0", "from 1 on"),
            ("[freshness]\ncolumn='GENRE'\nhalf_life='7d'\ngain=0.5", "no value of GENRE is"),
            ("[exploration]\nshare='120%'", "outside"),
        ] {
            let said = bad(text);
            assert!(said.contains(says), "{text}: {said}");
        }
    }

    #[test]
    fn exploration_tells_the_chance_that_was_taken() {
        let mut numbers = [0.05, 0.99, 0.5, 0.5, 0.9].into_iter();
        let told = arranged("[exploration]\nshare='10%'", 3, move || numbers.next().unwrap_or(0.5));
        // The first place by chance: the last of six; then the best twice.
        assert_eq!((told[0].0.as_str(), told[0].1.as_str()), ("f", "Chance"));
        assert!((told[0].2.expect("told") - 0.1 / 6.0).abs() < 1e-6, "{told:?}");
        assert_eq!((told[1].0.as_str(), told[2].0.as_str()), ("a", "b"));
        assert!((told[1].2.expect("told") - (0.9 + 0.1 / 5.0)).abs() < 1e-6, "{told:?}");
        // Over many answers the shares are those that are told.
        let mut firsts: HashMap<String, (f64, f64)> = HashMap::new();
        let mut seed = 1_u64;
        let mut chance = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 11) as f64 / (1_u64 << 53) as f64
        };
        for _ in 0..20_000 {
            let told = arranged_once(&mut chance);
            let entry = firsts.entry(told.0).or_default();
            entry.0 += 1.0;
            entry.1 = f64::from(told.2.expect("told"));
        }
        for (id, (count, told)) in firsts {
            assert!((count / 20_000.0 - told).abs() < 0.012, "{id}: {} told {told}", count / 20_000.0);
        }
    }

    fn arranged_once(chance: &mut impl FnMut() -> f64) -> (String, String, Option<f32>) {
        thread_local! {
            static MADE: (Catalogue, Rules) = {
                let catalogue = catalogue();
                let rules = Rules::parse("r", "[exploration]\nshare='30%'", &catalogue).expect("good");
                (catalogue, rules)
            };
        }
        MADE.with(|(catalogue, rules)| {
            let candidates: Vec<_> = (0..6).map(|i| (i, 0.9 - i as f32 * 0.1)).collect();
            let wish = Wish::new(1, None);
            let choice = Choice {
                candidates: &candidates,
                popular: &candidates,
                without: &[],
                wish: &wish,
                now: NOW,
                personal: true,
            };
            let placed = rules.arrange(&choice, chance)[0];
            (catalogue.id(placed.programme).to_owned(), String::new(), placed.propensity)
        })
    }

    proptest! {
        /// Whatever the rules: no programme twice, none unwanted, never more than asked, caps kept, chances are chances.
        #[test]
        fn rules_never_break_an_answer(
            limit in 1_usize..8, most in 1_usize..4, share in 0.0..1.0f64, slots in prop::collection::vec(1_usize..9, 1..4),
            unwanted in 0_u32..6, seed in any::<u64>(),
        ) {
            let catalogue = catalogue();
            let text = format!("[[cap]]\ncolumn='CHANNEL'\nmost={most}\n[[promotion]]\nname='p'\nfilter='INCLUDE ItemID WHERE Items.CHANNEL IN (\"six\")'\nslots={slots:?}\n[exploration]\nshare='{share}'");
            let rules = Rules::parse("r", &text, &catalogue).expect("good");
            let candidates: Vec<_> = (0..6).map(|i| (i, 0.9 - i as f32 * 0.1)).collect();
            let mut filter = Bits::all(6);
            let mut one = Bits::none(6);
            one.set(unwanted as usize);
            one.not();
            filter.and(&one);
            let wish = Wish::new(limit, Some(filter));
            let mut state = seed;
            let chance = || { state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1); (state >> 11) as f64 / (1_u64 << 53) as f64 };
            let choice = Choice { candidates: &candidates, popular: &candidates, without: &[], wish: &wish, now: NOW, personal: true };
            let placed = rules.arrange(&choice, chance);
            prop_assert!(placed.len() <= limit && !placed.is_empty());
            let ids: std::collections::HashSet<u32> = placed.iter().map(|p| p.programme).collect();
            prop_assert_eq!(ids.len(), placed.len());
            prop_assert!(!ids.contains(&unwanted));
            let nine = placed.iter().filter(|p| p.programme < 3).count();
            prop_assert!(nine <= most);
            prop_assert!(placed.iter().all(|p| p.propensity.is_none_or(|c| c > 0.0 && c <= 1.0)));
        }

        #[test]
        fn nothing_in_a_file_breaks_the_reader(text in ".{0,200}") {
            let _ = Rules::parse("r", &text, &catalogue());
        }
    }
}
