//! `serin token`: a JWT for trying the API.

use std::time::Duration;

use crate::cli::exit::Exit;
use crate::cli::session::Session;
use crate::run::error::RunError;
use crate::serve::auth::{AUDIENCE, Mint};
use crate::serve::secret;
use crate::stats::units::parse_duration;

/// Make a JWT for a platform, for testing; signed with SERIN_JWT_SECRET, else with the platform's secret of serin.toml or the local stack's
#[derive(clap::Args)]
#[command(after_help = "Example: curl -H \"Authorization: Bearer $(serin token)\" http://127.0.0.1:7070/v1/popular")]
pub struct Token {
    /// Who asks
    #[arg(long, value_name = "S", default_value = "serin")]
    subject: String,
    /// How long the token is good
    #[arg(long, default_value = "1h", value_parser = parse_duration)]
    ttl: Duration,
    /// The platform that the token is for
    #[arg(long, value_name = "P")]
    platform: Option<String>,
    /// The audience that the API expects
    #[arg(long, default_value = AUDIENCE)]
    audience: String,
}

impl Token {
    pub fn run(self, session: &Session) -> Result<Exit, RunError> {
        let configured = self.platform.as_ref().and_then(|name| Some((name, session.config.platforms.get(name)?)));
        let secret = match (std::env::var("SERIN_JWT_SECRET"), configured) {
            (Ok(secret), _) if !secret.is_empty() => secret,
            (_, Some((name, platform))) => platform.secret(name)?.ok_or_else(|| {
                RunError::misuse(format!(
                    "the tokens of {name} are checked with public keys; who holds the private one signs"
                ))
            })?,
            _ if secret::path(&session.home).is_file() => secret::ensure(&session.home)?,
            _ => {
                return Err(RunError::misuse("there is no secret to sign with")
                    .hint("set SERIN_JWT_SECRET, or start the local stack with `serin stack up`"));
            }
        };
        let iat = jiff::Timestamp::now().as_second();
        let exp = iat + self.ttl.as_secs().max(1) as i64;
        let mint = Mint { sub: self.subject, aud: self.audience, iat, exp, platform: self.platform };
        let token = mint.sign(secret.as_bytes()).map_err(RunError::cannot_tell)?;
        let document = serde_json::json!({"schema": "serin.token/1", "token": token, "expires": exp});
        session.print(&document, || vec![token.clone()]);
        Ok(Exit::Go)
    }
}
