//! A line of the recent past: one cell a slice of time, a gap where nothing was told.

use crate::console::glyphs;

/// Returns the last `width` values as heights; `None` is a gap.
pub fn line(values: &[Option<f64>], width: usize) -> String {
    let recent = &values[values.len().saturating_sub(width)..];
    let most = recent.iter().flatten().copied().fold(0.0, f64::max);
    let cell = |value: &Option<f64>| match value {
        None => " ",
        Some(v) if most > 0.0 => glyphs::height(v / most),
        Some(_) => glyphs::HEIGHTS[0],
    };
    recent.iter().map(cell).collect()
}

/// Returns a gauge of `width` cells; it is full only when all is done, and empty only when nothing is.
pub fn gauge(share: f64, width: usize) -> (String, String) {
    let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
    let mut full = (share * width as f64).floor() as usize;
    if share > 0.0 && width > 0 {
        full = full.max(1);
    }
    (glyphs::FULL.repeat(full), glyphs::EMPTY.repeat(width - full.min(width)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_not_a_zero() {
        assert_eq!(line(&[Some(0.0), None, Some(1.0), Some(8.0)], 10), "▁ ▁█");
    }

    #[test]
    fn a_gauge_is_full_only_at_the_end() {
        assert_eq!(gauge(0.999, 5), ("▰▰▰▰".to_owned(), "▱".to_owned()));
        assert_eq!(gauge(0.001, 5).0, "▰");
        assert_eq!(gauge(1.0, 5).1, "");
        assert_eq!(gauge(f64::NAN, 0), (String::new(), String::new()));
    }
}
