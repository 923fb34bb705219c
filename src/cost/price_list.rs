//! Prices from AWS's own price list: which usage type is which item, and how a product's text becomes a row.

use serde_json::{Value, json};

use super::aws::{Aws, AwsError, PRICING};
use super::prices::Price;

/// Where the price list is asked, whatever region is asked about.
pub const ASKED_IN: &str = "us-east-1";
/// More pages than this hold something else than was asked for.
const MOST_PAGES: usize = 60;

/// Our item, and the usage type that follows a region's prefix.
type Known = (&'static str, &'static str);

/// What is asked of each service. Personalize is not among them: its usage types are not known for certain.
const SERVICES: &[(&str, &[Known])] = &[
    (
        "AmazonDynamoDB",
        &[
            ("dynamodb.rcu-hour", "ReadCapacityUnit-Hrs"),
            ("dynamodb.wcu-hour", "WriteCapacityUnit-Hrs"),
            ("dynamodb.read-request", "ReadRequestUnits"),
            ("dynamodb.write-request", "WriteRequestUnits"),
            ("dynamodb.storage-gb-month", "TimedStorage-ByteHrs"),
            ("dynamodb.backup-gb-month", "TimedBackupStorage-ByteHrs"),
            ("dynamodb.pitr-gb-month", "TimedPITRStorage-ByteHrs"),
        ],
    ),
    ("AmazonECS", &[("fargate.vcpu-hour", "Fargate-vCPU-Hours:perCPU"), ("fargate.gb-hour", "Fargate-GB-Hours")]),
    (
        "AmazonS3",
        &[
            ("s3.gb-month", "TimedStorage-ByteHrs"),
            ("s3.put-request", "Requests-Tier1"),
            ("s3.get-request", "Requests-Tier2"),
        ],
    ),
    ("AmazonCloudWatch", &[("cloudwatch.metric-read", "CW:GMD-Metrics")]),
];

/// What an update brought.
#[derive(Debug, Default)]
pub struct Updated {
    pub rows: Vec<Price>,
    /// What was asked for and not found, or found twice at different prices, with the reason.
    pub left: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum ListError {
    #[error(transparent)]
    Aws(#[from] AwsError),
    #[error("the price list of {service}: {why}")]
    Odd { service: String, why: String },
}

/// Asks for all items of a region; `date` is the day of asking.
pub fn update(aws: &mut Aws, region: &str, date: &str) -> Result<Updated, ListError> {
    let mut updated = Updated::default();
    for (service, known) in SERVICES {
        let products = products(aws, service, region)?;
        for (item, usage) in *known {
            match rows(&products, service, (item, usage), region, date) {
                Ok(rows) if rows.is_empty() => {
                    updated.left.push(format!("{item}: {service} has no {usage} in {region}"));
                }
                Ok(mut rows) => updated.rows.append(&mut rows),
                Err(why) => updated.left.push(format!("{item}: {why}")),
            }
        }
    }
    Ok(updated)
}

fn products(aws: &mut Aws, service: &str, region: &str) -> Result<Vec<Value>, ListError> {
    let odd = |why: String| ListError::Odd { service: service.to_owned(), why };
    let mut products = Vec::new();
    let mut token: Option<String> = None;
    for _ in 0..MOST_PAGES {
        let mut body = json!({
            "ServiceCode": service, "FormatVersion": "aws_v1", "MaxResults": 100,
            "Filters": [{"Type": "TERM_MATCH", "Field": "regionCode", "Value": region}],
        });
        if let Some(token) = &token {
            body["NextToken"] = token.as_str().into();
        }
        let answer = aws.call(&PRICING, "GetProducts", &body)?;
        let page = answer["PriceList"].as_array().ok_or_else(|| odd(format!("answers no PriceList: {answer}")))?;
        for product in page {
            // Each is JSON in a string, as documented; an object is taken too.
            let product = match product.as_str() {
                Some(text) => serde_json::from_str(text).map_err(|e| odd(format!("a product cannot be read: {e}")))?,
                None => product.clone(),
            };
            products.push(product);
        }
        token = answer["NextToken"].as_str().filter(|t| !t.is_empty()).map(str::to_owned);
        if token.is_none() {
            return Ok(products);
        }
    }
    Err(odd(format!("more than {MOST_PAGES} pages")))
}

/// Whether a usage type is the one that is meant, in any region: `EUW3-X`, or `X` alone in the oldest.
fn is_of(usage: &str, meant: &str) -> bool {
    match usage.strip_suffix(meant) {
        Some("") => true,
        // `IA-` is another table class, not a region; a longer prefix is another thing altogether.
        Some(prefix) => prefix.strip_suffix('-').is_some_and(|p| p != "IA" && !p.contains('-')),
        None => false,
    }
}

fn rows(
    products: &[Value],
    service: &str,
    (item, meant): Known,
    region: &str,
    date: &str,
) -> Result<Vec<Price>, String> {
    let mut found: Vec<Price> = Vec::new();
    for product in products {
        let attributes = &product["product"]["attributes"];
        let usage = attributes["usagetype"].as_str().unwrap_or_default();
        if !is_of(usage, meant) || attributes["regionCode"].as_str().is_some_and(|r| r != region) {
            continue;
        }
        let published = product["publicationDate"].as_str().and_then(|d| d.get(..10)).unwrap_or("unknown");
        let source = format!("AWS price list, {service} {usage}, published {published}");
        let tiers = tiers(product)?;
        let rows: Vec<Price> = tiers
            .into_iter()
            .map(|(above, usd)| Price {
                item: item.to_owned(),
                region: region.to_owned(),
                above,
                usd,
                source: source.clone(),
                guess: false,
                date: Some(date.to_owned()),
            })
            .collect();
        let same = |a: &[Price], b: &[Price]| a.iter().map(|r| (r.above, r.usd)).eq(b.iter().map(|r| (r.above, r.usd)));
        if rows.is_empty() || same(&found, &rows) {
            continue;
        }
        if !found.is_empty() {
            return Err(format!("{usage} has two prices in {region}; neither is taken"));
        }
        found = rows;
    }
    Ok(found)
}

/// The steps of a product's price, from zero on; what is free at first is left out, as everywhere here.
fn tiers(product: &Value) -> Result<Vec<(f64, f64)>, String> {
    let terms = product["terms"]["OnDemand"].as_object().into_iter().flat_map(|t| t.values());
    let dimensions = terms.filter_map(|t| t["priceDimensions"].as_object()).flat_map(|d| d.values());
    let mut tiers = Vec::new();
    for dimension in dimensions {
        let number = |v: &Value| v.as_str().and_then(|t| t.parse::<f64>().ok()).or(v.as_f64());
        let price = &dimension["pricePerUnit"];
        let Some(usd) = number(&price["USD"]) else {
            let currencies =
                price.as_object().map_or(String::new(), |p| p.keys().cloned().collect::<Vec<_>>().join(", "));
            return Err(format!("the price is in {currencies}, not in USD"));
        };
        if !usd.is_finite() || usd < 0.0 {
            return Err(format!("a price of {usd} cannot be meant"));
        }
        let above = number(&dimension["beginRange"]).unwrap_or(0.0);
        if usd > 0.0 {
            tiers.push((above, usd));
        }
    }
    tiers.sort_by(|a, b| a.0.total_cmp(&b.0));
    if let Some(first) = tiers.first_mut() {
        first.0 = 0.0;
    }
    Ok(tiers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product(usage: &str, tiers: &[(&str, &str)]) -> Value {
        let dimensions: serde_json::Map<String, Value> = tiers
            .iter()
            .enumerate()
            .map(|(i, (begin, usd))| {
                (format!("d{i}"), json!({"beginRange": begin, "endRange": "Inf", "pricePerUnit": {"USD": usd}}))
            })
            .collect();
        json!({"product": {"attributes": {"usagetype": usage, "regionCode": "eu-west-3"}},
               "publicationDate": "2026-11-01T00:00:00Z", "terms": {"OnDemand": {"S.T": {"priceDimensions": dimensions}}}})
    }

    fn read(products: &[Value]) -> Result<Vec<Price>, String> {
        rows(products, "AmazonDynamoDB", ("dynamodb.rcu-hour", "ReadCapacityUnit-Hrs"), "eu-west-3", "2026-11-25")
    }

    #[test]
    fn the_free_tier_is_left_out_and_other_classes_are_not_taken() {
        let all = [
            product("EUW3-IA-ReadCapacityUnit-Hrs", &[("0", "0.9")]),
            product("EUW3-ReplicatedReadCapacityUnit-Hrs", &[("0", "0.8")]),
            product("EUW3-ReadCapacityUnit-Hrs", &[("0", "0.0000000000"), ("18600", "0.0001544000")]),
        ];
        let rows = read(&all).expect("rows");
        assert_eq!(rows.iter().map(|r| (r.above, r.usd)).collect::<Vec<_>>(), [(0.0, 0.000_154_4)]);
        assert!(rows[0].source.contains("EUW3-ReadCapacityUnit-Hrs, published 2026-11-01"), "{}", rows[0].source);
    }

    #[test]
    fn two_prices_another_currency_or_a_negative_price_are_not_taken() {
        let two = [
            product("EUW3-ReadCapacityUnit-Hrs", &[("0", "0.1")]),
            product("EUW3-ReadCapacityUnit-Hrs", &[("0", "0.2")]),
        ];
        assert!(read(&two).is_err_and(|e| e.contains("two prices")));
        assert!(read(&[product("EUW3-ReadCapacityUnit-Hrs", &[("0", "-0.2")])]).is_err());
        let mut yuan = product("EUW3-ReadCapacityUnit-Hrs", &[("0", "1")]);
        yuan["terms"]["OnDemand"]["S.T"]["priceDimensions"]["d0"]["pricePerUnit"] = json!({"CNY": "1"});
        assert!(read(&[yuan]).is_err_and(|e| e.contains("CNY")));
    }

    #[test]
    fn usage_types_are_known_with_and_without_their_region() {
        for (usage, meant, is) in [
            ("ReadCapacityUnit-Hrs", "ReadCapacityUnit-Hrs", true),
            ("IA-ReadCapacityUnit-Hrs", "ReadCapacityUnit-Hrs", false),
            ("USE1-Fargate-GB-Hours", "Fargate-GB-Hours", true),
            ("USE1-Fargate-ARM-GB-Hours", "Fargate-GB-Hours", false),
            ("EU-TimedStorage-ByteHrs", "TimedStorage-ByteHrs", true),
            ("EU-TimedStorage-SIA-ByteHrs", "TimedStorage-ByteHrs", false),
        ] {
            assert_eq!(is_of(usage, meant), is, "{usage}");
        }
    }
}
