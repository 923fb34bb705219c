//! What a walk on the local stack stands on: two versions of the API, the router before them, and an evening that is played.

use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::evening;
use super::load::play_and;
use crate::canary::drivers::local::At;
use crate::canary::error::CanaryError;
use crate::canary::plan::Plan;
use crate::canary::sources::sent::{Ledger, Sided};
use crate::canary::wiring;
use crate::judge::objective::Objective;
use crate::load::dress::Tokens;
use crate::load::engine::{Spec, Told};
use crate::load::library;
use crate::load::schedule::Schedule;
use crate::load::target::Address;
use crate::run::error::RunError;
use crate::run::event::Event;
use crate::run::job::Desk;
use crate::serve::secret;
use crate::serve::stack::{self, CanarySpec, StackHandle};
use crate::stats::units::parse_duration;
use crate::stop::Stop;

/// The evening is played in pieces as long as the walk may take, at least this: it ends with its walk.
const PIECE: Duration = Duration::from_secs(600);
/// A walk's load is looked at by the judge, never by objectives of its own.
const NEVER_MISSED: &str = "errors <= 100%";

/// A stack with two versions, and the load on it; both end when this is dropped, unless somebody else's stack was found up.
pub struct World {
    up: Option<StackHandle>,
    stop: Stop,
    load: Option<JoinHandle<()>>,
    /// What the load counts each side's requests in, where the plan's numbers are those.
    pub sent: Option<Arc<Ledger>>,
}

/// Brings the stack up, or takes the one that is, and plays the plan's evening on it.
pub fn raise(plan: &Plan, desk: &Desk) -> Result<World, RunError> {
    let local = plan.wiring.local.clone().unwrap_or_default();
    let running = stack::running(&desk.home)?;
    let (url, up) = match running {
        Some(state) if state.parts.iter().any(|p| p.name == "router") => (state.api_url, None),
        Some(state) => {
            let cause = format!("the stack is up at {} without a second version to walk to", state.api_url);
            return Err(RunError::misuse(cause).hint("`serin stack down` first: the walk brings up a stack of its own"));
        }
        None => {
            let up = start(plan, &local, desk)?;
            (up.state.api_url.clone(), Some(up))
        }
    };
    let lasts = plan.warm_up + plan.stages.iter().map(|s| s.longest).sum::<Duration>();
    let mut spec = spec(&local, lasts, &url, &desk.home)?;
    // Each request says whose it is, so that its side is known here as it is to the router.
    let ledger = Ledger::new(&salt(desk).unwrap_or_else(|| plan.salt.clone()));
    let by_load = plan.wiring.numbers.as_ref().is_some_and(|n| n.from == "load");
    if by_load {
        spec.asker = Arc::new(Sided { inner: Arc::clone(&spec.asker), ledger: Arc::clone(&ledger) });
    }
    let heard = Arc::clone(&ledger);
    let stop = Stop::default();
    let mut own = desk.clone();
    own.stop = stop.clone();
    let load = thread::Builder::new().name("evening".to_owned()).spawn(move || {
        let mut hear = |told: &Told| {
            if let Told::Tick(tick) = told {
                heard.hear(tick);
            }
        };
        while !own.stop.requested() {
            if let Err(e) = play_and(&spec, &own, &mut hear) {
                return own.say(format!("the load on the local stack ended: {e}"));
            }
            // Whoever is not there now may be there in a moment.
            thread::sleep(Duration::from_millis(200));
        }
    });
    let load = load.map_err(RunError::cannot_tell)?;
    desk.say(format!("the stack is up at {url}, two versions behind a router; {} requests a second", local.rate));
    Ok(World { up, stop, load: Some(load), sent: by_load.then_some(ledger) })
}

/// Returns what the router that is up deals viewers by: a stack that was found up has a salt of its own.
fn salt(desk: &Desk) -> Option<String> {
    let at = At::new(&desk.home).ok()?;
    let page = at.ask(false, &at.url().ok()??).ok()?;
    page["salt"].as_str().map(str::to_owned)
}

fn start(plan: &Plan, local: &wiring::Local, desk: &Desk) -> Result<StackHandle, RunError> {
    let platform = evening::ready(desk)?;
    let mut canary = CanarySpec::same(&plan.salt).map_err(RunError::cannot_tell)?;
    canary.store.clone_from(&local.store);
    canary.model.clone_from(&local.model);
    canary.trouble = local.trouble().map_err(|why| RunError::from(CanaryError::Unfit(why)))?;
    let after = local.blind_after.as_deref().map(parse_duration).transpose().map_err(RunError::misuse)?;
    canary.mute_after_s = after.map(|d| d.as_secs_f64());
    desk.tell(Event::phase("starting two versions of the stack"));
    evening::start_with(&platform, Some(canary), desk)
}

fn spec(local: &wiring::Local, lasts: Duration, url: &str, home: &Path) -> Result<Spec, RunError> {
    let mut scenario = library::open(Path::new(&local.scenario))?;
    scenario.objectives = vec![Objective::parse(NEVER_MISSED).map_err(RunError::cannot_tell)?];
    scenario.schedule = Schedule::constant(local.rate, lasts.max(PIECE));
    let tokens = Tokens::hs256(secret::ensure(home)?.as_bytes());
    Ok(Spec::of(scenario, "local", Address::parse(url)?, Some(tokens)))
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.request();
        if let Some(load) = self.load.take() {
            let _ = load.join();
        }
        if let Some(up) = self.up.take() {
            let _ = up.down();
        }
    }
}
