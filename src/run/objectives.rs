//! What a load was asked to hold, as every face shows it: limits and figures in their own units.

use crate::judge::objective::{Metric, Objective};
use crate::load::summary::Judged;
use crate::load::tick::LoadPlan;
use crate::stats::units::{Millis, Share};

/// Returns the limit that a picture of latency draws: the strictest on a high quantile of the whole run.
pub fn latency_limit(plan: &LoadPlan) -> Option<Millis> {
    let parsed = plan.objectives.iter().filter_map(|o| Objective::parse(o).ok());
    let limits = parsed.filter(|o| matches!(o.metric, Metric::Latency(_)) && o.endpoint.is_none()).map(|o| o.limit);
    limits.min_by(f64::total_cmp).map(Millis)
}

/// Returns a judged objective's figure for a person; `?` where nothing was observed.
pub fn shown(judged: &Judged) -> String {
    match (judged.observed, Objective::parse(&judged.expression)) {
        (None, _) => "?".to_owned(),
        (Some(seen), Ok(objective)) if objective.windows.is_some() => format!("{} of windows", Share(seen)),
        (Some(seen), Ok(objective)) => objective.shown(seen),
        (Some(seen), Err(_)) => format!("{seen}"),
    }
}

/// Returns an expression in two parts, what is limited and its limit: `p99` and `< 120ms`.
pub fn parts(expression: &str) -> (&str, &str) {
    let at = expression.find(['<', '>', '=']).unwrap_or(expression.len());
    (expression[..at].trim(), expression[at..].trim())
}

/// Returns the sign and the word of an objective: met, missed, or not known.
pub fn sign(met: Option<bool>) -> &'static str {
    match met {
        Some(true) => "✓",
        Some(false) => "✗",
        None => "?",
    }
}
