//! When bytes came, as the kernel noted it: whoever knows that need not hurry to read them.

use std::io;
use std::mem;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::{Duration, SystemTime};

/// Asks the kernel to note it for a socket, on the wall clock.
pub fn ask(socket: &TcpStream) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the value lives through the call and has the size that is given.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_TIMESTAMPNS,
            (&raw const on).cast(),
            mem::size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Room for one time stamp and what stands around it, aligned as the kernel wants it.
#[repr(C, align(8))]
struct Control([u8; 64]);

/// Reads from a socket; `came` is then when the last of the bytes came, `None` where the kernel did not say.
pub fn read(socket: &TcpStream, into: &mut [u8], came: &mut Option<Duration>) -> io::Result<usize> {
    let mut control = Control([0; 64]);
    let mut part = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    // SAFETY: all zeroes is a message header without a name, data or control.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = control.0.len();
    // SAFETY: the header points at buffers of the sizes that it says, and all of them live through the call.
    let read = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, 0) };
    *came = None;
    if read < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel filled the header and the control buffer, which the macros walk within their length.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(&raw const header);
        while !message.is_null() {
            if (*message).cmsg_level == libc::SOL_SOCKET && (*message).cmsg_type == libc::SCM_TIMESTAMPNS {
                let at: libc::timespec = std::ptr::read_unaligned(libc::CMSG_DATA(message).cast());
                *came = Some(Duration::new(at.tv_sec as u64, at.tv_nsec as u32));
            }
            message = libc::CMSG_NXTHDR(&raw const header, message);
        }
    }
    Ok(read as usize)
}

/// Turns the wall clock's notes into the run's own time, and believes them no further than the loop itself knows.
#[derive(Debug, Default)]
pub struct Since {
    /// When the last two times of listening began: what is heard now came after the earlier one.
    began: [u64; 2],
    heard: u64,
    wall: Duration,
}

impl Since {
    pub fn listen(&mut self, now: u64) {
        self.began = [self.began[1], now];
    }

    pub fn heard(&mut self, now: u64) {
        self.heard = now;
        self.wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    }

    /// Returns when bytes came, in the run's nanoseconds; they are read `now`. A wall clock that was set meanwhile tells
    /// nothing: then they came now.
    pub fn own(&self, came: Duration, now: u64) -> u64 {
        let ns = |d: Duration| d.as_nanos() as u64;
        let at = match came.checked_sub(self.wall) {
            Some(later) => self.heard.checked_add(ns(later)),
            None => self.heard.checked_sub(ns(self.wall.saturating_sub(came))),
        };
        at.filter(|at| (self.began[0]..=now).contains(at)).unwrap_or(now)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[test]
    fn the_kernel_knows_when_bytes_came_however_late_they_are_read() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut there = TcpStream::connect(listener.local_addr().expect("an address")).expect("connected");
        let (here, _) = listener.accept().expect("accepted");
        ask(&here).expect("asked");
        // The kernel begins to note times a moment after the first socket asked.
        thread::sleep(Duration::from_millis(50));
        let wall = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        let before = wall();
        there.write_all(b"answer").expect("sent");
        let after = wall();
        thread::sleep(Duration::from_millis(100));
        let (mut buffer, mut came) = ([0; 64], None);
        assert_eq!(read(&here, &mut buffer, &mut came).expect("read"), 6);
        let came = came.expect("stamped");
        assert!(came >= before && came < after + Duration::from_millis(50), "{before:?} {came:?} {after:?}");
    }

    #[test]
    fn a_note_is_believed_only_where_the_loop_did_not_listen() {
        let mut since = Since::default();
        since.listen(1_000_000);
        since.listen(2_000_000);
        since.heard(2_500_000);
        let wall = since.wall;
        let at = |ns: i64| {
            let off = Duration::from_nanos(ns.unsigned_abs());
            since.own(if ns < 0 { wall.saturating_sub(off) } else { wall + off }, 2_600_000)
        };
        assert_eq!((at(0), at(-400_000), at(-1_500_000), at(50_000)), (2_500_000, 2_100_000, 1_000_000, 2_550_000));
        // From before the last time of listening, or still to come: the clock was set.
        assert_eq!((at(-1_500_001), at(60_000_000_000)), (2_600_000, 2_600_000));
    }
}
