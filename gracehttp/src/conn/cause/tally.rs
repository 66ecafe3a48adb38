//! How many responses a server gave, by cause and by class of status.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;

use crate::conn::cause::{Cause, Reason};
use crate::lifecycle::{AnswerCount, Answers, thread_number};

/// How many threads have counts of their own.
const SHARDS: usize = 16;

/// The names of the causes, in the order of [`index`].
const CAUSES: [&str; 13] = [
    "handler",
    "no route",
    "malformed",
    "body too large",
    "target too long",
    "misdirected",
    "head too large",
    "not implemented",
    "request timed out",
    "handler timed out",
    "handler panicked",
    "unsendable",
    "service failed",
];

/// From 1xx to 5xx.
const CLASSES: usize = 5;

/// The counts of one server. Every response of every thread is counted, so the threads have counts of their own.
pub(crate) struct Tally {
    shards: Box<[Shard]>,
    /// The threads that came later share these.
    shared: Shard,
    /// Answers that broke off.
    broken: AtomicU64,
    /// HTTP/2 streams that h2 ended without us, some of them with a 431.
    unseen: AtomicU64,
}

/// On cache lines of its own.
#[derive(Default)]
#[repr(align(128))]
struct Shard([[AtomicU64; CLASSES]; CAUSES.len()]);

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            shared: Shard::default(),
            broken: AtomicU64::new(0),
            unseen: AtomicU64::new(0),
        }
    }

    pub(in crate::conn) fn count(&self, cause: Cause, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES) - 1;
        let own = self.shards.get(thread_number());
        let count = &own.unwrap_or(&self.shared).0[index(cause)][class];
        match own {
            // No other thread writes it: no read-modify-write is needed.
            Some(_) => count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed),
            None => _ = count.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// An answer that was counted has been broken off.
    pub(in crate::conn) fn count_broken(&self) {
        self.broken.fetch_add(1, Ordering::Relaxed);
    }

    /// h2 ended `count` streams of a connection without us.
    #[cfg(feature = "http2")]
    pub(crate) fn count_unseen(&self, streams: u64) {
        self.unseen.fetch_add(streams, Ordering::Relaxed);
    }

    /// The counts of all threads together.
    pub(crate) fn snapshot(&self) -> Answers {
        let mut counts = Vec::new();
        for (row, cause) in CAUSES.into_iter().enumerate() {
            for class in 0..CLASSES {
                let load = |shard: &Shard| shard.0[row][class].load(Ordering::Relaxed);
                let count = self.shards.iter().chain([&self.shared]).map(load).sum();
                if count > 0 {
                    counts.push(AnswerCount { cause, class: class + 1, count });
                }
            }
        }
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Answers { counts, broken: load(&self.broken), unseen: load(&self.unseen) }
    }
}

/// As it reads in the log and in the counts.
impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(CAUSES[index(*self)])
    }
}

fn index(cause: Cause) -> usize {
    match cause {
        Cause::Handler => 0,
        Cause::NoRoute => 1,
        Cause::Refused(refusal) => match refusal.reason {
            Reason::Malformed => 2,
            Reason::BodyTooLarge => 3,
            Reason::TargetTooLong => 4,
            Reason::Misdirected => 5,
            Reason::HeadTooLarge => 6,
            Reason::NotImplemented => 7,
        },
        Cause::RequestTimedOut => 8,
        Cause::HandlerTimedOut => 9,
        Cause::HandlerPanicked => 10,
        Cause::Unsendable => 11,
        Cause::ServiceFailed => 12,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::cause::Refusal;

    #[test]
    fn it_counts_by_cause_and_class_over_all_threads() {
        let tally = Tally::new();
        assert_eq!(tally.snapshot().to_string(), "nothing");
        std::thread::scope(|scope| {
            for _ in 0..2 * SHARDS {
                scope.spawn(|| tally.count(Cause::Handler, StatusCode::CREATED));
            }
        });
        tally.count(Cause::Refused(Refusal::malformed("a rule")), StatusCode::BAD_REQUEST);
        tally.count(Cause::HandlerPanicked, StatusCode::INTERNAL_SERVER_ERROR);
        tally.count_broken();
        let expected =
            format!("handler 2xx {}, malformed 4xx 1, handler panicked 5xx 1; broken off 1", 2 * SHARDS);
        assert_eq!(tally.snapshot().to_string(), expected);
    }
}
