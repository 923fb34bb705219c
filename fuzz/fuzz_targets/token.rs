//! Whatever is sent as a token is refused, and never breaks the gate: the key is one that nobody has.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serin::serve::auth::{Gate, Remembered};
use serin::sigv4::{self, Signed};

fuzz_target!(|data: &[u8]| {
    let gate = Gate::secret(b"a key of the fuzzer, thirty-two bytes!");
    assert!(Remembered::default().check(&gate, Some(data), 1_800_000_000).is_err());
    let bearer = [b"Bearer ", data].concat();
    assert!(Remembered::default().check(&gate, Some(&bearer), 1_800_000_000).is_err());
    if let Ok(text) = std::str::from_utf8(data) {
        let headers = [("host".to_owned(), "x".to_owned()), ("x-amz-date".to_owned(), "20270115T080000Z".to_owned())];
        let signed = Signed { method: "POST", path: "/recommendations", query: "", headers: &headers, body: data };
        let secret = |_: &str| Some("a secret".to_owned());
        assert!(sigv4::check(text, &signed, "personalize", secret, 1_800_000_000).is_err());
    }
});
