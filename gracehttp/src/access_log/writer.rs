//! The thread of a target.

use std::sync::{Arc, Once};
use std::thread;
use std::time::{Duration, Instant};

use crate::access_log::sink::{Sent, Sink, count};
use crate::access_log::target::{Duty, Target, flush_at_exit};
use crate::error::Error;
use crate::{log, sys};

/// The shortest time between two messages about lines that are lost.
const QUIET: Duration = Duration::from_secs(60);

/// The most bytes that are kept for a full pipe beside its queue.
const MOST_LEFT: usize = 4 << 20;

/// Starts the writer of a target.
pub(super) fn start(target: &Arc<Target>, sink: Sink) -> Result<(), Error> {
    static AT_EXIT: Once = Once::new();
    // Covers an application that calls `process::exit`, too.
    AT_EXIT.call_once(|| sys::at_exit(flush_at_exit));
    let writer = Writer { target: target.clone(), sink, told: 0, told_at: None, left: Vec::new() };
    let thread = thread::Builder::new().name("gracehttp-access".to_owned());
    thread.spawn(move || writer.work()).map(drop).map_err(|error| {
        Error::caused_by(format!("no thread for the access log `{}`: {error}", target.name), error)
    })
}

struct Writer {
    target: Arc<Target>,
    sink: Sink,
    /// Lost lines that a message has told of.
    told: u64,
    told_at: Option<Instant>,
    /// Lines that waited for a full pipe when a duty came.
    left: Vec<u8>,
}

impl Writer {
    fn work(mut self) {
        let mut spare = Vec::new();
        loop {
            self.target.queue.wait();
            // Before the lines are gathered: those that came before a duty are among them.
            let duties = self.target.take_duties();
            if duties.iter().any(|duty| matches!(duty, Duty::FollowName))
                && let Err(error) = self.sink.reopen()
            {
                log::errors("", &error);
            }
            let target = self.target.clone();
            let is_asked = !duties.is_empty();
            self.write_left(|| is_asked);
            target.queue.gather(&mut spare, |lines| self.write(lines, || is_asked));
            duties.into_iter().for_each(|duty| self.meet(duty));
            self.tell_lost();
        }
    }

    /// Writes lines, behind those that are left. Waits while a pipe is full, until a duty comes or `has_to_stop` says so.
    fn write(&mut self, lines: &[u8], has_to_stop: impl Fn() -> bool) {
        let Self { target, sink, told, told_at, left } = self;
        if !left.is_empty() {
            // The order stays.
            match left.len() + lines.len() <= MOST_LEFT {
                true => left.extend_from_slice(lines),
                false => target.queue.note_lost(count(lines)),
            }
            return;
        }
        let has_to_pause = || {
            tell_lost(target, told, told_at);
            has_to_stop() || target.has_duties()
        };
        let Sent { lost, rest } = sink.send(lines, has_to_pause);
        target.queue.note_lost(lost);
        *left = rest;
    }

    /// Writes the lines that are left from before.
    fn write_left(&mut self, has_to_stop: impl Fn() -> bool) {
        let left = std::mem::take(&mut self.left);
        if !left.is_empty() {
            self.write(&left, has_to_stop);
        }
    }

    fn meet(&mut self, duty: Duty) {
        // A sender fails if the other side waits no longer, since it has met its limit.
        match duty {
            // Done before the lines were written.
            Duty::FollowName => {}
            Duty::Flush(done, end) => {
                self.write_left(|| Instant::now() >= end);
                self.target.queue.note_lost(count(&std::mem::take(&mut self.left)));
                // The process ends: this is the last message about lost lines.
                self.told_at = None;
                self.tell_lost();
                let _ = done.send(());
            }
            Duty::Reopen(done) => {
                let _ = done.send(self.sink.reopen());
                self.write_left(|| true);
            }
        }
        if !self.left.is_empty() {
            self.target.queue.hurry();
        }
    }

    fn tell_lost(&mut self) {
        tell_lost(&self.target, &mut self.told, &mut self.told_at);
    }
}

/// Says how many lines were lost since the last message, if that is long enough ago.
fn tell_lost(target: &Target, told: &mut u64, told_at: &mut Option<Instant>) {
    let lost = target.queue.lost();
    if lost == *told || told_at.is_some_and(|at| at.elapsed() < QUIET) {
        return;
    }
    log::notice(format_args!("the access log `{}` has lost {} lines", target.name, lost - *told));
    (*told, *told_at) = (lost, Some(Instant::now()));
}
