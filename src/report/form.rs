//! The forms a report can have.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Html,
    Markdown,
    Json,
    Junit,
}

impl Form {
    pub const ALL: [Self; 4] = [Self::Html, Self::Markdown, Self::Json, Self::Junit];

    /// Returns the word that `--form` takes.
    pub fn word(self) -> &'static str {
        match self {
            Self::Html => "html",
            Self::Markdown => "md",
            Self::Json => "json",
            Self::Junit => "junit",
        }
    }

    /// Returns the name of its file in a run's folder.
    pub fn file(self) -> &'static str {
        match self {
            Self::Html => "report.html",
            Self::Markdown => "report.md",
            Self::Json => crate::run::folder::SUMMARY,
            Self::Junit => "junit.xml",
        }
    }
}

impl std::str::FromStr for Form {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|f| f.word() == text);
        found.ok_or_else(|| format!("`{text}` is no form of a report; use html, md, json or junit"))
    }
}
