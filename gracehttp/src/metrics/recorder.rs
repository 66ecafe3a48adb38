//! What happens in the life of the process, counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::lifecycle::{ConnectionEnd, Event, Subscriber};
use crate::log;
use crate::metrics::families::{
    CPU, ENDS, Family, HANDED_OVER, Kind, LOST_MESSAGES, PHASE_DURATION, RESTARTS,
};
use crate::metrics::process;
use crate::metrics::shared::{Count, Durations};
use crate::metrics::table::Layout;

const ONE: Layout = Layout::Shared { values: 1 };

/// How restarts come out.
const OUTCOMES: [&str; 4] = ["succeeded", "failed", "taken_back", "refused"];

/// Counts the events of the process.
pub(super) struct Recorder {
    life: Mutex<Life>,
    cpu: Carried,
    lost_messages: Carried,
    serving_since: f64,
}

#[derive(Default)]
struct Life {
    /// The restart under way.
    restart: Option<Restart>,
    drain_until: Option<Instant>,
    has_failed: bool,
}

/// When the phases of a restart began.
struct Restart {
    phase_since: Instant,
    committed: Option<Instant>,
    is_settled: bool,
}

impl Recorder {
    pub(super) fn new() -> Self {
        // A series that is there from the start shows its first increase.
        OUTCOMES.into_iter().for_each(|outcome| _ = of_label(&RESTARTS, outcome));
        Self {
            life: Mutex::default(),
            cpu: Carried::new(&CPU),
            lost_messages: Carried::new(&LOST_MESSAGES),
            serving_since: process::now(),
        }
    }

    /// Adds what this process has counted by other means since the last time.
    pub(super) fn carry(&self) {
        self.cpu.carry(u64::try_from(process::cpu().as_micros()).unwrap_or(u64::MAX));
        self.lost_messages.carry(log::lost());
    }

    /// How long the drain may still take.
    pub(super) fn drain_remaining(&self) -> Option<Duration> {
        let until = self.life.lock().drain_until?;
        Some(until.saturating_duration_since(Instant::now()))
    }

    /// Whether the last restart succeeded: a process that was not restarted yet is the success of one.
    pub(super) fn last_reload_succeeded(&self) -> bool {
        !self.life.lock().has_failed
    }

    /// When this process began to serve, in seconds since 1970.
    pub(super) fn serving_since(&self) -> f64 {
        self.serving_since
    }
}

impl Subscriber for Recorder {
    fn on_event(&self, event: &Event) {
        // The only event that is not rare.
        if let Event::Connection { server, end } = event {
            return note_end(server, *end);
        }
        let mut life = self.life.lock();
        match event {
            Event::RestartRequested { .. } if life.restart.is_none() => life.begin(),
            Event::RestartRefused { .. } => life.settle("refused"),
            Event::SuccessorStarted { .. } => life.end_phase("start"),
            Event::SuccessorReady { .. } => life.end_phase("ready"),
            Event::SuccessorFailed { .. } => life.settle("failed"),
            Event::Committed { .. } => life.commit(),
            Event::StandbyOver { .. } => {
                life.end_phase("standby");
                life.settle("succeeded");
            }
            // A successor that has a successor of its own was fine.
            Event::SuccessorGone { .. } => life.settle("succeeded"),
            Event::TookBack { connections, lost, busy, .. } => {
                life.settle("taken_back");
                of_label(&HANDED_OVER, "taken_back").add(*connections as u64);
                of_label(&HANDED_OVER, "lost").add((*lost + *busy) as u64);
            }
            Event::Draining { limit, .. } => life.drain_until = Some(Instant::now() + *limit),
            Event::Replaced { .. } => {
                life.end_drain();
                self.carry();
            }
            Event::Stopped => self.carry(),
            _ => {}
        }
    }
}

impl Life {
    fn begin(&mut self) {
        self.restart = Some(Restart { phase_since: Instant::now(), committed: None, is_settled: false });
    }

    fn end_phase(&mut self, phase: &str) {
        if let Some(restart) = &mut self.restart {
            let now = Instant::now();
            note_phase(phase, now - restart.phase_since);
            restart.phase_since = now;
        }
    }

    fn commit(&mut self) {
        self.end_phase("commit");
        if let Some(restart) = &mut self.restart {
            restart.committed = Some(restart.phase_since);
        }
    }

    /// The outcome of the restart is known. Only its drain goes on, if it has succeeded.
    fn settle(&mut self, outcome: &str) {
        let Some(restart) = self.restart.as_mut().filter(|restart| !restart.is_settled) else { return };
        restart.is_settled = true;
        of_label(&RESTARTS, outcome).add(1);
        self.has_failed = outcome != "succeeded";
        if self.has_failed {
            self.restart = None;
            self.drain_until = None;
        }
    }

    fn end_drain(&mut self) {
        if let Some(committed) = self.restart.take().and_then(|restart| restart.committed) {
            note_phase("drain", committed.elapsed());
        }
    }
}

/// A total of this process that the kernel or another room keeps. The table gets what it grows by.
struct Carried {
    count: Count,
    carried: AtomicU64,
}

impl Carried {
    fn new(family: &Family) -> Self {
        Self { count: Count::of(&family.full_name(), [], ONE), carried: AtomicU64::new(0) }
    }

    fn carry(&self, total: u64) {
        let before = self.carried.fetch_max(total, Ordering::Relaxed);
        self.count.add(total.saturating_sub(before));
    }
}

fn of_label(family: &Family, value: &str) -> Count {
    Count::of(&family.full_name(), [(family.labels[0], value)], ONE)
}

fn note_end(server: &str, end: ConnectionEnd) {
    let labels = [(ENDS.labels[0], server), (ENDS.labels[1], end.name())];
    Count::of(&ENDS.full_name(), labels, ONE).add(1);
    if let ConnectionEnd::Moved | ConnectionEnd::AnsweredAndMoved = end {
        of_label(&HANDED_OVER, end.name()).add(1);
    }
}

fn note_phase(phase: &str, duration: Duration) {
    let Kind::Histogram(bounds) = PHASE_DURATION.kind else { return };
    let labels = [(PHASE_DURATION.labels[0], phase)];
    if let Some(durations) = Durations::of(&PHASE_DURATION.full_name(), labels, bounds) {
        durations.observe(duration);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::{Signal, SuccessorDeath, SuccessorFault, Trigger};
    use crate::metrics::key;
    use crate::metrics::shared::table;
    use nix::unistd::Pid;

    fn restarts(outcome: &str) -> u64 {
        let key = key::encode("gracehttp_restarts", [("outcome", outcome)], None);
        table().unwrap().values(&key)[0]
    }

    #[test]
    fn every_restart_has_one_outcome() {
        let recorder = Recorder::new();
        let (trigger, successor) = (Trigger::Signal(Signal::Hup), Pid::from_raw(7));
        let before = OUTCOMES.map(restarts);
        let why = SuccessorDeath::Ended("it ended".to_owned());
        let ready = [Event::RestartRequested { trigger }, Event::SuccessorStarted { successor }];
        for event in ready {
            recorder.on_event(&event);
        }
        recorder.on_event(&Event::SuccessorFailed {
            successor: None,
            reason: SuccessorFault::Reported("no".to_owned()),
        });
        assert!(!recorder.last_reload_succeeded());
        for end in [
            Event::TookBack { successor, why, connections: 3, lost: 1, busy: 1 },
            Event::StandbyOver { successor },
        ] {
            recorder.on_event(&Event::RestartRequested { trigger });
            recorder.on_event(&Event::SuccessorReady { successor });
            recorder.on_event(&Event::Committed { successor });
            recorder.on_event(&end);
        }
        recorder.on_event(&Event::SuccessorGone { successor });
        recorder.on_event(&Event::Replaced { successor });
        assert!(recorder.last_reload_succeeded());
        let after = OUTCOMES.map(restarts);
        let grown: Vec<u64> = after.iter().zip(before).map(|(after, before)| after - before).collect();
        assert_eq!(grown, [1, 1, 1, 0]);
    }

    #[test]
    fn a_total_is_carried_once() {
        let carried = Carried::new(&Family {
            name: "carried",
            unit: None,
            kind: Kind::Counter,
            labels: &[],
            help: "of a test",
        });
        for total in [3, 3, 5, 4] {
            carried.carry(total);
        }
        assert_eq!(table().unwrap().values(&key::encode("carried", [], None)), [5]);
    }
}
