//! Money, and the way down to the cheapest capacity that holds.
//!
//! The hard choice was how near to the edge to go. A planner that only watches utilisation needs 20-30 % of room for
//! evenings it has not seen; ours keeps 4-8 %, because it replays what was seen exactly (`need`) and because the burst
//! bucket of the limiter gives minutes in which the guard goes up before anything is throttled. Where there is no
//! bucket (replicas, a campaign) the guard takes nearness for the alarm, and is less sure. What would change our mind:
//! a table whose throttles do not follow the bucket (hot partitions); such a capacity is remembered and never tried again.

mod act;
pub mod bill;
pub mod capacity;
pub mod decrease;
pub mod demand;
pub mod descend;
pub mod descent;
pub mod drive;
pub mod error;
pub mod estimate;
pub mod evening;
pub mod knob;
pub mod knobs;
pub mod ledger;
pub mod live;
pub mod meter;
pub mod need;
pub mod pages;
pub mod parts;
pub mod plan;
pub mod price_list;
pub mod prices;
pub mod product;
pub mod proof;
pub mod record;
mod resume;
pub mod rule;
pub mod simulate;
pub mod step;
pub mod tariff;
pub mod told;
pub mod view;
mod way;
mod wished;

/// The signed calls that knobs, prices and bills are made of.
pub use crate::serve::aws;
