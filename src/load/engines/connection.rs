//! One connection held by hand: opened, asked one thing at a time, read to the end of each answer.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, RawFd};

use socket2::{Domain, Protocol, Socket, Type};

use crate::load::answer::Reader;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Connecting,
    Idle,
    Asking,
}

#[derive(Debug)]
pub struct Connection {
    socket: TcpStream,
    pub phase: Phase,
    pub reader: Reader,
    pub opened_ns: u64,
    /// What is being asked, and how much of it is on its way.
    pub out: Vec<u8>,
    written: usize,
}

impl AsRawFd for Connection {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl Connection {
    /// Begins to connect; the poll tells when that is done.
    pub fn open(to: SocketAddr, reader: Reader, now_ns: u64) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        match socket.connect(&to.into()) {
            Ok(()) => {}
            Err(e) if e.raw_os_error() == Some(libc::EINPROGRESS) => {}
            Err(e) => return Err(e),
        }
        Ok(Self {
            socket: socket.into(),
            phase: Phase::Connecting,
            reader,
            opened_ns: now_ns,
            out: Vec::new(),
            written: 0,
        })
    }

    /// Returns what kept it from connecting, if anything did.
    pub fn connect_error(&self) -> Option<io::Error> {
        self.socket.take_error().unwrap_or_else(Some)
    }

    /// Sends what is left to send, as far as the kernel takes it.
    pub fn flush(&mut self) -> io::Result<()> {
        while self.written < self.out.len() {
            match self.socket.write(&self.out[self.written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => self.written += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Forgets the last request; `out` is then to be filled with the next.
    pub fn clear(&mut self) {
        self.out.clear();
        self.written = 0;
    }

    /// Returns how many bytes came, `None` when nothing is there now.
    pub fn read(&mut self, into: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match self.socket.read(into) {
                Ok(n) => return Ok(Some(n)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}
