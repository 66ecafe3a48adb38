//! One upload, and how much memory it may come to: see the [account](super::account).

use crate::conn::http2::credit::pinned::Unread;
use crate::conn::http2::room::Shares;

/// The client of a body of unknown length gets credit for so many times the bytes that have come: a client that sends a
/// few bytes now and then needs little.
const GROWTH: u64 = 4;

/// One upload. All is in bytes.
#[derive(Debug, Default)]
pub(super) struct Upload {
    /// How much the client may still send once it knows our SETTINGS. Less than nothing if it has sent more: before
    /// it knew them, or in its first frame.
    pub(super) credit: i64,
    /// All that came, with padding.
    pub(super) arrived: u64,
    /// Bytes that came and that its reader has not taken.
    pub(super) unread: usize,
    /// What h2 holds for the unread bytes besides these.
    pub(super) overhead: usize,
    /// Where the unread bytes are in the input.
    pub(super) places: Unread,
    /// Bytes that its handler holds.
    pub(super) held: usize,
    /// All bytes that came, without padding.
    pub(super) received: u64,
    /// All bytes that will come, if the client has said so.
    pub(super) declared: Option<u64>,
    pub(super) state: State,
    /// More may come.
    pub(super) is_open: bool,
    /// Its reader waits for more.
    pub(super) is_awaited: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    /// No handler has asked for it.
    #[default]
    Unasked,
    /// Read by a handler that has not answered.
    Read,
    /// A handler that has not answered gets no more of it. Until it answers, it may hold the pieces, or a copy.
    Whole,
    /// The response has begun: what is read is not counted.
    Free,
    /// CONNECT: how much is read of it is not known here. Only the window of the connection limits the rest.
    Tunnel,
}

impl Upload {
    /// How much memory it may come to.
    pub(super) fn sum(&self) -> i64 {
        self.credit + self.unread as i64 + self.held as i64
    }

    /// How much of the pool it uses.
    pub(super) fn share(&self, has_right: bool, shares: &Shares) -> usize {
        let beyond = |sum: i64, free: usize| usize::try_from(sum - free as i64).unwrap_or(0);
        match self.state {
            State::Tunnel => 0,
            _ if has_right => beyond(self.credit + self.unread as i64, self.right(shares)),
            _ => beyond(self.sum(), shares.first),
        }
    }

    /// The window of an upload that has the right (see the account).
    pub(super) fn right(&self, shares: &Shares) -> usize {
        shares.body.saturating_sub(self.held).max(shares.right)
    }

    /// How much will still come, if that is known.
    pub(super) fn rest(&self) -> i64 {
        self.declared
            .map_or(i64::MAX, |all| i64::try_from(all.saturating_sub(self.received)).unwrap_or(i64::MAX))
    }

    /// The window that it can make use of.
    pub(super) fn useful(&self, shares: &Shares) -> i64 {
        let window = match self.declared {
            Some(_) => usize::MAX,
            None => usize::try_from(self.received.saturating_mul(GROWTH)).unwrap_or(usize::MAX),
        };
        window.clamp(shares.first, shares.largest_window()) as i64
    }

    pub(super) fn is_read(&self) -> bool {
        self.is_open && self.state != State::Unasked
    }

    /// Its reader waits, and the client may not send enough to be worth a frame.
    pub(super) fn waits(&self, shares: &Shares) -> bool {
        self.is_awaited && self.is_read() && self.credit < self.rest().min(shares.first as i64 / 4)
    }
}
