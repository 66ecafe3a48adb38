//! The frames that h2 sends, as the client gets them.
//!
//! h2 has to believe in windows larger than those that the client may use ([`credit`](super::credit)). So its SETTINGS
//! are changed, and it does not open windows: that is done for it.

use std::io::IoSlice;
use std::sync::Arc;

use bytes::BytesMut;

use crate::conn::http2::credit::Credit;
use crate::conn::http2::frames::{HEAD, Head, RST_STREAM, SETTINGS, WINDOW_UPDATE};

/// The identifier of a stream's first window (RFC 9113 section 6.5.2).
const INITIAL_WINDOW_SIZE: [u8; 2] = [0, 4];

/// Follows what h2 writes.
#[derive(Debug)]
pub(crate) struct Outbound {
    credit: Arc<Credit>,
    /// The first window of a stream, as the client sees it.
    first: u32,
    place: Place,
    /// The part that h2 has written so far of a frame that goes out changed.
    taken: BytesMut,
    has_settings: bool,
}

/// What the next byte is part of.
#[derive(Clone, Copy, Debug)]
enum Place {
    Head { bytes: [u8; HEAD], read: usize },
    Payload { left: usize },
}

impl Place {
    const START: Self = Self::Head { bytes: [0; HEAD], read: 0 };

    fn is_start(self) -> bool {
        matches!(self, Self::Head { read: 0, .. })
    }

    /// Goes on through some of the bytes, at least one, and at most to the end of a head or of a payload. Returns the
    /// head that has ended.
    fn step(&mut self, bytes: &mut &[u8]) -> Option<Head> {
        match self {
            Self::Head { bytes: head, read } => {
                let count = bytes.len().min(HEAD - *read);
                head[*read..*read + count].copy_from_slice(&bytes[..count]);
                *bytes = &bytes[count..];
                *read += count;
                let head = (*read == HEAD).then(|| Head::parse(*head))?;
                *self = match head.length {
                    0 => Self::START,
                    length => Self::Payload { left: length as usize },
                };
                Some(head)
            }
            Self::Payload { left } => {
                let count = bytes.len().min(*left);
                *bytes = &bytes[count..];
                *left -= count;
                if *left == 0 {
                    *self = Self::START;
                }
                None
            }
        }
    }
}

/// What to do with the bytes that h2 writes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// They may all go out.
    All,
    /// So many, for now.
    Part(usize),
    /// So many begin a frame that goes out changed.
    Take(usize),
}

impl Outbound {
    pub(super) fn new(credit: Arc<Credit>, first: u32) -> Self {
        Self { credit, first, place: Place::START, taken: BytesMut::new(), has_settings: false }
    }

    /// Whether frames of our own may go out now: SETTINGS are the first (RFC 9113 section 3.4).
    pub(crate) fn is_between_frames(&self) -> bool {
        self.has_settings && self.place.is_start() && self.taken.is_empty()
    }

    pub(crate) fn plan(&self, bufs: &[IoSlice<'_>]) -> Plan {
        if !self.taken.is_empty() {
            return Plan::Take(self.missing());
        }
        let mut place = self.place;
        // The beginning of the current frame, and the bytes looked at so far.
        let (mut start, mut end) = (0, 0);
        for buf in bufs {
            let mut bytes = &buf[..];
            while !bytes.is_empty() {
                if place.is_start() {
                    start = end;
                }
                let before = bytes.len();
                let head = place.step(&mut bytes);
                end += before - bytes.len();
                if head.is_some_and(|head| self.changes(head)) {
                    return if start == 0 { Plan::Take(HEAD) } else { Plan::Part(start) };
                }
            }
        }
        // A head that has only begun shows itself with the next bytes.
        match place {
            Place::Head { read: 1.., .. } if start > 0 => Plan::Part(start),
            Place::Head { read: 1.., .. } if self.place.is_start() => Plan::Take(end),
            _ => Plan::All,
        }
    }

    /// The first `count` bytes go out.
    pub(crate) fn note_written(&mut self, bufs: &[IoSlice<'_>], mut count: usize) {
        for buf in bufs {
            let mut bytes = &buf[..buf.len().min(count)];
            count -= bytes.len();
            while !bytes.is_empty() {
                if let Some(head) = self.place.step(&mut bytes)
                    && head.kind == RST_STREAM
                {
                    self.credit.note_reset(head.stream);
                }
            }
        }
    }

    /// Takes up to so many bytes, as [planned](Self::plan), and says how many it took. Once the frame is complete,
    /// what goes out instead is appended.
    pub(crate) fn take(&mut self, bufs: &[IoSlice<'_>], count: usize, out: &mut BytesMut) -> usize {
        let before = self.taken.len();
        for buf in bufs {
            let left = count - (self.taken.len() - before);
            self.taken.extend_from_slice(&buf[..buf.len().min(left)]);
        }
        let took = self.taken.len() - before;
        if self.missing() == 0 {
            self.put_changed(out);
        }
        took
    }

    /// How many bytes of the taken frame are missing. Until its head is complete, only those of the head count.
    fn missing(&self) -> usize {
        let whole = self.taken_head().map_or(HEAD, |head| HEAD + head.length as usize);
        whole - self.taken.len()
    }

    fn taken_head(&self) -> Option<Head> {
        Some(Head::parse(*self.taken.first_chunk()?))
    }

    fn changes(&self, head: Head) -> bool {
        head.kind == WINDOW_UPDATE || (head.kind == SETTINGS && !head.is_ack())
    }

    fn put_changed(&mut self, out: &mut BytesMut) {
        let Some(head) = self.taken_head() else { return };
        let (_, payload) = self.taken.split_at_mut(HEAD);
        match head.kind {
            WINDOW_UPDATE if head.stream == 0 => {
                let increment = payload.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
                self.credit.open_connection(increment as usize);
            }
            WINDOW_UPDATE => {}
            SETTINGS if !head.is_ack() => {
                for setting in payload.chunks_exact_mut(6) {
                    if setting[..2] == INITIAL_WINDOW_SIZE {
                        setting[2..].copy_from_slice(&self.first.to_be_bytes());
                    }
                }
                out.extend_from_slice(&self.taken);
                self.has_settings = true;
            }
            // Until now it looked as one of those might.
            kind => {
                if kind == RST_STREAM {
                    self.credit.note_reset(head.stream);
                }
                out.extend_from_slice(&self.taken);
            }
        }
        self.taken.clear();
    }
}

#[cfg(test)]
#[path = "outbound_tests.rs"]
mod tests;
