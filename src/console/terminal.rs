//! Raw mode and the second screen in, and always out again: on return, on an error, on a panic, on Ctrl-Z.

use std::io::{self, Stdout, Write, stdout};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::event::{self, Event};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};

/// Whether the terminal is ours now.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// What other threads said in dying while the screen was ours.
static LAST_WORDS: Mutex<Vec<String>> = Mutex::new(Vec::new());

pub type Screen = Terminal<CrosstermBackend<Stdout>>;

/// How often the reader of keys looks whether it is still wanted.
const LOOK_UP: Duration = Duration::from_millis(50);

/// The terminal while it is ours; dropping it gives it back.
pub struct Taken {
    pub screen: Screen,
    inputs: Receiver<io::Result<Event>>,
    left: Arc<AtomicBool>,
}

impl Taken {
    pub fn take() -> io::Result<Self> {
        hook();
        enter()?;
        let screen = Terminal::new(CrosstermBackend::new(stdout())).inspect_err(|_| leave())?;
        let left = Arc::new(AtomicBool::new(false));
        Ok(Self { screen, inputs: read_inputs(left.clone()), left })
    }

    /// The next key or change of size, if one comes in time; an error once whoever showed the terminal has gone (a closed
    /// window, a lost connection).
    pub fn next(&self, within: Duration) -> io::Result<Option<Event>> {
        if gone() {
            return Err(io::Error::other("its other side has gone"));
        }
        match self.inputs.recv_timeout(within) {
            Ok(input) => input.map(Some),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("its keys can no longer be read")),
        }
    }

    /// Leaves the terminal to the shell until `fg`.
    pub fn suspend(&mut self) -> io::Result<()> {
        leave();
        // SAFETY: raises a signal at this process, nothing else.
        unsafe { libc::raise(libc::SIGTSTP) };
        enter()?;
        self.screen.clear()
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.left.store(true, Ordering::SeqCst);
        leave();
        let words = LAST_WORDS.lock().map(|mut w| std::mem::take(&mut *w)).unwrap_or_default();
        for text in words {
            let _ = writeln!(io::stderr(), "{text}");
        }
    }
}

/// Whether whoever showed the terminal has gone.
fn gone() -> bool {
    let mut input = libc::pollfd { fd: libc::STDIN_FILENO, events: 0, revents: 0 };
    // SAFETY: one descriptor, in a structure of this frame; no time is waited.
    let answered = unsafe { libc::poll(&raw mut input, 1, 0) };
    answered == 1 && input.revents & (libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0
}

/// Reads keys beside the loop that draws: a read on a terminal whose other side has just gone never returns, and must
/// not take with it the loop that would notice.
fn read_inputs(left: Arc<AtomicBool>) -> Receiver<io::Result<Event>> {
    let (tell, inputs) = channel();
    thread::spawn(move || {
        while !left.load(Ordering::SeqCst) {
            let input = match event::poll(LOOK_UP) {
                Ok(false) => continue,
                Ok(true) => event::read(),
                Err(error) => Err(error),
            };
            let failed = input.is_err();
            if tell.send(input).is_err() || failed {
                return;
            }
        }
    });
    inputs
}

fn enter() -> io::Result<()> {
    enable_raw_mode()?;
    TAKEN.store(true, Ordering::SeqCst);
    execute!(stdout(), EnterAlternateScreen, Hide).inspect_err(|_| leave())
}

/// Gives the terminal back once; a terminal that is gone is no error here.
fn leave() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let _ = execute!(stdout(), LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
    }
}

/// A panic of this thread gives the terminal back first; one of another thread must not write over the screen.
fn hook() {
    let console = thread::current().id();
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let taken = TAKEN.load(Ordering::SeqCst);
        if taken && thread::current().id() != console {
            if let Ok(mut words) = LAST_WORDS.lock() {
                words.push(info.to_string());
            }
            return;
        }
        leave();
        before(info);
    }));
}
