//! An AWS Application Load Balancer's access log: space-separated fields, some quoted.

use std::borrow::Cow;

use super::combined::quoted;
use super::line::{Line, Spoiled, only_reads, request};

/// Places of the fields, from AWS's documentation of the log.
const TIME: usize = 1;
const CLIENT: usize = 3;
const PROCESSING: [usize; 3] = [5, 6, 7];
const REQUEST: usize = 12;
const CREATED: usize = 21;

pub fn parse(line: &str) -> Result<Line<'_>, Spoiled> {
    let fields = fields(line).ok_or(Spoiled::Cut)?;
    if fields.len() <= REQUEST + 1 {
        return Err(Spoiled::Cut);
    }
    // The line is written when the answer is out; when the request came stands further right.
    let at_ns = match fields.get(CREATED).and_then(|t| stamp(t)) {
        Some(at) => at,
        None => {
            let took: f64 = PROCESSING.iter().filter_map(|n| fields[*n].parse::<f64>().ok()).filter(|s| *s > 0.0).sum();
            stamp(fields[TIME]).ok_or(Spoiled::Time)? - (took.min(86_400.0) * 1e9) as i64
        }
    };
    let (method, path) = request(fields[REQUEST])?;
    if !only_reads(method) {
        return Err(Spoiled::NoBody);
    }
    let client = fields[CLIENT].rsplit_once(':').map_or(fields[CLIENT], |(ip, _)| ip);
    let (path, viewer) = (Cow::Borrowed(path), Cow::Borrowed(client));
    Ok(Line { at_ns, whole_second: false, method, path, viewer, body: None })
}

fn fields(line: &str) -> Option<Vec<&str>> {
    let mut fields = Vec::with_capacity(32);
    let mut rest = line.trim_end();
    while !rest.is_empty() {
        let field;
        if let Some(after) = rest.strip_prefix('"') {
            (field, rest) = quoted(after)?;
            rest = rest.strip_prefix(' ').unwrap_or(rest);
        } else {
            (field, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        }
        fields.push(field);
    }
    Some(fields)
}

fn stamp(text: &str) -> Option<i64> {
    let at: jiff::Timestamp = text.parse().ok()?;
    i64::try_from(at.as_nanosecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = concat!(
        r"h2 2025-07-02T22:23:00.186641Z app/my-loadbalancer/50dc6c495c0c9188 192.168.131.39:2817 10.0.0.1:80 ",
        r#"0.000 0.001 0.000 200 200 34 366 "GET https://www.example.com:443/v1/popular?limit=20 HTTP/2.0" "curl/7.46.0" "#,
        r"ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 arn:aws:elasticloadbalancing:us-east-2:123:targetgroup/t/73e2d6bc24d8a067 ",
        r#""Root=1-58337262-36d228ad5d99923122bbe354" "www.example.com" "arn:aws:acm:us-east-2:123:certificate/1" 0 "#,
        r#"2025-07-02T22:22:48.364000Z "forward" "-" "-" "10.0.0.1:80" "200" "-" "-""#
    );

    #[test]
    fn an_alb_line_is_a_request_due_when_it_came_in() {
        let line = parse(LINE).expect("read");
        assert_eq!((line.method, &*line.path, &*line.viewer), ("GET", "/v1/popular?limit=20", "192.168.131.39"));
        assert_eq!(line.at_ns, stamp("2025-07-02T22:22:48.364Z").expect("a time"));
    }

    #[test]
    fn without_a_creation_time_the_answer_tells_when_it_came() {
        let short = &LINE[..LINE.find("ECDHE").expect("there")];
        let at = parse(short).expect("read").at_ns;
        assert_eq!(at, stamp("2025-07-02T22:23:00.185641Z").expect("a time"));
    }

    #[test]
    fn a_line_cut_anywhere_is_refused_or_the_same_request() {
        let whole = parse(LINE).expect("read");
        for cut in 0..LINE.len() {
            if let Ok(line) = parse(&LINE[..cut]) {
                assert_eq!((line.method, &line.path, &line.viewer), (whole.method, &whole.path, &whole.viewer));
            }
        }
        assert_eq!(parse(&LINE[..200]), Err(Spoiled::Cut));
        assert_eq!(parse(&LINE.replace("GET https", "- http")), Err(Spoiled::Request));
    }
}
