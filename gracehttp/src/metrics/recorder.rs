//! What happens in the life of the process, counted.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::lifecycle::{ConnectionEnd, EndCounts, Event, Subscriber};
use crate::log;
use crate::metrics::families::{
    CPU, ENDS, Family, HANDED_OVER, Kind, LOST_MESSAGES, PHASE_DURATION, RESTARTS,
};
use crate::metrics::process;
use crate::metrics::scrape::{ServerGauges, Source};
use crate::metrics::shared::{Count, Durations};
use crate::metrics::table::Layout;

const ONE: Layout = Layout::Shared { values: 1 };

/// How restarts come out.
const OUTCOMES: [&str; 4] = ["succeeded", "failed", "taken_back", "refused"];

/// Counts the events of the process.
pub(super) struct Recorder {
    source: Arc<dyn Source>,
    life: Mutex<Life>,
    carried: Mutex<CarriedTotals>,
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
    pub(super) fn new(source: Arc<dyn Source>) -> Self {
        // A series that is there from the start shows its first increase.
        OUTCOMES.into_iter().for_each(|outcome| _ = of_label(&RESTARTS, outcome));
        Self { source, life: Mutex::default(), carried: Mutex::default(), serving_since: process::now() }
    }

    /// What the servers are at the moment. Adds what this process has counted by other means since the last time.
    pub(super) fn carry(&self) -> Vec<ServerGauges> {
        let servers = self.source.servers();
        let mut carried = self.carried.lock();
        carried.add(&CPU, &[], u64::try_from(process::cpu().as_micros()).unwrap_or(u64::MAX));
        carried.add(&LOST_MESSAGES, &[], log::lost());
        servers.iter().for_each(|server| carried.add_ends(&server.server, &server.ends));
        servers
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
                self.carry();
            }
            // A successor that has a successor of its own was fine.
            Event::SuccessorGone { .. } => life.settle("succeeded"),
            Event::TookBack { .. } => life.settle("taken_back"),
            Event::Draining { limit, .. } => life.drain_until = Some(Instant::now() + *limit),
            Event::Replaced { .. } => {
                life.end_drain();
                self.carry();
            }
            Event::Stopped => _ = self.carry(),
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

/// Totals of this process that the kernel or another room keeps. The table gets what they grow by.
#[derive(Default)]
struct CarriedTotals(HashMap<(&'static str, Vec<String>), Carried>);

struct Carried {
    count: Count,
    total: u64,
}

impl CarriedTotals {
    /// The total of a series; `values` are those of its labels.
    fn add(&mut self, family: &'static Family, values: &[&str], total: u64) {
        let key = (family.name, values.iter().copied().map(str::to_owned).collect());
        let carried = self.0.entry(key).or_insert_with(|| {
            let labels = family.labels.iter().copied().zip(values.iter().copied());
            Carried { count: Count::of(&family.full_name(), labels, ONE), total: 0 }
        });
        carried.count.add(total.saturating_sub(carried.total));
        carried.total = carried.total.max(total);
    }

    fn add_ends(&mut self, server: &str, ends: &EndCounts) {
        let mut given = 0;
        for (end, count) in ends.ends() {
            match end {
                // What has moved may come back: only the sum of these never decreases.
                ConnectionEnd::Moved | ConnectionEnd::AnsweredAndMoved => given += count,
                ConnectionEnd::TakenBack | ConnectionEnd::Lost => {
                    given += count;
                    self.add(&HANDED_OVER, &[server, end.name()], count);
                }
                _ => self.add(&ENDS, &[server, end.name()], count),
            }
        }
        self.add(&HANDED_OVER, &[server, "given"], given);
    }
}

fn of_label(family: &Family, value: &str) -> Count {
    Count::of(&family.full_name(), [(family.labels[0], value)], ONE)
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
    use crate::lifecycle::{ConnectionEnds, Signal, SuccessorDeath, SuccessorFault, Trigger, moved};
    use crate::metrics::key;
    use crate::metrics::shared::table;
    use nix::unistd::Pid;

    struct NoServers;

    impl Source for NoServers {
        fn servers(&self) -> Vec<ServerGauges> {
            Vec::new()
        }
    }

    fn restarts(outcome: &str) -> u64 {
        let key = key::encode("gracehttp_restarts", [("outcome", outcome)], None);
        table().unwrap().values(&key)[0]
    }

    #[test]
    fn every_restart_has_one_outcome() {
        let recorder = Recorder::new(Arc::new(NoServers));
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
        static FAMILY: Family =
            Family { name: "carried", unit: None, kind: Kind::Counter, labels: &[], help: "of a test" };
        let mut carried = CarriedTotals::default();
        [3, 3, 5, 4].into_iter().for_each(|total| carried.add(&FAMILY, &[], total));
        assert_eq!(table().unwrap().values(&key::encode("carried", [], None)), [5]);
    }

    #[test]
    fn what_was_given_and_comes_back_is_given_once_more() {
        let ends = ConnectionEnds::default();
        let mut carried = CarriedTotals::default();
        for _ in 0..2 {
            [false, true, true].into_iter().for_each(|had_answered| ends.note(moved(had_answered)));
            carried.add_ends("given", &ends.counts());
            [false, true].into_iter().for_each(|had_answered| ends.take_back(had_answered));
            carried.add_ends("given", &ends.counts());
        }
        let outcome = |outcome: &str| {
            let labels = [("server", "given"), ("outcome", outcome)];
            table().unwrap().values(&key::encode(&HANDED_OVER.full_name(), labels, None))
        };
        assert_eq!((outcome("given"), outcome("taken_back")), (vec![6], vec![4]));
    }
}
