//! `serin` alone: the console in a terminal, the same evening headless without one.

use std::path::Path;
use std::sync::Arc;

use crate::cli::Color;
use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::console::look::{Colour, Look};
use crate::console::session::{self as screen, Options};
use crate::run::error::RunError;
use crate::run::jobs::evening::Evening;

pub fn run(session: &Session) -> Result<Exit, RunError> {
    let job = Box::new(Evening::new(&session.home));
    if !session.has_terminal() {
        return session.headless(job, None);
    }
    let running = session.start(job, None)?;
    let options = Options {
        look: Look::choose(colour(session.global.color), |name| std::env::var(name).ok())?,
        reports: Path::new("reports").to_owned(),
        write_reports: Arc::new(|folder| {
            // The journal and the summary are there already; a form that fails can be made again from them.
            let _ = crate::report::write_all(folder);
        }),
    };
    Ok(Exit::from(&screen::run(running, &options)?))
}

fn colour(asked: Color) -> Colour {
    match asked {
        Color::Auto => Colour::Auto,
        Color::Always => Colour::Always,
        Color::Never => Colour::Never,
    }
}
