//! The bytes that have come from the client.

use std::io;
use std::ops::Range;

use tokio::io::ReadBuf;

use crate::record::{Content, Fault, HEADER_LENGTH, MAX_SEALED_LENGTH, Opened, Session};
use crate::socket::secure::outbound::Outbound;

/// The room of the first read.
const USUAL: usize = 4 << 10;

/// The room of a read after all that came at once was no more. An allocator keeps pieces of this size at hand: the room is
/// freed whenever nothing is on its way, and made again for each request.
const SMALL: usize = 1 << 10;

/// The longest record with its header.
pub(super) const RECORD: usize = HEADER_LENGTH + MAX_SEALED_LENGTH;

/// A buffer that holds plain text that was not read yet, and behind it the beginning of a record that is not whole.
///
/// It holds nothing else, since all whole records are opened in place as soon as they have come.
pub(super) struct Inbound {
    bytes: Vec<u8>,
    opened: Range<usize>,
    /// Where the record begins that is not whole.
    cut: usize,
    /// The room for the next read, with the cut record.
    size: usize,
    /// The most bytes that it has held since it was freed.
    most: usize,
    end: Option<End>,
}

/// Why nothing more comes from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It has sent a close_notify (RFC 8446 section 6.1).
    Closed,
    /// The socket has ended without a close_notify: an attacker may have cut the rest off (RFC 8446 section 6.1).
    CutOff,
    /// A record was at fault.
    Failed { reason: &'static str },
}

impl End {
    /// What a read returns from now on.
    pub(super) fn outcome(self) -> io::Result<()> {
        match self {
            Self::Closed => Ok(()),
            Self::CutOff => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the client has closed without close_notify",
            )),
            Self::Failed { reason } => Err(io::Error::new(io::ErrorKind::InvalidData, reason)),
        }
    }
}

impl Inbound {
    /// Nothing of these bytes is opened yet.
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, opened: 0..0, cut: 0, size: USUAL, most: 0, end: None }
    }

    /// The plain text that was not read yet.
    pub(super) fn opened(&self) -> &[u8] {
        &self.bytes[self.opened.clone()]
    }

    /// The beginning of a record that is not whole.
    pub(super) fn cut(&self) -> &[u8] {
        &self.bytes[self.cut..]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.opened().is_empty() && self.cut().is_empty()
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    pub(super) fn end(&self) -> Option<End> {
        self.end
    }

    /// Opens the whole records.
    pub(super) fn open(&mut self, session: &mut Session, outbound: &mut Outbound) -> Result<(), Fault> {
        while self.cut < self.bytes.len() {
            match outbound.with_replies(|replies| session.open(&mut self.bytes[self.cut..], replies))? {
                Opened::Incomplete { needed } => {
                    self.size = self.size.max(needed);
                    break;
                }
                Opened::Record { length, content } => {
                    let start = self.cut;
                    self.cut += length;
                    match content {
                        Content::Data(place) => self.append(start + place.start..start + place.end),
                        Content::Nothing => {}
                        Content::Closed => {
                            self.end_with(End::Closed);
                            break;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Puts the plain text of the next record behind the last.
    fn append(&mut self, place: Range<usize>) {
        if self.opened.is_empty() {
            self.opened = place;
            return;
        }
        let end = self.opened.end;
        self.opened.end += place.len();
        self.bytes.copy_within(place, end);
    }

    /// Moves as much of the plain text as there is room for.
    pub(super) fn deliver(&mut self, buf: &mut ReadBuf<'_>) {
        let opened = self.opened();
        let count = opened.len().min(buf.remaining());
        buf.put_slice(&opened[..count]);
        self.opened.start += count;
    }

    /// Makes room behind a cut record, when all plain text was read.
    pub(super) fn room(&mut self) -> &mut Vec<u8> {
        self.bytes.drain(..self.cut);
        (self.cut, self.opened) = (0, 0..0);
        let sizes = [SMALL, USUAL];
        let size = sizes.into_iter().find(|size| self.size <= *size).unwrap_or(RECORD);
        self.bytes.reserve_exact(size.saturating_sub(self.bytes.len()));
        &mut self.bytes
    }

    /// A client that fills the room has more to send.
    pub(super) fn note_read(&mut self) {
        self.most = self.most.max(self.bytes.len());
        if self.bytes.len() == self.bytes.capacity() {
            self.size = RECORD;
        }
    }

    /// Nothing is on its way.
    pub(super) fn free(&mut self) {
        // What comes next is often as long as what came last.
        let size = match self.most {
            0 => self.size,
            1..=SMALL => SMALL,
            _ => USUAL,
        };
        *self = Self { size, end: self.end, ..Self::new(Vec::new()) };
    }

    pub(super) fn note_cut_off(&mut self) {
        self.end_with(End::CutOff);
    }

    pub(super) fn fail(&mut self, fault: &Fault) {
        self.end_with(End::Failed { reason: fault.reason });
    }

    /// What follows the end does not count (RFC 8446 section 6.1).
    fn end_with(&mut self, end: End) {
        self.bytes.truncate(self.opened.end);
        self.cut = self.bytes.len();
        self.end = Some(end);
    }
}
