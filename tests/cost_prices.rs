//! Money from AWS itself: the price list fetched by signed calls, and a table's own numbers; against a small fake of ours.

mod fake_aws;

use std::path::Path;
use std::process::Command;

use fake_aws::{Answer, Asked, Fake, KEYS, refused};
use serde_json::{Value, json};

fn serin(home: &Path, line: &str) -> (i32, Value, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_serin"));
    command.args(line.split_whitespace()).current_dir(home).env("SERIN_HOME", home).envs(KEYS);
    let out = command.output().expect("runs");
    let err = String::from_utf8_lossy(&out.stderr).into_owned();
    (out.status.code().unwrap_or(-1), serde_json::from_slice(&out.stdout).unwrap_or(Value::Null), err)
}

fn product(usage: &str, tiers: &[(&str, &str)]) -> Value {
    let dimensions: serde_json::Map<String, Value> = tiers
        .iter()
        .enumerate()
        .map(|(i, (begin, usd))| (format!("d{i}"), json!({"beginRange": begin, "pricePerUnit": {"USD": usd}})))
        .collect();
    let product = json!({"product": {"attributes": {"usagetype": usage, "regionCode": "eu-west-3"}},
        "publicationDate": "2026-11-20T00:00:00Z", "terms": {"OnDemand": {"S.T": {"priceDimensions": dimensions}}}});
    // As the list has it: JSON in a string.
    product.to_string().into()
}

fn list(Asked { body, .. }: Asked<'_>) -> Answer {
    let products = match (body["ServiceCode"].as_str(), body["NextToken"].as_str()) {
        (Some("AmazonDynamoDB"), None) => {
            let first = [product("EUW3-ReadCapacityUnit-Hrs", &[("0", "0.0000000000"), ("18600", "0.0002000000")])];
            return (200, json!({"PriceList": first, "NextToken": "more", "FormatVersion": "aws_v1"}));
        }
        (Some("AmazonDynamoDB"), Some("more")) => vec![
            product("EUW3-WriteCapacityUnit-Hrs", &[("0", "0.001")]),
            product("EUW3-ReadRequestUnits", &[("0", "0.0000001")]),
            product("EUW3-IA-ReadRequestUnits", &[("0", "9")]),
        ],
        (Some("AmazonS3"), _) => vec![product("EUW3-TimedStorage-ByteHrs", &[("51200", "0.023"), ("0", "0.024")])],
        _ => Vec::new(),
    };
    (200, json!({"PriceList": products, "FormatVersion": "aws_v1"}))
}

#[test]
fn fetched_prices_come_before_the_shipped_ones_and_say_their_age() {
    let home = tempfile::tempdir().expect("a folder");
    let fake = Fake::start(list);
    let line = format!("cost prices update --region eu-west-3 --endpoint-url {} --json", fake.url);
    let (code, seen, err) = serin(home.path(), &line);
    assert_eq!((code, seen["schema"].as_str()), (0, Some("serin.prices-update/1")), "{err}");
    assert_eq!(fake.bodies("GetProducts").len(), 5, "four services, one of them in two pages");
    assert!(seen["changed"][0].as_str().is_some_and(|c| c.contains("0.0001544 → 0.0002")), "{seen}");
    let left = seen["left"].to_string();
    assert!(left.contains("fargate.vcpu-hour") && left.contains("personalize"), "what was not found is said: {left}");
    // Used from then on, with today's age; other regions keep the shipped prices and theirs.
    std::fs::write(home.path().join("day.csv"), "timestamp,reads_per_second\n0,10\n3600,10\n").expect("written");
    let (_, seen, _) = serin(home.path(), "cost show --trace day.csv --read-capacity 100 --region eu-west-3 --json");
    let usd = seen["ways"][0]["usd"].as_f64().expect("usd");
    assert!((usd - 100.0 * 2.0 * 0.0002).abs() < 1e-9, "{usd}");
    let (_, seen, _) = serin(home.path(), "cost prices show --json");
    let rows = seen["prices"].as_array().expect("rows");
    let of = |item: &str, region: &str| {
        rows.iter().filter(|r| r["item"] == item && r["region"] == region).collect::<Vec<_>>()
    };
    let tiers: Vec<f64> = of("s3.gb-month", "eu-west-3").iter().filter_map(|r| r["usd"].as_f64()).collect();
    assert_eq!(tiers, [0.024, 0.023]);
    assert_eq!(of("dynamodb.rcu-hour", "us-east-1")[0]["date"], "2026-11-23");
    assert_ne!(of("dynamodb.rcu-hour", "eu-west-3")[0]["date"], "2026-11-23");
}

#[test]
fn a_list_that_refuses_or_knows_no_such_region_changes_nothing() {
    let home = tempfile::tempdir().expect("a folder");
    let line = |fake: &Fake| format!("cost prices update --region mars-1 --endpoint-url {} --json", fake.url);
    let (code, _, err) = serin(home.path(), &line(&Fake::start(|_| (200, json!({"PriceList": []})))));
    assert!(code == 2 && err.contains("knows nothing of mars-1"), "{code} {err}");
    let (code, _, err) = serin(home.path(), &line(&Fake::start(|_| refused("AccessDeniedException", "not you"))));
    assert!(code == 3 && err.contains("not you"), "{code} {err}");
    let (code, _, err) = serin(home.path(), &line(&Fake::start(|_| (200, json!({"PriceList": ["{"]})))));
    assert!(code == 3 && err.contains("cannot be read"), "{code} {err}");
    assert!(!home.path().join("cost/prices.toml").exists());
}

/// A day of a table from its own numbers: 300 RCU and 10 WCU provisioned, 10 GiB, points in time kept.
#[test]
fn a_tables_own_day_is_the_hand_calculation() {
    let home = tempfile::tempdir().expect("a folder");
    let table = |mode: &str| {
        json!({"Table": {"TableName": "lists", "TableSizeBytes": 10_737_418_240_u64,
            "BillingModeSummary": {"BillingMode": mode},
            "ProvisionedThroughput": {"ReadCapacityUnits": 300, "WriteCapacityUnits": 10}}})
    };
    let start = |mode: &'static str, hours: usize| {
        Fake::start(move |Asked { what, .. }| match what {
            "DescribeTable" => (200, table(mode)),
            "DescribeContinuousBackups" => (
                200,
                json!({"ContinuousBackupsDescription": {"PointInTimeRecoveryDescription": {"PointInTimeRecoveryStatus": "ENABLED"}}}),
            ),
            _ => {
                let times: Vec<usize> = (0..hours).collect();
                let each = |units: f64| vec![units; hours];
                (
                    200,
                    json!({"MetricDataResults": [
                        {"Id": "reads", "Timestamps": times, "Values": each(153_000.0)},
                        {"Id": "writes", "Timestamps": times, "Values": each(18_000.0)}]}),
                )
            }
        })
    };
    let show = |fake: &Fake| {
        serin(home.path(), &format!("cost show --table lists --since 24h --endpoint-url {} --json", fake.url))
    };
    let (code, seen, err) = show(&start("PROVISIONED", 24));
    assert_eq!(code, 0, "{err}");
    let usd = |way: usize| seen["ways"][way]["usd"].as_f64().expect("usd");
    // 24 h x (300 x 0.00013 + 10 x 0.00065) = $ 1.092; 10 GB for 24 of 730 hours: 10 x 24 / 730 x (0.25 + 0.20) = $ 0.14795.
    assert!((usd(0) - 1.239_95).abs() < 0.001, "{}", usd(0));
    // 24 x 153,000 = 3.672 M reads at $ 0.125 a million = $ 0.459; 24 x 18,000 = 0.432 M writes at $ 0.625 = $ 0.27.
    assert!((usd(1) - (0.459 + 0.27 + 0.147_95)).abs() < 0.001, "{}", usd(1));
    assert!(
        seen["requests"].is_null() && seen["ways"].as_array().is_some_and(|w| w.len() == 2),
        "units are no requests"
    );
    let (_, seen, _) = show(&start("PAY_PER_REQUEST", 24));
    assert_eq!(seen["ways"][0]["way"], "DynamoDB on demand", "what is not provisioned is not billed as if it were");
    let (code, _, err) = show(&start("PROVISIONED", 0));
    assert!(code == 3 && err.contains("unknown, not zero"), "{code} {err}");
}

/// A day of everything around a table, by hand.
#[test]
fn what_stands_around_a_store_is_the_hand_calculation() {
    let home = tempfile::tempdir().expect("a folder");
    let rows: String = (0..24).map(|h| format!("{},100\n", h * 3_600)).collect();
    std::fs::write(home.path().join("day.csv"), format!("timestamp,reads_per_second\n{rows}")).expect("written");
    let line = "cost show --trace day.csv --replicas 3 --vcpu 1 --memory-gb 2 --instances 2 --instance-price 0.1 --objects-gb 50 \
                --object-puts 1000 --object-gets 100000 --metrics 40 --transfer-gb 5 --minimum-tps 150 --training-hours 4 \
                --ingestion-gb 2 --json";
    let (code, seen, err) = serin(home.path(), line);
    assert_eq!(code, 0, "{err}");
    let way =
        |name: &str| seen["ways"].as_array().expect("ways").iter().find(|w| w["way"] == name).cloned().expect("a way");
    // Replicas: 3 x 24 x (0.04048 + 2 x 0.004445) = 3.5547; instances: 2 x 24 x 0.1 = 4.8; objects: 50 x 24/730 x 0.023 =
    // 0.037808, 1,000 x 0.000005 = 0.005, 100,000 x 0.0000004 = 0.04; watching: 40 x 60 x 24 x 0.00001 = 0.576; transfer:
    // 5 x 0.02 = 0.1. In all 9.1135.
    let around = way("around it")["usd"].as_f64().expect("usd");
    assert!((around - 9.1135).abs() < 0.01 * 9.1135, "{around}");
    // Provisioned 150 TPS above the 100 asked: 150 x 24 x 0.20 = 720; training 4 x 0.24 = 0.96; ingestion 2 x 0.05 = 0.10.
    let campaign = way("Personalize campaign");
    let usd = campaign["usd"].as_f64().expect("usd");
    assert!((usd - 721.06).abs() < 7.2 && campaign["guess"] == true, "{usd}");
    assert!((campaign["usd_per_day"].as_f64().expect("usd") - usd).abs() < 1e-6);
    // 8.64 M reads that day.
    assert!((campaign["usd_per_million"].as_f64().expect("usd") - usd / 8.64).abs() < 0.01);
    let (_, seen, _) = serin(home.path(), "cost show --trace day.csv --instances 1 --json");
    let around =
        seen["ways"].as_array().expect("ways").iter().find(|w| w["way"] == "around it").cloned().expect("a way");
    assert!(
        around["usd"].is_null() && around["unknown"] == json!(["instances"]),
        "without its price unknown, not zero"
    );
}
