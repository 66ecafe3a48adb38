//! The account of one connection's uploads: no I/O, no clock.
//!
//! What an upload may come to is what its client may still send (its credit), what no handler has read, and what its
//! handler holds. Each upload may come to the first window. Beyond that it needs some of the pool, which all uploads
//! share. So an upload whose handler passes on what it reads never waits for another: its first window is opened
//! again and again.
//!
//! Once the pool is used up, uploads that handlers collect have to wait, and their clients are not to blame. *The
//! right* lets one of them proceed to its end, even if it is larger than the pool: the oldest that waits gets it.
//!
//! Some upload always proceeds. If one waits, another has the right, or would have been given it. The holder of the
//! right always has a window that no other can take from it: it ends when its client sends, its handler reads on and
//! answers. A client that does not send ends by a time limit. A handler that neither reads nor answers is the
//! application's own. A holder whose handler passes on what it reads, as it turns out, would not end soon: it is
//! given no more until it needs the pool no longer, and then the next one has the right.

use std::collections::BTreeMap;

use bytes::BytesMut;

use crate::conn::http2::credit::pinned::{CHUNK, Pinned};
use crate::conn::http2::credit::upload::{State, Upload};
use crate::conn::http2::frames::Fault;
use crate::conn::http2::room::{FIRST_FRAME, Shares, UNTOLD_WINDOW};

/// The window of a tunnel.
const TUNNEL: usize = 256 << 10;

/// WINDOW_UPDATE of 4 bytes (RFC 9113 section 6.9).
const HEAD: [u8; 5] = [0, 0, 4, 8, 0];

/// The fewest chunks of input that may hold unread bytes, on a connection with little memory.
const LEAST_CHUNKS: usize = 64;

/// What h2 holds for a frame besides its bytes: as much as for a frame of this size, at least.
const FRAME: usize = 256;

#[derive(Debug)]
pub(super) struct Account {
    shares: Shares,
    /// By the order in which they were opened.
    uploads: BTreeMap<u32, Upload>,
    /// How much of the pool is used.
    used: usize,
    /// What h2 holds for small frames besides their bytes.
    overhead: usize,
    /// The parts of the input that h2 holds.
    pinned: Pinned,
    /// How much has come on the connection before the next frame.
    place: u64,
    right: Option<Right>,
    /// An upload may be waiting for credit.
    has_waiting: bool,
    /// What the client may still send on the whole connection before it acknowledges our SETTINGS; None after that.
    before_settings: Option<usize>,
    /// Credit that was granted, but not yet sent to the client.
    due: BTreeMap<u32, usize>,
    /// Credit of the whole connection that was granted, but not yet sent to the client.
    due_of_connection: usize,
}

#[derive(Debug)]
struct Right {
    stream: u32,
    /// What its holder was given.
    given: usize,
}

/// What h2 holds for a frame of so many bytes besides these.
fn overhead(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { FRAME.saturating_sub(bytes) }
}

impl Account {
    pub(super) fn new(shares: Shares) -> Self {
        Self {
            shares,
            uploads: BTreeMap::new(),
            used: 0,
            overhead: 0,
            pinned: Pinned::default(),
            place: 0,
            right: None,
            has_waiting: false,
            before_settings: Some(UNTOLD_WINDOW),
            due: BTreeMap::new(),
            due_of_connection: 0,
        }
    }

    /// The head of a request has come, and a body follows.
    pub(super) fn open(&mut self, stream: u32) {
        let upload = Upload { credit: self.shares.first as i64, is_open: true, ..Upload::default() };
        self.uploads.insert(stream, upload);
    }

    pub(super) fn declare(&mut self, stream: u32, length: Option<u64>) {
        self.change(stream, |upload| upload.declared = length);
    }

    pub(super) fn is_tunnel(&mut self, stream: u32) {
        self.change(stream, |upload| upload.state = State::Tunnel);
        self.widen_tunnel(stream);
    }

    fn is_tunnel_open(&self, stream: u32) -> bool {
        self.uploads.get(&stream).is_some_and(|upload| upload.state == State::Tunnel && upload.is_open)
    }

    fn widen_tunnel(&mut self, stream: u32) {
        let Some(upload) = self.uploads.get(&stream).filter(|upload| upload.is_open) else { return };
        let missing = usize::try_from(TUNNEL as i64 - upload.credit).unwrap_or(0);
        if missing >= TUNNEL / 4 {
            self.give(stream, missing);
        }
    }

    /// The client knows our SETTINGS: from now on it has the first window, and that of the connection is opened.
    pub(super) fn acknowledge(&mut self) {
        self.before_settings = None;
    }

    /// h2 opens the window of the connection. Until the client knows that its streams have small ones, that has to
    /// wait: so it can't use the windows that it has until then for all of them.
    pub(super) fn open_connection(&mut self, bytes: usize) {
        self.due_of_connection += bytes;
    }

    /// The next frame is at this place of all that the client sends.
    pub(super) fn is_at(&mut self, place: u64) {
        self.place = place;
    }

    /// A DATA frame has begun. Padding counts (RFC 9113 section 6.1), but nothing has to read it.
    ///
    /// A client that sends more than its credit is at fault, but a server may take it (section 6.9.1): the first frame
    /// of a stream is taken in any case.
    pub(super) fn receive(&mut self, stream: u32, length: usize, padding: usize) -> Result<(), Fault> {
        let mut more = 0;
        if let Some(left) = &mut self.before_settings {
            *left = left.checked_sub(length).ok_or(Fault::FlowControl)?;
            more = UNTOLD_WINDOW - self.shares.first;
        }
        // h2 judges the bytes of a stream that is over: they may have been in transit when h2 reset the stream.
        if !self.uploads.get(&stream).is_some_and(|upload| upload.is_open) {
            return Ok(());
        }
        let payload = length - padding.min(length);
        let place = self.place;
        self.place += length as u64;
        let overhead = if self.is_tunnel_open(stream) { 0 } else { overhead(payload) };
        let is_within = self.change(stream, |upload| {
            upload.arrived += length as u64;
            let is_within =
                length as i64 <= upload.credit + more as i64 || upload.arrived <= FIRST_FRAME as u64;
            upload.credit -= length as i64;
            upload.received += payload as u64;
            upload.overhead += overhead;
            if upload.state != State::Tunnel {
                upload.unread += payload;
            }
            is_within
        });
        if self.is_tunnel_open(stream) {
            self.widen_tunnel(stream);
        } else if padding > 0 {
            self.refill(stream);
            self.serve_waiting();
        }
        if !self.is_tunnel_open(stream)
            && let Some(upload) = self.uploads.get_mut(&stream)
        {
            self.pinned.add(&mut upload.places, place, payload);
        }
        self.overhead += overhead;
        if is_within != Some(true) {
            return Err(Fault::FlowControl);
        }
        let is_too_much = self.overhead > self.shares.pool / 2 || self.pinned.bytes() > self.most_pinned();
        if is_too_much { Err(Fault::Flood) } else { Ok(()) }
    }

    /// How much of the input h2 may hold: all that bodies may come to fits, if it comes in one piece.
    fn most_pinned(&self) -> usize {
        self.shares.most_unread().max(LEAST_CHUNKS * CHUNK)
    }

    /// Nothing more will come on this stream, or nothing more may be said on it.
    pub(super) fn close(&mut self, stream: u32) {
        self.due.remove(&stream);
        let is_tunnel = self.change(stream, |upload| {
            upload.is_open = false;
            upload.credit = 0;
            upload.state == State::Tunnel
        });
        if is_tunnel == Some(true) {
            self.end(stream);
        }
        self.serve_waiting();
    }

    /// The reader waits for more.
    pub(super) fn ask(&mut self, stream: u32) {
        self.change(stream, |upload| {
            upload.is_awaited = true;
            if upload.state == State::Unasked {
                upload.state = State::Read;
            }
        });
        self.refill(stream);
        self.serve_waiting();
    }

    /// The reader has taken some bytes, and holds them at this cost. Returns whether that is counted.
    pub(super) fn take(&mut self, stream: u32, bytes: usize, cost: usize) -> bool {
        let is_counted = self.change(stream, |upload| {
            upload.is_awaited = false;
            upload.unread = upload.unread.saturating_sub(bytes);
            // The bytes may be those of many frames.
            let overhead =
                if upload.unread == 0 { upload.overhead } else { overhead(bytes).min(upload.overhead) };
            upload.overhead -= overhead;
            if upload.state == State::Unasked {
                upload.state = State::Read;
            }
            let is_counted = upload.state == State::Read;
            if is_counted {
                upload.held += cost;
            }
            (is_counted, overhead)
        });
        let (is_counted, overhead) = is_counted.unwrap_or_default();
        self.overhead -= overhead;
        if let Some(upload) = self.uploads.get_mut(&stream) {
            self.pinned.take(&mut upload.places, bytes);
        }
        self.refill(stream);
        self.serve_waiting();
        is_counted
    }

    /// The handler has dropped bytes that cost this much.
    pub(super) fn let_go(&mut self, stream: u32, cost: usize) {
        let is_awaited = self.change(stream, |upload| {
            if upload.state == State::Read {
                upload.held = upload.held.saturating_sub(cost);
            }
            upload.is_awaited
        });
        if is_awaited == Some(true) {
            self.refill(stream);
        }
        self.serve_waiting();
    }

    /// The reader has seen the end.
    pub(super) fn is_whole(&mut self, stream: u32) {
        self.change(stream, |upload| {
            upload.is_awaited = false;
            if matches!(upload.state, State::Unasked | State::Read) {
                upload.state = State::Whole;
            }
        });
    }

    /// The response begins.
    pub(super) fn is_answered(&mut self, stream: u32) {
        self.change(stream, |upload| {
            if upload.state != State::Tunnel {
                (upload.state, upload.held) = (State::Free, 0);
            }
        });
        self.release(stream);
        self.serve_waiting();
    }

    /// The rest will be read and thrown away. False if the client would need more credit for it than there is.
    pub(super) fn allow_rest(&mut self, stream: u32, rest: u64) -> bool {
        self.is_whole(stream);
        let most = self.shares.pool / 2;
        let Some(rest) = usize::try_from(rest).ok().filter(|rest| *rest <= most) else { return false };
        let free = self.free() as i64;
        let Some(upload) = self.uploads.get(&stream) else { return false };
        let missing = rest as i64 - upload.credit - upload.unread as i64;
        if missing > 0 && upload.is_open {
            if missing > free {
                return false;
            }
            self.give(stream, missing as usize);
        }
        true
    }

    /// The stream is over.
    pub(super) fn end(&mut self, stream: u32) {
        // A tunnel outlives its exchange.
        if self.is_tunnel_open(stream) {
            return;
        }
        self.release(stream);
        self.due.remove(&stream);
        if let Some(upload) = self.uploads.remove(&stream) {
            self.overhead -= upload.overhead;
            self.used -= upload.share(false, &self.shares);
            self.pinned.forget(upload.places);
        }
        self.serve_waiting();
    }

    /// Whether the client may send on this stream: if not, it is not to blame for sending nothing.
    pub(super) fn may_send(&self, stream: u32) -> bool {
        self.uploads.get(&stream).is_none_or(|upload| !upload.is_open || upload.credit > 0)
    }

    /// The holder of the right and all that has come of it, if its client lets others wait.
    pub(super) fn blocking(&self) -> Option<(u32, u64)> {
        let stream = self.right.as_ref()?.stream;
        let upload = self.uploads.get(&stream)?;
        let is_to_send = upload.is_awaited && upload.is_open && upload.credit > 0;
        (is_to_send && self.others_wait(stream)).then_some((stream, upload.received))
    }

    pub(super) fn has_due(&self) -> bool {
        !self.due.is_empty() || (self.due_of_connection > 0 && self.before_settings.is_none())
    }

    /// Appends the frames that tell the client.
    pub(super) fn put_due(&mut self, bytes: &mut BytesMut) {
        let mut put = |stream: u32, increment: usize| {
            for part in [&HEAD[..], &stream.to_be_bytes(), &(increment as u32).to_be_bytes()] {
                bytes.extend_from_slice(part);
            }
        };
        if self.before_settings.is_none() && self.due_of_connection > 0 {
            put(0, std::mem::take(&mut self.due_of_connection));
        }
        for (stream, increment) in std::mem::take(&mut self.due) {
            put(stream, increment);
        }
    }

    fn free(&self) -> usize {
        self.shares.pool.saturating_sub(self.used)
    }

    fn has_right(&self, stream: u32) -> bool {
        self.right.as_ref().is_some_and(|right| right.stream == stream)
    }

    fn others_wait(&self, holder: u32) -> bool {
        self.has_waiting
            && self.uploads.iter().any(|(stream, upload)| *stream != holder && upload.waits(&self.shares))
    }

    /// Changes an upload, and how much of the pool it uses.
    fn change<R>(&mut self, stream: u32, change: impl FnOnce(&mut Upload) -> R) -> Option<R> {
        let has_right = self.has_right(stream);
        let upload = self.uploads.get_mut(&stream)?;
        self.used -= upload.share(has_right, &self.shares);
        let result = change(upload);
        self.used += upload.share(has_right, &self.shares);
        Some(result)
    }

    fn give(&mut self, stream: u32, bytes: usize) {
        self.change(stream, |upload| upload.credit += bytes as i64);
        *self.due.entry(stream).or_default() += bytes;
        if let Some(right) = self.right.as_mut().filter(|right| right.stream == stream) {
            right.given += bytes;
        }
    }

    /// Gives an upload that is read the credit that it can use, if that is enough for a frame of its own.
    fn refill(&mut self, stream: u32) {
        // A half is left for others.
        let part = if self.uploads.len() == 1 { self.free() } else { self.free() / 2 } as i64;
        let has_right = self.has_right(stream);
        let Some(upload) = self.uploads.get(&stream).filter(|upload| upload.is_read()) else { return };
        if has_right && self.yields(upload) {
            return;
        }
        let shares = &self.shares;
        let (first, held) = (shares.first as i64, upload.held as i64);
        let most = match upload.state {
            State::Tunnel => return,
            _ if has_right => held + (upload.right(shares) + upload.share(true, shares)) as i64 + part,
            _ => first + upload.share(false, shares) as i64 + part,
        };
        let window = upload.useful(shares);
        let wanted = most.min(held + window) - upload.sum();
        let missing = upload.rest().saturating_sub(upload.credit);
        let bytes = wanted.min(missing);
        let worth = (window.min(most - held) / 4).max(first / 2);
        if bytes > 0 && (bytes >= worth || bytes == missing) {
            self.give(stream, bytes as usize);
        } else if upload.waits(shares) {
            self.has_waiting = true;
        }
    }

    /// Whether the holder of the right passes on what it reads, while others wait: it has had its turn.
    fn yields(&self, holder: &Upload) -> bool {
        self.right.as_ref().is_some_and(|right| {
            right.given >= self.shares.pool && holder.held < right.given / 2 && self.others_wait(right.stream)
        })
    }

    /// Takes the right from an upload: what it still uses is of the pool again.
    fn release(&mut self, stream: u32) {
        if self.has_right(stream)
            && let Some(upload) = self.uploads.get(&stream)
        {
            self.used -= upload.share(true, &self.shares);
            self.used += upload.share(false, &self.shares);
            self.right = None;
        }
    }

    /// Gives those that wait what they can get, the oldest first, and the right if no other has it.
    fn serve_waiting(&mut self) {
        if !self.has_waiting {
            return;
        }
        if let Some(stream) = self.right.as_ref().map(|right| right.stream)
            && let Some(upload) = self.uploads.get(&stream)
            && self.yields(upload)
            && upload.share(false, &self.shares) == 0
        {
            self.release(stream);
            self.refill(stream);
        }
        let waiting = |account: &Self| -> Vec<u32> {
            let waiting = account.uploads.iter().filter(|(_, upload)| upload.waits(&account.shares));
            waiting.map(|(stream, _)| *stream).collect()
        };
        if self.free() >= self.shares.first {
            waiting(self).into_iter().for_each(|stream| self.refill(stream));
        }
        if self.right.is_none()
            && let Some(stream) = waiting(self).first().copied()
            && let Some(upload) = self.uploads.get(&stream)
        {
            self.used -= upload.share(false, &self.shares);
            self.used += upload.share(true, &self.shares);
            self.right = Some(Right { stream, given: 0 });
            self.refill(stream);
            waiting(self).into_iter().for_each(|stream| self.refill(stream));
        }
        self.has_waiting = self.uploads.values().any(|upload| upload.waits(&self.shares));
    }
}

#[cfg(test)]
#[path = "account_tests.rs"]
mod tests;
