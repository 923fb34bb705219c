//! The text of a filter expression: its words, in the order of Personalize's grammar, or what is wrong and where.

use super::expression::{Condition, Expression, LONGEST, MOST_VALUES, Part, Sign, Value, cut};

const MOST_CONDITIONS: usize = 64;

/// What a condition is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    Items { include: bool },
    Viewer,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Parameter(String),
    Mark(char),
    Sign(&'static str),
}

impl Expression {
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST {
            return Err(format!("it is over {LONGEST} bytes"));
        }
        let tokens = tokens(text)?;
        let mut reader = Reader { tokens: &tokens, at: 0, conditions: 0, values: 0 };
        let mut parts = vec![reader.part()?];
        while reader.mark('|') {
            parts.push(reader.part()?);
        }
        match reader.next() {
            None => Ok(Self(parts)),
            Some(token) => Err(format!("{} is not expected there", shown(token))),
        }
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    let is_word = |c: char| c.is_alphanumeric() || "_.-".contains(c);
    while let Some(c) = chars.next() {
        let mut word = |first: Option<char>| {
            let mut word: String = first.into_iter().collect();
            while let Some(c) = chars.next_if(|c| is_word(*c)) {
                word.push(c);
            }
            word
        };
        tokens.push(match c {
            c if c.is_whitespace() => continue,
            '(' | ')' | ',' | '|' => Token::Mark(c),
            '$' => Token::Parameter(word(None)),
            '=' => Token::Sign("="),
            '<' | '>' => {
                let equal = chars.next_if_eq(&'=').is_some();
                Token::Sign(match (c, equal) {
                    ('<', true) => "<=",
                    ('<', false) => "<",
                    (_, true) => ">=",
                    _ => ">",
                })
            }
            '"' => {
                let mut inner = String::new();
                loop {
                    match chars.next() {
                        Some('"') => break,
                        Some(c) => inner.push(c),
                        None => return Err("a quotation mark is not closed".to_owned()),
                    }
                }
                Token::Text(inner)
            }
            c if is_word(c) => Token::Word(word(Some(c))),
            c => return Err(format!("`{c}` is not expected there")),
        });
    }
    Ok(tokens)
}

struct Reader<'t> {
    tokens: &'t [Token],
    at: usize,
    conditions: usize,
    values: usize,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Option<&'t Token> {
        let token = self.tokens.get(self.at);
        self.at += 1;
        token
    }

    fn mark(&mut self, mark: char) -> bool {
        let there = self.tokens.get(self.at) == Some(&Token::Mark(mark));
        self.at += usize::from(there);
        there
    }

    /// Takes a keyword, in any case.
    fn word(&mut self, word: &str) -> bool {
        let there = matches!(self.tokens.get(self.at), Some(Token::Word(w)) if w.eq_ignore_ascii_case(word));
        self.at += usize::from(there);
        there
    }

    fn needed(&mut self, word: &str) -> Result<(), String> {
        if self.word(word) { Ok(()) } else { Err(format!("{word} is missing before {}", self.here())) }
    }

    fn here(&self) -> String {
        self.tokens.get(self.at).map_or("the end".to_owned(), shown)
    }

    fn part(&mut self) -> Result<Part, String> {
        let include = self.word("INCLUDE");
        if !include {
            self.needed("EXCLUDE").map_err(|_| format!("INCLUDE or EXCLUDE is missing before {}", self.here()))?;
        }
        self.needed("ItemID")?;
        self.needed("WHERE")?;
        let about = About::Items { include };
        let mut any = vec![vec![self.condition(about)?]];
        loop {
            if self.word("AND") {
                let next = self.condition(about)?;
                any.last_mut().into_iter().for_each(|all| all.push(next.clone()));
            } else if self.word("OR") {
                any.push(vec![self.condition(about)?]);
            } else {
                break;
            }
        }
        let mut only_if = Vec::new();
        if self.word("IF") {
            only_if.push(self.condition(About::Viewer)?);
            while self.word("AND") {
                only_if.push(self.condition(About::Viewer)?);
            }
        }
        Ok(Part { include, any, only_if })
    }

    fn condition(&mut self, about: About) -> Result<Condition, String> {
        self.conditions += 1;
        if self.conditions > MOST_CONDITIONS {
            return Err(format!("there are over {MOST_CONDITIONS} conditions"));
        }
        let place = match self.next() {
            Some(Token::Word(word)) => word,
            other => return Err(format!("Items.FIELD is expected, not {}", other.map_or("the end".to_owned(), shown))),
        };
        let (dataset, field) = place.split_once('.').ok_or_else(|| format!("`{}` is not Items.FIELD", cut(place)))?;
        if about == About::Viewer && !dataset.eq_ignore_ascii_case("CurrentUser") {
            return Err(format!("IF is about CurrentUser.FIELD, not {}", cut(place)));
        }
        let watched = dataset.eq_ignore_ascii_case("Interactions");
        if about != About::Viewer && !watched && !dataset.eq_ignore_ascii_case("Items") {
            return Err(format!("{} is not held here; Items.FIELD and Interactions.EVENT_TYPE are", cut(dataset)));
        }
        let not = self.word("NOT");
        if self.word("IN") {
            let values = self.values()?;
            if !watched {
                return Ok(Condition::In { field: field.to_owned(), values, not });
            }
            let all = values == [Value::Text("*".to_owned())];
            if about != (About::Items { include: false }) || not || !all || !field.eq_ignore_ascii_case("EVENT_TYPE") {
                let known = "EXCLUDE ItemID WHERE Interactions.EVENT_TYPE IN (\"*\")";
                return Err(format!("of interactions only `{known}` is known here"));
            }
            return Ok(Condition::Watched);
        }
        let sign = match self.next() {
            Some(Token::Sign(sign)) if !not && !watched => match *sign {
                "<" => Sign::Less,
                "<=" => Sign::AtMost,
                ">" => Sign::More,
                ">=" => Sign::AtLeast,
                _ => Sign::Equal,
            },
            other => {
                let found = other.map_or("the end".to_owned(), shown);
                return Err(format!("IN, NOT IN, <, <=, >, >= or = is expected after {}, not {found}", cut(place)));
            }
        };
        Ok(Condition::Compare { field: field.to_owned(), sign, value: self.value()? })
    }

    fn values(&mut self) -> Result<Vec<Value>, String> {
        if !self.mark('(') {
            return Err(format!("( is missing before {}", self.here()));
        }
        let mut values = vec![self.value()?];
        while self.mark(',') {
            values.push(self.value()?);
        }
        if self.mark(')') { Ok(values) } else { Err(format!(") is missing before {}", self.here())) }
    }

    fn value(&mut self) -> Result<Value, String> {
        self.values += 1;
        if self.values > MOST_VALUES {
            return Err(format!("there are over {MOST_VALUES} values"));
        }
        match self.next() {
            Some(Token::Text(text) | Token::Word(text)) => Ok(Value::Text(text.clone())),
            Some(Token::Parameter(name)) if !name.is_empty() => Ok(Value::Parameter(name.clone())),
            other => Err(format!("a value is expected, not {}", other.map_or("the end".to_owned(), shown))),
        }
    }
}

fn shown(token: &Token) -> String {
    match token {
        Token::Word(word) => format!("`{}`", cut(word)),
        Token::Text(text) => format!("\"{}\"", cut(text)),
        Token::Parameter(name) => format!("${}", cut(name)),
        Token::Mark(mark) => format!("`{mark}`"),
        Token::Sign(sign) => format!("`{sign}`"),
    }
}
