//! A viewer's lot, and the side it lands on: always the same one, and nobody leaves the canary as its share rises.

/// The baseline is cut into so many groups of viewers, so that the judge sees how much healthy groups differ.
pub const SLICES: usize = 9;
/// Returns the lot, a number in 0..1, of `viewer` under `salt`; another salt deals all lots anew.
pub fn lot(viewer: &str, salt: &str) -> f64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in salt.bytes().chain([0]).chain(viewer.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    // FNV alone leaves names that differ in their last letter close together.
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^= hash >> 31;
    (hash >> 11) as f64 / (1_u64 << 53) as f64
}

/// Where one viewer's requests go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Canary,
    /// The baseline, in this slice of it.
    Baseline(usize),
}

/// Returns the side and slice of a viewer; slices are dealt by a salt of their own, so a rising share moves nobody between them.
pub fn place(viewer: &str, salt: &str, share: f64) -> Place {
    if lot(viewer, salt) < share {
        return Place::Canary;
    }
    let slice = lot(viewer, &format!("{salt}/slice")) * SLICES as f64;
    Place::Baseline((slice as usize).min(SLICES - 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nobody_leaves_as_the_share_rises(viewer in ".{0,20}", salt in "[a-z]{0,8}", low in 0.0..1.0f64, more in 0.0..1.0f64) {
            let high = low + (1.0 - low) * more;
            let (before, after) = (place(&viewer, &salt, low), place(&viewer, &salt, high));
            prop_assert!(before != Place::Canary || after == Place::Canary);
            if let (Place::Baseline(a), Place::Baseline(b)) = (before, after) {
                prop_assert_eq!(a, b);
            }
            prop_assert!(place(&viewer, &salt, 0.0) != Place::Canary);
            prop_assert_eq!(place(&viewer, &salt, 1.0), Place::Canary);
        }
    }

    #[test]
    fn lots_are_even_and_salts_are_independent() {
        let both = (0..20_000).map(|i| (lot(&format!("u{i}"), "a"), lot(&format!("u{i}"), "b")));
        let (mut low, mut low_both) = (0, 0);
        for (a, b) in both {
            assert!((0.0..1.0).contains(&a));
            low += u32::from(a < 0.1);
            low_both += u32::from(a < 0.1 && b < 0.1);
        }
        assert!((1_850..2_150).contains(&low), "{low}");
        assert!((150..250).contains(&low_both), "{low_both}");
    }

    #[test]
    fn the_share_is_met_and_the_slices_are_even() {
        let mut slices = [0; SLICES];
        let mut canary = 0;
        for i in 0..20_000 {
            match place(&format!("u{i}"), "als-0931", 0.1) {
                Place::Canary => canary += 1,
                Place::Baseline(slice) => slices[slice] += 1,
            }
        }
        assert!((1_850..2_150).contains(&canary), "{canary}");
        assert!(slices.iter().all(|n| (1_850..2_150).contains(n)), "{slices:?}");
    }
}
