//! The limit of a server, over two processes of different releases.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tests::client::{Pause, get};
use tests::patience::{PATIENCE, eventually, within};
use tests::{Client, Scratch, Target};
use tokio::task::JoinSet;

use crate::{Release, TO_AND_FRO, Upgraded, WEB, earlier_has};

/// What the clients of a small server see of its limit.
#[derive(Default)]
struct Seen {
    /// Connections whose answer has begun, and which their clients have not closed.
    held: AtomicUsize,
    answers: AtomicUsize,
    is_over: AtomicBool,
}

const LIMIT: usize = 10;

/// One connection after the other.
async fn hold(web: Target, number: usize, seen: Arc<Seen>) {
    while !seen.is_over.load(Ordering::SeqCst) {
        let mut client = Client::connect(&web).await.expect("a connection");
        // Every second client waits for an answer that takes longer than a restart, and the others are idle for a while.
        let takes_long = number.is_multiple_of(2);
        client.send(get(if takes_long { "/silence?ms=400" } else { "/ping" })).await.expect("room");
        let mut answer = Vec::new();
        let end = if takes_long { &b"\r\n\r\n"[..] } else { b"pong by pid:" };
        while !answer.windows(end.len()).any(|bytes| bytes == end) {
            answer.extend(client.piece().await.expect("an answer").expect("an answer"));
        }
        // Otherwise it may end before this client knows that.
        let stays = !String::from_utf8_lossy(&answer).contains("connection: close");
        let held = seen.held.fetch_add(stays.into(), Ordering::SeqCst) + usize::from(stays);
        assert!(held <= LIMIT, "{held} connections are held");
        while takes_long && !answer.ends_with(b"0\r\n\r\n") {
            answer.extend(client.piece().await.expect("an answer").expect("the whole answer"));
        }
        if stays {
            assert_eq!(client.pause(Duration::from_millis(50)).await, Pause::Open);
        }
        seen.held.fetch_sub(stays.into(), Ordering::SeqCst);
        seen.answers.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn both_releases_together_hold_no_more_connections_than_the_limit() {
    if !earlier_has(&[]).await {
        return;
    }
    let plan = format!("{WEB} max_conns={LIMIT} when_full=wait");
    let service = Upgraded::begin(Release::Earlier, Scratch::new(), &plan, |launch| launch).await;
    let web = service.app.target("web").await;
    let seen = Arc::new(Seen::default());
    let mut clients = JoinSet::new();
    for number in 0..3 * LIMIT {
        clients.spawn(hold(web.clone(), number, seen.clone()));
    }
    for (round, release) in (1..).zip(TO_AND_FRO) {
        let goal = round * 2 * LIMIT;
        eventually("more answers", || seen.answers.load(Ordering::SeqCst) >= goal).await;
        service.becomes(release).await;
    }
    let goal = seen.answers.load(Ordering::SeqCst) + 3 * LIMIT;
    eventually("more answers", || seen.answers.load(Ordering::SeqCst) >= goal).await;
    seen.is_over.store(true, Ordering::SeqCst);
    while let Some(end) = within(PATIENCE, "the clients", clients.join_next()).await {
        end.expect("no client fails");
    }
    service.leaves_cleanly().await;
}
