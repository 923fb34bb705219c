//! `serin cost tell`: a wish of a person's, to a way down under way.

use clap::builder::PossibleValuesParser;

use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::cost::told::{self, Wish};
use crate::run::error::RunError;
use crate::run::past;

/// Tell a way down under way what to do: the next step now, stay, go on, or take the last step back
#[derive(clap::Args)]
#[command(after_help = "Example: serin cost tell latest hold")]
pub struct Tell {
    /// The run: its folder, its name, a part of it, or `latest`
    run: String,
    #[arg(value_parser = PossibleValuesParser::new(Wish::ALL.map(|(word, _)| word)))]
    wish: String,
    /// Where the folders of runs are
    #[arg(long, value_name = "DIR", default_value = "reports")]
    reports: std::path::PathBuf,
}

impl Tell {
    pub fn run(self, session: &Session) -> Result<Exit, RunError> {
        let folder = past::find(&self.reports, &self.run)?;
        let run = past::entry(&folder).filter(|run| run.began.kind == "cost");
        let run = run.ok_or_else(|| RunError::misuse(format!("{} is not the run of a way down", folder.display())))?;
        if run.ended {
            return Err(RunError::misuse(format!("{} has ended; nobody hears wishes there", run.name)));
        }
        let wish = Wish::ALL.iter().find(|(word, _)| *word == self.wish).map(|(_, wish)| *wish);
        let wish = wish.ok_or_else(|| RunError::misuse(format!("`{}` is no wish", self.wish)))?;
        let path = folder.join(told::WISHES);
        told::ask(&path, wish).map_err(|e| RunError::cannot_tell(format!("{}: {e}", path.display())))?;
        let document = serde_json::json!({"schema": "serin.tell/1", "run": run.name, "wish": wish});
        session.print(&document, || vec![format!("{} is told: {}", run.name, self.wish)]);
        Ok(Exit::Go)
    }
}
