//! What the service manager, such as systemd, is told about this process: events become messages of `sd_notify(3)`.
//!
//! Only one generation speaks at a time: the one that serves. A predecessor falls silent at the commit, in which it
//! announces the successor's pid, and speaks again if it takes over again.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::Pid;
use parking_lot::Mutex;
use sd_notify::NotifyState;
use tokio::io::Interest;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use crate::config::Settings;
use crate::lifecycle::{Event, Subscriber, SuccessorDeath, SuccessorFault, generation, show};
use crate::log;
use crate::supervision::notify_socket::{Outlet, will_pass};
use crate::sys;

/// The time between two looks at what has changed.
const TICK: Duration = Duration::from_secs(1);

/// A serving process tells how many connections it has at most once in so many ticks.
const TICKS_OF_SERVING: u32 = 10;

/// A drain ends a little after its deadline: connections are cut, and clean-up code ends.
const MARGIN: Duration = Duration::from_secs(5);

/// How long the end of a process waits for a service manager that does not answer.
const SETTLED_WITHIN: Duration = Duration::from_secs(5);

/// If so many messages wait, the service manager will hardly read them any more.
const MOST_WAITING: usize = 64;

/// A status shows no more of an error than this.
const LONGEST_REASON: usize = 300;

/// How many connections there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) here: usize,
    /// Those of earlier generations.
    pub(crate) elsewhere: usize,
}

/// Counts the connections of this moment.
pub(crate) type Count = Box<dyn Fn() -> Held + Send>;

/// The limits of which the service manager learns, so that it does not lose patience earlier.
#[derive(Clone, Copy, Debug)]
struct Limits {
    ready: Duration,
    stop: Duration,
}

/// Tells the service manager what happens.
pub(crate) struct ServiceManager {
    outlet: Box<dyn Outlet>,
    limits: Limits,
    state: Mutex<State>,
}

struct State {
    /// This process speaks for the service.
    speaks: bool,
    doing: Doing,
    /// One more restart was asked for during this one, and follows it.
    again: bool,
    /// Why the last restart failed.
    failure: Option<String>,
    count: Option<Count>,
    /// The status that was told last.
    told: String,
    /// Messages that the service manager has not taken yet.
    waiting: VecDeque<Message>,
    /// Closed at the other end once the service manager has read all messages before it.
    barrier: Option<io::PipeReader>,
    /// A fault in sending was reported. It is reported once.
    is_reported: bool,
}

#[derive(Clone, Copy)]
enum Doing {
    Starting,
    Serving,
    Restarting,
    Stopping { until: Instant },
}

/// One message, and a descriptor that goes with it.
struct Message {
    text: String,
    descriptor: Option<OwnedFd>,
}

impl ServiceManager {
    /// The messages go out by `outlet`. A successor keeps silent until it serves.
    pub(crate) fn new(outlet: Box<dyn Outlet>, settings: &Settings, is_successor: bool) -> Arc<Self> {
        let Settings { ready_timeout: ready, lame_duck, drain_timeout, .. } = settings;
        let state = State {
            speaks: !is_successor,
            doing: Doing::Starting,
            again: false,
            failure: None,
            count: None,
            told: String::new(),
            waiting: VecDeque::new(),
            barrier: None,
            is_reported: false,
        };
        let limits = Limits { ready: *ready, stop: lame_duck.saturating_add(*drain_timeout) };
        let manager = Self { outlet, limits, state: Mutex::new(state) };
        manager.tell(|state| vec![extend(manager.limits.ready), state.status()]);
        Arc::new(manager)
    }

    /// This process serves from now on.
    pub(crate) fn serving(&self, count: Count) {
        let mut state = self.state.lock();
        (state.speaks, state.doing, state.count) = (true, Doing::Serving, Some(count));
        drop(state);
        self.tell(|state| vec![ready(), state.status()]);
    }

    /// A sign of life for the watchdog.
    pub(super) fn feed_watchdog(&self) {
        self.tell(|_| vec![NotifyState::Watchdog.to_string()]);
    }

    /// Tells how many connections there are, and repeats what the service manager has not taken.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for tick in 0_u32.. {
            ticks.tick().await;
            let mut state = self.state.lock();
            self.repeat(&mut state);
            let is_due = match state.doing {
                Doing::Stopping { .. } => true,
                _ => tick % TICKS_OF_SERVING == 0,
            };
            drop(state);
            if is_due {
                self.tell(|state| vec![state.status()]);
            }
        }
    }

    /// Resolves once the service manager has read all, for a process that ends: if it sees the end of the old main process
    /// before it knows the new one, it takes that for the end of the service.
    pub(crate) async fn settled(&self) {
        let settled = async {
            while self.is_waiting() {
                sleep(Duration::from_millis(20)).await;
            }
            let barrier = self.state.lock().barrier.take();
            if let Some(Ok(barrier)) =
                barrier.map(|barrier| sys::watch(OwnedFd::from(barrier), Interest::READABLE))
            {
                // Nothing is ever written: it becomes readable at its end.
                let _ = barrier.readable().await;
            }
        };
        let _ = timeout(SETTLED_WITHIN, settled).await;
    }

    fn is_waiting(&self) -> bool {
        let mut state = self.state.lock();
        self.repeat(&mut state);
        !state.waiting.is_empty()
    }

    /// Sends the lines as one message, if this process speaks. A message of a status alone is not sent twice, nor is it
    /// kept for later.
    fn tell(&self, lines: impl FnOnce(&mut State) -> Vec<String>) {
        let mut state = self.state.lock();
        if !state.speaks {
            return;
        }
        let lines = lines(&mut state);
        let status = lines.last().filter(|line| line.starts_with("STATUS=")).cloned();
        let is_passing = matches!(lines.as_slice(), [line] if line.starts_with("STATUS=") || line.starts_with("WATCHDOG="));
        if is_passing && (status.as_ref() == Some(&state.told) || !state.waiting.is_empty()) {
            return;
        }
        let mut text = String::new();
        for line in lines {
            // A string takes all that is written.
            let _ = writeln!(text, "{line}");
        }
        let was_taken = self.send(&mut state, Message { text, descriptor: None }, is_passing);
        if let Some(status) = status.filter(|_| was_taken) {
            state.told = status;
        }
    }

    /// Whether the message was sent, or will be.
    fn send(&self, state: &mut State, message: Message, is_passing: bool) -> bool {
        self.repeat(state);
        if state.waiting.is_empty() && self.try_send(state, &message) {
            return true;
        }
        if !is_passing {
            if state.waiting.len() == MOST_WAITING {
                state.waiting.pop_front();
            }
            state.waiting.push_back(message);
        }
        !is_passing
    }

    /// Sends the messages that wait, in their order.
    fn repeat(&self, state: &mut State) {
        while let Some(message) = state.waiting.pop_front() {
            if !self.try_send(state, &message) {
                state.waiting.push_front(message);
                return;
            }
        }
    }

    /// Whether the message is done with: the service manager has it, or can't be reached.
    fn try_send(&self, state: &mut State, message: &Message) -> bool {
        match self.outlet.send(&message.text, message.descriptor.as_ref().map(|end| end.as_fd())) {
            Ok(()) => state.is_reported = false,
            Err(error) if will_pass(&error) => return false,
            Err(error) => {
                if !std::mem::replace(&mut state.is_reported, true) {
                    log::notice(format_args!(
                        "the service manager can't be told what happens here: {error}; this process serves all the same \
                         (NOTIFY_SOCKET names the socket)"
                    ));
                }
            }
        }
        true
    }

    /// The successor serves, and is the main process from now on.
    fn hand_over(&self, successor: Pid) {
        let follows = self.outlet.follows_restarts();
        self.tell(|state| {
            let main = follows.then(|| NotifyState::MainPid(successor.as_raw().unsigned_abs()).to_string());
            (state.failure, state.again) = (None, false);
            let (next, Held { here, .. }) = (generation() + 1, state.held());
            let left = if here == 0 {
                String::new()
            } else {
                format!(" Its predecessor finishes {}.", connections(here))
            };
            main.into_iter().chain([ready(), status(&format!("Generation {next} serves.{left}"))]).collect()
        });
        let mut state = self.state.lock();
        if follows && state.speaks {
            self.set_barrier(&mut state);
        }
        state.speaks = false;
    }

    /// Asks the service manager to close a descriptor once it has read all that was sent before.
    fn set_barrier(&self, state: &mut State) {
        // Without descriptors left, the end of this process waits for nothing.
        let Ok((reader, writer)) = io::pipe() else { return };
        // It has to go alone.
        let message = Message { text: "BARRIER=1".to_owned(), descriptor: Some(writer.into()) };
        self.send(state, message, false);
        state.barrier = Some(reader);
    }

    /// This process has taken over again.
    fn take_back(&self, why: &str) {
        let follows = self.outlet.follows_restarts();
        let mut state = self.state.lock();
        (state.speaks, state.barrier) = (true, None);
        drop(state);
        self.tell(|state| {
            state.failed(why);
            let main = follows.then(|| NotifyState::MainPid(std::process::id()).to_string());
            main.into_iter().chain([ready(), state.status()]).collect()
        });
    }

    /// A restart is asked for. During another one it is announced later, when it begins: a service manager takes the end of
    /// that other one for the end of all that was announced before.
    fn restart_requested(&self) {
        self.tell(|state| {
            state.again = matches!(state.doing, Doing::Restarting);
            state.doing = Doing::Restarting;
            if state.again { vec![state.status()] } else { self.restarting(state) }
        });
    }

    fn restart_failed(&self, why: &str) {
        self.tell(|state| {
            state.failed(why);
            vec![ready(), state.status()]
        });
        if std::mem::take(&mut self.state.lock().again) {
            self.restart_requested();
        }
    }

    fn restarting(&self, state: &State) -> Vec<String> {
        reloading().into_iter().chain([extend(self.limits.ready), state.status()]).collect()
    }
}

impl Subscriber for ServiceManager {
    fn on_event(&self, event: &Event) {
        match event {
            Event::RestartRequested { .. } => self.restart_requested(),
            Event::RestartRefused { reason, .. } => self.restart_failed(&reason.to_string()),
            Event::SuccessorFailed { reason, .. } => self.restart_failed(&describe(reason)),
            Event::Committed { successor } => self.hand_over(*successor),
            Event::TookBack { why, .. } => self.take_back(&match why {
                SuccessorDeath::Unresponsive { after } => {
                    format!("the successor gave no sign of life for {}", show(*after))
                }
                SuccessorDeath::Ended(how) => format!("the successor ended in standby: {how}"),
            }),
            Event::StopRequested { .. } => self.tell(|state| {
                let limit = self.limits.stop.saturating_add(MARGIN);
                state.doing = Doing::Stopping { until: Instant::now() + self.limits.stop };
                vec![NotifyState::Stopping.to_string(), extend(limit), state.status()]
            }),
            Event::Failed(error) => self.tell(|_| vec![status(&reason(&error.to_string()))]),
            _ => {}
        }
    }
}

impl State {
    fn held(&self) -> Held {
        self.count.as_ref().map(|count| count()).unwrap_or_default()
    }

    fn failed(&mut self, why: &str) {
        (self.doing, self.failure) = (Doing::Serving, Some(reason(why)));
    }

    /// What this process does, in a sentence for `systemctl status`.
    fn status(&self) -> String {
        let (generation, Held { here, elsewhere }) = (generation(), self.held());
        let left = match elsewhere {
            0 => String::new(),
            _ => format!(" Its predecessor finishes {}.", connections(elsewhere)),
        };
        let here = connections(here);
        status(&match self.doing {
            Doing::Starting => format!("Generation {generation} starts."),
            Doing::Serving => {
                let failure = self.failure.as_ref();
                let failure =
                    failure.map(|why| format!(" The last restart failed: {why}")).unwrap_or_default();
                format!("Generation {generation} serves {here}.{left}{failure}")
            }
            Doing::Restarting => {
                format!("Generation {generation} serves {here}, and its successor starts.{left}")
            }
            Doing::Stopping { until } => {
                let rest = until.saturating_duration_since(Instant::now()).as_secs();
                format!("Stopping: {here} left, for {rest} s at most.{left}")
            }
        })
    }
}

fn connections(count: usize) -> String {
    if count == 1 { "1 connection".to_owned() } else { format!("{count} connections") }
}

/// The status as a line. It may contain text from elsewhere, such as the error of a database. A control character in it
/// could begin a new line, or make the service manager drop the message.
fn status(text: &str) -> String {
    NotifyState::Status(&text.replace(char::is_control, " ")).to_string()
}

fn ready() -> String {
    NotifyState::Ready.to_string()
}

/// With the time, without which `systemctl reload` of a `Type=notify-reload` waits in vain.
fn reloading() -> Vec<String> {
    let time = NotifyState::monotonic_usec_now().map(|time| time.to_string());
    [NotifyState::Reloading.to_string()].into_iter().chain(time).collect()
}

/// The service manager waits at least so long for the next message.
fn extend(limit: Duration) -> String {
    // The crate's own variant ends at 71 minutes.
    format!("EXTEND_TIMEOUT_USEC={}", limit.as_micros())
}

fn describe(fault: &SuccessorFault) -> String {
    match fault {
        SuccessorFault::ConfigurationGone(path) => {
            format!("the configuration file {} is gone", path.display())
        }
        SuccessorFault::NotStarted(error) => error.to_string(),
        SuccessorFault::NotReady { limit } => format!("the successor was not ready within {}", show(*limit)),
        SuccessorFault::Busy => "this process was busy".to_owned(),
        SuccessorFault::Reported(reason) => reason.clone(),
    }
}

/// An error as one line of limited length.
fn reason(text: &str) -> String {
    let line = text.lines().collect::<Vec<_>>().join("; ");
    let (shown, rest) = line.split_at(line.floor_char_boundary(LONGEST_REASON));
    format!("{shown}{}", if rest.is_empty() { "" } else { "…" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;
    use std::os::fd::BorrowedFd;

    /// Keeps the messages, unless it is to fail.
    #[derive(Clone, Default)]
    struct Recorder(Arc<Mutex<(Vec<String>, Option<Errno>)>>);

    impl Outlet for Recorder {
        fn send(&self, message: &str, _: Option<BorrowedFd<'_>>) -> io::Result<()> {
            let (messages, fault) = &mut *self.0.lock();
            match fault {
                Some(errno) => Err((*errno).into()),
                None => {
                    messages.push(message.to_owned());
                    Ok(())
                }
            }
        }

        fn follows_restarts(&self) -> bool {
            true
        }
    }

    fn told_to(recorder: &Recorder) -> Arc<ServiceManager> {
        ServiceManager::new(Box::new(recorder.clone()), &Settings::default(), false)
    }

    #[test]
    fn words_of_others_begin_no_line() {
        let recorder = Recorder::default();
        let manager = told_to(&recorder);
        manager.restart_failed("no database\rMAINPID=1\r\nSTOPPING=1\nREADY=0 \0\u{85}\u{1b}[31m");
        let messages = recorder.0.lock().0.join("");
        let lines: Vec<&str> = messages.split(['\r', '\n']).filter(|line| !line.is_empty()).collect();
        let names: Vec<&str> = lines.iter().filter_map(|line| Some(line.split_once('=')?.0)).collect();
        assert_eq!(names, ["EXTEND_TIMEOUT_USEC", "STATUS", "READY", "STATUS"], "{messages:?}");
        assert!(lines.iter().all(|line| !line.contains(char::is_control)), "{messages:?}");
    }

    #[test]
    fn a_process_without_descriptors_tells_all_in_order_once_it_has_some() {
        let recorder = Recorder::default();
        let manager = told_to(&recorder);
        recorder.0.lock().1 = Some(Errno::EMFILE);
        manager.serving(Box::new(Held::default));
        manager.hand_over(Pid::from_raw(7));
        recorder.0.lock().1 = None;
        assert!(!manager.is_waiting());
        let messages = recorder.0.lock().0.split_off(1);
        assert!(messages[0].starts_with("READY=1\nSTATUS=Generation "), "{messages:?}");
        assert!(messages[1].starts_with("MAINPID=7\nREADY=1\n"), "{messages:?}");
        assert_eq!((messages[2].as_str(), messages.len()), ("BARRIER=1", 3));
    }
}
