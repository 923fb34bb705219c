//! One connection held by hand: opened, asked one thing at a time, read to the end of each answer.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use rustls::ClientConnection;

use socket2::{Domain, Protocol, Socket, Type};

use super::stamp;
use crate::load::answer::Reader;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Connecting,
    /// Connected, and agreeing on keys.
    Securing,
    Idle,
    Asking,
}

#[derive(Debug)]
pub struct Connection {
    socket: TcpStream,
    pub phase: Phase,
    pub reader: Reader,
    pub opened_ns: u64,
    /// Whole answers that it gave.
    pub answered: u64,
    /// What is being asked, and how much of it is on its way.
    pub out: Vec<u8>,
    written: usize,
    tls: Option<Box<ClientConnection>>,
    /// Whether the kernel tells when bytes came, and when those came that were read last, on the wall clock.
    stamps: bool,
    pub came: Option<Duration>,
}

impl AsRawFd for Connection {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl Connection {
    /// Begins to connect; the poll tells when that is done.
    pub fn open(to: SocketAddr, tls: Option<Box<ClientConnection>>, reader: Reader, now_ns: u64) -> io::Result<Self> {
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
            answered: 0,
            out: Vec::new(),
            written: 0,
            tls,
            stamps: false,
            came: None,
        })
    }

    /// Has the kernel note when bytes come, where it can, so that it does not matter when they are read.
    pub fn stamp(&mut self) {
        self.stamps = self.tls.is_none() && stamp::ask(&self.socket).is_ok();
    }

    /// Returns what kept it from connecting, if anything did.
    pub fn connect_error(&self) -> Option<io::Error> {
        self.socket.take_error().unwrap_or_else(Some)
    }

    /// Whether it is not yet ready to be asked.
    pub fn is_opening(&self) -> bool {
        matches!(self.phase, Phase::Connecting | Phase::Securing)
    }

    pub fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether the other side agreed to speak this.
    pub fn speaks(&self, protocol: &[u8]) -> bool {
        self.tls.as_ref().is_none_or(|t| t.alpn_protocol() == Some(protocol))
    }

    /// Sends some of what is given, past `out`; returns how much the kernel or TLS took, `None` when nothing just now.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        if let Some(tls) = &mut self.tls {
            let taken = tls.writer().write(bytes)?;
            self.push()?;
            return Ok(Some(taken).filter(|n| *n > 0));
        }
        loop {
            match self.socket.write(bytes) {
                Ok(n) => return Ok(Some(n)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Goes on agreeing on keys; returns whether that is done.
    pub fn secure(&mut self) -> io::Result<bool> {
        self.push()?;
        self.pull()?;
        self.push()?;
        Ok(self.tls.as_ref().is_none_or(|t| !t.is_handshaking() && !t.wants_write()))
    }

    /// Sends what TLS has ready, as far as the kernel takes it.
    pub fn push(&mut self) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        while tls.wants_write() {
            match tls.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Takes what came for the agreement on keys.
    fn pull(&mut self) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        while tls.is_handshaking() {
            match tls.read_tls(&mut self.socket) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            }
            if let Err(e) = tls.process_new_packets() {
                // The other side hears why, so that its log and ours agree.
                let _ = tls.write_tls(&mut self.socket);
                return Err(io::Error::other(e));
            }
            while tls.wants_write() && tls.write_tls(&mut self.socket).is_ok() {}
        }
        Ok(())
    }

    /// Sends what is left to send, as far as the kernel takes it.
    pub fn flush(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            if self.written < self.out.len() {
                self.written += tls.writer().write(&self.out[self.written..])?;
            }
            return self.push();
        }
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

    pub fn is_flushed(&self) -> bool {
        self.written == self.out.len() && self.tls.as_ref().is_none_or(|t| !t.wants_write())
    }

    /// Forgets the last request; `out` is then to be filled with the next.
    pub fn clear(&mut self) {
        self.out.clear();
        self.written = 0;
    }

    /// Returns how many bytes came, `None` when nothing is there now.
    pub fn read(&mut self, into: &mut [u8]) -> io::Result<Option<usize>> {
        if self.tls.is_some() {
            return self.read_secure(into);
        }
        loop {
            let read =
                if self.stamps { stamp::read(&self.socket, into, &mut self.came) } else { self.socket.read(into) };
            match read {
                Ok(n) => return Ok(Some(n)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    fn read_secure(&mut self, into: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            let Some(tls) = &mut self.tls else { return Ok(None) };
            match tls.reader().read(into) {
                Ok(n) => return Ok(Some(n)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                // Closed without saying so: the same as a plain close, and torn only where an answer is.
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(Some(0)),
                Err(e) => return Err(e),
            }
            // One record at a time, so that no body is ever held whole.
            match tls.read_tls(&mut self.socket) {
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            }
            tls.process_new_packets().map_err(io::Error::other)?;
            self.push()?;
        }
    }
}
