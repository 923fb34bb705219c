//! One viewer's answer: their list, or the popular one, through the filter, as JSON text.

use std::io::Write as _;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::live::{Live, Room};
use super::meter::{Meter, Source};
use super::recent::Recent;
use super::rules::{Choice, Why};
use super::store::{List, similar_key};
use super::stores::remote::Fetched;
use super::wish::Wish;
use super::world::{GONE, Held, World};
use crate::model::consent::Answer as Consented;

/// What an answer was made of, and how many items it has.
pub struct Answer {
    pub source: Source,
    pub degraded: bool,
    pub items: usize,
}

/// Whose answer it is, and what it is made from.
#[derive(Clone, Copy)]
pub struct Asking<'a> {
    pub world: &'a World,
    pub meter: &'a Meter,
    pub recent: &'a Recent,
    pub viewer: &'a str,
    /// What was read for them, where the lists lie elsewhere.
    pub fetched: Option<&'a Fetched>,
}

/// What the store said.
#[derive(Clone, Copy)]
pub enum Found<'a> {
    List(List<'a>),
    Nobody,
    Failed,
}

impl<'w> Asking<'w> {
    /// Whether nothing of this viewer may be used: no consent, or withdrawn.
    pub fn is_withheld(&self) -> bool {
        self.world.consent.of(self.viewer) != Consented::Yes
            || self.recent.of(self.viewer, |past| past.forgotten).unwrap_or(false)
    }

    /// Returns factors that know more than the list does: of a viewer who watched something since.
    pub fn fresh_factors(&self, room: &mut Room) -> Option<Vec<f32>> {
        room.watched.clear();
        let index = |id: &str| self.world.catalogue.index(id);
        self.recent.of(self.viewer, |past| {
            room.watched.extend(past.viewings.iter().filter_map(|v| index(&v.0)));
            let live = self.world.live.as_ref().filter(|_| !past.viewings.is_empty())?;
            live.factors(self.viewer, Some(past))
        })?
    }

    /// Returns what explains their answer, where that is asked and a model is held.
    fn because(&self, wish: &Wish, room: &Room) -> Option<Because<'w>> {
        let live = self.world.live.as_ref().filter(|_| wish.explain)?;
        Some(Because { live, past: live.past(self.viewer, &room.watched) })
    }

    /// Reads the viewer's list.
    pub fn read<'b>(&self, scratch: &'b mut Vec<u8>) -> Found<'b>
    where
        Self: 'b,
    {
        read(self.world, self.meter, self.viewer, self.fetched, scratch)
    }
}

fn read<'b>(
    world: &World,
    meter: &Meter,
    key: &str,
    fetched: Option<&'b Fetched>,
    scratch: &'b mut Vec<u8>,
) -> Found<'b> {
    let Some(shelf) = &world.shelf else {
        if world.awaits_lists() {
            meter.store_left_alone.fetch_add(1, Relaxed);
            return Found::Failed;
        }
        return Found::Nobody;
    };
    let generation = match &shelf.held {
        Held::Here(generation) => generation,
        Held::There(_) => {
            return match fetched {
                Some(Fetched::List(bytes)) => List::packed(bytes).map_or(Found::Failed, Found::List),
                Some(Fetched::Nobody) => Found::Nobody,
                Some(Fetched::Failed(_)) | None => Found::Failed,
            };
        }
    };
    let began = Instant::now();
    let found = generation.find(key, scratch);
    meter.store_read(began.elapsed(), found.is_ok());
    match found {
        Ok(Some(list)) => Found::List(list),
        Ok(None) => Found::Nobody,
        Err(error) => {
            tracing::warn!(%error, "the store failed; the popular list is answered");
            Found::Failed
        }
    }
}

/// Picks the items for one viewer and appends them to `out`; a failing store gives the popular ones, marked.
pub fn recommend(
    asking: &Asking<'_>,
    wish: &Wish,
    scratch: &mut Vec<u8>,
    room: &mut Room,
    out: &mut Vec<u8>,
) -> Answer {
    let world = asking.world;
    room.watched.clear();
    if asking.is_withheld() {
        return popular(world, wish, room, false, out);
    }
    let kind = Kind { source: Source::List, personal: true };
    if let (Some(live), Some(factors)) = (&world.live, asking.fresh_factors(room)) {
        return score(asking, live, &factors, wish, room, false, out);
    }
    let degraded = match (asking.read(scratch), &world.shelf) {
        (Found::List(list), Some(shelf)) => {
            let programmes = list.iter().map(|(n, s)| (shelf.programme(n), s));
            let why = asking.because(wish, room);
            let items = put(world, programmes, wish, &room.watched, kind, why.as_ref(), out);
            return Answer { source: Source::List, degraded: false, items };
        }
        (Found::Failed, _) => true,
        _ => false,
    };
    if let Some(live) = &world.live
        && let Some(factors) = live.factors(asking.viewer, None)
    {
        return score(asking, live, &factors, wish, room, degraded, out);
    }
    popular(world, wish, room, degraded, out)
}

fn score(
    asking: &Asking<'_>,
    live: &Live,
    factors: &[f32],
    wish: &Wish,
    room: &mut Room,
    degraded: bool,
    out: &mut Vec<u8>,
) -> Answer {
    let most = asking.world.rules.as_ref().map_or(wish.limit, |rules| rules.wanted(wish.limit));
    live.recommend(asking.viewer, factors, wish, most, room);
    let kind = Kind { source: Source::Live, personal: true };
    let why = asking.because(wish, room);
    let items = put(asking.world, room.best.iter().copied(), wish, &room.watched, kind, why.as_ref(), out);
    Answer { source: Source::Live, degraded, items }
}

/// Picks what everybody gets.
pub fn popular(world: &World, wish: &Wish, room: &Room, degraded: bool, out: &mut Vec<u8>) -> Answer {
    let kind = Kind { source: Source::Popular, personal: false };
    let items = put(world, world.popular.iter().copied(), wish, &room.watched, kind, None, out);
    Answer { source: Source::Popular, degraded, items }
}

/// Picks the programmes most like one: by the model that is held, else by what was published; popular ones where
/// neither knows it.
pub fn similar(
    asking: &Asking<'_>,
    index: u32,
    wish: &Wish,
    scratch: &mut Vec<u8>,
    room: &mut Room,
    out: &mut Vec<u8>,
) -> Answer {
    let Asking { world, meter, fetched, .. } = *asking;
    room.watched.clear();
    room.watched.push(index);
    if world.live.as_ref().is_some_and(|live| live.similar(index, wish, room)) {
        let items = write_items(world, room.best.iter().copied(), wish, &[], None, out);
        return Answer { source: Source::Live, degraded: false, items };
    }
    match (read(world, meter, &similar_key(world.catalogue.id(index)), fetched, scratch), &world.shelf) {
        (Found::List(list), Some(shelf)) => {
            let programmes = list.iter().map(|(n, s)| (shelf.programme(n), s));
            let items = write_items(world, programmes, wish, &[], None, out);
            Answer { source: Source::List, degraded: false, items }
        }
        (found, _) => popular(world, wish, room, matches!(found, Found::Failed), out),
    }
}

/// What one viewer watched, to say of each programme which of it is most like it.
struct Because<'a> {
    live: &'a Live,
    past: Vec<u32>,
}

/// Appends because of what a programme is there, where that was asked and something is known.
#[inline]
fn explain(world: &World, because: Option<&Because<'_>>, programme: u32, out: &mut Vec<u8>) {
    let Some(why) = because else { return };
    if let Some(watched) = why.live.because(&why.past, programme) {
        out.extend_from_slice(b",\"because\":");
        write_text(world.catalogue.id(watched), out);
    }
}

/// What candidates come from, and whether they are one viewer's own.
#[derive(Clone, Copy)]
struct Kind {
    source: Source,
    personal: bool,
}

/// Appends what passes the filter, in the order of the scores, or in the one that the platform's rules make of it.
fn put(
    world: &World,
    programmes: impl Iterator<Item = (u32, f32)>,
    wish: &Wish,
    without: &[u32],
    kind: Kind,
    because: Option<&Because<'_>>,
    out: &mut Vec<u8>,
) -> usize {
    let Some(rules) = &world.rules else { return write_items(world, programmes, wish, without, because, out) };
    let candidates: Vec<_> = programmes.take(rules.wanted(wish.limit)).collect();
    let choice = Choice {
        candidates: &candidates,
        popular: &world.popular,
        without,
        wish,
        now: jiff::Timestamp::now().as_second(),
        personal: kind.personal,
    };
    let placed = rules.arrange(&choice, rand::random);
    for (at, placed) in placed.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(world.catalogue.fragment(placed.programme).as_bytes());
        write_score(placed.score, out);
        out.extend_from_slice(b",\"reason\":");
        match placed.why {
            Why::Plain => write_text(kind.source.word(), out),
            Why::Fresh => write_text("new", out),
            Why::Chance => write_text("exploration", out),
            Why::Boost(name) => write_text(&format!("boost: {name}"), out),
            Why::Promotion(name) => write_text(&format!("promotion: {name}"), out),
        }
        if let Some(chance) = placed.propensity {
            out.extend_from_slice(b",\"propensity\":");
            write_score(chance, out);
        }
        // What the platform or chance put there is there because of nothing that was watched.
        if matches!(placed.why, Why::Plain | Why::Fresh | Why::Boost(_)) {
            explain(world, because, placed.programme, out);
        }
        out.push(b'}');
    }
    placed.len()
}

/// Appends what passes the filter, at most the limit; returns how many.
fn write_items(
    world: &World,
    programmes: impl Iterator<Item = (u32, f32)>,
    wish: &Wish,
    without: &[u32],
    because: Option<&Because<'_>>,
    out: &mut Vec<u8>,
) -> usize {
    let mut items = 0;
    for (programme, score) in programmes {
        if programme == GONE || !wish.wants(programme) || without.contains(&programme) {
            continue;
        }
        if items > 0 {
            out.push(b',');
        }
        out.extend_from_slice(world.catalogue.fragment(programme).as_bytes());
        write_score(score, out);
        explain(world, because, programme, out);
        out.push(b'}');
        items += 1;
        if items == wish.limit {
            break;
        }
    }
    items
}

/// Items in a viewer's order, and what the order was made of.
pub struct Ranked<'i> {
    pub items: Vec<(&'i str, Option<f32>)>,
    pub source: Source,
    pub degraded: bool,
}

/// Orders `items` for a viewer: by live scores, else by those of their list, else by popularity; the others after them
/// as they came.
pub fn rank<'i>(asking: &Asking<'_>, items: &'i [String], scratch: &mut Vec<u8>, room: &mut Room) -> Ranked<'i> {
    let world = asking.world;
    let mut degraded = false;
    let index = |id: &String| world.catalogue.index(id);
    let sorted = |score: &dyn Fn(u32) -> Option<f32>| {
        let mut ranked: Vec<_> = items.iter().map(|id| (id.as_str(), index(id).and_then(score))).collect();
        ranked.sort_by(|a, b| b.1.unwrap_or(f32::MIN).total_cmp(&a.1.unwrap_or(f32::MIN)));
        ranked
    };
    let of_list = |list: &[(u32, f32)]| sorted(&|i| list.iter().find(|(p, _)| *p == i).map(|(_, s)| *s));
    if !asking.is_withheld() {
        if let Some(live) = &world.live
            && let Some(factors) = asking.fresh_factors(room).or_else(|| live.factors(asking.viewer, None))
        {
            let items = sorted(&|i| live.score_one(&factors, i));
            return Ranked { items, source: Source::Live, degraded };
        }
        match (asking.read(scratch), &world.shelf) {
            (Found::List(list), Some(shelf)) => {
                let list: Vec<_> = list.iter().map(|(n, s)| (shelf.programme(n), s)).collect();
                return Ranked { items: of_list(&list), source: Source::List, degraded };
            }
            (found, _) => degraded = matches!(found, Found::Failed),
        }
    }
    Ranked { items: of_list(&world.popular), source: Source::Popular, degraded }
}

/// Appends ranked items as `{..},{..}`.
pub fn write_ranked(items: &[(&str, Option<f32>)], out: &mut Vec<u8>) {
    for (at, (item, score)) in items.iter().enumerate() {
        out.extend_from_slice(if at > 0 { b",{\"itemId\":" } else { b"{\"itemId\":" });
        write_text(item, out);
        if let Some(score) = score {
            out.extend_from_slice(b",\"score\":");
            write_score(*score, out);
        }
        out.push(b'}');
    }
}

/// Six digits after the point; what they cannot hold is written out in full.
pub fn write_score(score: f32, out: &mut Vec<u8>) {
    let magnitude = score.abs();
    if !(0.01..1000.0).contains(&magnitude) {
        let _ = if score == 0.0 { out.write_all(b"0") } else { write!(out, "{score}") };
        return;
    }
    if score < 0.0 {
        out.push(b'-');
    }
    let millionths = (f64::from(magnitude) * 1e6).round() as u32;
    let mut digits = [b'0'; 11];
    let mut left = millionths % 1_000_000;
    for digit in digits[5..].iter_mut().rev() {
        *digit = b'0' + (left % 10) as u8;
        left /= 10;
    }
    digits[4] = b'.';
    let mut whole = millionths / 1_000_000;
    let mut begin = 4;
    while begin == 4 || whole > 0 {
        begin -= 1;
        digits[begin] = b'0' + (whole % 10) as u8;
        whole /= 10;
    }
    out.extend_from_slice(&digits[begin..]);
}

/// Appends `text` as a JSON string.
pub fn write_text(text: &str, out: &mut Vec<u8>) {
    let plain = text.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\');
    if plain {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        // Writing to memory cannot fail.
        let _ = serde_json::to_writer(out, text);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn scores_as_text() {
        let text = |score| {
            let mut out = Vec::new();
            write_score(score, &mut out);
            String::from_utf8(out).expect("text")
        };
        assert_eq!([text(0.5), text(-1.25), text(999.0), text(0.0)], ["0.500000", "-1.250000", "999.000000", "0"]);
        assert_eq!([text(0.000_012), text(123_456.0)], ["0.000012", "123456"]);
    }

    proptest! {
        #[test]
        fn a_score_reads_back(score in prop::num::f32::NORMAL | prop::num::f32::ZERO) {
            let mut out = Vec::new();
            write_score(score, &mut out);
            let back: f64 = serde_json::from_slice(&out).expect("a number");
            let score = f64::from(score);
            prop_assert!((back - score).abs() <= score.abs() * 1e-4, "{score} {back}");
        }

        #[test]
        fn a_text_reads_back(text in ".{0,60}") {
            let mut out = Vec::new();
            write_text(&text, &mut out);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).expect("a string"), text);
        }
    }
}
