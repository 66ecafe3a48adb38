//! The one table of this process, and the counters in it.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::lifecycle::thread_number;
use crate::log;
use crate::metrics::families::Bounds;
use crate::metrics::key;
use crate::metrics::registry;
use crate::metrics::table::{Layout, Slot, Table};

/// None if the system gave no memory to share: then nothing is counted.
static TABLE: OnceLock<Option<Table>> = OnceLock::new();

/// The table of this process. The first use makes it, unless one was adopted before.
pub(super) fn table() -> Option<&'static Table> {
    let create = || {
        Table::create()
            .inspect_err(|error| {
                log::error(format_args!("nothing is counted: no shared memory for metrics: {error}"));
            })
            .ok()
    };
    TABLE.get_or_init(create).as_ref()
}

/// Goes on with the table of the predecessor, or the one that the supervisor has kept.
///
/// Has to be called before anything is counted. If the table is of no use, a new one is made.
pub(crate) fn adopt(file: OwnedFd) {
    let adopted = match Table::adopt(file) {
        Ok(table) => TABLE.set(Some(table)).map_err(|_| "this process has already counted".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    if let Err(why) = adopted {
        log::notice(format_args!("metrics begin anew: the table of the predecessor is not used: {why}"));
    }
}

/// The table for the successor or the supervisor, if anything is counted or will be.
pub(crate) fn share() -> Option<BorrowedFd<'static>> {
    let is_needed = TABLE.get().is_some() || !registry::definitions().is_empty();
    Some(is_needed.then(table)??.file())
}

/// A series of the table, which is looked for with its first use.
#[derive(Debug)]
pub(super) struct Lazy {
    key: Box<[u8]>,
    layout: Layout,
    slot: OnceLock<Option<Slot>>,
}

impl Lazy {
    pub(super) fn new(key: Vec<u8>, layout: Layout) -> Self {
        Self { key: key.into(), layout, slot: OnceLock::new() }
    }

    /// None if there is no room for it.
    pub(super) fn slot(&self) -> Option<&Slot> {
        self.slot.get_or_init(|| table()?.slot(&self.key, self.layout)).as_ref()
    }

    /// Its values over all generations.
    pub(super) fn values(&self) -> Vec<u64> {
        self.slot();
        table().map(|table| table.values(&self.key)).unwrap_or_default()
    }
}

/// A counter of the framework.
#[derive(Clone, Copy, Debug)]
pub(super) struct Count(Option<Slot>);

impl Count {
    pub(super) fn of<'a>(
        family: &str,
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
        layout: Layout,
    ) -> Self {
        Self(table().and_then(|table| table.slot(&key::encode(family, labels, None), layout)))
    }

    pub(super) fn add(&self, count: u64) {
        if let Some(slot) = &self.0 {
            slot.mine()[0].fetch_add(count, Ordering::Relaxed);
        }
    }
}

/// A histogram of durations: its buckets, of which the last has no bound, and the sum in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Durations {
    slot: Slot,
    bounds: &'static Bounds,
}

impl Durations {
    /// None if the table has no room for it.
    pub(super) fn of<'a>(
        family: &str,
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
        bounds: &'static Bounds,
    ) -> Option<Self> {
        let layout = Layout::Sharded { values: bounds.nanos.len() + 2 };
        let slot = table()?.slot(&key::encode(family, labels, Some(bounds.seconds)), layout)?;
        Some(Self { slot, bounds })
    }

    pub(super) fn observe(&self, duration: Duration) {
        self.observe_for(thread_number(), duration);
    }

    /// Counts a duration as the thread with this number.
    pub(super) fn observe_for(&self, thread: usize, duration: Duration) {
        let nanos =
            duration.as_secs().saturating_mul(1_000_000_000).saturating_add(duration.subsec_nanos().into());
        let bounds = self.bounds.nanos;
        // Most are short: the first bound or two decide.
        let bucket = bounds.iter().position(|bound| nanos <= *bound).unwrap_or(bounds.len());
        let values = self.slot.of_thread(thread);
        values[bucket].fetch_add(1, Ordering::Relaxed);
        values[bounds.len() + 1].fetch_add(nanos, Ordering::Relaxed);
    }
}
