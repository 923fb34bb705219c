//! A triage as a document, as Markdown for the incident channel, as one Nagios line, as lines for a terminal.

use serde_json::{Value, json};

use super::check::{Check, State};
use super::finding::Finding;
use super::scene::{Scene, stamp};
use super::triage::Triage;
use crate::judge::verdict::Verdict;

pub const SCHEMA: &str = "serin.check/1";

pub fn document(scene: &Scene, triage: &Triage, took_s: f64) -> Value {
    json!({
        "schema": SCHEMA,
        "verdict": triage.verdict,
        "reason": triage.reason,
        "target": scene.target,
        "at": stamp(scene.now),
        "since": stamp(scene.from),
        "took_s": (took_s * 1000.0).round() / 1000.0,
        "findings": triage.findings,
        "checks": triage.checks,
        "changes": scene.changes.iter().filter(|c| c.at >= scene.from)
            .map(|c| json!({"at": stamp(c.at), "source": c.source, "text": c.text})).collect::<Vec<_>>(),
        "sources": scene.heard.iter().map(|h| json!({
            "name": h.name, "took_s": (h.took_s * 1000.0).round() / 1000.0, "error": h.said.as_ref().err(),
        })).collect::<Vec<_>>(),
    })
}

/// Lines for a terminal: findings in four lines each, then the checks, worst first.
pub fn lines(triage: &Triage) -> Vec<String> {
    let mut out = Vec::new();
    for f in &triage.findings {
        out.push(format!("{} {}", if f.lasts() { "✗" } else { "✓ ended:" }, f.cause));
        out.push(format!("  because  {}", f.because));
        out.push(format!("  since    {}", span(f)));
        out.extend(f.before.iter().map(|b| format!("  before   {b}")));
        out.extend(f.acts.iter().enumerate().map(|(i, a)| format!("  do {}     {a}", i + 1)));
        out.push(String::new());
    }
    out.extend(triage.checks.iter().map(|c| {
        let usual = c.usual.as_ref().map_or(String::new(), |u| format!(" · usually {u}"));
        format!("{} {:<17} {}{usual}", c.state.sign(), c.name, c.seen)
    }));
    out
}

fn span(f: &Finding) -> String {
    match &f.ended {
        Some(ended) => format!("{}, ended {ended}", f.since),
        None => f.since.clone(),
    }
}

/// A page to paste in the incident channel.
pub fn markdown(scene: &Scene, triage: &Triage) -> String {
    let mut out = format!("# serin check · {} · {}\n\n{}\n", scene.target, triage.verdict.sign(), triage.reason);
    for f in &triage.findings {
        out += &format!(
            "\n## {}{}\n\n- **because** {}\n- **since** {}\n",
            f.cause,
            if f.lasts() { "" } else { " (ended)" },
            f.because,
            span(f)
        );
        f.before.iter().for_each(|b| out += &format!("- **just before** {b}\n"));
        f.acts.iter().enumerate().for_each(|(i, a)| out += &format!("- **do {}** `{a}`\n", i + 1));
    }
    out += "\n| | check | seen | usual | source | age |\n|---|---|---|---|---|---:|\n";
    for c in &triage.checks {
        let age = c.age_s.map_or(String::new(), |a| format!("{a:.0} s"));
        let cell = |text: &str| text.replace('|', "\\|");
        let usual = c.usual.as_deref().unwrap_or("");
        out += &format!(
            "| {} | {} | {} | {} | {} | {age} |\n",
            c.state.sign(),
            c.name,
            cell(&c.seen),
            cell(usual),
            cell(&c.source)
        );
    }
    out += &format!(
        "\nChecked {}, looking back to {}. A `?` could not be told and is never well; a `·` is not configured.\n",
        stamp(scene.now),
        stamp(scene.from)
    );
    out
}

/// One line with perfdata, and the code of the Nagios convention: 0 OK, 1 warning, 2 critical, 3 unknown.
pub fn nagios(triage: &Triage, took_s: f64) -> (String, u8) {
    let count = |state| triage.checks.iter().filter(|c: &&Check| c.state == state).count();
    let (word, code) = match triage.verdict {
        Verdict::No => ("CRITICAL", 2),
        Verdict::CannotTell => ("UNKNOWN", 3),
        Verdict::Go if count(State::Warn) + count(State::Bad) > 0 => ("WARNING", 1),
        Verdict::Go => ("OK", 0),
    };
    let lasting = triage.findings.iter().filter(|f| f.lasts()).count();
    // A bar begins the perfdata, so the text may hold none.
    let reason = triage.reason.replace(['|', '\n'], "/");
    let line = format!(
        "SERIN {word} - {reason} | findings={lasting};;1 bad={};;1 warn={};1 unknown={} time={took_s:.3}s;10;60",
        count(State::Bad),
        count(State::Warn),
        count(State::Unknown),
    );
    (line, code)
}
