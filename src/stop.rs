//! The wish to stop, shared by everybody who works: set by Ctrl-C, a key, or a failing neighbour.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

static SIGNALS: AtomicU32 = AtomicU32::new(0);

/// A clone shares the wish; work asks `requested()` often (at least each 50 ms) and ends in good order.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    pub fn request(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether anybody, or a signal to this process, asked to stop.
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::Acquire) || signalled()
    }
}

/// Whether SIGINT, SIGTERM or SIGHUP reached this process.
pub fn signalled() -> bool {
    SIGNALS.load(Ordering::Acquire) > 0
}

/// Takes SIGINT, SIGTERM and SIGHUP as the wish to stop; the third one ends the process at once.
pub fn listen_to_signals() {
    extern "C" fn handler(_: libc::c_int) {
        if SIGNALS.fetch_add(1, Ordering::AcqRel) >= 2 {
            // SAFETY: `_exit` is async-signal-safe.
            unsafe { libc::_exit(130) }
        }
    }
    let handler: extern "C" fn(libc::c_int) = handler;
    // SAFETY: the handler touches one atomic and `_exit` only.
    unsafe {
        libc::signal(libc::SIGINT, handler as libc::sighandler_t);
        libc::signal(libc::SIGTERM, handler as libc::sighandler_t);
        // A terminal that is closed ends a run in good order too; under nohup it stays ignored.
        if libc::signal(libc::SIGHUP, handler as libc::sighandler_t) == libc::SIG_IGN {
            libc::signal(libc::SIGHUP, libc::SIG_IGN);
        }
    }
}
