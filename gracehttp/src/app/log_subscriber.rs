//! The log: events in words.
//!
//! Two messages keep the original's words, since scripts look for them: `Received SIG. …` and `start new process
//! success, pid ….`

use crate::app::log_fields;
use crate::lifecycle::{
    Address, CertificateExpiry, Event, LoweredLimit, LoweredLimits, Outcome, ReloadOutcome, Serving,
    Subscriber, SuccessorFault, Trigger, generation, show, show_roughly,
};
#[cfg(feature = "acme")]
use crate::lifecycle::{OrderOutcome, SuggestionOutcome};
use crate::log;
use std::time::Duration;

/// Logs the events that an operator has to know.
#[derive(Debug)]
pub(super) struct LogSubscriber;

impl Subscriber for LogSubscriber {
    fn on_event(&self, event: &Event) {
        match log::is_json() {
            true => log::about(log_fields::of(event), || log_in_words(event)),
            false => log_in_words(event),
        }
    }
}

fn log_in_words(event: &Event) {
    let own_pid = std::process::id();
    match event {
        Event::Setting { server, key, value, origin } => {
            let of = server.as_deref().map_or_else(String::new, |server| format!(" of server {server}"));
            let unused = match *key == "log" && log::is_chosen_by_rust_log() {
                true => "; RUST_LOG wins over it",
                false => "",
            };
            log::info(format_args!("{key}{of} is {value}, set by {origin}{unused}"));
        }
        Event::AppSetting { key, variable } => log::info(format_args!("[app] {key} is set by {variable}")),
        Event::LimitsLowered(lowered) => log_lowered_limits(lowered),
        Event::Serving(serving) => log_serving(serving),
        Event::SocketAccessFailed(error) | Event::Failed(error) => log::errors("", error),
        Event::StoppedEarly => log::info(format_args!("stopped while starting up, pid {own_pid}")),

        Event::CertificateReloaded(reload) => match &reload.outcome {
            ReloadOutcome::Kept { .. } => log::error(format_args!("{reload}")),
            ReloadOutcome::Unstapled { .. } => log::notice(format_args!("{reload}")),
            ReloadOutcome::Renewed { .. } => log::info(format_args!("{reload}")),
            ReloadOutcome::Unchanged => {}
        },
        #[cfg(feature = "acme")]
        Event::CertificateOrdered(order) => match &order.outcome {
            OrderOutcome::Failed { .. } => log::error(format_args!("{order}")),
            OrderOutcome::Issued { .. } | OrderOutcome::Renewed { .. } => log::info(format_args!("{order}")),
        },
        #[cfg(feature = "acme")]
        Event::RenewalSuggested(suggestion) => match &suggestion.outcome {
            SuggestionOutcome::New { .. } => log::info(format_args!("{suggestion}")),
            SuggestionOutcome::Failed { is_repeated: false, .. } => log::notice(format_args!("{suggestion}")),
            SuggestionOutcome::Failed { .. } | SuggestionOutcome::Unchanged => {}
        },
        Event::CertificateExpires(expiry) => log_expiry(expiry),
        Event::RevocationListExpired(list) => log::error(format_args!("{list}")),

        Event::RestartRequested { trigger } => log_requested(*trigger, "restart"),
        Event::StopRequested { trigger } => log_requested(*trigger, "stop"),
        Event::RestartRefused { trigger, reason } => log::error(format_args!(
            "{trigger} is refused, nothing is restarted: {reason}, so a successor would end, too. Let a \
                 supervisor stay in its place (`supervise = auto`, or `always`), or start a new container, and stop this \
                 one by SIGTERM"
        )),
        Event::RestartIgnored { trigger, successor: None } => {
            log::notice(format_args!("{trigger} is ignored: this process, pid {own_pid}, is stopping"));
        }
        Event::RestartIgnored { trigger, successor: Some(successor) } => log::notice(format_args!(
            "{trigger} is ignored: this process, pid {own_pid}, is draining; pid {successor} serves now"
        )),
        Event::SuccessorFailed { successor, reason, .. } => {
            let prefix = successor.map_or_else(String::new, |pid| format!(", pid {pid}"));
            log_fault(&format!("start new process failed{prefix}: "), reason);
            log::error(format_args!("generation {}, pid {own_pid}, serves on", generation()));
        }
        Event::Committed { successor } => {
            log::info(format_args!("start new process success, pid {successor}."));
        }
        Event::RestartPassedOn { trigger, successor } => {
            log::info(format_args!("{trigger} came meanwhile: pid {successor} restarts once more"));
        }
        Event::TookBack { successor, why, connections, lost, busy } => {
            let count = connections_in_words(*connections);
            let lost = lost_in_words(*lost, *busy);
            log::error(format_args!(
                "the successor, pid {successor}, died in standby: {why}; generation {}, pid {own_pid}, serves \
                     again and has taken {count} back{lost}",
                generation()
            ));
        }
        Event::SuccessorDied { successor, why, is_supervised } => {
            let next = match is_supervised {
                true => "the supervisor starts a fresh process",
                false => "no process serves: start the application again",
            };
            log::error(format_args!("the successor, pid {successor}, died after standby: {why}; {next}"));
        }

        Event::RestartDone(receipt) => match (receipt.outcome, receipt.successor) {
            (Outcome::Succeeded, Some(successor)) => {
                log::info(format_args!("restart done, pid {successor} serves; {receipt}"));
            }
            (Outcome::TakenBack, _) => log::info(format_args!("restart taken back; {receipt}")),
            (Outcome::Failed, Some(successor)) if receipt.failed_after_commit() => {
                let reason = receipt.reason.as_deref().unwrap_or("it died");
                log::error(format_args!("restart failed, pid {successor} has ended: {reason}; {receipt}"));
            }
            // Other lines say as much: no connection has changed its process.
            _ => {}
        },

        Event::RehearsalRequested { trigger } => log_requested(*trigger, "rehearsal"),
        Event::RehearsalReady { successor, within } => log::info(format_args!(
            "the rehearsal has succeeded: pid {successor} was ready within {} and is discarded",
            show_roughly(*within)
        )),
        Event::RehearsalFailed { successor, reason, .. } => {
            let prefix = successor.map_or_else(String::new, |pid| format!(", pid {pid}"));
            log_fault(&format!("the rehearsal has failed{prefix}: "), reason);
        }
        Event::Rehearsed => log::info(format_args!("pid {own_pid} was a rehearsal and ends")),

        Event::SecondStop { trigger, connections } => {
            log_requested(*trigger, "stop");
            log::notice(format_args!(
                "a second signal ends the drain at once, with {} open",
                connections_in_words(*connections)
            ));
        }
        Event::DrainTimedOut { limit, connections, tasks } => {
            let total = connections.iter().map(|held| held.count).sum();
            let of_servers: Vec<String> =
                connections.iter().map(|held| format!("{} of server {}", held.count, held.server)).collect();
            let of_servers = (!of_servers.is_empty())
                .then(|| format!("{} ({})", connections_in_words(total), of_servers.join(", ")));
            let left: Vec<String> =
                of_servers.into_iter().chain(tasks.as_ref().map(ToString::to_string)).collect();
            log::notice(format_args!(
                "the drain's limit of {} has passed: cutting {}",
                show(*limit),
                left.join(" and ")
            ));
        }
        Event::TasksCut(left) => log::notice(format_args!("cutting {left}")),
        Event::CleanUpUnfinished(unfinished) => log::error(format_args!("{unfinished}")),
        Event::CleanUpAbandoned { trigger } => {
            log_requested(*trigger, "stop");
            log::notice(format_args!("one more stop signal: the clean-up code is given up"));
        }
        Event::Drained { server, ends } => {
            let ends: Vec<String> = ends.ends().map(|(end, count)| format!("{count} {end}")).collect();
            let ends = if ends.is_empty() { "none".to_owned() } else { ends.join(", ") };
            tracing::debug!(target: "gracehttp", "server `{server}`: its connections in the drain: {ends}");
        }
        Event::Answered { server, answers } => {
            tracing::debug!(target: "gracehttp", "server `{server}` has answered: {answers}");
        }
        Event::Stopped => log::info(format_args!("stopped, pid {own_pid}")),
        Event::Replaced { successor } => {
            log::info(format_args!("pid {own_pid} has ended; pid {successor} serves"));
        }

        // Other lines say as much.
        Event::Starting
        | Event::SuccessorStarted { .. }
        | Event::SuccessorReady { .. }
        | Event::SuccessorGone { .. }
        | Event::RehearsalStarted { .. }
        | Event::RehearsalDone { .. }
        | Event::StandbyOver { .. }
        | Event::Draining { .. } => {}
    }
}

fn log_requested(trigger: Trigger, request: &str) {
    let own_pid = std::process::id();
    match trigger {
        Trigger::Signal(signal) => log::info(format_args!("Received SIG. [PID:{own_pid}, SIG:{signal}]")),
        Trigger::Command | Trigger::Drain => {
            log::info(format_args!("a command asks for a {request}, pid {own_pid}"));
        }
        Trigger::Predecessor => log::info(format_args!(
            "the predecessor passes on a {request} that it was asked for too late, pid {own_pid}"
        )),
        Trigger::SupervisorGone => {
            log::error(format_args!("the supervisor has ended, so this process, pid {own_pid}, stops"));
        }
    }
}

fn log_lowered_limits(LoweredLimits { changes, available, reserved }: &LoweredLimits) {
    let changes: Vec<String> = changes
        .iter()
        .map(|LoweredLimit { server, from, to }| format!("`{server}` from {from} to {to}"))
        .collect();
    log::notice(format_args!(
        "max_conns is lowered ({}): this process may open {available} descriptors, {reserved} of which are kept for \
         other use; raise the hard limit (`ulimit -Hn`, or LimitNOFILE= of its service unit), or set a smaller \
         max_conns",
        changes.join(", ")
    ));
}

fn log_serving(serving: &Serving) {
    let Serving { server, address, is_secure, http1, http2, max_conns, generation } = serving;
    let protocols = match (http1, http2) {
        (true, true) => "HTTP/1.1 and HTTP/2",
        (true, false) => "HTTP/1.1",
        _ => "HTTP/2",
    };
    let transport = if *is_secure { "over TLS" } else { "plain" };
    let url = match address {
        Address::Tcp(address) if *is_secure => format!("https://{address}"),
        Address::Tcp(address) => format!("http://{address}"),
        Address::Unix(_) => address.to_string(),
    };
    log::info(format_args!(
        "serving {server} on {url} ({protocols}, {transport}, max {max_conns} connections, generation {generation}, \
         pid {})",
        std::process::id()
    ));
}

fn log_fault(prefix: &str, reason: &SuccessorFault) {
    let prefix = match reason {
        // Says so itself.
        SuccessorFault::NotStarted(_) => "",
        _ => prefix,
    };
    log::errors(prefix, reason);
}

fn log_expiry(expiry: &CertificateExpiry) {
    let CertificateExpiry { server, names, not_after, left, renewal_failed } = expiry;
    let end = humantime::format_rfc3339_seconds(*not_after);
    let names = names.join(", ");
    let way_out = match (left.is_zero(), renewal_failed) {
        (_, true) => "its renewal has failed, as an earlier error explains, and is tried again",
        (true, false) => "replace it",
        (false, false) => "replace its files before; no restart is needed",
    };
    match left.is_zero() {
        true => log::error(format_args!(
            "server `{server}`: the certificate for {names} expired at {end}, so clients refuse it: {way_out}"
        )),
        false => log::notice(format_args!(
            "server `{server}`: the certificate for {names} expires in {}, at {end}: {way_out}",
            days_in_words(*left)
        )),
    }
}

/// In whole days, or in hours on the last one.
fn days_in_words(left: Duration) -> String {
    match left.as_secs() / 3600 {
        hours @ 0..24 => format!("{hours} hours"),
        hours @ 24..48 => format!("1 day and {} hours", hours - 24),
        hours => format!("{} days", hours / 24),
    }
}

/// What to say of the connections that ended with a successor: those over TLS, and the plain ones that were busy.
fn lost_in_words(secure: usize, busy: usize) -> String {
    let are = |count: usize, what: &str| match count {
        1 => format!("1 {what} connection is"),
        _ => format!("{count} {what} connections are"),
    };
    match (secure, busy) {
        (0, 0) => String::new(),
        (_, 0) => format!("; {} lost with it", are(secure, "HTTPS")),
        (0, _) => format!("; {} lost with it", are(busy, "busy plain")),
        _ => format!("; {} lost with it, and {busy} busy plain", are(secure, "HTTPS")),
    }
}

fn connections_in_words(count: usize) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} connection{plural}")
}
