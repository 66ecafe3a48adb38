//! `100 Continue` (RFC 9110 section 10.1.1): h2 could send it, but hyper has no way to ask for it.
//!
//! The transport writes it between two frames of h2, as a field block that uses no dynamic table. hyper does not tell
//! the stream's number either. But h2 passes requests on in the order of their heads. So the streams opened since the
//! last turn are those of the requests begun since then, if the two are as many. If they are not, because h2 has
//! refused one, this connection sends no `100 Continue` any more: a client waits for one only for a while.

use std::sync::{Arc, Weak};
use std::task::Waker;

use bytes::BytesMut;

use crate::conn::http2::progress::Progress;

/// HEADERS of 5 bytes, END_HEADERS.
const HEAD: [u8; 5] = [0, 0, 5, 1, 4];

/// A literal without indexing: the name of the static table's entry 8, and its value (RFC 7541 section 6.2.2).
const STATUS_100: [u8; 5] = *b"\x08\x03100";

/// The requests that wait for it.
///
/// Each of them owns the account of its connection, which owns this: they are held weakly, or a connection that ends
/// while one waits would never be freed.
#[derive(Debug, Default)]
pub(super) struct Interim {
    /// The streams whose heads have come in this turn of the connection, and the requests that h2 has passed on.
    opened: Vec<u32>,
    begun: Vec<Weak<Progress>>,
    has_lost_count: bool,
    asked: Vec<Weak<Progress>>,
    connection: Option<Waker>,
}

impl Interim {
    pub(super) fn note_opened(&mut self, streams: &mut Vec<u32>) {
        self.opened.append(streams);
    }

    pub(super) fn note_begun(&mut self, progress: &Arc<Progress>) {
        self.begun.push(Arc::downgrade(progress));
    }

    /// A turn of the connection is over. Returns whether there is something to send now.
    pub(super) fn settle(&mut self, connection: &Waker) -> bool {
        self.has_lost_count |= self.opened.len() != self.begun.len();
        if self.has_lost_count {
            self.opened.clear();
            self.begun.clear();
            self.asked.clear();
            return false;
        }
        for (stream, progress) in self.opened.drain(..).zip(self.begun.drain(..)) {
            let Some(progress) = progress.upgrade() else { continue };
            progress.set_stream(stream);
            if progress.expects_continue() {
                self.connection = Some(connection.clone());
            }
        }
        self.asked.iter().filter_map(Weak::upgrade).any(|progress| progress.stream().is_some())
    }

    /// A handler waits for a body whose client waits for a `100 Continue`.
    pub(super) fn ask(&mut self, progress: &Arc<Progress>) {
        if !self.has_lost_count {
            self.asked.push(Arc::downgrade(progress));
            if let Some(connection) = &self.connection {
                connection.wake_by_ref();
            }
        }
    }

    pub(super) fn has_asked(&self) -> bool {
        !self.asked.is_empty()
    }

    /// Appends what is to be sent between two frames.
    pub(super) fn put_due(&mut self, bytes: &mut BytesMut) {
        self.asked.retain(|progress| {
            let Some(progress) = progress.upgrade() else { return false };
            let Some(stream) = progress.stream() else { return true };
            if !progress.has_begun_answer() {
                for part in [&HEAD[..], &stream.to_be_bytes(), &STATUS_100] {
                    bytes.extend_from_slice(part);
                }
            }
            false
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::http2::room::Shares;
    use crate::conn::http2::streams::Streams;
    use crate::server::ServerOptions;

    /// What is sent after these streams were opened and so many requests came of them, of which the first asks.
    fn said(opened: &[u32], requests: usize) -> Vec<u8> {
        let streams = Arc::new(Streams::new(Shares::of(&ServerOptions::new("test"))));
        let mut interim = Interim::default();
        interim.note_opened(&mut opened.to_vec());
        let begun: Vec<_> = (0..requests).map(|_| streams.begin()).collect();
        begun.iter().for_each(|progress| interim.note_begun(progress));
        interim.ask(&begun[0]);
        let has_due = interim.settle(Waker::noop());
        let mut bytes = BytesMut::new();
        interim.put_due(&mut bytes);
        assert_eq!(has_due, !bytes.is_empty());
        bytes.to_vec()
    }

    #[test]
    fn it_is_sent_on_the_stream_whose_head_came_in_the_same_place() {
        assert_eq!(said(&[5, 9], 2), b"\0\0\x05\x01\x04\0\0\0\x05\x08\x03100");
    }

    #[test]
    fn nothing_is_sent_once_a_stream_was_refused() {
        assert!(said(&[5, 7, 9], 2).is_empty());
    }

    /// No interim response follows a final one (RFC 9110 section 15.2), though another task still reads the body.
    #[test]
    fn c5_nothing_is_sent_on_a_stream_that_is_answered() {
        let streams = Arc::new(Streams::new(Shares::of(&ServerOptions::new("test"))));
        let (progress, mut interim) = (streams.begin(), Interim::default());
        interim.note_opened(&mut vec![1]);
        interim.note_begun(&progress);
        interim.ask(&progress);
        interim.settle(Waker::noop());
        progress.is_answered();
        let mut bytes = BytesMut::new();
        interim.put_due(&mut bytes);
        assert!(bytes.is_empty() && !interim.has_asked());
    }
}
