//! Where a way down stands at a moment, told by its planner and its ledger: the same of a real and of a simulated one.

use super::demand::shown;
use super::descend::Planner;
use super::ledger::Ledger;
use super::simulate::Walk;
use super::tariff::PriceUsed;
use super::told::View;

/// Looks at everything once; `start` is the capacity that money saved is counted from.
pub fn of(now: f64, start: u64, planner: &Planner, ledger: &Ledger<'_>, walk: &Walk, price: &PriceUsed) -> View {
    let hours = (now - walk.from - walk.missing_s) / 3_600.0;
    let (units, p99_ms) = ledger.latest();
    let (verdict, reason, since) = ledger.standing();
    View {
        at: shown(now),
        t: now,
        capacity: planner.capacity(),
        units,
        kept: planner.kept(),
        throttled: ledger.throttled(),
        p99_ms,
        held_s: now - since,
        incidents: planner.incidents(),
        needed: planner.needed(now),
        ahead: planner.ahead(now, ledger.peak()),
        verdict,
        reason: reason.to_owned(),
        saved_usd: price.per_hour(start as f64).zip(walk.paid_usd).map(|(usd, paid)| usd * hours - paid),
        paid_usd: walk.paid_usd,
        requests: walk.requests,
        held_by_hand: planner.stays(),
    }
}
