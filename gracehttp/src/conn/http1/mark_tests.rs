//! What a connection says in the ledger: at each byte of its requests.

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::conn::{Moved, serve_http1, wake_parked};
use crate::ledger::{Ledger, Mark};
use crate::server::{Dispatch, Permits, Request, ResponseFuture, ServerOptions, Surroundings};
use crate::socket::{Family, Origin, ProxyHeader, Socket, Untaken};
use crate::sys::Descriptor;

/// Answers each request with its body.
struct Echo;

impl Dispatch for Echo {
    fn call(&self, request: Request, _: Surroundings<'_>) -> ResponseFuture {
        Box::pin(async { http::Response::new(request.into_body()) })
    }
}

const ORIGIN: Origin = Origin::new(7).unwrap();

/// Requests with each kind of body, and an empty line between two of them.
const REQUESTS: [&str; 4] = [
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde",
    "\r\nPOST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
];

/// How many of the requests these bytes hold whole, and whether they end with one, or with the empty line after it.
fn whole(bytes: usize) -> (usize, bool) {
    let ends: Vec<usize> = REQUESTS
        .iter()
        .scan(0, |end, request| {
            *end += request.len();
            Some(*end)
        })
        .collect();
    let count = ends.iter().filter(|end| **end <= bytes).count();
    let is_after_empty_line = bytes == ends[1] + 2;
    (count, bytes == 0 || ends.contains(&bytes) || is_after_empty_line)
}

/// A connection that came from a predecessor.
struct Connection {
    client: tokio::net::UnixStream,
    /// The predecessor's.
    ledger: Ledger,
    answers: Vec<u8>,
}

impl Connection {
    fn new() -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        for end in [&ours, &theirs] {
            end.set_nonblocking(true).unwrap();
        }
        let (ledger, file) = Ledger::create().unwrap();
        let moved = Arc::new(Moved::default());
        moved.watch(Some(Ledger::of(&file).unwrap()), |report| panic!("{report:?} is a message"));
        let permits = Arc::new(Permits::new(10, Arc::default()));
        let options = ServerOptions::new("web");
        let context = Context::new(options, None, Arc::new(Echo), permits, moved, Arc::default()).unwrap();
        let context = Arc::new(context);
        let origin = Some(ORIGIN);
        let socket = Socket {
            fd: ours.into(),
            family: Family::Unix,
            origin,
            listener: None,
            session: None,
            proxy_header: ProxyHeader::AsListed,
            untaken: Untaken::NOTHING,
        };
        let permit = context.permits.adopt();
        let stream = socket.map_fd(Descriptor::new).wake();
        // It may rest meanwhile, and is woken then.
        tokio::spawn(wake_parked(context.clone()));
        tokio::spawn(serve_http1(context, stream, Ahead::now(Bytes::new()), Stage::Idle, Pace::Busy, permit));
        let client = tokio::net::UnixStream::from_std(theirs).unwrap();
        Self { client, ledger, answers: Vec::new() }
    }

    fn mark(&self) -> Mark {
        self.ledger.mark(ORIGIN.get()).unwrap()
    }

    /// Sends, reads so many answers in all, and waits until the connection has this mark, and keeps it.
    async fn expect(&mut self, bytes: &str, answers: usize, mark: Mark, what: &str) {
        self.client.write_all(bytes.as_bytes()).await.unwrap();
        while String::from_utf8_lossy(&self.answers).matches("HTTP/1.1 200").count() < answers {
            assert_ne!(self.client.read_buf(&mut self.answers).await.unwrap(), 0);
        }
        let begun = Instant::now();
        while self.mark() != mark {
            assert!(begun.elapsed() < Duration::from_secs(5), "{:?} after {what:?}", self.mark());
            tokio::task::yield_now().await;
        }
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        assert_eq!(self.mark(), mark, "after {what:?}");
    }
}

/// It counts as idle exactly where it has answered all that was read.
#[tokio::test]
async fn a_connection_is_marked_as_idle_between_two_requests_and_nowhere_else() {
    let all = REQUESTS.concat();
    for first in 0..=all.len() {
        let mut connection = Connection::new();
        for (part, upto) in [(&all[..first], first), (&all[first..], all.len())] {
            let (answers, is_between) = whole(upto);
            let expected = if is_between { Mark::Idle } else { Mark::Busy };
            connection.expect(part, answers, expected, &all[..upto]).await;
        }
    }
}

/// Byte for byte: each wakes its task.
#[tokio::test]
async fn each_byte_of_a_request_keeps_a_connection_busy() {
    let all = REQUESTS.concat();
    let mut connection = Connection::new();
    for at in 0..all.len() {
        let (answers, is_between) = whole(at + 1);
        let expected = if is_between { Mark::Idle } else { Mark::Busy };
        connection.expect(&all[at..=at], answers, expected, &all[..=at]).await;
    }
}

/// It closes, and its predecessor must not go on with it.
#[tokio::test]
async fn a_connection_that_ends_is_busy() {
    for last in ["GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "GET / HTTP/1.0\r\n\r\n"] {
        let mut connection = Connection::new();
        connection.expect(REQUESTS[0], 1, Mark::Idle, REQUESTS[0]).await;
        let ended = async {
            connection.client.write_all(last.as_bytes()).await.unwrap();
            connection.client.read_to_end(&mut Vec::new()).await.unwrap();
        };
        ended.await;
        assert_eq!(connection.mark(), Mark::Busy, "{last}");
    }
    let mut refused = Connection::new();
    refused.expect(REQUESTS[0], 1, Mark::Idle, REQUESTS[0]).await;
    refused.client.write_all(b"GET / HTTP/1.1\r\nHost : a\r\n\r\n").await.unwrap();
    refused.client.read_to_end(&mut Vec::new()).await.unwrap();
    assert_eq!(refused.mark(), Mark::Busy);
}
