//! One viewer's answer: their list, or the popular one, through the filter, as JSON text.

use std::collections::HashMap;
use std::io::Write as _;
use std::time::Instant;

use super::live::Room;
use super::meter::{Meter, Source};
use super::wish::Wish;
use super::world::{GONE, World};

/// What an answer was made of, and its items as `{..},{..}`.
pub struct Answer {
    pub source: Source,
    pub degraded: bool,
    pub items: usize,
}

/// Picks the items for one viewer and appends them to `out`; a failing store gives the popular ones, marked.
pub fn recommend(
    world: &World,
    meter: &Meter,
    viewer: &str,
    wish: &Wish,
    scratch: &mut Vec<u8>,
    room: &mut Room,
    out: &mut Vec<u8>,
) -> Answer {
    let mut degraded = false;
    if let Some(shelf) = &world.shelf {
        let began = Instant::now();
        let found = shelf.generation.find(viewer, scratch);
        meter.store_read(began.elapsed(), found.is_ok());
        match found {
            Ok(Some(list)) => {
                let programmes = list.iter().map(|(n, s)| (shelf.programme(n), s));
                let items = write_items(world, programmes, wish, out);
                return Answer { source: Source::List, degraded, items };
            }
            Ok(None) => {}
            Err(error) => {
                degraded = true;
                tracing::warn!(%error, "the store failed; the popular list is answered");
            }
        }
    }
    if world.live.as_ref().is_some_and(|live| live.recommend(viewer, wish, room)) {
        let items = write_items(world, room.best.iter().copied(), wish, out);
        return Answer { source: Source::Live, degraded, items };
    }
    let items = write_items(world, world.popular.iter().copied(), wish, out);
    Answer { source: Source::Popular, degraded, items }
}

/// Appends what passes the filter, at most the limit; returns how many.
pub fn write_items(
    world: &World,
    programmes: impl Iterator<Item = (u32, f32)>,
    wish: &Wish,
    out: &mut Vec<u8>,
) -> usize {
    let mut items = 0;
    for (programme, score) in programmes {
        if programme == GONE || !wish.wants(programme) {
            continue;
        }
        if items > 0 {
            out.push(b',');
        }
        out.extend_from_slice(world.catalogue.fragment(programme).as_bytes());
        write_score(score, out);
        out.push(b'}');
        items += 1;
        if items == wish.limit {
            break;
        }
    }
    items
}

/// Orders `items` for a viewer: those of the viewer's list by its scores, the others after them as they came.
pub fn rank<'i>(
    world: &World,
    meter: &Meter,
    viewer: &str,
    items: &'i [String],
    scratch: &mut Vec<u8>,
) -> Vec<(&'i str, Option<f32>)> {
    let mut scores = HashMap::new();
    if let Some(shelf) = &world.shelf {
        let began = Instant::now();
        let found = shelf.generation.find(viewer, scratch);
        meter.store_read(began.elapsed(), found.is_ok());
        if let Ok(Some(list)) = found {
            scores.extend(list.iter().map(|(n, s)| (shelf.programme(n), s)));
        }
    }
    if let Some(live) = &world.live
        && let Some(known) = live.model.viewer_index(viewer)
    {
        // The model scores every programme, so that no list is needed.
        let mut all = Vec::new();
        live.score(known, &mut all);
        scores.extend((0..).zip(all).map(|(p, s)| (live.programme(p), s)));
    }
    let score = |id: &String| world.catalogue.index(id).and_then(|programme| scores.get(&programme).copied());
    let mut ranked: Vec<_> = items.iter().map(|id| (id.as_str(), score(id))).collect();
    ranked.sort_by(|a, b| b.1.unwrap_or(f32::MIN).total_cmp(&a.1.unwrap_or(f32::MIN)));
    ranked
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
