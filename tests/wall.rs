//! The wall of a campaign, against the stand-in: signed like AWS, throttled at its quota, told apart from errors.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

fn command(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_serin"));
    command.current_dir(home).env("SERIN_HOME", home.join("home")).env("HOME", home).args(arguments);
    command.env("SERIN_JWT_SECRET", "0123456789abcdef0123456789abcdef").env_remove("AWS_SESSION_TOKEN");
    command.stdin(Stdio::null());
    command
}

fn done(home: &Path, arguments: &[&str]) {
    let output = command(home, arguments).output().expect("runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

struct Campaign(Child, String);

impl Drop for Campaign {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A stand-in with a wall at `tps`, and one access key.
fn stand_in(home: &Path, tps: &str) -> Campaign {
    let rows: String = (0..24).map(|i| format!("u{},p{},{},1.0\n", i % 6, (i * 5) % 9, 1_700_000_000 + i)).collect();
    let header = "USER_ID,ITEM_ID,TIMESTAMP,EVENT_VALUE\n";
    std::fs::write(home.join("interactions.csv"), format!("{header}{rows}")).expect("written");
    let items: String = (0..9).map(|p| format!("p{p},one\n")).collect();
    std::fs::write(home.join("items.csv"), format!("ITEM_ID,CHANNEL\n{items}")).expect("written");
    done(home, &["train", "--interactions", "interactions.csv", "--out", "model", "--rank", "4", "--seed", "7"]);
    let serve = ["serve", "--listen", "127.0.0.1:0", "--model", "model", "--items", "items.csv", "--campaign-tps", tps];
    let mut child = command(home, &serve);
    let mut child = child.env("SERIN_ACCESS_KEYS", "AKID:SECRET").stderr(Stdio::piped()).spawn().expect("starts");
    let mut line = String::new();
    BufReader::new(child.stderr.take().expect("piped")).read_line(&mut line).expect("a line");
    let address = line.strip_prefix("ready: ").and_then(|l| l.split(' ').next());
    let address = address.unwrap_or_else(|| panic!("not ready: {line}")).trim().to_owned();
    Campaign(child, address)
}

const SCENARIO: &str = r#"
name = "wall"
[[stage]]
name = "below"
shape = "constant"
rate = 25
for = "2s"
[[stage]]
name = "above"
shape = "constant"
rate = 100
for = "2s"
[viewers]
count = 6
prefix = "u"
[[request]]
post = "/recommendations"
body = '{"campaignArn": "{campaign}", "userId": "{viewer}", "numResults": 5}'
headers = { Content-Type = "application/json" }
check = { has = "/itemList/0/itemId" }
[[objective]]
expression = "throttled = 0"
stage = "below"
[[objective]]
expression = "throttled < 0.1%"
"#;
const ARN: &str = "arn:aws:personalize:eu-west-3:123456789012:campaign/evening";

fn load(home: &Path, url: &str, secret: &str) -> (Option<i32>, Value) {
    let words = ["load", "wall.toml", "--url", url, "--campaign", ARN, "--json"];
    let mut command = command(home, &words);
    let output = command.env("AWS_ACCESS_KEY_ID", "AKID").env("AWS_SECRET_ACCESS_KEY", secret).output().expect("runs");
    let document = serde_json::from_slice(&output.stdout);
    (output.status.code(), document.unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr))))
}

#[test]
fn a_signed_load_meets_the_wall_and_tells_throttles_from_errors() {
    let dir = tempfile::tempdir().expect("a folder");
    let home = dir.path();
    std::fs::write(home.join("wall.toml"), SCENARIO).expect("written");
    let campaign = stand_in(home, "50");
    let mut tries = 0;
    let (code, d) = loop {
        let told = load(home, &campaign.1, "SECRET");
        tries += 1;
        // A machine that starved the generator is asked again.
        if told.1["generator"]["state"] != "invalid" || tries == 5 {
            break told;
        }
    };
    assert_eq!((code, &d["verdict"]), (Some(1), &"no".into()), "{d}");
    let kinds = d["errors"]["by_kind"].as_object().expect("kinds");
    assert_eq!(kinds.keys().collect::<Vec<_>>(), ["throttled"], "signed well, so nothing else fails: {d}");
    assert_eq!((&d["objectives"][0]["met"], &d["objectives"][1]["met"]), (&true.into(), &false.into()), "{d}");
    // Half of what comes above a wall at half the rate, less the bucket of a tenth of a second.
    let throttled = kinds["throttled"].as_u64().expect("a number");
    assert!((60..=120).contains(&throttled), "{d}");
    assert!(d["errors"]["examples"]["throttled"].as_str().is_some_and(|e| e.contains("ThrottlingException")), "{d}");

    let (code, d) = load(home, &campaign.1, "ANOTHER");
    assert_ne!(code, Some(0));
    assert!(d["errors"]["by_status"]["403"].as_u64().is_some_and(|n| n > 0), "a wrong key is refused: {d}");
    assert!(!d.to_string().contains("ANOTHER"), "a secret in the document");
}

#[test]
fn a_campaign_is_asked_only_where_somebody_said_so() {
    let dir = tempfile::tempdir().expect("a folder");
    let home = dir.path();
    let refused = |words: &[&str], part: &str| {
        let mut command = command(home, words);
        let output = command.env("AWS_ACCESS_KEY_ID", "AKID").env("AWS_SECRET_ACCESS_KEY", "S").output().expect("runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{words:?}: {said}");
        assert!(said.contains(part), "{words:?}: {said}");
    };
    refused(&["load", "personalize-wall", "--campaign", ARN], "--allow personalize-runtime.eu-west-3.amazonaws.com");
    refused(&["load", "personalize-wall", "--campaign", "evening"], "is no campaign");
    refused(
        &["load", "personalize-wall", "--url", "http://192.0.2.7", "--allow", "192.0.2.7", "--ceiling", "700"],
        "--campaign ARN",
    );
}
