//! Runs `serin data` on small platforms and on files that people get wrong.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

fn serin(folder: &Path, line: &str) -> (i32, Value, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_serin"));
    let out = command.current_dir(folder).args(line.split_whitespace()).arg("--json").output().expect("runs");
    let document = serde_json::from_slice(&out.stdout).unwrap_or(Value::Null);
    (out.status.code().expect("ended"), document, String::from_utf8_lossy(&out.stderr).into_owned())
}

fn text(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).expect(name)
}

#[test]
fn the_same_seed_makes_the_same_platform_on_any_number_of_threads() {
    let dir = tempfile::tempdir().expect("a folder");
    let size = "--viewers 900 --programmes 120 --viewings 20000";
    for (out, more) in [("a", "--threads 1"), ("b", "--threads 2"), ("c", "--threads 2 --seed 8")] {
        let (code, document, _) = serin(dir.path(), &format!("data synth --out {out} {size} {more}"));
        assert_eq!((code, document["interactions"].as_u64()), (0, Some(19_100)));
    }
    for name in ["interactions.csv", "items.csv", "users.csv", "heldout.csv"] {
        let [a, b, c] = ["a", "b", "c"].map(|f| text(&dir.path().join(f), name));
        assert_eq!(a, b, "{name}");
        assert_ne!(a, c, "{name}");
    }
    let held = text(&dir.path().join("a"), "heldout.csv");
    let interactions = text(&dir.path().join("a"), "interactions.csv");
    assert_eq!(held.lines().count(), 901);
    assert!(
        held.lines().skip(1).all(|pair| !interactions.contains(&format!("\n{pair},"))),
        "a held-out row is in the data"
    );
}

#[test]
fn import_keeps_one_row_a_viewing_and_says_what_it_dropped() {
    let dir = tempfile::tempdir().expect("a folder");
    let rows = "TIMESTAMP,ITEM_ID,EVENT_VALUE,USER_ID\n10,p1,0.2,ann\n20,p1,0.9,ann\n30,p1,0.4,ann\n5,p2,,ann\n5,p1,1,bob\n5,p1,1,eve\n";
    std::fs::write(dir.path().join("v.csv"), rows).expect("written");
    std::fs::write(dir.path().join("u.csv"), "USER_ID,CONSENT\nann,true\nbob,false\n").expect("written");
    let (code, document, _) = serin(dir.path(), "data import v.csv --format personalize --users u.csv --out o");
    assert_eq!(code, 0);
    let dropped = &document["dropped"];
    let counts = ["without_consent", "not_in_users", "same_viewing"].map(|k| dropped[k].as_u64());
    assert_eq!(counts, [Some(1), Some(1), Some(2)]);
    assert!(document["rule"].as_str().is_some_and(|r| r.contains("highest completion")));
    let expected = "USER_ID,ITEM_ID,TIMESTAMP,EVENT_TYPE,EVENT_VALUE\nann,p1,30,watch,0.9\nann,p2,5,watch,1\n";
    assert_eq!(text(&dir.path().join("o"), "interactions.csv"), expected);
    assert_eq!(text(&dir.path().join("o"), "users.csv"), "USER_ID,CONSENT\nann,true\n");
}

#[test]
fn seconds_are_divided_by_the_length_and_stars_by_the_largest() {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(
        dir.path().join("v.csv"),
        "USER_ID,ITEM_ID,TIMESTAMP,EVENT_VALUE\nu,a,1,300\nu,a,2,300\nu,b,1,9000\nu,c,1,5\n",
    )
    .expect("written");
    std::fs::write(dir.path().join("i.csv"), "ITEM_ID,DURATION_S\na,1200\nb,600\nc,\n").expect("written");
    let (code, document, _) =
        serin(dir.path(), "data import v.csv --format personalize --event-value seconds --items i.csv --out s");
    assert_eq!((code, document["dropped"]["without_duration"].as_u64()), (0, Some(1)));
    let lines = text(&dir.path().join("s"), "interactions.csv");
    assert!(lines.ends_with("\nu,a,2,watch,0.5\nu,b,1,watch,1\n"), "{lines}");
    std::fs::write(dir.path().join("r.dat"), "1::10::4::100\n1::10::2::200\n2::11::1::50\n").expect("written");
    let (code, document, _) = serin(dir.path(), "data import r.dat --format movielens --out m");
    assert_eq!((code, document["largest"].as_f64()), (0, Some(4.0)));
    let lines = text(&dir.path().join("m"), "interactions.csv");
    assert!(lines.ends_with("\n1,10,200,rating,0.5\n2,11,50,rating,0.25\n"), "{lines}");
}

#[test]
fn each_bad_file_is_one_clear_error_and_nothing_is_written() {
    let dir = tempfile::tempdir().expect("a folder");
    let head = "USER_ID,ITEM_ID,TIMESTAMP,EVENT_VALUE\n";
    let long = format!("{head}{}", "x".repeat(10_000_000));
    let latin = [head.as_bytes(), b"u\xe9,p,1,1\n"].concat();
    let cases: [(&[u8], &str); 7] = [
        (b"USER_ID,TIMESTAMP\nu,1\n", "bad.csv:1: column ITEM_ID is missing"),
        (
            b"USER_ID,ITEM_ID,TIMESTAMP,EVENT_VALUE\nu,p,1,1\nu,p,1,NaN\n",
            "bad.csv:3: EVENT_VALUE NaN is not a finite number",
        ),
        (b"USER_ID,ITEM_ID,TIMESTAMP,EVENT_VALUE\nu,p,1,-1\n", "bad.csv:2: EVENT_VALUE -1 is negative"),
        (b"USER_ID,ITEM_ID,TIMESTAMP,EVENT_VALUE\nu,p,1,1.01\n", "bad.csv:2: EVENT_VALUE 1.01 is over 1"),
        (long.as_bytes(), "bad.csv:2: a line of more than 1 MiB"),
        (&latin, "bad.csv:2: byte 0xE9 is not UTF-8"),
        (&[0xff, 0xfe, b'U', 0], "bad.csv:1: byte 0xFF is not UTF-8"),
    ];
    for (bytes, expected) in cases {
        std::fs::write(dir.path().join("bad.csv"), bytes).expect("written");
        for line in ["data import bad.csv --format personalize --out out", "train --interactions bad.csv --out out"] {
            let (code, _, said) = serin(dir.path(), line);
            assert_eq!(code, 2, "{said}");
            assert!(said.contains(&format!("error: {expected}")), "{said}");
            assert!(said.contains("hint: "), "{said}");
            assert_eq!(std::fs::read_dir(dir.path()).expect("listed").count(), 1, "something was left behind");
        }
    }
}
