//! Asks the kernel to run a pacing thread as soon as it wakes, as far as this user may: a busy machine is the usual cause
//! of a late generator.

use std::mem;

/// The shortest slice that the kernel gives: a thread that asks for little is run before one that asks for much.
const SLICE_NS: u64 = 100_000;
const NICE: i32 = -10;
/// Above everything that is not real-time, below everything else that is.
const PRIORITY: u32 = 1;
/// A thread that sends more than this would keep a core from others, were it real-time.
const RATE_OF_REALTIME: f64 = 5_000.0;

/// The kernel's own `sched_attr`, its first version.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// What this thread was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Haste {
    /// Neither right nor kernel for more.
    Usual,
    /// A short slice, which needs no right and Linux 6.12.
    Short,
    /// Before others, as with `nice -n -10`.
    Nice,
    /// Before everything that is not real-time itself.
    Realtime,
}

/// Makes this thread as prompt as it may be for `rate` requests a second; a closed loop (`None`) only gets exact timers,
/// as it would take the CPU from the very target that it asks.
pub fn make(rate: Option<f64>) -> Haste {
    // SAFETY: changes one number of the calling thread: timers exact to a microsecond instead of fifty.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_000_usize, 0, 0, 0) };
    let Some(rate) = rate else { return Haste::Usual };
    let realtime = Attributes { policy: libc::SCHED_RR as u32, priority: PRIORITY, ..Attributes::default() };
    if rate <= RATE_OF_REALTIME && set(realtime) {
        return Haste::Realtime;
    }
    // SAFETY: asks for one number of the calling thread.
    let nice = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    let usual = |nice| Attributes { nice, runtime: SLICE_NS, ..Attributes::default() };
    match () {
        () if nice > NICE && set(usual(NICE)) => Haste::Nice,
        () if set(usual(nice)) => Haste::Short,
        () => Haste::Usual,
    }
}

fn set(mut attributes: Attributes) -> bool {
    /// What this thread starts is not prompt itself.
    const RESET_ON_FORK: u64 = 1;
    attributes.size = mem::size_of::<Attributes>() as u32;
    attributes.flags = RESET_ON_FORK;
    // SAFETY: the struct has the size that it says and lives through the call; 0 is the calling thread.
    unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_gets_what_it_may_and_a_closed_loop_nothing() {
        let on_its_own = |rate| std::thread::spawn(move || make(rate)).join().expect("ended");
        assert_eq!(on_its_own(None), Haste::Usual);
        let (calm, busy) = (on_its_own(Some(100.0)), on_its_own(Some(20_000.0)));
        assert!(busy < Haste::Realtime && calm >= busy, "{calm:?} {busy:?}");
    }
}
