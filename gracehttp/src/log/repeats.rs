//! Repeated messages are counted: a client that can trigger one must not fill a disk with it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How many messages of one place in the code are logged in one [`WINDOW`].
const SAID: u32 = 20;

/// The time after which the number of the others is logged.
const WINDOW: Duration = Duration::from_secs(10);

/// File and line.
pub(super) type Place = (String, u32);

/// What each place has logged lately. `M` is a message.
#[derive(Debug)]
pub(super) struct Repeats<M> {
    places: BTreeMap<Place, Window<M>>,
}

#[derive(Debug)]
struct Window<M> {
    ends: Instant,
    said: u32,
    counted: u64,
    /// The last of those that were only counted.
    last: Option<M>,
}

impl<M> Repeats<M> {
    pub(super) const fn new() -> Self {
        Self { places: BTreeMap::new() }
    }

    /// Gives the message back if it is to be logged now, and counts it otherwise.
    pub(super) fn admit(&mut self, place: Place, message: M, now: Instant) -> Option<M> {
        let fresh = || Window { ends: now + WINDOW, said: 0, counted: 0, last: None };
        let window = self.places.entry(place).or_insert_with(fresh);
        if window.ends <= now && window.counted == 0 {
            *window = fresh();
        }
        if window.said < SAID {
            window.said += 1;
            return Some(message);
        }
        window.counted += 1;
        window.last = Some(message);
        None
    }

    /// When [`due`](Self::due) will have something.
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.places.values().filter(|window| window.counted > 0).map(|window| window.ends).min()
    }

    /// The messages that were only counted in windows that have ended: the last one of each place, and their number.
    ///
    /// A place that goes on is logged once in a window, until it has been quiet for one window.
    pub(super) fn due(&mut self, now: Instant) -> Vec<(M, u64)> {
        self.take(now, |window| window.ends <= now)
    }

    /// All messages that were only counted, at the end of the process.
    pub(super) fn rest(&mut self, now: Instant) -> Vec<(M, u64)> {
        self.take(now, |_| true)
    }

    fn take(&mut self, now: Instant, is_due: impl Fn(&Window<M>) -> bool) -> Vec<(M, u64)> {
        let mut taken = Vec::new();
        for window in self.places.values_mut().filter(|window| is_due(window)) {
            if let Some(last) = window.last.take() {
                taken.push((last, window.counted));
                *window = Window { ends: now + WINDOW, said: SAID, counted: 0, last: None };
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
        let said = (0..1000).filter(|number| repeats.admit(place("a.rs"), *number, start).is_some()).count();
        assert_eq!(said, 20);
        assert_eq!(repeats.admit(place("b.rs"), 0, start), Some(0), "another place has its own count");
        assert_eq!(repeats.due_at(), Some(start + WINDOW));
        assert!(repeats.due(start).is_empty());

        let end = start + WINDOW;
        assert_eq!(repeats.admit(place("a.rs"), 1000, end), None, "a number that was not told is not lost");
        assert_eq!(repeats.due(end), [(1000, 981)]);
        assert_eq!(repeats.admit(place("a.rs"), 0, end), None, "it goes on");
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
