//! Requests signed as AWS wants them: keys that are renewed before they end, a region, a service.

use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;

use super::question::Question;
use crate::sigv4::{Signed, Signer};

/// Keys that end sooner are fetched anew.
const FRESH: Duration = Duration::from_secs(300);
/// How often it is looked whether they do, and how soon the looking thread notices that the run is over.
const LOOK: Duration = Duration::from_secs(1);

/// Whose keys sign.
#[derive(Clone)]
pub struct Keys {
    pub key: String,
    pub secret: String,
    pub session: Option<String>,
    /// When they end; `None` where they do not.
    pub until: Option<SystemTime>,
}

/// Fetches keys; the error is worded for a person.
pub type Fetch = Box<dyn Fn() -> Result<Keys, String> + Send>;

/// How the requests to a target are signed.
#[derive(Clone)]
pub struct Signing {
    keys: Arc<ArcSwap<Keys>>,
    region: String,
    service: &'static str,
}

impl std::fmt::Debug for Signing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signing({} in {}, keys hidden)", self.service, self.region)
    }
}

impl Signing {
    /// Fetches the keys, and again whenever they are about to end, for as long as anybody signs with them.
    pub fn new(fetch: Fetch, region: &str, service: &'static str) -> Result<Self, String> {
        let first = fetch()?;
        let ends = first.until.is_some();
        let keys = Arc::new(ArcSwap::from_pointee(first));
        let held = Arc::downgrade(&keys);
        if ends {
            let thread = std::thread::Builder::new().name("keys".to_owned());
            thread.spawn(move || keep_fresh(&held, &fetch, LOOK)).map_err(|e| e.to_string())?;
        }
        Ok(Self { keys, region: region.to_owned(), service })
    }

    /// Writes the lines that sign a question; `host` is what the Host header says, `base` stands before its path.
    pub fn write(&self, question: &Question, base: &str, host: &str, out: &mut Vec<u8>) {
        let keys = self.keys.load();
        let path = format!("{base}{}", String::from_utf8_lossy(&question.path));
        let (path, query) = path.split_once('?').unwrap_or((&path, ""));
        let mut headers = vec![("host".to_owned(), host.to_owned())];
        // Where it is sent, it must be covered.
        let own = String::from_utf8_lossy(&question.headers);
        let kind = own.lines().filter_map(|l| l.split_once(':')).find(|(n, _)| n.eq_ignore_ascii_case("content-type"));
        headers.extend(kind.map(|(_, value)| ("content-type".to_owned(), value.trim().to_owned())));
        let signer = Signer {
            key: &keys.key,
            secret: &keys.secret,
            session: keys.session.as_deref(),
            region: &self.region,
            service: self.service,
        };
        let signed = Signed { method: question.method, path, query, headers: &headers, body: &question.body };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64);
        for (name, value) in signer.sign(&signed, now).into_iter().flatten() {
            out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
    }
}

/// Renews the keys while they are held; a fetch that fails leaves the old ones, and is tried again.
fn keep_fresh(held: &Weak<ArcSwap<Keys>>, fetch: &Fetch, look: Duration) {
    while let Some(keys) = held.upgrade() {
        let soon = SystemTime::now() + FRESH;
        if keys.load().until.is_some_and(|until| until <= soon)
            && let Ok(new) = fetch()
        {
            keys.store(Arc::new(new));
        }
        drop(keys);
        std::thread::sleep(look);
    }
}

/// Returns the region of a campaign, `arn:aws:personalize:eu-west-3:123456789012:campaign/evening`.
pub fn region_of(campaign: &str) -> Result<&str, String> {
    let fair = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_/".contains(&b));
    match campaign.split(':').collect::<Vec<_>>()[..] {
        ["arn", partition, "personalize", region, account, name]
            if [partition, region, account, name].into_iter().all(fair)
                && (name.starts_with("campaign/") || name.starts_with("recommender/")) =>
        {
            Ok(region)
        }
        _ => Err(format!("`{campaign}` is no campaign: write arn:aws:personalize:REGION:ACCOUNT:campaign/NAME")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::sigv4;

    fn keys(until: Option<SystemTime>) -> Keys {
        Keys { key: "AKID".to_owned(), secret: "SECRET".to_owned(), session: Some("T".to_owned()), until }
    }

    #[test]
    fn what_is_signed_here_is_good_at_the_other_end() {
        let signing = Signing::new(Box::new(|| Ok(keys(None))), "eu-west-3", "personalize").expect("keys");
        let question = Question {
            method: "POST",
            path: b"/recommendations".to_vec(),
            headers: b"Content-Type: application/json\r\n".to_vec(),
            body: b"{\"userId\":\"u1\"}".to_vec(),
            ..Question::default()
        };
        let mut out = Vec::new();
        signing.write(&question, "", "personalize-runtime.eu-west-3.amazonaws.com", &mut out);
        let text = String::from_utf8(out).expect("text");
        let mut headers: Vec<(String, String)> =
            text.lines().filter_map(|l| l.split_once(": ")).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        headers.push(("host".to_owned(), "personalize-runtime.eu-west-3.amazonaws.com".to_owned()));
        headers.push(("content-type".to_owned(), "application/json".to_owned()));
        let authorization = headers.iter().find(|(n, _)| n == "authorization").expect("signed").1.clone();
        assert!(authorization.contains("content-type;host;x-amz-date;x-amz-security-token"), "{authorization}");
        let request =
            Signed { method: "POST", path: "/recommendations", query: "", headers: &headers, body: &question.body };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs() as i64;
        let secret = |_: &str| Some("SECRET".to_owned());
        assert_eq!(sigv4::check(&authorization, &request, "personalize", secret, now), Ok(()));
        assert!(!format!("{signing:?}").contains("SECRET"));
    }

    #[test]
    fn keys_are_renewed_before_they_end_and_a_failed_look_keeps_the_old_ones() {
        let asked = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&asked);
        let fetch: Fetch = Box::new(move || match counted.fetch_add(1, Ordering::Relaxed) {
            0 => Err("no answer".to_owned()),
            _ => Ok(Keys { key: "NEW".to_owned(), ..keys(None) }),
        });
        let held = Arc::new(ArcSwap::from_pointee(keys(Some(SystemTime::now() + Duration::from_secs(60)))));
        let weak = Arc::downgrade(&held);
        let looking = std::thread::spawn(move || keep_fresh(&weak, &fetch, Duration::from_millis(1)));
        while held.load().key != "NEW" {
            std::thread::yield_now();
        }
        drop(held);
        looking.join().expect("it ends with the run");
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_campaign_names_its_region() {
        assert_eq!(region_of("arn:aws:personalize:eu-west-3:000000000000:campaign/evening"), Ok("eu-west-3"));
        for bad in [
            "evening",
            "arn:aws:s3:eu-west-3:0:campaign/e",
            "arn:aws:personalize::0:campaign/e",
            "arn:aws:personalize:a b:0:campaign/e",
            "arn:aws:personalize:r:0:solution/e",
        ] {
            assert!(region_of(bad).is_err(), "{bad}");
        }
    }
}
