//! Trouble to practise on, suffered by a real API process: what a file asks for is done to the answers until the file is gone.
//!
//! The file says what happens, never what it is called: a check that wants to name the cause has only the numbers.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use hyper::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

use super::api::Api;
use super::auth::Gate;
use super::error::ServeError;
use super::limiter::Limiter;
use super::meter::Route;
use super::problem::Problem;
use super::refresh::{Lists, Sources};
use super::secret;
use crate::durable;
use crate::stop::Stop;

/// How often the file is looked at.
const EACH: Duration = Duration::from_millis(25);
/// What a table that was just cut has left of its burst, in seconds of the new capacity.
const BURST_S: f64 = 5.0;

/// What a process suffers; the default is nothing. Shares are spread evenly over the answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Trouble {
    /// Share of the viewers' requests that are answered with 500.
    pub errors: f64,
    /// Milliseconds that each answer to a viewer takes longer.
    pub delay_ms: f64,
    /// Share of the answers that hold no programme.
    pub empty: f64,
    /// Share of the store's reads that it throttles.
    pub store_throttled: f64,
    /// Milliseconds that each read of the store takes longer.
    pub store_delay_ms: f64,
    /// Read units a second, instead of those that are provisioned.
    pub store_units: Option<f64>,
    /// Requests a second that viewers may send.
    pub quota: Option<f64>,
    /// Seconds that the process's clock is ahead; behind when below zero.
    pub clock_s: i64,
    /// Whether tokens are checked with a key that nobody signs with.
    pub foreign_key: bool,
    /// Whether `/metrics` fails.
    pub mute: bool,
    /// Whether the process is gone: its supervisor kills it and lets it lie.
    pub dead: bool,
    /// Another catalogue.
    pub items: Option<PathBuf>,
    /// Another store of lists.
    pub store: Option<PathBuf>,
}

impl Trouble {
    /// Reads a trouble file; none is no trouble.
    pub fn read(path: &Path) -> Result<Self, ServeError> {
        match std::fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| ServeError::input(path, e.to_string())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(ServeError::io(path)(e)),
        }
    }

    /// Writes a trouble file, or takes it away where there is no trouble.
    pub fn write(&self, path: &Path) -> Result<(), ServeError> {
        if *self == Self::default() {
            return match std::fs::remove_file(path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(ServeError::io(path)(e)),
                _ => Ok(()),
            };
        }
        let text = serde_json::to_vec_pretty(self).map_err(|e| ServeError::input(path, e.to_string()))?;
        durable::write(path, &text).map_err(ServeError::io(path))
    }
}

/// A trouble at work: what it needs to remember from answer to answer.
pub struct Suffered {
    trouble: Trouble,
    quota: Option<Mutex<Limiter>>,
    began: Instant,
    errors: AtomicU64,
    empty: AtomicU64,
    throttled: AtomicU64,
}

impl Suffered {
    /// `None` where nothing is suffered.
    pub fn of(trouble: &Trouble) -> Option<Self> {
        (*trouble != Trouble::default()).then(|| Self {
            trouble: trouble.clone(),
            quota: trouble.quota.map(|tps| Mutex::new(Limiter::with_burst(tps, 0.1, 0.0))),
            began: Instant::now(),
            errors: AtomicU64::new(0),
            empty: AtomicU64::new(0),
            throttled: AtomicU64::new(0),
        })
    }

    /// Waits as long as the trouble makes wait, then refuses or lets through.
    pub async fn befall(&self, route: Route) -> Result<(), Problem> {
        match route {
            Route::Health | Route::Practice | Route::Openapi | Route::None => return Ok(()),
            Route::Metrics if self.trouble.mute => {
                let detail = "the numbers cannot be told";
                return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "metrics-failed", detail));
            }
            Route::Metrics => return Ok(()),
            _ => {}
        }
        let quota = self.quota.as_ref().map(|q| q.lock().unwrap_or_else(PoisonError::into_inner));
        if quota.is_some_and(|mut q| !q.take(1.0, self.began.elapsed().as_secs_f64())) {
            let detail = "more requests a second than the quota holds";
            return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "throttled", detail));
        }
        let wait = Duration::from_secs_f64((self.trouble.delay_ms.max(0.0)) / 1000.0) + self.store_delay();
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        if turn(&self.errors, self.trouble.errors) {
            return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", "the answer could not be made"));
        }
        Ok(())
    }

    pub fn throttles(&self) -> bool {
        turn(&self.throttled, self.trouble.store_throttled)
    }

    pub fn empties(&self) -> bool {
        turn(&self.empty, self.trouble.empty)
    }

    fn store_delay(&self) -> Duration {
        Duration::from_secs_f64(self.trouble.store_delay_ms.max(0.0) / 1000.0)
    }

    pub fn quota(&self) -> Option<f64> {
        self.trouble.quota
    }
}

/// Does what the file asks for, as often as it changes, until `stop`; without it the process is what it was.
pub fn suffer(path: PathBuf, given: Sources, api: Arc<Api>, stop: Stop) -> std::io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name("trouble".to_owned()).spawn(move || {
        let (gate, mut now) = (api.gate.load_full(), Trouble::default());
        while !stop.requested() {
            // A file that cannot be read changes nothing: it may be half written.
            if let Ok(next) = Trouble::read(&path)
                && next != now
            {
                begin(&next, &now, &given, &gate, &api);
                now = next;
            }
            thread::sleep(EACH);
        }
    })
}

fn begin(next: &Trouble, before: &Trouble, given: &Sources, gate: &Arc<Gate>, api: &Api) {
    if next.foreign_key != before.foreign_key {
        api.gate.store(if next.foreign_key { Arc::new(foreign()) } else { Arc::clone(gate) });
    }
    if let Some(practice) = api.practice.as_ref().filter(|_| next.store_units != before.store_units) {
        match next.store_units {
            Some(units) => {
                practice.set(units, Some(BURST_S), false, api.began.elapsed().as_secs_f64());
            }
            None => practice.end(),
        }
    }
    if (&next.items, &next.store) != (&before.items, &before.store) {
        let mut sources = given.clone();
        sources.items = next.items.clone().unwrap_or(sources.items);
        sources.store = next.store.clone().map(Lists::Here).or(sources.store);
        if let Ok(world) = sources.open() {
            api.world.store(Arc::new(world));
        }
    }
    api.clock_s.store(next.clock_s, Relaxed);
    api.meter.store_waits_us.store((next.store_delay_ms.max(0.0) * 1000.0) as u64, Relaxed);
    api.trouble.store(Suffered::of(next).map(Arc::new));
}

/// A gate whose key nobody signs with.
fn foreign() -> Gate {
    secret::random().map_or_else(|_| Gate::keys(Vec::new()), |secret| Gate::secret(secret.as_bytes()))
}

/// Whether a request says that it repeats an earlier one: AWS' clients and Envoy count their attempts.
pub fn repeats(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let aws = text("amz-sdk-request").and_then(|v| v.split(';').find_map(|p| p.trim().strip_prefix("attempt=")));
    aws.or_else(|| text("x-envoy-attempt-count")).and_then(|a| a.parse().ok()).is_some_and(|attempt: u32| attempt > 1)
}

/// Whether it is this one's turn, so that a share of all is hit, evenly.
fn turn(count: &AtomicU64, share: f64) -> bool {
    if share <= 0.0 {
        return false;
    }
    let n = count.fetch_add(1, Relaxed) as f64;
    ((n + 1.0) * share).floor() > (n * share).floor()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_hit_evenly() {
        for (share, hits) in [(0.0, 0), (0.01, 1), (0.5, 50), (0.6, 60), (1.0, 100), (2.0, 100)] {
            let count = AtomicU64::new(0);
            let got: Vec<_> = (0..100).map(|_| turn(&count, share)).collect();
            assert_eq!(got.iter().filter(|h| **h).count(), hits, "{share}");
            assert!(share < 0.5 || got.windows(2).all(|w| w[0] || w[1]), "{share}");
        }
    }

    #[test]
    fn a_file_is_written_read_back_and_taken_away() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("t.json");
        let trouble = Trouble { errors: 0.5, quota: Some(2.0), ..Trouble::default() };
        trouble.write(&path).expect("written");
        assert_eq!(Trouble::read(&path).expect("read"), trouble);
        Trouble::default().write(&path).expect("taken away");
        assert!(!path.exists() && Suffered::of(&Trouble::read(&path).expect("none")).is_none());
        std::fs::write(&path, "{\"erors\": 1}").expect("written");
        assert!(Trouble::read(&path).is_err_and(|e| e.to_string().contains("erors")));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn viewers_suffer_and_health_does_not() {
        let trouble = Trouble { errors: 1.0, mute: true, quota: Some(0.001), ..Trouble::default() };
        let suffered = Suffered::of(&trouble).expect("trouble");
        let mut status = Vec::new();
        for route in [Route::Recommendations, Route::Popular, Route::Metrics, Route::Health] {
            status.push(suffered.befall(route).await.err().map_or(200, |p| p.status.as_u16()));
        }
        assert_eq!(status, [500, 429, 500, 200]);
    }
}
