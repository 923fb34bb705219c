//! The way down with the knobs of AWS and Kubernetes, each against a small fake of ours that checks signatures.

mod fake_aws;

use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use fake_aws::{Answer, Asked, Fake, KEYS, refused};
use serde_json::{Value, json};

/// A plan beside eight recorded days that needed about 195 units.
struct Place(tempfile::TempDir);

impl Place {
    fn new(plan: &str) -> Self {
        let place = Self(tempfile::tempdir().expect("a folder"));
        std::fs::write(place.0.path().join("plan.toml"), plan).expect("written");
        let now = jiff::Timestamp::now().as_second() / 60 * 60;
        let rate = |minute: i64| if (4 * 60..7 * 60).contains(&(minute % 1_440)) { 400 } else { 40 };
        let rows: String = (0..8 * 1_440).map(|m| format!("{},{}\n", now - (8 * 1_440 - m) * 60, rate(m))).collect();
        let text = format!("timestamp,reads_per_second\n{rows}");
        std::fs::write(place.0.path().join("demand.csv"), text).expect("written");
        place
    }

    fn start(&self, keys: bool) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_serin"));
        command.args(["cost", "descend", "plan.toml", "--trace", "demand.csv", "--json"]);
        command.current_dir(self.0.path()).env("SERIN_HOME", self.0.path().join("home"));
        command.env_remove("AWS_PROFILE").env("AWS_EC2_METADATA_DISABLED", "true").env("HOME", self.0.path());
        for (name, value) in KEYS {
            if keys {
                command.env(name, value)
            } else {
                command.env_remove(name)
            };
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts")
    }

    fn run(&self) -> (i32, Value, String) {
        end(self.start(true))
    }
}

/// Waits for the end; a descent that waits for something of the clock is ended, for it would hold up every test behind it.
fn end(child: Child) -> (i32, Value, String) {
    let (id, (done, over)) = (child.id().to_string(), mpsc::channel::<()>());
    let watch = std::thread::spawn(move || {
        if over.recv_timeout(Duration::from_secs(60)) == Err(mpsc::RecvTimeoutError::Timeout) {
            Command::new("kill").args(["-KILL", &id]).status().expect("signalled");
        }
    });
    let out = child.wait_with_output().expect("ends");
    drop(done);
    watch.join().expect("watched");
    let err = String::from_utf8_lossy(&out.stderr).into_owned();
    (out.status.code().unwrap_or(-1), serde_json::from_slice(&out.stdout).unwrap_or(Value::Null), err)
}

fn interrupt_when(child: &Child, what: &str, mut there: impl FnMut() -> bool) {
    let began = Instant::now();
    while !there() {
        assert!(began.elapsed() < Duration::from_secs(20), "waited for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(300));
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("signalled");
}

const TABLE: &str = "[descend]\nknob = \"dynamodb\"\nunit = \"rcu\"\ntable = \"lists\"\nstart = 900\nsettle = \"1s\"\nhold = \"1s\"\nendpoint_url = \"URL\"\n";

/// Forty reads a second, as CloudWatch tells it: each minute's sum.
fn metrics(body: &Value) -> Answer {
    let minute = body["EndTime"].as_i64().expect("seconds") - 60;
    (
        200,
        json!({"MetricDataResults": [
            {"Id": "used", "Timestamps": [minute], "Values": [1_200.0], "StatusCode": "Complete"},
            {"Id": "refused", "Timestamps": [], "Values": [], "StatusCode": "Complete"}]}),
    )
}

fn described(reads: u64, decreases: u64) -> Answer {
    let now = jiff::Timestamp::now().as_second() as f64;
    (
        200,
        json!({"Table": {"TableName": "lists", "TableStatus": "ACTIVE", "ProvisionedThroughput": {
            "ReadCapacityUnits": reads, "WriteCapacityUnits": 20, "NumberOfDecreasesToday": decreases,
            "LastDecreaseDateTime": now}}}),
    )
}

#[test]
fn a_table_steps_down_to_what_holds_and_keeps_its_writes() {
    // One step from what holds: at most hours of the day a table may be made smaller only once.
    let mut reads = 230;
    let fake = Fake::start(move |Asked { what, body }| match what {
        "DescribeTable" => described(reads, u64::from(reads < 230)),
        "UpdateTable" => {
            reads = body["ProvisionedThroughput"]["ReadCapacityUnits"].as_u64().expect("units");
            (200, json!({}))
        }
        _ => metrics(&body),
    });
    let place = Place::new(&TABLE.replace("URL", &fake.url).replace("900", "230"));
    let (code, seen, err) = place.run();
    assert_eq!((code, seen["verdict"].as_str()), (0, Some("go")), "{seen} {err}");
    let last = seen["final_capacity"].as_u64().expect("a capacity");
    assert!((195..=214).contains(&last), "{last}");
    let updates = fake.bodies("UpdateTable");
    assert!(updates.iter().all(|u| u["ProvisionedThroughput"]["WriteCapacityUnits"] == 20), "{updates:?}");
    assert_eq!(updates.last().expect("one")["ProvisionedThroughput"]["ReadCapacityUnits"], last);
    // CloudWatch costs money: asked once a minute, not once a look.
    assert_eq!(fake.bodies("GetMetricData").len(), 1);
}

#[test]
fn a_table_on_demand_or_missing_is_said() {
    let on_demand = json!({"Table": {"BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
        "ProvisionedThroughput": {"ReadCapacityUnits": 0, "WriteCapacityUnits": 0}}});
    let fake = Fake::start(move |_| (200, on_demand.clone()));
    let (code, _, err) = Place::new(&TABLE.replace("URL", &fake.url)).run();
    assert!(code == 2 && err.contains("table `lists` is on demand"), "{code} {err}");
    let fake = Fake::start(|_| refused("ResourceNotFoundException", "Requested resource not found"));
    let (code, _, err) = Place::new(&TABLE.replace("URL", &fake.url)).run();
    assert!(code == 2 && err.contains("there is no table `lists` in eu-west-1"), "{code} {err}");
}

#[test]
fn decreases_that_others_made_are_counted_and_the_step_waits() {
    let fake = Fake::start(|Asked { what, body }| match what {
        "DescribeTable" => described(900, 27),
        "UpdateTable" => refused("LimitExceededException", "never asked"),
        _ => metrics(&body),
    });
    let place = Place::new(&TABLE.replace("URL", &fake.url));
    let child = place.start(true);
    interrupt_when(&child, "a look", || !fake.bodies("GetMetricData").is_empty());
    let (code, seen, err) = end(child);
    assert_eq!((code, seen["final_capacity"].as_u64()), (130, Some(900)), "{err}");
    assert!(fake.bodies("UpdateTable").is_empty());
    let steps = seen["steps"].as_array().expect("steps");
    let said = steps.last().expect("a step")["reason"].as_str().expect("a reason");
    assert!(said.contains("stays at 900 for now: 27 decreases"), "{said}");
}

#[test]
fn a_limit_of_the_account_is_said_and_nothing_is_fought_over() {
    let fake = Fake::start(|Asked { what, body }| match what {
        "DescribeTable" => described(100, 0),
        "UpdateTable" => refused("LimitExceededException", "Subscriber limit exceeded"),
        _ => metrics(&body),
    });
    let (code, seen, err) = Place::new(&TABLE.replace("URL", &fake.url)).run();
    assert_eq!((code, seen["final_capacity"].as_u64()), (1, Some(100)), "{err}");
    assert!(seen["reason"].as_str().expect("a reason").contains("a limit of the account is reached"), "{seen}");
}

#[test]
fn without_keys_or_with_wrong_ones_nobody_can_tell() {
    let fake = Fake::start(|_| described(900, 0));
    let place = Place::new(&TABLE.replace("URL", &fake.url));
    let (code, _, err) = end(place.start(false));
    assert!(code == 3 && err.contains("no AWS keys"), "{code} {err}");
    let (code, _, err) = Place::new(&TABLE.replace("URL", "http://127.0.0.1:9")).run();
    assert!(code == 3 && err.contains("does not answer"), "{code} {err}");
}

#[test]
fn a_campaign_steps_down_its_provisioned_tps() {
    let mut tps = 500;
    let fake = Fake::start(move |Asked { what, body }| match what {
        "DescribeCampaign" => (200, json!({"campaign": {"status": "ACTIVE", "minProvisionedTPS": tps}})),
        "UpdateCampaign" => {
            tps = body["minProvisionedTPS"].as_u64().expect("a number");
            (200, json!({"campaignArn": body["campaignArn"]}))
        }
        _ => metrics(&body),
    });
    let plan = "[descend]\nknob = \"personalize\"\ncampaign = \"arn:aws:personalize:eu-west-1:1:campaign/strip\"\nstart = 500\nsettle = \"1s\"\nhold = \"1s\"\nendpoint_url = \"URL\"\n";
    let (code, seen, err) = Place::new(&plan.replace("URL", &fake.url)).run();
    // The peak of 400 a second has no bucket to lean on.
    let last = seen["final_capacity"].as_u64().unwrap_or(0);
    assert!(code == 0 && (399..=440).contains(&last), "{code} {last} {err}");
    assert_eq!(fake.bodies("UpdateCampaign").last().expect("one")["minProvisionedTPS"], last);
}

#[test]
fn replicas_of_a_deployment_step_down_and_are_read_back() {
    let (mut asked, mut runs, mut served) = (12, 12, 1_000.0);
    let fake = Fake::start(move |Asked { what, body }| match what.split_once(' ') {
        Some(("GET", "/metrics")) => {
            served += 40.0;
            (200, Value::String(format!("serin_requests_total{{status=\"200\"}} {served}\n")))
        }
        Some(("PATCH", "/apis/apps/v1/namespaces/tv/deployments/strip/scale")) => {
            asked = body["spec"]["replicas"].as_u64().expect("a number");
            (200, json!({"spec": {"replicas": asked}, "status": {"replicas": runs}}))
        }
        Some(("GET", "/apis/apps/v1/namespaces/tv/deployments/strip/scale")) => {
            let answer = json!({"spec": {"replicas": asked}, "status": {"replicas": runs}});
            // Pods end one look later.
            runs = asked;
            (200, answer)
        }
        _ => (404, json!({"message": "not found"})),
    });
    let plan = "[descend]\nknob = \"replicas\"\nper_unit = 100\ndeployment = \"URL/apis/apps/v1/namespaces/tv/deployments/strip\"\nstart = 12\nsettle = \"1s\"\nhold = \"1s\"\n[meter]\npages = [\"URL/metrics\"]\n";
    let place = Place::new(&plan.replace("URL", &fake.url));
    let child = place.start(true);
    let scale = "PATCH /apis/apps/v1/namespaces/tv/deployments/strip/scale";
    interrupt_when(&child, "a step", || !fake.bodies(scale).is_empty());
    let (code, seen, err) = end(child);
    let last = seen["final_capacity"].as_u64().expect("a capacity");
    assert!(code == 130 && (4..12).contains(&last), "{code} {last} {seen} {err}");
    let without = plan.split("[meter]").next().expect("a plan").replace("URL", &fake.url);
    let (code, _, err) = Place::new(&without).run();
    assert!(code == 2 && err.contains("[meter] pages"), "{code} {err}");
}
