//! Prices from AWS's own price list: what is asked of which service, and which products become which rows.

use serde_json::{Value, json};

use super::aws::{Aws, AwsError, PRICING};
use super::prices::{Price, TRANSFER, transfer_to};
use super::product::Product;

/// Where the price list is asked, whatever region is asked about.
pub const ASKED_IN: &str = "us-east-1";
/// More pages than this hold something else than was asked for.
const MOST_PAGES: usize = 60;

/// How a product is recognised.
#[derive(Clone, Copy)]
enum Meant {
    /// By the usage type that follows a region's prefix.
    Usage(&'static str),
    /// By what it says of itself: all of the first, none of the second.
    Words(&'static [&'static str], &'static [&'static str]),
}

use Meant::{Usage, Words};

/// What is asked of each service: our item, and its product.
const SERVICES: &[(&str, &[(&str, Meant)])] = &[
    (
        "AmazonDynamoDB",
        &[
            ("dynamodb.rcu-hour", Usage("ReadCapacityUnit-Hrs")),
            ("dynamodb.wcu-hour", Usage("WriteCapacityUnit-Hrs")),
            ("dynamodb.read-request", Usage("ReadRequestUnits")),
            ("dynamodb.write-request", Usage("WriteRequestUnits")),
            ("dynamodb.storage-gb-month", Usage("TimedStorage-ByteHrs")),
            ("dynamodb.backup-gb-month", Usage("TimedBackupStorage-ByteHrs")),
            ("dynamodb.pitr-gb-month", Usage("TimedPITRStorage-ByteHrs")),
        ],
    ),
    (
        "AmazonECS",
        &[("fargate.vcpu-hour", Usage("Fargate-vCPU-Hours:perCPU")), ("fargate.gb-hour", Usage("Fargate-GB-Hours"))],
    ),
    (
        "AmazonS3",
        &[
            ("s3.gb-month", Usage("TimedStorage-ByteHrs")),
            ("s3.put-request", Usage("Requests-Tier1")),
            ("s3.get-request", Usage("Requests-Tier2")),
        ],
    ),
    ("AmazonCloudWatch", &[("cloudwatch.metric-read", Usage("CW:GMD-Metrics"))]),
    // Its usage types are written down nowhere, so its products are taken by their own words; where two prices fit, none is.
    (
        "AmazonPersonalize",
        &[
            ("personalize.tps-hour", Words(&["tps", "hour"], &["batch", "segment"])),
            ("personalize.training-hour", Words(&["train", "hour"], &["tps", "segment"])),
            ("personalize.ingestion-gb", Words(&["ingest", "gb"], &["tps"])),
        ],
    ),
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
        let products = products(aws, service, &[("regionCode", region)])?;
        let here = Asked { service, region, date };
        for (item, meant) in *known {
            match here.rows(&products, item, *meant) {
                Ok(rows) if rows.is_empty() => {
                    let what = match meant {
                        Usage(usage) => (*usage).to_owned(),
                        Words(words, _) => format!("product that says {}", words.join(" and ")),
                    };
                    updated.left.push(format!("{item}: {service} has no {what} in {region}"));
                }
                Ok(mut rows) => updated.rows.append(&mut rows),
                Err(why) => updated.left.push(format!("{item}: {why}")),
            }
        }
    }
    let filters = [("fromRegionCode", region), ("transferType", "InterRegion Outbound")];
    let here = Asked { service: "AWSDataTransfer", region, date };
    let products = products(aws, here.service, &filters)?;
    let mut transfer = here.transfer(&products);
    updated.rows.append(&mut transfer.rows);
    updated.left.append(&mut transfer.left);
    Ok(updated)
}

fn products(aws: &mut Aws, service: &str, filters: &[(&str, &str)]) -> Result<Vec<Product>, ListError> {
    let odd = |why: String| ListError::Odd { service: service.to_owned(), why };
    let filters: Vec<Value> =
        filters.iter().map(|(field, value)| json!({"Type": "TERM_MATCH", "Field": field, "Value": value})).collect();
    let mut products = Vec::new();
    let mut token: Option<String> = None;
    for _ in 0..MOST_PAGES {
        let mut body =
            json!({"ServiceCode": service, "FormatVersion": "aws_v1", "MaxResults": 100, "Filters": filters});
        if let Some(token) = &token {
            body["NextToken"] = token.as_str().into();
        }
        let answer = aws.call(&PRICING, "GetProducts", &body)?;
        let page = answer["PriceList"].as_array().ok_or_else(|| odd(format!("answers no PriceList: {answer}")))?;
        for product in page {
            // Each is JSON in a string, as documented; an object is taken too.
            let product: Value = match product.as_str() {
                Some(text) => serde_json::from_str(text).map_err(|e| odd(format!("a product cannot be read: {e}")))?,
                None => product.clone(),
            };
            products.push(Product::read(&product));
        }
        token = answer["NextToken"].as_str().filter(|t| !t.is_empty()).map(str::to_owned);
        if token.is_none() {
            return Ok(products);
        }
    }
    Err(odd(format!("more than {MOST_PAGES} pages")))
}

/// Who was asked about where, and when.
struct Asked<'a> {
    service: &'a str,
    region: &'a str,
    date: &'a str,
}

impl Asked<'_> {
    fn price(&self, item: &str, product: &Product, (above, usd): (f64, f64)) -> Price {
        let Product { usage, published, .. } = product;
        Price {
            item: item.to_owned(),
            region: self.region.to_owned(),
            above,
            usd,
            source: format!("AWS price list, {} {usage}, published {published}", self.service),
            guess: false,
            date: Some(self.date.to_owned()),
        }
    }

    fn rows(&self, products: &[Product], item: &str, meant: Meant) -> Result<Vec<Price>, String> {
        let mut found: Vec<Price> = Vec::new();
        for product in products {
            let fits = match meant {
                Usage(usage) => product.is(usage),
                Words(all, none) => product.says(all) && !none.iter().any(|word| product.says(&[word])),
            };
            if !fits || !matches!(product.region.as_str(), "" | "global") && product.region != self.region {
                continue;
            }
            let tiers = product.tiers.clone()?;
            let rows: Vec<Price> = tiers.into_iter().map(|tier| self.price(item, product, tier)).collect();
            let same =
                |a: &[Price], b: &[Price]| a.iter().map(|r| (r.above, r.usd)).eq(b.iter().map(|r| (r.above, r.usd)));
            if rows.is_empty() || same(&found, &rows) {
                continue;
            }
            if !found.is_empty() {
                return Err(format!("{} has another price in {} too; neither is taken", product.usage, self.region));
            }
            found = rows;
        }
        Ok(found)
    }

    /// A row for each region that data may go to; and one for any, where all cost the same, or the dearest as a guess.
    fn transfer(&self, products: &[Product]) -> Updated {
        let mut updated = Updated::default();
        let between = |p: &&Product| {
            p.transfer == "InterRegion Outbound" && !p.to_region.is_empty() && p.usage.ends_with("-AWS-Out-Bytes")
        };
        let mut to: Vec<&str> = products.iter().filter(between).map(|p| p.to_region.as_str()).collect();
        to.sort_unstable();
        to.dedup();
        for to in to {
            let there: Vec<Product> = products.iter().filter(between).filter(|p| p.to_region == to).cloned().collect();
            let item = transfer_to(to);
            match self.rows(&there, &item, Words(&[], &[])) {
                Ok(mut rows) => updated.rows.append(&mut rows),
                Err(why) => updated.left.push(format!("{item}: {why}")),
            }
        }
        let first = |row: &&Price| row.above == 0.0;
        let dearest = updated.rows.iter().filter(first).max_by(|a, b| a.usd.total_cmp(&b.usd)).cloned();
        match dearest {
            Some(row) => {
                let guess = updated.rows.iter().filter(first).any(|r| r.usd.to_bits() != row.usd.to_bits());
                let any = if guess { "; the dearest of all regions it may go to" } else { "; the same to all regions" };
                let source = format!("{}{any}", row.source);
                updated.rows.push(Price { item: TRANSFER.to_owned(), source, guess, ..row });
            }
            None => updated.left.push(format!("{TRANSFER}: {} has nothing that leaves {}", self.service, self.region)),
        }
        updated
    }
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

    const HERE: Asked<'_> = Asked { service: "AmazonDynamoDB", region: "eu-west-3", date: "2026-11-25" };

    fn read(products: &[Value]) -> Result<Vec<Price>, String> {
        let products: Vec<Product> = products.iter().map(Product::read).collect();
        HERE.rows(&products, "dynamodb.rcu-hour", Usage("ReadCapacityUnit-Hrs"))
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
        assert!(read(&two).is_err_and(|e| e.contains("neither is taken")));
        assert!(read(&[product("EUW3-ReadCapacityUnit-Hrs", &[("0", "-0.2")])]).is_err());
        let mut yuan = product("EUW3-ReadCapacityUnit-Hrs", &[("0", "1")]);
        yuan["terms"]["OnDemand"]["S.T"]["priceDimensions"]["d0"]["pricePerUnit"] = json!({"CNY": "1"});
        assert!(read(&[yuan]).is_err_and(|e| e.contains("CNY")));
    }

    #[test]
    fn what_leaves_for_other_regions_is_taken_one_by_one_and_the_dearest_is_a_guess_for_any() {
        let to = |region: &str, usd: &str| {
            let mut one = product(&format!("EUW3-{region}-AWS-Out-Bytes"), &[("0", usd)]);
            let attributes = &mut one["product"]["attributes"];
            attributes["regionCode"] = Value::Null;
            attributes["toRegionCode"] = region.into();
            attributes["transferType"] = "InterRegion Outbound".into();
            Product::read(&one)
        };
        let seen = |all: &[Product]| {
            let rows = HERE.transfer(all).rows;
            rows.iter().map(|r| (r.item.clone(), r.usd, r.guess)).collect::<Vec<_>>()
        };
        assert_eq!(
            seen(&[to("us-east-1", "0.02"), to("eu-west-1", "0.01")]),
            [
                ("transfer.to-eu-west-1-gb".to_owned(), 0.01, false),
                ("transfer.to-us-east-1-gb".to_owned(), 0.02, false),
                ("transfer.region-gb".to_owned(), 0.02, true),
            ]
        );
        assert!(!seen(&[to("us-east-1", "0.02"), to("eu-west-1", "0.02")])[2].2, "all the same is no guess");
        assert!(seen(&[]).is_empty() && HERE.transfer(&[]).left.len() == 1);
    }
}
