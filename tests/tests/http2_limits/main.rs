//! The limits of an HTTP/2 client: the server resets a stream that makes it wait, even if other streams are busy and
//! the client answers every PING; memory that waits for a client is limited; a client that sends frames without effect
//! gets ENHANCE_YOUR_CALM.

mod bodies;
mod floods;
mod memory;
mod stalls;

use std::time::{Duration, Instant};

use tests::Service;
use tests::frames::{Connection, Frame};

const LIMIT: Duration = Duration::from_secs(30);

const CANCEL: u32 = 0x8;

/// A server that serves one client at a time.
async fn one_permit() -> Service {
    Service::new("server web 127.0.0.1:0 max_conns=1").await
}

/// The time until the server serves another client.
async fn next_is_served_after(service: &Service, since: Instant) -> Duration {
    let mut next = service.client().await;
    next = next.limit(2 * LIMIT);
    assert_eq!(next.get("/ping").await.expect("an answer").status, 200);
    since.elapsed()
}

/// Reads until the awaited frame arrives. Returns all frames.
async fn until(client: &mut Connection, is_last: impl Fn(&Frame) -> bool) -> Vec<Frame> {
    let mut all = Vec::new();
    while !all.iter().any(&is_last) {
        let frames = client.frames().await;
        assert!(!frames.is_empty(), "closed after {all:?}");
        all.extend(frames);
    }
    all
}
