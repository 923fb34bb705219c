//! What callers send: items to rank, viewings to fold in, viewers to forget.

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{self, Asking};
use super::api::{Worker, json, now_s};
use super::problem::{Problem, Reply};
use super::recent::Viewing;
use super::stores::remote::Fetched;
use super::wish::{MOST_ITEMS, check_id};
use super::world::World;

/// `{"items": ["p1", ..]}`.
#[derive(Deserialize)]
struct Ranking {
    #[serde(alias = "itemIds", alias = "item_ids", alias = "inputList")]
    items: Vec<String>,
}

/// One viewing, several as an array, or several of one viewer below `events`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Sent {
    Several(Vec<Event>),
    OfOne {
        #[serde(alias = "userId", alias = "user_id")]
        user: Option<String>,
        #[serde(alias = "eventList")]
        events: Vec<Event>,
    },
    One(Event),
}

#[derive(Deserialize)]
struct Event {
    #[serde(alias = "userId", alias = "user_id")]
    user: Option<String>,
    #[serde(alias = "itemId", alias = "item_id")]
    item: String,
    /// Completion, 0 to 1; a viewing without one counts whole.
    #[serde(alias = "eventValue", alias = "event_value", alias = "completion")]
    value: Option<f32>,
}

/// Orders the items that were sent for a viewer.
pub fn rank(
    worker: &Worker,
    world: &World,
    viewer: &str,
    body: &[u8],
    fetched: Option<&Fetched>,
) -> Result<Reply, Problem> {
    let asked: Ranking = read(body, r#"{"items": ["ITEM_ID", ..]}"#)?;
    if asked.items.is_empty() || asked.items.len() > MOST_ITEMS {
        return Err(bad(format!("items must be 1 to {MOST_ITEMS}, not {}", asked.items.len())));
    }
    let ranked = worker.rank(world, viewer, &asked.items, fetched);
    let mut out = b"{\"user\":".to_vec();
    answer::write_text(viewer, &mut out);
    out.extend_from_slice(b",\"items\":[");
    answer::write_ranked(&ranked.items, &mut out);
    let marks = format!(
        "],\"source\":\"{}\",\"model\":{},\"degraded\":{}}}",
        ranked.source.word(),
        world.model,
        ranked.degraded
    );
    out.extend_from_slice(marks.as_bytes());
    Ok(json(out))
}

/// Takes viewings in; the viewer's next answer knows them.
pub fn events(worker: &Worker, body: &[u8]) -> Result<Reply, Problem> {
    let now = now_s();
    let viewings = read_events(body, now)?;
    let world = worker.api.world.load();
    let total = viewings.len();
    let known: Vec<Viewing> = viewings.into_iter().filter(|v| world.catalogue.index(&v.item).is_some()).collect();
    let unknown = total - known.len();
    let recent = &worker.api.recent;
    let withheld = |v: &Viewing| {
        Asking { world: &world, meter: &worker.api.meter, recent, viewer: &v.user, fetched: None }.is_withheld()
    };
    let (left_out, taken): (Vec<_>, Vec<_>) = known.into_iter().partition(withheld);
    worker.api.meter.folded_in(taken.len(), left_out.len());
    recent.see(&taken, now).map_err(|e| not_kept(&e))?;
    let told = json!({"accepted": taken.len(), "without_consent": left_out.len(), "unknown_items": unknown});
    Ok(accepted(&told))
}

/// Reads viewings in any of their forms.
pub fn read_events(body: &[u8], now: i64) -> Result<Vec<Viewing>, Problem> {
    viewings(read(body, r#"{"user": "USER_ID", "item": "ITEM_ID", "value": 0.9}"#)?, now)
}

/// Forgets a viewer, here and everywhere, at once.
pub fn forget(worker: &Worker, viewer: &str) -> Result<Reply, Problem> {
    worker.api.recent.forget(viewer, now_s()).map_err(|e| not_kept(&e))?;
    worker.api.meter.forgot();
    Ok(accepted(&json!({"user": viewer, "forgotten": true})))
}

fn viewings(sent: Sent, now: i64) -> Result<Vec<Viewing>, Problem> {
    let (user, events) = match sent {
        Sent::Several(events) => (None, events),
        Sent::OfOne { user, events } => (user, events),
        Sent::One(event) => (None, vec![event]),
    };
    if events.is_empty() || events.len() > MOST_ITEMS {
        return Err(bad(format!("events must be 1 to {MOST_ITEMS}, not {}", events.len())));
    }
    let viewing = |event: Event| {
        let user = event.user.or_else(|| user.clone()).ok_or_else(|| bad("an event names no user".to_owned()))?;
        for id in [&user, &event.item] {
            check_id(id).map_err(bad)?;
        }
        let value = event.value.unwrap_or(1.0);
        if !(0.0..=1.0).contains(&value) {
            return Err(bad(format!("value is a completion from 0 to 1, not {value}")));
        }
        Ok(Viewing { user, item: event.item, value, at: now })
    };
    events.into_iter().map(viewing).collect()
}

fn read<'b, T: Deserialize<'b>>(body: &'b [u8], shape: &str) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|e| bad(format!("the body is not {shape}: {e}")))
}

fn bad(detail: String) -> Problem {
    Problem::bad_request("bad-body", detail)
}

fn not_kept(error: &std::io::Error) -> Problem {
    tracing::warn!(%error, "what came in could not be kept");
    let detail = "it holds on this replica, but could not be kept for the others; send it again";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-kept", detail)
}

fn accepted(told: &Value) -> Reply {
    let mut reply = json(told.to_string().into_bytes());
    *reply.status_mut() = StatusCode::ACCEPTED;
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<Vec<(String, String, f32)>, String> {
        let sent = read(body.as_bytes(), "..").map_err(|p| p.detail)?;
        let viewings = viewings(sent, 7).map_err(|p| p.detail)?;
        Ok(viewings.into_iter().map(|v| (v.user, v.item, v.value)).collect())
    }

    #[test]
    fn events_in_each_form() {
        let one = vec![("u".to_owned(), "p".to_owned(), 0.5)];
        for body in [
            r#"{"user":"u","item":"p","value":0.5}"#,
            r#"[{"user":"u","item":"p","value":0.5}]"#,
            r#"{"user":"u","events":[{"item":"p","value":0.5}]}"#,
            r#"{"trackingId":"t","userId":"u","sessionId":"s","eventList":[{"eventType":"watch","itemId":"p","eventValue":0.5}]}"#,
        ] {
            assert_eq!(parse(body), Ok(one.clone()), "{body}");
        }
        assert_eq!(parse(r#"{"user":"u","item":"p"}"#).expect("good")[0].2, 1.0);
    }

    #[test]
    fn events_that_are_refused() {
        let long = format!(r#"{{"user":"{}","item":"p"}}"#, "u".repeat(257));
        for (body, says) in [
            ("", "the body is not"),
            ("[]", "events must be 1 to 500, not 0"),
            (r#"{"item":"p"}"#, "names no user"),
            (r#"{"user":"u"}"#, "the body is not"),
            (r#"{"user":"u","item":"p","value":1.5}"#, "from 0 to 1, not 1.5"),
            (r#"{"user":"u","item":"p","value":-0.1}"#, "from 0 to 1"),
            (r#"{"user":"u","item":""}"#, "1 to 256 characters"),
            (r#"{"user":"u\u0001","item":"p"}"#, "no control characters"),
            (&long, "1 to 256 characters"),
        ] {
            let said = parse(body).expect_err("refused");
            assert!(said.contains(says), "{body:.60}: {said}");
        }
    }
}
