//! The word that was typed, to its command: flags to a job, a job to its end, an exit code.

pub mod aim;
pub mod commands;
pub mod config;
pub mod deployment;
pub mod exit;
pub mod headless;
pub mod plain;
pub mod platform;
pub mod session;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use exit::Exit;
use session::Session;

/// Takes a recommendation service to production and keeps it there.
///
/// Without a command: the console. On a machine without configuration it makes a demo platform, trains it, publishes
/// it, serves it and plays a short evening at 500+ requests a second.
#[derive(clap::Parser)]
#[command(
    name = "serin",
    version,
    after_help = "Example: serin load --url http://127.0.0.1:7070/health/live --rate 500 --duration 30s"
)]
pub struct Arguments {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub word: Option<commands::Word>,
}

#[derive(clap::Args, Clone, Debug)]
pub struct Global {
    /// Print one JSON document on stdout; everything else goes to stderr
    #[arg(long, global = true)]
    pub json: bool,
    /// Print only the verdict and errors
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Whole sentences, no boxes, no redraw, also in a terminal
    #[arg(long, global = true)]
    pub plain: bool,
    /// The configuration file (else ./serin.toml, then the user's)
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<std::path::PathBuf>,
    /// When to use colour
    #[arg(long, global = true, value_enum, default_value = "auto")]
    pub color: Color,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Color {
    Auto,
    Always,
    Never,
}

/// Runs the program; the exit code is the verdict.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return if asked { Exit::Go } else { Exit::Misuse }.into();
        }
    };
    crate::stop::listen_to_signals();
    let ended = Session::open(arguments.global).and_then(|session| match arguments.word {
        Some(word) => word.run(&session),
        None => commands::console::run(&session),
    });
    ended.unwrap_or_else(|error| exit::explain(&error)).into()
}
