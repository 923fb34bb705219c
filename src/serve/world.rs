//! Everything one answer is made from, held together: it is swapped whole, so that no answer mixes two generations.

use std::sync::Arc;

use super::catalogue::Catalogue;
use super::error::ServeError;
use super::expression::Filters;
use super::live::Live;
use super::publish::trained_at;
use super::rules::Rules;
use super::store::Meta;
use super::stores::embedded::Generation;
use super::stores::remote::Distant;
use super::viewers::Viewers;
use crate::model::consent::Consent;
use crate::model::files::Model;

/// Why the lists that should serve do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// The store elsewhere did not answer when this process started.
    Down,
    /// Nothing was ever published there.
    Unpublished,
    /// What the pointer names is damaged or cannot be read.
    Unreadable,
}

impl Lack {
    pub fn word(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Unpublished => "empty",
            Self::Unreadable => "unreadable",
        }
    }
}

/// What everybody gets where there is neither a list nor a model to take it from.
pub struct StandIn {
    /// Programmes by catalogue index, and their scores.
    pub popular: Vec<(u32, f32)>,
    /// The model's name as JSON text.
    pub model: String,
    /// Whether it was popular once; the catalogue's own order is not.
    pub known: bool,
}

/// Stands for a programme that the catalogue does not hold.
pub const GONE: u32 = u32::MAX;

pub struct World {
    pub catalogue: Arc<Catalogue>,
    pub shelf: Option<Shelf>,
    pub live: Option<Live>,
    /// Who agreed; whoever did not gets what everybody gets.
    pub consent: Consent,
    /// Named filters of the Personalize wire.
    pub filters: Filters,
    /// What filters may know of who asks.
    pub viewers: Viewers,
    /// What the platform wants beside the model.
    pub rules: Option<Rules>,
    /// Why the lists that should serve do not: there are none on the shelf, or those of a generation before.
    pub lack: Option<Lack>,
    /// Whether there is something that is worth an answer, and not only the catalogue's own order.
    pub has_answers: bool,
    /// Programmes by catalogue index, most popular first.
    pub popular: Vec<(u32, f32)>,
    /// The model's name as JSON text.
    pub model: String,
}

/// Published lists, and what their numbers mean in the catalogue that is held.
pub struct Shelf {
    pub held: Held,
    programmes: Vec<u32>,
}

/// Where the lists lie.
#[derive(Debug)]
pub enum Held {
    Here(Generation),
    There(Distant),
}

impl Held {
    pub fn meta(&self) -> &Meta {
        match self {
            Self::Here(generation) => &generation.meta,
            Self::There(distant) => &distant.meta,
        }
    }

    pub fn number(&self) -> Option<u64> {
        match self {
            Self::Here(generation) => generation.number(),
            Self::There(distant) => Some(distant.generation),
        }
    }
}

impl Shelf {
    pub fn new(held: Held, catalogue: &Catalogue) -> Self {
        let programmes = held.meta().table.iter().map(|id| catalogue.index(id).unwrap_or(GONE)).collect();
        Self { held, programmes }
    }

    /// Returns the catalogue index of a number of the lists.
    #[inline]
    pub fn programme(&self, number: u32) -> u32 {
        self.programmes.get(number as usize).copied().unwrap_or(GONE)
    }
}

impl World {
    pub fn new(
        catalogue: Arc<Catalogue>,
        held: Option<Held>,
        model: Option<Model>,
        consent: Consent,
        filters: Filters,
    ) -> Result<Self, ServeError> {
        let live = model.map(|m| Live::new(m, &catalogue));
        let shelf = held.map(|held| Shelf::new(held, &catalogue));
        let mut popular = Vec::new();
        let mut name = String::new();
        if let Some(shelf) = &shelf {
            let meta = shelf.held.meta();
            popular.extend(meta.popular.iter().map(|(n, s)| (shelf.programme(*n), *s)));
            popular.retain(|(programme, _)| *programme != GONE);
            name.clone_from(&meta.model);
        } else if let Some(live) = &live {
            popular = live.popular();
            live.model.id().clone_into(&mut name);
        }
        if popular.is_empty() {
            let what = "not one programme of the lists or the model is in the catalogue; do --items and --store belong together?";
            return Err(ServeError::Setting(what.to_owned()));
        }
        let model = serde_json::Value::from(name).to_string();
        let (viewers, rules) = (Viewers::default(), None);
        let (lack, has_answers) = (None, true);
        Ok(Self { catalogue, shelf, live, consent, filters, viewers, rules, lack, has_answers, popular, model })
    }

    /// A world without the lists that it should have: what everybody gets stands in, unless a model is held.
    pub fn without_lists(
        catalogue: Arc<Catalogue>,
        model: Option<Model>,
        consent: Consent,
        filters: Filters,
        lack: Lack,
        stand_in: StandIn,
    ) -> Self {
        let live = model.map(|m| Live::new(m, &catalogue));
        let StandIn { mut popular, model: mut name, known } = stand_in;
        // A store that is down may have everything: the process is of use, and is so again without a new start.
        let has_answers = known || live.is_some() || lack == Lack::Down;
        if let Some(live) = &live {
            popular = live.popular();
            name = serde_json::Value::from(live.model.id()).to_string();
        }
        let (viewers, rules, shelf, lack, model) = (Viewers::default(), None, None, Some(lack), name);
        Self { catalogue, shelf, live, consent, filters, viewers, rules, lack, has_answers, popular, model }
    }

    /// Whether there should be lists and are none.
    pub fn awaits_lists(&self) -> bool {
        self.lack.is_some() && self.shelf.is_none()
    }

    /// The lists, where they lie elsewhere.
    pub fn distant(&self) -> Option<&Distant> {
        match &self.shelf.as_ref()?.held {
            Held::There(distant) => Some(distant),
            Held::Here(_) => None,
        }
    }

    pub fn published_at(&self) -> Option<i64> {
        self.shelf.as_ref().map(|s| s.held.meta().published_at)
    }

    pub fn trained_at(&self) -> Option<i64> {
        let of_model = || self.live.as_ref().map(|l| trained_at(&l.model));
        self.shelf.as_ref().map(|s| s.held.meta().trained_at).or_else(of_model)
    }

    /// Returns up to when viewings are in what is held, Unix seconds.
    pub fn knows_until(&self) -> i64 {
        let newest = |live: &Live| i64::from(live.model.training().newest).min(trained_at(&live.model));
        self.live.as_ref().map(newest).or_else(|| self.trained_at()).unwrap_or(0)
    }

    pub fn generation_number(&self) -> Option<u64> {
        self.shelf.as_ref().and_then(|s| s.held.number())
    }

    pub fn lists_held(&self) -> Option<u64> {
        self.shelf.as_ref().map(|s| s.held.meta().lists)
    }
}
