//! What this thread took of the CPU, and how long it waited for one.

use std::time::Instant;

use crate::load::recorder::Recorder;

/// The kernel's own figures of one thread.
#[derive(Default)]
pub struct Meter {
    file: Option<std::fs::File>,
    cpu_ns: u64,
    queue_ns: u64,
    at: Option<Instant>,
    /// Whether the last second was so busy that requests share wake-ups.
    pub dense: bool,
}

impl Meter {
    pub fn open() -> Self {
        let mut meter = Self { file: std::fs::File::open("/proc/thread-self/schedstat").ok(), ..Self::default() };
        if let Some((cpu, queue)) = meter.stat() {
            (meter.cpu_ns, meter.queue_ns) = (cpu, queue);
        }
        meter.at = Some(Instant::now());
        meter
    }

    fn stat(&self) -> Option<(u64, u64)> {
        use std::os::unix::fs::FileExt;
        let mut text = [0; 96];
        let n = self.file.as_ref()?.read_at(&mut text, 0).ok()?;
        let mut numbers = std::str::from_utf8(&text[..n]).ok()?.split_whitespace().map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    }

    pub fn read(&mut self, recorder: &mut Recorder) {
        let (Some((cpu, queue)), Some(at)) = (self.stat(), self.at) else { return };
        let passed = at.elapsed().as_nanos().max(1) as f64;
        let used = (cpu - self.cpu_ns) as f64 / passed;
        recorder.generator(used, (queue - self.queue_ns) as f64 / 1e6);
        (self.cpu_ns, self.queue_ns, self.at) = (cpu, queue, Some(Instant::now()));
    }
}
