//! One product of AWS's price list, read: its usage type, its own words, and the steps of its price.

use serde_json::Value;

/// What is told of a product; what is not told is empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Product {
    pub usage: String,
    pub region: String,
    /// Of data that leaves a region: where it goes, and by which way.
    pub to_region: String,
    pub transfer: String,
    /// Usage type, units and descriptions in small letters.
    words: String,
    pub published: String,
    /// From how many units a month on which price holds, or why none can be taken.
    pub tiers: Result<Vec<(f64, f64)>, String>,
}

impl Product {
    pub fn read(product: &Value) -> Self {
        let attribute = |key: &str| product["product"]["attributes"][key].as_str().unwrap_or_default().to_owned();
        let usage = attribute("usagetype");
        let mut words = usage.to_lowercase();
        for dimension in dimensions(product) {
            for key in ["unit", "description"] {
                words.push(' ');
                words += &dimension[key].as_str().unwrap_or_default().to_lowercase();
            }
        }
        Self {
            region: attribute("regionCode"),
            to_region: attribute("toRegionCode"),
            transfer: attribute("transferType"),
            published: product["publicationDate"].as_str().and_then(|d| d.get(..10)).unwrap_or("unknown").to_owned(),
            tiers: tiers(product),
            usage,
            words,
        }
    }

    /// Whether its usage type is the one that is meant, in any region: `EUW3-X`, or `X` alone in the oldest.
    pub fn is(&self, meant: &str) -> bool {
        match self.usage.strip_suffix(meant) {
            Some("") => true,
            // `IA-` is another table class, not a region; a longer prefix is another thing altogether.
            Some(prefix) => prefix.strip_suffix('-').is_some_and(|p| p != "IA" && !p.contains('-')),
            None => false,
        }
    }

    /// Whether it says all of these words of itself, where its usage type is not known beforehand.
    pub fn says(&self, words: &[&str]) -> bool {
        words.iter().all(|word| self.words.contains(word))
    }
}

fn dimensions(product: &Value) -> impl Iterator<Item = &Value> {
    let terms = product["terms"]["OnDemand"].as_object().into_iter().flat_map(|t| t.values());
    terms.filter_map(|t| t["priceDimensions"].as_object()).flat_map(|d| d.values())
}

/// The steps of a product's price, from zero on; what is free at first is left out, as everywhere here.
fn tiers(product: &Value) -> Result<Vec<(f64, f64)>, String> {
    let mut tiers = Vec::new();
    for dimension in dimensions(product) {
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
    use serde_json::json;

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
            let product = Product::read(&json!({"product": {"attributes": {"usagetype": usage}}}));
            assert_eq!(product.is(meant), is, "{usage}");
        }
    }

    #[test]
    fn words_are_found_in_the_usage_type_the_unit_and_the_description() {
        let product = Product::read(&json!({"product": {"attributes": {"usagetype": "EUW1-Campaign-TPS"}},
            "terms": {"OnDemand": {"S.T": {"priceDimensions": {"d": {"unit": "Hours", "description": "per TPS-hour",
            "pricePerUnit": {"USD": "0.2"}}}}}}}));
        assert!(product.says(&["tps", "hour"]) && !product.says(&["train"]));
        assert_eq!(product.tiers, Ok(vec![(0.0, 0.2)]));
    }
}
