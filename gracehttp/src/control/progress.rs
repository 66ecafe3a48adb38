//! What clients that wait are told: the events of restarts, rehearsals and stops, as lines.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::broadcast;

use crate::control::protocol::reply;
use crate::lifecycle::{Event, Outcome, RestartReceipt, Subscriber, generation, show};
use crate::status::with_text;

/// How many steps a client may be behind. A restart has about ten.
const BEHIND: usize = 64;

/// One step, for those who wait for its subject.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    subject: Subject,
    pub(crate) line: Arc<Value>,
    /// It is the last for its subject.
    pub(crate) is_last: bool,
}

/// What a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The restart of this number, counted in this process from 1.
    Restart(u64),
    /// Every restart from this number on: there will be none.
    RestartsFrom(u64),
    /// The rehearsal of this number.
    Rehearsal(u64),
    Stop,
}

impl Subject {
    /// Whether a step is for those who wait for this.
    pub(crate) fn concerns(self, step: &Step) -> bool {
        match (self, step.subject) {
            (Self::Restart(number), Subject::RestartsFrom(first)) => number >= first,
            (waited, subject) => waited == subject,
        }
    }
}

/// Follows the events of the process.
pub(crate) struct Progress {
    state: Mutex<State>,
    steps: broadcast::Sender<Step>,
}

#[derive(Default)]
struct State {
    restarts: Attempts,
    rehearsals: Attempts,
    /// The successor of the restart under way has taken over.
    has_committed: bool,
    /// One more restart follows the one under way.
    again: bool,
    is_stopping: bool,
    /// The last lines on standard error of the successor that has just failed.
    last_lines: Vec<String>,
}

/// Attempts of one kind.
#[derive(Default)]
struct Attempts {
    begun: u64,
    is_running: bool,
    /// The last that a command has asked for.
    asked: u64,
}

impl Attempts {
    fn begin(&mut self) {
        self.begun += 1;
        self.is_running = true;
        self.asked = self.asked.max(self.begun);
    }

    /// The number of the first attempt that begins from now on, and whether it has to be asked for: commands that come
    /// together share one.
    fn ask(&mut self) -> (u64, bool) {
        let next = self.begun + 1;
        let is_new = self.asked < next;
        self.asked = next;
        (next, is_new)
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self { state: Mutex::default(), steps: broadcast::channel(BEHIND).0 }
    }
}

impl Progress {
    /// A restart that begins from now on, its steps, and whether it has to be asked for. Nothing if this process begins no
    /// restart any more.
    pub(crate) fn ask_restart(&self) -> Option<(u64, broadcast::Receiver<Step>, bool)> {
        let mut state = self.state.lock();
        if state.is_stopping || state.has_committed {
            return None;
        }
        let (number, is_new) = state.restarts.ask();
        Some((number, self.steps.subscribe(), is_new))
    }

    /// A rehearsal that begins from now on, its steps, and whether it has to be asked for. Nothing if this process begins no
    /// rehearsal any more.
    pub(crate) fn ask_rehearsal(&self) -> Option<(u64, broadcast::Receiver<Step>, bool)> {
        let mut state = self.state.lock();
        if state.is_stopping || state.has_committed {
            return None;
        }
        let (number, is_new) = state.rehearsals.ask();
        Some((number, self.steps.subscribe(), is_new))
    }

    /// Whether another process serves in place of this one.
    pub(crate) fn is_replaced(&self) -> bool {
        self.state.lock().has_committed
    }

    /// The restart that is under way, or else the next one.
    pub(crate) fn follow_restart(&self) -> (u64, broadcast::Receiver<Step>) {
        let state = self.state.lock();
        let number = state.restarts.begun + u64::from(!state.restarts.is_running);
        (number, self.steps.subscribe())
    }

    /// The steps of a stop.
    pub(crate) fn follow_stop(&self) -> broadcast::Receiver<Step> {
        self.steps.subscribe()
    }

    fn tell(&self, subject: Subject, event: &str, text: String, mut fields: Value) {
        fields["event"] = event.into();
        fields["text"] = text.into();
        self.send(subject, reply("event", fields), false);
    }

    fn succeed(&self, subject: Subject, text: String, mut fields: Value) {
        fields["ok"] = true.into();
        fields["text"] = text.into();
        self.send(subject, reply("done", fields), true);
    }

    fn fail(&self, subject: Subject, error: &str, last_lines: &[String]) {
        let fields = json!({ "ok": false, "error": error, "stderr": last_lines });
        self.send(subject, reply("done", fields), true);
    }

    fn send(&self, subject: Subject, line: Value, is_last: bool) {
        // Fails only if no client waits.
        let _ = self.steps.send(Step { subject, line: line.into(), is_last });
    }

    /// The restart under way is over. If it has failed, one that was asked for meanwhile begins.
    fn restart_done(&self, state: &mut State, receipt: &RestartReceipt) {
        let subject = Subject::Restart(state.restarts.begun);
        let mut fields = json!({ "receipt": with_text(receipt) });
        state.restarts.is_running = false;
        if let (Outcome::Succeeded, Some(successor)) = (receipt.outcome, receipt.successor) {
            fields["generation"] = (receipt.generation + 1).into();
            let text = format!("generation {}, pid {successor}, serves; {receipt}", receipt.generation + 1);
            return self.succeed(subject, text, fields);
        }
        state.has_committed = false;
        fields["ok"] = false.into();
        fields["error"] = receipt.reason.as_deref().unwrap_or("it has failed").into();
        fields["stderr"] = std::mem::take(&mut state.last_lines).into();
        self.send(subject, reply("done", fields), true);
        if receipt.outcome == Outcome::TakenBack {
            // Restarts that were asked for in standby were ignored, or passed on to the successor, which is dead.
            state.restarts.asked = state.restarts.begun;
        }
        // Else the process stops.
        if receipt.outcome != Outcome::Stopped && std::mem::take(&mut state.again) {
            state.restarts.begin();
        }
    }
}

impl Subscriber for Progress {
    fn on_event(&self, event: &Event) {
        let mut state = self.state.lock();
        let state = &mut *state;
        let restart = Subject::Restart(state.restarts.begun);
        let rehearsal = Subject::Rehearsal(state.rehearsals.begun);
        let (pid, next) = (std::process::id(), generation() + 1);
        match event {
            // It begins after the rehearsal.
            Event::RestartRequested { .. } if state.rehearsals.is_running => {}
            Event::RestartRequested { .. } if state.restarts.is_running => state.again = true,
            Event::RestartRequested { .. } => state.restarts.begin(),
            Event::SuccessorStarted { successor } => {
                let text = format!("generation {next}, pid {successor}, starts");
                self.tell(restart, "started", text, json!({ "successor": successor.as_raw() }));
            }
            Event::SuccessorReady { successor } => {
                let text = format!("generation {next}, pid {successor}, is ready");
                self.tell(restart, "ready", text, json!({ "successor": successor.as_raw() }));
            }
            Event::Committed { successor } => {
                state.has_committed = true;
                state.again = false;
                let text = format!("generation {next}, pid {successor}, serves; pid {pid} drains");
                self.tell(restart, "committed", text, json!({ "successor": successor.as_raw() }));
            }
            Event::RestartPassedOn { successor, .. } => {
                let text = format!("generation {next}, pid {successor}, restarts once more");
                let fields = json!({
                    "event": "passed_on", "text": text, "successor": successor.as_raw(), "generation": next,
                });
                self.send(Subject::Restart(state.restarts.begun + 1), reply("event", fields), true);
            }
            Event::StandbyOver { .. } => {
                let text = format!("pid {pid} can't take over again any more");
                self.tell(restart, "standby_over", text, json!({}));
            }
            Event::RestartIgnored { successor, .. } => {
                let why = match successor {
                    None => format!("this process, pid {pid}, is stopping"),
                    Some(successor) => format!("this process, pid {pid}, drains; pid {successor} serves now"),
                };
                let first = state.restarts.begun + 1;
                self.fail(Subject::RestartsFrom(first), &format!("there is no restart: {why}"), &[]);
            }
            Event::SuccessorDied { successor, why, .. } => {
                let text = format!("pid {successor} died after standby: {why}; no process serves");
                self.tell(restart, "successor_died", text, json!({ "successor": successor.as_raw() }));
            }
            Event::SuccessorFailed { last_lines, .. } => state.last_lines.clone_from(last_lines),
            Event::RestartDone(receipt) => self.restart_done(state, receipt),

            Event::RehearsalRequested { .. } => state.rehearsals.begin(),
            Event::RehearsalStarted { successor } => {
                let text = format!("pid {successor} starts, to be discarded");
                self.tell(rehearsal, "started", text, json!({ "successor": successor.as_raw() }));
            }
            Event::RehearsalReady { successor, within } => {
                let text =
                    format!("pid {successor} is ready after {} ms; it is discarded", within.as_millis());
                self.tell(rehearsal, "ready", text, json!({ "successor": successor.as_raw() }));
            }
            Event::RehearsalDone { .. } => {
                state.rehearsals.is_running = false;
                let text = "a restart would succeed; nothing has changed".to_owned();
                self.succeed(rehearsal, text, json!({}));
            }
            Event::RehearsalFailed { reason, last_lines, .. } => {
                // One that was not even begun is the next.
                let number = state.rehearsals.begun + u64::from(!state.rehearsals.is_running);
                state.rehearsals.begun = number;
                state.rehearsals.is_running = false;
                self.fail(Subject::Rehearsal(number), &reason.to_string(), last_lines);
            }

            Event::StopRequested { .. } => {
                state.is_stopping = true;
                self.tell(Subject::Stop, "stopping", format!("pid {pid} stops"), json!({}));
            }
            Event::Draining { connections, limit } => {
                let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
                let in_words = show(Duration::from_millis(limit));
                let text = format!("{connections} connections are open; they have {in_words} to finish");
                let fields = json!({ "connections": connections, "limit_ms": limit });
                let subject = if state.restarts.is_running { restart } else { Subject::Stop };
                self.tell(subject, "draining", text, fields);
            }
            Event::DrainTimedOut { limit, .. } => {
                let text = format!("the drain's limit of {} has passed: what is left is cut", show(*limit));
                let subject = if state.restarts.is_running { restart } else { Subject::Stop };
                self.tell(subject, "cutting", text, json!({}));
            }
            Event::Stopped | Event::Replaced { .. } => {
                self.succeed(Subject::Stop, format!("pid {pid} has stopped"), json!({}));
            }
            _ => {}
        }
    }
}
