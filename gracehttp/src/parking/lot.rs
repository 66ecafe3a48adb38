//! One server's parking lot.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep};

use crate::log;
use crate::parking::memory::ParkedCount;
use crate::parking::slots::{Parked, Slots};
use crate::socket::{Socket, Stage, Unread};
use crate::sync::{Mutex, MutexGuard};
use crate::sys::{self, Descriptor, Registrar, Watched};

/// The resolution of idle times. A `u32` of them lasts thirteen years.
const TICK: Duration = Duration::from_millis(100);

/// A tick divides a second, so that a time becomes ticks without a division of 128 bits.
const TICKS_IN_SECOND: u64 = 10;

/// How many connections one turn wakes. They are awake together, so it bounds the memory that a burst needs.
pub(crate) const BATCH: usize = 8;

/// A connection that has rested for more ticks is rarely used.
const LONG: u32 = 1;

/// An eviction skips at most so many connections with unread bytes, which are about to be woken.
const MAX_SKIPPED: usize = 64;

/// One server's parked connections: a slab of descriptors behind one epoll instance.
#[derive(Debug)]
pub(crate) struct Lot {
    epoll: AsyncFd<Watched<Instance>>,
    /// Shared with the connections whose registrations stay while they are awake.
    registry: Arc<Registry>,
    epoch: Instant,
    /// The limits of [`Stage::Fresh`] and [`Stage::Idle`].
    limits: [Duration; 2],
    /// The next deadline has changed.
    rescheduled: Notify,
    /// Counts its connections, too.
    parked: Arc<ParkedCount>,
}

/// The registrations of a lot.
///
/// They are edge-triggered: each reports what comes from then on, and after a report it needs no system call to report again.
/// So bytes for a connection that is awake are reported, too. Its slot notes that until the connection is parked again, since
/// it may not have read those bytes. It also notes an end that was reported together with the bytes before it.
#[derive(Debug)]
struct Registry {
    epoll: Epoll,
    slots: Mutex<Slots>,
}

/// A connection that left the lot, and why.
#[derive(Debug)]
pub(crate) enum Woken {
    /// It has bytes to read, or its client closed it.
    Ready(Wakened),
    /// It rested for as long as it may.
    Expired(Parked),
}

/// A connection that something has woken. Its registration with the lot stands, so that parking it again is cheap.
#[derive(Debug)]
pub(crate) struct Wakened {
    pub(crate) socket: Socket<Descriptor>,
    pub(crate) stage: Stage,
    /// It has rested for long.
    pub(crate) is_rare: bool,
    /// Its client has probably closed its side, or is gone.
    pub(crate) seems_closed: bool,
}

impl From<Parked> for Wakened {
    fn from(Parked { socket, stage }: Parked) -> Self {
        Self { socket: socket.map_fd(Descriptor::new), stage, is_rare: false, seems_closed: false }
    }
}

/// Waits for the connections of a lot.
///
/// It has one timer for all its waits, which is set again when it has fired, or if something is due earlier. Otherwise
/// each connection that wakes would touch it, and setting the first of all timers costs a system call.
#[derive(Debug)]
pub(crate) struct Attendant<'a> {
    lot: &'a Lot,
    timer: Pin<Box<Sleep>>,
    /// The timer will fire.
    is_set: bool,
}

impl Attendant<'_> {
    /// Waits until connections have something to do or have rested too long, and takes them out.
    ///
    /// Cancel safe: what was taken out is returned by the same turn.
    pub(crate) async fn wait(&mut self) -> Vec<Woken> {
        let lot = self.lot;
        loop {
            // Until it fires, nothing is due.
            if !self.is_set {
                let expired = lot.expired();
                if !expired.is_empty() {
                    return expired;
                }
                self.set_timer();
            }
            tokio::select! {
                biased;
                ready = lot.epoll.readable() => {
                    // The runtime ends: there is nothing left to wake.
                    let Ok(mut guard) = ready else { return std::future::pending().await };
                    let (woken, are_all) = lot.ready();
                    // The kernel reports again what comes after a look that has found all.
                    if are_all {
                        guard.clear_ready();
                    }
                    if !woken.is_empty() {
                        return woken;
                    }
                }
                () = &mut self.timer, if self.is_set => self.is_set = false,
                () = lot.rescheduled.notified() => self.set_timer(),
            }
        }
    }

    /// Has the timer fire when the next connection is due, or earlier.
    fn set_timer(&mut self) {
        if let Some(deadline) = self.lot.next_deadline()
            && (!self.is_set || deadline < self.timer.deadline())
        {
            self.timer.as_mut().reset(deadline);
            self.is_set = true;
        }
    }
}

impl Lot {
    /// An empty lot. Has to be called within a runtime.
    pub(crate) fn new(fresh: Duration, idle: Duration, parked: Arc<ParkedCount>) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let registry = Arc::new(Registry { epoll, slots: Mutex::new(Slots::new()) });
        Ok(Self {
            epoll: sys::watch(Instance(registry.clone()), Interest::READABLE)?,
            registry,
            epoch: Instant::now(),
            limits: [fresh, idle],
            rescheduled: Notify::new(),
            parked,
        })
    }

    #[cfg(test)]
    /// How many connections are parked.
    pub(crate) fn len(&self) -> usize {
        self.slots().len()
    }

    #[cfg(test)]
    /// Registers a descriptor with which the lot has no registration. From now on it can't be parked, as if the kernel
    /// refused to watch it.
    pub(crate) fn occupy(&self, fd: BorrowedFd<'_>) {
        self.registry.epoll.add(fd, EpollEvent::empty()).unwrap();
    }

    /// Parks a connection. If the kernel can't watch one more, it comes back, to be served awake.
    pub(crate) fn park(&self, parked: Parked) -> Result<(), Parked> {
        let mut slots = self.slots();
        // Each stage has its own limit: the first of a stage may be the next to expire.
        let is_first = slots.oldest(parked.stage).is_none();
        let key = slots.insert(parked, self.now());
        // Under the lock, so that no slot is taken out before its descriptor is registered.
        let added = slots.fd(key).is_some_and(|fd| self.registry.epoll.add(fd, event(key)).is_ok());
        if !added && let Some((parked, _)) = slots.remove(key) {
            return Err(parked);
        }
        self.note_parked(slots, is_first);
        Ok(())
    }

    /// Parks a connection again whose registration stands. If something has come for it that was not read, its socket comes
    /// back.
    pub(crate) fn park_again(
        &self,
        socket: Socket<Descriptor>,
        stage: Stage,
    ) -> Result<(), Socket<Descriptor>> {
        let Some(key) = socket.fd.key() else { return Err(socket) };
        let now = self.now();
        let mut slots = self.slots();
        // Under the lock: an event of what comes after this look finds it parked.
        if slots.may_have_unread(key) && Unread::of(socket.fd.as_fd()) != Unread::Nothing {
            return Err(socket);
        }
        let is_first = slots.oldest(stage).is_none();
        slots.put_back(key, Parked { socket: socket.map_fd(Descriptor::into_registered), stage }, now);
        self.note_parked(slots, is_first);
        Ok(())
    }

    fn note_parked(&self, slots: MutexGuard<'_, Slots>, is_first: bool) {
        self.parked.add();
        drop(slots);
        if is_first {
            self.rescheduled.notify_one();
        }
    }

    /// Waits for the connections of this lot. Only one attendant at a time may wait.
    pub(crate) fn attendant(&self) -> Attendant<'_> {
        Attendant { lot: self, timer: Box::pin(sleep(Duration::ZERO)), is_set: false }
    }

    #[cfg(test)]
    async fn wait(&self) -> Vec<Woken> {
        self.attendant().wait().await
    }

    /// Takes out up to `most` connections of any stage.
    pub(crate) fn take(&self, most: usize) -> Vec<Parked> {
        let mut slots = self.slots();
        let taken = std::iter::from_fn(|| {
            let key = slots.any()?;
            self.remove(&mut slots, key)
        })
        .take(most)
        .collect();
        slots.shrink();
        taken
    }

    /// Whether no connection is parked.
    pub(crate) fn is_empty(&self) -> bool {
        let slots = self.slots();
        slots.count(Stage::Fresh) + slots.count(Stage::Idle) == 0
    }

    /// How many connections of a stage are parked.
    pub(crate) fn count(&self, stage: Stage) -> usize {
        self.slots().count(stage)
    }

    /// Since when the oldest connection of a stage has been resting.
    pub(crate) fn oldest(&self, stage: Stage) -> Option<Instant> {
        let (_, since) = self.slots().oldest(stage)?;
        self.epoch.checked_add(TICK * since)
    }

    /// Takes out the oldest connection of a stage, if it has rested for longer than `rested`. Skips one whose client
    /// has sent something: it is about to be woken.
    pub(crate) fn evict(&self, stage: Stage, rested: Duration) -> Option<Parked> {
        let limit = ticks(rested);
        let now = self.now();
        let mut slots = self.slots();
        let (key, _) = slots
            .oldest_first(stage)
            // Ticks round down: so it takes one more.
            .take_while(|(_, since)| now.saturating_sub(*since) > limit)
            .take(MAX_SKIPPED)
            // Under the lock, so that nothing wakes it between this look and its removal.
            .find(|(key, _)| slots.fd(*key).is_some_and(|fd| Unread::of(fd) != Unread::Bytes))?;
        self.remove(&mut slots, key)
    }

    /// Takes out connections whose bytes have arrived, and says whether these are all of them. Their registrations stay.
    fn ready(&self) -> (Vec<Woken>, bool) {
        let mut events = [EpollEvent::empty(); BATCH];
        let count = match self.registry.epoll.wait(&mut events, EpollTimeout::ZERO) {
            Ok(count) => count,
            Err(Errno::EINTR) => return (Vec::new(), false),
            Err(error) => return (self.unwatched(error), true),
        };
        let now = self.now();
        let mut slots = self.slots();
        // An event may be older than its slot: the slot's new connection is then woken for nothing, finds no
        // byte to read and is parked again.
        let woken = events[..count].iter().filter_map(|event| self.waken(&mut slots, event, now));
        (woken.collect(), count < BATCH)
    }

    fn waken(&self, slots: &mut Slots, event: &EpollEvent, now: u32) -> Option<Woken> {
        let key = event.data() as u32;
        let seems_closed = event.events() != EpollFlags::EPOLLIN;
        let (Parked { socket, stage }, since) = slots.wake(key, seems_closed)?;
        self.parked.remove();
        let socket = socket.map_fd(|fd| Descriptor::standing(fd, self.registry.clone(), key));
        let is_rare = now.saturating_sub(since) > LONG;
        Some(Woken::Ready(Wakened { socket, stage, is_rare, seems_closed }))
    }

    /// Takes out all connections: a broken epoll instance would wake none.
    fn unwatched(&self, error: Errno) -> Vec<Woken> {
        let all = self.take(usize::MAX);
        if !all.is_empty() {
            log::error(format_args!(
                "parked connections can't be watched: {error}; something in this process has closed a descriptor that \
                 is not its own; {} connections stay awake from now on: restart the application",
                all.len()
            ));
        }
        all.into_iter().map(|parked| Woken::Ready(parked.into())).collect()
    }

    /// Takes out the connections that have rested too long, a batch at the most.
    fn expired(&self) -> Vec<Woken> {
        let now = self.now();
        let mut slots = self.slots();
        let mut expired = Vec::new();
        for stage in [Stage::Fresh, Stage::Idle] {
            let limit = ticks(self.limits[stage as usize]);
            while expired.len() < BATCH
                && let Some((key, since)) = slots.oldest(stage)
                && now.saturating_sub(since) >= limit
            {
                expired.extend(self.remove(&mut slots, key).map(Woken::Expired));
            }
        }
        expired
    }

    /// When the next connection will have rested too long.
    fn next_deadline(&self) -> Option<Instant> {
        let slots = self.slots();
        [Stage::Fresh, Stage::Idle]
            .into_iter()
            .filter_map(|stage| {
                let (_, since) = slots.oldest(stage)?;
                // One tick more than the limit, since ticks round down.
                let rest = TICK * since + self.limits[stage as usize] + TICK;
                self.epoch.checked_add(rest)
            })
            .min()
    }

    fn remove(&self, slots: &mut Slots, key: u32) -> Option<Parked> {
        if let Some(fd) = slots.fd(key) {
            // The registration follows the open file description, which may live on in another process.
            let _ = self.registry.epoll.delete(fd);
        }
        let (removed, _) = slots.remove(key)?;
        self.parked.remove();
        Some(removed)
    }

    fn now(&self) -> u32 {
        ticks(self.epoch.elapsed())
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.registry.slots.lock()
    }
}

impl Registrar for Registry {
    fn end(&self, key: u32, fd: BorrowedFd<'_>) {
        let mut slots = self.slots.lock();
        let _ = self.epoll.delete(fd);
        slots.give_up(key);
    }
}

/// Reports the connection with this key whenever something comes.
fn event(key: u32) -> EpollEvent {
    let each = EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
    EpollEvent::new(each, u64::from(key))
}

fn ticks(duration: Duration) -> u32 {
    let in_second = u64::from(duration.subsec_nanos() / TICK.subsec_nanos());
    u32::try_from(duration.as_secs().saturating_mul(TICKS_IN_SECOND).saturating_add(in_second))
        .unwrap_or(u32::MAX)
}

/// The epoll instance as a descriptor.
#[derive(Debug)]
struct Instance(Arc<Registry>);

impl AsFd for Instance {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.epoll.0.as_fd()
    }
}

#[cfg(all(test, gracehttp_model))]
#[path = "lot_model.rs"]
mod model;

#[cfg(test)]
#[path = "lot_tests.rs"]
mod tests;
