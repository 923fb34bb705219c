//! How everything looks here: theme, glyphs, motion; chosen by flag, environment and locale.

use ratatui::style::Style;
use ratatui::text::Span;

use super::error::ConsoleError;
use super::theme::{Theme, Tone};

/// What `--color` asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colour {
    #[default]
    Auto,
    Always,
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    pub theme: Theme,
    pub ascii: bool,
    pub motion: bool,
}

impl Look {
    /// Chooses by `variable`, which reads the environment.
    pub fn choose(colour: Colour, variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConsoleError> {
        let set = |name: &str| variable(name).filter(|v| !v.is_empty());
        let forced = colour == Colour::Always || set("CLICOLOR_FORCE").is_some_and(|v| v != "0");
        let theme = match set("SERIN_THEME") {
            Some(name) => Theme::named(&name).ok_or(ConsoleError::Theme(name))?,
            None => Theme::Default,
        };
        let colourless = colour == Colour::Never || !forced && set("NO_COLOR").is_some();
        let ascii = match set("SERIN_GLYPHS").as_deref() {
            Some("ascii") => true,
            Some("blocks") => false,
            Some(other) => return Err(ConsoleError::Glyphs(other.to_owned())),
            None => !speaks_utf8(&set),
        };
        let theme = if colourless { Theme::Mono } else { theme };
        Ok(Self { theme, ascii, motion: set("NO_MOTION").is_none() })
    }

    pub fn style(&self, tone: Tone) -> Style {
        self.theme.style(tone)
    }

    pub fn span(&self, text: impl Into<String>, tone: Tone) -> Span<'static> {
        Span::styled(text.into(), self.style(tone))
    }
}

/// The first of the three that is set decides, as the C library does it.
fn speaks_utf8(set: &impl Fn(&str) -> Option<String>) -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| set(name));
    locale.is_some_and(|l| {
        let l = l.to_lowercase();
        l.contains("utf-8") || l.contains("utf8")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(colour: Colour, variables: &[(&str, &str)]) -> Look {
        let find = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        Look::choose(colour, find).expect("chosen")
    }

    #[test]
    fn no_color_is_obeyed_and_a_flag_wins() {
        let none = [("NO_COLOR", "1"), ("SERIN_THEME", "dark")];
        assert_eq!(look(Colour::Auto, &none).theme, Theme::Mono);
        assert_eq!(look(Colour::Always, &none).theme, Theme::Dark);
        assert_eq!(look(Colour::Never, &[("CLICOLOR_FORCE", "1")]).theme, Theme::Mono);
        assert_eq!(look(Colour::Auto, &[("NO_COLOR", "")]).theme, Theme::Default);
    }

    #[test]
    fn ascii_where_the_locale_is_not_utf8() {
        assert!(look(Colour::Auto, &[("LANG", "C")]).ascii);
        assert!(look(Colour::Auto, &[("LC_ALL", "C"), ("LANG", "de_DE.UTF-8")]).ascii);
        assert!(!look(Colour::Auto, &[("LANG", "C.utf8")]).ascii);
        assert!(!look(Colour::Auto, &[("LANG", "C"), ("SERIN_GLYPHS", "blocks")]).ascii);
    }

    #[test]
    fn an_unknown_theme_is_refused() {
        assert!(Look::choose(Colour::Auto, |n| (n == "SERIN_THEME").then(|| "pink".to_owned())).is_err());
    }
}
