//! Where a name points now: asked again while a run lasts, so that new connections follow a target that moves.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::target::Address;

/// How often a name is asked again, unless said otherwise.
pub const EVERY: Duration = Duration::from_secs(30);
/// How soon the asking thread notices that the run is over.
const LOOK: Duration = Duration::from_millis(200);

/// The addresses that new connections go to, one after the other.
#[derive(Debug)]
pub struct Addresses(ArcSwap<Vec<SocketAddr>>);

impl Addresses {
    pub fn new(found: Vec<SocketAddr>) -> Self {
        Self(ArcSwap::from_pointee(found))
    }

    /// Returns the address of the `turn`-th connection; never called without any.
    pub fn pick(&self, turn: usize) -> SocketAddr {
        let all = self.0.load();
        all[turn % all.len()]
    }

    /// Takes what the resolver says now; a look that failed or found nothing keeps what is known.
    pub fn renew(&self, found: io::Result<Vec<SocketAddr>>) {
        if let Ok(found) = found
            && !found.is_empty()
            && found != **self.0.load()
        {
            self.0.store(Arc::new(found));
        }
    }
}

/// Asks the resolver again and again, on a thread of its own, for as long as anybody holds the addresses.
pub fn keep_fresh(addresses: &Arc<Addresses>, of: &Address, every: Duration) -> io::Result<()> {
    if of.host.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    let (held, of) = (Arc::downgrade(addresses), of.clone());
    thread::Builder::new().name("resolver".to_owned()).spawn(move || watch(&held, every, || of.resolve())).map(drop)
}

fn watch(held: &Weak<Addresses>, every: Duration, resolve: impl Fn() -> io::Result<Vec<SocketAddr>>) {
    let mut next = Instant::now() + every;
    while held.strong_count() > 0 {
        thread::sleep(LOOK.min(every));
        if Instant::now() >= next {
            let found = resolve();
            if let Some(addresses) = held.upgrade() {
                addresses.renew(found);
            }
            next = Instant::now() + every;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn new_connections_follow_the_name_and_a_failed_look_changes_nothing() {
        let addresses = Addresses::new(vec![at(1), at(2)]);
        assert_eq!([addresses.pick(0), addresses.pick(1), addresses.pick(2)], [at(1), at(2), at(1)]);
        addresses.renew(Err(io::Error::other("no resolver")));
        addresses.renew(Ok(Vec::new()));
        assert_eq!(addresses.pick(1), at(2));
        addresses.renew(Ok(vec![at(3)]));
        assert_eq!([addresses.pick(0), addresses.pick(1)], [at(3), at(3)]);
    }

    #[test]
    fn the_asking_ends_with_the_run() {
        let addresses = Arc::new(Addresses::new(vec![at(1)]));
        let held = Arc::downgrade(&addresses);
        let asking = thread::spawn(move || watch(&held, Duration::from_millis(1), || Ok(vec![at(9)])));
        while addresses.pick(0) != at(9) {
            thread::yield_now();
        }
        drop(addresses);
        asking.join().expect("it ends by itself");
    }
}
