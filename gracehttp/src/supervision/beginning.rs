//! Whether a process that starts gets a supervisor, and how the two part.

use std::env;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::{Pid, getpid};

use crate::error::Error;
use crate::lifecycle::{Supervise, Tie};
use crate::log;
use crate::supervision::page::{Current, Page, State};
use crate::supervision::supervised::Supervised;
use crate::supervision::supervisor::Supervisor;
use crate::sys;

/// Which process this one is from now on.
pub(crate) enum Begun {
    /// The one that was started. It supervises.
    Supervisor(Box<Supervisor>),
    /// A copy of it, the first worker.
    Worker(Supervised),
    /// The one that was started, and the only one.
    Alone,
}

/// Starts to supervise, if that is wanted. `program` makes what later workers run, with the value of their variable.
///
/// Has to be called before the process has a second thread. It returns twice, in two processes.
pub(crate) fn begin(
    supervise: Supervise,
    program: impl Fn(&str) -> sys::Program + 'static,
) -> Result<Begun, Error> {
    let is_wanted = match supervise {
        Supervise::Off => false,
        Supervise::Auto => is_the_service(),
        Supervise::Always => true,
    };
    if !is_wanted {
        return Ok(Begun::Alone);
    }
    match (threads(), supervise) {
        (0 | 1, _) => part(program)
            .map_err(|error| Error::caused_by(format!("no supervisor can be started: {error}"), error)),
        (threads, Supervise::Always) => Err(Error::new(format!(
            "supervise is `always`, but this process has {threads} threads already, and a supervisor has to come before \
             them: call `run` before anything that starts a thread, or set `supervise = auto` or `off`"
        ))),
        (threads, _) => {
            log::notice(format_args!(
                "there is no supervisor (supervise = auto): this process has {threads} threads already, and a supervisor \
                 has to come before them; call `run` before anything that starts a thread"
            ));
            Ok(Begun::Alone)
        }
    }
}

/// Whether the service stands and falls with this very process: as PID 1, as the child of an init program that ends with
/// it, or as the main process of a systemd service. (`INVOCATION_ID` says nothing: shells inherit it.)
fn is_the_service() -> bool {
    let is_main = || env::var("SYSTEMD_EXEC_PID").is_ok_and(|pid| pid == std::process::id().to_string());
    Tie::find().is_some() || env::var_os("NOTIFY_SOCKET").is_some_and(|path| !path.is_empty()) || is_main()
}

/// How many threads this process has; 0 if `/proc` does not tell.
fn threads() -> usize {
    fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

fn part(program: impl Fn(&str) -> sys::Program + 'static) -> io::Result<Begun> {
    let page = Page::create()?;
    let (channel, for_workers) = channel()?;
    let supervisor = getpid();
    let first = |pid| Current { generation: 1, pid, state: State::Starting };
    let nobody = Pid::from_raw(0);
    page.set_current(first(nobody));
    match sys::fork()? {
        None => {
            drop(channel);
            page.change_current(first(nobody), first(getpid()));
            Ok(Begun::Worker(Supervised::new(supervisor, page, for_workers)))
        }
        Some(worker) => {
            // The worker may be quicker, and in its next state already.
            page.change_current(first(nobody), first(worker));
            let supervisor = Supervisor::new(page, channel, for_workers, worker, Box::new(program))?;
            Ok(Begun::Supervisor(Box::new(supervisor)))
        }
    }
}

/// The supervisor's end and that of all workers.
fn channel() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?)
}
