//! The log: events as fields, for a log that machines read.

use crate::lifecycle::{Event, Outcome, RestartReceipt, Serving, Trigger};
#[cfg(feature = "acme")]
use crate::lifecycle::{OrderOutcome, SuggestionOutcome};
use crate::log::{Fields, Value};

/// What an event says, in fields. The first one is its name.
pub(super) fn of(event: &Event) -> Fields {
    let mut fields = vec![("event", name(event).into())];
    let mut note = |name: &'static str, value: Value| fields.push((name, value));
    match event {
        Event::Setting { server, key, value, origin } => {
            if let Some(server) = server {
                note("server", server.as_str().into());
            }
            note("key", (*key).into());
            note("value", value.as_str().into());
            note("origin", origin.as_str().into());
        }
        Event::AppSetting { key, variable } => {
            note("key", format!("app.{key}").into());
            note("origin", variable.as_str().into());
        }
        Event::Serving(serving) => {
            let Serving { server, address, is_secure, http1, http2, max_conns, generation: _ } = serving;
            note("server", server.as_str().into());
            note("endpoint", address.to_string().into());
            note("tls", (*is_secure).into());
            note("http1", (*http1).into());
            note("http2", (*http2).into());
            note("max_conns", number(*max_conns));
        }
        Event::CertificateReloaded(reload) => {
            note("server", reload.server.as_str().into());
            note("certificate", reload.certificate.as_str().into());
            note("outcome", reload.outcome.name().into());
            if let Some(reason) = reload.outcome.fault() {
                note("reason", reason.into());
            }
        }
        #[cfg(feature = "acme")]
        Event::CertificateOrdered(order) => {
            note("server", order.server.as_str().into());
            note("names", order.names.join(", ").into());
            note("outcome", order.outcome.name().into());
            if let OrderOutcome::Failed { reason, .. } = &order.outcome {
                note("reason", reason.as_str().into());
            }
        }
        #[cfg(feature = "acme")]
        Event::RenewalSuggested(suggestion) => {
            note("server", suggestion.server.as_str().into());
            note("names", suggestion.names.join(", ").into());
            note("outcome", suggestion.outcome.name().into());
            match &suggestion.outcome {
                SuggestionOutcome::New { at, explanation, .. } => {
                    note("renewal", humantime::format_rfc3339_seconds(*at).to_string().into());
                    if let Some(explanation) = explanation {
                        note("explanation", explanation.as_str().into());
                    }
                }
                SuggestionOutcome::Failed { reason, .. } => note("reason", reason.as_str().into()),
                SuggestionOutcome::Unchanged => {}
            }
        }
        Event::CertificateExpires(expiry) => {
            note("server", expiry.server.as_str().into());
            note("names", expiry.names.join(", ").into());
            note("left_s", Value::Number(expiry.left.as_secs()));
        }
        Event::RevocationListExpired(list) => {
            note("server", list.server.as_str().into());
            note("file", list.path.display().to_string().into());
        }
        Event::RestartRequested { trigger }
        | Event::StopRequested { trigger }
        | Event::RehearsalRequested { trigger }
        | Event::CleanUpAbandoned { trigger } => fields.extend(of_trigger(*trigger)),
        Event::RestartRefused { trigger, reason } => {
            fields.extend(of_trigger(*trigger));
            fields.push(("reason", reason.to_string().into()));
        }
        Event::RestartIgnored { trigger, successor } => {
            fields.extend(of_trigger(*trigger));
            fields.extend(successor.map(|pid| ("successor", pid_of(pid.as_raw()))));
        }
        Event::SecondStop { trigger, connections } => {
            fields.extend(of_trigger(*trigger));
            fields.push(("connections", number(*connections)));
        }
        Event::SuccessorFailed { successor, reason, .. }
        | Event::RehearsalFailed { successor, reason, .. } => {
            fields.extend(successor.map(|pid| ("successor", pid_of(pid.as_raw()))));
            fields.push(("reason", reason.to_string().into()));
        }
        Event::RestartPassedOn { trigger, successor } => {
            fields.extend(of_trigger(*trigger));
            fields.push(("successor", pid_of(successor.as_raw())));
        }
        Event::Committed { successor } | Event::Replaced { successor } => {
            note("successor", pid_of(successor.as_raw()));
        }
        Event::RehearsalReady { successor, within } => {
            note("successor", pid_of(successor.as_raw()));
            note("within_ms", Value::Number(u64::try_from(within.as_millis()).unwrap_or(u64::MAX)));
        }
        Event::TookBack { successor, why, connections, lost, busy } => {
            note("successor", pid_of(successor.as_raw()));
            note("reason", why.to_string().into());
            note("connections", number(*connections));
            note("lost_tls", number(*lost));
            note("lost_busy", number(*busy));
        }
        Event::SuccessorDied { successor, why, .. } => {
            note("successor", pid_of(successor.as_raw()));
            note("reason", why.as_str().into());
        }
        Event::RestartDone(receipt) => fields.extend(of_receipt(receipt)),
        Event::DrainTimedOut { connections, .. } => {
            note("connections", number(connections.iter().map(|held| held.count).sum()));
        }
        Event::Drained { server, .. } | Event::Answered { server, .. } => note("server", (&**server).into()),
        _ => {}
    }
    fields
}

fn number(count: usize) -> Value {
    Value::Number(u64::try_from(count).unwrap_or(u64::MAX))
}

fn pid_of(pid: i32) -> Value {
    Value::Signed(pid.into())
}

/// Who asked, and by which signal.
fn of_trigger(trigger: Trigger) -> Fields {
    match trigger {
        Trigger::Signal(signal) => {
            vec![("trigger", "signal".into()), ("signal", signal.to_string().into())]
        }
        Trigger::Command => vec![("trigger", "command".into())],
        Trigger::Drain => vec![("trigger", "drain".into())],
        Trigger::Predecessor => vec![("trigger", "predecessor".into())],
        Trigger::SupervisorGone => vec![("trigger", "supervisor_gone".into())],
    }
}

fn of_receipt(receipt: &RestartReceipt) -> Fields {
    let outcome = match receipt.outcome {
        Outcome::Succeeded => "succeeded",
        Outcome::Failed => "failed",
        Outcome::TakenBack => "taken_back",
        Outcome::Stopped => "stopped",
    };
    let mut fields = vec![("outcome", outcome.into())];
    fields.extend(receipt.successor.map(|pid| ("successor", pid_of(pid))));
    fields.extend(receipt.reason.as_deref().map(|reason| ("reason", reason.into())));
    let steps = receipt.steps;
    let steps = [
        ("start_us", steps.start_us),
        ("ready_us", steps.ready_us),
        ("commit_us", steps.commit_us),
        ("move_us", steps.move_us),
    ];
    fields.extend(steps.into_iter().filter_map(|(name, time)| Some((name, Value::Number(time?)))));
    fields
}

/// The name of an event. It never changes, since scripts look for it.
fn name(event: &Event) -> &'static str {
    match event {
        Event::Starting => "starting",
        Event::Setting { .. } | Event::AppSetting { .. } => "setting",
        Event::LimitsLowered(_) => "limits_lowered",
        Event::Serving(_) => "serving",
        Event::CertificateReloaded(_) => "certificate_reloaded",
        #[cfg(feature = "acme")]
        Event::CertificateOrdered(_) => "certificate_ordered",
        #[cfg(feature = "acme")]
        Event::RenewalSuggested(_) => "renewal_suggested",
        Event::CertificateExpires(_) => "certificate_expires",
        Event::RevocationListExpired(_) => "revocation_list_expired",
        Event::SocketAccessFailed(_) => "socket_access_failed",
        Event::Failed(_) => "failed",
        Event::StoppedEarly => "stopped_early",
        Event::RestartRequested { .. } => "restart_requested",
        Event::RestartRefused { .. } => "restart_refused",
        Event::RestartIgnored { .. } => "restart_ignored",
        Event::SuccessorStarted { .. } => "successor_started",
        Event::SuccessorReady { .. } => "successor_ready",
        Event::SuccessorFailed { .. } => "successor_failed",
        Event::Committed { .. } => "committed",
        Event::RestartPassedOn { .. } => "restart_passed_on",
        Event::StandbyOver { .. } => "standby_over",
        Event::TookBack { .. } => "took_back",
        Event::SuccessorDied { .. } => "successor_died",
        Event::RestartDone(_) => "restart_done",
        Event::SuccessorGone { .. } => "successor_gone",
        Event::RehearsalRequested { .. } => "rehearsal_requested",
        Event::RehearsalStarted { .. } => "rehearsal_started",
        Event::RehearsalReady { .. } => "rehearsal_ready",
        Event::RehearsalDone { .. } => "rehearsal_done",
        Event::RehearsalFailed { .. } => "rehearsal_failed",
        Event::Rehearsed => "rehearsed",
        Event::StopRequested { .. } => "stop_requested",
        Event::SecondStop { .. } => "second_stop",
        Event::Draining { .. } => "draining",
        Event::DrainTimedOut { .. } => "drain_timed_out",
        Event::TasksCut(_) => "tasks_cut",
        Event::CleanUpUnfinished(_) => "clean_up_unfinished",
        Event::CleanUpAbandoned { .. } => "clean_up_abandoned",
        Event::Drained { .. } => "drained",
        Event::Answered { .. } => "answered",
        Event::Stopped => "stopped",
        Event::Replaced { .. } => "replaced",
    }
}
