//! Reports from recorded runs: whole ones, killed ones, and ones whose texts try to be HTML.

mod recorded;

use std::path::{Path, PathBuf};

use serin::durable;
use serin::report::form::Form;
use serin::report::{render, write_all};
use serin::run::event::Event;
use serin::run::folder::SUMMARY;
use serin::run::journal::RunJournal;

fn keep(at: &Path, events: &[Event]) -> PathBuf {
    let mut journal = RunJournal::create(at).expect("a journal");
    events.chunks(10).for_each(|part| journal.append(part).expect("appended"));
    if let Some(Event::Ended(summary)) = events.last() {
        let text = serde_json::to_vec_pretty(&summary.document).expect("a document");
        durable::write(&at.join(SUMMARY), &text).expect("written");
    }
    at.to_owned()
}

#[test]
fn a_missed_objective_is_no_in_every_form() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = keep(dir.path(), &recorded::evening(60, true));
    write_all(&folder).expect("written");
    let html = std::fs::read_to_string(folder.join("report.html")).expect("html");
    assert!(html.contains("<h1 class=\"bad\">✗ NO</h1>"), "the verdict comes first");
    assert!(!html.contains("<script") && !html.contains("http:") && !html.contains("https:"), "no script, no network");
    assert!(html.len() < 300_000, "{} bytes", html.len());
    let markdown = std::fs::read_to_string(folder.join("report.md")).expect("markdown");
    assert!(markdown.lines().count() < 60, "{} lines", markdown.lines().count());
    insta::assert_snapshot!("markdown_of_a_no", markdown.replace(&folder.display().to_string(), "RUN"));
    let junit = render(&folder, Form::Junit).expect("junit");
    assert!(junit.contains("failures=\"2\"") || junit.contains("failures=\"3\""), "{junit}");
    let json: serde_json::Value = serde_json::from_str(&render(&folder, Form::Json).expect("json")).expect("json");
    assert_eq!(json["verdict"], "no");
}

#[test]
fn a_killed_run_is_cut_off_and_cannot_tell_though_all_was_met_so_far() {
    let dir = tempfile::tempdir().expect("a folder");
    let events = recorded::evening(60, false);
    let folder = keep(dir.path(), &events[..events.len() - 20]);
    let json: serde_json::Value = serde_json::from_str(&render(&folder, Form::Json).expect("json")).expect("json");
    assert_eq!(json["verdict"], "cannot-tell");
    assert!(json["reason"].as_str().expect("a reason").starts_with("cut off"), "{json}");
    assert_eq!(json["requests"], 41 * 500, "what came before stands");
    let html = render(&folder, Form::Html).expect("html");
    assert!(html.contains("? CANNOT TELL"));
    let junit = render(&folder, Form::Junit).expect("junit");
    assert!(junit.contains("errors=\"1\""), "{junit}");
}

#[test]
fn a_good_run_says_go_and_draws_its_objective() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = keep(dir.path(), &recorded::evening(60, false));
    let html = render(&folder, Form::Html).expect("html");
    assert!(html.contains("<h1 class=\"good\">✓ GO</h1>"));
    assert!(html.contains("class=\"limit\"") && html.contains("objective 120 ms"));
    assert!(!html.contains("class=\"miss"), "nothing lies above the objective");
}

#[test]
fn what_others_wrote_is_never_markup() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut events = recorded::evening(10, true);
    let evil = "<img src=x onerror=alert(1)> | **bold** `x`\n# head";
    for event in &mut events {
        match event {
            Event::Began(b) => b.title = evil.to_owned(),
            Event::Ended(s) => s.document["errors"]["examples"]["timeout"] = evil.into(),
            _ => {}
        }
    }
    let folder = keep(dir.path(), &events);
    for form in Form::ALL {
        let text = render(&folder, form).expect("rendered");
        assert!(form == Form::Json || !text.contains("<img"), "{form:?}");
    }
    let markdown = render(&folder, Form::Markdown).expect("markdown");
    assert!(!markdown.contains("\n# head"), "{markdown}");
}

#[test]
fn a_day_of_load_stays_a_small_page() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut events = recorded::evening(5, true);
    let Some(Event::Tick(last)) = events.iter().rev().find(|e| matches!(e, Event::Tick(_))).cloned() else {
        panic!("there is a tick");
    };
    let end = events.len() - 1;
    let more = (5..300).map(|second| {
        let mut tick = last.clone();
        (tick.second, tick.ends_s) = (second * 288, f64::from(second * 288 + 1));
        Event::Tick(tick)
    });
    let more: Vec<_> = more.collect();
    events.splice(end..end, more);
    let html = render(&keep(dir.path(), &events), Form::Html).expect("html");
    assert!(html.len() < 300_000, "{} bytes", html.len());
}

#[test]
fn a_folder_without_a_run_is_refused_with_its_name() {
    let dir = tempfile::tempdir().expect("a folder");
    let error = render(dir.path(), Form::Html).expect_err("refused").to_string();
    assert!(error.contains("holds no run"), "{error}");
}

#[test]
fn a_way_down_has_its_table_its_curve_and_its_money() {
    let dir = tempfile::tempdir().expect("a folder");
    let at = |name: &str| {
        std::fs::create_dir_all(dir.path().join(name)).expect("a folder");
        dir.path().join(name)
    };
    let whole = keep(&at("whole"), &recorded::way(14.0));
    let html = render(&whole, Form::Html).expect("html");
    for wanted in ["<h1 class=\"good\">✓ GO</h1>", "Each step: what it cost", "<circle class=\"held\"", "saved a year"]
    {
        assert!(html.contains(wanted), "{wanted}");
    }
    let markdown = render(&whole, Form::Markdown).expect("markdown");
    assert!(markdown.lines().count() < 60 && markdown.contains("| at | rcu |"), "{markdown}");
    // One that was killed keeps its steps, its guesses are marked, and it cannot tell.
    let killed = keep(&at("killed"), &recorded::way(6.5));
    let html = render(&killed, Form::Html).expect("html");
    for wanted in ["? CANNOT TELL", "Each step: what it cost", "<circle class=\"guess\"", "not taken"] {
        assert!(html.contains(wanted), "{wanted}");
    }
}

#[test]
fn a_walk_shows_its_evidence_also_when_it_was_cut_off() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = keep(dir.path(), &recorded::walk(45, true));
    let html = render(&folder, Form::Html).expect("html");
    for text in ["? CANNOT TELL", "The road", "The evidence at the last look", "errors", "p99 of each look, both sides"]
    {
        assert!(html.contains(text), "no {text} in {html}");
    }
    let markdown = render(&folder, Form::Markdown).expect("markdown");
    assert!(markdown.contains("where the canary stands now was not read"), "{markdown}");
}
