//! The on-call room: what was gathered, what each check says of it, and the likeliest cause first. Pure.
//!
//! A cause is told from numbers alone, each by the one thing that only it does: a store that throttles within an
//! unchanged capacity, a clock that is off, a canary that is worse than the rest at the same time. We left scores that
//! are summed over many weak signs: at night nobody can argue with a sum. Faults that look alike in every number would
//! change our mind.

pub mod causes;
pub mod change;
pub mod check;
pub mod checks;
pub mod finding;
pub mod forms;
pub mod gather;
pub mod parts;
pub mod scene;
pub mod signals;
pub mod told_by;
pub mod triage;
