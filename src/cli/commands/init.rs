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
    /// The AWS region of its table, load balancer and campaign
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// The DynamoDB table of its lists
    #[arg(long, value_name = "TABLE")]
    table: Option<String>,
    /// Its load balancer as CloudWatch names it: app/NAME/ID
    #[arg(long, value_name = "NAME")]
    load_balancer: Option<String>,
    /// The ARN of its Personalize campaign
    #[arg(long, value_name = "ARN")]
    campaign: Option<String>,
    /// The page to open at night
    #[arg(long, value_name = "URL")]
    runbook: Option<String>,
    /// Whom to call
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,
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
    pub fn run(mut self, session: &Session) -> Result<Exit, RunError> {
        if self.out.exists() && !self.force {
            let cause = format!("{} is there already", self.out.display());
            return Err(RunError::misuse(cause).hint("--force writes over it; --out names another file"));
        }
        // Who gives a name by flags gives the rest by flags as well.
        let ask = self.name.is_none() && std::io::stdin().is_terminal();
        let name = answer(self.name.take(), "What is the target called?", "staging")?;
        let url = answer(self.url.take(), "Where does it answer?", "http://127.0.0.1:7070")?;
        if ask {
            self.ask_further()?;
        }
        let text = self.page(&name, &url);
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

/// Asks for what may be left out; an empty line leaves it out.
fn perhaps(question: &str) -> Result<Option<String>, RunError> {
    Ok(Some(answer(None, question, "")?).filter(|a| !a.is_empty()))
}

impl Init {
    fn ask_further(&mut self) -> Result<(), RunError> {
        let questions: [(&mut Option<String>, &str); 8] = [
            (&mut self.secret_env, "Which environment variable holds the secret of its tokens?"),
            (&mut self.prometheus, "Which Prometheus scrapes it? (its root)"),
            (&mut self.region, "In which AWS region are its table and load balancer?"),
            (&mut self.table, "Which DynamoDB table holds its lists?"),
            (&mut self.load_balancer, "Which load balancer is in front? (app/NAME/ID)"),
            (&mut self.campaign, "Which Personalize campaign answers? (its ARN)"),
            (&mut self.runbook, "Which page is to be opened at night?"),
            (&mut self.owner, "Who is to be called?"),
        ];
        for (field, question) in questions {
            if field.is_none() {
                *field = perhaps(question)?;
            }
        }
        if self.viewers.is_empty() {
            let named = perhaps("Which viewers are known to have a list? (three, with commas)")?.unwrap_or_default();
            self.viewers = named.split(',').map(str::trim).filter(|v| !v.is_empty()).map(str::to_owned).collect();
        }
        Ok(())
    }

    fn page(&self, name: &str, url: &str) -> String {
        let key = |name: &str| toml::Value::from(name).to_string();
        let line = |name: &str, value: &Option<String>, example: &str, what: &str| match value {
            Some(value) => format!("{name} = {} # {what}\n", key(value)),
            None => format!("# {name} = {} # {what}\n", key(example)),
        };
        let known: Vec<_> = self.viewers.iter().map(|v| key(v)).collect();
        let known = if known.is_empty() {
            "# viewers = [\"v1\", \"v2\", \"v3\"]".to_owned()
        } else {
            format!("viewers = [{}]", known.join(", "))
        };
        let head = "# serin.toml: where serin may go, and what is promised there. Flags win over the environment, and that over this.";
        let secret = line(
            "secret_env",
            &self.secret_env,
            "RECS_SECRET",
            "the environment variable that holds the secret of its tokens",
        );
        let arn = "arn:aws:personalize:eu-west-1:123456789012:campaign/strip";
        let rows = [
            "# metrics = false # where the processes tell no numbers on /metrics\n".to_owned(),
            line("prometheus", &self.prometheus, "http://127.0.0.1:9090", "a Prometheus that scrapes it"),
            "# selector = 'job=\"recs\"' # narrows Prometheus to this target\n".to_owned(),
            line("region", &self.region, "eu-west-1", "the AWS region of what follows"),
            line("table", &self.table, "recs-lists", "the DynamoDB table of the lists"),
            line("load_balancer", &self.load_balancer, "app/recs/0123456789abcdef", "as CloudWatch names it"),
            line("campaign", &self.campaign, arn, "a Personalize campaign"),
            "# campaign_quota = 500 # requests a second that it lets in\n".to_owned(),
            "# spend_cap = 0.60 # dollars a day that asking CloudWatch may cost\n".to_owned(),
            "# deploys = \"deploys.log\" # lines of a moment and a text: 2026-11-25T20:14:00Z api 4.2\n".to_owned(),
            "# deploys_command = \"./deploys.sh\" # or a command that prints them\n".to_owned(),
            "objectives = [\"p99 < 250ms\", \"errors < 1%\"]\n".to_owned(),
            "# store_latency = \"25ms\" # the store's p90\n# catalogue_age = \"26h\"\n# model_age = \"50h\"\n"
                .to_owned(),
            "# clock_skew = \"30s\"\n# rate = 800 # what it is known to hold; else the newest `serin limit` says it\n"
                .to_owned(),
            line("runbook", &self.runbook, "https://wiki.example.org/recs", "said with every finding"),
            line("owner", &self.owner, "recs-platform", "whom to call"),
            "# dashboards = [\"https://grafana.example.org/d/recs\"]\n".to_owned(),
        ];
        format!(
            "{head}\n\n\
             [targets.{}]\nurl = {} # where it answers\n\
             # platform = \"sixplay\" # said in its tokens\n# environment = \"staging\"\n\
             # ceiling = 500 # the highest rate that may be sent to it, requests a second\n{secret}\
             # audience = \"recommendations\" # of those tokens\n\n\
             [targets.{0}.watch] # what `serin check` and `serin watch` need\n\
             {known} # viewers who are known to have a list\n\
             # instances = [\"http://10.0.0.1:7070\", \"http://10.0.0.2:7070\"] # each process, where the url is only a front door\n{}",
            key(name),
            key(url),
            rows.concat(),
        )
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Words {
        #[command(flatten)]
        init: Init,
    }

    #[test]
    fn what_is_written_is_read_back_also_with_every_comment_taken_away() {
        let all = ["--region", "eu-west-1", "--table", "t", "--campaign", "arn:x", "--owner", "o\"o"];
        for (name, viewers, more) in [("staging", vec![], &all[..]), ("a b\"c", vec!["v\"1".to_owned()], &[])] {
            let mut init = Words::parse_from([&["init", "--secret-env", "S"], more].concat()).init;
            init.viewers.clone_from(&viewers);
            let text = init.page(name, "http://127.0.0.1:1");
            let read: Config = toml_file::parse("serin.toml", &text).expect("reads");
            assert_eq!(read.targets[name].watch.viewers, viewers);
            assert_eq!(read.targets[name].watch.table.is_some(), !more.is_empty());
            let whole: String =
                text.lines().skip(1).map(|l| format!("{}\n", l.strip_prefix("# ").unwrap_or(l))).collect();
            toml_file::parse::<Config>("serin.toml", &whole).expect("reads too");
        }
    }
}
