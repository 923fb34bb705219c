//! Our glyphs, and how each looks where only ASCII can be shown.

use ratatui::buffer::Buffer;

/// Of five shades, how much of a column's answers a cell holds.
pub const SHADES: [&str; 5] = ["·", "░", "▒", "▓", "█"];
/// Of eight heights.
pub const HEIGHTS: [&str; 8] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];
pub const FULL: &str = "▰";
pub const EMPTY: &str = "▱";
pub const LIMIT: &str = "┄";

/// What each glyph becomes in ASCII; anything else outside ASCII (a title somebody wrote) becomes `?`.
const ASCII: [(char, char); 42] = [
    ('·', '.'),
    ('░', ':'),
    ('▒', '+'),
    ('▓', '*'),
    ('█', '#'),
    ('▁', '_'),
    ('▂', '.'),
    ('▃', '-'),
    ('▄', '-'),
    ('▅', '='),
    ('▆', '+'),
    ('▇', '*'),
    ('▰', '#'),
    ('▱', '.'),
    ('┄', '-'),
    ('─', '-'),
    ('│', '|'),
    ('╭', '+'),
    ('╮', '+'),
    ('╰', '+'),
    ('╯', '+'),
    ('├', '+'),
    ('┤', '+'),
    ('┬', '+'),
    ('┼', '+'),
    ('└', '+'),
    ('▸', '>'),
    ('●', '*'),
    ('○', 'o'),
    ('✓', '+'),
    ('✗', 'x'),
    ('‖', '='),
    ('→', '>'),
    ('↑', '^'),
    ('↓', 'v'),
    ('←', '<'),
    ('…', '.'),
    ('—', '-'),
    ('’', '\''),
    ('±', '~'),
    ('★', '*'),
    ('×', 'x'),
];

/// Rewrites a drawn screen in ASCII.
pub fn to_ascii(buffer: &mut Buffer) {
    for cell in buffer.content.iter_mut().filter(|c| !c.symbol().is_ascii()) {
        let own = cell.symbol().chars().next().unwrap_or(' ');
        let plain = ASCII.iter().find(|(glyph, _)| *glyph == own).map_or('?', |(_, ascii)| *ascii);
        cell.set_char(plain);
    }
}

/// Returns the height glyph of a value in 0..=1; something is never nothing.
pub fn height(share: f64) -> &'static str {
    HEIGHTS[((share * 8.0).ceil() as usize).clamp(1, 8) - 1]
}

/// Returns the shade of a share of a column's answers; none where there is none.
pub fn shade(share: f64) -> Option<&'static str> {
    let at = [0.5, 0.2, 0.07, 0.01].iter().position(|least| share >= *least).map_or(0, |i| 4 - i);
    (share > 0.0).then(|| SHADES[at])
}
