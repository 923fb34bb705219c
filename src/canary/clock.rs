//! Tells when the wall clock jumped: a walk counts by a clock that never does, and says so.

/// What is put right by less than this is no jump.
const JUMP_S: f64 = 2.0;

/// How far the wall clock lies ahead of the walk's own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    ahead: Option<f64>,
}

impl Clock {
    /// Returns by how many seconds the wall clock was set since the last look, forward or back.
    pub fn jumped(&mut self, wall: f64, own: f64) -> Option<f64> {
        let ahead = wall - own;
        // A clock that is corrected bit by bit is followed, so that years of it are no jump either.
        let before = self.ahead.replace(ahead)?;
        (ahead - before).abs().ge(&JUMP_S).then_some(ahead - before)
    }
}

/// Says it for a person.
pub fn sentence(jump: f64) -> String {
    let way = if jump < 0.0 { "back" } else { "forward" };
    format!(
        "the machine's clock was set {way} by {:.0} s (or it slept): the walk counts by its own clock and goes on; only quiet \
         times and sources that ask by the hour follow the other",
        jump.abs()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_is_told_once_and_drift_is_none() {
        let mut clock = Clock::default();
        let told: Vec<_> =
            [(1000.0, 0.0), (1001.1, 1.0), (1002.2, 2.0), (-86_000.0, 3.0), (-85_999.0, 4.0), (1005.0, 5.0)]
                .map(|(wall, own)| clock.jumped(wall, own))
                .into();
        assert_eq!(told[..3], [None, None, None]);
        assert!(told[3].is_some_and(|j| j < -86_999.0) && told[4].is_none() && told[5].is_some_and(|j| j > 86_999.0));
        assert!(sentence(-3600.4).contains("set back by 3600 s"));
    }
}
