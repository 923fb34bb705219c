//! Lists of a model to a key-value table: resumed where a killed publish stopped, read back in part, then one pointer moves.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use super::error::ServeError;
use super::publish::{Order, Outcome, each_list};
use super::store::{Meta, Numbers, SIMILAR};
use super::stores::dynamo::{Fault, Reach, Table, place};
use super::stores::embedded::{self, Published};
use super::stores::table::{Kept, Pointer, Progress, Sample, fingerprint, meta_items};
use super::stores::writer::{Orders, Told, Writer, now_ms, patiently};
use crate::stats::progress::{Progress as Tick, Tell};
use crate::stop::Stop;

const PATIENCE: Duration = Duration::from_secs(10);
/// Read at once when the sample is read back.
const AT_ONCE: usize = 100;

/// How a table is written.
#[derive(Clone, Debug)]
pub struct Terms {
    pub table: String,
    pub endpoint: Option<String>,
    /// Write units a second, at most; without it what the table is provisioned with, and on demand as fast as it takes.
    pub budget: Option<f64>,
    /// How long the lists stay unless newer ones take their place.
    pub keep: Duration,
    /// Whether the whole table is read to count the lists, before the pointer moves.
    pub count: bool,
    /// Whether a missing table is made.
    pub create: bool,
    /// How long a publish that was killed bars the next one.
    pub lease: Duration,
    /// Where a file may lie while it is made for the object store.
    pub scratch: PathBuf,
}

impl Terms {
    fn reach(&self) -> Reach<'_> {
        Reach { table: &self.table, endpoint: self.endpoint.as_deref(), patience: PATIENCE }
    }

    fn failed(&self, fault: &Fault) -> ServeError {
        let what = fault.to_string();
        ServeError::TableFailed { at: place(&self.reach()), what }
    }
}

/// What a publish to a table did besides.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableTold {
    pub told: Told,
    pub budget: Option<f64>,
    /// Whether old generations will leave by themselves.
    pub expires: bool,
    pub sampled: usize,
    /// Lists that were found by reading the whole table, where that was wished, and the read units it took.
    pub counted: Option<(u64, f64)>,
}

fn runtime() -> Result<Runtime, ServeError> {
    let made = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    made.map_err(|e| ServeError::Setting(e.to_string()))
}

/// Publishes; until the pointer moves the generation before serves on, and what was written is gone on with next time.
pub fn publish_to_table(
    order: &Order<'_>,
    terms: &Terms,
    stop: &Stop,
    tell: Tell<'_>,
) -> Result<(Outcome, TableTold), ServeError> {
    let runtime = runtime()?;
    if terms.create {
        runtime.block_on(Table::create(&terms.reach(), None))?;
    }
    let table = runtime.block_on(Table::open(&terms.reach()))?;
    let failed = |fault: Fault| terms.failed(&fault);
    let expires = runtime.block_on(table.expire());
    let pointer = runtime.block_on(patiently(|| table.pointer())).map_err(failed)?.map(|(p, _)| p);
    let known = match &pointer {
        Some(p) => runtime.block_on(patiently(|| table.meta(p.generation))).map_err(failed)?.table,
        None => Vec::new(),
    };
    let pointer = pointer.unwrap_or_default();
    let mut known = Numbers::known(known);
    let numbers = order.numbers(&mut known);
    let print = fingerprint(order.model.id(), order.top, &numbers, &order.viewers());
    let owner = format!("{:016x}", rand::random::<u64>());
    let bid = Bid { runtime: &runtime, table: &table, terms, owner: &owner };
    let progress = hold(&bid, &pointer, &print, stop, tell)?;
    let budget = terms.budget.or(table.write_units);
    let generation = progress.generation;
    let now = jiff::Timestamp::now().as_second();
    let orders = Orders {
        table: table.clone(),
        owner: owner.clone(),
        lease: terms.lease,
        budget,
        expires: now + terms.keep.as_secs() as i64,
        progress,
    };
    let lapses = orders.expires;
    let scratch = scratch_for(order, terms)?;
    let mut file = scratch.as_ref().map(|place| embedded::Writer::begin(place)).transpose()?;
    let mut writer = Writer::start(&runtime, orders);
    let made = each_list(order, &numbers, stop, tell, |key, list| {
        if let Some(file) = &mut file {
            file.list(key, list).map_err(|e| ServeError::Setting(e.to_string()))?;
        }
        writer.list(key, list, !key.starts_with(SIMILAR))
    });
    let drained = writer.drain();
    let finished = made.and_then(|without_consent| {
        drained?;
        let told = writer.told().clone();
        let meta = Meta { lists: told.lists, entries: told.entries, table: known.into_table(), ..order.meta(&numbers) };
        let piece = budget.map_or(64.0, |b| (b / 4.0).clamp(1.0, 64.0)) * 1024.0 - 128.0;
        let items = meta_items(generation, &meta, piece as usize);
        writer.others(items.map_err(|e| ServeError::Setting(e.to_string()))?)?;
        if let (Some(mut file), Some(objects)) = (file, order.objects) {
            file.numbers = Numbers::known(meta.table.clone());
            let name = format!("gen-{generation:08}");
            file.finish_after(meta.clone(), |path, whole| objects.send(&name, path, &whole.meta).map(|_| ()))?;
        }
        let sampled = runtime.block_on(verify(&table, generation, &meta, &writer.sample)).map_err(failed)?;
        let counted = terms.count.then(|| runtime.block_on(count(&table, generation, writer.placed())));
        let counted = counted.transpose().map_err(failed)?;
        let kept = Kept {
            generation,
            model: meta.model.clone(),
            published_at: meta.published_at,
            lists: meta.lists,
            expires_at: lapses,
        };
        let pointer = pointer.with(kept, now);
        runtime.block_on(patiently(|| table.point(&pointer, &owner))).map_err(failed)?;
        Ok((without_consent, sampled, counted, meta))
    });
    if let Some(place) = scratch {
        let _ = std::fs::remove_dir_all(place);
    }
    // How far it came stays in the table, also after an error or a stop.
    let told = writer.end(finished.is_ok());
    let (without_consent, sampled, counted, meta) = finished?;
    let published = Published {
        generation: format!("generation {generation}"),
        lists: meta.lists,
        entries: meta.entries,
        bytes: told.bytes,
        removed: 0,
        read_back: sampled,
    };
    let unknown = numbers.iter().filter(|n| n.is_none()).count();
    Ok((Outcome { published, unknown, without_consent }, TableTold { told, budget, expires, sampled, counted }))
}

/// Returns a folder for the file that goes to the object store, if one is wanted.
fn scratch_for(order: &Order<'_>, terms: &Terms) -> Result<Option<std::path::PathBuf>, ServeError> {
    if order.objects.is_none() {
        return Ok(None);
    }
    let place = terms.scratch.join(format!("publish-{}", std::process::id()));
    std::fs::create_dir_all(&place).map_err(ServeError::io(&place))?;
    Ok(Some(place))
}

/// Who wants to publish, and where.
struct Bid<'a> {
    runtime: &'a Runtime,
    table: &'a Table,
    terms: &'a Terms,
    owner: &'a str,
}

/// Takes the right to publish; waits for one who was killed, not for one who works on.
fn hold(bid: &Bid<'_>, pointer: &Pointer, print: &str, stop: &Stop, tell: Tell<'_>) -> Result<Progress, ServeError> {
    let Bid { runtime, table, terms, owner } = *bid;
    let failed = |fault: Fault| terms.failed(&fault);
    let mut seen: Option<(Progress, i64)> = None;
    loop {
        let found = runtime.block_on(patiently(|| table.progress())).map_err(failed)?;
        let (last, until) = found.unwrap_or_default();
        let left = until - now_ms();
        if left > 0 {
            // Its lease was renewed while we waited: it lives.
            let lives = seen.as_ref().is_some_and(|(_, before)| *before < until);
            if lives || left > 2 * terms.lease.as_millis() as i64 {
                let what = format!("another publish is under way, {} lists in", last.done);
                return Err(ServeError::Table { at: place(&terms.reach()), what });
            }
            seen = Some((last, until));
            let note = "waits until the publish that was killed no longer bars the table".to_owned();
            tell(Tick {
                task: "publishing".to_owned(),
                done: 0.0,
                total: None,
                unit: "lists".to_owned(),
                left_s: None,
                note,
            });
            for _ in 0..=(left / 50) {
                if stop.requested() {
                    return Err(ServeError::Stopped);
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            continue;
        }
        let (generation, done) = last.resume(pointer, print);
        let progress = Progress { generation, fingerprint: print.to_owned(), done, finished: false };
        let now = now_ms();
        let until = now + terms.lease.as_millis() as i64;
        match runtime.block_on(patiently(|| table.hold(owner, &progress, now, until))) {
            Ok(()) => return Ok(progress),
            Err(Fault::Taken) => {}
            Err(fault) => return Err(failed(fault)),
        }
    }
}

/// Reads back what travels with the lists, and a sample of them; a difference is an error.
async fn verify(table: &Table, generation: u64, meta: &Meta, sample: &Sample) -> Result<usize, Fault> {
    let found = patiently(|| table.meta(generation)).await?;
    if found != *meta {
        return Err(Fault::Refused("what travels with the lists reads back as something else".to_owned()));
    }
    for part in sample.held.chunks(AT_ONCE) {
        let mut missing: Vec<_> = part.iter().collect();
        // A server may answer a part only.
        for _ in 0..10 {
            let keys: Vec<String> = missing.iter().map(|p| p.key.clone()).collect();
            let found = patiently(|| table.read_many(&keys)).await?;
            if let Some(other) = missing.iter().find(|p| found.get(&p.key).is_some_and(|v| *v != p.value)) {
                return Err(Fault::Refused(format!("{} reads back as another list", other.key)));
            }
            missing.retain(|p| !found.contains_key(&p.key));
            if missing.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        if let Some(put) = missing.first() {
            return Err(Fault::Refused(format!("{} was taken and is not there", put.key)));
        }
    }
    Ok(sample.held.len())
}

/// Reads the whole table, with half of its read units at most, and counts the lists of a generation.
async fn count(table: &Table, generation: u64, written: u64) -> Result<(u64, f64), Fault> {
    let budget = table.read_units.map(|units| (units / 2.0).max(1.0));
    // A second's units at once: four items of a kilobyte each.
    let most = budget.map(|units| (units * 4.0).clamp(4.0, 4000.0) as i32);
    let began = Instant::now();
    let (mut lists, mut units, mut from) = (0, 0.0, None);
    loop {
        let part = patiently(|| table.count(generation, from.clone(), most)).await?;
        (lists, units, from) = (lists + part.lists, units + part.units, part.next);
        if from.is_none() {
            break;
        }
        let due = budget.map_or(0.0, |budget| units / budget);
        tokio::time::sleep(Duration::from_secs_f64(due).saturating_sub(began.elapsed())).await;
    }
    if lists == written {
        return Ok((lists, units));
    }
    Err(Fault::Refused(format!("{written} lists were taken and {lists} are in the table")))
}

/// Which table is meant.
#[derive(Clone, Copy, Debug)]
pub struct Reaching<'a> {
    pub table: &'a str,
    pub endpoint: Option<&'a str>,
}

/// Points back to the generation before the one that serves; returns both, old and new.
pub fn roll_back_table(asked: &Reaching<'_>) -> Result<(String, String), ServeError> {
    let runtime = runtime()?;
    let reach = Reach { table: asked.table, endpoint: asked.endpoint, patience: PATIENCE };
    let failed = |fault: Fault| ServeError::TableFailed { at: place(&reach), what: fault.to_string() };
    let table = runtime.block_on(Table::open(&reach))?;
    let odd = |what: String| ServeError::Table { at: place(&reach), what };
    let (now, text) = runtime
        .block_on(patiently(|| table.pointer()))
        .map_err(failed)?
        .ok_or_else(|| odd("nothing is published there".to_owned()))?;
    let back = now.back(jiff::Timestamp::now().as_second()).map_err(odd)?;
    runtime.block_on(patiently(|| table.meta(back.generation))).map_err(failed)?;
    match runtime.block_on(patiently(|| table.point_back(&back, &text))) {
        Ok(()) => Ok((format!("generation {}", now.generation), format!("generation {}", back.generation))),
        Err(Fault::Taken) => Err(odd("its pointer has just moved; look again before you roll back".to_owned())),
        Err(fault) => Err(failed(fault)),
    }
}
