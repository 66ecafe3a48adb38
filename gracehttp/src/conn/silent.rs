//! How long new connections that send nothing stay awake.
//!
//! A timer that is due before all others costs a system call, since it wakes the thread that waits for events. Nearly
//! every new connection would set such a timer, and need it never: its first byte comes at once. So all connections of a
//! server share one timer, which runs only while some of them are silent.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::conn::PATIENCE;

/// A connection waits for the end of its round and of the next one: at most [`PATIENCE`], at least half of it.
const ROUND: Duration = PATIENCE.checked_div(2).expect("a number that is not 0");

/// The silent connections of a server, in the order of their coming.
#[derive(Debug, Default)]
pub(crate) struct Silent {
    rounds: Mutex<Rounds>,
    /// Ends the wait of those that came in the round of this number.
    over: [Notify; 2],
    /// The first of them has come.
    begun: Notify,
}

#[derive(Debug, Default)]
struct Rounds {
    /// The number of this round; the last one had the other.
    current: usize,
    /// Whether a connection has come in this round.
    has_newcomers: bool,
    is_running: bool,
}

impl Silent {
    /// A connection has come that has sent nothing yet: the end of its wait.
    pub(super) fn wait(&self) -> Notified<'_> {
        let mut rounds = self.rounds.lock();
        rounds.has_newcomers = true;
        if !std::mem::replace(&mut rounds.is_running, true) {
            self.begun.notify_one();
        }
        // Under the lock: its round is not over.
        self.over[rounds.current].notified()
    }

    /// Ends their waits, for as long as the process lives.
    pub(super) async fn attend(&self) {
        loop {
            self.begun.notified().await;
            loop {
                tokio::time::sleep(ROUND).await;
                if !self.end_round() {
                    break;
                }
            }
        }
    }

    /// Ends the wait of those that came in the round before this one. Returns whether others wait.
    fn end_round(&self) -> bool {
        let mut rounds = self.rounds.lock();
        rounds.current = 1 - rounds.current;
        self.over[rounds.current].notify_waiters();
        rounds.is_running = std::mem::take(&mut rounds.has_newcomers);
        rounds.is_running
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn each_waits_for_half_of_the_patience_at_least_and_for_all_of_it_at_most() {
        let silent = Arc::new(Silent::default());
        let attendant = tokio::spawn({
            let silent = silent.clone();
            async move { silent.attend().await }
        });
        let mut waits = Vec::new();
        for pause in [0, 1, 5, 9, 10, 11, 19, 20, 21, 100, 3, 3, 3] {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let (came, silent) = (Instant::now(), silent.clone());
            waits.push(tokio::spawn(async move {
                silent.wait().await;
                came.elapsed()
            }));
        }
        for wait in waits {
            let waited = wait.await.unwrap();
            assert!((ROUND..=PATIENCE).contains(&waited), "{waited:?}");
        }
        tokio::time::sleep(PATIENCE).await;
        assert!(!silent.rounds.lock().is_running, "none waits");
        attendant.abort();
    }
}
