//! Limits repeated messages: a client that can trigger one must not fill a disk with it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How many messages of one place in the code are logged in one [`WINDOW`].
const LIMIT: u32 = 20;

/// The time after which the number of further messages is logged.
const WINDOW: Duration = Duration::from_secs(10);

/// File and line.
pub(super) type Place = (String, u32);

/// The recent messages of each place. `M` is a message.
#[derive(Debug)]
pub(super) struct Repeats<M> {
    places: BTreeMap<Place, Window<M>>,
}

#[derive(Debug)]
struct Window<M> {
    ends: Instant,
    logged: u32,
    counted: u64,
    /// The last counted message.
    last: Option<M>,
}

impl<M> Repeats<M> {
    pub(super) const fn new() -> Self {
        Self { places: BTreeMap::new() }
    }

    /// Returns the message if it may be logged now. Otherwise counts it.
    pub(super) fn admit(&mut self, place: Place, message: M, now: Instant) -> Option<M> {
        let fresh = || Window { ends: now + WINDOW, logged: 0, counted: 0, last: None };
        let window = self.places.entry(place).or_insert_with(fresh);
        if window.ends <= now && window.counted == 0 {
            *window = fresh();
        }
        if window.logged < LIMIT {
            window.logged += 1;
            return Some(message);
        }
        window.counted += 1;
        window.last = Some(message);
        None
    }

    /// The time at which [`due`](Self::due) will return the next message.
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.places.values().filter(|window| window.counted > 0).map(|window| window.ends).min()
    }

    /// For each place whose window has ended: the last counted message, and the number of counted messages.
    ///
    /// A place that continues is logged once in each window, until it has been quiet for one window.
    pub(super) fn due(&mut self, now: Instant) -> Vec<(M, u64)> {
        self.take(now, |window| window.ends <= now)
    }

    /// For every place, at the end of the process: the last counted message, and the number of counted messages.
    pub(super) fn rest(&mut self, now: Instant) -> Vec<(M, u64)> {
        self.take(now, |_| true)
    }

    fn take(&mut self, now: Instant, is_due: impl Fn(&Window<M>) -> bool) -> Vec<(M, u64)> {
        let mut taken = Vec::new();
        for window in self.places.values_mut().filter(|window| is_due(window)) {
            if let Some(last) = window.last.take() {
                taken.push((last, window.counted));
                *window = Window { ends: now + WINDOW, logged: LIMIT, counted: 0, last: None };
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(file: &str) -> Place {
        (file.to_owned(), 1)
    }

    #[test]
    fn a_flood_is_some_lines_and_then_a_number_in_each_window() {
        let mut repeats = Repeats::new();
        let start = Instant::now();
        let logged =
            (0..1000).filter(|number| repeats.admit(place("a.rs"), *number, start).is_some()).count();
        assert_eq!(logged, 20);
        assert_eq!(repeats.admit(place("b.rs"), 0, start), Some(0), "another place has its own count");
        assert_eq!(repeats.due_at(), Some(start + WINDOW));
        assert!(repeats.due(start).is_empty());

        let end = start + WINDOW;
        assert_eq!(repeats.admit(place("a.rs"), 1000, end), None, "a number that was not logged is not lost");
        assert_eq!(repeats.due(end), [(1000, 981)]);
        assert_eq!(repeats.admit(place("a.rs"), 0, end), None, "it continues");
        assert_eq!(repeats.due(end + WINDOW), [(0, 1)]);
        let quiet = end + 2 * WINDOW;
        assert!(repeats.due_at().is_none() && repeats.due(quiet).is_empty());
        assert_eq!(repeats.admit(place("a.rs"), 7, quiet), Some(7), "it has been quiet");
    }

    #[test]
    fn the_rest_is_logged_at_the_end() {
        let mut repeats = Repeats::new();
        let start = Instant::now();
        for _ in 0..25 {
            repeats.admit(place("a.rs"), (), start);
        }
        assert_eq!(repeats.rest(start), [((), 5)]);
        assert!(repeats.rest(start).is_empty());
    }
}
