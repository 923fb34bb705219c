//! `serin init`: writes a commented serin.toml, by flags or by asking.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use crate::cli::config::Config;
use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::durable;
use crate::run::error::RunError;
use crate::toml_file;

/// Write a commented serin.toml
#[derive(clap::Args)]
#[command(
    after_help = "Example: serin init --name staging --url https://recs.staging.example.org --secret-env RECS_SECRET"
)]
pub struct Init {
    /// What the target is called
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Where it answers
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The environment variable that holds the secret of its tokens
    #[arg(long, value_name = "VARIABLE")]
    secret_env: Option<String>,
    /// The root of a Prometheus that scrapes it
    #[arg(long, value_name = "URL")]
    prometheus: Option<String>,
    /// A viewer who is known to have a list; three are best
    #[arg(long = "viewer", value_name = "ID")]
    viewers: Vec<String>,
    /// Where to write
    #[arg(long, value_name = "FILE", default_value = "serin.toml")]
    out: PathBuf,
    /// Write over a file that is there
    #[arg(long)]
    force: bool,
}

impl Init {
    pub fn run(self, session: &Session) -> Result<Exit, RunError> {
        if self.out.exists() && !self.force {
            let cause = format!("{} is there already", self.out.display());
            return Err(RunError::misuse(cause).hint("--force writes over it; --out names another file"));
        }
        let name = answer(self.name, "What is the target called?", "staging")?;
        let url = answer(self.url, "Where does it answer?", "http://127.0.0.1:7070")?;
        let text = page(&name, &url, self.secret_env.as_deref(), self.prometheus.as_deref(), &self.viewers);
        toml_file::parse::<Config>(&self.out.display().to_string(), &text).map_err(RunError::misuse)?;
        durable::write(&self.out, text.as_bytes())
            .map_err(|e| RunError::misuse(format!("{} cannot be written: {e}", self.out.display())))?;
        if session.global.json {
            println!("{}", serde_json::json!({"schema": "serin.init/1", "file": self.out, "target": name}));
        } else if !session.global.quiet {
            println!("{} is written; next: serin check --target {name} --config-only", self.out.display());
        }
        Ok(Exit::Go)
    }
}

/// Takes the flag, else asks a person, else says which flag is missing.
fn answer(flag: Option<String>, question: &str, default: &str) -> Result<String, RunError> {
    if let Some(value) = flag {
        return Ok(value);
    }
    if !std::io::stdin().is_terminal() {
        return Err(RunError::misuse("nobody is here to answer").hint("give --name and --url"));
    }
    eprint!("{question} [{default}] ");
    let mut line = String::new();
    let read = std::io::stderr().flush().and_then(|()| std::io::stdin().read_line(&mut line));
    read.map_err(|e| RunError::misuse(format!("no answer could be read: {e}")))?;
    Ok(Some(line.trim()).filter(|l| !l.is_empty()).unwrap_or(default).to_owned())
}

fn page(name: &str, url: &str, secret: Option<&str>, prometheus: Option<&str>, viewers: &[String]) -> String {
    let key = |name: &str| toml::Value::from(name).to_string();
    let line = |key_name: &str, value: Option<&str>, example: &str, what: &str| match value {
        Some(value) => format!("{key_name} = {} # {what}\n", key(value)),
        None => format!("# {key_name} = {} # {what}\n", key(example)),
    };
    let known: Vec<_> = viewers.iter().map(|v| key(v)).collect();
    let known = if known.is_empty() {
        "# viewers = [\"v1\", \"v2\", \"v3\"]".to_owned()
    } else {
        format!("viewers = [{}]", known.join(", "))
    };
    format!(
        "# serin.toml: where serin may go, and what is promised there. Flags win over the environment, and that over this.\n\n\
         [targets.{}]\nurl = {} # where it answers\n\
         # ceiling = 500 # the highest rate that may be sent to it, requests a second\n{}\
         # audience = \"recommendations\" # of those tokens\n\n\
         [targets.{0}.watch] # what `serin check` and `serin watch` need\n\
         {known} # viewers who are known to have a list\n\
         # instances = [\"http://10.0.0.1:7070\", \"http://10.0.0.2:7070\"] # each process, where the url is only a front door\n{}\
         # selector = 'job=\"recs\"' # narrows Prometheus to this target\n\
         objectives = [\"p99 < 250ms\", \"errors < 1%\"]\n\
         # store_latency = \"25ms\" # the store's p90\n\
         # catalogue_age = \"26h\"\n# model_age = \"50h\"\n# clock_skew = \"30s\"\n\
         # rate = 800 # what `serin limit` found that it holds\n\
         # runbook = \"https://wiki.example.org/recs\"\n# owner = \"recs-platform\"\n# dashboards = [\"https://grafana.example.org/d/recs\"]\n",
        key(name),
        key(url),
        line("secret_env", secret, "RECS_SECRET", "the environment variable that holds the secret of its tokens"),
        line("prometheus", prometheus, "http://127.0.0.1:9090", "a Prometheus that scrapes it"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_also_with_every_comment_taken_away() {
        for (name, viewers) in [("staging", vec![]), ("a b\"c", vec!["v\"1".to_owned()])] {
            let text = page(name, "http://127.0.0.1:1", Some("S"), None, &viewers);
            let read: Config = toml_file::parse("serin.toml", &text).expect("reads");
            assert_eq!(read.targets[name].watch.viewers, viewers);
            let whole: String =
                text.lines().skip(1).map(|l| format!("{}\n", l.strip_prefix("# ").unwrap_or(l))).collect();
            toml_file::parse::<Config>("serin.toml", &whole).expect("reads too");
        }
    }
}
