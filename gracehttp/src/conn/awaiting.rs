//! Whether the bodies of an HTTP/2 connection wait for its client.
//!
//! The bytes of the connection do not tell: a client that opens no window, or never sends the body that it has
//! announced, may well answer every PING. Nor does a body that stands still: its handler may be what is slow.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use bytes::{Buf, Bytes};

use crate::conn::activity::Activity;

/// A piece of a response that waits for the client, for as long as this lives.
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

/// The body of an HTTP/2 request, of which it counts only until the answer begins that its client is awaited: a handler
/// that goes on reading afterwards converses with the client, with whatever pauses the two like.
#[derive(Debug)]
pub(crate) struct Upload {
    activity: Arc<Activity>,
    state: AtomicU8,
}

const FLOWS: u8 = 0;
const AWAITED: u8 = 1;
const ANSWERED: u8 = 2;

impl Upload {
    pub(crate) fn new(activity: Arc<Activity>) -> Self {
        Self { activity, state: AtomicU8::new(FLOWS) }
    }

    /// Its reader waits.
    pub(crate) fn is_awaited(&self) {
        if self.turn(FLOWS, AWAITED) {
            self.activity.client_is_awaited();
        }
    }

    /// Something has come, or nobody reads any more.
    pub(crate) fn has_come(&self) {
        if self.turn(AWAITED, FLOWS) {
            self.activity.client_has_come();
        }
    }

    /// The response begins.
    pub(crate) fn is_answered(&self) {
        if self.state.swap(ANSWERED, Ordering::AcqRel) == AWAITED {
            self.activity.client_has_come();
        }
    }

    fn turn(&self, from: u8, to: u8) -> bool {
        self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_is_waited_for_until_the_answer_begins() {
        let activity = Arc::new(Activity::default());
        let upload = Upload::new(activity.clone());
        upload.is_awaited();
        upload.is_awaited();
        assert!(activity.awaits_client());
        upload.has_come();
        assert!(!activity.awaits_client());
        upload.is_awaited();
        upload.is_answered();
        assert!(!activity.awaits_client());
        upload.is_awaited();
        upload.has_come();
        assert!(!activity.awaits_client(), "they converse");
    }
}
