//! A viewer's own scores of now: their factors against every programme that the filter lets through, before the best are taken.

use std::rc::Rc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::bits::Bits;
use super::catalogue::Catalogue;
use super::recent::Past;
use super::wish::Wish;
use super::world::GONE;
use crate::model::files::Model;
use crate::model::kernels::bytes;
use crate::model::recommend::{FoldIn, directions};
use crate::model::shortlist::Shortlist;

/// A model, and what its programmes are in the catalogue that is held.
pub struct Live {
    pub model: Model,
    /// Programme of the model to catalogue index, and back.
    programmes: Vec<u32>,
    by_index: Vec<u32>,
    fold_in: OnceLock<FoldIn>,
    shelf: Shelf,
    /// Programmes by direction only, for similarity; made when first asked for.
    directions: OnceLock<(Vec<f32>, Shelf)>,
}

/// Programmes in the order in which they are scored.
struct Shelf {
    /// No other one has it: a wish remembers what it lets through here.
    number: u64,
    list: Shortlist,
    /// Places whose programmes are in the catalogue.
    known: Bits,
}

impl Shelf {
    fn new(rows: &[f32], rank: usize, programmes: &[u32]) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let list = Shortlist::of(rows, rank);
        let known = Bits::of(list.order().iter().map(|p| programmes[*p as usize] != GONE));
        Self { number: NEXT.fetch_add(1, Relaxed), list, known }
    }

    /// Returns the places that a wish lets through, made once for each wish.
    fn allowed(&self, wish: &Wish, programmes: &[u32]) -> Option<Rc<Bits>> {
        let filter = wish.filter.as_ref()?;
        Some(wish.remembered(self.number, || {
            // What the catalogue does not hold is in no filter.
            Bits::of(self.list.order().iter().map(|p| filter.has(programmes[*p as usize] as usize)))
        }))
    }
}

/// One worker's room for scoring.
#[derive(Default)]
pub struct Room {
    /// Places that are left out this time; empty between two answers.
    struck: Bits,
    pub best: Vec<(u32, f32)>,
    /// What the viewer watched since the lists were made, by catalogue index.
    pub watched: Vec<u32>,
}

impl Live {
    pub fn new(model: Model, catalogue: &Catalogue) -> Self {
        let all = 0..model.programmes() as u32;
        let programmes: Vec<u32> = all.map(|p| catalogue.index(model.programme_id(p)).unwrap_or(GONE)).collect();
        let mut by_index = vec![GONE; catalogue.len()];
        for (programme, index) in (0..).zip(&programmes).filter(|(_, index)| **index != GONE) {
            by_index[*index as usize] = programme;
        }
        let shelf = Shelf::new(model.programme_factors(), model.rank(), &programmes);
        Self { model, programmes, by_index, fold_in: OnceLock::new(), shelf, directions: OnceLock::new() }
    }

    /// Returns the catalogue index of a programme of the model.
    pub fn programme(&self, programme: u32) -> u32 {
        self.programmes.get(programme as usize).copied().unwrap_or(GONE)
    }

    /// Returns what everybody watches, by catalogue index, as far as the catalogue holds it.
    pub fn popular(&self) -> Vec<(u32, f32)> {
        let all = self.model.popular().iter().map(|(p, score)| (self.programme(*p), *score));
        all.filter(|(programme, _)| *programme != GONE).collect()
    }

    /// Returns a viewer's factors, with what they watched since folded in; `None` where nothing is known of them.
    pub fn factors(&self, viewer: &str, past: Option<&mut Past>) -> Option<Vec<f32>> {
        let known = self.model.viewer_index(viewer);
        let base = known.map(|v| self.model.viewer_factors(v).to_vec());
        let Some(past) = past.filter(|p| !p.viewings.is_empty()) else { return base };
        if let Some((model, factors)) = &past.folded
            && model == self.model.id()
        {
            return Some(factors.clone());
        }
        let numbered = |v: &(Box<str>, f32, i64)| Some((self.model.programme_index(&v.0)?, v.1));
        let fresh: Vec<(u32, f32)> = past.viewings.iter().filter_map(numbered).collect();
        if fresh.is_empty() {
            return base;
        }
        let fold_in = self.fold_in.get_or_init(|| FoldIn::new(&self.model));
        let factors = match (known, base) {
            // The model does not keep how much was watched: what the fresh viewings change is solved with every old one
            // counted whole, and added to the factors that training found.
            (Some(viewer), Some(mut factors)) => {
                let mut all: Vec<(u32, f32)> = self.model.seen(viewer).iter().map(|p| (*p, 1.0)).collect();
                let before = fold_in.factors(&all);
                all.extend(fresh);
                let after = fold_in.factors(&all);
                factors.iter_mut().zip(after.iter().zip(&before)).for_each(|(f, (a, b))| *f += a - b);
                factors
            }
            _ => fold_in.factors(&fresh),
        };
        past.folded = Some((self.model.id().to_owned(), factors.clone()));
        Some(factors)
    }

    /// Fills `room.best` with at most `most` catalogue indices, best first, from what a viewer with these factors has not
    /// seen.
    pub fn recommend(&self, viewer: &str, factors: &[f32], wish: &Wish, most: usize, room: &mut Room) {
        let seen = self.model.viewer_index(viewer).map_or(&[][..], |v| self.model.seen(v));
        self.best(&self.shelf, self.model.programme_factors(), factors, seen, wish, most, room);
    }

    /// Fills `room.best` with the programmes most like one of the catalogue; `false` where the model does not know it.
    pub fn similar(&self, index: u32, wish: &Wish, room: &mut Room) -> bool {
        let Some(own) = self.number(index) else { return false };
        let rank = self.model.rank();
        let (rows, shelf) = self.directions();
        self.best(shelf, rows, &rows[own as usize * rank..][..rank], &[own], wish, wish.limit, room);
        true
    }

    /// Returns what there is to explain a viewer's answers with: what they watched, by what is known here.
    pub fn past(&self, viewer: &str, watched: &[u32]) -> Vec<u32> {
        let seen = self.model.viewer_index(viewer).map_or(&[][..], |v| self.model.seen(v));
        let fresh = watched.iter().filter_map(|index| self.number(*index));
        seen.iter().copied().chain(fresh).filter(|p| self.programme(*p) != GONE).collect()
    }

    /// Returns which programme of a viewer's past is most like one of the catalogue, by its index there; none where the
    /// model sees no likeness.
    pub fn because(&self, past: &[u32], index: u32) -> Option<u32> {
        let (rank, own) = (self.model.rank(), self.number(index)?);
        let (rows, _) = self.directions();
        let row = |p: u32| &rows[p as usize * rank..][..rank];
        let like = |p: &u32| (*p, bytes::best().dot(row(*p), row(own)));
        let most = past.iter().filter(|p| **p != own).map(like).max_by(|a, b| a.1.total_cmp(&b.1));
        most.filter(|(_, likeness)| *likeness > 0.0).map(|(p, _)| self.programme(p))
    }

    fn directions(&self) -> &(Vec<f32>, Shelf) {
        self.directions.get_or_init(|| {
            let rows = directions(&self.model);
            let shelf = Shelf::new(&rows, self.model.rank(), &self.programmes);
            (rows, shelf)
        })
    }

    /// Returns the score of one programme of the catalogue for somebody with these factors.
    pub fn score_one(&self, factors: &[f32], index: u32) -> Option<f32> {
        let own = self.number(index)? as usize;
        let row = &self.model.programme_factors()[own * self.model.rank()..][..self.model.rank()];
        Some(bytes::best().dot(row, factors))
    }

    fn number(&self, index: u32) -> Option<u32> {
        self.by_index.get(index as usize).copied().filter(|p| *p != GONE)
    }

    /// Fills `room.best` without programmes of the model that are `seen`, and without what was watched since.
    #[expect(
        clippy::too_many_arguments,
        reason = "one step of two answers; a struct for it would be made and taken apart"
    )]
    fn best(
        &self,
        shelf: &Shelf,
        rows: &[f32],
        factors: &[f32],
        seen: &[u32],
        wish: &Wish,
        most: usize,
        room: &mut Room,
    ) {
        let Room { struck, best, watched } = room;
        struck.hold(self.programmes.len());
        let watched = watched.iter().filter_map(|index| self.number(*index));
        let left_out = || seen.iter().copied().chain(watched.clone()).map(|p| shelf.list.place(p));
        left_out().for_each(|place| struck.set(place));
        match shelf.allowed(wish, &self.programmes) {
            Some(allowed) => {
                shelf.list.highest(rows, factors, |at| allowed.word(at) & !struck.word(at), most, best);
            }
            None => {
                shelf.list.highest(rows, factors, |at| shelf.known.word(at) & !struck.word(at), most, best);
            }
        }
        left_out().for_each(|place| struck.clear(place));
        best.iter_mut().for_each(|(programme, _)| *programme = self.programmes[*programme as usize]);
    }
}
