//! How many connections the process may hold: its limit of descriptors, shared out to the servers.

use std::process::Command;
use std::sync::OnceLock;

use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};

use crate::lifecycle::{LoweredLimit, LoweredLimits};
use crate::{log, sys};

/// How many descriptors the process needs beside its connections and listeners: standard streams, the runtime's epoll and
/// event descriptors, the handoff, and what the application itself opens.
const RESERVE: usize = 64;

/// The soft limit of open descriptors with which the process was started; set before it is raised.
static AT_START: OnceLock<rlim_t> = OnceLock::new();

/// Raises the soft limit of open descriptors by what connections and listeners need, at most to the hard limit, and
/// returns the new limit. No further: the application's child processes inherit it.
pub(crate) fn raise_limit(connections: usize, listeners: usize) -> usize {
    let (soft, hard) = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok(limits) => limits,
        Err(error) => {
            log::notice(format_args!("cannot read the limit of open descriptors: {error}"));
            return usize::MAX;
        }
    };
    let at_start = *AT_START.get_or_init(|| soft);
    let needed = connections.saturating_add(listeners).saturating_add(RESERVE);
    let wanted = at_start.saturating_add(rlim_t::try_from(needed).unwrap_or(rlim_t::MAX)).clamp(soft, hard);
    let granted = match setrlimit(Resource::RLIMIT_NOFILE, wanted, hard) {
        Ok(()) => wanted,
        Err(error) => {
            log::notice(format_args!(
                "cannot raise the limit of open descriptors from {soft} to {wanted}: {error}"
            ));
            soft
        }
    };
    usize::try_from(granted).unwrap_or(usize::MAX)
}

/// The limit with which this process was started, and with which a successor starts.
pub(crate) fn limit_at_start() -> Option<rlim_t> {
    AT_START.get().copied()
}

/// Lets a command's process start with the soft limit of open descriptors that this process was started with.
///
/// The framework raises its own limit (`RLIMIT_NOFILE`) for the connections of its servers, and child processes
/// inherit it. Some programs do badly with a high limit: they close each descriptor up to it, one after the other, or
/// use `select`, which fails beyond 1024.
///
/// ```no_run
/// use std::process::Command;
///
/// let mut convert = Command::new("convert");
/// gracehttp::restore_limits(&mut convert).arg("in.png").arg("out.jpg").status()?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// For a command of tokio, pass its `as_std_mut()`.
pub fn restore_limits(command: &mut Command) -> &mut Command {
    if let Some(limit) = limit_at_start() {
        sys::limit_descriptors(command, limit);
    }
    command
}

/// How many connections a server wants to hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) server: &'a str,
    pub(crate) max_conns: usize,
    /// The user has set it.
    pub(crate) is_chosen: bool,
}

/// The limits that fit, in the order of the servers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fit {
    pub(crate) max_conns: Vec<usize>,
    /// The limits that the user chose and that were lowered. For a lowered default the banner is enough.
    pub(crate) lowered: Option<LoweredLimits>,
}

/// Lowers the limits (server, `max_conns`) to what fits into `available` descriptors beside `listeners`.
///
/// The descriptors are shared out fairly: a limit below an equal share is kept, and the larger limits get equal shares
/// of the rest. With shares in proportion to the limits, a server with the default would leave almost nothing to one
/// that asked for a few. Each server gets at least one.
pub(crate) fn fit(wanted: &[Wanted<'_>], listeners: usize, available: usize) -> Fit {
    let room = available.saturating_sub(RESERVE + listeners);
    let max_conns = share(wanted, room);
    let changes: Vec<LoweredLimit> = wanted
        .iter()
        .zip(&max_conns)
        .filter(|(wanted, got)| wanted.is_chosen && **got < wanted.max_conns)
        .map(|(Wanted { server, max_conns, .. }, got)| LoweredLimit {
            server: (*server).to_owned(),
            from: *max_conns,
            to: *got,
        })
        .collect();
    let reserved = RESERVE + listeners;
    let lowered = (!changes.is_empty()).then_some(LoweredLimits { changes, available, reserved });
    Fit { max_conns, lowered }
}

/// From the smallest limit to the largest, each server gets its limit, up to an equal share of what is left.
fn share(limits: &[Wanted<'_>], mut room: usize) -> Vec<usize> {
    let mut by_size: Vec<usize> = (0..limits.len()).collect();
    by_size.sort_by_key(|&i| limits[i].max_conns);
    let mut shares = vec![0; limits.len()];
    for (done, &i) in by_size.iter().enumerate() {
        let equal_share = room / (limits.len() - done);
        shares[i] = limits[i].max_conns.min(equal_share).max(1);
        room = room.saturating_sub(shares[i]);
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::DEFAULT_MAX_CONNS;

    fn wanted(limits: &[(&'static str, usize)]) -> Vec<Wanted<'static>> {
        let limits = limits.iter().copied();
        limits
            .map(|(server, max_conns)| Wanted {
                server,
                max_conns,
                is_chosen: max_conns != DEFAULT_MAX_CONNS,
            })
            .collect()
    }

    #[test]
    fn what_fits_is_left_alone() {
        let fitted = fit(&wanted(&[("a", 1000), ("b", 2000)]), 2, 4096);
        assert_eq!(fitted, Fit { max_conns: vec![1000, 2000], lowered: None });
    }

    #[test]
    fn the_largest_are_lowered_and_a_modest_one_keeps_what_it_asked_for() {
        let fitted = fit(&wanted(&[("big", 3000), ("small", 100), ("default", DEFAULT_MAX_CONNS)]), 3, 4167);
        assert_eq!(fitted.max_conns, [2000, 100, 2000]);
        let changes = vec![LoweredLimit { server: "big".to_owned(), from: 3000, to: 2000 }];
        assert_eq!(fitted.lowered, Some(LoweredLimits { changes, available: 4167, reserved: 67 }));
    }

    #[test]
    fn d15_a_default_that_does_not_fit_is_lowered_silently() {
        let fitted = fit(&wanted(&[("ping", DEFAULT_MAX_CONNS)]), 1, 4096);
        assert_eq!(fitted, Fit { max_conns: vec![4031], lowered: None });
    }

    #[test]
    fn every_server_gets_at_least_one() {
        assert_eq!(fit(&wanted(&[("a", 10), ("b", 10)]), 2, 0).max_conns, [1, 1]);
    }

    #[test]
    fn d9_the_soft_limit_is_raised_by_what_is_needed() {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        let granted = raise_limit(10, 1);
        assert_eq!(limit_at_start(), Some(soft));
        let expected = usize::try_from(soft).unwrap().saturating_add(75).min(usize::try_from(hard).unwrap());
        assert_eq!(granted, expected);
        assert_eq!(raise_limit(10, 1), granted, "once");
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap().0, rlim_t::try_from(granted).unwrap());
    }
}
