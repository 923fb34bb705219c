//! Whole viewing evenings by goose: it starts, holds and ends the viewers; each asks through a connection that we record.
//!
//! goose has traps. Its switch is one for the process, so one crowd lives at a time; a future of it that is dropped
//! leaves its viewers running, so it is switched off and awaited; it takes SIGINT for itself, so ours is put back; and it
//! prints and logs unless told not to. Its own times end at the headers, so it records nothing: we do, with the body.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use goose::client::GooseClientBuilder;
use goose::config::GooseConfiguration;
use goose::goose::{Scenario, Transaction, TransactionFunction};
use goose::{GooseAttack, GooseError};
use tokio::sync::watch;
use tokio::time::Instant as Moment;

use super::order::{Order, Report, STOPPED_WAIT};
use super::visit::{Visit, lock};
use crate::load::dress::Dress;
use crate::load::evening::Crowd;
use crate::load::fault::Fault;
use crate::load::question::Question;
use crate::load::recorder::Recorder;
use crate::load::schedule::Shard;

/// goose can live once in a process at a time.
static ONE: Mutex<()> = Mutex::new(());
/// How often the run is looked at: a stop is noticed within it.
const LOOK: Duration = Duration::from_millis(20);
/// All viewers are there after a tenth of the run, and after this long at most.
const ARRIVE_WITHIN: Duration = Duration::from_secs(10);

/// How far the evening is; each later state ends more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum State {
    Going,
    /// Nothing new is asked; answers under way are awaited.
    Over,
    /// What is still under way is counted as it stands.
    Cut(Fault),
}

/// Everything that the viewers of a run share.
struct House {
    order: Arc<Order>,
    crowd: Crowd,
    shard: Shard,
    recorder: Mutex<Recorder>,
    state: watch::Receiver<State>,
    in_flight: AtomicU64,
    /// Each viewer's own connection and evenings so far.
    viewers: Vec<tokio::sync::Mutex<(Visit, u64)>>,
}

/// Lives the crowd's evenings to the end of the run, a report a second; blocks.
pub fn live(order: Arc<Order>, crowd: Crowd, dress: &Dress, shard: Shard, reports: &Sender<(usize, Report)>) {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let users = (u64::from(crowd.users) / shard.of + u64::from(u64::from(crowd.users) % shard.of > shard.part)) as u32;
    let (turn, state) = watch::channel(State::Going);
    let viewer = |n| tokio::sync::Mutex::new((Visit::new(dress.clone(), n as usize), 0));
    let house = Arc::new(House {
        recorder: Mutex::new(Recorder::new(order.asker.endpoints().len(), order.stages)),
        viewers: (0..users).map(viewer).collect(),
        in_flight: AtomicU64::new(0),
        order,
        crowd,
        shard,
        state,
    });
    let broke = if users == 0 { None } else { attend(&house, users, &turn, reports).err() };
    let end = house.order.now();
    let recorder = std::mem::replace(&mut *lock(&house.recorder), Recorder::new(0, 0));
    let _ = reports.send((0, Report::Last(recorder.finish(end), broke)));
}

/// Starts goose on a runtime of its own and holds the clock beside it.
fn attend(
    house: &Arc<House>,
    users: u32,
    turn: &watch::Sender<State>,
    reports: &Sender<(usize, Report)>,
) -> io::Result<()> {
    let attack = attack(house, users).map_err(io::Error::other)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("viewers").build()?;
    let signal = Signal::kept();
    // Otherwise the end of the evening before would look like a Ctrl-C in this one.
    goose::reset_killswitch();
    let playing = runtime.spawn(attack.execute());
    let mut clock = Clock { cpu: cpu_seconds(), at: Instant::now() };
    let mut cut = None;
    while !playing.is_finished() {
        std::thread::sleep(LOOK);
        signal.put_back();
        clock.turn(house, reports);
        let (now, order) = (house.order.now(), &house.order);
        let stopped = order.stop.requested() || order.halt.load(Ordering::Acquire);
        let over = now >= house.crowd.lasts.as_nanos() as u64;
        if stopped || over {
            let wait = if stopped { STOPPED_WAIT.min(order.timeout) } else { order.timeout };
            let at = *cut.get_or_insert(now + wait.as_nanos() as u64);
            let rest = if stopped { Fault::Stopped } else { Fault::Timeout };
            turn.send_if_modified(|state| {
                let next = if now >= at { State::Cut(rest) } else { State::Over };
                let changed = *state == State::Going || (*state == State::Over && next != State::Over);
                if changed {
                    *state = next;
                }
                changed
            });
            // goose takes the switch back as it starts, so it is asked until it is gone.
            goose::trigger_killswitch("the evening is over");
        } else if goose::is_killswitch_triggered() {
            // A Ctrl-C that reached goose before ours was back.
            order.stop.request();
        }
    }
    let played = runtime.block_on(playing).map_err(io::Error::other)?;
    signal.put_back();
    runtime.shutdown_background();
    clock.turn(house, reports);
    played.map(drop).map_err(io::Error::other)
}

fn attack(house: &Arc<House>, users: u32) -> Result<GooseAttack, GooseError> {
    silence();
    let arrive = (house.crowd.lasts / 10).clamp(Duration::from_millis(100), ARRIVE_WITHIN).as_secs_f64();
    let (users, rate) = (users.to_string(), format!("{:.3}", f64::from(users) / arrive));
    let quiet = ["--quiet", "--no-metrics", "--no-print-metrics", "--no-telnet", "--no-error-summary"];
    let asked = ["--host", "http://127.0.0.1", "--users", &users, "--increase-rate", &rate];
    let configuration = GooseConfiguration::parse_args_default(&[&quiet[..], &asked[..]].concat())?;
    let house = Arc::clone(house);
    let evening: TransactionFunction = Arc::new(move |user| {
        let (house, number) = (Arc::clone(&house), user.weighted_users_index);
        Box::pin(async move {
            house.evening(number).await;
            Ok(())
        })
    });
    let scenario = Scenario::new("evening").register_transaction(Transaction::new(evening));
    // Nobody asks through goose's own client, and one for each viewer would take milliseconds of CPU to make.
    let unused = GooseClientBuilder::new().without_cookies();
    let attack = GooseAttack::initialize_with_config(configuration)?.set_client_builder_without_cookies(unused)?;
    Ok(attack.register_scenario(scenario))
}

impl House {
    /// One viewer's evening, from coming home to the last thought; the next one is somebody else's.
    async fn evening(&self, number: usize) {
        let Some(viewer) = self.viewers.get(number) else { return };
        let mut own = viewer.lock().await;
        let (visit, evenings) = &mut *own;
        let place = self.shard.part + self.shard.of * number as u64;
        let who = place + *evenings * u64::from(self.crowd.users);
        let seed = self.order.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ who;
        *evenings += 1;
        let mut state = self.state.clone();
        let mut question = Question::default();
        let lived = self.crowd.evening.live(seed);
        let mut late = Duration::ZERO;
        for (asked, (kind, think)) in (0..).zip(lived) {
            if *state.borrow() != State::Going {
                // Holds the viewer until goose collects it, so that no evening is begun in vain.
                tokio::time::sleep(LOOK * 5).await;
                return;
            }
            self.order.asker.ask_as(who.wrapping_mul(64).wrapping_add(asked), who, kind, &mut question);
            lock(&self.recorder).due(0, late.as_nanos() as u64);
            self.in_flight.fetch_add(1, Ordering::Relaxed);
            let mut watched = state.clone();
            let over = async move {
                match watched.wait_for(|s| matches!(s, State::Cut(_))).await.map(|s| *s) {
                    Ok(State::Cut(fault)) => fault,
                    _ => Fault::Stopped,
                }
            };
            visit.ask(&self.order, &question, &self.recorder, over).await;
            self.in_flight.fetch_sub(1, Ordering::Relaxed);
            late = think_for(think, &mut state).await;
        }
    }
}

/// Thinks, unless the evening ends; returns by how much the thought took too long, which is the generator's own doing.
async fn think_for(long: Duration, state: &mut watch::Receiver<State>) -> Duration {
    let until = Moment::now() + long;
    tokio::select! {
        () = tokio::time::sleep_until(until) => Moment::now().saturating_duration_since(until),
        _ = state.wait_for(|s| *s != State::Going) => Duration::ZERO,
    }
}

/// Turns the seconds while the evening lasts.
struct Clock {
    cpu: f64,
    at: Instant,
}

impl Clock {
    fn turn(&mut self, house: &House, reports: &Sender<(usize, Report)>) {
        let mut recorder = lock(&house.recorder);
        while house.order.now() >= (u64::from(recorder.second()) + 1) * 1_000_000_000 {
            let (cpu, passed) = (cpu_seconds(), self.at.elapsed().as_secs_f64().max(1e-3));
            recorder.generator((cpu - self.cpu) / passed, 0.0);
            (self.cpu, self.at) = (cpu, Instant::now());
            let in_flight = house.in_flight.load(Ordering::Relaxed);
            let _ = reports.send((0, Report::Second(recorder.turn(in_flight, 0))));
        }
    }
}

/// What this process used of the CPU so far.
fn cpu_seconds() -> f64 {
    // SAFETY: an all-zero rusage is valid, and the call only writes into it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// What SIGINT did before goose took it.
struct Signal(libc::sigaction);

impl Signal {
    fn kept() -> Self {
        // SAFETY: reads the present handler into a struct of ours.
        unsafe {
            let mut now: libc::sigaction = std::mem::zeroed();
            libc::sigaction(libc::SIGINT, std::ptr::null(), &raw mut now);
            Self(now)
        }
    }

    fn put_back(&self) {
        // SAFETY: sets the handler that was there before.
        unsafe { libc::sigaction(libc::SIGINT, &raw const self.0, std::ptr::null_mut()) };
    }
}

/// goose installs a logger that prints unless there is one.
fn silence() {
    struct Nobody;
    impl log::Log for Nobody {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            false
        }
        fn log(&self, _: &log::Record<'_>) {}
        fn flush(&self) {}
    }
    let _ = log::set_logger(&Nobody);
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::time::Duration;

    use crate::load::engine::{Spec, Told, run};
    use crate::load::evening::{Crowd, Evening};
    use crate::load::scenario;
    use crate::load::schedule::{Schedule, Shard};
    use crate::load::target::Address;
    use crate::stop::Stop;

    #[test]
    fn one_process_lives_one_crowd_after_the_other_and_one_that_is_stopped() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let mut buffer = [0; 4096];
                    while let Ok(1..) = stream.read(&mut buffer) {
                        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
                    }
                });
            }
        });
        let text = "[[stage]]\nshape = \"constant\"\nrate = 1\nfor = \"1s\"\n[[request]]\nget = \"/\"\n";
        let scenario = scenario::parse("s.toml", text, None).expect("read");
        let mut spec = Spec::of(scenario, "t", Address::parse(&url).expect("good"), None);
        let crowd = |users, lasts| Crowd { users, lasts, evening: Evening::thinking(Duration::from_millis(20)) };
        spec.schedule = Schedule::Users(crowd(5, Duration::from_millis(600)));
        for round in 0..2 {
            let summary = run(&spec, &Stop::default(), &mut |_| {}).expect("runs");
            assert!(summary.requests > 5 && summary.errors.total == 0, "round {round}: {summary:?}");
        }
        spec.schedule = Schedule::Users(crowd(5, Duration::from_secs(60)));
        let stop = Stop::default();
        let asked = stop.clone();
        let stopped = run(&spec, &stop, &mut |told| {
            if let Told::Tick(_) = told {
                asked.request();
            }
        });
        let stopped = stopped.expect("runs");
        assert!(stopped.stopped && stopped.requests > 5, "{stopped:?}");
        spec.shard = Shard { part: 1, of: 5 };
        spec.schedule = Schedule::Users(crowd(5, Duration::from_millis(300)));
        let part = run(&spec, &Stop::default(), &mut |_| {}).expect("runs");
        assert!(part.requests > 1, "{part:?}");
    }
}
