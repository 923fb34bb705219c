//! A token bucket that throttles as a DynamoDB table (units a second, 300 s of unused ones kept) and a campaign's quota do.

/// How much unused capacity a table keeps, in seconds of its capacity.
pub const BURST_S: f64 = 300.0;

/// Pure: every call says what time it is, in seconds of any clock that never goes back.
#[derive(Clone, Debug, PartialEq)]
pub struct Limiter {
    capacity: f64,
    burst_s: f64,
    level: f64,
    at: f64,
}

impl Limiter {
    /// A table with so many RCU or WCU, its burst bucket full.
    pub fn table(units: f64, now: f64) -> Self {
        Self::with_burst(units, BURST_S, now)
    }

    /// A quota of so many requests a second, with one second of them and no burst beyond it.
    pub fn quota(per_second: f64, now: f64) -> Self {
        Self::with_burst(per_second, 1.0, now)
    }

    /// So many units a second, and `burst_s` seconds of them kept; the bucket is full.
    pub fn with_burst(units: f64, burst_s: f64, now: f64) -> Self {
        let mut new = Self { capacity: units, burst_s, level: 0.0, at: now };
        new.level = new.most();
        new
    }

    pub fn capacity(&self) -> f64 {
        self.capacity
    }

    /// The time up to which it has been told.
    pub fn at(&self) -> f64 {
        self.at
    }

    /// What could be taken at once, in units.
    pub fn level(&self) -> f64 {
        self.level
    }

    /// Forgets what was kept: a throttle was seen, so the bucket is empty whatever the arithmetic says.
    pub fn drain(&mut self) {
        self.level = 0.0;
    }

    fn most(&self) -> f64 {
        // A quota below one a second still lets one through, now and then.
        (self.capacity * self.burst_s).max(1.0)
    }

    /// Changes the capacity; what was kept stays, as far as the new bucket holds it.
    pub fn set_capacity(&mut self, units: f64, now: f64) {
        self.fill(now);
        self.capacity = units;
        self.level = self.level.min(self.most());
    }

    /// Takes `units` for one request, or takes nothing and says no: throttled.
    pub fn take(&mut self, units: f64, now: f64) -> bool {
        self.fill(now);
        let enough = self.level >= units;
        if enough {
            self.level -= units;
        }
        enough
    }

    /// Takes `units` in any case, and returns after how many seconds they may be used: what is not there yet is owed.
    pub fn reserve(&mut self, units: f64, now: f64) -> f64 {
        self.fill(now);
        self.level -= units;
        if self.level >= 0.0 { 0.0 } else { -self.level / self.capacity }
    }

    /// Gives units back that were reserved and not used.
    pub fn give_back(&mut self, units: f64) {
        self.level = (self.level + units).min(self.most());
    }

    /// Lets demand flow at one rate until `until`; returns the units that were throttled.
    pub fn flow(&mut self, rate: f64, until: f64) -> f64 {
        let seconds = (until - self.at).max(0.0);
        self.at = self.at.max(until);
        let after = self.level + (self.capacity - rate) * seconds;
        self.level = after.clamp(0.0, self.most());
        // What a rounding error makes is no request.
        if after < -1e-9 * rate * seconds { -after } else { 0.0 }
    }

    /// Lets time pass of which nothing is known: what is kept is taken as it was.
    pub fn skip(&mut self, until: f64) {
        self.at = self.at.max(until);
    }

    /// How many seconds demand at `rate` can go on before the first throttle; infinite where it fits.
    pub fn lasts(&self, rate: f64) -> f64 {
        if rate <= self.capacity { f64::INFINITY } else { self.level / (rate - self.capacity) }
    }

    fn fill(&mut self, now: f64) {
        if now > self.at {
            self.level = (self.level + (now - self.at) * self.capacity).min(self.most());
            self.at = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_table_gives_five_minutes_of_what_it_did_not_use() {
        let mut table = Limiter::table(100.0, 0.0);
        assert_eq!(table.lasts(200.0), 300.0);
        assert_eq!(table.flow(200.0, 300.0), 0.0);
        assert_eq!(table.flow(200.0, 301.0), 100.0);
        assert_eq!(table.flow(0.0, 151.0 + 300.0), 0.0);
        assert_eq!(table.level(), 15_000.0);
    }

    #[test]
    fn a_quota_of_500_lets_500_a_second_through() {
        let mut quota = Limiter::quota(500.0, 0.0);
        let asked =
            |q: &mut Limiter, s: u32| (0..600).filter(|i| q.take(1.0, f64::from(s) + f64::from(*i) / 600.0)).count();
        // The first second has the bucket besides.
        assert_eq!(asked(&mut quota, 0), 600);
        let passed: usize = (1..11).map(|s| asked(&mut quota, s)).sum();
        assert!((5_000..=5_401).contains(&passed), "{passed}");
    }

    #[test]
    fn a_cut_loses_what_the_smaller_bucket_cannot_hold() {
        let mut table = Limiter::table(100.0, 0.0);
        table.set_capacity(50.0, 10.0);
        assert_eq!(table.level(), 15_000.0);
        table.set_capacity(100.0, 10.0);
        assert_eq!(table.level(), 15_000.0);
    }

    proptest! {
        /// Never more than capacity x time + the bucket, whoever asks and when.
        #[test]
        fn never_gives_more_than_it_has(capacity in 1.0..500.0f64, gaps in prop::collection::vec((0.0..20.0f64, 0.1..50.0f64), 1..300)) {
            let mut table = Limiter::table(capacity, 0.0);
            let (mut now, mut given) = (0.0, 0.0);
            for (gap, units) in gaps {
                now += gap;
                if table.take(units, now) { given += units; }
                prop_assert!(given <= capacity * (now + BURST_S) + 1e-6);
            }
        }

        /// Who waits as long as is said never uses more than the capacity, and leaves none unused.
        #[test]
        fn what_is_reserved_fills_the_capacity_and_never_exceeds_it(capacity in 1.0..500.0f64, asked in prop::collection::vec(0.5..50.0f64, 1..300)) {
            let mut budget = Limiter::with_burst(capacity, 0.0, 0.0);
            budget.drain();
            let (mut now, mut used) = (0.0_f64, 0.0);
            for units in asked {
                now += budget.reserve(units, now);
                used += units;
                prop_assert!((used - capacity * now).abs() < 1e-6 * used + 1.0, "{used} of {}", capacity * now);
            }
        }

        /// What flows and what is throttled add up, however the time is cut.
        #[test]
        fn cutting_time_changes_nothing(capacity in 1.0..100.0f64, rate in 0.0..300.0f64, cuts in 1..50u32) {
            let mut whole = Limiter::table(capacity, 0.0);
            let mut cut = whole.clone();
            let once = whole.flow(rate, 1000.0);
            let summed: f64 = (1..=cuts).map(|i| cut.flow(rate, 1000.0 * f64::from(i) / f64::from(cuts))).sum();
            prop_assert!((once - summed).abs() < 1e-3);
        }
    }
}
