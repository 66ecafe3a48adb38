//! The supervisor: the process that was started. It starts workers, passes signals on, and ends with the service.
//!
//! It has one thread and serves nothing. Its code stays that of the start of the service, even when workers run new
//! releases. So it does little but system calls, and judges by the shared page alone.

mod crashes;
mod hang;
mod keeping;
mod signals;

use std::fmt;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{Pid, getpid};

use crate::lifecycle::Privileges;
use crate::log;
use crate::supervision::message::{MAX_MESSAGE, ToSupervisor};
use crate::supervision::notifier::Notifier;
use crate::supervision::page::{Current, Page, State, nanos, now};
use crate::supervision::pid_file::PidFile;
use crate::supervision::supervised::variable_value;
use crate::sys;
use crashes::{Crashes, Verdict};
use hang::HangWatch;
use keeping::Keeping;
use signals::{Arrived, Forwarding};

/// The status of a service whose workers crash again and again: EX_SOFTWARE of sysexits.h.
const CRASHES_TOO_OFTEN: i32 = 70;

/// The status of a worker whose program can't be run, as a shell has it.
const NOT_RUN: i32 = 127;

/// The supervisor looks at the page at least so often: a worker that has changed it may have died before it could say so.
const GLANCE: Duration = Duration::from_secs(2);

/// How often it looks at the page while it waits for processes that are not its children yet.
const GLANCE_AT_END: Duration = Duration::from_millis(100);

/// Makes the program of the next worker, with this value of its variable.
type MakeProgram = Box<dyn Fn(&str) -> sys::Program>;

/// A service, as its supervisor sees it.
pub(crate) struct Supervisor {
    page: Page,
    channel: OwnedFd,
    /// The other end, for fresh workers.
    for_workers: OwnedFd,
    program: MakeProgram,
    forwarding: Forwarding,
    keeping: Keeping,
    crashes: Crashes,
    hang: HangWatch,
    notifier: Notifier,
    /// The workers that live: the one that counts, and those that drain.
    workers: Vec<Pid>,
    /// When the next worker starts. Until then none counts.
    start_at: Option<u64>,
    /// The service was asked to stop.
    stop: Option<Stop>,
    /// A worker, and the user that it runs as. As soon as no other worker lives, this process becomes that user, too.
    privileges: Option<(Pid, Privileges)>,
    /// What is removed at the end.
    pid_file: Option<PidFile>,
    /// How the last worker that counted ended, as a status.
    last_status: i32,
    /// The service ends with this status as soon as no worker lives.
    ends_with: Option<i32>,
    buffer: Vec<u8>,
}

/// A request to stop. It holds until the service ends: the worker that has got it may die, or lose its place, before it
/// stops.
#[derive(Clone, Copy, Debug)]
struct Stop {
    signal: i32,
    /// The worker that this process has told; none if the worker has got the signal by itself.
    told: Option<Pid>,
}

/// How a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Exited(i32),
    Killed(Signal),
    /// Another worker has reaped it.
    Unseen,
}

impl End {
    /// The status that a shell would show.
    fn status(self) -> i32 {
        match self {
            Self::Exited(status) => status,
            Self::Killed(signal) => 128 + signal as i32,
            Self::Unseen => 1,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(status) => write!(f, "exited with status {status}"),
            Self::Killed(signal) => write!(f, "was killed by {signal}"),
            Self::Unseen => f.write_str("died"),
        }
    }
}

impl Supervisor {
    /// Of a service whose first worker was just forked.
    pub(super) fn new(
        page: Page,
        channel: OwnedFd,
        for_workers: OwnedFd,
        worker: Pid,
        program: MakeProgram,
    ) -> io::Result<Self> {
        let forwarding = Forwarding::begin()?;
        sys::adopt_orphans()?;
        let notifier = Notifier::find();
        // Earlier than the service manager, which would end the whole service.
        page.set_watchdog(notifier.watchdog().map(|period| period / 2));
        Ok(Self {
            page,
            channel,
            for_workers,
            program,
            forwarding,
            keeping: Keeping::default(),
            crashes: Crashes::default(),
            hang: HangWatch::default(),
            notifier,
            workers: vec![worker],
            start_at: None,
            stop: None,
            privileges: None,
            pid_file: None,
            last_status: 0,
            ends_with: None,
            buffer: vec![0; MAX_MESSAGE],
        })
    }

    /// Supervises until the service ends, and ends with it.
    pub(crate) fn run(mut self, privileges: Option<Privileges>) -> ! {
        self.privileges = self.workers.first().copied().zip(privileges);
        loop {
            self.read_messages();
            self.reap();
            self.judge();
            self.drop_rights();
            self.forward();
            self.start_if_due();
            self.abort_if_hung();
            self.notifier.feed();
            report_untold(self.notifier.repeat());
            if let Some(status) = self.ends_with.filter(|_| self.workers.is_empty()) {
                if let Some(file) = &self.pid_file {
                    file.remove_now();
                }
                sys::exit_now(status);
            }
            self.wait();
        }
    }

    /// Gives up the rights of root, if the worker runs as a user. This waits until no earlier worker is left: one may still be
    /// root, and signals have to reach it.
    fn drop_rights(&mut self) {
        let Current { generation, pid, state } = self.page.current();
        let is_alone = self.workers.iter().all(|worker| *worker == pid);
        if state == State::Serving
            && is_alone
            && let Some((_, privileges)) = self.privileges.take_if(|(worker, _)| *worker == pid)
            && privileges.are_to_be_dropped()
        {
            Privileges::forgo_new_rights();
            if let Err(error) = privileges.assume() {
                say(format_args!("{error}"));
                // In a later generation a restart has brought the user, and a service that serves is not ended for that.
                if generation == 1 {
                    sys::exit_now(1);
                }
            }
        }
    }

    /// Waits until there may be something to do.
    fn wait(&mut self) {
        let due =
            [self.forwarding.due_at(), self.start_at, self.hang.due_at(&self.page), self.notifier.due_at()];
        let glance = if self.ends_with.is_some() { GLANCE_AT_END } else { GLANCE };
        let due = due.into_iter().flatten().min();
        let begun = now();
        let limit = due.map_or(glance, |due| Duration::from_nanos(due.saturating_sub(begun))).min(glance);
        // In whole milliseconds, rounded up: rounded down, the last millisecond would be a loop without a wait.
        let millis = PollTimeout::try_from(limit + Duration::from_micros(999)).unwrap_or(PollTimeout::ZERO);
        let mut fds =
            [self.forwarding.as_fd(), self.channel.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        // An error changes nothing: the next turn looks at everything again.
        let _ = poll(&mut fds, millis);
        self.hang.note_wait(begun, limit);
    }

    fn read_messages(&mut self) {
        // The other end can't be closed: this process has a duplicate.
        while let Ok(Some(message)) = ToSupervisor::receive(self.channel.as_fd(), &mut self.buffer) {
            match message {
                ToSupervisor::Keep { set, last, kept } => self.keeping.add(set, last, kept),
                ToSupervisor::Notify(text, descriptor) => {
                    report_untold(self.notifier.pass_on(text, descriptor));
                }
                ToSupervisor::Lost(how) => self.crashes.note_words(&how),
                ToSupervisor::PidFile(path) => self.have_pid_file(path),
                ToSupervisor::Rights(worker, privileges) => self.privileges = Some((worker, privileges)),
                // The page is read in every turn.
                ToSupervisor::Wake | ToSupervisor::Unknown => {}
            }
        }
    }

    /// The pid file is at this path now. One that a worker has left elsewhere names a process that is alive, so no script
    /// would take it for a stale one.
    fn have_pid_file(&mut self, path: Option<PathBuf>) {
        let before =
            std::mem::replace(&mut self.pid_file, path.map(|path| PidFile::new(path, std::process::id())));
        if let Some(before) = before
            && self.pid_file.as_ref().map(PidFile::path) != Some(before.path())
        {
            before.remove_now();
        }
    }

    /// Reaps all children that have ended, foreign orphans among them.
    fn reap(&mut self) {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG;
        loop {
            let (pid, end) = match waitid(Id::All, flags) {
                Ok(WaitStatus::Exited(pid, status)) => (pid, End::Exited(status)),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, End::Killed(signal)),
                Err(Errno::EINTR) => continue,
                // None is left that has ended.
                Ok(_) | Err(_) => return,
            };
            self.workers.retain(|worker| *worker != pid);
            let current = self.page.current();
            if current.pid == pid && self.ends_with.is_none() {
                self.ended(current, end);
            }
        }
    }

    /// Looks whether the worker that counts is another one, or has ended and was reaped by another worker.
    fn judge(&mut self) {
        self.workers.retain(|worker| is_there(*worker));
        let current = self.page.current();
        if current.pid.as_raw() == 0 || self.ends_with.is_some() {
            return;
        }
        if current.state == State::Serving && !self.hang.is_ending(current.pid) {
            self.notifier.step_down();
        }
        match current.state {
            State::Lost => self.crashed(current, End::Unseen),
            _ if !is_there(current.pid) => self.ended(current, End::Unseen),
            _ if !self.workers.contains(&current.pid) => self.workers.push(current.pid),
            _ => {}
        }
        self.repeat_stop();
    }

    /// Tells a worker that has taken the place of one that was told to stop.
    fn repeat_stop(&mut self) {
        let current = self.page.current();
        if let Some(Stop { signal, told: Some(told) }) = self.stop
            && current.pid.as_raw() > 0
            && current.pid != told
            && current.state != State::Ending
        {
            self.stop = Some(Stop { signal, told: Some(current.pid) });
            sys::send_signal(current.pid, signal);
        }
    }

    /// The worker that counts has ended.
    fn ended(&mut self, current: Current, end: End) {
        match (current.state, end) {
            // It has decided to end. Another worker has reaped it, so its status is not known here.
            (State::Ending, End::Unseen) => self.end_with(0),
            // Something outside has killed it, such as the kernel when memory is short. An earlier worker has served, so
            // another attempt makes sense.
            (State::Starting, End::Killed(_)) if current.generation > 1 => self.crashed(current, end),
            // A worker that never served would not do so the next time either.
            (State::Ending | State::Starting, _) | (State::Serving, End::Exited(0)) => {
                self.end_with(end.status());
            }
            (State::Serving | State::Lost, _) => self.crashed(current, end),
        }
    }

    fn end_with(&mut self, status: i32) {
        self.start_at = None;
        self.ends_with = self.ends_with.or(Some(status));
    }

    /// The worker that counts has ended, though it was to serve on.
    fn crashed(&mut self, current: Current, end: End) {
        let next =
            Current { generation: current.generation + 1, pid: Pid::from_raw(0), state: State::Starting };
        // That worker may have a successor, which became ready just now and has taken the place.
        if !self.page.change_current(current, next) {
            return;
        }
        self.last_status = end.status();
        if self.stop.is_some() {
            return self.end_with(self.last_status);
        }
        self.page.stop_beating();
        self.notifier.stand_in();
        let Current { generation, pid, .. } = current;
        let how = self.crashes.take_words().unwrap_or_else(|| end.to_string());
        match self.crashes.note(now(), self.page.crash_limits()) {
            Verdict::StartAfter(pause) => {
                let when = if pause.is_zero() {
                    "at once".to_owned()
                } else {
                    format!("in {}", humantime::format_duration(pause))
                };
                say(format_args!(
                    "the worker, pid {pid}, generation {generation}, {how}; the next one starts {when}"
                ));
                self.start_at = Some(now().saturating_add(nanos(pause)));
            }
            Verdict::GiveUp { crashes, within } => {
                say(format_args!(
                    "the worker, pid {pid}, generation {generation}, {how}; that was crash {crashes} within {}, so the \
                     service ends with status {CRASHES_TOO_OFTEN}",
                    humantime::format_duration(within)
                ));
                self.end_with(CRASHES_TOO_OFTEN);
            }
        }
    }

    /// Passes on the signals that the worker has not got by itself.
    fn forward(&mut self) {
        self.forwarding.read();
        if self.ends_with.is_none() && self.page.current().pid.as_raw() == 0 {
            for signal in self.forwarding.take_all() {
                self.heed(signal);
            }
        }
        for Arrived { signal, has_reached_worker } in self.forwarding.take_due(&self.page) {
            let current = self.page.current();
            if self.page.stops(signal) {
                self.stop = Some(Stop { signal, told: (!has_reached_worker).then_some(current.pid) });
            }
            if signal == Signal::SIGABRT as i32 {
                // The watchdog of a service manager, which waits for the end of the service.
                self.end_with(End::Killed(Signal::SIGABRT).status());
            }
            if has_reached_worker {
                continue;
            }
            if self.ends_with.is_some() {
                self.workers.iter().for_each(|worker| sys::send_signal(*worker, signal));
            } else {
                sys::send_signal(current.pid, signal);
            }
        }
    }

    /// Does what a signal asks for between a crash and the next worker.
    fn heed(&mut self, signal: i32) {
        if signal == Signal::SIGABRT as i32 {
            self.end_with(End::Killed(Signal::SIGABRT).status());
        } else if self.page.stops(signal) {
            self.end_with(self.last_status);
        } else if self.page.restarts(signal) && self.start_at.is_some() {
            // The next worker runs the program as it is now, so it is this restart. It starts at once, since the program
            // may have been mended.
            self.start_at = Some(now());
        }
    }

    fn start_if_due(&mut self) {
        if self.start_at.is_none_or(|at| now() < at) {
            return;
        }
        match self.start() {
            Ok(worker) => {
                self.workers.push(worker);
                self.start_at = None;
            }
            Err(error) => {
                let pause = self.crashes.pause_after_failure();
                say(format_args!(
                    "no worker can be started: {error}; the next attempt is in {}",
                    humantime::format_duration(pause)
                ));
                self.start_at = Some(now().saturating_add(nanos(pause)));
            }
        }
    }

    /// Starts a fresh worker with all that its predecessor had this process keep.
    fn start(&mut self) -> io::Result<Pid> {
        let kept = self.keeping.for_worker()?;
        let inherited = [self.page.as_fd(), self.for_workers.as_fd(), kept.as_fd()];
        let [page, channel, kept] = inherited;
        let program = (self.program)(&variable_value(page, channel, kept));
        let worker = sys::fork()?;
        let nobody = self.page.current();
        if nobody.pid.as_raw() == 0 {
            // Both do so: the other one may be slower.
            self.page.change_current(nobody, Current { pid: worker.unwrap_or_else(getpid), ..nobody });
        }
        match worker {
            Some(worker) => Ok(worker),
            None => become_worker(&program, &inherited),
        }
    }

    fn abort_if_hung(&mut self) {
        let current = self.page.current();
        if current.state != State::Serving || self.ends_with.is_some() {
            return;
        }
        let Some((signal, silence)) = self.hang.verdict(current.pid, &self.page) else { return };
        say(format_args!(
            "the worker, pid {}, has not answered for {}: it gets {signal}",
            current.pid,
            humantime::format_duration(Duration::from_secs(silence.as_secs()))
        ));
        // The end may take a while, for example for a core dump. Meanwhile the watchdog must not end the whole service.
        self.notifier.stand_in();
        // Its end is noticed like any other.
        let _ = kill(current.pid, signal);
    }
}

/// In the forked child: becomes the program of the worker.
fn become_worker(program: &sys::Program, inherited: &[BorrowedFd<'_>]) -> ! {
    let error = sys::become_program(program, inherited, &signals::held_back());
    say(format_args!("`{}` can't be run: {error}", program.path.to_string_lossy()));
    sys::exit_now(NOT_RUN)
}

/// Whether there is such a process, be it a zombie.
fn is_there(pid: Pid) -> bool {
    kill(pid, None) != Err(Errno::ESRCH)
}

/// The service manager could not be told something.
fn report_untold(told: io::Result<()>) {
    if let Err(error) = told {
        say(format_args!(
            "the service manager can't be told what happens here: {error}; the service runs all the same (NOTIFY_SOCKET \
             names the socket)"
        ));
    }
}

/// Writes a line to standard error, as the log would: the application's log belongs to the workers. A line for which
/// there is no room is lost.
fn say(words: fmt::Arguments<'_>) {
    let words = format_args!("supervisor, pid {}: {words}", std::process::id());
    let line = log::error_line(words, &vec![("process", "supervisor".into())]);
    let stderr = io::stderr();
    let mut writable = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    if poll(&mut writable, PollTimeout::ZERO) == Ok(1) {
        // There is no other place to report to.
        let _ = nix::unistd::write(&stderr, &line);
    }
}
