//! `serin help`: topics, the manual page and shell completions, all read from what the program itself uses.

use std::io::{self, Write};

use clap::{Command, CommandFactory};
use clap_complete::Shell;

use crate::cli::Arguments;
use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::console::keys::{self, Place};
use crate::run::error::RunError;
use crate::toml_file::nearest;

const SCHEMAS: &str = include_str!("../topics/schemas.txt");
const SCENARIOS: &str = include_str!("../topics/scenarios.txt");
const PLANS: &str = include_str!("../topics/plans.txt");
const OBJECTIVES: &str = include_str!("../topics/objectives.txt");
const DESCEND: &str = include_str!("../topics/descend.txt");
const RULES: &str = include_str!("../topics/rules.txt");
const WATCHING: &str = include_str!("../topics/watching.txt");
const EXIT_CODES: &str = include_str!("../topics/exit.txt");

const TOPICS: [(&str, &str); 11] = [
    ("keys", "the keys of the console"),
    ("schemas", "what --json prints, field by field"),
    ("scenarios", "how a load is written down"),
    ("plans", "how a canary's stages are written down"),
    ("objectives", "what can be asked of a run"),
    ("descend", "the way down, and how its plan is written"),
    ("rules", "boosts, promotions, caps, freshness, exploration"),
    ("watching", "where numbers come from, which causes are told apart, what asking costs"),
    ("exit codes", "what the exit code says"),
    ("man", "the manual page, as roff: serin help man > serin.1"),
    ("completions SHELL", "for bash, zsh or fish: serin help completions bash"),
];

/// Help on a topic or a command
///
/// Topics: keys, schemas, scenarios, plans, objectives, descend, rules, watching, exit codes, man, completions bash|zsh|fish.
#[derive(clap::Args)]
#[command(after_help = "Example: serin help objectives")]
pub struct Help {
    /// A topic, or the words of a command
    #[arg(value_name = "TOPIC")]
    pub topic: Vec<String>,
}

impl Help {
    pub fn run(self, _session: &Session) -> Result<Exit, RunError> {
        let words: Vec<&str> = self.topic.iter().map(String::as_str).collect();
        let text = match words.as_slice() {
            [] => overview().into_bytes(),
            ["keys"] => key_table().into_bytes(),
            ["schemas" | "schema"] => SCHEMAS.into(),
            ["scenarios" | "scenario"] => SCENARIOS.into(),
            ["plans" | "plan"] => PLANS.into(),
            ["objectives" | "objective"] => OBJECTIVES.into(),
            ["descend"] => DESCEND.into(),
            ["rules" | "rule"] => RULES.into(),
            ["watching" | "causes"] => WATCHING.into(),
            ["exit" | "exit-codes"] | ["exit", "codes" | "code"] => EXIT_CODES.into(),
            ["man"] => manual()?,
            ["completions", shell] => completions(shell)?,
            ["completions"] => return Err(RunError::misuse("completions for which shell? bash, zsh or fish")),
            words => command(words)?.into_bytes(),
        };
        // Whoever closed the pipe has read enough.
        let _ = io::stdout().lock().write_all(&text);
        Ok(Exit::Go)
    }
}

fn overview() -> String {
    let topics = TOPICS.map(|(name, what)| format!("  {name:<18} {what}\n")).concat();
    let help = Arguments::command().render_help();
    format!("{help}\n\nTopics, with `serin help TOPIC`:\n{topics}")
}

fn key_table() -> String {
    let mut text = "Keys of the console\n".to_owned();
    let mut place = None;
    let mut rows: Vec<_> = keys::table().iter().map(|b| (heading(b.place), b)).collect();
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    for (heading, binding) in rows {
        if place.as_ref() != Some(&heading) {
            text += &format!("\n{heading}\n");
            place = Some(heading);
        }
        let asks = if binding.dangerous { " (asks first)" } else { "" };
        text += &format!("  {:<18} {}{asks}\n", binding.keys.join(", "), binding.name);
    }
    text
}

fn heading(place: Place) -> String {
    match place {
        Place::Everywhere => "Everywhere".to_owned(),
        Place::On(screen) => format!("On the screen {screen:?}"),
        Place::Asked => "While a question waits".to_owned(),
    }
}

/// The manual page of serin, and after it those of its commands.
fn manual() -> Result<Vec<u8>, RunError> {
    let mut page = Vec::new();
    let mut root = Arguments::command();
    root.build();
    write_pages(&root, &mut page).map_err(RunError::cannot_tell)?;
    Ok(page)
}

fn write_pages(command: &Command, page: &mut Vec<u8>) -> io::Result<()> {
    clap_mangen::Man::new(command.clone()).render(page)?;
    command.get_subcommands().filter(|c| !c.is_hide_set()).try_for_each(|c| write_pages(c, page))
}

fn completions(shell: &str) -> Result<Vec<u8>, RunError> {
    let shell = match shell {
        "bash" => Shell::Bash,
        "zsh" => Shell::Zsh,
        "fish" => Shell::Fish,
        other => return Err(RunError::misuse(format!("`{other}` is no shell known here; bash, zsh or fish"))),
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "serin", &mut script);
    Ok(script)
}

/// The help of a command, as its own --help says it.
fn command(words: &[&str]) -> Result<String, RunError> {
    let mut at = Arguments::command();
    at.build();
    let mut found = &mut at;
    for word in words {
        let known: Vec<String> = found.get_subcommands().map(|c| c.get_name().to_owned()).collect();
        if !known.iter().any(|k| k == word) {
            let topics = TOPICS.iter().filter_map(|(name, _)| name.split(' ').next());
            let near = nearest(word, known.iter().map(String::as_str).chain(topics));
            let cause = format!("there is no topic and no command `{}`", words.join(" "));
            let hint = near.map_or("`serin help` lists them".to_owned(), |n| format!("did you mean `{n}`?"));
            return Err(RunError::misuse(cause).hint(hint));
        }
        found = found.find_subcommand_mut(word).ok_or_else(|| RunError::misuse("unknown command"))?;
    }
    Ok(found.render_long_help().to_string())
}
