//! `serin` alone: the console in a terminal, the same evening headless without one; and any job shown like this.

use std::path::Path;
use std::sync::Arc;

use crate::cli::Color;
use crate::cli::deployment;
use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::console::look::{Colour, Look};
use crate::console::session::{self as screen, Options};
use crate::console::watcher::Deployed;
use crate::run::error::RunError;
use crate::run::job::Job;
use crate::run::jobs::evening::Evening;

pub fn run(session: &Session) -> Result<Exit, RunError> {
    show(session, Box::new(Evening::new(&session.home)), None)
}

/// Does a job on the console where a person sits at a terminal, else headless.
pub fn show(session: &Session, job: Box<dyn Job>, out: Option<&Path>) -> Result<Exit, RunError> {
    if !session.has_terminal() {
        return session.headless(job, out);
    }
    let running = session.start(job, out)?;
    let options = Options {
        look: Look::choose(colour(session.global.color), |name| std::env::var(name).ok())?,
        reports: out.unwrap_or(Path::new("reports")).to_owned(),
        write_reports: Arc::new(|folder| {
            // The journal and the summary are there already; a form that fails can be made again from them.
            let _ = crate::report::write_all(folder);
        }),
        deployed: deployed(session),
        home: session.home.clone(),
    };
    Ok(Exit::from(&screen::run(running, &options)?))
}

/// What is up on this machine, asked anew each time: a run may start a stack, and end it.
fn deployed(session: &Session) -> Deployed {
    let (home, config) = (session.home.clone(), session.config.clone());
    Arc::new(move || deployment::local(&home, &config))
}

fn colour(asked: Color) -> Colour {
    match asked {
        Color::Auto => Colour::Auto,
        Color::Always => Colour::Always,
        Color::Never => Colour::Never,
    }
}
