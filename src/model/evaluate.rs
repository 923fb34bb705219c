//! Offline metrics: where the last watched programme of each held-out viewer stands, for the model and for the most popular.

use std::collections::HashMap;
use std::path::Path;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::csv_file::CsvFile;
use super::error::ModelError;
use super::files::Model;
use super::kernel::TOGETHER;
use super::score::{Scores, highest};
use crate::stop::Stop;

/// Averages over viewers; a viewer for whom there is no list counts as a miss.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    pub users: u64,
    pub ndcg: f64,
    pub recall: f64,
    pub hit_rate: f64,
    pub mrr: f64,
    /// The share of all programmes that stand in at least one list.
    pub coverage: f64,
    pub places: Vec<Place>,
}

/// How many viewers' last programme stands from `from` to `to`; `to` is `None` for all below.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Place {
    pub from: u64,
    pub to: Option<u64>,
    pub users: u64,
    pub share: f64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    pub k: usize,
    /// Over all held-out viewers.
    #[serde(flatten)]
    pub model: Metrics,
    /// The most seen programmes, for the same viewers.
    pub popular: Metrics,
    /// Only the viewers whom the model knows.
    pub known: Metrics,
    /// Held-out viewers whom the model does not know; misses in the averages above.
    pub unknown_users: u64,
    /// Held-out programmes that the model does not know; misses everywhere.
    pub unknown_items: u64,
    /// Held-out programmes that the viewer had seen before: left out of every list, so misses everywhere.
    pub already_seen: u64,
}

/// One held-out programme: a viewer and a programme, where the model knows them.
type Held = (Option<u32>, Option<u32>);

/// Reads the held-out file and measures the model; runs on the rayon pool it is called in.
pub fn evaluate(model: &Model, heldout: &Path, k: usize, stop: &Stop) -> Result<Evaluation, ModelError> {
    let held = read(model, heldout)?;
    let mut place_of_popular = vec![0; model.programmes()];
    model.popular().iter().enumerate().for_each(|(i, p)| place_of_popular[p.0 as usize] = i);
    let tiles = model.tiles();
    let known: Vec<(u32, Option<u32>)> = held.iter().filter_map(|(v, p)| v.map(|v| (v, *p))).collect();
    let measured: Option<Vec<Vec<Seat>>> = known
        .par_chunks(TOGETHER)
        .map_init(
            || (Scores::new(tiles), Vec::new()),
            |(scores, best), group| {
                if stop.requested() {
                    return None;
                }
                scores.score(tiles, group.iter().map(|(v, _)| (model.viewer_factors(*v), model.seen(*v))));
                let seat = |(i, (viewer, programme)): (usize, &(u32, Option<u32>))| {
                    let own = scores.of(i, tiles);
                    highest(own, k, best);
                    let seen = model.seen(*viewer);
                    let wanted = programme.filter(|p| seen.binary_search(p).is_err());
                    Seat {
                        place: wanted.map(|p| place(own, p)),
                        popular: wanted.map(|p| popular_place(&place_of_popular, seen, p)),
                        list: best.iter().map(|b| b.0).collect(),
                        popular_list: popular_list(model, seen, k),
                        seen: programme.is_some() && wanted.is_none(),
                    }
                };
                Some(group.iter().enumerate().map(seat).collect())
            },
        )
        .collect();
    let seats: Vec<Seat> = measured.ok_or(ModelError::Stopped)?.into_iter().flatten().collect();
    // Who is unknown gets the popular list when served, so that list is judged by it too.
    let strangers: Vec<Option<u64>> = held
        .iter()
        .filter(|(v, _)| v.is_none())
        .map(|(_, p)| p.map(|p| popular_place(&place_of_popular, &[], p)))
        .collect();
    let share = |lists: &mut dyn Iterator<Item = &Vec<u32>>| {
        let mut listed = vec![false; model.programmes()];
        lists.flatten().for_each(|p| listed[*p as usize] = true);
        listed.iter().filter(|l| **l).count() as f64 / model.programmes().max(1) as f64
    };
    let coverage = share(&mut seats.iter().map(|s| &s.list));
    let popular_coverage = share(&mut seats.iter().map(|s| &s.popular_list));
    let places: Vec<Option<u64>> = seats.iter().map(|s| s.place).collect();
    let nobody = vec![None; strangers.len()];
    let popular = seats.iter().map(|s| s.popular).chain(strangers.iter().copied());
    Ok(Evaluation {
        k,
        model: metrics(places.iter().chain(&nobody).copied(), k, coverage),
        popular: metrics(popular, k, popular_coverage),
        known: metrics(places.iter().copied(), k, coverage),
        unknown_users: strangers.len() as u64,
        unknown_items: held.iter().filter(|(_, p)| p.is_none()).count() as u64,
        already_seen: seats.iter().filter(|s| s.seen).count() as u64,
    })
}

struct Seat {
    place: Option<u64>,
    popular: Option<u64>,
    list: Vec<u32>,
    popular_list: Vec<u32>,
    seen: bool,
}

/// Returns the place of a programme among the scores, counted from 1; equal ones stand in the order of their index.
fn place(scores: &[f32], programme: u32) -> u64 {
    let own = scores[programme as usize];
    let (before, after) = scores.split_at(programme as usize);
    let higher = before.iter().filter(|s| **s >= own).count() + after.iter().filter(|s| **s > own).count();
    higher as u64 + 1
}

fn popular_place(places: &[usize], seen: &[u32], programme: u32) -> u64 {
    let own = places[programme as usize];
    let skipped = seen.iter().filter(|p| places[**p as usize] < own).count();
    (own - skipped) as u64 + 1
}

fn popular_list(model: &Model, seen: &[u32], k: usize) -> Vec<u32> {
    model.popular().iter().map(|p| p.0).filter(|p| seen.binary_search(p).is_err()).take(k).collect()
}

/// With one programme held out a viewer: NDCG is 1 / log2(place + 1) within the top k, recall and hit rate are the same.
pub fn metrics(places: impl Iterator<Item = Option<u64>>, k: usize, coverage: f64) -> Metrics {
    let bounds = [(1, Some(1)), (2, Some(3)), (4, Some(10)), (11, Some(20)), (21, None)];
    let mut out = Metrics { coverage, ..Metrics::default() };
    let mut counts = [0_u64; 5];
    for place in places {
        out.users += 1;
        let bound = place.map_or(4, |p| bounds.iter().position(|b| b.1.is_none_or(|to| p <= to)).unwrap_or(4));
        counts[bound] += 1;
        if let Some(p) = place.filter(|p| *p <= k as u64) {
            out.ndcg += 1.0 / (p as f64 + 1.0).log2();
            out.hit_rate += 1.0;
            out.mrr += 1.0 / p as f64;
        }
    }
    let all = out.users.max(1) as f64;
    out.ndcg /= all;
    out.hit_rate /= all;
    out.mrr /= all;
    out.recall = out.hit_rate;
    let place = |((from, to), users): ((u64, Option<u64>), u64)| Place { from, to, users, share: users as f64 / all };
    out.places = bounds.into_iter().zip(counts).map(place).collect();
    out
}

fn read(model: &Model, heldout: &Path) -> Result<Vec<Held>, ModelError> {
    let file = CsvFile::open(heldout)?;
    let (user, item) = (file.needed("USER_ID")?, file.needed("ITEM_ID")?);
    if file.rows.is_empty() {
        return Err(ModelError::file(heldout, "holds no row", "each row names a viewer and the programme held out"));
    }
    let mut lines: HashMap<&str, u64> = HashMap::new();
    for (line, row) in &file.rows {
        if let Some(first) = lines.insert(&row[user], *line) {
            let what = format!("USER_ID {} stands on line {first} already", &row[user]);
            return Err(file.wrong(*line, what, "hold out one programme a viewer"));
        }
    }
    Ok(file.rows.iter().map(|(_, row)| (model.viewer_index(&row[user]), model.programme_index(&row[item]))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_of_known_places() {
        let m = metrics([Some(1), Some(3), Some(25), None].into_iter(), 20, 0.5);
        assert_eq!(m.users, 4);
        assert!((m.ndcg - (1.0 + 0.5) / 4.0).abs() < 1e-12);
        assert!((m.mrr - (1.0 + 1.0 / 3.0) / 4.0).abs() < 1e-12);
        assert_eq!((m.hit_rate, m.recall), (0.5, 0.5));
        assert_eq!(m.places.iter().map(|p| p.users).collect::<Vec<_>>(), [1, 1, 0, 0, 2]);
    }

    #[test]
    fn a_place_counts_who_stands_above() {
        let scores = [3.0, 5.0, f32::NEG_INFINITY, 5.0, 1.0];
        assert_eq!([1, 3, 0, 4].map(|p| place(&scores, p)), [1, 2, 3, 4]);
    }
}
