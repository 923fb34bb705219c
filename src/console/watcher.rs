//! Looks at the local stack beside the run, again and again, and checks it when asked; the screen only hears of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::incident::gather::Deployment;
use crate::run::jobs::check::{Check, Look};
use crate::run::jobs::eye::{Eye, Seen};
use crate::stop::Stop;

/// How often the parts are looked at.
const EACH: Duration = Duration::from_secs(2);
const STEP: Duration = Duration::from_millis(50);
/// How far back a check looks.
const SINCE: Duration = Duration::from_secs(1800);

/// Says what there is to look at now; `None` while nothing is up.
pub type Deployed = Arc<dyn Fn() -> Option<Deployment> + Send + Sync>;

/// What was seen.
pub enum Told {
    Seen(Box<Seen>),
    /// Nothing is up, or it could not be looked at.
    Nothing,
    Checking,
    Checked(Box<Look>),
    NotChecked(String),
}

/// The thread that looks, for as long as this is held.
pub struct Watcher {
    pub told: Receiver<Told>,
    wanted: Arc<AtomicBool>,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    pub fn start(deployed: Deployed, home: PathBuf, reports: PathBuf) -> Self {
        let (tell, told) = channel();
        let (wanted, stop) = (Arc::new(AtomicBool::new(false)), Stop::default());
        let work = Work { deployed, home, reports, wanted: Arc::clone(&wanted), stop: stop.clone(), tell };
        let thread = thread::Builder::new().name("watcher".to_owned()).spawn(move || work.run()).ok();
        Self { told, wanted, stop, thread }
    }

    /// Wants a check, soon.
    pub fn check(&self) {
        self.wanted.store(true, Relaxed);
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop.request();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Work {
    deployed: Deployed,
    home: PathBuf,
    reports: PathBuf,
    wanted: Arc<AtomicBool>,
    stop: Stop,
    tell: Sender<Told>,
}

impl Work {
    fn run(&self) {
        let mut eye: Option<Eye> = None;
        let mut looked: Option<Instant> = None;
        while !self.stop.requested() {
            let check = self.wanted.swap(false, Relaxed);
            if !check && looked.is_some_and(|at| at.elapsed() < EACH) {
                thread::sleep(STEP);
                continue;
            }
            let deployment = (self.deployed)();
            if check && self.tell(self.checked(deployment.as_ref())) {
                return;
            }
            // Another stack is another thing to look at.
            let same = |e: &Eye| deployment.as_ref().is_some_and(|d| d.instances == e.deployment.instances);
            if !eye.as_ref().is_some_and(same) {
                eye = deployment.and_then(|d| Eye::open(d, &self.home).ok());
            }
            let seen = eye.as_mut().and_then(|eye| eye.look().ok());
            if self.tell(seen.map_or(Told::Nothing, |s| Told::Seen(Box::new(s)))) {
                return;
            }
            looked = Some(Instant::now());
        }
    }

    fn checked(&self, deployment: Option<&Deployment>) -> Told {
        let Some(deployment) = deployment else { return Told::NotChecked("no stack is up".to_owned()) };
        if self.tell(Told::Checking) {
            return Told::Nothing;
        }
        let job = Check { deployment: deployment.clone(), since: SINCE };
        match job.look(&self.home, &self.reports, &self.stop) {
            Ok(look) => Told::Checked(Box::new(look)),
            Err(error) => Told::NotChecked(error.to_string()),
        }
    }

    /// Returns whether nobody listens any more.
    fn tell(&self, told: Told) -> bool {
        self.tell.send(told).is_err()
    }
}
