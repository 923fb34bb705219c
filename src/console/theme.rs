//! Meaning to colour, and to none at all; sign and word always stand beside it.

use ratatui::style::{Color, Modifier, Style};

use crate::judge::verdict::Verdict;

/// What a piece of text means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Plain,
    /// Frames, units, what may be overlooked.
    Dim,
    Strong,
    Good,
    Bad,
    Warn,
    /// The line of an objective.
    Limit,
    /// The chosen row or tab.
    Chosen,
}

impl From<Verdict> for Tone {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Go => Self::Good,
            Verdict::No => Self::Bad,
            Verdict::CannotTell => Self::Warn,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Theme {
    /// The terminal's own 16 colours.
    #[default]
    Default,
    Dark,
    Light,
    HighContrast,
    Mono,
}

impl Theme {
    pub const ALL: [(&'static str, Self); 5] = [
        ("default", Self::Default),
        ("dark", Self::Dark),
        ("light", Self::Light),
        ("high-contrast", Self::HighContrast),
        ("mono", Self::Mono),
    ];

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(n, _)| *n == name).map(|(_, theme)| theme)
    }

    pub fn style(self, tone: Tone) -> Style {
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let style = match tone {
            Tone::Plain => Style::new(),
            Tone::Dim if self == Self::HighContrast => Style::new(),
            // The 16 colours have no grey that is readable on every background: leave it to the terminal.
            Tone::Dim => Style::new().add_modifier(Modifier::DIM),
            Tone::Chosen => Style::new().add_modifier(Modifier::REVERSED),
            Tone::Limit | Tone::Good => Style::new(),
            Tone::Strong | Tone::Bad | Tone::Warn => bold,
        };
        match self.colour(tone) {
            Some(colour) => style.fg(colour),
            None => style,
        }
    }

    /// Blue and orange stay apart for every eye (Lab distance 128; 125 with deuteranopia), green and red do not.
    fn colour(self, tone: Tone) -> Option<Color> {
        let [good, bad, warn] = match self {
            Self::Mono => return None,
            Self::Default => [Color::LightBlue, Color::LightRed, Color::Yellow],
            Self::Dark => [Color::Rgb(0x5f, 0xaf, 0xff), Color::Rgb(0xff, 0x87, 0x00), Color::Rgb(0xff, 0xd7, 0x5f)],
            Self::Light => [Color::Rgb(0x00, 0x5f, 0xaf), Color::Rgb(0xaf, 0x5f, 0x00), Color::Rgb(0x87, 0x5f, 0x00)],
            Self::HighContrast => [Color::LightCyan, Color::LightYellow, Color::White],
        };
        match tone {
            Tone::Good => Some(good),
            Tone::Bad => Some(bad),
            Tone::Warn | Tone::Limit => Some(warn),
            Tone::Plain | Tone::Dim | Tone::Strong | Tone::Chosen => None,
        }
    }
}
