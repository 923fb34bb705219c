//! Guards the floors: imports run down, never sideways between rooms, never in a circle; one outside package, one room.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Each room and the floor it lies on.
const FLOORS: &[(&str, u8)] = &[
    ("main", 8),
    ("cli", 7),
    ("console", 6),
    ("report", 6),
    ("run", 5),
    ("canary", 4),
    ("cost", 4),
    ("incident", 4),
    ("experiment", 4),
    ("load", 3),
    ("serve", 3),
    ("model", 2),
    ("watch", 2),
    ("judge", 2),
    ("stats", 1),
    ("domain", 1),
    ("durable", 1),
    ("journal", 1),
    ("lock", 1),
    ("program", 1),
    ("sigv4", 1),
    ("stop", 1),
    ("toml_file", 1),
];

/// Packages that may be named only below the given paths.
const ROOMS: &[(&str, &[&str])] = &[
    ("ratatui", &["console"]),
    ("crossterm", &["console"]),
    ("clap", &["cli"]),
    ("clap_complete", &["cli"]),
    ("clap_mangen", &["cli"]),
    ("indicatif", &["cli"]),
    ("jsonwebtoken", &["serve", "load", "sigv4.rs"]),
    ("hdrhistogram", &["stats/histogram.rs"]),
    ("maud", &["report"]),
    ("quick_junit", &["report"]),
    ("goose", &["load/engines/viewers.rs"]),
    ("aws_sdk_cloudwatch", &["watch/sources"]),
    ("aws_sdk_dynamodb", &["serve/stores", "watch/sources", "cost/knobs"]),
    ("object_store", &["serve/stores/objects.rs", "run/depot.rs"]),
    ("h2", &["load/engines/paced"]),
    ("aws_config", &["serve/stores", "watch/sources", "serve/aws.rs"]),
    ("aws_credential_types", &["serve/stores", "watch/sources", "serve/aws.rs"]),
];

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every source file: its path below `src`, with `/`, and its text.
fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, out: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(folder).expect("src is there") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                walk(&path, out);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let place = path.strip_prefix(src()).expect("below src").to_string_lossy().replace('\\', "/");
                out.push((place, fs::read_to_string(&path).expect("text")));
            }
        }
    }
    let mut out = Vec::new();
    walk(&src(), &mut out);
    assert!(out.len() > 30, "the walk found almost nothing");
    out
}

fn room(place: &str) -> &str {
    place.split('/').next().unwrap_or(place).trim_end_matches(".rs")
}

fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|l| !l.starts_with("//"))
}

/// The rooms that a file names by `crate::room`, also in `use crate::{a::.., b::..}`.
fn imports(text: &str) -> BTreeSet<String> {
    let whole: String = code(text).collect::<Vec<_>>().join(" ");
    let mut found = BTreeSet::new();
    for part in whole.split("crate::").skip(1) {
        let statement = part.split(';').next().unwrap_or(part);
        let listed = match statement.strip_prefix('{') {
            Some(list) => list.split(',').map(str::trim).collect(),
            None => vec![part],
        };
        for name in listed {
            let word: String = name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if FLOORS.iter().any(|(room, _)| *room == word) {
                found.insert(word);
            }
        }
    }
    found
}

#[test]
fn imports_run_down_and_never_sideways() {
    let floors: BTreeMap<&str, u8> = FLOORS.iter().copied().collect();
    let mut wrong = Vec::new();
    for (place, text) in sources() {
        let from = room(&place);
        if from == "lib" {
            continue;
        }
        let floor = *floors.get(from).unwrap_or_else(|| panic!("{place}: the room `{from}` has no floor"));
        for to in imports(&text) {
            let below = floors[to.as_str()];
            if to != from && below >= floor {
                wrong.push(format!("{place} (floor {floor}) imports {to} (floor {below})"));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that do not run down:\n{}", wrong.join("\n"));
}

#[test]
fn a_package_is_named_only_in_its_room() {
    let mut wrong = Vec::new();
    for (place, text) in sources() {
        for (package, rooms) in ROOMS {
            let path = format!("{package}::");
            let named = code(&text).any(|line| {
                line.match_indices(&path)
                    .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
            });
            if named && !rooms.iter().any(|r| place.starts_with(r)) {
                wrong.push(format!("{place} names {package}, whose room is {}", rooms.join(" or ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_says_in_one_sentence_what_it_is() {
    let silent: Vec<String> =
        sources().into_iter().filter(|(_, text)| !text.starts_with("//! ")).map(|(place, _)| place).collect();
    assert!(silent.is_empty(), "without a first `//!` line: {}", silent.join(", "));
}

#[test]
fn the_guard_sees_what_it_guards() {
    let text = "use crate::cli::x;\n// crate::run\nuse crate::{judge::a,\n load::b};\n";
    assert_eq!(imports(text).into_iter().collect::<Vec<_>>(), ["cli", "judge", "load"]);
}
