//! The API before clients that are not ours: boto3's personalize-runtime, schemathesis against /openapi.json; lists and the
//! shards of a load to S3 in moto.
#![cfg(feature = "real-servers")]

mod served;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use served::{Api, command, done, platform};

/// A program that tests/run brings.
fn brought(variable: &str, what: &str) -> PathBuf {
    let found = std::env::var_os(variable).filter(|v| !v.is_empty()).map(PathBuf::from);
    found.unwrap_or_else(|| panic!("{variable} names no {what}; run tests/run, which brings it"))
}

/// The Python that has boto3: the one beside moto's server.
fn python() -> PathBuf {
    brought("SERIN_MOTO", "moto_server").with_file_name("python3")
}

const CLIENT: &str = r#"
import sys
import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

def client(key="AKID", secret="SECRET", url=sys.argv[1]):
    return boto3.client("personalize-runtime", endpoint_url=url, region_name="eu-west-1",
        aws_access_key_id=key, aws_secret_access_key=secret, config=Config(retries={"max_attempts": 0}))

def refused(call, code, status):
    try:
        call()
    except ClientError as e:
        found = (e.response["Error"]["Code"], e.response["ResponseMetadata"]["HTTPStatusCode"])
        assert found == (code, status), found
        assert e.response["Error"]["Message"]
    else:
        raise AssertionError("not refused: " + code)

c, arn = client(), "arn:aws:personalize:eu-west-1:1:campaign/c"
answer = c.get_recommendations(campaignArn=arn, userId="u0", numResults=3)
assert len(answer["itemList"]) == 3 and answer["recommendationId"], answer
assert all(i["itemId"].startswith("a") and isinstance(i["score"], float) for i in answer["itemList"]), answer
assert len(c.get_recommendations(campaignArn=arn, userId="a viewer nobody knows")["itemList"]) > 0
assert all(i["itemId"].startswith("b") for i in c.get_recommendations(campaignArn=arn, itemId="b1", numResults=3)["itemList"])
kids = "arn:aws:personalize:eu-west-1:1:filter/one"
answer = c.get_recommendations(campaignArn=arn, userId="u0", filterArn=kids, filterValues={"CHANNEL": '"b"'})
assert answer["itemList"] == [] or all(i["itemId"].startswith("b") for i in answer["itemList"]), answer
ranked = c.get_personalized_ranking(campaignArn=arn, userId="u0", inputList=["b5", "a5", "a6", "unknown"])
order = [i["itemId"] for i in ranked["personalizedRanking"]]
assert len(order) == 4 and order[0].startswith("a") and order[-1] == "unknown", order
# Ids that need care in a signature, and another language's letters.
for user in ["a b", "é", "日本", "a/b?c=d&e", "x" * 256]:
    assert c.get_recommendations(campaignArn=arn, userId=user)["itemList"]
refused(lambda: c.get_recommendations(campaignArn=arn, userId="u0", filterArn=kids.replace("one", "none")), "ResourceNotFoundException", 404)
refused(lambda: c.get_recommendations(campaignArn=arn, userId="u0", numResults=501), "InvalidInputException", 400)
refused(lambda: c.get_recommendations(campaignArn=arn), "InvalidInputException", 400)
refused(lambda: client(secret="WRONG").get_recommendations(campaignArn=arn, userId="u0"), "InvalidSignatureException", 403)
refused(lambda: client(key="NOBODY").get_recommendations(campaignArn=arn, userId="u0"), "UnrecognizedClientException", 403)
throttled, narrow = 0, client(url=sys.argv[2])
for _ in range(100):
    try:
        narrow.get_recommendations(campaignArn=arn, userId="u0")
    except ClientError as e:
        assert e.response["Error"]["Code"] == "ThrottlingException" and e.response["ResponseMetadata"]["HTTPStatusCode"] == 429, e
        throttled += 1
assert throttled > 0, "a campaign of 5 a second took 100 at once"
print("all good")
"#;

#[test]
fn botos_client_of_personalize_only_changes_its_endpoint() {
    let dir = tempfile::tempdir().expect("a folder");
    let home = dir.path();
    platform(home);
    std::fs::write(home.join("filters.toml"), "one = 'INCLUDE ItemID WHERE Items.CHANNEL IN ($CHANNEL)'\n")
        .expect("written");
    std::fs::write(home.join("client.py"), CLIENT).expect("written");
    let flags = ["serve", "--listen", "127.0.0.1:0", "--store", "embedded:store", "--items", "items.csv"];
    let start = |more: &[&str]| {
        let mut command = command(home, &[&flags[..], &["--filters", "filters.toml"], more].concat());
        command.env("SERIN_ACCESS_KEYS", "AKID:SECRET");
        Api::run(home, command)
    };
    let (api, narrow) = (start(&[]), start(&["--campaign-tps", "5"]));
    let url = |api: &Api| format!("http://{}", api.address);
    let mut client = Command::new(python());
    let said = client.arg(home.join("client.py")).arg(url(&api)).arg(url(&narrow)).output().expect("runs");
    let (out, error) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success() && out.contains("all good"), "{out}{error}");
}

#[test]
fn the_openapi_document_is_true() {
    let schemathesis = brought("SERIN_SCHEMATHESIS", "schemathesis");
    let dir = tempfile::tempdir().expect("a folder");
    let home = dir.path();
    platform(home);
    let api = Api::start(home, &["--store", "embedded:store", "--model", "model", "--items", "items.csv"]);
    let mut command = Command::new(schemathesis);
    command.current_dir(home).arg("run").arg(format!("http://{}/openapi.json", api.address));
    command.args(["--header", &format!("Authorization: Bearer {}", api.token), "--seed", "7", "--max-examples", "30"]);
    // Every check that it knows, by itself and with what it learned from the answers before.
    command.args(["--phases", "examples,coverage,fuzzing,stateful", "--no-color"]);
    let said = command.output().expect("runs");
    let (out, error) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success(), "{out}{error}");
    assert_eq!(api.ask("GET", "/health/ready", "").0, 200);
}

struct Moto(Child, String);

impl Moto {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
        let mut command = Command::new(brought("SERIN_MOTO", "moto_server"));
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("starts");
        let began = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(began.elapsed() < Duration::from_secs(60), "moto does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        Self(child, format!("http://127.0.0.1:{port}"))
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn with_keys(home: &Path, arguments: &[&str]) -> std::process::Output {
    let keys = [("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "SECRET"), ("AWS_REGION", "us-east-1")];
    command(home, arguments).envs(keys).output().expect("runs")
}

#[test]
fn lists_go_to_a_bucket_before_they_are_served() {
    let dir = tempfile::tempdir().expect("a folder");
    let home = dir.path();
    platform(home);
    let moto = Moto::start();
    let script = "import sys, boto3\ns3 = boto3.client('s3', endpoint_url=sys.argv[1], region_name='us-east-1', aws_access_key_id='AKID', aws_secret_access_key='SECRET')\n";
    let ask = |more: &str| {
        let said = Command::new(python()).arg("-c").arg(format!("{script}{more}")).arg(&moto.1).output().expect("runs");
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        String::from_utf8(said.stdout).expect("text")
    };
    ask("s3.create_bucket(Bucket='lists')");
    let publish = [
        "publish",
        "--model",
        "model",
        "--items",
        "items.csv",
        "--store",
        "embedded:other",
        "--objects",
        "s3://lists/sixplay",
        "--objects-endpoint-url",
        &moto.1,
    ];
    let said = with_keys(home, &publish);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let keys = ask("print([o['Key'] for o in s3.list_objects_v2(Bucket='lists')['Contents']])");
    for key in ["sixplay/gen-00000001/lists.serin", "sixplay/gen-00000001/manifest.json", "sixplay/current.json"] {
        assert!(keys.contains(key), "{keys}");
    }
    let size = ask("print(s3.head_object(Bucket='lists', Key='sixplay/gen-00000001/lists.serin')['ContentLength'])");
    let own = std::fs::metadata(home.join("other/gen-00000001.lists")).expect("there").len();
    assert_eq!(size.trim(), own.to_string());
    // A bucket that is not there: said, and the store keeps what it had.
    let absent =
        with_keys(home, &publish.map(|word| if word == "s3://lists/sixplay" { "s3://absent/x" } else { word }));
    assert_eq!(absent.status.code(), Some(3), "{}", String::from_utf8_lossy(&absent.stderr));
    assert_eq!(std::fs::read_to_string(home.join("other/current")).expect("there").trim(), "gen-00000001.lists");
    done(home, &["publish", "--model", "model", "--items", "items.csv", "--store", "embedded:other"]);
}

#[test]
fn shards_of_a_load_meet_in_a_bucket() {
    let dir = tempfile::tempdir().expect("a folder");
    let home = dir.path();
    platform(home);
    let api = Api::start(home, &["--items", "items.csv", "--store", "embedded:store"]);
    let moto = Moto::start();
    let script = "import sys, boto3\ns3 = boto3.client('s3', endpoint_url=sys.argv[1], region_name='us-east-1', aws_access_key_id='AKID', aws_secret_access_key='SECRET')\ns3.create_bucket(Bucket='runs')";
    assert!(Command::new(python()).args(["-c", script, &moto.1]).status().expect("runs").success());
    let with_keys = |arguments: &[&str]| {
        let keys = [("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "SECRET"), ("AWS_REGION", "us-east-1")];
        command(home, arguments).envs(keys).env("AWS_ENDPOINT_URL", &moto.1).output().expect("runs")
    };
    let url = format!("http://{}/v1/popular", api.address);
    for shard in ["1/2", "2/2"] {
        let words =
            ["load", "--url", &url, "--rate", "40", "--duration", "1s", "--shard", shard, "--objective", "errors < 1%"];
        let said = with_keys(&[&words[..], &["--keep", "s3://runs/night", "--json"]].concat());
        assert!(said.status.code() != Some(2), "{}", String::from_utf8_lossy(&said.stderr));
    }
    let merged = with_keys(&["report", "merge", "s3://runs/night", "--json"]);
    let document: serde_json::Value = serde_json::from_slice(&merged.stdout).expect("a document");
    assert_eq!(
        (&document["requests"], document["merged"].as_array().map(Vec::len)),
        (&40.into(), Some(2)),
        "{document}"
    );
    // Nothing of the keys went along.
    assert!(!String::from_utf8_lossy(&merged.stdout).contains("SECRET"));
    let absent = with_keys(&["report", "merge", "s3://absent/night", "--json"]);
    assert!(matches!(absent.status.code(), Some(2 | 3)), "{}", String::from_utf8_lossy(&absent.stderr));
}
