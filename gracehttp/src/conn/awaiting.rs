//! Whether the bodies of an HTTP/2 connection wait for its client.
//!
//! The bytes of the connection do not tell: a client that opens no window, or never sends the body that it has
//! announced, may well answer every PING. Nor does a body that stands still: its handler may be what is slow.

use std::sync::Arc;

use bytes::{Buf, Bytes};

use crate::conn::activity::Activity;

/// One body that waits for the client, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Awaiting {
    activity: Arc<Activity>,
}

impl Awaiting {
    pub(crate) fn begin(activity: &Arc<Activity>) -> Self {
        activity.client_is_awaited();
        Self { activity: activity.clone() }
    }
}

impl Drop for Awaiting {
    fn drop(&mut self) {
        self.activity.client_has_come();
    }
}

/// A piece of a response until its last byte has gone out: hyper takes it at once, and keeps it until the client
/// opens its window.
#[derive(Debug)]
pub(crate) struct Piece {
    bytes: Bytes,
    /// None over HTTP/1, where the transport sees what does not go out.
    awaiting: Option<Awaiting>,
}

impl Piece {
    pub(crate) fn new(bytes: Bytes, awaiting: Option<Awaiting>) -> Self {
        Self { bytes, awaiting }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        if let Some(awaiting) = &self.awaiting {
            awaiting.activity.note_body_moved(count);
        }
    }

    fn copy_to_bytes(&mut self, len: usize) -> Bytes {
        let bytes = self.bytes.copy_to_bytes(len);
        if let Some(awaiting) = &self.awaiting {
            awaiting.activity.note_body_moved(len);
        }
        bytes
    }
}
