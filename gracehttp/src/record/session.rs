//! A session in use.

use std::io::IoSlice;
use std::ops::Range;

use crate::record::at_rest::{DirectionParts, SessionAtRest};
use crate::record::suite::Suite;

/// An application protocol that was agreed on (RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alpn {
    Http11,
    H2,
}

/// What the handshake found out and handlers may ask for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The server name that the client asked for (RFC 6066 section 3).
    pub(crate) sni: Option<Box<str>>,
    pub(crate) alpn: Option<Alpn>,
}

/// What the handshake leaves: everything that the record layer needs.
pub(crate) struct Established {
    pub(crate) suite: Suite,
    /// Of the records that the client sends.
    pub(crate) client: DirectionParts,
    /// Of the records that we send.
    pub(crate) server: DirectionParts,
    pub(crate) facts: Facts,
}

/// A session in use: it opens the client's records and seals ours. Purposefully not `Clone`.
#[derive(Debug)]
pub(crate) struct Session {
    suite: Suite,
    facts: Facts,
}

/// What was found at the beginning of the input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Opened {
    /// The record is not whole: at least so many bytes of input are needed in all.
    Incomplete { needed: usize },
    /// A record of so many bytes.
    Record { length: usize, content: Content },
}

/// What a record holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Application data; the plain text lies at this place of the input.
    Data(Range<usize>),
    /// Nothing for the application: it was about the session itself.
    Nothing,
    /// The client sends no more (close_notify).
    Closed,
}

/// Why a record ends the session. The client is sent the alert that says so.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// RFC 8446 section 6.
    pub(crate) alert: u8,
    pub(crate) reason: &'static str,
}

/// Our key has sealed as many records as it may, and there is no other (TLS 1.2). Only close_notify can follow.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct WornOut;

impl Session {
    pub(crate) fn new(established: Established) -> Self {
        let Established { suite, facts, .. } = established;
        Self { suite, facts }
    }

    pub(crate) fn suite(&self) -> Suite {
        self.suite
    }

    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Opens, in place, the record at the beginning of `input`. Bytes that have to be sent in answer are appended to
    /// `output`.
    pub(crate) fn open(&mut self, input: &mut [u8], output: &mut Vec<u8>) -> Result<Opened, Fault> {
        let _ = (input, output);
        unimplemented!()
    }

    /// Seals one record with the first bytes of `data`, at most 2^14 of them, and appends it to `output`. Returns how
    /// many bytes it holds.
    pub(crate) fn seal(&mut self, data: &[IoSlice<'_>], output: &mut Vec<u8>) -> Result<usize, WornOut> {
        let _ = (data, output);
        unimplemented!()
    }

    /// Appends our close_notify (RFC 8446 section 6.1). Nothing may be sealed after it.
    pub(crate) fn seal_close_notify(&mut self, output: &mut Vec<u8>) {
        let _ = output;
        unimplemented!()
    }

    /// Appends the alert for a fault of the client. Nothing may be sealed after it.
    pub(crate) fn seal_alert(&mut self, fault: &Fault, output: &mut Vec<u8>) {
        let _ = (fault, output);
        unimplemented!()
    }

    /// Whether our key will soon be worn out and can't be renewed (TLS 1.2): the connection ends with its next
    /// response.
    pub(crate) fn is_nearly_worn_out(&self) -> bool {
        false
    }

    /// Ends the use. `cut` is the input that is not opened yet: the beginning of a record.
    pub(crate) fn rest(self, cut: &[u8]) -> SessionAtRest {
        let _ = cut;
        unimplemented!()
    }
}
