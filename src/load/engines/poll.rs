//! A thin hold on Linux's epoll, edge-triggered, with waits exact to microseconds.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// What happened to a socket.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    pub token: u64,
    pub readable: bool,
    pub writable: bool,
    pub closed: bool,
}

pub struct Poll {
    epoll: OwnedFd,
    events: Vec<libc::epoll_event>,
    /// Whether the kernel has no `epoll_pwait2` (before 5.11).
    coarse: bool,
}

impl Poll {
    pub fn new() -> io::Result<Self> {
        // SAFETY: a plain system call; the descriptor it returns is owned by nobody else.
        let epoll = unsafe {
            let fd = libc::epoll_create1(libc::EPOLL_CLOEXEC);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        Ok(Self { epoll, events: vec![libc::epoll_event { events: 0, u64: 0 }; 256], coarse: false })
    }

    /// Watches a socket for everything, until it is closed.
    pub fn watch(&self, socket: &impl AsRawFd, token: u64) -> io::Result<()> {
        let flags = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;
        let mut event = libc::epoll_event { events: flags as u32, u64: token };
        // SAFETY: both descriptors are open, and `event` lives through the call.
        let done =
            unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, socket.as_raw_fd(), &raw mut event) };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Waits until something happened or the time is over; returns how many things `ready` then holds.
    pub fn wait(&mut self, most: Duration) -> io::Result<usize> {
        let room = self.events.len() as i32;
        let (fd, at) = (self.epoll.as_raw_fd(), self.events.as_mut_ptr());
        let time = libc::timespec { tv_sec: most.as_secs() as i64, tv_nsec: i64::from(most.subsec_nanos()) };
        // SAFETY: `events` has room for `room` entries, `time` lives through the call, no signal mask is passed.
        let count = unsafe {
            if self.coarse {
                libc::epoll_wait(fd, at, room, most.as_millis() as i32)
            } else {
                libc::syscall(
                    libc::SYS_epoll_pwait2,
                    fd,
                    at,
                    room,
                    &raw const time,
                    std::ptr::null::<libc::sigset_t>(),
                    0_usize,
                ) as i32
            }
        };
        if count >= 0 {
            return Ok(count as usize);
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => Ok(0),
            Some(libc::ENOSYS) if !self.coarse => {
                self.coarse = true;
                Ok(0)
            }
            _ => Err(error),
        }
    }

    pub fn ready(&self, at: usize) -> Ready {
        let event = self.events[at];
        let has = |flag: i32| event.events & flag as u32 != 0;
        Ready {
            token: event.u64,
            readable: has(libc::EPOLLIN),
            writable: has(libc::EPOLLOUT),
            closed: has(libc::EPOLLRDHUP) || has(libc::EPOLLHUP) || has(libc::EPOLLERR),
        }
    }
}
