//! Queries, filter expressions and rules: read or refused, in bounded time, and never more programmes than there are.
#![no_main]

use std::collections::BTreeMap;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use serin::serve::catalogue::Catalogue;
use serin::serve::expression::Expression;
use serin::serve::rules::Rules;
use serin::serve::wish::{Wish, read_id};

thread_local! {
    static CATALOGUE: Catalogue = Catalogue::parse(
        Path::new("items.csv"),
        b"ITEM_ID,CHANNEL,GENRE,YEAR\na,nine,comedy|drama,1999\nb,nine,news,2010\nc,six,comedy,2020\nd,six,,\n",
        0,
    ).expect("a catalogue");
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    CATALOGUE.with(|catalogue| {
        let _ = Wish::read(catalogue, text);
        let _ = read_id(text);
        let values = BTreeMap::from([("G".to_owned(), text.to_owned())]);
        for text in [text, "INCLUDE ItemID WHERE Items.GENRE IN ($G)"] {
            if let Ok(bits) = Expression::parse(text).and_then(|e| e.compile(catalogue, &values)) {
                assert!(bits.count() <= catalogue.len());
            }
        }
        let _ = Rules::parse("rules.toml", text, catalogue);
    });
});
