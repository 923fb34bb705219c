//! What a run needs of the machine it runs on: descriptors, ports, and who else takes its CPU.

use std::fs;
use std::time::{Duration, Instant};

/// Descriptors that a process needs beside its connections.
const SPARE: u64 = 64;
const RESTS_S: f64 = 60.0;

/// Raises the limit on open files as far as this user may; returns a warning for each thing that will be short.
///
/// `churn` is how many connections a second are closed and opened again.
pub fn prepare(connections: u32, churn: Option<f64>) -> Vec<String> {
    let mut warnings = Vec::new();
    let needed = u64::from(connections) + SPARE;
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls read or write the one struct, which lives through them.
    let (now, most) = unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        if limit.rlim_cur < needed && limit.rlim_cur < limit.rlim_max {
            limit.rlim_cur = needed.min(limit.rlim_max);
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
            libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        }
        (limit.rlim_cur, limit.rlim_max)
    };
    if now < needed {
        warnings.push(format!(
            "{connections} connections need {needed} open files and this user may have {most}; raise it with `ulimit -n {needed}`"
        ));
    }
    // A port of a connection that this side closed rests for a minute.
    if let Some((ports, churn)) = ports().zip(churn).filter(|(ports, churn)| *ports as f64 <= churn * RESTS_S) {
        warnings.push(format!(
            "{churn:.0} connections a second are closed, each port rests for {RESTS_S} s, and this machine gives {ports}; \
             ask more requests of each connection, or widen net.ipv4.ip_local_port_range"
        ));
    }
    if let Some(ports) = ports().filter(|ports| *ports < u64::from(connections)) {
        warnings.push(format!(
            "{connections} connections need as many ports and this machine gives {ports}; widen net.ipv4.ip_local_port_range"
        ));
    }
    warnings
}

fn ports() -> Option<u64> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut ends = text.split_whitespace().map(str::parse::<u64>);
    let (low, high) = (ends.next()?.ok()?, ends.next()?.ok()?);
    Some(high.saturating_sub(low) + 1)
}

/// Compares this machine's clocks, so that a machine that slept, or a clock that was set, is no secret.
#[derive(Debug, Default)]
pub struct Clocks(Option<[f64; 3]>);

/// Less than this is how clocks are steered, and how long it takes to read three of them.
const STEERED_S: f64 = 0.05;

impl Clocks {
    /// Returns the seconds that the machine slept since the last look, and by how many its wall clock was set.
    pub fn look(&mut self) -> (f64, f64) {
        let read = || [libc::CLOCK_MONOTONIC, libc::CLOCK_BOOTTIME, libc::CLOCK_REALTIME].map(clock);
        // A thread that is put aside between two of the reads would see a step where there is none.
        let at_once = |now: &[f64; 3]| clock(libc::CLOCK_MONOTONIC) - now[0] < STEERED_S / 5.0;
        let Some(now) = std::iter::repeat_with(read).take(5).find(at_once) else { return (0.0, 0.0) };
        let Some(before) = self.0.replace(now) else { return (0.0, 0.0) };
        let passed = |at: usize| now[at] - before[at];
        let (slept, set) = (passed(1) - passed(0), passed(2) - passed(1));
        let told = |seconds: f64| if seconds.abs() > STEERED_S { seconds } else { 0.0 };
        (told(slept), told(set))
    }
}

/// Returns the steps in which this machine's steady clock goes, as they are seen: nanoseconds where it is a counter,
/// milliseconds where the kernel found none and counts its own interrupts.
pub fn clock_grain() -> Duration {
    let step = || {
        let from = Instant::now();
        std::iter::repeat_with(|| from.elapsed()).find(|passed| !passed.is_zero()).unwrap_or_default()
    };
    // Others take the CPU between two reads: the least of some is the clock's own.
    std::iter::repeat_with(step).take(16).min().unwrap_or_default()
}

fn clock(which: libc::clockid_t) -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes into the one struct, which lives through it.
    unsafe { libc::clock_gettime(which, &raw mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Reads how much of this machine its host gave to others.
#[derive(Debug, Default)]
pub struct Steal(Option<(u64, Instant)>);

impl Steal {
    /// Returns the share of one core that was taken since the last time this was asked.
    pub fn share(&mut self) -> f64 {
        let Some(ticks) = stolen() else { return 0.0 };
        let now = Instant::now();
        let before = self.0.replace((ticks, now));
        let Some((old, at)) = before else { return 0.0 };
        let seconds = (now - at).as_secs_f64().max(1e-3);
        // The kernel counts in hundredths of a second.
        ticks.saturating_sub(old) as f64 / 100.0 / seconds
    }
}

fn stolen() -> Option<u64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    text.lines().next()?.split_whitespace().nth(8)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_nobody_touched_say_nothing() {
        let mut clocks = Clocks::default();
        assert_eq!(clocks.look(), (0.0, 0.0));
        // As if it had slept for three seconds, and then been set back by an hour.
        let [steady, boot, wall] = clocks.0.expect("looked");
        clocks.0 = Some([steady, boot - 3.0, wall + 3600.0]);
        let (slept, set) = clocks.look();
        assert!((slept - 3.0).abs() < 0.05 && (set + 3603.0).abs() < 0.05, "{slept} {set}");
    }

    #[test]
    fn a_clock_of_today_goes_in_steps_of_less_than_ten_microseconds() {
        let grain = clock_grain();
        assert!(grain > Duration::ZERO && grain < Duration::from_micros(10), "{grain:?}");
    }

    #[test]
    fn ports_that_rest_are_counted() {
        assert!(prepare(10, Some(10.0)).is_empty());
        let warnings = prepare(10, Some(10_000.0));
        assert!(warnings.iter().any(|w| w.contains("each port rests")), "{warnings:?}");
    }
}
