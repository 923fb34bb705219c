//! The report as a browser shows it: Chromium draws the page of a recorded run, without a network.
#![cfg(feature = "real-servers")]

mod recorded;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serin::report::write_all;
use serin::run::journal::RunJournal;

/// Runs the browser on `page` and returns what it printed; a browser that hangs is ended.
fn browse(page: &Path, profile: &Path, flags: &[&str]) -> String {
    let browser = std::env::var("SERIN_CHROMIUM").ok().filter(|b| !b.is_empty());
    let browser =
        browser.expect("SERIN_CHROMIUM names no browser: run tests/run, or `apt-get install chromium` and set it");
    let shown = profile.with_extension("dom");
    let mut child = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--host-resolver-rules=MAP * ~NOTFOUND",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(flags)
        .arg(format!("file://{}", page.display()))
        .stdout(std::fs::File::create(&shown).expect("a file"))
        .stderr(Stdio::null())
        .spawn()
        .expect("the browser starts");
    let begin = Instant::now();
    while child.try_wait().expect("waited for").is_none() {
        if begin.elapsed() > Duration::from_secs(120) {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the browser did not end within two minutes");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    std::fs::read_to_string(shown).expect("printed")
}

#[test]
fn a_browser_draws_the_report_and_prints_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let run = dir.path().join("run");
    std::fs::create_dir(&run).expect("made");
    let mut journal = RunJournal::create(&run).expect("a journal");
    recorded::evening(60, true).chunks(10).for_each(|part| journal.append(part).expect("appended"));
    drop(journal);
    write_all(&run).expect("written");
    let page = run.join("report.html");
    let dom = browse(&page, &dir.path().join("a"), &["--dump-dom"]);
    assert!(dom.contains("<h1 class=\"bad\">✗ NO</h1>"), "{dom}");
    // A browser that had found broken markup would have closed or moved what it could not place.
    for tag in ["svg", "table", "section", "figure"] {
        assert_eq!(dom.matches(&format!("<{tag}")).count(), dom.matches(&format!("</{tag}>")).count(), "{tag}");
    }
    assert!(dom.matches("<svg").count() >= 3, "heat, latency and rate");
    let print = dir.path().join("report.pdf");
    browse(&page, &dir.path().join("b"), &[&format!("--print-to-pdf={}", print.display())]);
    let printed = std::fs::read(&print).expect("printed");
    assert!(printed.starts_with(b"%PDF") && printed.len() > 10_000, "{} bytes", printed.len());
}
