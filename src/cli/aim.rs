//! Where load may go: `--target` or `--url`, checked against the allow-list and its ceiling before anything is sent.

use std::path::{Path, PathBuf};

use super::config::{Target, Watched};
use super::session::Session;
use crate::cost::aws;
use crate::load::dress::{Tokens, check_header};
use crate::load::sign::{self, Keys, Signing};
use crate::load::target::Address;
use crate::load::tls::Trust;
use crate::run::error::RunError;
use crate::serve::{secret, stack};

/// The target that needs no configuration: the stack of this machine.
pub const LOCAL: &str = "local";
/// Where the local stack answers when it is not up to say so itself.
const LOCAL_URL: &str = "http://127.0.0.1:7070";
/// What may be sent to a host that no configuration knows.
const CEILING_ELSEWHERE: f64 = 100.0;

/// Which target, and how it is spoken to.
#[derive(clap::Args, Clone, Debug)]
pub struct Aim {
    /// A target of serin.toml, or `local`
    #[arg(long, value_name = "NAME", conflicts_with = "url")]
    pub target: Option<String>,
    /// An address to send to
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// A Personalize campaign: what `{campaign}` in a scenario stands for; requests are signed with the AWS keys of this
    /// machine, and go to its region unless --url or --target says where
    #[arg(long, value_name = "ARN")]
    pub campaign: Option<String>,
    /// A header on every request, 'Name: value'
    #[arg(long = "header", short = 'H', value_name = "'NAME: VALUE'")]
    pub headers: Vec<String>,
    /// Confirm a host that serin.toml does not name
    #[arg(long, value_name = "HOST")]
    pub allow: Vec<String>,
    /// Confirm a rate above the target's ceiling
    #[arg(long, value_name = "RATE")]
    pub ceiling: Option<f64>,
    /// Authorities to trust instead of the public ones, PEM
    #[arg(long, value_name = "FILE")]
    pub cacert: Option<PathBuf>,
    /// A certificate to show, PEM
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// The key of that certificate, PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
}

/// A target that load may be sent to.
#[derive(Clone, Debug)]
pub struct Aimed {
    pub name: String,
    pub address: Address,
    pub headers: Vec<(String, String)>,
    pub tokens: Option<Tokens>,
    pub trust: Trust,
    /// The campaign that is asked, and how its requests are signed.
    pub campaign: Option<String>,
    pub signing: Option<Signing>,
    ceiling: Option<f64>,
}

impl Aim {
    /// Finds the target, or refuses a host that nobody confirmed.
    pub fn find(&self, session: &Session) -> Result<Aimed, RunError> {
        let targets = &session.config.targets;
        let runtime = match (&self.url, &self.target, &self.campaign) {
            (None, None, Some(campaign)) => Some(runtime(campaign)?),
            _ => None,
        };
        let (name, address, known) = match (self.url.as_ref().or(runtime.as_ref()), &self.target) {
            (Some(url), _) => {
                let address = Address::parse(url)?;
                let same = |t: &&Target| {
                    Address::parse(&t.url).is_ok_and(|a| a.host == address.host && a.port == address.port)
                };
                let known = targets.values().find(same).cloned();
                (address.origin(), address, known)
            }
            (None, name) => {
                let name = name.as_deref().unwrap_or(LOCAL);
                let known = named(session, name)?;
                (name.to_owned(), Address::parse(&known.url)?, Some(known))
            }
        };
        let allowed = self.allow.iter().any(|h| h.eq_ignore_ascii_case(&address.host));
        if known.is_none() && !address.is_loopback() && !allowed {
            let cause =
                format!("{} is neither this machine nor a target of serin.toml: nothing was sent", address.host);
            return Err(RunError::misuse(cause).hint(format!("if load may go there, say so: --allow {}", address.host)));
        }
        let configured = known.as_ref().and_then(|t| t.ceiling);
        let ceiling = configured.or_else(|| (!address.is_loopback() && known.is_none()).then_some(CEILING_ELSEWHERE));
        let headers = self.headers.iter().map(|h| {
            let (name, value) =
                h.split_once(':').ok_or_else(|| RunError::misuse("a --header is written 'Name: value'"))?;
            let (name, value) = (name.trim().to_owned(), value.trim().to_owned());
            check_header(&name, &value)?;
            Ok((name, value))
        });
        let headers = headers.collect::<Result<_, RunError>>()?;
        let tokens = known.as_ref().map(|t| tokens(&name, t)).transpose()?.flatten();
        let trust = Trust { authority: self.cacert.clone(), identity: self.cert.clone().zip(self.key.clone()) };
        let campaign = self.campaign.clone().or_else(|| known.and_then(|t| t.campaign));
        // A stand-in with tokens of its own knows no AWS keys.
        let signing = campaign.as_deref().filter(|_| tokens.is_none()).map(signing).transpose()?;
        Ok(Aimed { name, address, headers, tokens, trust, campaign, signing, ceiling: self.ceiling.or(ceiling) })
    }
}

impl Aimed {
    /// Refuses a rate above the ceiling; no ceiling on loopback unless one is configured.
    pub fn check_rate(&self, peak: f64) -> Result<(), RunError> {
        let Some(ceiling) = self.ceiling.filter(|c| peak > *c) else { return Ok(()) };
        let asked = if peak.is_finite() { format!("{peak}/s") } else { "as much as it bears".to_owned() };
        let cause = format!("{asked} is above the ceiling of {}, {ceiling}/s: nothing was sent", self.name);
        Err(RunError::misuse(cause).hint("set `ceiling` for the target in serin.toml, or confirm with --ceiling RATE"))
    }
}

/// Returns where a campaign answers.
fn runtime(campaign: &str) -> Result<String, RunError> {
    let region = sign::region_of(campaign).map_err(RunError::misuse)?;
    let end = if campaign.starts_with("arn:aws-cn:") { ".cn" } else { "" };
    Ok(format!("https://personalize-runtime.{region}.amazonaws.com{end}"))
}

fn signing(campaign: &str) -> Result<Signing, RunError> {
    let region = sign::region_of(campaign).map_err(RunError::misuse)?;
    let fetch = || {
        let found = aws::keys().map_err(|e| e.to_string())?;
        Ok(Keys { key: found.key, secret: found.secret, session: found.session, until: found.until })
    };
    Signing::new(Box::new(fetch), region, "personalize").map_err(RunError::misuse)
}

/// Returns the target of that name; `local` needs no configuration.
pub fn named(session: &Session, name: &str) -> Result<Target, RunError> {
    let targets = &session.config.targets;
    let known = targets.get(name).cloned().or_else(|| (name == LOCAL).then(|| local(&session.home)));
    known.ok_or_else(|| {
        let all = targets.keys().map(String::as_str).chain([LOCAL]);
        let near = crate::toml_file::nearest(name, all.clone());
        let known = all.collect::<Vec<_>>().join(", ");
        let hint = near.map_or(format!("known: {known}"), |n| format!("did you mean `{n}`?"));
        RunError::misuse(format!("serin.toml names no target `{name}`; {hint}"))
    })
}

pub fn local(home: &Path) -> Target {
    let secret = secret::path(home);
    let url = stack::running(home).ok().flatten().map_or_else(|| LOCAL_URL.to_owned(), |up| up.api_url);
    Target {
        url,
        ceiling: None,
        secret_env: None,
        secret_file: secret.is_file().then_some(secret),
        audience: None,
        issuer: None,
        platform: None,
        environment: None,
        token_per_viewer: false,
        campaign: None,
        watch: Watched::default(),
    }
}

/// Returns the recipe of a target's tokens, where it has one.
pub fn tokens(name: &str, target: &Target) -> Result<Option<Tokens>, RunError> {
    let secret = match (&target.secret_env, &target.secret_file) {
        (Some(variable), _) => match std::env::var(variable) {
            Ok(secret) if !secret.is_empty() => secret.into_bytes(),
            _ => {
                let cause = format!("the target {name} takes its secret from {variable}, which is not set");
                return Err(RunError::misuse(cause));
            }
        },
        (None, Some(file)) => {
            let read = std::fs::read(file);
            read.map_err(|e| RunError::misuse(format!("the secret of the target {name}, {}: {e}", file.display())))?
        }
        (None, None) => return Ok(None),
    };
    let mut tokens = Tokens::of_secret(&secret)?;
    tokens.audience.clone_from(&target.audience);
    tokens.issuer.clone_from(&target.issuer);
    tokens.per_viewer = target.token_per_viewer;
    if let Some(platform) = &target.platform {
        tokens.claims.insert("platform".to_owned(), platform.as_str().into());
    }
    Ok(Some(tokens))
}
