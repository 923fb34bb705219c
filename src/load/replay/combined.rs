//! Apache's and nginx's access log: `host ident user [time] "request" status bytes "referer" "agent"`.

use std::borrow::Cow;

use super::line::{Line, Spoiled, only_reads, request};

pub fn parse(line: &str) -> Result<Line<'_>, Spoiled> {
    let (who, rest) = line.split_once(" [").ok_or(Spoiled::Cut)?;
    let (time, rest) = rest.split_once("] \"").ok_or(Spoiled::Cut)?;
    let (asked, rest) = quoted(rest).ok_or(Spoiled::Cut)?;
    // Without a whole status the line was cut before its end.
    let status = rest.trim_start().split(' ').next().unwrap_or_default();
    if status.len() != 3 || !status.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Spoiled::Cut);
    }
    let (at_ns, whole_second) = stamp(time).ok_or(Spoiled::Time)?;
    let (method, path) = request(asked)?;
    if !only_reads(method) {
        return Err(Spoiled::NoBody);
    }
    let mut words = who.split(' ');
    let host = words.next().unwrap_or_default();
    let user = words.nth(1).filter(|u| *u != "-" && !u.is_empty());
    let viewer = Cow::Borrowed(user.unwrap_or(host));
    Ok(Line { at_ns, whole_second, method, path: Cow::Borrowed(path), viewer, body: None })
}

/// Returns the text up to the closing quote, and what follows; `\"` does not close.
pub fn quoted(text: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some((&text[..at], &text[at + 1..])),
            _ => {}
        }
    }
    None
}

/// Reads `10/Oct/2000:13:55:36 -0700`, also with a fraction of a second.
fn stamp(text: &str) -> Option<(i64, bool)> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (local, offset) = text.split_once(' ')?;
    let (date, time) = local.split_once(':')?;
    let mut date = date.split('/');
    let day: i8 = date.next()?.parse().ok()?;
    let month = date.next()?;
    let month = MONTHS.iter().position(|m| *m == month)? as i8 + 1;
    let year: i16 = date.next()?.parse().ok()?;
    let (clock, fraction) = time.split_once('.').map_or((time, None), |(c, f)| (c, Some(f)));
    let mut clock = clock.split(':').map(|part| part.parse::<i8>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let nanosecond = match fraction {
        Some(f) if (1..=9).contains(&f.len()) => f.parse::<i32>().ok()? * 10_i32.pow(9 - f.len() as u32),
        Some(_) => return None,
        None => 0,
    };
    // A leap second is written as 60 and counted as the second before.
    let moment = jiff::civil::DateTime::new(year, month, day, hour, minute, second.min(59), nanosecond).ok()?;
    let sign = if offset.starts_with('-') { -1 } else { 1 };
    let digits = offset.strip_prefix(['+', '-']).filter(|d| d.len() == 4)?;
    let (hours, minutes): (i32, i32) = (digits.get(..2)?.parse().ok()?, digits.get(2..)?.parse().ok()?);
    let offset = jiff::tz::Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()?;
    let at_ns = offset.to_timestamp(moment).ok()?.as_nanosecond();
    Some((i64::try_from(at_ns).ok()?, fraction.is_none()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"203.0.113.9 - ann [10/Oct/2025:13:55:36 -0700] "GET /v1/popular?limit=20 HTTP/1.1" 200 2326 "http://x/?token=s" "Agent \"7\"""#;

    #[test]
    fn a_combined_line_is_a_request() {
        let line = parse(LINE).expect("read");
        assert_eq!((line.method, &*line.path, &*line.viewer), ("GET", "/v1/popular?limit=20", "ann"));
        assert_eq!((line.at_ns, line.whole_second), (1_760_129_736_000_000_000, true));
        let nobody = LINE.replace(" ann ", " - ").replace(":36 ", ":36.250 ");
        let line = parse(&nobody).expect("read");
        assert_eq!((&*line.viewer, line.at_ns % 1_000_000_000, line.whole_second), ("203.0.113.9", 250_000_000, false));
    }

    #[test]
    fn a_line_cut_anywhere_is_refused_or_the_same_request() {
        let whole = parse(LINE).expect("read");
        let end_of_status = LINE.find(" 2326").expect("there");
        for cut in 0..LINE.len() {
            match parse(&LINE[..cut]) {
                Ok(line) => assert!(cut >= end_of_status && line == whole, "cut at {cut}"),
                Err(why) => assert!(cut < end_of_status && why == Spoiled::Cut, "cut at {cut}: {why:?}"),
            }
        }
    }

    #[test]
    fn what_is_wrong_is_told_apart() {
        let table = [
            (LINE.replace("GET", "POST"), Spoiled::NoBody),
            (LINE.replace("/Oct/", "/Okt/"), Spoiled::Time),
            (LINE.replace("10/Oct", "32/Oct"), Spoiled::Time),
            (LINE.replace("GET /v1", "\\x16\\x03"), Spoiled::Request),
            (String::new(), Spoiled::Cut),
        ];
        for (line, why) in table {
            assert_eq!(parse(&line), Err(why), "{line}");
        }
    }
}
