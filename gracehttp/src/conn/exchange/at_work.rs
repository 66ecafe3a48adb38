//! Which request the handler on each thread is working on at this moment.
//!
//! A handler that blocks its thread hears of no deadline, and no other task of its connection runs. If the process ends
//! all the same, its receipt finds the request here. Each poll of a handler notes its request in the place of its thread.
//! That costs some 20 ns.

use std::cell::OnceCell;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use parking_lot::Mutex;

use crate::conn::context::Context;
use crate::conn::info::ConnectionInfo;
use crate::lifecycle::{Cut, CutWhile};
use crate::server::{Asked, Line};

/// The place of one thread.
#[derive(Debug, Default)]
struct Place {
    /// A handler runs on the thread.
    is_taken: AtomicBool,
    /// The handler that runs, or the last one that ran.
    last: Mutex<Option<AtWork>>,
}

#[derive(Debug)]
struct AtWork {
    /// The address of the server's context, which tells the servers apart.
    server: usize,
    peer: Option<SocketAddr>,
    line: Line,
    since: Duration,
}

/// The places of all threads that handlers have run on.
static PLACES: Mutex<Vec<Weak<Place>>> = Mutex::new(Vec::new());

thread_local! {
    static PLACE: OnceCell<Arc<Place>> = const { OnceCell::new() };
}

/// Does some of a handler's work, and notes its request meanwhile.
pub(super) fn at_work<T>(info: &ConnectionInfo, asked: &Asked, work: impl FnOnce() -> T) -> T {
    PLACE.with(|place| {
        let place = place.get_or_init(new_place);
        *place.last.lock() = Some(AtWork {
            server: address(&info.context),
            peer: info.peer,
            line: asked.line().clone(),
            since: now(),
        });
        place.is_taken.store(true, Ordering::Release);
        let _leaves = Leaves(place);
        work()
    })
}

fn new_place() -> Arc<Place> {
    let place = Arc::new(Place::default());
    let mut places = PLACES.lock();
    places.retain(|place| place.strong_count() > 0);
    places.push(Arc::downgrade(&place));
    place
}

/// The handler has come back, or has panicked.
struct Leaves<'a>(&'a Place);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.0.is_taken.store(false, Ordering::Release);
    }
}

/// The handlers of a server that are at work at this moment.
pub(in crate::conn) fn handlers_at_work(context: &Arc<Context>) -> Vec<Cut> {
    let places: Vec<Arc<Place>> = PLACES.lock().iter().filter_map(Weak::upgrade).collect();
    let taken = places.iter().filter(|place| place.is_taken.load(Ordering::Acquire));
    taken.filter_map(|place| place.last.lock().as_ref()?.cut(address(context))).collect()
}

impl AtWork {
    fn cut(&self, server: usize) -> Option<Cut> {
        let Self { peer, line, since, .. } = self;
        (self.server == server).then(|| Cut {
            peer: *peer,
            doing: CutWhile::Handler,
            age: now().saturating_sub(*since),
            request: Arc::new(line.to_string()),
        })
    }
}

fn address(context: &Arc<Context>) -> usize {
    Arc::as_ptr(context).addr()
}

/// The time of a clock that is read in a few nanoseconds, and is some milliseconds behind.
fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).map_or(Duration::ZERO, Duration::from)
}
