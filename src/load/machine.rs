//! What a run needs of the machine it runs on: descriptors, ports, and who else takes its CPU.

use std::fs;
use std::time::Instant;

/// Descriptors that a process needs beside its connections.
const SPARE: u64 = 64;

/// Raises the limit on open files as far as this user may; returns a warning for each thing that will be short.
pub fn prepare(connections: u32) -> Vec<String> {
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
