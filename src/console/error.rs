//! What can go wrong with a screen, in a person's words.

use crate::run::error::RunError;

#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    #[error("the terminal was lost: {0}")]
    Terminal(#[from] std::io::Error),
    #[error("`{0}` is no theme")]
    Theme(String),
    #[error("`{0}` are no glyphs")]
    Glyphs(String),
}

impl From<ConsoleError> for RunError {
    fn from(error: ConsoleError) -> Self {
        match &error {
            ConsoleError::Terminal(_) => Self::cannot_tell(&error).hint("the same without a screen: --plain"),
            ConsoleError::Theme(_) => {
                Self::misuse(&error).hint("SERIN_THEME: default, dark, light, high-contrast, mono")
            }
            ConsoleError::Glyphs(_) => Self::misuse(&error).hint("SERIN_GLYPHS: blocks, ascii"),
        }
    }
}
