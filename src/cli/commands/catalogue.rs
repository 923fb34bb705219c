//! `serin catalogue`: its flags, and the file it makes.

use std::path::PathBuf;

use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::run::error::RunError;
use crate::serve::catalogue;

/// Build the catalogue file that the API holds in memory
#[derive(clap::Args)]
#[command(after_help = "Example: serin catalogue build --items data/items.csv --out items.catalogue")]
pub struct Catalogue {
    #[command(subcommand)]
    word: Word,
}

#[derive(clap::Subcommand)]
enum Word {
    /// Check an items CSV and pack it into one checksummed file
    #[command(after_help = "Example: serin catalogue build --items data/items.csv --out items.catalogue")]
    Build {
        /// Items in Personalize's schema: ITEM_ID and any other columns; `|` parts several values
        #[arg(long, value_name = "FILE")]
        items: PathBuf,
        /// The file to write
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

impl Catalogue {
    pub fn run(self, session: &Session) -> Result<Exit, RunError> {
        let Word::Build { items, out } = self.word;
        let now = jiff::Timestamp::now().as_second();
        let built = catalogue::build(&items, &out, now)?;
        let columns: Vec<&str> = built.columns().collect();
        let document = serde_json::json!({
            "schema": "serin.catalogue/1", "items": built.len(), "columns": columns, "catalogue": out,
        });
        session.print(&document, || {
            vec![format!("{} programmes, filters: {}; {}", built.len(), columns.join(", "), out.display())]
        });
        Ok(Exit::Go)
    }
}
