//! Filter expressions of Amazon Personalize: `INCLUDE ItemID WHERE Items.CHANNEL IN ($CHANNEL) | EXCLUDE ItemID WHERE ..`.
//!
//! AND binds tighter than OR. What any INCLUDE names is let in (everything, where there is none), what any EXCLUDE names
//! is not. Read once when the file is read; its bits are made once for each set of parameters.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::bits::Bits;
use super::catalogue::Catalogue;
use super::error::ServeError;
use crate::toml_file::{self, nearest};

/// Bounds against expressions that are made to explode: each value costs a pass over the programmes.
pub(super) const LONGEST: usize = 8 * 1024;
pub(super) const MOST_VALUES: usize = 512;

/// One filter, read.
#[derive(Clone, Debug, PartialEq)]
pub struct Expression(pub(super) Vec<Part>);

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Part {
    pub include: bool,
    /// Any of these, each all of its conditions.
    pub any: Vec<Vec<Condition>>,
    /// Holds only for viewers of whom all of these are true.
    pub only_if: Vec<Condition>,
}

/// Tells what a column of the users file says of who asks; nothing of a viewer who is not in it.
pub type Who<'w> = &'w dyn Fn(&str) -> Option<String>;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Condition {
    /// `Items.FIELD IN (..)`, or not.
    In { field: String, values: Vec<Value>, not: bool },
    /// `Items.FIELD < 5`.
    Compare { field: String, sign: Sign, value: Value },
    /// `Interactions.EVENT_TYPE IN ("*")`: what the viewer has watched.
    Watched,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    Parameter(String),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Sign {
    Less,
    AtMost,
    More,
    AtLeast,
    Equal,
}

/// The filters of a file, by name.
#[derive(Debug, Default)]
pub struct Filters(HashMap<String, Expression>);

impl Filters {
    /// Reads a TOML file of `name = "expression"` lines; each must fit the catalogue.
    pub fn open(path: &Path, catalogue: &Catalogue) -> Result<Self, ServeError> {
        let named: BTreeMap<String, String> = toml_file::read(path).map_err(|e| ServeError::Setting(e.to_string()))?;
        let mut filters = HashMap::new();
        for (name, text) in named {
            let wrong = |what: String| ServeError::input(path, format!("the filter `{name}`: {what}"));
            let expression = Expression::parse(&text).map_err(wrong)?;
            for field in expression.fields() {
                column(catalogue, field).map_err(wrong)?;
            }
            filters.insert(name, expression);
        }
        Ok(Self(filters))
    }

    /// The columns of the users file that any of them looks at.
    pub fn viewer_fields(&self) -> Vec<String> {
        let all = self.0.values().flat_map(Expression::viewer_fields).map(str::to_uppercase);
        all.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
    }

    /// Finds a filter by its name, or by an ARN that ends in `filter/NAME`.
    pub fn get(&self, arn: &str) -> Option<&Expression> {
        self.0.get(arn).or_else(|| self.0.get(arn.rsplit_once("filter/")?.1))
    }
}

impl Expression {
    /// Makes the bits of what is let in; `values` are the request's parameters.
    pub fn compile(&self, catalogue: &Catalogue, values: &BTreeMap<String, String>) -> Result<Bits, String> {
        self.compile_for(catalogue, values, &|_| None)
    }

    /// The same for one viewer: parts whose `IF CurrentUser..` is not true of them do not count.
    pub fn compile_for(
        &self,
        catalogue: &Catalogue,
        values: &BTreeMap<String, String>,
        who: Who<'_>,
    ) -> Result<Bits, String> {
        let mut parts = Vec::new();
        for part in &self.0 {
            if part.is_meant(values, who)? {
                parts.push(part);
            }
        }
        let mut wanted =
            if parts.iter().any(|p| p.include) { Bits::none(catalogue.len()) } else { Bits::all(catalogue.len()) };
        for part in parts.iter().filter(|p| p.include) {
            wanted.or(&part.bits(catalogue, values)?);
        }
        for part in parts.iter().filter(|p| !p.include) {
            let mut others = part.bits(catalogue, values)?;
            others.not();
            wanted.and(&others);
        }
        Ok(wanted)
    }

    /// The columns of the users file that it looks at.
    pub fn viewer_fields(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|p| &p.only_if).filter_map(|c| match c {
            Condition::In { field, .. } | Condition::Compare { field, .. } => Some(field.as_str()),
            Condition::Watched => None,
        })
    }

    fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|p| p.any.iter().flatten()).filter_map(|c| match c {
            Condition::In { field, .. } | Condition::Compare { field, .. } => Some(field.as_str()),
            Condition::Watched => None,
        })
    }
}

impl Part {
    fn is_meant(&self, values: &BTreeMap<String, String>, who: Who<'_>) -> Result<bool, String> {
        for condition in &self.only_if {
            if !condition.is_true(values, who)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn bits(&self, catalogue: &Catalogue, values: &BTreeMap<String, String>) -> Result<Bits, String> {
        let mut any = Bits::none(catalogue.len());
        for all in &self.any {
            let mut both = Bits::all(catalogue.len());
            for condition in all {
                both.and(&condition.bits(catalogue, values)?);
            }
            any.or(&both);
        }
        Ok(any)
    }
}

impl Condition {
    /// Whether it is true of a viewer; of one of whom nothing is known nothing is.
    fn is_true(&self, given: &BTreeMap<String, String>, who: Who<'_>) -> Result<bool, String> {
        let own = |field: &str| -> Vec<String> {
            who(field)
                .iter()
                .flat_map(|v| v.split('|'))
                .map(|v| v.trim().to_owned())
                .filter(|v| !v.is_empty())
                .collect()
        };
        match self {
            Self::In { field, values, not } => {
                let mut wanted = Vec::new();
                for value in values {
                    wanted.extend(value.given(given)?);
                }
                let own = own(field);
                Ok(!own.is_empty() && own.iter().any(|v| wanted.contains(v)) != *not)
            }
            Self::Compare { field, sign, value } => {
                let wanted = value.given(given)?;
                let [limit] = &wanted[..] else { return Err(format!("{field} is compared with one value")) };
                let holds = |v: &String| match (v.parse::<f64>(), limit.parse::<f64>()) {
                    (Ok(v), Ok(limit)) => sign.holds(v, limit),
                    _ => *sign == Sign::Equal && v == limit,
                };
                Ok(own(field).iter().any(holds))
            }
            Self::Watched => Ok(false),
        }
    }

    fn bits(&self, catalogue: &Catalogue, given: &BTreeMap<String, String>) -> Result<Bits, String> {
        let mut bits = Bits::none(catalogue.len());
        match self {
            Self::In { field, values, not } => {
                let column = column(catalogue, field)?;
                let mut count = 0;
                for value in values {
                    for text in value.given(given)? {
                        count += 1;
                        if count > MOST_VALUES {
                            return Err(format!("there are over {MOST_VALUES} values"));
                        }
                        catalogue.add_carriers(column, &text, &mut bits);
                    }
                }
                if *not {
                    bits.not();
                }
            }
            Self::Compare { field, sign, value } => {
                let column = column(catalogue, field)?;
                let given = value.given(given)?;
                let [limit] = &given[..] else { return Err(format!("{field} is compared with one value")) };
                match limit.parse::<f64>() {
                    Ok(limit) => catalogue.add_carriers_where(
                        column,
                        |v| v.parse::<f64>().is_ok_and(|v| sign.holds(v, limit)),
                        &mut bits,
                    ),
                    Err(_) if *sign == Sign::Equal => catalogue.add_carriers(column, limit, &mut bits),
                    Err(_) => return Err(format!("{field} is compared with a number, not `{}`", cut(limit))),
                }
            }
            // No answer holds what its viewer has watched, so that nothing is left to exclude.
            Self::Watched => {}
        }
        Ok(bits)
    }
}

impl Value {
    /// Returns the values; a parameter may hold several: `"a","b"`.
    fn given(&self, values: &BTreeMap<String, String>) -> Result<Vec<String>, String> {
        match self {
            Self::Text(text) => Ok(vec![text.clone()]),
            Self::Parameter(name) => {
                let text = values.get(name).ok_or_else(|| format!("filterValues lacks {name}"))?;
                if text.len() > LONGEST {
                    return Err(format!("the value of {name} is over {LONGEST} bytes"));
                }
                let parts = split_quoted(text).into_iter().filter(|v| !v.is_empty());
                Ok(parts.collect())
            }
        }
    }
}

impl Sign {
    fn holds(self, a: f64, b: f64) -> bool {
        match self {
            Self::Less => a < b,
            Self::AtMost => a <= b,
            Self::More => a > b,
            Self::AtLeast => a >= b,
            Self::Equal => a == b,
        }
    }
}

fn column(catalogue: &Catalogue, field: &str) -> Result<usize, String> {
    catalogue.column(&field.to_lowercase()).ok_or_else(|| {
        let near = nearest(&field.to_lowercase(), catalogue.columns());
        let near = near.map_or(String::new(), |n| format!("; did you mean {}?", n.to_uppercase()));
        format!("the catalogue has no column {}{near}", cut(field))
    })
}

/// Parts at commas outside quotation marks.
fn split_quoted(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => parts.push(String::new()),
            c => parts.last_mut().into_iter().for_each(|p| p.push(c)),
        }
    }
    parts.iter().map(|p| p.trim().to_owned()).collect()
}

pub(super) fn cut(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ITEMS: &[u8] =
        b"ITEM_ID,CHANNEL,GENRE,YEAR\na,nine,comedy|drama,1999\nb,nine,news,2010\nc,six,comedy,2020\nd,six,,\n";

    fn catalogue() -> Catalogue {
        Catalogue::parse(Path::new("items.csv"), ITEMS, 0).expect("good")
    }

    fn found(text: &str, values: &[(&str, &str)]) -> Result<String, String> {
        let values = values.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let catalogue = catalogue();
        let bits = Expression::parse(text)?.compile(&catalogue, &values)?;
        Ok((0..4).filter(|i| bits.has(*i as usize)).map(|i| catalogue.id(i)).collect())
    }

    #[test]
    fn every_form_of_an_expression() {
        let none: &[(&str, &str)] = &[];
        for (text, values, expected) in [
            (r#"INCLUDE ItemID WHERE Items.CHANNEL IN ("nine")"#, none, "ab"),
            (r#"include itemid where items.channel in ("nine", "six")"#, none, "abcd"),
            (r#"EXCLUDE ItemID WHERE Items.GENRE IN ("comedy")"#, none, "bd"),
            (r#"INCLUDE ItemID WHERE Items.GENRE NOT IN ("comedy")"#, none, "bd"),
            ("INCLUDE ItemID WHERE Items.CHANNEL IN ($CHANNEL)", &[("CHANNEL", "\"six\"")], "cd"),
            ("INCLUDE ItemID WHERE Items.GENRE IN ($G)", &[("G", "\"news\",\"drama\"")], "ab"),
            ("INCLUDE ItemID WHERE Items.GENRE IN ($G)", &[("G", "news, drama")], "ab"),
            ("INCLUDE ItemID WHERE Items.YEAR > 2000", none, "bc"),
            ("INCLUDE ItemID WHERE Items.YEAR >= 2010 AND Items.YEAR < 2020", none, "b"),
            ("INCLUDE ItemID WHERE Items.YEAR <= $Y", &[("Y", "1999")], "a"),
            ("INCLUDE ItemID WHERE Items.YEAR = 2020", none, "c"),
            (r#"INCLUDE ItemID WHERE Items.CHANNEL = "six""#, none, "cd"),
            (
                r#"INCLUDE ItemID WHERE Items.GENRE IN ("news") OR Items.GENRE IN ("comedy") AND Items.CHANNEL IN ("six")"#,
                none,
                "bc",
            ),
            (
                r#"INCLUDE ItemID WHERE Items.GENRE IN ("comedy") | EXCLUDE ItemID WHERE Items.CHANNEL IN ("six")"#,
                none,
                "a",
            ),
            (r#"EXCLUDE ItemID WHERE Interactions.EVENT_TYPE IN ("*")"#, none, "abcd"),
        ] {
            assert_eq!(found(text, values).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_part_may_be_meant_for_some_viewers_only() {
        let catalogue = catalogue();
        let who = |name: &str| {
            let of: &[(&str, &str)] = match name {
                "child" => &[("AGE", "9")],
                "adult" => &[("AGE", "40"), ("MEMBER", "gold|staff")],
                _ => &[],
            };
            move |field: &str| of.iter().find(|(f, _)| *f == field).map(|(_, v)| (*v).to_owned())
        };
        let exclude = r#"EXCLUDE ItemID WHERE Items.GENRE IN ("news") IF CurrentUser.AGE < 18"#;
        let include = r#"INCLUDE ItemID WHERE Items.CHANNEL IN ("six") IF CurrentUser.AGE >= 18 AND CurrentUser.MEMBER IN ("gold")"#;
        for (text, name, expected) in [
            (exclude, "child", "acd"),
            (exclude, "adult", "abcd"),
            (exclude, "nobody", "abcd"),
            (include, "adult", "cd"),
            (include, "child", "abcd"),
            (&format!("{include} | {exclude}"), "child", "acd"),
            (r#"EXCLUDE ItemID WHERE Items.GENRE IN ("news") IF CurrentUser.MEMBER NOT IN ("gold")"#, "adult", "abcd"),
            (r#"EXCLUDE ItemID WHERE Items.GENRE IN ("news") IF CurrentUser.MEMBER NOT IN ("gold")"#, "nobody", "abcd"),
        ] {
            let expression = Expression::parse(text).expect("reads");
            let bits = expression.compile_for(&catalogue, &BTreeMap::new(), &who(name)).expect("compiles");
            let found: String = (0..4).filter(|i| bits.has(*i as usize)).map(|i| catalogue.id(i)).collect();
            assert_eq!(found, expected, "{name}: {text}");
        }
    }

    #[test]
    fn what_is_refused_says_why() {
        let many = format!("INCLUDE ItemID WHERE Items.GENRE IN ({})", vec!["\"x\""; 600].join(","));
        let deep = format!("INCLUDE ItemID WHERE {}", vec!["Items.YEAR > 1"; 80].join(" AND "));
        let long = "x".repeat(LONGEST + 1);
        for (text, says) in [
            ("", "INCLUDE or EXCLUDE is missing before the end"),
            ("DROP TABLE items", "INCLUDE or EXCLUDE is missing before `DROP`"),
            ("INCLUDE ItemID", "WHERE is missing before the end"),
            ("INCLUDE ItemID WHERE GENRE IN (x)", "`GENRE` is not Items.FIELD"),
            ("INCLUDE ItemID WHERE Items.GENRE IN x", "( is missing before `x`"),
            ("INCLUDE ItemID WHERE Items.GENRE IN (x", ") is missing before the end"),
            ("INCLUDE ItemID WHERE Items.GENRE IN ()", "a value is expected"),
            ("INCLUDE ItemID WHERE Items.GENRE IN (\"x)", "not closed"),
            ("INCLUDE ItemID WHERE Items.GENRE LIKE x", "is expected after Items.GENRE"),
            ("INCLUDE ItemID WHERE Items.GENRE IN ($)", "a value is expected"),
            ("INCLUDE ItemID WHERE Items.GENRES IN (x)", "did you mean GENRE?"),
            ("INCLUDE ItemID WHERE Items.YEAR > abc", "compared with a number"),
            ("INCLUDE ItemID WHERE Items.YEAR > $Y", "filterValues lacks Y"),
            ("INCLUDE ItemID WHERE Items.YEAR > 1 extra", "`extra` is not expected there"),
            ("INCLUDE ItemID WHERE Users.AGE > 18", "Users is not held here"),
            ("EXCLUDE ItemID WHERE Items.YEAR > 1 IF Items.AGE < 18", "IF is about CurrentUser.FIELD"),
            ("EXCLUDE ItemID WHERE Items.YEAR > 1 IF CurrentUser.AGE", "is expected after CurrentUser.AGE"),
            ("EXCLUDE ItemID WHERE CurrentUser.AGE > 1", "not held here"),
            ("INCLUDE ItemID WHERE Interactions.EVENT_TYPE IN (\"*\")", "only `EXCLUDE"),
            (&many, "over 512 values"),
            (&deep, "over 64 conditions"),
            (&long, "over 8192 bytes"),
        ] {
            let said = found(text, &[]).expect_err(text);
            assert!(said.contains(says), "{text:.80}: {said}");
        }
        let values = vec!["x"; 600].join(",");
        let said = found("INCLUDE ItemID WHERE Items.GENRE IN ($G)", &[("G", &values)]).expect_err("refused");
        assert!(said.contains("over 512 values"), "{said}");
    }

    #[test]
    fn a_file_of_filters_is_checked_against_the_catalogue() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("filters.toml");
        let open = |text: &str| {
            std::fs::write(&path, text).expect("written");
            Filters::open(&path, &catalogue())
        };
        let filters = open("kids = 'INCLUDE ItemID WHERE Items.GENRE IN (\"comedy\")'").expect("good");
        assert!(filters.get("kids").is_some() && filters.get("arn:aws:personalize:eu-west-1:1:filter/kids").is_some());
        assert!(filters.get("arn:aws:personalize:eu-west-1:1:filter/adults").is_none());
        let said = open("kids = 'INCLUDE ItemID WHERE Items.GENER IN (\"x\")'").expect_err("refused").to_string();
        assert!(said.contains("the filter `kids`: the catalogue has no column GENER; did you mean GENRE?"), "{said}");
    }

    proptest! {
        #[test]
        fn nothing_breaks_the_reader(text in ".{0,200}", value in ".{0,100}") {
            let _ = found(&text, &[]);
            let _ = found("INCLUDE ItemID WHERE Items.GENRE IN ($G)", &[("G", &value)]);
        }

        #[test]
        fn words_in_any_order_do_not_break_it(words in prop::collection::vec(prop::sample::select(vec![
            "INCLUDE", "EXCLUDE", "ItemID", "WHERE", "Items.GENRE", "IN", "NOT", "(", ")", ",", "$G", "\"x\"", "AND", "OR", "|", "<", "5", "IF"]), 0..30)) {
            let _ = found(&words.join(" "), &[("G", "x")]);
        }
    }
}
