//! Writes lists to a table within a budget: batches that fill it and never exceed it, what was not taken again later, how far it came.
//!
//! Every write is paid for before it is sent, so the rate is kept whatever the table answers. What the table does not take
//! comes again after a random, growing pause and is paid for again; only so many batches are under way at once, so a table
//! that takes nothing is asked less and less.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet};

use super::dynamo::{Fault, Table};
use super::table::{Progress, Put, Sample, list_key};
use crate::serve::error::ServeError;
use crate::serve::limiter::Limiter;
use crate::serve::store::pack;

/// The most items that one BatchWriteItem takes.
const AT_ONCE: usize = 25;
/// Batches under way at once.
const FLYING: usize = 64;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A table that took nothing for so long is given up; the publish can be gone on with.
const PATIENCE: Duration = Duration::from_secs(120);
/// So much of the budget is made up for when a timer was late; what is missed beyond it stays unused.
const CATCH_UP_S: f64 = 0.02;
/// Tries of a call that stands alone.
const TRIES: u32 = 6;

/// What a writer did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    pub lists: u64,
    pub entries: u64,
    pub bytes: u64,
    /// Items of more than one unit.
    pub over_one_unit: u64,
    /// Lists that an earlier publish had written already.
    pub resumed: u64,
    pub units: f64,
    /// Items that the table did not take at first.
    pub again: u64,
    pub seconds: f64,
}

/// What all that is under way share.
struct Shared {
    table: Table,
    owner: String,
    lease: Duration,
    expires: i64,
    budget: Option<Mutex<Limiter>>,
    began: Instant,
    units: Mutex<f64>,
    again: AtomicU64,
    /// Milliseconds since the beginning at which the table last took something.
    took_ms: AtomicU64,
    done: Mutex<Done>,
    progress: Mutex<Progress>,
    failed: Mutex<Option<Fault>>,
    ended: AtomicBool,
}

/// Batches that are in the table, and how many lists are so without a gap.
#[derive(Debug, Default)]
struct Done {
    next: u64,
    lists: u64,
    waiting: BTreeMap<u64, u64>,
}

impl Done {
    fn mark(&mut self, batch: u64, lists: u64) {
        self.waiting.insert(batch, lists);
        while let Some(lists) = self.waiting.remove(&self.next) {
            self.lists += lists;
            self.next += 1;
        }
    }
}

/// What a writer needs to know.
pub struct Orders {
    pub table: Table,
    pub owner: String,
    pub lease: Duration,
    /// Write units a second, at most; without it as fast as the table takes them.
    pub budget: Option<f64>,
    /// Unix seconds after which the table may drop the lists.
    pub expires: i64,
    pub progress: Progress,
}

pub struct Writer<'r> {
    runtime: &'r Runtime,
    shared: Arc<Shared>,
    hand: Option<mpsc::Sender<Vec<Put>>>,
    work: Option<JoinHandle<()>>,
    batch: Vec<Put>,
    at_once: usize,
    place: u64,
    from: u64,
    generation: u64,
    pub sample: Sample,
    told: Told,
}

impl<'r> Writer<'r> {
    pub fn start(runtime: &'r Runtime, orders: Orders) -> Self {
        // A batch larger than a second's budget would come as one heap.
        let at_once = orders.budget.map_or(AT_ONCE, |b| (b as usize).clamp(1, AT_ONCE));
        let budget = orders.budget.map(|units| {
            let mut budget = Limiter::with_burst(units, CATCH_UP_S, 0.0);
            budget.drain();
            Mutex::new(budget)
        });
        let (from, generation) = (orders.progress.done, orders.progress.generation);
        let shared = Arc::new(Shared {
            table: orders.table,
            owner: orders.owner,
            lease: orders.lease,
            expires: orders.expires,
            budget,
            began: Instant::now(),
            units: Mutex::new(0.0),
            again: AtomicU64::new(0),
            took_ms: AtomicU64::new(0),
            done: Mutex::new(Done { lists: from, ..Done::default() }),
            progress: Mutex::new(orders.progress),
            failed: Mutex::new(None),
            ended: AtomicBool::new(false),
        });
        let (hand, batches) = mpsc::channel(FLYING * 2);
        runtime.spawn(Arc::clone(&shared).keep_hold());
        let work = runtime.spawn(Arc::clone(&shared).run(batches));
        Self {
            runtime,
            shared,
            hand: Some(hand),
            work: Some(work),
            batch: Vec::with_capacity(at_once),
            at_once,
            place: 0,
            from,
            generation,
            sample: Sample::default(),
            told: Told { resumed: from, ..Told::default() },
        }
    }

    /// Takes one list; `is_viewer` tells a viewer's from a programme's.
    pub fn list(&mut self, key: &str, list: &[(u32, f32)], is_viewer: bool) -> Result<(), ServeError> {
        if list.iter().any(|(_, score)| !score.is_finite()) {
            return Err(self.failed(format!("viewer {key:.64}: a score is not a number")));
        }
        let put = Put { key: list_key(self.generation, key), value: pack(list) };
        let bytes = put.bytes(&self.shared.table.key);
        if bytes > 400 * 1024 || put.key.len() > 2048 {
            return Err(self.failed(format!("viewer {key:.64}: the id or the list is too long for a table")));
        }
        if is_viewer {
            self.told.lists += 1;
            self.told.entries += list.len() as u64;
        }
        self.told.bytes += bytes as u64;
        self.told.over_one_unit += u64::from(bytes > 1024);
        self.sample.see(&put);
        self.place += 1;
        if self.place > self.from {
            self.batch.push(put);
            if self.batch.len() == self.at_once {
                self.hand_over()?;
            }
        }
        Ok(())
    }

    fn hand_over(&mut self) -> Result<(), ServeError> {
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(self.at_once));
        let sent = self.hand.as_ref().is_some_and(|hand| hand.blocking_send(batch).is_ok());
        if sent { Ok(()) } else { Err(self.why()) }
    }

    fn failed(&self, what: String) -> ServeError {
        ServeError::TableFailed { at: format!("table {}", self.shared.table.name), what }
    }

    fn why(&self) -> ServeError {
        let fault = self.shared.failed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.failed(fault.map_or("the writing broke off".to_owned(), |f| f.to_string()))
    }

    /// Waits until everything is in the table; an error leaves how far it came, to go on from there.
    pub fn drain(&mut self) -> Result<(), ServeError> {
        let handed = if self.batch.is_empty() { Ok(()) } else { self.hand_over() };
        self.hand = None;
        if let Some(work) = self.work.take() {
            let _ = self.runtime.block_on(work);
        }
        // The budget is for what is written up to here: what follows is read back.
        self.told.units = *self.shared.units.lock().unwrap_or_else(PoisonError::into_inner);
        self.told.seconds = self.shared.began.elapsed().as_secs_f64();
        handed?;
        let failed = self.shared.failed.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if failed {
            return Err(self.why());
        }
        let done = self.shared.done.lock().unwrap_or_else(PoisonError::into_inner).lists;
        if done == self.place { Ok(()) } else { Err(self.failed(format!("{done} of {} lists were taken", self.place))) }
    }

    /// Writes items beside the lists, within the same budget.
    pub fn others(&self, puts: Vec<Put>) -> Result<(), ServeError> {
        for put in puts {
            let sent = self.runtime.block_on(async {
                self.shared.pay(put.units(&self.shared.table.key)).await;
                self.shared.send(vec![put]).await
            });
            sent.map_err(|fault| self.failed(fault.to_string()))?;
        }
        Ok(())
    }

    /// Ends the keeping of the right to publish, and says how far it came; returns what was done.
    pub fn end(mut self, finished: bool) -> Told {
        let shared = &self.shared;
        shared.ended.store(true, Relaxed);
        shared.progress.lock().unwrap_or_else(PoisonError::into_inner).finished = finished;
        let progress = shared.told();
        // The lease ends at once: who publishes next need not wait.
        let _ = self.runtime.block_on(shared.table.hold(&shared.owner, &progress, now_ms(), 0));
        self.told.again = shared.again.load(Relaxed);
        self.told
    }

    /// How many lists lie in the table by now, those of programmes and of an earlier try included.
    pub fn placed(&self) -> u64 {
        self.place
    }

    pub fn told(&self) -> &Told {
        &self.told
    }
}

impl Shared {
    async fn run(self: Arc<Self>, mut batches: mpsc::Receiver<Vec<Put>>) {
        let gate = Arc::new(Semaphore::new(FLYING));
        let mut flying = JoinSet::new();
        let mut number = 0;
        while let Some(batch) = batches.recv().await {
            let Ok(permit) = Arc::clone(&gate).acquire_owned().await else { break };
            if self.has_failed() {
                break;
            }
            let units = batch.iter().map(|p| p.units(&self.table.key)).sum();
            self.pay(units).await;
            let shared = Arc::clone(&self);
            flying.spawn(async move {
                let lists = batch.len() as u64;
                match shared.send(batch).await {
                    Ok(()) => shared.done.lock().unwrap_or_else(PoisonError::into_inner).mark(number, lists),
                    Err(fault) => shared.fail(fault),
                }
                drop(permit);
            });
            number += 1;
            while flying.try_join_next().is_some() {}
        }
        drop(batches);
        while flying.join_next().await.is_some() {}
    }

    /// Waits until the budget has so many units.
    async fn pay(&self, units: f64) {
        let Some(budget) = &self.budget else { return };
        let wait = {
            let mut budget = budget.lock().unwrap_or_else(PoisonError::into_inner);
            budget.reserve(units, self.began.elapsed().as_secs_f64())
        };
        if wait > 0.0 {
            tokio::time::sleep(Duration::from_secs_f64(wait)).await;
        }
    }

    /// Sends a batch that was paid for, until all of it is taken.
    async fn send(&self, mut batch: Vec<Put>) -> Result<(), Fault> {
        let mut pause = FIRST_PAUSE;
        loop {
            let paid: f64 = batch.iter().map(|p| p.units(&self.table.key)).sum();
            let why = match self.table.write(&batch, self.expires).await {
                Ok((left, used)) => {
                    let back: f64 = left.iter().map(|p| p.units(&self.table.key)).sum();
                    // A server that does not say counts as ours do; one that counts more, an index perhaps, is paid.
                    let used = if used > 0.0 { used } else { paid - back };
                    self.settle(paid - used);
                    *self.units.lock().unwrap_or_else(PoisonError::into_inner) += used;
                    if left.len() < batch.len() {
                        self.took_ms.store(self.began.elapsed().as_millis() as u64, Relaxed);
                    }
                    if left.is_empty() {
                        return Ok(());
                    }
                    batch = left;
                    Fault::Throttled("the table takes nothing".to_owned())
                }
                Err(fault) if fault.passes() => {
                    self.settle(paid);
                    fault
                }
                Err(fault) => return Err(fault),
            };
            self.again.fetch_add(batch.len() as u64, Relaxed);
            let quiet = self.began.elapsed().saturating_sub(Duration::from_millis(self.took_ms.load(Relaxed)));
            if quiet > PATIENCE || self.has_failed() {
                return Err(why);
            }
            tokio::time::sleep(jittered(pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            self.pay(batch.iter().map(|p| p.units(&self.table.key)).sum()).await;
        }
    }

    fn settle(&self, unused: f64) {
        if let Some(budget) = &self.budget {
            budget.lock().unwrap_or_else(PoisonError::into_inner).give_back(unused);
        }
    }

    fn fail(&self, fault: Fault) {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(fault);
    }

    fn has_failed(&self) -> bool {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn told(&self) -> Progress {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner).lists;
        Progress { done, ..self.progress.lock().unwrap_or_else(PoisonError::into_inner).clone() }
    }

    /// Keeps the right to publish, and writes down how far it came.
    async fn keep_hold(self: Arc<Self>) {
        let mut held = Instant::now();
        while !self.ended.load(Relaxed) {
            tokio::time::sleep(self.lease / 5).await;
            if self.ended.load(Relaxed) {
                return;
            }
            self.pay(1.0).await;
            let now = now_ms();
            match self.table.hold(&self.owner, &self.told(), now, now + self.lease.as_millis() as i64).await {
                Ok(()) => {
                    held = Instant::now();
                    *self.units.lock().unwrap_or_else(PoisonError::into_inner) += 1.0;
                }
                // Somebody else may have it by now: nothing more is written.
                Err(_) if held.elapsed() > self.lease => return self.fail(Fault::Taken),
                Err(fault) if fault.passes() => {}
                Err(fault) => return self.fail(fault),
            }
        }
    }
}

/// Asks again what only failed for now, a few times.
pub async fn patiently<T, F: Future<Output = Result<T, Fault>>>(mut call: impl FnMut() -> F) -> Result<T, Fault> {
    let mut pause = FIRST_PAUSE;
    for _ in 1..TRIES {
        match call().await {
            Err(fault) if fault.passes() => {}
            told => return told,
        }
        tokio::time::sleep(jittered(pause)).await;
        pause = (pause * 3).min(LONGEST_PAUSE);
    }
    call().await
}

/// Anything up to the pause, so that those who were refused together do not come together again.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(0.1..1.0))
}

pub fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lists_without_a_gap_count_as_done() {
        let mut done = Done::default();
        for (batch, lists, expected) in [(1, 25, 0), (2, 25, 0), (0, 25, 75), (4, 5, 75), (3, 25, 105)] {
            done.mark(batch, lists);
            assert_eq!(done.lists, expected, "{batch}");
        }
    }
}
