//! The document once a second, for all that watch.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{MissedTickBehavior, interval};

use crate::status::{Document, Report};

const PERIOD: Duration = Duration::from_secs(1);

/// Every so many documents the checks run.
const CHECKED_EVERY: u64 = 10;

/// How many documents wait for a client that reads slowly. It misses those that follow.
const MOST_WAITING: usize = 2;

/// A browser whose connection ends comes again after so many milliseconds: in a restart it reaches the successor.
const RETRY: &str = "retry: 300\n\n";

/// Makes documents as long as somebody watches.
pub(super) struct Feed {
    document: Arc<Document>,
    most: usize,
    watching: Mutex<Watching>,
}

#[derive(Default)]
struct Watching {
    clients: Vec<Sender<Bytes>>,
    /// Documents are being made.
    runs: bool,
    /// The successor makes them.
    has_left: bool,
}

impl Feed {
    pub(super) fn new(document: Arc<Document>, most: usize) -> Self {
        Self { document, most, watching: Mutex::default() }
    }

    /// The documents from now on. None if too many watch.
    pub(super) fn subscribe(self: &Arc<Self>) -> Option<Receiver<Bytes>> {
        let (sender, receiver) = channel(MOST_WAITING);
        let mut watching = self.watching.lock();
        if watching.has_left {
            // On a connection from before the commit. The client comes again, on a new one.
            let _ = sender.try_send(RETRY.into());
            return Some(receiver);
        }
        watching.clients.retain(|client| !client.is_closed());
        if watching.clients.len() >= self.most {
            return None;
        }
        let first = format!("{RETRY}{}", event(&self.document.now()));
        // There is room in a new channel.
        let _ = sender.try_send(first.into());
        watching.clients.push(sender);
        if !std::mem::replace(&mut watching.runs, true) {
            tokio::spawn(self.clone().run());
        }
        Some(receiver)
    }

    /// Ends all of them: those who watch come again, and reach the successor.
    pub(super) fn leave(&self) {
        let mut watching = self.watching.lock();
        watching.clients.clear();
        watching.has_left = true;
    }

    /// This process answers again.
    pub(super) fn come_back(&self) {
        self.watching.lock().has_left = false;
    }

    async fn run(self: Arc<Self>) {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        for number in 1_u64.. {
            ticks.tick().await;
            let document = match number % CHECKED_EVERY {
                0 => self.document.checked().await,
                _ => self.document.now(),
            };
            if !self.send(&event(&document)) {
                return;
            }
        }
    }

    /// Says whether anyone watches. If not, the next one that comes begins anew.
    fn send(&self, event: &str) -> bool {
        let event = Bytes::copy_from_slice(event.as_bytes());
        let mut watching = self.watching.lock();
        let is_open = |client: &mut Sender<Bytes>| {
            !matches!(client.try_send(event.clone()), Err(TrySendError::Closed(_)))
        };
        watching.clients.retain_mut(is_open);
        watching.runs = !watching.clients.is_empty();
        watching.runs
    }
}

/// JSON has no line breaks of its own.
fn event(document: &Report) -> String {
    format!("data: {}\n\n", json!(document))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Health;

    #[tokio::test]
    async fn a_process_that_has_left_sends_its_watchers_to_the_successor() {
        let feed = Arc::new(Feed::new(Document::new(Arc::new(Health::new())), 2));
        let is_document = |piece: Option<Bytes>| piece.is_some_and(|piece| piece.ends_with(b"}\n\n"));
        let mut before = feed.subscribe().unwrap();
        assert!(is_document(before.recv().await));
        feed.leave();
        assert_eq!(before.recv().await, None);
        let mut late = feed.subscribe().unwrap();
        assert_eq!((late.recv().await, late.recv().await), (Some(RETRY.into()), None));
        feed.come_back();
        assert!(is_document(feed.subscribe().unwrap().recv().await));
    }
}
