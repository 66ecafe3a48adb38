//! A client's connection on a raw non-blocking socket, which checks every byte that it receives.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

use crate::bench::answer::Answer;

/// A connection, and the answers that the server owes it.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// The start of an answer whose rest has not come.
    begun: Vec<u8>,
    owed: usize,
}

/// The result of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Got {
    /// This many whole answers, all of them correct.
    Answers(usize),
    /// This many, and then the server's end.
    End(usize),
}

impl Connection {
    /// Connects. On loopback that takes no longer than the kernel's handshake.
    pub fn open(address: SocketAddr) -> Result<Self, String> {
        let stream = TcpStream::connect(address).map_err(|error| format!("connect: {error}"))?;
        let set = stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true));
        set.map_err(|error| format!("a socket option: {error}"))?;
        Ok(Self { stream, begun: Vec::new(), owed: 0 })
    }

    /// Writes `requests` requests in one piece.
    pub fn ask(&mut self, bytes: &[u8], requests: usize) -> Result<(), String> {
        match self.stream.write(bytes) {
            Ok(written) if written == bytes.len() => {
                self.owed += requests;
                Ok(())
            }
            Ok(written) => Err(format!("only {written} bytes of a request were taken")),
            Err(error) => Err(format!("write: {error}")),
        }
    }

    /// How many answers are still due.
    pub fn owed(&self) -> usize {
        self.owed
    }

    /// Reads the available bytes and checks them.
    pub fn read(&mut self, answer: &Answer, buffer: &mut [u8]) -> Result<Got, String> {
        let count = match self.stream.read(buffer) {
            Ok(0) if self.begun.is_empty() => return Ok(Got::End(0)),
            Ok(0) => return Err("an end in the middle of an answer".to_owned()),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Got::Answers(0)),
            Err(error) => return Err(format!("read: {error}")),
        };
        let mut rest = &buffer[..count];
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
        self.stream.as_fd()
    }
}

fn check(answer: &Answer, bytes: &[u8]) -> Result<(), String> {
    match answer.matches(bytes) {
        true => Ok(()),
        false => Err(format!("a wrong answer: {:?}", String::from_utf8_lossy(bytes))),
    }
}

/// Sends one request on a separate connection, to learn the answer.
pub fn learn(address: SocketAddr, request: &[u8], body: &[u8]) -> Result<Answer, String> {
    let ask = || {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(request)?;
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        // The answer is whole when its body is: later checks must see every byte that a server sends after it.
        while !bytes.ends_with(body) {
            match stream.read(&mut buffer)? {
                0 => break,
                count => bytes.extend_from_slice(&buffer[..count]),
            }
        }
        Ok(bytes)
    };
    let bytes = ask().map_err(|error: std::io::Error| format!("the first request: {error}"))?;
    Answer::learn(&bytes, body)
}
