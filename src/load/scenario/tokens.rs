//! `[token]` of a scenario file: whose secret signs, what the tokens claim, and how long they last.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::{Page, beside};
use crate::load::dress::Tokens;
use crate::toml_file::TomlError;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenFile {
    /// The environment variable, or the file, that holds an HS256 secret or an RS256 key in PEM.
    secret_env: Option<Spanned<String>>,
    secret_file: Option<Spanned<String>>,
    audience: Option<String>,
    issuer: Option<String>,
    /// Whose viewers they are; a platform's API refuses those of another.
    platform: Option<String>,
    #[serde(default)]
    per_viewer: bool,
    ttl: Option<Spanned<String>>,
    #[serde(default)]
    claims: std::collections::BTreeMap<String, Spanned<toml::Value>>,
}

/// Renewed when a third is left: a shorter life would be renewed at every request.
const SHORTEST: Duration = Duration::from_secs(3);
const OWN: [&str; 6] = ["sub", "iat", "exp", "aud", "iss", "platform"];

impl Page<'_> {
    /// Returns the recipe of the scenario's tokens; a secret that is not there is found before anything is sent.
    pub fn tokens(&self, spanned: &Spanned<TokenFile>, folder: Option<&Path>) -> Result<Tokens, TomlError> {
        let file = spanned.get_ref();
        let mut tokens = match (&file.secret_env, &file.secret_file) {
            (Some(_), Some(second)) => {
                return Err(self.at(second, "a secret has one place: `secret_env` or `secret_file`"));
            }
            (None, None) => return Err(self.at(spanned, "[token] needs `secret_env` or `secret_file`: what signs?")),
            (Some(variable), None) => match std::env::var(variable.get_ref()) {
                Ok(secret) if !secret.is_empty() => {
                    Tokens::of_secret(secret.as_bytes()).map_err(|e| self.at(variable, e))?
                }
                _ => return Err(self.at(variable, format!("{} is not set", variable.get_ref()))),
            },
            (None, Some(named)) => {
                let path = beside(folder, named.get_ref());
                let secret = std::fs::read(&path).map_err(|e| self.at(named, format!("{}: {e}", path.display())))?;
                if secret.trim_ascii().is_empty() {
                    return Err(self.at(named, format!("{} is empty", path.display())));
                }
                Tokens::of_secret(&secret).map_err(|e| self.at(named, e))?
            }
        };
        if let Some(ttl) = &file.ttl {
            let lasts = self.duration("ttl", ttl)?;
            if lasts < SHORTEST {
                return Err(self.at(ttl, "`ttl` is under 3 s: the tokens would expire on the way"));
            }
            tokens.ttl_s = lasts.as_secs();
        }
        for (claim, value) in &file.claims {
            if OWN.contains(&claim.as_str()) {
                return Err(self.at(value, format!("the claim `{claim}` is set by serin itself")));
            }
            let json = serde_json::to_value(value.get_ref()).map_err(|e| self.at(value, e))?;
            tokens.claims.insert(claim.clone(), json);
        }
        if let Some(platform) = &file.platform {
            tokens.claims.insert("platform".to_owned(), platform.as_str().into());
        }
        tokens.audience.clone_from(&file.audience);
        tokens.issuer.clone_from(&file.issuer);
        tokens.per_viewer = file.per_viewer;
        Ok(tokens)
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;

    const GOOD: &str = "[[stage]]\nshape = \"constant\"\nrate = 5\nfor = \"1s\"\n[[request]]\nget = \"/a\"\n";

    #[test]
    fn a_scenario_says_what_its_tokens_claim() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("secret"), "a secret of thirty-two bytes....\n").expect("written");
        let text = format!(
            "{GOOD}[token]\nsecret_file = \"secret\"\nplatform = \"sixplay\"\nper_viewer = true\nttl = \"1m\"\nclaims = {{ tier = 2 }}"
        );
        let tokens = parse("s.toml", &text, Some(dir.path())).expect("read").tokens.expect("some");
        assert_eq!((tokens.ttl_s, tokens.per_viewer), (60, true));
        assert_eq!(serde_json::Value::from(tokens.claims), serde_json::json!({"tier": 2, "platform": "sixplay"}));
    }

    #[test]
    fn every_mistake_in_it_is_named_with_its_place() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("empty"), "\n").expect("written");
        std::fs::write(dir.path().join("secret"), "s").expect("written");
        std::fs::write(dir.path().join("torn.pem"), "-----BEGIN PRIVATE KEY-----\nAAAA").expect("written");
        let table = [
            ("", "s.toml:7:1: [token] needs `secret_env` or `secret_file`"),
            ("secret_env = \"SERIN_NO_SUCH_VARIABLE\"", "s.toml:8:14: SERIN_NO_SUCH_VARIABLE is not set"),
            ("secret_env = \"A\"\nsecret_file = \"b\"", "s.toml:9:15: a secret has one place"),
            ("secret_file = \"gone\"", "s.toml:8:15: "),
            ("secret_file = \"empty\"", "is empty"),
            ("secret_file = \"torn.pem\"", "s.toml:8:15: the key for the tokens is no RSA key"),
            ("secret_file = \"secret\"\nttl = \"1s\"", "s.toml:9:7: `ttl` is under 3 s"),
            ("secret_file = \"secret\"\nttl = \"soon\"", "s.toml:9:7: `ttl`: "),
            ("secret_file = \"secret\"\nclaims = { exp = 3 }", "the claim `exp` is set by serin itself"),
            ("secert_file = \"secret\"", "s.toml:8:1: unknown key `secert_file`; did you mean `secret_file`?"),
        ];
        for (rest, part) in table {
            let text = format!("{GOOD}[token]\n{rest}");
            let error = parse("s.toml", &text, Some(dir.path())).err().expect(rest).to_string();
            assert!(error.contains(part), "{rest}\n{error}");
        }
    }
}
