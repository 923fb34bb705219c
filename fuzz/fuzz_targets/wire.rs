//! Bodies that callers send and values that lie in a table: read or refused, whatever they are.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serin::serve::posts::read_events;
use serin::serve::store::List;
use serin::serve::stores::table::{meta, meta_pieces};
use serin::serve::trail::Trace;

fuzz_target!(|data: &[u8]| {
    if let Ok(viewings) = read_events(data, 1_800_000_000) {
        assert!(viewings.iter().all(|v| !v.user.is_empty() && (0.0..=1.0).contains(&v.value)));
    }
    if let Some(list) = List::packed(data) {
        assert!(list.iter().count() <= data.len());
    }
    let _ = meta_pieces(data);
    let _ = meta(&[data.to_vec()]);
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = Trace::read(text);
    }
});
