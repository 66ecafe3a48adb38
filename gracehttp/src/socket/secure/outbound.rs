//! The records that go to the client.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite as _;

use crate::record::{Fault, HEADER_LENGTH, MAX_PLAIN_LENGTH, Session, WornOut};
use crate::socket::BareStream;

/// At most so many bytes of plain text are sealed before the socket has to take them.
const AT_ONCE: usize = 64 << 10;

/// A record is at most so much longer than its plain text: header, explicit nonce, content type, tag.
const OVERHEAD: usize = HEADER_LENGTH + 8 + 1 + 16;

/// Records that are sealed, of which the socket has taken a part.
#[derive(Default)]
pub(super) struct Outbound {
    sealed: Vec<u8>,
    sent: usize,
    /// The last record is sealed: nothing may follow it.
    ended: bool,
}

impl Outbound {
    /// Whether everything that was sealed is in the socket.
    pub(super) fn is_sent(&self) -> bool {
        self.sent == self.sealed.len()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.sealed.capacity()
    }

    /// Seals as many of these bytes as there is room for, from the first on. Returns how many.
    pub(super) fn seal(&mut self, session: &mut Session, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.ended {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the TLS session has ended"));
        }
        let length = bufs.iter().map(|buf| buf.len()).sum::<usize>().min(AT_ONCE);
        self.sealed.reserve(length + OVERHEAD * length.div_ceil(MAX_PLAIN_LENGTH));
        let mut count = 0;
        let outcome = match length {
            0 => Ok(()),
            1..=MAX_PLAIN_LENGTH => session.seal(bufs, &mut self.sealed).map(|sealed| count = sealed),
            _ => self.seal_in_turn(session, &mut bufs.to_vec(), &mut count),
        };
        match outcome {
            Ok(()) => Ok(count),
            Err(WornOut) => {
                self.end(session);
                match count {
                    0 => {
                        Err(io::Error::other("the key of the TLS session is worn out; TLS 1.2 has no other"))
                    }
                    _ => Ok(count),
                }
            }
        }
    }

    /// Seals record after record, and counts their bytes.
    fn seal_in_turn(
        &mut self,
        session: &mut Session,
        mut bufs: &mut [IoSlice<'_>],
        count: &mut usize,
    ) -> Result<(), WornOut> {
        while *count < AT_ONCE && !bufs.is_empty() {
            let sealed = session.seal(bufs, &mut self.sealed)?;
            *count += sealed;
            IoSlice::advance_slices(&mut bufs, sealed);
        }
        Ok(())
    }

    /// Lets the session append replies to what it opens. They are dropped if our last record is sealed already.
    pub(super) fn with_replies<T>(&mut self, open: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let length = self.sealed.len();
        let opened = open(&mut self.sealed);
        if self.ended {
            self.sealed.truncate(length);
        }
        opened
    }

    /// Seals our close_notify, if it is not sealed yet.
    pub(super) fn end(&mut self, session: &mut Session) {
        if !std::mem::replace(&mut self.ended, true) {
            session.seal_close_notify(&mut self.sealed);
        }
    }

    /// Seals the alert that tells the client of its fault, if nothing has ended yet.
    pub(super) fn end_with_alert(&mut self, session: &mut Session, fault: &Fault) {
        if !std::mem::replace(&mut self.ended, true) {
            session.seal_alert(fault, &mut self.sealed);
        }
    }

    /// Ready when everything that was sealed is in the socket.
    pub(super) fn poll_send(&mut self, bare: &mut BareStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.is_sent() {
            match ready!(Pin::new(&mut *bare).poll_write(cx, &self.sealed[self.sent..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.sent += count,
            }
        }
        self.sealed.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    /// Nothing is on its way.
    pub(super) fn free(&mut self) {
        self.sealed = Vec::new();
    }
}
