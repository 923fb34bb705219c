//! A few real questions to the API: known viewers, with and without a filter, and what came back.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::error::WatchError;
use super::http::Asker;

/// Makes a fresh token for a viewer.
pub type MakeToken = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// What to ask, wholly stated.
#[derive(Clone)]
pub struct Probe {
    pub asker: Asker,
    /// Where each way in answers, and its name: the front door first, then single instances.
    pub doors: Vec<(String, String)>,
    pub token: Option<MakeToken>,
    /// Viewers who are known to have a list; empty when nobody named any.
    pub viewers: Vec<String>,
}

/// One question's answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reply {
    pub door: String,
    pub viewer: String,
    /// The filter that was asked for, `column=value`.
    pub filter: Option<String>,
    /// `None` when nothing whole came back; `error` says why.
    pub status: Option<u16>,
    pub error: Option<String>,
    pub took: Duration,
    pub items: Vec<String>,
    /// Whether each item fits the filter; `None` where the items do not say.
    pub honoured: Option<bool>,
    pub degraded: bool,
    /// Whether the answer is marked as the popular list.
    pub popular: bool,
}

impl Reply {
    pub fn good(&self) -> bool {
        self.status.is_some_and(|s| (200..300).contains(&s))
    }
}

/// Everything that was asked, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Probed {
    pub replies: Vec<Reply>,
    /// Whether the viewers are known ones, so that an empty or popular list means something.
    pub known: bool,
    pub token: bool,
}

impl Probed {
    /// Returns how many different programmes how many viewers got at the front door; `None` where no list came back.
    pub fn programmes(&self) -> Option<(usize, usize)> {
        let front = &self.replies.first()?.door;
        let lists: Vec<_> =
            self.replies.iter().filter(|r| &r.door == front && r.filter.is_none() && r.good()).collect();
        let all: std::collections::BTreeSet<_> = lists.iter().flat_map(|r| &r.items).collect();
        (!lists.is_empty()).then_some((all.len(), lists.len()))
    }
}

impl Probe {
    /// Asks each door for three viewers, and the front door for the same with a filter taken from the first answer.
    pub async fn ask(&self) -> Probed {
        let known = !self.viewers.is_empty();
        let strangers: Vec<_> = (1..=3).map(|n| format!("serin-probe-{n}")).collect();
        let viewers = if known { &self.viewers } else { &strangers };
        let mut asked = tokio::task::JoinSet::new();
        for (place, (name, url)) in self.doors.iter().enumerate() {
            for (turn, viewer) in viewers.iter().take(3).enumerate() {
                let (probe, name, url, viewer) = (self.clone(), name.clone(), url.clone(), viewer.clone());
                asked.spawn(async move { ((place, turn), probe.one(&name, &url, &viewer, None).await) });
            }
        }
        let mut heard = asked.join_all().await;
        heard.sort_by_key(|(order, _)| *order);
        let filter = heard.iter().find_map(|(_, (_, body))| body.as_ref().and_then(some_filter));
        let mut replies: Vec<_> = heard.into_iter().map(|(_, (reply, _))| reply).collect();
        if let (Some((column, value)), Some((name, url))) = (filter, self.doors.first()) {
            for viewer in viewers.iter().take(3) {
                replies.push(self.one(name, url, viewer, Some((&column, &value))).await.0);
            }
        }
        Probed { replies, known, token: self.token.is_some() }
    }

    async fn one(&self, door: &str, url: &str, viewer: &str, filter: Option<(&str, &str)>) -> (Reply, Option<Value>) {
        let mut reply = Reply { door: door.to_owned(), viewer: viewer.to_owned(), ..Reply::default() };
        let mut address = format!("{}/v1/recommendations/{viewer}?limit=20", url.trim_end_matches('/'));
        if let Some((column, value)) = filter {
            reply.filter = Some(format!("{column}={value}"));
            address += &format!("&{column}={value}");
        }
        let token = self.token.as_ref().and_then(|make| make(viewer));
        let heard = match self.asker.get(&address, token.as_deref()).await {
            Ok(heard) => heard,
            Err(error) => {
                if let WatchError::Late { after, .. } = error {
                    reply.took = after;
                }
                reply.error = Some(error.to_string());
                return (reply, None);
            }
        };
        (reply.status, reply.took) = (Some(heard.status), heard.took);
        if !reply.good() {
            return (reply, None);
        }
        let Ok(body) = serde_json::from_str::<Value>(&heard.body) else {
            reply.error = Some("the answer is not JSON".to_owned());
            return (reply, None);
        };
        reply.items = items(&body).iter().filter_map(id).collect();
        reply.degraded = body.get("degraded").and_then(Value::as_bool).unwrap_or(false);
        let source = body.get("source").or_else(|| body.get("kind")).and_then(Value::as_str).unwrap_or_default();
        reply.popular = source == "popular" || body.get("popular").and_then(Value::as_bool).unwrap_or(false);
        if let Some((column, value)) = filter {
            let fits = |item: &Value| Some(item.get(column)?.as_str()?.split('|').any(|v| v == value));
            reply.honoured = items(&body).iter().map(fits).try_fold(true, |all, one| one.map(|one| all && one));
        }
        (reply, Some(body))
    }
}

fn items(body: &Value) -> &[Value] {
    let named = ["items", "recommendations", "itemList"].iter().find_map(|n| body.get(n)?.as_array());
    named.map_or(&[], Vec::as_slice)
}

fn id(item: &Value) -> Option<String> {
    let named = ["item_id", "itemId", "id", "item"].iter().find_map(|n| item.get(n)?.as_str());
    named.or(item.as_str()).map(str::to_owned)
}

/// A column of the first item that can be asked for, with the value it has there.
fn some_filter(body: &Value) -> Option<(String, String)> {
    let plain = |text: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        !text.is_empty() && text.chars().all(fits) && !text.starts_with('-')
    };
    let fields = items(body).first()?.as_object()?;
    let is_id = |n: &str| ["item_id", "itemId", "id", "item", "reason", "title"].contains(&n);

    fields.iter().filter(|(n, _)| !is_id(n)).find_map(|(n, v)| {
        let value = v.as_str()?.split('|').next()?;
        plain(value).then(|| (n.clone(), value.to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_taken_from_what_was_answered() {
        let body = serde_json::json!({"items": [{"item_id": "p1", "score": 0.5, "channel": "ch-nine|ch-two"}]});
        assert_eq!(some_filter(&body), Some(("channel".to_owned(), "ch-nine".to_owned())));
        assert_eq!(items(&body).iter().filter_map(id).collect::<Vec<_>>(), ["p1"]);
        assert_eq!(some_filter(&serde_json::json!({"items": ["p1"]})), None);
    }
}
