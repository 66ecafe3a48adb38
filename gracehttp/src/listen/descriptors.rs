//! How many connections the process may hold: its descriptor limit, and who gets how much of it.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::log;
use crate::server::DEFAULT_MAX_CONNS;

/// What the process needs beside its connections and listeners: standard streams, the runtime's epoll and
/// event descriptors, the handoff, and what the application itself opens.
const RESERVE: usize = 64;

/// Raises the soft limit of open descriptors to the hard one, and says how many the process may have.
pub(crate) fn raise_limit() -> usize {
    let (soft, hard) = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok(limits) => limits,
        Err(error) => {
            log::notice(format_args!("cannot read the limit of open descriptors: {error}"));
            return usize::MAX;
        }
    };
    let granted = match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) if soft == hard => soft,
        Err(error) => {
            log::notice(format_args!(
                "cannot raise the limit of open descriptors from {soft} to {hard}: {error}"
            ));
            soft
        }
    };
    usize::try_from(granted).unwrap_or(usize::MAX)
}

/// What became of the limits, in the order of the servers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fit {
    pub(crate) max_conns: Vec<usize>,
    /// To be logged, if anything was lowered.
    pub(crate) message: Option<Message>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// Only limits that nobody chose were lowered: on most machines that is the normal case.
    Info(String),
    /// A limit that somebody chose was lowered.
    Notice(String),
}

impl Message {
    pub(crate) fn log(&self) {
        match self {
            Self::Info(text) => log::info(format_args!("{text}")),
            Self::Notice(text) => log::notice(format_args!("{text}")),
        }
    }
}

/// Lowers the limits (server, `max_conns`) to what fits into `available` descriptors beside `listeners`.
///
/// What there is is shared out fairly: a limit below an equal share is kept, and the larger ones get equal
/// shares of the rest. In proportion to the limits, one server with the default would leave almost nothing to
/// another that asked for a few. Nobody gets less than one.
pub(crate) fn fit(limits: &[(&str, usize)], listeners: usize, available: usize) -> Fit {
    let room = available.saturating_sub(RESERVE + listeners);
    let max_conns = share(limits, room);
    let lowered: Vec<_> = limits.iter().zip(&max_conns).filter(|((_, wanted), got)| *got < wanted).collect();
    if lowered.is_empty() {
        return Fit { max_conns, message: None };
    }
    let changes: Vec<String> =
        lowered.iter().map(|((name, wanted), got)| format!("`{name}` from {wanted} to {got}")).collect();
    let text = format!(
        "max_conns is lowered ({}): this process may open {available} descriptors, {} of which are \
         kept for other use; raise the hard limit (`ulimit -Hn`, or LimitNOFILE= of its service unit), or set a \
         smaller max_conns",
        changes.join(", "),
        RESERVE + listeners,
    );
    let nobody_chose = lowered.iter().all(|((_, wanted), _)| *wanted == DEFAULT_MAX_CONNS);
    let message = if nobody_chose { Message::Info(text) } else { Message::Notice(text) };
    Fit { max_conns, message: Some(message) }
}

/// From the smallest limit to the largest, each takes what it wants, up to an equal share of what is left.
fn share(limits: &[(&str, usize)], mut room: usize) -> Vec<usize> {
    let mut by_size: Vec<usize> = (0..limits.len()).collect();
    by_size.sort_by_key(|&i| limits[i].1);
    let mut shares = vec![0; limits.len()];
    for (served, &i) in by_size.iter().enumerate() {
        let equal_share = room / (limits.len() - served);
        shares[i] = limits[i].1.min(equal_share).max(1);
        room = room.saturating_sub(shares[i]);
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_left_alone() {
        let fitted = fit(&[("a", 1000), ("b", 2000)], 2, 4096);
        assert_eq!(fitted, Fit { max_conns: vec![1000, 2000], message: None });
    }

    #[test]
    fn the_largest_are_lowered_and_a_modest_one_keeps_what_it_asked_for() {
        let fitted = fit(&[("big", 3000), ("small", 100), ("default", DEFAULT_MAX_CONNS)], 3, 4167);
        assert_eq!(fitted.max_conns, [2000, 100, 2000]);
        let Some(Message::Notice(text)) = fitted.message else { panic!("a notice was expected") };
        assert!(text.contains("`big` from 3000 to 2000, `default` from 100000 to 2000"), "{text}");
        assert!(text.contains("4167 descriptors, 67 of which") && text.contains("LimitNOFILE"), "{text}");
        assert!(!text.contains("small`"), "{text}");
    }

    #[test]
    fn a_default_that_does_not_fit_is_only_mentioned() {
        let fitted = fit(&[("ping", DEFAULT_MAX_CONNS)], 1, 4096);
        assert_eq!(fitted.max_conns, [4031]);
        assert!(matches!(fitted.message, Some(Message::Info(_))));
    }

    #[test]
    fn nobody_gets_less_than_one() {
        assert_eq!(fit(&[("a", 10), ("b", 10)], 2, 0).max_conns, [1, 1]);
    }

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let granted = raise_limit();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!(soft, hard);
        assert_eq!(usize::try_from(soft).unwrap(), granted);
    }
}
