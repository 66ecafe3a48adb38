//! A client's non-blocking connection, which checks every byte that it receives.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use tokio_rustls::rustls::HandshakeKind;

use crate::bench::answer::Answer;
use crate::bench::security::Endpoint;
use crate::bench::wire::{Buffers, Piece, Wire};

/// A connection, and the answers that the server owes it.
#[derive(Debug)]
pub struct Connection {
    wire: Wire,
    /// The start of an answer whose rest has not come.
    begun: Vec<u8>,
    owed: usize,
}

/// The result of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Got {
    /// This many whole answers, all of them correct.
    Answers(usize),
    /// The server's end.
    End,
}

impl Connection {
    /// Connects. On loopback that takes no longer than the kernel's handshake; that of TLS comes later.
    pub fn open(endpoint: &Endpoint) -> Result<Self, String> {
        Self::with(Wire::open(endpoint).map_err(|error| format!("connect: {error}"))?)
    }

    /// Connects, and waits for the TLS handshake.
    pub fn shake_hands(endpoint: &Endpoint) -> Result<Self, String> {
        let shaken = Wire::open(endpoint).and_then(|mut wire| wire.shake_hands().map(|()| wire));
        Self::with(shaken.map_err(|error| format!("handshake: {error}"))?)
    }

    fn with(wire: Wire) -> Result<Self, String> {
        wire.set_nonblocking().map_err(|error| format!("a socket option: {error}"))?;
        Ok(Self { wire, begun: Vec::new(), owed: 0 })
    }

    /// Writes `requests` requests in one piece.
    pub fn ask(&mut self, bytes: &[u8], requests: usize) -> Result<(), String> {
        self.owed += requests;
        self.wire.write(bytes).map_err(|error| format!("write: {error}"))
    }

    /// Writes the rest of a request.
    pub fn flush(&mut self) -> Result<(), String> {
        self.wire.flush().map_err(|error| format!("write: {error}"))
    }

    /// Whether a part of a request waits for room in the socket.
    pub fn is_blocked(&self) -> bool {
        self.wire.is_blocked()
    }

    /// How many answers are still due.
    pub fn owed(&self) -> usize {
        self.owed
    }

    /// Whether it began with a full handshake.
    pub fn shook_hands_in_full(&self) -> bool {
        self.wire.handshake().is_some_and(|kind| kind != HandshakeKind::Resumed)
    }

    /// Reads the available bytes and checks them.
    pub fn read(&mut self, answer: &Answer, buffers: &mut Buffers) -> Result<Got, String> {
        let mut rest = match self.wire.read(buffers).map_err(|error| format!("read: {error}"))? {
            Piece::Bytes(bytes) => bytes,
            Piece::End if self.begun.is_empty() => return Ok(Got::End),
            Piece::End => return Err("an end in the middle of an answer".to_owned()),
        };
        let mut answers = 0;
        if !self.begun.is_empty() {
            let missing = (answer.len() - self.begun.len()).min(rest.len());
            self.begun.extend_from_slice(&rest[..missing]);
            rest = &rest[missing..];
            if self.begun.len() == answer.len() {
                check(answer, &self.begun)?;
                self.begun.clear();
                answers += 1;
            }
        }
        let mut whole = rest.chunks_exact(answer.len());
        for bytes in &mut whole {
            check(answer, bytes)?;
            answers += 1;
        }
        self.begun.extend_from_slice(whole.remainder());
        self.owed = self.owed.checked_sub(answers).ok_or("an answer without a request")?;
        Ok(Got::Answers(answers))
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wire.as_fd()
    }
}

fn check(answer: &Answer, bytes: &[u8]) -> Result<(), String> {
    match answer.matches(bytes) {
        true => Ok(()),
        false => {
            let begin = String::from_utf8_lossy(&bytes[..bytes.len().min(1000)]);
            Err(format!("a wrong answer of {} bytes: {begin:?}", bytes.len()))
        }
    }
}

/// Sends one request on a separate connection, to learn the answer.
pub fn learn(endpoint: &Endpoint, request: &[u8], body: &[u8]) -> Result<Answer, String> {
    // The answer is whole when its body is: later checks must see every byte that a server sends after it.
    let bytes = ask(endpoint, request, |answer| answer.ends_with(body));
    Answer::learn(&bytes.map_err(|error| format!("the first request: {error}"))?, body)
}

/// The number that a server has at this path.
pub fn learn_number(endpoint: &Endpoint, path: &str) -> Result<u64, String> {
    number_after(endpoint, path, "\r\n")
}

/// The process that answers a new connection.
pub fn answering_pid(endpoint: &Endpoint) -> Result<u32, String> {
    number_after(endpoint, "/ping", "pid:").map(|pid| pid as u32)
}

/// The number at the end of an answer.
fn number_after(endpoint: &Endpoint, path: &str, before: &str) -> Result<u64, String> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let bytes = ask(endpoint, request.as_bytes(), |_| false).map_err(|error| format!("{path}: {error}"))?;
    let text = String::from_utf8_lossy(&bytes);
    let number = text.rsplit(before).next().and_then(|number| number.parse().ok());
    number.ok_or_else(|| format!("{path} is no number: {text:?}"))
}

/// Sends one request on a separate connection, and returns the answer when it is whole or the connection ends.
fn ask(endpoint: &Endpoint, request: &[u8], is_whole: impl Fn(&[u8]) -> bool) -> io::Result<Vec<u8>> {
    let mut wire = Wire::open(endpoint)?;
    wire.write(request)?;
    let mut bytes = Vec::new();
    let mut buffers = Buffers::default();
    while !is_whole(&bytes) {
        match wire.read(&mut buffers)? {
            Piece::Bytes(piece) => bytes.extend_from_slice(piece),
            Piece::End => break,
        }
    }
    Ok(bytes)
}
