//! Runs `serin train`, `evaluate` and `recommend` on a small platform with real tastes.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

fn serin(folder: &Path, line: &str) -> (i32, Value, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_serin"));
    let out = command.current_dir(folder).args(line.split_whitespace()).arg("--json").output().expect("runs");
    let document = serde_json::from_slice(&out.stdout).unwrap_or(Value::Null);
    (out.status.code().expect("ended"), document, String::from_utf8_lossy(&out.stderr).into_owned())
}

fn platform() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    let (code, _, said) = serin(dir.path(), "data synth --out d --viewers 2500 --programmes 300 --viewings 60000");
    assert_eq!(code, 0, "{said}");
    dir
}

fn train(folder: &Path, more: &str) -> Value {
    let (code, document, said) = serin(folder, &format!("train --interactions d/interactions.csv --rank 16 {more}"));
    assert_eq!(code, 0, "{said}");
    document
}

#[test]
fn a_model_beats_the_most_popular_and_its_lists_give_the_same_ndcg() {
    let dir = platform();
    let trained = train(dir.path(), "--out m --users d/users.csv");
    assert_eq!(trained["schema"], "serin.train/1");
    let loss: Vec<f64> = trained["loss"].as_array().expect("losses").iter().filter_map(Value::as_f64).collect();
    assert_eq!(loss.len(), 15);
    assert!(loss.windows(2).all(|w| w[1] <= w[0] * 1.0001), "an exact solve never makes it worse: {loss:?}");
    let (code, found, _) = serin(dir.path(), "evaluate --model m --heldout d/heldout.csv");
    assert_eq!(code, 0);
    let of = |side: &Value, name: &str| side[name].as_f64().expect("a number");
    assert!(of(&found, "ndcg") > 1.15 * of(&found["popular"], "ndcg"), "{found}");
    assert_eq!(found["users"].as_u64(), Some(2500));
    assert_eq!(
        found["users"].as_u64(),
        found["known"]["users"].as_u64().zip(found["unknown_users"].as_u64()).map(|(a, b)| a + b)
    );
    assert_eq!(serin(dir.path(), "recommend --model m --out lists.csv").0, 0);
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).expect("a file");
    let (lists, held, interactions) = (read("lists.csv"), read("d/heldout.csv"), read("d/interactions.csv"));
    let mut places: HashMap<(&str, &str), f64> = HashMap::new();
    for line in lists.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        places.insert((fields[0], fields[2]), fields[1].parse().expect("a rank"));
    }
    let seen = interactions
        .lines()
        .skip(1)
        .filter_map(|l| l.split_once(','))
        .map(|(u, rest)| (u, rest.split(',').next().unwrap_or("")));
    assert!(seen.into_iter().all(|pair| !places.contains_key(&pair)), "a list holds what was seen");
    let gain = |line: &str| line.split_once(',').and_then(|p| places.get(&p)).map_or(0.0, |r| 1.0 / (r + 1.0).log2());
    let ndcg = held.lines().skip(1).map(gain).sum::<f64>() / 2500.0;
    assert!((ndcg - of(&found, "ndcg")).abs() < 1e-9, "{ndcg} {found}");
}

#[test]
fn the_same_seed_trains_the_same_model_on_any_number_of_threads() {
    let dir = platform();
    for convention in ["spark", "implicit", "ials"] {
        let ids = ["--threads 1", "--threads 2", "--threads 2 --seed 8"].map(|more| {
            let line = format!("--iterations 3 --convention {convention} --out m {more}");
            train(dir.path(), &line)["id"].as_str().map(str::to_owned).expect("an id")
        });
        let part = |i: usize| ids[i].rsplit('-').next().unwrap_or_default().to_owned();
        assert_eq!(part(0), part(1), "{convention}");
        assert_ne!(part(0), part(2), "{convention}");
    }
}

#[test]
fn any_flipped_byte_is_found_and_a_foreign_folder_is_kept() {
    let dir = platform();
    train(dir.path(), "--iterations 2 --out m");
    for name in ["model.json", "model.bin"] {
        let path = dir.path().join("m").join(name);
        let whole = std::fs::read(&path).expect("bytes");
        for at in (0..whole.len()).step_by(whole.len() / 23).chain([whole.len() - 1]) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x20;
            std::fs::write(&path, bytes).expect("written");
            let opened = serin::model::files::Model::open(&dir.path().join("m"));
            let error = opened.expect_err("a flipped byte").to_string();
            assert!(error.contains("damaged"), "{name} {at}: {error}");
        }
        std::fs::write(&path, &whole[..whole.len() / 2]).expect("cut");
        let (code, _, said) = serin(dir.path(), "recommend --model m --out l.csv");
        assert_eq!(code, 2, "{said}");
        assert!(said.contains("damaged") && !dir.path().join("l.csv").exists(), "{said}");
        std::fs::write(&path, whole).expect("mended");
    }
    let (code, _, said) = serin(dir.path(), "train --interactions d/interactions.csv --out d");
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("holds other files"), "{said}");
}

#[test]
fn old_viewings_weigh_less_and_a_viewer_folded_in_stands_where_training_put_them() {
    let dir = tempfile::tempdir().expect("a folder");
    let day = 86_400;
    let mut rows = "USER_ID,ITEM_ID,TIMESTAMP,EVENT_VALUE\n".to_owned();
    for viewer in 0..40 {
        for programme in 0..8 {
            // Two camps, with one old row each that belongs to the other camp.
            let own = viewer % 2 == programme % 2;
            if viewer % 8 != programme {
                let (value, at) = if own { (0.9, 100 * day) } else { (0.1, day) };
                rows += &format!("u{viewer},p{programme},{at},{value}\n");
            }
        }
    }
    std::fs::write(dir.path().join("v.csv"), rows).expect("written");
    let train = |more: &str| {
        let (code, document, said) = serin(dir.path(), &format!("train --interactions v.csv --rank 4 --out m {more}"));
        assert_eq!(code, 0, "{said}");
        document
    };
    assert_eq!(train("")["interactions"].as_u64(), Some(280));
    assert_eq!(train("--since 30d")["interactions"].as_u64(), Some(120));
    let weighed = train("--half-life 10d")["loss"][14].as_f64();
    assert!(weighed < train("")["loss"][14].as_f64(), "old rows still weigh what they did");
    let model = serin::model::files::Model::open(&dir.path().join("m")).expect("opens");
    let viewer = model.viewer_index("u8").expect("known");
    let viewings: Vec<(u32, f32)> = model
        .seen(viewer)
        .iter()
        .map(|p| (*p, if model.programme_id(*p).ends_with(['0', '2', '4', '6']) { 0.9 } else { 0.1 }))
        .collect();
    let folded = serin::model::recommend::fold_in(&model, &viewings);
    let own = model.viewer_factors(viewer);
    // Training solved viewers before the last change of the programmes: close, not equal.
    let far: f32 = folded.iter().zip(own).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(far < 0.05, "{folded:?} {own:?}");
}
