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

/// A product whose usage type nobody wrote down: what it says of itself is what there is.
fn said(usage: &str, unit: &str, description: &str, tiers: &[(&str, &str)]) -> Value {
    let mut one: Value = serde_json::from_str(product(usage, tiers).as_str().expect("text")).expect("JSON");
    let dimensions = one["terms"]["OnDemand"]["S.T"]["priceDimensions"].as_object_mut().expect("dimensions");
    for dimension in dimensions.values_mut() {
        dimension["unit"] = unit.into();
        dimension["description"] = description.into();
    }
    one.to_string().into()
}

fn leaves(to: &str, prefix: &str, usd: &str) -> Value {
    let usage = format!("EUW3-{prefix}-AWS-Out-Bytes");
    let mut one: Value = serde_json::from_str(product(&usage, &[("0", usd)]).as_str().expect("text")).expect("JSON");
    one["product"]["attributes"]["toRegionCode"] = to.into();
    one["product"]["attributes"]["transferType"] = "InterRegion Outbound".into();
    one.to_string().into()
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
        (Some("AmazonPersonalize"), _) => vec![
            said("EUW3-Campaign-TPS", "TPS-Hours", "$0.25 per TPS-hour", &[("0", "0.25"), ("20000", "0.12")]),
            said("EUW3-Batch-TPS", "TPS-Hours", "$9 per batch TPS-hour", &[("0", "9")]),
            said("EUW3-Training", "Hours", "$0.30 per training hour", &[("0", "0.30")]),
            said("EUW3-DataIngested", "GB", "$0.06 per GB ingested", &[("0", "0.06")]),
            said("EUW3-Ingest-Actions", "GB", "$0.07 per GB of actions ingested", &[("0", "0.07")]),
        ],
        (Some("AWSDataTransfer"), _) => {
            let filters = body["Filters"].to_string();
            assert!(filters.contains("fromRegionCode") && filters.contains("InterRegion Outbound"), "{filters}");
            vec![leaves("eu-west-1", "EUW1", "0.02"), leaves("us-east-1", "USE1", "0.09")]
        }
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
    assert_eq!(fake.bodies("GetProducts").len(), 7, "six services, one of them in two pages");
    assert!(seen["changed"][0].as_str().is_some_and(|c| c.contains("0.0001544 → 0.0002")), "{seen}");
    let left = seen["left"].to_string();
    assert!(left.contains("fargate.vcpu-hour"), "what was not found is said: {left}");
    assert!(
        left.contains("personalize.ingestion-gb") && left.contains("neither is taken"),
        "two prices are none: {left}"
    );
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
    let tiers: Vec<f64> = of("personalize.tps-hour", "eu-west-3").iter().filter_map(|r| r["usd"].as_f64()).collect();
    assert_eq!((tiers, &of("personalize.training-hour", "eu-west-3")[0]["usd"]), (vec![0.25, 0.12], &json!(0.3)));
    assert!(of("personalize.ingestion-gb", "eu-west-3").is_empty(), "unknown, not the price of another region");
    let any = of("transfer.region-gb", "eu-west-3");
    assert_eq!((&any[0]["usd"], &any[0]["guess"]), (&json!(0.09), &json!(true)), "the dearest, and a guess");
    let line = "cost show --trace day.csv --region eu-west-3 --transfer-gb 24 --json --transfer-to";
    let around = |to: &str| {
        let (_, seen, _) = serin(home.path(), &format!("{line} {to}"));
        seen["ways"].as_array().and_then(|w| w.iter().find(|w| w["way"] == "around it").cloned()).expect("a way")
    };
    // Two hours of 24 GB a day: 2 GB.
    assert!((around("eu-west-1")["usd"].as_f64().expect("usd") - 0.04).abs() < 1e-9);
    assert_eq!(around("sa-east-1")["guess"], true, "a region without its own price: the dearest, marked");
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
    // A month at this pace goes through its tiers: 150 x 730 = 109,500 TPS-hours, 20,000 x .20 + 89,500 x .10 = 12,950; and
    // 730/24 times the training and the ingestion, 32.24. The first day alone would have it at 21,932.
    let month = campaign["usd_per_month"].as_f64().expect("usd");
    assert!((month - 12_982.24).abs() < 1.0, "{month}");
    assert!((campaign["usd_per_day"].as_f64().expect("usd") - month * 24.0 / 730.0).abs() < 1e-6);
    // 8.64 M reads a day.
    assert!((campaign["usd_per_million"].as_f64().expect("usd") - month * 24.0 / 730.0 / 8.64).abs() < 0.01);
    let (_, seen, _) = serin(home.path(), "cost show --trace day.csv --instances 1 --json");
    let around =
        seen["ways"].as_array().expect("ways").iter().find(|w| w["way"] == "around it").cloned().expect("a way");
    assert!(
        around["usd"].is_null() && around["unknown"] == json!(["instances"]),
        "without its price unknown, not zero"
    );
}

/// An hour of a campaign by its own numbers: five minutes at 150,000 requests (500 TPS), two silent, the rest below its minimum of 100.
#[test]
fn a_campaigns_own_hour_is_billed_by_its_five_minute_rule() {
    let home = tempfile::tempdir().expect("a folder");
    let fake = Fake::start(|Asked { what, body }| match what {
        "DescribeCampaign" => (200, json!({"campaign": {"minProvisionedTPS": 100}})),
        _ => {
            assert_eq!(body["MetricDataQueries"][0]["MetricStat"]["Period"], 300);
            let mut values = vec![3_000.0; 10];
            values[0] = 150_000.0;
            (
                200,
                json!({"MetricDataResults": [{"Id": "asked", "Timestamps": (0..10).collect::<Vec<_>>(), "Values": values}]}),
            )
        }
    });
    let line = format!("cost show --campaign arn:aws:x --since 1h --endpoint-url {} --json", fake.url);
    let (code, seen, err) = serin(home.path(), &line);
    assert_eq!(code, 0, "{err}");
    let ways = seen["ways"].as_array().expect("ways");
    assert_eq!((ways.len(), ways[0]["way"].as_str()), (1, Some("Personalize campaign")), "it has no table");
    // (500 + 11 x 100) x 300 / 3600 = 133.33 TPS-hours at 0.20 = $ 26.67; 177,000 requests.
    assert!((ways[0]["usd"].as_f64().expect("usd") - 26.666_7).abs() < 0.01, "{seen}");
    assert_eq!((seen["requests"].as_f64(), seen["notes"].to_string().contains("2 of 12")), (Some(177_000.0), true));
}

#[test]
fn a_table_may_be_looked_at_by_the_minute() {
    let home = tempfile::tempdir().expect("a folder");
    let fake = Fake::start(|Asked { what, body }| match what {
        "DescribeTable" => (200, json!({"Table": {"BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"}}})),
        "GetMetricData" => {
            assert_eq!(body["MetricDataQueries"][0]["MetricStat"]["Period"], 60);
            let each = |id: &str, units: f64| json!({"Id": id, "Timestamps": [1, 2], "Values": [units, units]});
            (200, json!({"MetricDataResults": [each("reads", 60_000.0), each("writes", 0.0)]}))
        }
        _ => refused("AccessDeniedException", "not you"),
    });
    let line = format!("cost show --table lists --since 10m --endpoint-url {} --json", fake.url);
    let (code, seen, err) = serin(home.path(), &line);
    assert_eq!(code, 0, "{err}");
    // 120,000 units in ten minutes at $ 0.125 a million: $ 0.015; $ 0.09 an hour.
    assert!((seen["ways"][0]["usd_per_hour"].as_f64().expect("usd") - 0.09).abs() < 1e-6, "{seen}");
}
