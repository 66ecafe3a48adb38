//! The requests and bytes of a connection, for every protocol.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// How many requests and bytes have moved, and what is blocked.
///
/// | field | written by | read by |
/// | --- | --- | --- |
/// | `open` | the exchange: at a request's begin by the connection's task, at its end by the task that drops the response | the connection's task, the transport |
/// | `begun` | the exchange, in the connection's task | the connection's task, the exchange |
/// | `read_blocked`, `unflushed`, `bytes_in`, `bytes_out` | the transport | the connection's task, the transport |
/// | `nearly_worn_out` | the transport | the connection's task, the exchange |
///
/// `open` alone may be changed by several tasks (see [`CountedBy`]), so it is ordered (acquire and release). All others have
/// one writer, which runs in the connection's task as their readers do: `Relaxed` is enough.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// Requests that were begun and whose responses have not ended.
    open: AtomicU32,
    /// Requests that were begun.
    begun: AtomicU64,
    /// The last read found nothing.
    read_blocked: AtomicBool,
    /// Bytes wait to be written.
    unflushed: AtomicBool,
    /// The key of the TLS session can't seal much more, and can't be renewed.
    nearly_worn_out: AtomicBool,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

/// Which tasks count the open requests of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CountedBy {
    /// The connection's task alone: no read-modify-write is needed.
    OneTask,
    #[cfg_attr(not(feature = "http2"), expect(dead_code, reason = "HTTP/1 has one"))]
    SeveralTasks,
}

impl Traffic {
    /// A request begins. Returns its number, counted from 1.
    pub(crate) fn begin(&self, counted_by: CountedBy) -> u64 {
        match counted_by {
            CountedBy::OneTask => self.open.store(self.open() + 1, Ordering::Release),
            CountedBy::SeveralTasks => _ = self.open.fetch_add(1, Ordering::AcqRel),
        }
        let number = self.begun() + 1;
        self.begun.store(number, Ordering::Relaxed);
        number
    }

    /// A response has ended, or its request came to nothing.
    pub(crate) fn end(&self, counted_by: CountedBy) {
        match counted_by {
            CountedBy::OneTask => self.open.store(self.open() - 1, Ordering::Release),
            CountedBy::SeveralTasks => _ = self.open.fetch_sub(1, Ordering::AcqRel),
        }
    }

    pub(crate) fn open(&self) -> u32 {
        self.open.load(Ordering::Acquire)
    }

    pub(crate) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    pub(crate) fn is_read_blocked(&self) -> bool {
        self.read_blocked.load(Ordering::Relaxed)
    }

    pub(crate) fn is_unflushed(&self) -> bool {
        self.unflushed.load(Ordering::Relaxed)
    }

    /// Whether the connection should end with its next response.
    pub(crate) fn is_nearly_worn_out(&self) -> bool {
        self.nearly_worn_out.load(Ordering::Relaxed)
    }

    pub(crate) fn bytes_in(&self) -> u64 {
        self.bytes_in.load(Ordering::Relaxed)
    }

    pub(crate) fn bytes_out(&self) -> u64 {
        self.bytes_out.load(Ordering::Relaxed)
    }

    pub(crate) fn note_read(&self, bytes: usize) {
        self.read_blocked.store(false, Ordering::Relaxed);
        // One writer: no read-modify-write is needed.
        self.bytes_in.store(self.bytes_in() + bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn note_read_blocked(&self) {
        self.read_blocked.store(true, Ordering::Relaxed);
    }

    pub(crate) fn note_written(&self, bytes: usize) {
        self.bytes_out.store(self.bytes_out() + bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn note_unflushed(&self, unflushed: bool) {
        self.unflushed.store(unflushed, Ordering::Relaxed);
    }

    pub(crate) fn note_nearly_worn_out(&self) {
        self.nearly_worn_out.store(true, Ordering::Relaxed);
    }
}
