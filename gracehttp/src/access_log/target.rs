//! The targets of a process. Servers that log to one file share it.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::access_log::queue::Queue;
use crate::access_log::sink::Sink;
use crate::access_log::writer;
use crate::error::Error;
use crate::log::{self, FLUSH_LIMIT};
use crate::server::AccessLogTo;

/// How much of [`FLUSH_LIMIT`] is kept for the messages of writers about the lines that they could not write.
const GRACE: Duration = Duration::from_millis(150);

/// How much of it is kept for the log, which has to deliver that.
const FOR_LOG: Duration = Duration::from_millis(100);

/// How long a file may take to be opened anew.
const REOPEN_LIMIT: Duration = Duration::from_secs(5);

static TARGETS: LazyLock<Mutex<HashMap<AccessLogTo, Arc<Target>>>> = LazyLock::new(Mutex::default);

/// One target with its queue and its writer.
pub(super) struct Target {
    pub(super) name: String,
    pub(super) queue: Queue,
    duties: Mutex<Vec<Duty>>,
}

/// What a writer is asked for beside its lines. It first writes the lines that have come before the duty.
pub(super) enum Duty {
    /// The process ends. What is not written at this time counts as lost.
    Flush(Sender<()>, Instant),
    Reopen(Sender<Result<(), Error>>),
    /// The exception: done before any line is written. See [`follow_names`].
    FollowName,
}

impl Target {
    /// The target of this name, opened if no server has it yet.
    pub(super) fn shared(to: &AccessLogTo) -> Result<Arc<Self>, Error> {
        let mut targets = TARGETS.lock();
        if let Some(target) = targets.get(to) {
            return Ok(target.clone());
        }
        let sink = Sink::open(to)?;
        let target = Arc::new(Self { name: to.to_string(), queue: Queue::new(), duties: Mutex::default() });
        writer::start(&target, sink)?;
        targets.insert(to.clone(), target.clone());
        Ok(target)
    }

    pub(super) fn take_duties(&self) -> Vec<Duty> {
        std::mem::take(&mut self.duties.lock())
    }

    pub(super) fn has_duties(&self) -> bool {
        !self.duties.lock().is_empty()
    }

    fn ask<T>(&self, duty: impl FnOnce(Sender<T>) -> Duty) -> Receiver<T> {
        let (sender, receiver) = channel();
        self.charge(duty(sender));
        receiver
    }

    fn charge(&self, duty: Duty) {
        self.duties.lock().push(duty);
        self.queue.hurry();
    }
}

/// Writes all lines, within a limit, since a target may take no more lines, or its writer may hang.
pub(super) fn flush_at_exit(begun: Instant) {
    let end = begun + FLUSH_LIMIT;
    let (given_up, told) = (end - FOR_LOG - GRACE, end - FOR_LOG);
    let ask = |target: Arc<Target>| target.ask(|done| Duty::Flush(done, given_up));
    for flushed in all().into_iter().map(ask).collect::<Vec<_>>() {
        let _ = flushed.recv_timeout(told.saturating_duration_since(Instant::now()));
    }
    // For what the writers have just said: the log may have written its last messages before.
    log::flush_until(end);
}

/// The process ends: from now on only requests that [`write_last`](crate::access_log::AccessLog::write_last) logs get a line.
pub(crate) fn close() {
    all().iter().for_each(|target| target.queue.close());
}

/// Opens all files anew by their names, and says how many. No line is written to the former ones afterwards.
pub(crate) fn reopen() -> Result<usize, Error> {
    let asked: Vec<_> = all().into_iter().map(|target| (target.ask(Duty::Reopen), target)).collect();
    let end = Instant::now() + REOPEN_LIMIT;
    let mut faults = Vec::new();
    let count = asked.len();
    for (reopened, target) in asked {
        let left = end.saturating_duration_since(Instant::now());
        let reopened = reopened.recv_timeout(left).unwrap_or_else(|_| {
            let (name, limit) = (&target.name, REOPEN_LIMIT);
            Err(Error::new(format!("the access log `{name}` was not opened anew within {limit:?}")))
        });
        faults.extend(reopened.err());
    }
    Error::check(faults).map(|()| count)
}

/// Has the targets open their files anew by their names, and does not wait for it.
///
/// A process that takes another's place has opened its files long before, when it began to start. If they were renamed since,
/// only the process that served until now was told.
pub(crate) fn follow_names() {
    all().iter().for_each(|target| target.charge(Duty::FollowName));
}

/// How many lines were lost.
#[cfg(feature = "admin")]
pub(crate) fn lost() -> u64 {
    all().iter().map(|target| target.queue.lost()).sum()
}

fn all() -> Vec<Arc<Target>> {
    TARGETS.lock().values().cloned().collect()
}

/// Whether a target could be opened, as far as that can be said without making a file.
#[cfg(feature = "cli")]
pub(crate) fn check(to: &AccessLogTo) -> Result<(), Error> {
    use nix::errno::Errno;
    use nix::unistd::{AccessFlags, access};

    use crate::access_log::sink::unopened;

    let AccessLogTo::File(path) = to else { return Ok(()) };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => std::path::Path::new("."),
    };
    let needed = if path.exists() { path } else { folder };
    let tried = match path.is_dir() {
        true => Err(Errno::EISDIR),
        false => access(needed, AccessFlags::W_OK),
    };
    tried.map_err(|error| unopened(path, error.into()))
}
