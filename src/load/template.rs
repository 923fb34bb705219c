//! A text with holes: `/v1/recommendations/{viewer}?limit=20`; compiled once, filled per request without allocating.

/// What may stand in a hole.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    Viewer,
    /// The request's place in the schedule.
    Index,
    /// A column of the data file.
    Column(usize),
    /// The target's campaign, until it is known.
    Campaign,
}

/// How what is filled in is written, so that no value can break out of its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    Url,
    Json,
    Header,
}

/// What `{campaign}` is where the target names none: any will do for a stand-in.
const STAND_IN: &str = "arn:aws:personalize:eu-west-3:000000000000:campaign/evening";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
    escape: Escape,
}

/// What fills the holes of one request.
#[derive(Clone, Copy, Debug)]
pub struct Filling<'a> {
    pub viewer: &'a str,
    pub index: u64,
    pub row: &'a [String],
}

impl Template {
    /// Compiles `text`; `columns` are those of the data file. A body's own braces, `{"userId": ..}`, are no holes.
    pub fn compile(text: &str, escape: Escape, columns: &[String]) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            let (before, after) = rest.split_at(open);
            plain.push_str(before);
            let name = after[1..].split('}').next().unwrap_or_default();
            let is_word = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
            if !is_word || after.len() < name.len() + 2 {
                plain.push('{');
                rest = &after[1..];
                continue;
            }
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain).into_bytes()));
            }
            pieces.push(match name {
                "viewer" => Piece::Viewer,
                "index" => Piece::Index,
                name => match columns.iter().position(|c| c == name) {
                    Some(column) => Piece::Column(column),
                    None if name == "campaign" => Piece::Campaign,
                    None => return Err(unknown(name, columns)),
                },
            });
            rest = &after[name.len() + 2..];
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain.into_bytes()));
        }
        Ok(Self { pieces, escape })
    }

    pub fn fill(&self, filling: Filling<'_>, out: &mut Vec<u8>) {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Viewer => self.escape.write(filling.viewer, out),
                Piece::Index => out.extend_from_slice(filling.index.to_string().as_bytes()),
                Piece::Campaign => self.escape.write(STAND_IN, out),
                Piece::Column(at) => self.escape.write(filling.row.get(*at).map_or("", String::as_str), out),
            }
        }
    }

    /// Whether it asks a campaign of the target's.
    pub fn asks_campaign(&self) -> bool {
        self.pieces.contains(&Piece::Campaign)
    }

    /// Fills in the target's campaign, which is the same for all requests.
    pub fn settle(&mut self, campaign: &str) {
        for piece in self.pieces.iter_mut().filter(|p| **p == Piece::Campaign) {
            let mut text = Vec::new();
            self.escape.write(campaign, &mut text);
            *piece = Piece::Text(text);
        }
    }

    /// Whether every request gets the same text.
    pub fn is_plain(&self) -> bool {
        self.pieces.iter().all(|p| matches!(p, Piece::Text(_)))
    }
}

fn unknown(name: &str, columns: &[String]) -> String {
    let known = ["viewer", "index", "campaign"].into_iter().chain(columns.iter().map(String::as_str));
    match crate::toml_file::nearest(name, known.clone()) {
        Some(right) => format!("nothing fills `{{{name}}}`; did you mean `{{{right}}}`?"),
        None => format!("nothing fills `{{{name}}}`; known here: {}", known.collect::<Vec<_>>().join(", ")),
    }
}

impl Escape {
    fn write(self, value: &str, out: &mut Vec<u8>) {
        const HEX: &[u8; 16] = b"0123456789ABCDEF";
        match self {
            Self::Url => {
                for b in value.bytes() {
                    if b.is_ascii_alphanumeric() || b"-_.~".contains(&b) {
                        out.push(b);
                    } else {
                        out.extend_from_slice(&[b'%', HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]]);
                    }
                }
            }
            Self::Json => {
                for c in value.chars() {
                    match c {
                        '"' | '\\' => out.extend_from_slice(&[b'\\', c as u8]),
                        c if (c as u32) < 0x20 => {
                            out.extend_from_slice(format!("\\u{:04x}", c as u32).as_bytes());
                        }
                        c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
                    }
                }
            }
            Self::Header => out.extend(value.bytes().filter(|b| !matches!(b, b'\r' | b'\n' | 0))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str, escape: Escape, viewer: &str) -> String {
        let columns = ["channel".to_owned()];
        let template = Template::compile(text, escape, &columns).expect("compiles");
        let mut out = Vec::new();
        template.fill(Filling { viewer, index: 7, row: &["ch nine".to_owned()] }, &mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn holes_are_filled_and_escaped_for_their_place() {
        assert_eq!(
            filled("/v1/{viewer}?n={index}&c={channel}", Escape::Url, "v/1 ü"),
            "/v1/v%2F1%20%C3%BC?n=7&c=ch%20nine"
        );
        assert_eq!(
            filled(r#"{"userId": "{viewer}", "n": {}}"#, Escape::Json, "a\"b\n"),
            r#"{"userId": "a\"b\u000a", "n": {}}"#
        );
        assert_eq!(filled("u {viewer}", Escape::Header, "a\r\nX: y"), "u aX: y");
        assert_eq!(filled("{", Escape::Url, ""), "{");
    }

    #[test]
    fn the_campaign_is_the_targets_or_the_stand_ins() {
        let mut template = Template::compile("{\"campaignArn\": \"{campaign}\"}", Escape::Json, &[]).expect("compiles");
        let filled = |template: &Template| {
            let mut out = Vec::new();
            template.fill(Filling { viewer: "", index: 0, row: &[] }, &mut out);
            String::from_utf8(out).expect("text")
        };
        assert!(template.asks_campaign() && filled(&template).contains(STAND_IN));
        template.settle("arn:mine");
        assert_eq!((filled(&template).as_str(), template.asks_campaign()), ("{\"campaignArn\": \"arn:mine\"}", false));
    }

    #[test]
    fn an_unknown_hole_names_the_nearest() {
        let error = Template::compile("/{veiwer}", Escape::Url, &[]).expect_err("refused");
        assert_eq!(error, "nothing fills `{veiwer}`; did you mean `{viewer}`?");
    }
}
