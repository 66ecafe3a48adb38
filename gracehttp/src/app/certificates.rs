//! The certificates of the process while it serves: renewed when their files change, and told before they expire.
//!
//! A thread of its own does it, since reading a file can wait for a disk. It looks when a directory changes, from time
//! to time, and when a command asks. In standby it rests, so that a renewal is told by one process.

use std::collections::BTreeSet;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::app::expired_lists::ExpiredLists;
use crate::app::expiry::{Expiry, FailedRenewals, Watched};
use crate::app::servers::Servers;
use crate::error::Error;
use crate::lifecycle::{CertificateReload, CertificateReloader, Event, Events, Subscriber};
use crate::log;
use crate::tls::{Look, Place, Reloader, Watch};

/// How long the directories have to be quiet before the files are read, and for how long that is waited for at most.
const QUIET: Duration = Duration::from_millis(50);
const LONGEST_UNREST: Duration = Duration::from_secs(1);

/// After which time a fault is looked at again that may be half of a replacement.
const DOUBT: Duration = Duration::from_secs(1);

/// How often dates are looked at, whatever the files do.
const DATES: Duration = Duration::from_secs(3600);

type Answer = oneshot::Sender<Vec<CertificateReload>>;

/// How others reach the thread.
struct Bell {
    ring: EventFd,
    rests: AtomicBool,
    failed: FailedRenewals,
}

impl Bell {
    fn ring(&self) {
        // Its counter is full only if it rings already.
        let _ = self.ring.write(1);
    }
}

impl Subscriber for Bell {
    fn on_event(&self, event: &Event) {
        match event {
            Event::Committed { .. } => self.rests.store(true, Ordering::Relaxed),
            Event::TookBack { .. } => {
                self.rests.store(false, Ordering::Relaxed);
                self.ring();
            }
            #[cfg(feature = "acme")]
            Event::CertificateOrdered(order) if self.failed.note(order) => self.ring(),
            _ => {}
        }
    }
}

/// Begins to look after the certificates of servers that have some. Returns who can ask for a look.
pub(super) fn look_after(servers: &Servers, events: &Events) -> Option<CertificateReloader> {
    let secure = servers.iter().filter_map(|server| Some((server, server.context.tls.clone()?)));
    let (mut reloaders, mut watched) = (Vec::new(), Vec::new());
    for (server, acceptor) in secure {
        reloaders.extend(Reloader::of(&server.context.options, &acceptor));
        let is_renewed = server.context.options.tls.as_ref().is_some_and(|tls| tls.authority().is_some());
        watched.push(Watched { server: server.name().to_owned(), acceptor, is_renewed });
    }
    if watched.is_empty() {
        return None;
    }
    match begin(reloaders, watched, events) {
        Ok(reloader) => Some(reloader),
        Err(error) => {
            log::error(format_args!("certificates are renewed by restarts alone: {error}"));
            None
        }
    }
}

fn begin(
    reloaders: Vec<Reloader>,
    watched: Vec<Watched>,
    events: &Events,
) -> Result<CertificateReloader, Error> {
    let no_thread =
        |error: std::io::Error| Error::caused_by(format!("no thread looks after them: {error}"), error);
    let ring = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK);
    let bell = Arc::new(Bell {
        ring: ring.map_err(|error| no_thread(error.into()))?,
        rests: AtomicBool::new(false),
        failed: FailedRenewals::default(),
    });
    let (asker, asked) = channel();
    let acceptors =
        watched.iter().map(|Watched { server, acceptor, .. }| (server.clone(), acceptor.clone())).collect();
    let caretaker = Caretaker {
        reloaders,
        lists: ExpiredLists::new(acceptors),
        expiry: Expiry::new(watched),
        bell: bell.clone(),
        asked,
        watch: None,
        events: events.clone(),
    };
    thread::Builder::new().name("certificates".to_owned()).spawn(|| caretaker.run()).map_err(no_thread)?;
    events.subscribe(bell.clone());
    let asker: Mutex<Sender<Answer>> = Mutex::new(asker);
    Ok(CertificateReloader::new(move |answer| {
        // Fails if the thread has ended: then there is no answer.
        let _ = asker.lock().send(answer);
        bell.ring();
    }))
}

/// What the thread has.
struct Caretaker {
    reloaders: Vec<Reloader>,
    expiry: Expiry,
    lists: ExpiredLists,
    bell: Arc<Bell>,
    asked: Receiver<Answer>,
    watch: Option<Watch>,
    events: Events,
}

impl Caretaker {
    fn run(mut self) {
        loop {
            // Before the look: no change behind it is missed.
            self.watch();
            self.answer();
            if !self.bell.rests.load(Ordering::Relaxed) {
                self.look();
                self.expiry.look(SystemTime::now(), &self.bell.failed, &self.events);
                self.lists.look(SystemTime::now(), &self.events);
            }
            self.wait();
        }
    }

    /// Watches all that the files are reached over. It is done anew before each look: a directory that was replaced, or made
    /// again, is another one under the same name.
    fn watch(&mut self) {
        let watched = self.reloaders.iter().filter(|reloader| reloader.interval().is_some());
        let places: BTreeSet<Place> = watched.flat_map(Reloader::places).collect();
        if places.is_empty() {
            return;
        }
        match Watch::new(&places) {
            Ok(watch) => self.watch = Some(watch),
            Err(error) => {
                tracing::debug!(target: "gracehttp", "no directory of certificates is watched: {error}");
            }
        }
    }

    fn answer(&mut self) {
        while let Ok(answer) = self.asked.try_recv() {
            let outcomes: Vec<_> =
                self.reloaders.iter_mut().flat_map(|reloader| reloader.look(Look::Asked)).collect();
            tell(&outcomes, &self.events);
            let _ = answer.send(outcomes);
        }
    }

    fn look(&mut self) {
        let watched = self.reloaders.iter_mut().filter(|reloader| reloader.interval().is_some());
        let outcomes: Vec<_> = watched.flat_map(|reloader| reloader.look(Look::Usual)).collect();
        tell(&outcomes, &self.events);
    }

    /// Waits until there is a reason to look.
    fn wait(&self) {
        let has_doubts = self.reloaders.iter().any(Reloader::has_doubts);
        let intervals = self.reloaders.iter().filter_map(Reloader::interval);
        let until_list = self.lists.until_next(SystemTime::now());
        let times = intervals.chain([DATES]).chain(has_doubts.then_some(DOUBT)).chain(until_list);
        let longest = times.min().unwrap_or(DATES);
        let end = Instant::now() + longest;
        loop {
            let (has_rung, has_changed) = self.poll(end.saturating_duration_since(Instant::now()));
            if has_rung || Instant::now() >= end {
                return;
            }
            if has_changed {
                return self.until_quiet();
            }
        }
    }

    /// Waits until the files are left alone, since those of a certificate are replaced one after the other. Changes of other
    /// files in their directories do not count.
    fn until_quiet(&self) {
        let longest = Instant::now() + LONGEST_UNREST;
        let mut end = Instant::now() + QUIET;
        loop {
            let (has_rung, has_changed) = self.poll(end.saturating_duration_since(Instant::now()));
            let now = Instant::now();
            if has_changed {
                end = longest.min(now + QUIET);
            }
            if has_rung || now >= end {
                return;
            }
        }
    }

    /// Whether the bell has rung, and whether a directory has changed, within this time.
    fn poll(&self, within: Duration) -> (bool, bool) {
        let ring = &self.bell.ring;
        let mut sources = vec![PollFd::new(ring.as_fd(), PollFlags::POLLIN)];
        sources.extend(self.watch.iter().map(|watch| PollFd::new(watch.as_fd(), PollFlags::POLLIN)));
        // Rounded up: else the last millisecond would be spent in a loop.
        let millis = i32::try_from(within.as_millis() + 1).unwrap_or(i32::MAX);
        if poll(&mut sources, PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)).is_err() {
            return (false, false);
        }
        let has_changed = self.watch.as_ref().is_some_and(Watch::has_news);
        (ring.read().is_ok(), has_changed)
    }
}

fn tell(outcomes: &[CertificateReload], events: &Events) {
    outcomes.iter().for_each(|reload| events.emit(&Event::CertificateReloaded(reload.clone())));
}
