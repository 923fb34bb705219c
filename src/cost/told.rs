//! The way down, as data: its road once, and one view a look; what the screen, the journal and the report all read.

use serde::{Deserialize, Serialize};

use super::prices::Price;
use super::step::StepVerdict;
use super::tariff::PriceUsed;

/// What is going to be walked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Road {
    pub plan: String,
    /// What is turned, for a person.
    pub knob: String,
    pub unit: String,
    pub start: u64,
    pub floor: u64,
    pub hold_s: f64,
    pub incidents: u32,
    pub p99_ms: Option<f64>,
    pub price: PriceUsed,
    /// The same demand answered by a Personalize campaign, dollars an hour; `None` where its price is unknown.
    pub campaign_usd_per_hour: Option<f64>,
    /// What one request costs where the table is paid on demand; `None` of anything else, or where it is unknown.
    #[serde(default)]
    pub on_demand_usd: Option<f64>,
    /// The rows of the price list that hold in this region.
    #[serde(default)]
    pub prices: Vec<Price>,
    /// UNIX seconds; the end is known only of what is played or simulated.
    pub from: f64,
    pub until: Option<f64>,
    /// Whether no request is sent at all.
    pub simulated: bool,
    /// Where a person's wishes are heard: `serin cost tell` and the keys of the screen write there.
    pub wishes: Option<std::path::PathBuf>,
}

/// Where it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// RFC 3339, in the time of what is walked.
    pub at: String,
    /// UNIX seconds.
    pub t: f64,
    pub capacity: u64,
    /// Units a second that are asked for.
    pub units: f64,
    /// What is kept for surges, in shares of what can be kept.
    pub kept: f64,
    pub throttled: f64,
    pub p99_ms: Option<f64>,
    pub held_s: f64,
    pub incidents: u32,
    /// The least capacity that would have held what was seen.
    pub needed: u64,
    /// Where the way goes on from here, guessed: the next step, and the end.
    pub ahead: Vec<Ahead>,
    pub verdict: StepVerdict,
    /// Why it stands where it stands.
    pub reason: String,
    pub saved_usd: Option<f64>,
    /// What was paid since it began.
    #[serde(default)]
    pub paid_usd: Option<f64>,
    pub requests: f64,
    /// Somebody asked it to stay.
    pub held_by_hand: bool,
}

/// A step that was not taken yet: guessed from what was seen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ahead {
    pub capacity: u64,
    pub share_of_limit: Option<f64>,
}

/// What a person wants of a way down under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wish {
    /// The next step now, where nothing forbids it.
    Step,
    /// Stay here until somebody says otherwise.
    Hold,
    GoOn,
    /// Back up to where it was before the last step down.
    Undo,
}

impl Wish {
    pub const ALL: [(&'static str, Self); 4] =
        [("step", Self::Step), ("hold", Self::Hold), ("go-on", Self::GoOn), ("undo", Self::Undo)];

    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, w)| *w == self).map_or("", |(word, _)| word)
    }
}

/// The name of the file of wishes in the folder of a run.
pub const WISHES: &str = "wishes.jsonl";

/// Tells a way down what is wanted; on the disk when this returns.
pub fn ask(path: &std::path::Path, wish: Wish) -> std::io::Result<()> {
    crate::journal::Journal::open(path)?.append(&wish)
}

/// Returns the wishes so far; none without a file.
pub fn asked(path: &std::path::Path) -> Vec<Wish> {
    crate::journal::read(path).unwrap_or_default()
}
