//! Which programmes a request wants: `channel=ch-nine&devices=-tv,-web`, compiled to bits.
//!
//! A key is a catalogue column; `a,b` is any of, `-a` is not a, a key given twice must match both.

use super::bits::Bits;
use super::catalogue::Catalogue;
use crate::toml_file::nearest;

/// More values than this in one request are refused: each costs a pass over the programmes.
const MOST_VALUES: usize = 64;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    #[error("unknown filter `{key}`; {hint}")]
    UnknownKey { key: String, hint: String },
    #[error("the filter `{0}` names no value")]
    NoValue(String),
    #[error("the filters name over {MOST_VALUES} values")]
    TooMany,
}

/// Compiles pairs of key and value; `None` when nothing is filtered.
pub fn compile(catalogue: &Catalogue, pairs: &[(String, String)]) -> Result<Option<Bits>, FilterError> {
    let values: usize = pairs.iter().map(|(_, v)| v.split(',').count()).sum();
    if values > MOST_VALUES {
        return Err(FilterError::TooMany);
    }
    let mut wanted: Option<Bits> = None;
    for (key, value) in pairs {
        let column = catalogue.column(&key.to_lowercase()).ok_or_else(|| unknown(catalogue, key))?;
        let one = compile_one(catalogue, column, value).ok_or_else(|| FilterError::NoValue(key.clone()))?;
        match &mut wanted {
            Some(all) => all.and(&one),
            None => wanted = Some(one),
        }
    }
    Ok(wanted)
}

/// One key: any of the plain values (all, when there is none), and none of the values after `-`.
fn compile_one(catalogue: &Catalogue, column: usize, value: &str) -> Option<Bits> {
    let mut any = Bits::none(catalogue.len());
    let mut not = Bits::none(catalogue.len());
    let (mut plain, mut minus) = (false, false);
    for word in value.split(',').map(str::trim).filter(|w| !w.is_empty() && *w != "-") {
        if let Some(word) = word.strip_prefix('-') {
            catalogue.add_carriers(column, word, &mut not);
            minus = true;
        } else {
            catalogue.add_carriers(column, word, &mut any);
            plain = true;
        }
    }
    if !plain && !minus {
        return None;
    }
    not.not();
    if plain {
        not.and(&any);
    }
    Some(not)
}

fn unknown(catalogue: &Catalogue, key: &str) -> FilterError {
    let hint = match nearest(key, catalogue.columns().chain(["limit"])) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known are limit, {}", catalogue.columns().collect::<Vec<_>>().join(", ")),
    };
    FilterError::UnknownKey { key: key.chars().take(64).collect(), hint }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const ITEMS: &[u8] = b"ITEM_ID,CHANNEL,DEVICES\na,nine,tv|web\nb,nine,web\nc,six,tv\nd,six,\n";

    fn found(query: &[(&str, &str)]) -> Result<String, String> {
        let catalogue = Catalogue::parse(Path::new("items.csv"), ITEMS, 0).expect("good");
        let pairs: Vec<_> = query.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let bits = compile(&catalogue, &pairs).map_err(|e| e.to_string())?;
        let bits = bits.unwrap_or_else(|| Bits::all(4));
        Ok((0..4).filter(|i| bits.has(*i as usize)).map(|i| catalogue.id(i)).collect())
    }

    #[test]
    fn every_form_of_a_filter() {
        let cases: [(&[(&str, &str)], &str); 11] = [
            (&[], "abcd"),
            (&[("channel", "nine")], "ab"),
            (&[("CHANNEL", "nine")], "ab"),
            (&[("channel", "nine,six")], "abcd"),
            (&[("devices", "tv")], "ac"),
            (&[("devices", "-tv")], "bd"),
            (&[("devices", "-tv,-web")], "d"),
            (&[("devices", "web,-tv")], "b"),
            (&[("devices", "tv"), ("devices", "web")], "a"),
            (&[("channel", "six"), ("devices", "-tv")], "d"),
            (&[("channel", "nowhere")], ""),
        ];
        for (query, expected) in cases {
            assert_eq!(found(query).expect("compiles"), expected, "{query:?}");
        }
    }

    #[test]
    fn an_unknown_key_names_the_nearest() {
        assert_eq!(found(&[("chanel", "nine")]), Err("unknown filter `chanel`; did you mean `channel`?".to_owned()));
        assert_eq!(found(&[("limt", "3")]), Err("unknown filter `limt`; did you mean `limit`?".to_owned()));
        assert_eq!(
            found(&[("zz", "9")]),
            Err("unknown filter `zz`; known are limit, item_id, channel, devices".to_owned())
        );
    }

    #[test]
    fn filters_made_to_explode_are_refused() {
        let many = vec!["x"; 65].join(",");
        assert_eq!(found(&[("channel", &many)]), Err("the filters name over 64 values".to_owned()));
        for empty in ["", ",", "-", ",-,"] {
            assert_eq!(found(&[("channel", empty)]), Err("the filter `channel` names no value".to_owned()), "{empty}");
        }
    }
}
