//! A target by its name: what serin.toml says of it, as what a check and a watch need.

use std::path::Path;

use super::aim;
use super::config::{Config, Target, Watched};
use super::session::Session;
use crate::cost::prices::Prices;
use crate::incident::gather::{Cloud, Deployment, Instance};
use crate::incident::scene::{Limits, UnitPrices};
use crate::incident::told_by::ToldBy;
use crate::judge::objective::{Figure, Metric, Objective};
use crate::run::error::RunError;
use crate::serve::faults;
use crate::serve::stack::{self, PartState};
use crate::serve::store::StoreAt;
use crate::serve::stores::embedded;
use crate::stats::units::parse_duration;
use crate::watch::cloud::Resources;

/// Returns the target of that name, as serin.toml knows it.
pub fn named(session: &Session, name: &str) -> Result<Deployment, RunError> {
    let mut deployment = configured(name, &aim::named(session, name)?, &session.home)?;
    if name == aim::LOCAL && !session.config.targets.contains_key(name) {
        fill_local(&mut deployment, &session.home)?;
    }
    Ok(deployment)
}

/// Returns the stack that is up on this machine, or `None`.
pub fn local(home: &Path, config: &Config) -> Option<Deployment> {
    stack::running(home).ok().flatten()?;
    let known = config.targets.get(aim::LOCAL).cloned().unwrap_or_else(|| aim::local(home));
    let mut deployment = configured(aim::LOCAL, &known, home).ok()?;
    fill_local(&mut deployment, home).ok()?;
    Some(deployment)
}

/// Adds what the local stack knows of itself: where its parts answer, and viewers who have a list.
fn fill_local(deployment: &mut Deployment, home: &Path) -> Result<(), RunError> {
    let Some(state) = stack::running(home)? else { return Ok(()) };
    let part = |p: &PartState| Instance {
        name: p.name.clone(),
        url: p.url.clone(),
        arm: if p.name.contains("canary") { "canary".to_owned() } else { String::new() },
    };
    // The address that all share is no part of its own.
    deployment.instances = state.parts.iter().filter(|p| faults::can_suffer(&p.name)).map(part).collect();
    if deployment.instances.iter().any(|i| !i.arm.is_empty()) {
        for instance in deployment.instances.iter_mut().filter(|i| i.arm.is_empty()) {
            "stable".clone_into(&mut instance.arm);
        }
    }
    deployment.url = state.api_url;
    if let Ok(StoreAt::Embedded(path)) = stack::spec(home)?.store.parse() {
        // A store that cannot be read is the probe's to tell, not a reason to ask nobody.
        deployment.viewers = embedded::open(&path).ok().and_then(|g| g.some_viewers(3).ok()).unwrap_or_default();
    }
    Ok(())
}

fn configured(name: &str, target: &Target, home: &Path) -> Result<Deployment, RunError> {
    let watched = &target.watch;
    let about = |what: String| RunError::misuse(format!("targets.{name}: {what}"));
    let mut limits = Limits { rate: watched.rate, ..Limits::default() };
    limits.campaign_rate = watched.campaign_quota.unwrap_or(limits.campaign_rate);
    let ages = [
        (&watched.catalogue_age, &mut limits.catalogue_age_s),
        (&watched.model_age, &mut limits.model_age_s),
        (&watched.clock_skew, &mut limits.skew_s),
    ];
    for (asked, limit) in ages {
        if let Some(text) = asked {
            *limit = parse_duration(text).map_err(about)?.as_secs_f64();
        }
    }
    if let Some(text) = &watched.store_latency {
        limits.store_ms = parse_duration(text).map_err(about)?.as_secs_f64() * 1000.0;
    }
    for text in &watched.objectives {
        let objective = Objective::parse(text).map_err(about)?;
        match objective.metric {
            Metric::Errors(None) => limits.errors = objective.limit,
            Metric::Latency(Figure::Quantile(q)) | Metric::Service(Figure::Quantile(q)) => {
                (limits.quantile, limits.latency_ms) = (q, objective.limit);
            }
            _ => return Err(about(format!("`{text}` is known of a run only; a check knows quantiles and errors"))),
        }
    }
    let front = |url: &str| Instance { name: "api".to_owned(), url: url.to_owned(), arm: String::new() };
    let instances = match watched.instances.as_slice() {
        [] => vec![front(&target.url)],
        several => several.iter().map(|url| Instance { name: address(url), ..front(url) }).collect(),
    };
    Ok(Deployment {
        name: name.to_owned(),
        url: target.url.clone(),
        instances,
        tokens: aim::tokens(name, target)?,
        viewers: watched.viewers.clone(),
        prometheus: watched.prometheus.clone().map(|url| (url, watched.selector.clone().unwrap_or_default())),
        metrics: watched.metrics.unwrap_or(true),
        cloud: cloud(watched, home).map_err(about)?,
        changes: changes(watched),
        limits,
        help: help(target),
    })
}

/// What AWS is to be asked, or which key is missing for it.
fn cloud(watched: &Watched, home: &Path) -> Result<Option<Cloud>, String> {
    let resources = Resources {
        table: watched.table.clone(),
        balancer: watched.load_balancer.clone(),
        campaign: watched.campaign.clone(),
    };
    if resources.is_empty() {
        return Ok(None);
    }
    let of_campaign = || watched.campaign.as_ref()?.split(':').nth(3).filter(|r| !r.is_empty()).map(str::to_owned);
    let region = watched.region.clone().or_else(of_campaign);
    let region = region.ok_or("a table or load_balancer needs its `region`, such as region = \"eu-west-1\"")?;
    if region.is_empty() || !region.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-') {
        return Err(format!("`{region}` is no AWS region"));
    }
    if watched.spend_cap.is_some_and(|cap| !cap.is_finite() || cap < 0.0) {
        return Err("spend_cap is a number of dollars a day".to_owned());
    }
    let prices = Prices::open(None, &Prices::updated(home)).ok().map(|p| UnitPrices {
        unit: p.one("dynamodb.rcu-hour", &region),
        campaign: p.tiers("personalize.tps-hour", &region),
    });
    let (endpoint, prices) = (watched.endpoint_url.clone(), prices.unwrap_or_default());
    Ok(Some(Cloud { region, endpoint, resources, cap_usd: watched.spend_cap, prices }))
}

fn changes(watched: &Watched) -> Vec<ToldBy> {
    let file = watched.deploys.clone().map(ToldBy::File);
    file.into_iter().chain(watched.deploys_command.clone().map(ToldBy::Command)).collect()
}

fn address(url: &str) -> String {
    url.split("://").nth(1).unwrap_or(url).trim_end_matches('/').to_owned()
}

fn help(target: &Target) -> Vec<String> {
    let watched = &target.watch;
    let mut help: Vec<_> = watched.runbook.iter().map(|r| format!("open the runbook {r}")).collect();
    help.extend(watched.owner.iter().map(|o| format!("call {o}")));
    help.extend(watched.dashboards.iter().map(|d| format!("look at {d}")));
    help
}
