//! Takes out of a text what may be a secret, before it reaches a screen, a journal or a report.

/// Words after which a value is hidden, as in `token=..`, `"password": ".."`, `authorization: ..`.
const NAMES: [&str; 10] =
    ["authorization", "bearer", "token", "secret", "password", "passwd", "api-key", "api_key", "apikey", "signature"];
const MOST: usize = 300;

/// Returns at most 300 characters of the text with tokens, keys and passwords as `…`, and no control characters.
pub fn redact(text: &str) -> String {
    let clean: String = text.chars().take(MOST).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut out = String::with_capacity(clean.len());
    let mut hide = false;
    for word in clean.split_inclusive([' ', '&', '?', ',', ';', '{', '}', '<', '>']) {
        let core = word.trim_end_matches([' ', '&', '?', ',', ';', '{', '}', '<', '>']);
        let tail = &word[core.len()..];
        if core.is_empty() {
            out.push_str(word);
            continue;
        }
        let lower = core.to_ascii_lowercase();
        let named = NAMES.iter().any(|n| lower.contains(n));
        let value = core.find(['=', ':']).map(|at| at + 1);
        let token = core.trim_matches(['"', '\'']);
        let jwt = token.contains("eyJ") || token.starts_with("AKIA");
        match (named, value) {
            (true, Some(at)) => {
                out.push_str(&core[..at]);
                // `"token": ".."`: the value is the next word.
                hide = core[at..].trim_matches(['"', '\'']).is_empty();
                if !hide {
                    out.push('…');
                    // `Authorization: Bearer x` without a space after the colon.
                    hide = lower.ends_with("bearer") || lower.ends_with("basic");
                }
            }
            _ if jwt => out.push('…'),
            (true, None) => {
                out.push_str(core);
                hide = lower.ends_with("bearer");
            }
            _ if hide => {
                let scheme = matches!(lower.as_str(), "bearer" | "basic");
                out.push_str(if scheme { core } else { "…" });
                hide = scheme;
            }
            _ => out.push_str(core),
        }
        out.push_str(tail);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_and_the_rest_stays() {
        let table = [
            ("503 from GET /v1/popular?limit=20", "503 from GET /v1/popular?limit=20"),
            ("GET /x?token=abc&limit=2", "GET /x?token=…&limit=2"),
            ("Authorization: Bearer abc.def failed", "Authorization: Bearer … failed"),
            (r#"{"api_key": "k1", "user": "u"}"#, r#"{"api_key": …, "user": "u"}"#),
            (r#"{"password":"k1","user":"u"}"#, r#"{"password":…,"user":"u"}"#),
            ("got eyJhbGciOi.x.y", "got …"),
            ("authorization: Basic dTpw", "authorization: Basic …"),
        ];
        for (text, shown) in table {
            assert_eq!(redact(text), shown);
        }
    }
}
