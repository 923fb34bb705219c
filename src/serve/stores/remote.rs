//! Lists that lie elsewhere: each read once within a deadline, left alone while the store is down, remembered while they serve.
//!
//! No read is tried twice: the popular list is a better answer than a late one, and a store in trouble gets no more to do.
//! All reads run on one thread of their own, as a connection belongs to the runtime that opened it.

use std::collections::HashMap;
use std::future::Future;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

#[cfg(feature = "aws")]
use super::dynamo::{self, Fault, Reach};
use crate::serve::error::ServeError;
use crate::serve::store::Meta;

/// Reads under way at once; beyond them the store is behind, and more would only wait.
const MOST_FLYING: u64 = 1024;
/// So many failures one after another mean that the store is down.
const DOWN_AFTER: u64 = 20;
/// How long it is then left alone, until one request tries it.
const ALONE_MS: u64 = 1_000;

/// How a store elsewhere is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Afar {
    pub table: String,
    pub endpoint: Option<String>,
    /// The longest that a request waits for its list.
    pub deadline: Duration,
}

/// What came of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    List(Rc<[u8]>),
    Nobody,
    Failed(Why),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    Throttled,
    /// It failed, or did not answer in time.
    Failed,
    /// It was not asked: it is down, or too many ask already.
    LeftAlone,
}

/// When a store is asked, and when it is left alone. Every call says what time it is, in milliseconds.
#[derive(Debug, Default)]
pub struct Breaker {
    failures: AtomicU64,
    /// Until when it is left alone; 0 when it is not.
    until_ms: AtomicU64,
}

impl Breaker {
    /// Whether this request may ask; of those who come after the pause the first one tries.
    pub fn lets(&self, now_ms: u64) -> bool {
        let until = self.until_ms.load(Relaxed);
        if until == 0 {
            return true;
        }
        now_ms >= until && self.until_ms.compare_exchange(until, now_ms + ALONE_MS, Relaxed, Relaxed).is_ok()
    }

    pub fn went(&self, well: bool, now_ms: u64) {
        if well {
            self.failures.store(0, Relaxed);
            self.until_ms.store(0, Relaxed);
        } else if self.failures.fetch_add(1, Relaxed) + 1 >= DOWN_AFTER {
            self.until_ms.store(now_ms + ALONE_MS, Relaxed);
        }
    }

    pub fn is_open(&self) -> bool {
        self.until_ms.load(Relaxed) > 0
    }
}

/// Lists that were read, while their generation serves: the newest, and those before them until as many again came.
#[derive(Debug)]
pub struct Lately {
    generation: u64,
    most: usize,
    young: HashMap<Box<str>, Rc<[u8]>>,
    old: HashMap<Box<str>, Rc<[u8]>>,
}

impl Lately {
    pub fn new(most: usize) -> Self {
        Self { generation: 0, most: most / 2, young: HashMap::new(), old: HashMap::new() }
    }

    fn of(&mut self, generation: u64) -> &mut Self {
        if self.generation != generation {
            self.young.clear();
            self.old.clear();
            self.generation = generation;
        }
        self
    }

    pub fn get(&mut self, generation: u64, key: &str) -> Option<Rc<[u8]>> {
        let held = self.of(generation);
        if let Some(list) = held.young.get(key) {
            return Some(Rc::clone(list));
        }
        let (key, list) = held.old.remove_entry(key)?;
        held.young.insert(key, Rc::clone(&list));
        Some(list)
    }

    pub fn put(&mut self, generation: u64, key: &str, list: &Rc<[u8]>) {
        if self.most == 0 {
            return;
        }
        let held = self.of(generation);
        if held.young.len() >= held.most {
            held.old = std::mem::take(&mut held.young);
        }
        held.young.insert(key.into(), Rc::clone(list));
    }
}

/// A generation that lies elsewhere.
#[derive(Debug)]
pub struct Distant {
    #[cfg(feature = "aws")]
    remote: Arc<dynamo::Remote>,
    pub meta: Meta,
    pub generation: u64,
    /// Unix seconds after which its lists may vanish.
    pub expires_at: i64,
    deadline: Duration,
    breaker: Arc<Breaker>,
    flying: Arc<AtomicU64>,
}

/// The runtime of everything that is read elsewhere.
fn line() -> &'static Runtime {
    static LINE: OnceLock<Runtime> = OnceLock::new();
    LINE.get_or_init(|| {
        let made =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("store").enable_all().build();
        made.expect("a process that cannot start one thread cannot serve")
    })
}

/// Ends what it waits for when nobody waits any more.
struct Flight<T>(tokio::task::JoinHandle<T>, Arc<AtomicU64>);

impl<T> Drop for Flight<T> {
    fn drop(&mut self) {
        self.0.abort();
        self.1.fetch_sub(1, Relaxed);
    }
}

fn now_ms() -> u64 {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    // Never zero, which stands for "not".
    BEGAN.get_or_init(Instant::now).elapsed().as_millis() as u64 + 1
}

impl Distant {
    /// Opens the generation that serves now.
    #[cfg(feature = "aws")]
    pub fn open(afar: &Afar) -> Result<Self, ServeError> {
        let patience = Duration::from_secs(10).max(afar.deadline);
        let reach = Reach { table: &afar.table, endpoint: afar.endpoint.as_deref(), patience };
        let mut remote = line().block_on(dynamo::Remote::open(&reach))?;
        let meta = std::mem::take(&mut remote.meta);
        let (generation, expires_at) = (remote.kept.generation, remote.kept.expires_at);
        let (breaker, flying) = <(Arc<Breaker>, Arc<AtomicU64>)>::default();
        Ok(Self { remote: Arc::new(remote), meta, generation, expires_at, deadline: afar.deadline, breaker, flying })
    }

    #[cfg(not(feature = "aws"))]
    pub fn open(afar: &Afar) -> Result<Self, ServeError> {
        let what = "this build knows no DynamoDB; build with the feature `aws`".to_owned();
        Err(ServeError::Table { at: format!("table {}", afar.table), what })
    }

    /// Reads the packed list under a key.
    #[cfg(feature = "aws")]
    pub async fn fetch(&self, key: &str) -> Fetched {
        let (remote, key) = (Arc::clone(&self.remote), key.to_owned());
        self.within(async move {
            match remote.find(&key).await {
                Ok(found) => Ok(found),
                Err(Fault::Throttled(_)) => Err(Why::Throttled),
                Err(fault) => {
                    tracing::warn!(%fault, "the store failed; the popular list is answered");
                    Err(Why::Failed)
                }
            }
        })
        .await
    }

    #[cfg(not(feature = "aws"))]
    pub async fn fetch(&self, _key: &str) -> Fetched {
        self.within(async { Err(Why::Failed) }).await
    }

    async fn within(&self, read: impl Future<Output = Result<Option<Vec<u8>>, Why>> + Send + 'static) -> Fetched {
        if self.flying.load(Relaxed) >= MOST_FLYING || !self.breaker.lets(now_ms()) {
            return Fetched::Failed(Why::LeftAlone);
        }
        self.flying.fetch_add(1, Relaxed);
        let mut flight = Flight(line().spawn(read), Arc::clone(&self.flying));
        let told = match tokio::time::timeout(self.deadline, &mut flight.0).await {
            Ok(Ok(told)) => told,
            Ok(Err(_)) | Err(_) => Err(Why::Failed),
        };
        // A throttled store is up.
        self.breaker.went(!matches!(told, Err(Why::Failed)), now_ms());
        match told {
            Ok(Some(list)) => Fetched::List(list.into()),
            Ok(None) => Fetched::Nobody,
            Err(why) => Fetched::Failed(why),
        }
    }

    pub fn is_left_alone(&self) -> bool {
        self.breaker.is_open()
    }
}

/// Watches which generation the pointer names.
#[derive(Debug, Default)]
pub struct Watcher {
    #[cfg(feature = "aws")]
    table: Option<dynamo::Table>,
}

impl Watcher {
    #[cfg(feature = "aws")]
    pub fn current(&mut self, afar: &Afar) -> Result<u64, String> {
        let reach = Reach { table: &afar.table, endpoint: afar.endpoint.as_deref(), patience: Duration::from_secs(5) };
        line().block_on(dynamo::current(&reach, &mut self.table))
    }

    #[cfg(not(feature = "aws"))]
    pub fn current(&mut self, _afar: &Afar) -> Result<u64, String> {
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_is_down_is_left_alone_and_tried_by_one() {
        let breaker = Breaker::default();
        for _ in 0..DOWN_AFTER {
            assert!(breaker.lets(10));
            breaker.went(false, 10);
        }
        assert!(!breaker.lets(10) && !breaker.lets(10 + ALONE_MS - 1) && breaker.is_open());
        let tries = (0..50).filter(|_| breaker.lets(10 + ALONE_MS)).count();
        assert_eq!(tries, 1, "one request tries it");
        breaker.went(false, 2000);
        assert!(!breaker.lets(2001) && breaker.lets(2000 + ALONE_MS));
        breaker.went(true, 3100);
        assert!((0..50).all(|_| breaker.lets(3100)) && !breaker.is_open());
    }

    #[test]
    fn lists_are_remembered_for_their_generation_only_and_in_bounds() {
        let mut lately = Lately::new(100);
        let list: Rc<[u8]> = Rc::from(&[1_u8, 2][..]);
        for i in 0..1000 {
            lately.put(1, &format!("u{i}"), &list);
            assert!(lately.get(1, "u0").is_some(), "who is asked for stays");
        }
        assert!(lately.young.len() + lately.old.len() <= 102);
        assert!(lately.get(1, "u999").is_some() && lately.get(1, "u500").is_none());
        assert!(lately.get(2, "u999").is_none(), "another generation has other lists");
        let mut none = Lately::new(0);
        none.put(1, "u", &list);
        assert!(none.get(1, "u").is_none());
    }
}
