//! `100 Continue` (RFC 9110 section 10.1.1): h2 could send it, but hyper has no way to ask for it.
//!
//! The transport writes it between two frames of h2, as a field block that uses no dynamic table.

use std::sync::{Arc, Weak};

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
    asked: Vec<Weak<Progress>>,
}

impl Interim {
    /// A handler waits for a body whose client waits for a `100 Continue`.
    pub(super) fn ask(&mut self, progress: &Arc<Progress>) {
        self.asked.push(Arc::downgrade(progress));
    }

    /// Appends the bytes to send between two frames.
    pub(super) fn put_due(&mut self, bytes: &mut BytesMut) {
        for progress in self.asked.drain(..).filter_map(|progress| progress.upgrade()) {
            if let Some(stream) = progress.stream()
                && !progress.has_begun_answer()
            {
                for part in [&HEAD[..], &stream.to_be_bytes(), &STATUS_100] {
                    bytes.extend_from_slice(part);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::http2::room::Shares;
    use crate::conn::http2::streams::{Body, Streams};
    use crate::server::ServerOptions;

    #[test]
    fn it_is_sent_on_the_stream_of_its_request() {
        let streams = Arc::new(Streams::new(Shares::of(&ServerOptions::new("test"))));
        let mut interim = Interim::default();
        streams.note_arrived(5);
        let progress = streams.begin(Body::OfLength(None));
        interim.ask(&progress);
        let mut bytes = BytesMut::new();
        interim.put_due(&mut bytes);
        assert_eq!(bytes[..], *b"\0\0\x05\x01\x04\0\0\0\x05\x08\x03100");
        bytes.clear();
        interim.put_due(&mut bytes);
        assert!(bytes.is_empty());
    }

    /// No interim response follows a final one (RFC 9110 section 15.2), though another task still reads the body.
    #[test]
    fn c5_nothing_is_sent_on_a_stream_that_is_answered() {
        let streams = Arc::new(Streams::new(Shares::of(&ServerOptions::new("test"))));
        streams.note_arrived(1);
        let (progress, mut interim) = (streams.begin(Body::OfLength(None)), Interim::default());
        interim.ask(&progress);
        progress.is_answered();
        let mut bytes = BytesMut::new();
        interim.put_due(&mut bytes);
        assert!(bytes.is_empty());
    }
}
